//! Standard input.

#![expect(clippy::unwrap_used, reason = "helpers of tests too: what fails here fails the test")]

use crate::agent::Agent;
use crate::calls::{detached, eventually};
use bulkhead_protocol::agent::{End, ExecutionSpec, InputTaken, Stdin, Stdio};

fn open(script: &str) -> ExecutionSpec {
    ExecutionSpec { stdio: Stdio::Pipes(Stdin::Open), ..detached(script) }
}

fn write(agent: &Agent, handle: u64, rest: &str, bytes: &[u8]) -> u64 {
    let (status, text) = agent.call("POST", handle, rest, bytes);
    assert_eq!(status, 200, "{text}");
    serde_json::from_str::<InputTaken>(&text).unwrap().bytes
}

#[test]
fn bytes_go_in_whole_and_closing_is_the_end_of_them() {
    let agent = Agent::start();
    let handle = agent.detach(&open("sha256sum; echo end"));
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..3 {
        assert_eq!(write(&agent, handle, "stdin", &piece), 1 << 20, "more than a pipe holds");
    }
    assert_eq!(write(&agent, handle, "stdin?close", b"\0\xff"), 2);
    assert_eq!(
        agent.read_from(handle, 0).text(),
        "bf80f6a45581bd102a3d70f351f55ad3c72383f13e74df0650646f9ffc1ad8f2  -\nend\n"
    );
    assert_eq!(agent.call("POST", handle, "stdin", b"x").0, 409);
}

#[test]
fn what_the_program_does_not_take_is_said() {
    let agent = Agent::start();
    let handle = agent.detach(&open("exec 0<&-; echo closed; sleep 1000"));
    eventually("it has closed its input", || agent.status_of(handle).unwrap().offset > 0);
    assert_eq!(write(&agent, handle, "stdin", b"nobody reads this"), 0);
    agent.kill(handle);
    // It never reads, and is killed while a request waits.
    let handle = agent.detach(&open("sleep 1000"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| write(&agent, handle, "stdin", &vec![0; 1 << 20]));
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!waiting.is_finished());
        agent.kill(handle);
        let taken = waiting.join().unwrap();
        assert!(taken > 0 && taken < 1 << 20, "{taken}");
    });
}

#[test]
fn only_an_open_input_takes_anything() {
    let agent = Agent::start();
    let handle = agent.detach(&detached("cat; sleep 1000"));
    assert_eq!(agent.call("POST", handle, "stdin", &vec![0; 1 << 20]).0, 409);
    assert_eq!(agent.call("POST", handle, "size", br#"{"cols":80,"rows":24}"#).0, 409);
    assert_eq!(agent.call("GET", handle, "terminal", b"").0, 409);
    assert_eq!(agent.call("POST", handle, "stdin?open", b"x").0, 400);
    agent.kill(handle);
    let handle = agent.detach(&open("cat"));
    assert_eq!(agent.call("POST", handle + 1, "stdin", &vec![0; 1 << 20]).0, 404);
    assert_eq!(write(&agent, handle, "stdin?close", b""), 0);
    assert_eq!(agent.end_of(handle).end, End::Exited { code: 0 });
    agent.wait_until_empty();
}
