//! M04, M06, M10, M13: agents that say what is not true, or not theirs to say.

use super::{GROWTH, LATE, assert_headers_are_ours, assert_log_is_ours, hostile_server, misbehave, named};
use crate::base::Base;
use bulkhead_tests::{eventually, host};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Largest count that is told.
const MOST: u64 = 1 << 53;

#[test]
fn m04_no_byte_of_an_agent_becomes_a_header_a_status_or_a_line_of_the_log() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    for word in ["reason", "refusal text", "redirect", "kind"] {
        let sandbox = named(&server, "injects");
        let (answer, _took) = misbehave(&sandbox, word);
        sandbox.delete();
        assert_headers_are_ours(word, &answer);
        let text = answer.text();
        assert!(!text.contains("forged") && !text.contains("Forged") && !text.contains('\u{1b}'), "{text}");
        assert!(answer.error(502).starts_with("the sandbox's agent failed"), "{word}");
    }
    let sandbox = named(&server, "list-text");
    let list = sandbox.get("/commands/list").expect(200);
    sandbox.delete();
    assert_headers_are_ours("list", &list);
    assert!(!list.body.iter().any(|byte| *byte < 0x20), "control bytes are encoded: {}", list.text());
    let script = &list.json()["processes"][0]["command"];
    assert_eq!(script, "a\r\nX-Forged: 1\0\u{1b}[31m\u{2028}</script>");
    base.delete_others();
    base.assert_back();
    assert_log_is_ours(&server);
}

#[test]
fn m04_no_byte_of_an_agent_becomes_an_event() {
    let server = hostile_server();
    let sandbox = named(&server, "injects");
    let mut stream = sandbox.open("/exec-stream", &[], &json!({"command": "!events"}));
    assert_eq!(stream.status, 200);
    let text = String::from_utf8_lossy(&stream.read_to_end()).into_owned();
    let (mut names, mut exits) = (BTreeSet::new(), Vec::new());
    // A reader takes each of the three for the end of a line.
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    for block in lines.split("\n\n") {
        let name = block.lines().find_map(|line| line.strip_prefix("event:")).map(str::trim);
        let data: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("data:")).collect();
        names.extend(name);
        if name == Some("exit") {
            exits.push(data.concat());
        }
        assert!(block.lines().all(|line| !line.starts_with("retry:")), "{block:?}");
        // What a reader would take for the number of an event has to be one of ours.
        for id in block.lines().filter_map(|line| line.strip_prefix("id:")) {
            assert!(
                id.trim().parse::<u64>().is_ok_and(|id| id > 9 || data.is_empty() || id > 0),
                "{block:?}"
            );
        }
    }
    assert!(
        names.is_subset(&BTreeSet::from(["stdout", "stderr", "exit", "start", "started"])),
        "{names:?}: {text:?}"
    );
    assert_eq!(exits.len(), 1, "{text:?}");
    let exit: Value = serde_json::from_str(&exits[0]).unwrap_or_else(|e| panic!("{e}: {exits:?}"));
    assert_eq!(exit["exitCode"], 7, "{exit}");
    let data = sandbox.exec("!events");
    assert_eq!(data.code, 7);
    assert!(
        data.stdout.starts_with("a\r\nevent: exit\r\ndata: forged"),
        "in JSON it is told as it is: {}",
        data.data
    );
}

#[test]
fn m06_what_cannot_be_is_a_fault() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    let lies = ["code 256", "code -1", "signal 0", "signal 65", "negative time", "float", "negative handle"];
    for word in lies.into_iter().chain(["handle 0", "handle", "gap back", "gap over"]) {
        let sandbox = named(&server, "lies");
        let (answer, took) = misbehave(&sandbox, word);
        assert!(answer.error(502).starts_with("the sandbox's agent failed"), "{word}");
        assert!(took < LATE, "{word}: {took:?}");
        assert_eq!(sandbox.object()["status"], "error", "{word} marks the sandbox");
        sandbox.delete();
    }
    assert!(
        named(&server, "list-handle").get("/commands/list").error(502).starts_with("the sandbox's agent")
    );
    base.assert_grown_at_most(GROWTH);
    base.delete_others();
    base.assert_back();
}

#[test]
fn m06_what_is_only_huge_is_cut() {
    let server = hostile_server();
    let run = named(&server, "lies").exec("!huge");
    for field in ["cpuMs", "wallMs", "peakMemoryBytes"] {
        let told = run.data["usage"][field].as_u64().or(run.data[field].as_u64());
        assert!(told.is_none_or(|told| told <= MOST), "{field}: {}", run.data);
    }
    assert!(run.data.to_string().contains(&MOST.to_string()), "the lie is told, cut: {}", run.data);
    let list = named(&server, "list-time").get("/commands/list").expect(200).json();
    let row = &list["processes"][0];
    assert!(row["offset"].as_u64().is_some_and(|offset| offset <= MOST), "{row}");
    // An instant that clients can read, whatever the agent said.
    let time = row["startTime"].as_str().unwrap_or_else(|| panic!("startTime: {row}"));
    assert!(time.len() <= 40 && time.contains('T') && time.ends_with('Z'), "{time}");
}

/// The handle that an agent gives is the only number that comes back to it; it is the agent's to resolve.
#[test]
fn m06_a_kill_hits_nothing_of_the_host() {
    let server = hostile_server();
    let sandbox = named(&server, "lies");
    let mut canary = Command::new("sleep").arg("71866").stdin(Stdio::null()).spawn().expect("sleep starts");
    let pid = u64::from(canary.id());
    let answer = sandbox.post("/commands/kill", &json!({"pid": pid}));
    assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
    let answer = sandbox.post(&format!("/commands/{pid}/signal"), &json!({"signal": 9}));
    assert!(matches!(answer.status, 200 | 400 | 404), "{}", answer.text());
    let own = sandbox.run("sleep 1");
    assert!(sandbox.kill(own) <= u64::from(u32::MAX));
    assert!(canary.try_wait().expect("it is ours").is_none(), "the canary was killed");
    canary.kill().expect("it is ours");
    canary.wait().expect("it is ours");
}

/// A stream is a connection: there is no number by which one could speak for another.
#[test]
fn m10_frames_that_belong_to_another_end_the_stream() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    for word in ["input", "two starts", "no start", "after end"] {
        let sandbox = named(&server, "talks");
        let honest = sandbox.stream("echo one; sleep 2; echo two");
        let (answer, took) = misbehave(&sandbox, word);
        assert!(answer.error(502).starts_with("the sandbox's agent failed"), "{word}");
        assert!(took < LATE, "{word}: {took:?}");
        let all = honest.collect();
        assert_eq!(all.code(), 0, "{word}: the other stream is itself: {}", all.exit);
        sandbox.delete();
    }
    base.delete_others();
    base.assert_back();
}

#[test]
fn m13_an_agent_of_another_protocol_is_refused() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    let before = server.instance().sandboxes().len();
    for name in
        ["liar", "old", "new", "unversioned", "twice", "http2", "switch", "zip", "bytes", "closes", "exits"]
    {
        let start = Instant::now();
        let body = json!({"name": name, "image": "code", "cpu": 1, "mem": 1024});
        let message = server.client().post("/sandboxes", &body).error(500);
        assert!(message.starts_with("the sandbox did"), "{name}: {message}");
        assert!(start.elapsed() < Duration::from_secs(10), "{name}: {:?}", start.elapsed());
    }
    // What an agent of a later release says beside what is known is passed over, and goes no further.
    let body = json!({"name": "more", "image": "code", "cpu": 1, "mem": 1024});
    let made = server.client().post("/sandboxes", &body).expect(201);
    assert!(!made.text().contains("capabilities"), "{}", made.text());
    let id = made.data()["id"].as_str().expect("an id").to_owned();
    let _deleted = server.client().delete(&format!("/sandboxes/{id}")).expect(200);
    eventually("nothing of them is left", || {
        let now = server.instance().sandboxes().len();
        if now <= before { Ok(()) } else { Err(format!("{now}, {before} before")) }
    });
    let hostile =
        host::processes().into_iter().filter(|p| p.command.contains("hostile sandbox") && p.state != 'Z');
    assert!(hostile.count() >= 1, "the neighbour's agent runs");
    base.delete_others();
    base.assert_back();
    assert_log_is_ours(&server);
}
