//! Bodies that are hostile or no JSON at all, on the routes of this step.

use bulkhead_tests::Server;
use bulkhead_tests::streaming::Streaming;
use std::time::{Duration, Instant};

const WITH_BODY: &[&str] = &[
    "/exec-stream",
    "/session-exec",
    "/session-exec-stream",
    "/commands/run",
    "/commands/kill",
    "/commands/attach",
    "/commands/wait",
    "/commands/1048577/signal",
    "/pty/sessions",
    "/pty/sessions/sess-1/execute",
    "/pty/sessions/sess-1/resize",
];

#[test]
fn what_is_no_object_is_400_at_once() {
    let server = Server::start();
    let sandbox = server.create();
    let deep = format!("{{\"command\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let many: Vec<String> = (0..60_000).map(|n| format!("\"k{n}\":1")).collect();
    let many = format!("{{{}}}", many.join(","));
    let rows = [
        "[]",
        "1",
        "\"x\"",
        "{",
        "{\"command\":1e400}",
        "{\"command\":NaN}",
        "{}}",
        "\u{feff}{}",
        &deep,
        &many,
    ];
    for rest in WITH_BODY {
        for body in rows {
            let start = Instant::now();
            let answer = sandbox.client().call("POST", &sandbox.path(rest), Some(body));
            let shown: String = body.chars().take(30).collect();
            assert!(
                matches!(answer.status, 400 | 404),
                "{rest} {shown}: {} {}",
                answer.status,
                answer.text()
            );
            let _message = answer.error(answer.status);
            assert!(start.elapsed() < Duration::from_secs(1), "{rest} {shown}: {:?}", start.elapsed());
        }
        let huge = format!("{{\"command\":\"{}\"}}", "x".repeat(3 << 20));
        let headers = [("Content-Type", "application/json")];
        let answer = Streaming::post_bytes(sandbox.client(), &sandbox.path(rest), &headers, huge.as_bytes());
        assert!(matches!(answer.status, 413 | 404), "{rest}: {}", answer.status);
    }
    assert_eq!((sandbox.running().len(), sandbox.sessions().len()), (0, 0));
}

#[test]
fn hostile_paths_are_errors_of_the_client() {
    let server = Server::start();
    let sandbox = server.create();
    let rows = [
        "/commands",
        "/commands/",
        "/commands/nosuch",
        "/commands/1/nosuch",
        "/pty/sessions/%00",
        "/pty/sessions/..%2f..%2fetc",
        "/pty/sessions/%ff/buffer",
        "/pty/nosuch",
        "/exec-stream/x",
    ];
    for rest in rows {
        for method in ["GET", "POST", "DELETE"] {
            let answer =
                sandbox.client().call(method, &sandbox.path(rest), (method == "POST").then_some("{}"));
            assert!(
                matches!(answer.status, 400 | 404 | 405 | 426),
                "{method} {rest}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
}
