//! `commands/*`: the table of contract §5.

use bulkhead_tests::{Server, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[test]
fn a_fresh_sandbox_runs_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let answer = sandbox.get("/commands/list").expect(200);
    assert_eq!(answer.json(), json!({"success": true, "processes": []}));
    let _run = sandbox.exec("true").ok();
    assert_eq!(sandbox.running(), Vec::<Value>::new(), "an exec is no background command");
}

#[test]
fn the_list_shows_what_runs_and_only_that() {
    let server = Server::start();
    let sandbox = server.create();
    let start = Instant::now();
    let script = "echo one;  sleep 90909 # spaces  stay";
    let pid = sandbox.run(script);
    assert!(start.elapsed() < Duration::from_secs(2), "run does not wait");
    let rows = sandbox.running();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = rows[0].as_object().expect("a row is an object");
    assert_eq!((&row["pid"], &row["command"], &row["running"]), (&json!(pid), &json!(script), &json!(true)));
    assert!(row.get("exitCode").is_none_or(Value::is_null), "{row:?}");
    let started = row["startTime"].as_str().unwrap_or_default();
    assert!(started.len() >= 20 && started.as_bytes()[10] == b'T' && started.ends_with('Z'), "{row:?}");
    assert!(started[..4].parse::<u32>().is_ok_and(|year| year >= 2026), "{row:?}");

    let second = sandbox.run("sleep 90909");
    let pids: Vec<_> = sandbox.running().iter().map(|row| row["pid"].as_u64()).collect();
    assert_eq!(pids, [Some(pid), Some(second)], "in the order of their start");
    let _ended = (sandbox.kill(pid), sandbox.kill(second));
    assert_eq!(sandbox.running(), Vec::<Value>::new(), "a receipt means that it is gone");
    crate::assert_gone(&sandbox, "90909");
}

#[test]
fn what_has_ended_is_hidden_and_still_known() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("echo done; exit 5");
    eventually("it is no longer listed", || if sandbox.lists(pid) { Err(String::new()) } else { Ok(()) });
    for _ in 0..2 {
        assert_eq!(sandbox.wait(pid), 5);
        let got = sandbox.attach(pid, "").collect();
        assert_eq!((got.stdout.as_str(), got.code()), ("done\n", 5));
        assert_eq!(sandbox.kill(pid), 0, "killing what has ended is a success");
    }
}

#[test]
fn wait_waits() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("sleep 2; exit 3");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| assert_eq!(sandbox.wait(pid), 3));
        }
    });
    let took = start.elapsed();
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(6), "{took:?}");
    let killed = sandbox.run("sleep 91919");
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| sandbox.post("/commands/wait", &json!({"pid": killed})).expect(200).json());
        assert!(sandbox.kill(killed) >= 1);
        let answer = waiting.join().expect("an answer");
        assert_eq!((&answer["success"], &answer["exitCode"]), (&json!(true), &json!(137)), "{answer}");
    });
}

#[test]
fn ends_are_those_of_exec() {
    let server = Server::start();
    let sandbox = server.create();
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -15 $$; sleep 9", 143), ("nosuch", 127)] {
        assert_eq!(sandbox.wait(sandbox.run(script)), code, "{script}");
    }
    let pid = sandbox.run_with("echo before; sleep 92929", json!({"timeout": 1}));
    let answer = sandbox.post("/commands/wait", &json!({"pid": pid})).expect(200).json();
    assert_eq!(answer["exitCode"], 124, "{answer}");
    assert!(answer["error"].is_string(), "a timeout says so: {answer}");
    crate::assert_gone(&sandbox, "92929");
}

#[test]
fn fields_are_those_of_the_contract() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"envVars": {"GIVEN": "sandbox"}}));
    let more = json!({"env": {"CALL": "call"}, "cwd": "/tmp", "timeout": 0});
    let pid = sandbox.run_with("pwd; echo $GIVEN $CALL", more);
    assert_eq!(sandbox.attach(pid, "").collect().stdout, "/tmp\nsandbox call\n");
    for odd in [json!(-1), json!(0), json!(900), json!(901), json!(86400), Value::Null] {
        let pid = sandbox.run_with("echo ran", json!({"timeout": odd, "env": null, "cwd": null}));
        assert_eq!(sandbox.attach(pid, "").collect().stdout, "ran\n", "{odd}");
    }
}

#[test]
fn without_a_timeout_a_command_outlives_the_default_of_exec() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run_with("sleep 33; echo alive", json!({"timeout": 0}));
    assert_eq!(sandbox.wait(pid), 0);
    assert_eq!(sandbox.attach(pid, "").collect().stdout, "alive\n");
}

#[test]
fn handles_are_never_used_again() {
    let server = Server::start();
    let sandbox = server.create();
    let mut seen = BTreeSet::new();
    for round in 0..60 {
        let pid = sandbox.run(if round % 2 == 0 { "true" } else { "sleep 93939" });
        assert!(seen.insert(pid), "{pid} was there before: {seen:?}");
        if round % 2 == 1 {
            let _ended = sandbox.kill(pid);
        }
    }
    assert!(seen.iter().all(|pid| pid >> 20 == 1), "the launch number stands above the counter: {seen:?}");
}

#[test]
fn the_last_hundred_ends_are_kept() {
    let server = Server::start();
    let sandbox = server.create();
    let pids: Vec<u64> = (0..130_i64)
        .map(|n| {
            let pid = sandbox.run(&format!("echo {n}; exit {}", n % 100));
            assert_eq!(sandbox.wait(pid), n % 100);
            pid
        })
        .collect();
    for (n, pid) in pids.iter().enumerate().skip(35) {
        assert_eq!(sandbox.wait(*pid), i64::try_from(n % 100).expect("small"), "{n} of {}", pids.len());
    }
    let _message = sandbox.post("/commands/wait", &json!({"pid": pids[0]})).error(404);
}

#[test]
fn too_many_at_once_are_told_so() {
    let server = Server::start();
    let sandbox = server.create();
    let mut made = Vec::new();
    let refusal = loop {
        assert!(made.len() <= 64, "there is no limit");
        let answer = sandbox.post("/commands/run", &json!({"command": "sleep 94949"}));
        if answer.status != 200 {
            break answer;
        }
        made.push(answer.json()["pid"].as_u64().expect("a pid"));
    };
    assert!(
        made.len() >= 32 && matches!(refusal.status, 409 | 429 | 503),
        "{}: {}",
        made.len(),
        refusal.text()
    );
    assert!(refusal.headers.get("retry-after").is_none());
    let _message = refusal.error(refusal.status);
    assert_eq!(sandbox.running().len(), made.len());
    for pid in made {
        let _ended = sandbox.kill(pid);
    }
    assert_eq!(sandbox.exec("echo room again").stdout, "room again\n");
    crate::assert_gone(&sandbox, "94949");
}
