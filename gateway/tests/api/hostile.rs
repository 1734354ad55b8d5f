//! Agents that stall, flood and lie (security M01, M02, M06): every one costs its own sandbox, and nothing
//! else.

use crate::world::{World, descriptors, eventually};
use serde_json::json;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn an_agent_that_stalls_is_given_up_and_costs_nothing_after() {
    let world = World::new();
    let id = world.sandbox("code");
    assert_eq!(world.run(&id, "x").status, 200);
    let before = descriptors(world.pid());
    std::thread::scope(|scope| {
        let stalls = ["never", "half a head", "half a frame", "hang deaf"];
        let (world, id) = (&world, &id);
        let runs = stalls.map(|stall| {
            scope.spawn(move || {
                let start = Instant::now();
                (stall, world.exec(id, &json!({"command": stall, "timeout": 300})), start.elapsed())
            })
        });
        for run in runs {
            let (stall, answer, time) = run.join().unwrap();
            assert_eq!(answer.status, 504, "{stall}: {answer:?}");
            assert!(time < Duration::from_secs(35), "{stall}: {time:?}");
        }
    });
    eventually("the descriptors are closed", || descriptors(world.pid()) <= before);
    assert_eq!(world.status(&id), "running", "slow is not malicious");
}

#[test]
fn an_agent_that_floods_or_lies_is_cut() {
    let world = World::new();
    let honest = world.sandbox("code");
    let resident = || {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", world.pid())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = resident();
    let lies = [
        "endless header",
        "many headers",
        "endless 1xx",
        "garbage",
        "giant frame",
        "unknown frame",
        "optional frames",
        "empty frames",
        "no start",
        "bad code",
        "bad json",
        "long refusal",
        "status 500",
    ];
    for lie in lies {
        let id = world.sandbox("code");
        let start = Instant::now();
        let answer = world.run(&id, lie);
        let expected = if lie == "endless 1xx" { [504, 502] } else { [502, 502] };
        assert!(expected.contains(&answer.status), "{lie}: {answer:?}");
        assert!(answer.error().starts_with("the sandbox's agent"), "{lie}: {answer:?}");
        assert!(start.elapsed() < Duration::from_secs(12), "{lie}");
        if answer.status == 502 {
            assert_eq!(world.status(&id), "error", "{lie} marks the sandbox");
        }
        assert_eq!(world.client().delete(&format!("/api/sandboxes/{id}")).status, 200);
    }
    assert_eq!(world.run(&honest, "x").status, 200);
    let metrics = world.scrape();
    for line in ["agent_faults_total{kind=\"malformed\"} 1", "executions_ended_total{kind=\"exited\"} 1"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 << 20, "the gateway grew by {grown} bytes");
    assert!(!world.log().contains("forged") && !world.log().contains("\u{1b}[31m"));
}

#[test]
fn a_connection_that_breaks_under_a_living_agent_is_a_fault() {
    let world = World::new();
    let id = world.sandbox("code");
    assert_eq!(world.run(&id, "cut frame").status, 502);
    assert_eq!(world.status(&id), "running");
}

#[test]
fn ends_and_refusals_have_their_status_and_text() {
    let world = World::new();
    let id = world.sandbox("code");
    for (command, status, text) in [
        ("no shell", 400, "command: "),
        ("no dir", 400, "cwd: "),
        ("no process", 429, "process limit reached"),
    ] {
        let answer = world.run(&id, command);
        assert_eq!(answer.status, status, "{command}");
        assert!(answer.error().starts_with(text), "{answer:?}");
    }
    for (command, code, kind) in
        [("timeout", 124, "timeout"), ("oom", 137, "oom"), ("signal", 139, "signaled")]
    {
        let data = &world.run(&id, command).json["data"];
        assert_eq!((data["exitCode"].clone(), data["end"]["kind"].clone()), (json!(code), json!(kind)));
    }
    let data = &world.run(&id, "bytes").json["data"];
    assert_eq!(data["stdout"], "a\u{fffd}\0\u{1b}[0m\r\nevent: x\n\u{fffd}");
    let data = &world.run(&id, "much").json["data"];
    assert_eq!(data["stdout"].as_str().unwrap().len(), 8 << 20);
    assert_eq!(data["truncated"]["stdout"], 160 * 65_536 - (8 << 20));
}

#[test]
fn a_client_that_leaves_ends_its_command() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let before = descriptors(world.pid());
    let mut stream = client.connect();
    let path = format!("/api/sandboxes/{id}/exec");
    stream.write_all(&client.text("POST", &path, br#"{"command":"hang","timeout":300}"#)).unwrap();
    eventually("the command runs", || {
        world.scrape().contains("executions_started_total 1") && descriptors(world.pid()) > before
    });
    drop(stream);
    eventually("the command's connection is closed", || descriptors(world.pid()) <= before);
}

#[test]
fn a_slow_header_is_cut_while_others_are_served() {
    let world = World::new();
    let client = world.client();
    let mut slow: Vec<_> = (0..200).map(|_| client.connect()).collect();
    let start = Instant::now();
    for stream in &mut slow {
        stream.write_all(b"GET /api/version HTTP/1.1\r\nX: ").unwrap();
    }
    assert_eq!(client.get("/api/version").status, 200);
    for stream in &mut slow {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    }
    let time = start.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(15)).contains(&time), "{time:?}");
}
