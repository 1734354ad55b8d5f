//! The whole way of a sandbox over TLS, through the real server, and certificates that change under it.

mod tunnel;

use bulkhead_tests::streaming::Streaming;
use bulkhead_tests::{Client, Events, Options, Server, Terminal, eventually, host, raw};
use nix::sys::signal::Signal;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use tunnel::Tunnel;

/// What both halves say of a configuration that they took over.
const TAKEN: &str = "the configuration was read again";
const REFUSED: &str = "the configuration stays as it was: tls-certificate";
/// A command that goes on until it is told to end.
const PATIENT: &str = "echo begun; while [ ! -e /tmp/enough ]; do sleep 0.1; done; echo ended";

/// What belongs to the operator: a configuration, and certificates beside it.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().expect("a directory"));
        files.configure("");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.path("bulkhead.toml"), text).expect("own directory");
    }

    fn configure_tls(&self) {
        let [chain, key] = ["chain", "key"].map(|name| self.path(name).display().to_string());
        self.configure(&format!("tls-certificate = '{chain}'\ntls-key = '{key}'\n"));
    }

    /// Makes a certificate for this host, puts it in its place and gives it.
    fn certify(&self) -> String {
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        fs::write(self.path("chain"), &certificate).expect("own directory");
        fs::write(self.path("key"), key.serialize_pem()).expect("own directory");
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(self.path("key"), own).expect("own file");
        certificate
    }
}

/// A hangup, and waits until it was said so often more.
fn reload(server: &Server, words: &str, times: usize) {
    let told = || server.log().matches(words).count();
    let before = told();
    let serve = server.processes().into_iter().find(|process| process.is_half("serve")).expect("it runs");
    host::signal(serve.pid, Signal::SIGHUP);
    let all = || if told() == before + times { Ok(()) } else { Err(server.log_tail()) };
    eventually(words, all);
}

fn stdout(client: &Client, id: &str, command: &str) -> String {
    let answer = client.post(&format!("/sandboxes/{id}/exec"), &json!({"command": command})).expect(200);
    answer.data()["stdout"].as_str().expect("a text").to_owned()
}

fn begin(client: &Client, id: &str) -> Events {
    let body = json!({"command": PATIENT, "timeout": 200});
    let mut events = Events::of(Streaming::post(client, &format!("/sandboxes/{id}/exec-stream"), &[], &body));
    assert_eq!(events.next_event().expect("an event").data, "begun\n");
    events
}

#[test]
fn a_sandbox_lives_over_tls_while_certificates_change() {
    let files = Files::new();
    let config = files.path("bulkhead.toml").display().to_string();
    let server =
        Server::start_with(&Options { args: vec!["--config".to_owned(), config], ..Options::default() });
    let old = files.certify();
    files.configure_tls();
    reload(&server, TAKEN, 2);
    let through = |certificate: &str| {
        let tunnel = Tunnel::to(server.address(), certificate);
        Client::new(tunnel.address(), server.client().key())
    };
    let client = through(&old);

    let made = client.post("/sandboxes", &json!({"name": "tls", "image": "code"})).expect(201).data();
    let id = made["id"].as_str().expect("an id");
    assert_eq!(stdout(&client, id, "echo over tls"), "over tls\n");
    let stream = begin(&client, id);
    let mut terminal = Terminal::open(&client, &format!("/sandboxes/{id}/pty"), "");
    let _prompt = terminal.prompt();
    assert!(terminal.command("echo $((40 + 2))").contains("42"));

    let plain = raw::exchange(server.address(), b"GET /api/version HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(plain.status == 0 && !plain.text.contains("HTTP"), "{:?}", plain.text);

    fs::write(files.path("chain"), "-----BEGIN NOTHING-----").expect("own directory");
    reload(&server, REFUSED, 1);
    assert_eq!(stdout(&client, id, "echo as before"), "as before\n");

    let new = files.certify();
    reload(&server, TAKEN, 2);
    let trusting = through(&new);
    assert!(client.try_send("GET", "/api/version", &[], None).is_err(), "the old certificate is not shown");
    assert!(terminal.command("echo $((50 + 5))").contains("55"), "a terminal of before goes on");
    assert_eq!(stdout(&trusting, id, "touch /tmp/enough"), "");
    let whole = stream.collect();
    assert_eq!((whole.stdout.as_str(), whole.code()), ("ended\n", 0), "a stream of before goes on");
    let _gone = trusting.delete(&format!("/sandboxes/{id}")).expect(200);
    assert_eq!(trusting.get(&format!("/sandboxes/{id}")).status, 404);

    files.configure("");
    reload(&server, TAKEN, 2);
    server.wait_healthy();
}
