//! M02, M12, M14: agents that say too much, in forms that have to be unpacked, or at random.

use super::{GROWTH, LATE, assert_headers_are_ours, assert_log_is_ours, hostile_server, misbehave, named};
use crate::base::Base;
use bulkhead_tests::Server;
use serde_json::json;
use std::time::{Duration, Instant};

/// From a request to the head of its answer: an agent that never stops talking is cut here at the latest.
const CUT: Duration = Duration::from_secs(10);
/// Random answers of one run.
const RANDOM: u32 = 400;
/// None of them may keep a client longer than a silent one does; those that end by themselves are far below.
const SILENCE: Duration = Duration::from_secs(30);

#[test]
fn m02_who_never_stops_is_cut_and_the_gateway_stays_small() {
    let server = hostile_server();
    let neighbours = Server::start();
    let neighbour = neighbours.create();
    let base = Base::of_many(&server, 4);
    let floods = [
        "headers",
        "header line",
        "status line",
        "early hints",
        "blank lines",
        "chunk size",
        "chunk extension",
        "trailers",
        "two lengths",
        "negative length",
        "refusal",
        "giant",
        "unknown",
        "empty",
        "keep alive",
        "zeros",
        "long json",
        "depth",
        "bare CR",
        "NUL",
    ];
    for word in floods {
        let sandbox = named(&server, "floods");
        let (answer, took) = misbehave(&sandbox, word);
        assert!(matches!(answer.status, 502 | 504), "{word}: {}", answer.text());
        let message = answer.error(answer.status);
        assert!(message.starts_with("the sandbox's agent"), "{word}: {message}");
        assert!(took < CUT + LATE, "{word}: {took:?}");
        assert_headers_are_ours(word, &answer);
        sandbox.delete();
    }
    assert_eq!(neighbour.exec("echo well").stdout, "well\n");
    base.assert_grown_at_most(GROWTH);
    base.delete_others();
    base.assert_back();
    assert_log_is_ours(&server);
}

#[test]
fn m02_an_endless_list_is_cut() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    for name in ["list-long", "list-many"] {
        let (start, sandbox) = (Instant::now(), named(&server, name));
        let answer = sandbox.get("/commands/list");
        sandbox.delete();
        assert!(start.elapsed() < CUT, "{name}: {:?}", start.elapsed());
        match name {
            "list-long" => assert!(answer.error(502).starts_with("the sandbox's agent failed")),
            // As many as a sandbox may have.
            _ => assert_eq!(answer.expect(200).json()["processes"].as_array().map(Vec::len), Some(64)),
        }
    }
    base.assert_grown_at_most(GROWTH);
    base.delete_others();
    base.assert_back();
}

/// What an execution may say without end, it may say until its time is up, and the gateway keeps no more than it tells.
#[test]
fn m02_an_endless_answer_ends_with_its_time() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    std::thread::scope(|scope| {
        for word in ["flood", "tiny", "drip", "one byte chunks"] {
            let sandbox = named(&server, "floods");
            scope.spawn(move || {
                let start = Instant::now();
                let body = json!({"command": format!("!{word}"), "timeout": 2});
                let answer = sandbox.post_exec(&body);
                let took = start.elapsed();
                println!("{word}: {} after {took:?}", answer.status);
                assert!(took < Duration::from_secs(12) + LATE, "{word}: {took:?}");
                if answer.status == 200 {
                    let data = answer.data();
                    assert_eq!(data["end"]["kind"], "timeout", "{word}");
                    let kept = data["stdout"].as_str().map_or(0, str::len);
                    assert!(kept <= 8 << 20, "{word}: {kept}");
                } else {
                    assert!(answer.error(502).starts_with("the sandbox's agent failed"), "{word}");
                }
                sandbox.delete();
            });
        }
    });
    base.delete_others();
    base.assert_back();
}

#[test]
fn m02_descriptors_of_an_agent_are_not_taken() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    let sandbox = named(&server, "rights");
    for _ in 0..20 {
        let run = sandbox.exec("!rights");
        assert_eq!((run.stdout.len(), run.code), (20, 0), "{}", run.data);
    }
    base.delete_others();
    base.assert_back();
}

#[test]
fn m12_nothing_is_unpacked_and_no_text_is_believed() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    for word in ["zip", "surrogate"] {
        let sandbox = named(&server, "zips");
        let (answer, took) = misbehave(&sandbox, word);
        sandbox.delete();
        assert!(answer.error(502).starts_with("the sandbox's agent failed"), "{word}");
        assert_headers_are_ours(word, &answer);
        assert!(took < LATE, "{word}: {took:?}");
    }
    for name in ["list-zip", "list-bytes", "list-surrogate"] {
        let sandbox = named(&server, name);
        let answer = sandbox.get("/commands/list");
        sandbox.delete();
        assert!(answer.error(502).starts_with("the sandbox's agent failed"), "{name}");
        assert_headers_are_ours(name, &answer);
    }
    base.assert_grown_at_most(GROWTH);
    base.delete_others();
    base.assert_back();
}

#[test]
fn m14_random_frames_give_an_answer_of_the_contract_each() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    let mut statuses = [0_u32; 3];
    // A sandbox that broke the protocol is marked; it still answers.
    let sandbox = named(&server, "random");
    for n in 0..RANDOM {
        let (answer, took) = misbehave(&sandbox, &format!("random {n}"));
        assert!(took < SILENCE, "random {n}: {took:?}");
        match answer.status {
            200 => statuses[0] += 1,
            502 => statuses[1] += u32::from(answer.error(502).starts_with("the sandbox's agent failed")),
            status => panic!("random {n}: {status} {}", answer.text()),
        }
    }
    println!("{statuses:?}");
    sandbox.delete();
    assert!(statuses[0] > 10 && statuses[1] > 10 && statuses[0] + statuses[1] == RANDOM, "{statuses:?}");
    base.assert_grown_at_most(GROWTH);
    base.delete_others();
    base.assert_back();
    assert_log_is_ours(&server);
}
