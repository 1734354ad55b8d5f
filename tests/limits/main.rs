//! The ceilings of a sandbox: what happens at each of them, and that nobody else notices.
//!
//! Bombs here are bounded in count and time by themselves, and run only in a sandbox whose limits were read
//! back from the kernel first.

mod admission;
mod cpu;
mod memory;
mod neighbour;
mod processes;

use bulkhead_tests::groups::InForce;
use bulkhead_tests::{Sandbox, Server};
use serde_json::json;

/// 64 MiB, 32 processes, half a processor: asked for, and found in force.
fn small_sandbox(server: &Server) -> Sandbox<'_> {
    let limits = json!({"memoryMiB": 64, "pids": 32, "cpus": 0.5, "openFiles": 128});
    let sandbox = server.create_with(json!({"limits": limits}));
    assert_eq!(InForce::of(&sandbox), InForce::for_tenant(64, 32, 500));
    sandbox
}

/// A tenant of the contract gets exactly what it asked for.
#[test]
fn what_is_asked_for_is_in_force() {
    let server = Server::start();
    let plain = server.create_with(json!({"cpu": 2, "mem": 2048}));
    assert_eq!(InForce::of(&plain), InForce::for_tenant(2048, 512, 2000));
    let least =
        server.create_with(json!({"limits": {"memoryMiB": 16, "pids": 8, "cpus": 0.05, "openFiles": 32}}));
    assert_eq!(InForce::of(&least), InForce::for_tenant(16, 8, 50));
    assert_eq!(least.exec("echo runs").stdout, "runs\n", "the least of everything still runs a shell");
    let object = least.object();
    assert!(object["cpu"].as_i64() >= Some(1) && object["mem"].as_i64() >= Some(1), "{object:?}");
}
