//! Whether the host takes one more sandbox.

use bulkhead_tests::{Options, Server};
use serde_json::json;
use std::fs;

/// Promises of memory are bounded where the operator asks for it, and given back with the sandbox.
#[test]
fn promises_of_memory_are_bounded_where_that_is_asked_for() {
    let meminfo = fs::read_to_string("/proc/meminfo").expect("meminfo");
    let total = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("MemTotal");
    // One GiB and a half: one sandbox of a GiB, not two.
    let factor = 1.5 * f64::from(1 << 20) / total;
    let args = vec!["--memory-overcommit".to_owned(), format!("{factor:.4}")];
    let server = Server::start_with(&Options { args, ..Options::default() });
    let first = server.create();
    let body = json!({"name": "second", "image": "code", "cpu": 1, "mem": 1024});
    let refused = server.client().post("/sandboxes", &body);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(first.exec("echo unharmed").stdout, "unharmed\n");
    first.delete();
    let next = server.create();
    assert_eq!(next.exec("echo room").stdout, "room\n");
}
