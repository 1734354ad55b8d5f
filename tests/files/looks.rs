//! What only looks: list, stat, du, search, head-tail.

use crate::{NAMES, encoded, get, stdout, upload};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_tests::Server;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The exact path of an entry.
fn exact(entry: &Value) -> Vec<u8> {
    match entry["pathBase64"].as_str() {
        Some(text) => STANDARD.decode(text).expect("base64"),
        None => entry["path"].as_str().expect("a path").as_bytes().to_vec(),
    }
}

#[test]
fn a_list_has_every_name_and_the_contracts_fields() {
    let server = Server::start();
    let sandbox = server.create();
    for name in NAMES {
        upload(&sandbox, &[b"/root/l/", *name].concat(), b"12345");
    }
    let files = get(&sandbox, "?path=/root/l").expect(200).data()["files"].clone();
    let files = files.as_array().expect("a list");
    let found: BTreeSet<_> = files.iter().map(exact).collect();
    let expected: BTreeSet<_> = NAMES.iter().map(|name| [b"/root/l/", *name].concat()).collect();
    assert_eq!(found, expected);
    let plain = files.iter().find(|entry| entry["name"] == "plain.txt").expect("it is there");
    assert_eq!((&plain["path"], &plain["size"]), (&json!("/root/l/plain.txt"), &json!(5)));
    assert_eq!((&plain["mode"], &plain["isDir"]), (&json!("0644"), &json!(false)));
    assert!(plain["modTime"].as_str().is_some_and(|time| time.ends_with('Z')), "{plain}");
    let _made = sandbox.exec("mkdir -p /root/t/a/b/c /root/e").ok();
    let count = |rest: &str| {
        let data = get(&sandbox, rest).expect(200).data();
        assert_eq!(data["success"], true);
        data["files"].as_array().map(Vec::len)
    };
    assert_eq!(count("?path=/root/e"), Some(0));
    assert_eq!(count("?path=/root/t"), Some(1));
    assert_eq!(count("?path=/root/t&depth=2"), Some(2));
    assert_eq!(count("?path=/root/t&recursive=True"), Some(3));
    assert_eq!(count(""), Some(3), "the home is the default");
}

#[test]
fn stat_says_what_a_file_is() {
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox
        .exec("cd /root; echo hi > f; : > e; mkdir d; ln -s none l; mkfifo p; chmod 750 f; touch -d @7 f")
        .ok();
    let stat = |name: &[u8]| -> Value {
        let text = stdout(&get(&sandbox, &format!("/stat?path={}", encoded(&[b"/root/", name].concat()))));
        serde_json::from_str(&text).expect("JSON")
    };
    let file = stat(b"f");
    assert_eq!(file["path"], "/root/f");
    assert_eq!((&file["size"], &file["mode"], &file["mtime"]), (&json!(3), &json!("81e8"), &json!(7)));
    for (name, kind) in [
        ("f", "regular file"),
        ("e", "regular empty file"),
        ("d", "directory"),
        ("l", "symbolic link"),
        ("p", "fifo"),
    ] {
        assert_eq!(stat(name.as_bytes())["type"], kind, "{name}");
    }
    for name in NAMES {
        upload(&sandbox, &[b"/root/", *name].concat(), b"x");
        assert_eq!(exact(&stat(name)), [b"/root/", *name].concat());
    }
}

#[test]
fn du_search_and_head_tail_say_what_the_commands_do() {
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox
        .exec("cd /root; mkdir -p s/deep; seq 1 20 > s/n.txt; cp s/n.txt s/deep/m.txt; : > s/deep/n.log; mkdir s/n.txt.d; head -c 3000000 /dev/urandom > s/big")
        .ok();
    let du = stdout(&get(&sandbox, "/du?path=/root/s"));
    assert_eq!(du.trim_end(), sandbox.exec("du -sh /root/s").ok().line());
    assert_eq!(stdout(&get(&sandbox, "/search?pattern=*.txt")), "/root/s/deep/m.txt\n/root/s/n.txt\n");
    assert_eq!(
        stdout(&get(&sandbox, "/search?path=/root/s&pattern=n.")),
        "/root/s/deep/n.log\n/root/s/n.txt\n"
    );
    assert_eq!(stdout(&get(&sandbox, "/search?pattern=none")), "");
    let text = |rest: &str| stdout(&get(&sandbox, &format!("/head-tail?path=/root/s/n.txt{rest}")));
    assert_eq!(text("").lines().count(), 10);
    assert_eq!(text("&lines=2"), "1\n2\n");
    assert_eq!(text("&lines=2&head=False"), "19\n20\n");
    assert_eq!(text("&lines=-3&head=TRUE"), "1\n");
    assert_eq!(text("&lines=999999").lines().count(), 20);
}
