//! What the server itself runs on is used up: it refuses with a reason, says so in time, and goes on when there is
//! room again (catalogue C11).

use bulkhead_tests::{Server, eventually};
use serde_json::json;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Open files of the gateway.
const FILES: usize = 160;
/// Connections that are held open: more than it has files.
const HELD: usize = 400;
/// How long the server is looked at while it has no file left, and what of that time it may compute.
const LOOK: Duration = Duration::from_secs(3);
const MOST_TICKS: u64 = 60;

#[test]
fn c11_without_a_descriptor_left_it_waits_and_recovers() {
    let server = Server::start();
    let sandbox = server.create();
    assert_eq!(sandbox.exec("echo before").stdout, "before\n");
    let gateway = server.half("gateway");
    // As the gateway's own user: root needs a capability for it that a test machine may not have.
    let user = gateway.uid;
    let limited = Command::new("setpriv")
        .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "prlimit"])
        .args([format!("--pid={}", gateway.pid), format!("--nofile={FILES}:{FILES}")])
        .status()
        .expect("setpriv of util-linux");
    assert!(limited.success(), "{limited}");
    let held: Vec<TcpStream> = (0..HELD).filter_map(|_| TcpStream::connect(server.address()).ok()).collect();
    let before = gateway.cpu_ticks();
    let start = Instant::now();
    std::thread::sleep(LOOK);
    let ticks = gateway.cpu_ticks() - before;
    println!("{} connections held; {ticks} ticks of cpu in {:?}", held.len(), start.elapsed());
    assert!(ticks < MOST_TICKS, "it spins: {ticks} ticks");
    drop(held);
    eventually("it answers again", || {
        let answer = sandbox.post_exec(&json!({"command": "echo after"}));
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    assert_eq!(server.half("gateway").pid, gateway.pid, "the gateway died of it");
    sandbox.delete();
}
