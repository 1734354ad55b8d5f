//! Catalogue C12: sixteen clients, one sandbox, every operation. Each answer is one that some order of the operations
//! allows; nobody is left standing still; nothing runs twice.

use crate::{status, step};
use bulkhead_tests::{Sandbox, Server};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};

const CLIENTS: u64 = 16;
const STEPS: [&str; 9] = ["sleep", "wake", "exec", "freeze", "thaw", "exec", "start", "stop", "exec"];

#[test]
fn sixteen_clients_and_every_operation() {
    let server = Server::start();
    let sandbox = server.create();
    let calls = if std::env::var_os("BULKHEAD_TEST_LONG").is_some() { 640 } else { 25 };
    let (certain, possible) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (sandbox, certain, possible) = (&sandbox, &certain, &possible);
            scope.spawn(move || {
                // A walk of its own through the steps for each client, the same in every run.
                let mut random = client.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                for _ in 0..calls {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let index = usize::try_from(random % 9).expect("below 9");
                    one(sandbox, STEPS[index], certain, possible);
                }
            });
        }
    });
    assert!(["running", "snapshotted"].contains(&status(&sandbox).as_str()), "{}", status(&sandbox));
    let ran: u64 = sandbox.exec("cat /root/count 2>/dev/null | wc -l").line().parse().expect("a number");
    let (certain, possible) = (certain.load(Ordering::Relaxed), possible.load(Ordering::Relaxed));
    assert!((certain..=certain + possible).contains(&ran), "{ran} lines of {certain} and {possible}");
    assert!(certain > 0, "some commands ran to their end");
    for last in ["freeze", "thaw", "sleep", "wake"] {
        step(&sandbox, last);
    }
    sandbox.delete();
    server.assert_no_sandbox_left();
}

fn one(sandbox: &Sandbox<'_>, step: &str, certain: &AtomicU64, possible: &AtomicU64) {
    if step != "exec" {
        let answer = sandbox.post(&format!("/{step}"), &json!({}));
        let asleep =
            matches!(step, "freeze" | "thaw") && answer.status == 409 && answer.text().contains("asleep");
        assert!(answer.status == 200 || asleep, "{step}: {} {}", answer.status, answer.text());
        return;
    }
    let answer = sandbox.post_exec(&json!({"command": "echo x >> /root/count", "timeout": 100}));
    match answer.status {
        200 => match answer.data()["end"]["kind"].as_str() {
            Some("exited") => certain.fetch_add(1, Ordering::Relaxed),
            Some("sleep") => possible.fetch_add(1, Ordering::Relaxed),
            _ => panic!("{}", answer.text()),
        },
        409 if answer.text().contains("to sleep") => possible.fetch_add(1, Ordering::Relaxed),
        _ => panic!("{} {}", answer.status, answer.text()),
    };
}
