//! A registry that lies: each test is one lie, or one failure of the network, and what becomes of the fetch.

use super::*;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a handler makes of a request.
type Handler = Arc<dyn Fn(&Request) -> Vec<u8> + Send + Sync>;

struct Request {
    target: String,
    head: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines();
        lines.find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// A server on this machine; it ends with the process of the test.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(handler: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let (handler, kept): (Handler, _) = (Arc::new(handler), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (handler, kept) = (Arc::clone(&handler), Arc::clone(&kept));
                std::thread::spawn(move || serve(&mut stream.unwrap(), &handler, &kept));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn fetch(&self, rest: &str, dir: &std::path::Path) -> Result<Vec<Progress>, Error> {
        self.fetch_as(rest, dir, b"{}")
    }

    fn fetch_as(
        &self,
        rest: &str,
        dir: &std::path::Path,
        credentials: &[u8],
    ) -> Result<Vec<Progress>, Error> {
        let reference = Reference::parse(&format!("{}/{rest}", self.address)).unwrap();
        let credentials = Credentials::parse(credentials, &reference).unwrap();
        let (dir, roots) = (dir.to_owned(), Roots::parse(b"").unwrap());
        let order = Order { reference, dir, http: Http::Loopback, roots, credentials };
        let mut seen = Vec::new();
        fetch(&order, &mut |progress| seen.push(progress)).map(|()| seen)
    }
}

fn serve(stream: &mut TcpStream, handler: &Handler, asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(target.clone());
    // The client may have heard enough.
    stream.write_all(&handler(&Request { target, head })).unwrap_or_default();
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// An image of some layers, and what a registry answers by path.
fn image(layers: &[&[u8]]) -> HashMap<String, Vec<u8>> {
    let config = b"{}".to_vec();
    let descriptor = |bytes: &[u8]| json!({"digest": Digest::of(bytes), "size": bytes.len()});
    let all: Vec<Value> = layers.iter().map(|layer| descriptor(layer)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(&config), "layers": all});
    let mut served =
        HashMap::from([("/v2/a/manifests/latest".to_owned(), manifest.to_string().into_bytes())]);
    for bytes in layers.iter().map(|layer| layer.to_vec()).chain([config]) {
        served.insert(format!("/v2/a/blobs/{}", Digest::of(&bytes)), bytes);
    }
    served
}

fn plain(served: &HashMap<String, Vec<u8>>, request: &Request) -> Vec<u8> {
    served.get(&request.target).map_or_else(|| answer("404 X", "", b""), |body| answer("200 OK", "", body))
}

fn blob(dir: &std::path::Path, bytes: &[u8]) -> Option<Vec<u8>> {
    std::fs::read(dir.join("blobs/sha256").join(Digest::of(bytes).hex())).ok()
}

#[test]
fn an_image_becomes_a_layout() {
    let (dir, served) = (tempfile::tempdir().unwrap(), image(&[b"one", b"two", b"one"]));
    let manifest = served["/v2/a/manifests/latest"].clone();
    let server = Server::start(move |request| plain(&served, request));
    let seen = server.fetch("a", dir.path()).unwrap();
    let last = Progress::Fetched { manifest: Digest::of(&manifest), bytes: 9 };
    assert_eq!(seen.last(), Some(&last));
    assert!(seen.contains(&Progress::Layer { number: 2, of: 3, done: 3, total: 3 }), "{seen:?}");
    assert_eq!(blob(dir.path(), b"one").as_deref(), Some(&b"one"[..]));
    assert_eq!(blob(dir.path(), &manifest).as_ref(), Some(&manifest));
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(dir.path().join(name)).unwrap()).unwrap()
    };
    assert_eq!(read("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}));
    assert_eq!(read("index.json")["manifests"][0]["digest"], json!(Digest::of(&manifest)));
    assert_eq!(server.asked().len(), 4, "what is there is not fetched again: {:?}", server.asked());
}

#[test]
fn a_broken_connection_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let layer: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let (served, whole) = (image(&[&layer]), layer.clone());
    let path = format!("/v2/a/blobs/{}", Digest::of(&layer));
    let starts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&starts);
    let server = Server::start(move |request| {
        if request.target != path {
            return plain(&served, request);
        }
        let range = request.header("range");
        let start: usize =
            range.map_or(0, |r| r.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
        noted.lock().unwrap().push(start);
        let status = if start > 0 { "206 X" } else { "200 OK" };
        let range = format!("Content-Range: bytes {start}-{}/{}\r\n", whole.len() - 1, whole.len());
        let mut answer = answer(status, &range, &whole[start..]);
        // Cut after some 400 KB.
        answer.truncate(400_000);
        answer
    });
    let seen = server.fetch("a", dir.path()).unwrap();
    assert_eq!(blob(dir.path(), &layer), Some(layer));
    let starts = starts.lock().unwrap().clone();
    assert!(starts.len() >= 3 && starts.windows(2).all(|pair| pair[0] < pair[1]), "{starts:?}");
    assert!(seen.len() > 3);
}

#[test]
fn a_later_attempt_uses_what_an_earlier_one_left() {
    let (dir, layer) = (tempfile::tempdir().unwrap(), vec![b'x'; 1000]);
    let served = image(&[&layer]);
    std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    let part = dir.path().join("blobs/sha256").join(format!("{}.part", Digest::of(&layer).hex()));
    // A registry without ranges answers all of it.
    std::fs::write(&part, &layer[..700]).unwrap();
    let server = Server::start(move |request| plain(&served, request));
    server.fetch("a", dir.path()).unwrap();
    assert_eq!(blob(dir.path(), &layer), Some(layer.clone()));
    // What is there and wrong is found out, and not used again.
    std::fs::remove_file(dir.path().join("blobs/sha256").join(Digest::of(&layer).hex())).unwrap();
    std::fs::write(&part, vec![b'y'; 1000]).unwrap();
    assert!(matches!(server.fetch("a", dir.path()), Err(Error::Digest { .. })));
    assert!(!part.exists());
    server.fetch("a", dir.path()).unwrap();
    assert_eq!(blob(dir.path(), &layer), Some(layer));
}

#[test]
fn bytes_that_were_not_promised_are_refused() {
    let layer = b"what was promised".to_vec();
    let path = format!("/v2/a/blobs/{}", Digest::of(&layer));
    let with = |bytes: &[u8]| {
        let (mut served, dir) = (image(&[&layer]), tempfile::tempdir().unwrap());
        served.insert(path.clone(), bytes.to_vec());
        let server = Server::start(move |request| plain(&served, request));
        let error = server.fetch("a", dir.path()).unwrap_err();
        assert_eq!(blob(dir.path(), &layer), None);
        assert!(!dir.path().join("index.json").exists());
        error
    };
    assert!(matches!(with(b"what was delivered"), Error::Size { expected: 17, .. }));
    assert!(matches!(with(b"what was PROMISED"), Error::Digest { .. }));
    assert!(matches!(with(b"short"), Error::Cut(_)));
}

#[test]
fn a_manifest_has_the_digest_that_was_asked_for_and_a_bound() {
    let (dir, served) = (tempfile::tempdir().unwrap(), image(&[b"x"]));
    let manifest = served["/v2/a/manifests/latest"].clone();
    let wanted = Digest::of(&manifest);
    let server = Server::start(move |request| match request.target.as_str() {
        "/v2/a/manifests/huge" => answer("200 OK", "", &vec![b' '; 5 << 20]),
        "/v2/a/manifests/endless" => {
            let many = vec![b'1'; 6 << 20];
            [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &many].concat()
        }
        "/v2/a/manifests/forged" => answer("200 OK", "", b"<html>"),
        target if target.contains("manifests") && !target.contains(wanted.hex()) => {
            answer("200 OK", "", b"{\"schemaVersion\":2}")
        }
        target if target.contains("manifests") => answer("200 OK", "", &manifest),
        _ => plain(&served, request),
    });
    let fetch = |rest: &str| server.fetch(rest, dir.path());
    assert!(matches!(fetch("a:huge"), Err(Error::TooLarge { .. })));
    assert!(matches!(fetch("a:endless"), Err(Error::TooLarge { .. })));
    assert!(matches!(fetch("a:forged"), Err(Error::Malformed(_))));
    let other = Digest::of(b"other");
    assert!(matches!(fetch(&format!("a@{other}")), Err(Error::Digest { .. })));
    let right = Digest::of(&image(&[b"x"])["/v2/a/manifests/latest"]);
    assert!(fetch(&format!("a@{right}")).is_ok());
}

#[test]
fn a_token_is_fetched_with_the_registrys_credentials_and_shown_to_nobody_else() {
    let layer = b"layer".to_vec();
    let (served, path) = (image(&[&layer]), format!("/v2/a/blobs/{}", Digest::of(&layer)));
    let elsewhere = Server::start({
        let layer = layer.clone();
        move |request| match request.header("authorization") {
            None => answer("200 OK", "", &layer),
            Some(_) => answer("400 X", "", b"a token came along"),
        }
    });
    let there = elsewhere.address;
    let server = Server::start(move |request| {
        if request.target.starts_with("/token") {
            let good = request.target == "/token?service=the%20registry&scope=repository:a:pull"
                && request.header("authorization").as_deref() == Some("Basic dTpw");
            return if good { answer("200 OK", "", br#"{"token":"t-1"}"#) } else { answer("403 X", "", b"") };
        }
        if request.header("authorization").as_deref() != Some("Bearer t-1") {
            let host = request.header("host").unwrap();
            let challenge = format!(
                "WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"the registry\",scope=\"*\"\r\n"
            );
            return answer("401 X", &challenge, b"");
        }
        if request.target == path {
            return answer("307 X", &format!("Location: http://{there}/blob\r\n"), b"");
        }
        plain(&served, request)
    });
    let dir = tempfile::tempdir().unwrap();
    let file = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, server.address);
    server.fetch_as("a", dir.path(), file.as_bytes()).unwrap();
    assert_eq!(blob(dir.path(), &layer), Some(layer));
    assert_eq!(elsewhere.asked(), ["/blob"]);
    assert_eq!(server.asked().iter().filter(|target| target.starts_with("/token")).count(), 1);
    let other = tempfile::tempdir().unwrap();
    let refused = server.fetch("a", other.path()).unwrap_err();
    assert!(matches!(refused, Error::Status { status: 403, what: "a token", .. }), "{refused}");
}

#[test]
fn a_redirect_leads_nowhere_but_where_it_may() {
    let server = Server::start(|request| {
        let location = match request.target.rsplit('/').next().unwrap() {
            "far" => "http://192.0.2.1/x",
            "file" => "file:///etc/shadow",
            "user" => "https://root@192.0.2.1/x",
            _ => "/v2/a/manifests/round",
        };
        answer("302 X", &format!("Location: {location}\r\n"), b"")
    });
    let dir = tempfile::tempdir().unwrap();
    for tag in ["far", "file", "user"] {
        let error = server.fetch(&format!("a:{tag}"), dir.path()).unwrap_err();
        assert!(matches!(error, Error::Address(_)), "{tag}: {error}");
    }
    assert!(matches!(server.fetch("a:round", dir.path()), Err(Error::Redirects)));
    assert!(server.asked().len() < 12);
}

#[test]
fn a_challenge_may_not_send_credentials_away() {
    for realm in ["http://192.0.2.1/token", "ftp://127.0.0.1/token", "nowhere", ""] {
        let server = Server::start(move |_| {
            answer("401 X", &format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n"), b"")
        });
        let error = server.fetch("a", tempfile::tempdir().unwrap().path()).unwrap_err();
        assert!(matches!(error, Error::Address(_)), "{realm}: {error}");
    }
}
