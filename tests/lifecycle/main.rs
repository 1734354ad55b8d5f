//! What lives long: sandboxes that sleep, wake, freeze, end by themselves and are made ahead, through the real product.

mod backup;
mod crowd;
mod freeze;
mod pool;
mod sleep;
mod times;
mod wakes;

use bulkhead_tests::{Sandbox, eventually};
use serde_json::json;

/// `POST …/{step}`, which must succeed.
fn step(sandbox: &Sandbox<'_>, step: &str) {
    let answer = sandbox.client().post(&sandbox.path(&format!("/{step}")), &json!({})).expect(200);
    assert!(answer.data().is_null(), "{}", answer.text());
}

fn status(sandbox: &Sandbox<'_>) -> String {
    sandbox.object()["status"].as_str().expect("a word").to_owned()
}

/// Waits until the object has this status.
fn becomes(sandbox: &Sandbox<'_>, word: &str) {
    eventually(&format!("the sandbox is {word}"), || match status(sandbox) {
        found if found == word => Ok(()),
        other => Err(other),
    });
}
