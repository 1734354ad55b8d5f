//! Group M: the agent as the adversary. A real server launches somebody else's program in the place of our agent
//! (`tests/inner/src/hostile.py`), which gets all that a launch hands over and then stalls, floods, lies and refuses
//! to die. Everything is driven and judged through the public API, from the host, and from the log.

mod ends;
mod floods;
mod lies;
mod rights;
mod stalls;

use bulkhead_tests::programs::hostile_agent;
use bulkhead_tests::{Answer, Options, Sandbox, Server};
use serde_json::json;
use std::time::{Duration, Instant};

/// What the gateway may grow by under any attack of an agent, in KiB (catalogue M02).
const GROWTH: u64 = 8 << 10;
/// What a busy machine may add to any deadline.
const LATE: Duration = Duration::from_secs(4);

/// A server all of whose sandboxes are hostile.
fn hostile_server() -> Server {
    let agent = hostile_agent().display().to_string();
    Server::start_with(&Options { args: vec!["--agent".to_owned(), agent], ..Options::default() })
}

/// A sandbox whose agent does from its start what `name` says.
fn named<'a>(server: &'a Server, name: &str) -> Sandbox<'a> {
    server.create_with(json!({"name": name}))
}

/// Asks the agent to misbehave, and gives back what the client gets instead of it, and when.
fn misbehave(sandbox: &Sandbox<'_>, word: &str) -> (Answer, Duration) {
    let start = Instant::now();
    let answer = sandbox.post_exec(&json!({"command": format!("!{word}"), "timeout": 300}));
    (answer, start.elapsed())
}

/// Nothing that came from an agent stands in the log, and the gateway never panicked.
fn assert_log_is_ours(server: &Server) {
    let log = server.log();
    for word in ["forged", "Forged", "\u{1b}", "panicked", "sleep 1"] {
        assert!(!log.contains(word), "{word:?} in the log: {log}");
    }
}

/// No header of an answer is the agent's.
fn assert_headers_are_ours(what: &str, answer: &Answer) {
    for (name, value) in &answer.headers {
        let value = value.to_str().unwrap_or("no text");
        assert!(!name.as_str().contains("forged") && !value.contains("forged"), "{what}: {name}: {value}");
    }
    assert!(answer.headers.get("set-cookie").is_none(), "{what}");
    assert!(answer.headers.get("content-encoding").is_none(), "{what}");
}
