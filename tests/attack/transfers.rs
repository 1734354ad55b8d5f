//! Content that comes and goes: special files through the file API (E11), uploads that lie or break off (H09), and
//! what a browser would make of a download (T11).

use crate::base::Base;
use bulkhead_tests::{Answer, Sandbox, Server, raw, within};
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// Connections that break off in the middle of an upload.
const CUT: usize = 100;
/// After so long nothing of them may be left.
const SETTLE: Duration = Duration::from_secs(20);

fn call(sandbox: &Sandbox<'_>, method: &str, rest: &str) -> Answer {
    sandbox.client().call(method, &sandbox.path(&format!("/files{rest}")), None)
}

#[test]
fn e11_special_files_are_neither_read_nor_waited_for() {
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox
        .exec(
            "cd /root; mkfifo pipe; ln -s /dev/zero zero; ln -s /proc/self/fd/0 own; ln -s /proc/1/root up; \
             python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('/root/socket')\"",
        )
        .ok();
    for path in
        ["/dev/zero", "/root/zero", "/root/pipe", "/root/socket", "/dev/tty", "/root/own", "/proc/self/mem"]
    {
        for (method, rest) in [
            ("GET", format!("/download?path={path}")),
            ("GET", format!("/head-tail?path={path}")),
            ("POST", format!("/create?path={path}&content=x")),
            ("POST", format!("/extract?archive={path}&dest=/root/d")),
        ] {
            let answer = call(&sandbox, method, &rest);
            let safe = [400, 403, 404].contains(&answer.status);
            assert!(safe, "{method} {rest}: {} {}", answer.status, answer.text());
        }
    }
    // The worker is a process like any other of this user: the same files are there, and no more.
    for rest in [
        "?path=/proc/1/root/",
        "?path=/root/up",
        "/download?path=/proc/1/environ",
        "/download?path=/proc/1/mem",
    ] {
        let answer = call(&sandbox, "GET", rest);
        assert!([400, 403, 404].contains(&answer.status), "{rest}: {} {}", answer.status, answer.text());
    }
    assert_eq!(sandbox.exec("echo well").ok().stdout, "well\n");
}

fn head(sandbox: &Sandbox<'_>, name: &str, more: &str) -> String {
    let (path, key) = (sandbox.path(&format!("/files/upload?path=/root/d/{name}")), sandbox.client().key());
    format!("POST /api{path} HTTP/1.1\r\nHost: t\r\nX-API-Key: {key}\r\n{more}\r\n\r\n")
}

#[test]
fn h09_uploads_that_break_off_leave_nothing() {
    let server = Server::start();
    let base = Base::of(&server);
    let sandbox = server.create();
    let _made = sandbox.exec("mkdir /root/d; echo old > /root/d/kept").ok();
    let mut cut: Vec<TcpStream> = Vec::new();
    for number in 0..CUT {
        let name = if number % 2 == 0 { "kept".to_owned() } else { format!("new-{number}") };
        let mut stream = raw::connect(server.address());
        let whole = head(&sandbox, &name, "Content-Length: 1000000").into_bytes();
        // The server may refuse one above its limits before it has read everything.
        drop(stream.write_all(&[whole, vec![b'x'; 100_000]].concat()));
        cut.push(stream);
    }
    drop(cut);
    within(SETTLE, "nothing is left of them", || {
        match sandbox.exec("ls -A /root/d; cat /root/d/kept").stdout.as_str() {
            "kept\nold\n" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    sandbox.delete();
    base.assert_back();
}

#[test]
fn h09_forms_and_lengths_that_lie_are_refused() {
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox.exec("mkdir /root/d").ok();
    let form = |body: &str| {
        let more = format!("Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}", body.len());
        raw::exchange(server.address(), (head(&sandbox, "f", &more) + body).as_bytes())
    };
    let part = |name: &str| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"../../etc/evil\"\r\n\r\ntext\r\n"
        )
    };
    // The path of the call decides, not the name that a form gives.
    let named = form(&(part("file") + "--b--\r\n"));
    assert_eq!(named.status, 200, "{}", named.text);
    assert_eq!(sandbox.exec("cat /root/d/f; ls /etc/evil 2>&1 | grep -c 'No such'").ok().stdout, "text1\n");
    let _gone = sandbox.exec("rm /root/d/f").ok();
    for (what, body) in [
        ("many parts", part("other").repeat(100_000) + "--b--\r\n"),
        ("no end", part("file")),
        ("no file", part("other") + "--b--\r\n"),
        (
            "a long head",
            format!("--b\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n", "n".repeat(1 << 20)),
        ),
        ("no form", "text".to_owned()),
    ] {
        let answer = form(&body);
        assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text);
        assert_eq!(sandbox.exec("ls -A /root/d").ok().stdout, "", "{what}");
    }
    let too_long =
        raw::exchange(server.address(), head(&sandbox, "f", "Content-Length: 99999999999999").as_bytes());
    assert_eq!(too_long.status, 413, "{}", too_long.text);
    for range in ["bytes=18446744073709551616-", "bytes=-99999999999999999999", "bytes=5-2", "bytes=0-,0-,0-"]
    {
        let _file = sandbox.exec("echo text > /root/d/f").ok();
        let path = format!("/api{}", sandbox.path("/files/download?path=/root/d/f"));
        let answer = sandbox.client().send(
            "GET",
            &path,
            &[("X-API-Key", sandbox.client().key()), ("Range", range)],
            None,
        );
        assert!([200, 206, 400, 416].contains(&answer.status), "{range}: {}", answer.status);
        assert!(answer.body.len() <= 5 || answer.status >= 400, "{range}: {}", answer.text());
    }
}

#[test]
fn t11_a_download_is_nothing_that_a_browser_runs() {
    let server = Server::start();
    let sandbox = server.create();
    for name in ["page.html", "picture.svg", "script.js", "a%22%0D%0AX-Evil:1%3B.html"] {
        let path = sandbox.path(&format!("/files/upload?path=/root/{name}"));
        let _stored = sandbox.client().upload(&path, b"<script>alert(1)</script>").expect(200);
        let answer = call(&sandbox, "GET", &format!("/download?path=/root/{name}")).expect(200);
        let header =
            |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(header("content-type"), "application/octet-stream", "{name}");
        assert!(header("content-disposition").starts_with("attachment"), "{name}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{name}");
        assert!(header("content-security-policy").contains("sandbox"), "{name}");
        assert_eq!(header("x-evil"), "", "{name}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{name}");
    }
}
