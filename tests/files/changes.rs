//! What changes files: with every name, and in every way that goes wrong.

use crate::{NAMES, download, encoded, get, path, post, stdout, upload};
use bulkhead_tests::Server;
use serde_json::json;

#[test]
fn every_operation_takes_every_name() {
    let server = Server::start();
    let sandbox = server.create();
    for name in NAMES {
        let at = |dir: &str| encoded(&[dir.as_bytes(), name].concat());
        let exact = |dir: &str| [dir.as_bytes(), name].concat();
        assert_eq!(stdout(&post(&sandbox, &format!("/mkdir?path={}", at("/root/d/")))), "");
        assert_eq!(stdout(&post(&sandbox, &format!("/create?path={}/deep/f", at("/root/d/")))), "");
        upload(&sandbox, &exact("/root/f/"), name);
        stdout(&post(&sandbox, &format!("/copy?from={}&to={}", at("/root/f/"), at("/root/c/"))));
        stdout(&post(&sandbox, &format!("/move?from={}&to={}", at("/root/c/"), at("/root/m/"))));
        stdout(&post(&sandbox, &format!("/chmod?path={}&mode=0600", at("/root/m/"))));
        assert_eq!(download(&sandbox, &exact("/root/m/")), *name);
        assert_eq!(get(&sandbox, &format!("/stat?path={}", at("/root/c/"))).status, 404);
        let deleted = sandbox.client().delete(&path(&sandbox, &format!("?path={}", at("/root/d/"))));
        assert_eq!(stdout(&deleted), "");
    }
    let left = sandbox.exec("ls -A /root/d | wc -l; find / -xdev -name owned").ok();
    assert_eq!(left.stdout, "0\n", "no directory, and no name that was a command");
}

#[test]
fn a_change_does_what_its_command_would() {
    let server = Server::start();
    let sandbox = server.create();
    let client = sandbox.client();
    assert_eq!(stdout(&client.delete(&path(&sandbox, "?path=/root/none"))), "", "missing is deleted");
    let make = |rest: &str| stdout(&post(&sandbox, rest));
    make("/mkdir?path=/root/a/b/c");
    make("/mkdir?path=/root/a/b/c");
    make("/create?path=/root/a/one&content=text%0A");
    make("/create?path=/root/a/one");
    assert_eq!(download(&sandbox, b"/root/a/one"), b"text\n", "a file that exists keeps its content");
    let body = client.post(&path(&sandbox, "/create?path=/root/a/two"), &json!({"content": "caf\u{e9}"}));
    assert_eq!(stdout(&body), "");
    assert_eq!(download(&sandbox, b"/root/a/two"), "caf\u{e9}".as_bytes());
    make("/create?path=/root/new/dir/empty");
    assert!(download(&sandbox, b"/root/new/dir/empty").is_empty());
    make("/copy?from=/root/a&to=/root/copied/to");
    make("/copy?from=/root/a&to=/root/new");
    assert_eq!(download(&sandbox, b"/root/copied/to/one"), b"text\n");
    assert_eq!(download(&sandbox, b"/root/new/a/one"), b"text\n", "into a directory that exists");
    make("/move?from=/root/copied&to=/root/x/moved");
    make("/move?from=/root/a/two&to=/root/a/one");
    assert_eq!(download(&sandbox, b"/root/a/one"), "caf\u{e9}".as_bytes(), "a move replaces");
    make("/chmod?path=/root/a/one&mode=751");
    assert_eq!(sandbox.exec("stat -c %a /root/a/one").ok().line(), "751");
    stdout(&client.delete(&path(&sandbox, "?path=/root/x")));
    assert_eq!(sandbox.exec("ls /root").ok().stdout, "a\nnew\n");
}

#[test]
fn what_cannot_be_done_says_why_and_of_what() {
    let server = Server::start();
    let sandbox = server.create();
    let _made =
        sandbox.exec("mkdir -p /root/d/e; echo x > /root/f; mkfifo /root/p; ln -s loop /root/loop").ok();
    for (call, status, text) in [
        ("/copy?from=/root/none&to=/root/x", 404, "from: "),
        ("/move?from=/root/none&to=/root/x", 404, "from: "),
        ("/chmod?path=/root/none&mode=644", 404, "path: "),
        ("/compress?path=/root/none", 404, "path: "),
        ("/extract?archive=/root/none.tar", 404, "archive: "),
        ("/mkdir?path=/root/f", 409, "path: "),
        ("/create?path=/root/d&content=x", 400, "path: "),
        ("/mkdir?path=/root/f/below", 400, "path: "),
        ("/move?from=/root/d&to=/root/d/e", 400, "from: "),
        ("/upload?path=/root/d", 400, "path: "),
        ("/upload?path=/root/f/below", 400, "path: "),
        ("/extract?archive=/root/f", 400, "archive: "),
    ] {
        let error = post(&sandbox, call).error(status);
        assert!(error.starts_with(text), "{call}: {error}");
    }
    for (call, status) in [
        ("/download?path=/root/d", 400),
        ("/download?path=/root/p", 400),
        ("/download?path=/root/none", 404),
        ("/download?path=/root/loop", 400),
        ("/head-tail?path=/root/d", 400),
        ("/head-tail?path=/root/none", 404),
        ("/stat?path=/root/none", 404),
        ("/du?path=/root/none", 404),
        ("/search?path=/root/none&pattern=x", 404),
        ("?path=/root/f", 400),
        ("?path=/root/none", 404),
    ] {
        let error = get(&sandbox, call).error(status);
        assert!(error.starts_with("path: "), "{call}: {error}");
    }
    let root = sandbox.client().delete(&path(&sandbox, "?path=/")).error(400);
    assert!(root.starts_with("path: "), "{root}");
    assert_eq!(sandbox.exec("cat /root/f").ok().stdout, "x\n");
}
