//! Bytes of the two streams.

use bulkhead_tests::Server;

/// What is kept of each stream; of a longer one the first and the last half.
const KEPT: usize = 8 << 20;

#[test]
fn the_two_streams_are_apart() {
    let server = Server::start();
    let sandbox = server.create();
    let run = sandbox.exec("echo out; echo err >&2; printf more; exit 3");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str(), run.code), ("out\nmore", "err\n", 3));
    assert_eq!(run.data["end"], serde_json::json!({"kind": "exited", "code": 3}));
    assert_eq!(run.data["truncated"], serde_json::json!({"stdout": 0, "stderr": 0}));
    let silent = sandbox.exec("true");
    assert_eq!((silent.stdout.as_str(), silent.stderr.as_str(), silent.code), ("", "", 0));
}

#[test]
fn eight_mebibytes_come_whole() {
    let server = Server::start();
    let sandbox = server.create();
    let run = sandbox
        .exec(&format!("head -c {KEPT} /dev/zero | tr '\\0' a; head -c 100000 /dev/zero | tr '\\0' b >&2"));
    assert_eq!((run.stdout.len(), run.stderr.len()), (KEPT, 100_000));
    assert!(run.stdout.bytes().all(|b| b == b'a') && run.stderr.bytes().all(|b| b == b'b'));
    assert_eq!(run.data["truncated"], serde_json::json!({"stdout": 0, "stderr": 0}));
}

#[test]
fn what_is_longer_keeps_its_two_ends() {
    let server = Server::start();
    let sandbox = server.create();
    // 20 MiB of numbered lines of 16 bytes.
    let run = sandbox.exec("echo first; seq -f '%015.0f' 1310720; echo last");
    let total = 20 * (1 << 20) + "first\nlast\n".len();
    let dropped = run.data["truncated"]["stdout"].as_u64().expect("truncated.stdout is a number");
    assert_eq!(dropped, (total - KEPT) as u64);
    assert!(run.stdout.starts_with("first\n000000000000001\n"), "the start is kept");
    assert!(run.stdout.ends_with("000000001310720\nlast\n"), "the end is kept");
    assert!(run.stdout.len() >= KEPT && run.stdout.len() < KEPT + 1000, "{}", run.stdout.len());
    assert_eq!(run.data["truncated"]["stderr"], 0);
    assert_eq!(run.code, 0);
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let server = Server::start();
    let sandbox = server.create();
    let run = sandbox.exec("printf 'a\\xff\\xfeb\\x00c'; printf '\\xc3' >&2");
    assert_eq!(run.stdout, "a\u{fffd}\u{fffd}b\u{0}c");
    assert_eq!(run.stderr, "\u{fffd}");
    let run = sandbox.exec("printf '\\xe2\\x82'; sleep 0.1; printf '\\xac'");
    assert_eq!(run.stdout, "€", "a character that comes in two writes stays one");
    let run = sandbox.exec("printf '\\033[31mred\\033[0m\\r\\n\\t\"\\\\'");
    assert_eq!(run.stdout, "\u{1b}[31mred\u{1b}[0m\r\n\t\"\\");
}

#[test]
fn both_streams_may_be_full_at_once() {
    let server = Server::start();
    let sandbox = server.create();
    let run = sandbox.exec("(head -c 3000000 /dev/zero >&2) & head -c 3000000 /dev/zero; wait");
    assert_eq!((run.stdout.len(), run.stderr.len()), (3_000_000, 3_000_000));
}
