//! An agent for another program: the gateway that tests/vm/vsock.py starts.

use crate::agent::Agent;

/// Says where its agent listens, and keeps it until standard input ends. Then nothing of what ran may be left.
#[test]
#[ignore = "serves whoever started it, for as long as that says"]
fn serves_until_the_end_of_input() {
    let agent = Agent::start();
    println!("\nagent at {}", agent.address());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("standard input");
    agent.wait_until_empty();
}
