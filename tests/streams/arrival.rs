//! When things come: headers at once, lines as they are printed, the end without delay.

use bulkhead_tests::Server;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn headers_come_before_any_output() {
    let server = Server::start();
    let sandbox = server.create();
    let start = Instant::now();
    let answer = sandbox.open("/exec-stream", &[], &json!({"command": "sleep 3; echo late"}));
    assert!(start.elapsed() < Duration::from_secs(2), "the head took {:?}", start.elapsed());
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(
        answer.header("content-type").is_some_and(|v| v.starts_with("text/event-stream")),
        "{}",
        answer.head
    );
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-cache"), "{}", answer.head);
    assert_eq!(answer.header("x-accel-buffering").as_deref(), Some("no"), "{}", answer.head);
    let pid = answer.header("x-execution-pid").and_then(|v| v.parse::<u64>().ok());
    assert!(pid.is_some_and(|pid| pid > 0), "{}", answer.head);
    assert_eq!(bulkhead_tests::Events::of(answer).collect().stdout, "late\n");
}

#[test]
fn lines_come_as_they_are_printed() {
    let server = Server::start();
    let sandbox = server.create();
    let got = sandbox.stream("for i in 1 2 3 4; do echo line $i; sleep 0.5; done").collect();
    let lines = got.named("stdout");
    let texts: Vec<_> = lines.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(texts, ["line 1\n", "line 2\n", "line 3\n", "line 4\n"]);
    for pair in lines.windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause > Duration::from_millis(250) && pause < Duration::from_secs(2), "{pause:?}");
    }
}

#[test]
fn a_line_without_its_end_comes_after_a_short_pause() {
    let server = Server::start();
    let sandbox = server.create();
    let mut events = sandbox.stream("echo start; printf 'Name? '; sleep 4; echo done");
    let start = Instant::now();
    let mut text = String::new();
    while text != "start\nName? " {
        text += &events.within(Duration::from_secs(3)).data;
        assert!("start\nName? ".starts_with(&text), "{text:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(events.collect().stdout, "done\n");
}

#[test]
fn a_cut_character_waits_for_its_rest() {
    let server = Server::start();
    let sandbox = server.create();
    let script = r"for i in 1 2 3; do printf 'x\xf0\x9f'; sleep 0.4; printf '\x98\x80'; sleep 0.4; done";
    let got = sandbox.stream(script).collect();
    assert_eq!(got.stdout, "x😀x😀x😀", "{:?}", got.events);
}

#[test]
fn nothing_waits_for_a_descendant_that_holds_the_output() {
    let server = Server::start();
    let sandbox = server.create();
    for script in ["echo now; sleep 20 &", "echo now; setsid sleep 20 & disown"] {
        let start = Instant::now();
        let got = sandbox.stream(script).collect();
        assert_eq!((got.stdout.as_str(), got.code()), ("now\n", 0), "{script}");
        assert!(start.elapsed() < Duration::from_secs(5), "{script}: {:?}", start.elapsed());
    }
}

#[test]
fn the_connection_may_be_used_again_or_ends_right_after_the_exit() {
    let server = Server::start();
    let sandbox = server.create();
    let mut answer = sandbox.open("/exec-stream", &[], &json!({"command": "echo x"}));
    answer.patience(Duration::from_secs(5));
    let body = String::from_utf8(answer.read_to_end()).expect("UTF-8");
    assert!(body.contains("event:exit\n") && body.ends_with("\n\n"), "{body:?}");
}

#[test]
fn ends_are_told_in_the_exit() {
    let server = Server::start();
    let sandbox = server.create();
    let rows = [
        ("exit 0", 0),
        ("exit 7", 7),
        ("kill -15 $$; sleep 9", 143),
        ("kill -9 $$; sleep 9", 137),
        ("nosuch", 127),
    ];
    for (script, code) in rows {
        assert_eq!(sandbox.stream(script).collect().code(), code, "{script}");
    }
    let start = Instant::now();
    let got = sandbox.stream_with("", "echo before; sleep 81818", json!({"timeout": 1})).collect();
    assert_eq!((got.stdout.as_str(), got.code()), ("before\n", 124), "{}", got.exit);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(got.exit["error"].is_string(), "a timeout says so: {}", got.exit);
    crate::assert_gone(&sandbox, "81818");
}

#[test]
fn the_request_is_that_of_exec() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"envVars": {"GIVEN": "sandbox"}}));
    let more = json!({"env": {"CALL": "call"}, "cwd": "/tmp", "timeout": 5, "unknown": [1], "args": ["a b"]});
    let got = sandbox.stream_with("", "pwd; echo $GIVEN $CALL; printf '[%s]'", more).collect();
    assert_eq!(got.stdout, "/tmp\nsandbox call\n[a b]");
    let nulls = json!({"env": null, "cwd": null, "timeout": null});
    assert_eq!(sandbox.stream_with("", "pwd", nulls).collect().stdout, "/root\n");
    let long = format!("{}\necho \"it's 'long'\" # {}", "true; ".repeat(200), "x".repeat(90_000));
    assert_eq!(sandbox.stream(&long).collect().stdout, "it's 'long'\n");
    let code = sandbox
        .stream("cat > /tmp/c.py << 'EOF'\nfor i in range(2):\n    print(i)\n\nEOF\npython3 /tmp/c.py")
        .collect();
    assert_eq!(code.stdout, "0\n1\n");
}
