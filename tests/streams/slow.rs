//! Readers that stop reading: they slow their own process, not the gateway and not a neighbour.

use bulkhead_tests::Server;
use bulkhead_tests::streaming::Streaming;
use serde_json::json;
use std::time::{Duration, Instant};

/// What the gateway and an agent may grow by, in KiB.
const GROWTH: u64 = 24 << 10;

#[test]
fn h06_readers_who_stop_grow_nothing_alone() {
    let server = Server::start();
    let (flooding, neighbour) = (server.create(), server.create());
    let _warm = (flooding.stream("seq 100000").collect(), neighbour.exec("true"));
    let timed = || {
        let start = Instant::now();
        let _run = neighbour.exec("true").ok();
        start.elapsed()
    };
    let before = (server.half("gateway").resident_kib(), flooding.agent().resident_kib());
    let quiet = (0..9).map(|_| timed()).min().expect("nine");
    let stalled: Vec<Streaming> = (0..20)
        .map(|_| {
            let mut answer =
                flooding.open("/exec-stream", &[], &json!({"command": "yes 71717", "timeout": 200}));
            assert_eq!(answer.status, 200, "{}", answer.head);
            let _some = answer.read();
            answer
        })
        .collect();
    bulkhead_tests::eventually("the processes are held up", || {
        let ticks =
            || -> u64 { flooding.processes().iter().map(bulkhead_tests::host::Process::cpu_ticks).sum() };
        let (from, start) = (ticks(), Instant::now());
        let _calm = neighbour.exec("sleep 0.5");
        let used = ticks().saturating_sub(from);
        if used < 10 { Ok(()) } else { Err(format!("{used} ticks in {:?}", start.elapsed())) }
    });
    let after = (server.half("gateway").resident_kib(), flooding.agent().resident_kib());
    println!("KiB of gateway and agent: {before:?} before, {after:?} with 20 readers who stopped");
    assert!(after.0 < before.0 + GROWTH, "gateway: {} KiB, {} before", after.0, before.0);
    assert!(after.1 < before.1 + GROWTH, "agent: {} KiB, {} before", after.1, before.1);
    let busy = (0..9).map(|_| timed()).min().expect("nine");
    assert!(busy < quiet * 3 + Duration::from_millis(20), "a neighbour's exec: {busy:?}, {quiet:?} before");
    stalled.into_iter().for_each(Streaming::cut);
    crate::assert_gone(&flooding, "yes 71717");
}

#[test]
fn one_who_reads_slowly_loses_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let mut events = sandbox.stream_with("", "seq 1000000", json!({"timeout": 200}));
    let (mut text, start) = (String::new(), Instant::now());
    while let Some(event) = events.next_event() {
        if event.name != "stdout" {
            assert_eq!((event.name.as_str(), &event.json()["exitCode"]), ("exit", &json!(0)));
            break;
        }
        text += &event.data;
        if text.len() < 1 << 20 {
            // The journal is full many times over meanwhile.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let expected: String = (1..=1_000_000).map(|n| format!("{n}\n")).collect();
    assert!(text == expected, "{} of {} bytes", text.len(), expected.len());
    println!("{} bytes in {:?}", text.len(), start.elapsed());
}

#[test]
fn a_flood_that_is_read_keeps_memory_flat_alone() {
    let server = Server::start();
    let sandbox = server.create();
    let _warm = sandbox.stream("seq 100000").collect();
    let before = (server.half("gateway").resident_kib(), sandbox.agent().resident_kib());
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";
    let size = 256_u64 << 20;
    let script = format!("yes {line} | head -c {size}");
    let mut answer = sandbox.open("/exec-stream", &[], &json!({"command": script, "timeout": 200}));
    let start = Instant::now();
    let (mut letters, mut read, mut most) = (0_u64, 0, before);
    loop {
        let piece = answer.read();
        if piece.is_empty() {
            break;
        }
        letters += u64::try_from(piece.iter().filter(|byte| **byte == b'f').count()).expect("small");
        if (read >> 24) != ((read + piece.len()) >> 24) {
            most.0 = most.0.max(server.half("gateway").resident_kib());
            most.1 = most.1.max(sandbox.agent().resident_kib());
        }
        read += piece.len();
    }
    let rate = (size >> 20) * 1000 / u64::try_from(start.elapsed().as_millis()).unwrap_or(1).max(1);
    println!("{rate} MiB/s; KiB of gateway and agent {before:?} before, {most:?} at most");
    // A line has this letter three times, the frames of output not at all.
    let expected = 3 * size / 64;
    assert!((expected..expected + 20).contains(&letters), "{letters} of {expected}");
    assert!(most.0 < before.0 + GROWTH && most.1 < before.1 + GROWTH, "before {before:?}, most {most:?} KiB");
}

#[test]
fn more_readers_than_may_be_are_told_so() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("echo x; sleep 71718");
    let (mut held, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let answer = sandbox.open("/commands/attach", &[], &json!({"pid": pid}));
        let to = if answer.status == 200 { &mut held } else { &mut refused };
        to.push(answer);
    }
    assert!(held.len() >= 64 && !refused.is_empty(), "{} of 200", held.len());
    for mut answer in refused {
        assert!(matches!(answer.status, 409 | 429 | 503), "{}", answer.head);
        let body = String::from_utf8(answer.read_to_end()).expect("UTF-8");
        assert!(body.starts_with("{\"error\":"), "{body}");
    }
    held.into_iter().for_each(Streaming::cut);
    bulkhead_tests::eventually("there is room again", || {
        let answer = sandbox.post_exec(&json!({"command": "echo room"}));
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    assert_eq!(sandbox.attach(pid, "").within(Duration::from_secs(5)).data, "x\n");
    assert!(sandbox.kill(pid) >= 1);
}

#[test]
fn h06_one_who_stopped_reading_is_cut_after_a_while() {
    let server = Server::start();
    let sandbox = server.create();
    let more = |script: &str, on_disconnect: &str| json!({"command": script, "timeout": 300, "onDisconnect": on_disconnect});
    let killed = sandbox.open("/exec-stream", &[], &more("yes 71719", "kill"));
    let detached = sandbox.open("/exec-stream", &[], &more("yes 71720", "detach"));
    assert_eq!((killed.status, detached.status), (200, 200));
    let pid: u64 = detached.header("x-execution-pid").and_then(|v| v.parse().ok()).expect("X-Execution-Pid");
    crate::wait_for(&sandbox, "yes 71719", 1);
    bulkhead_tests::within(Duration::from_secs(110), "the stalled stream is cut and its tree gone", || {
        let there = sandbox.processes().iter().any(|p| p.command.contains("yes 71719"));
        if there { Err("it runs".to_owned()) } else { Ok(()) }
    });
    assert!(sandbox.lists(pid), "the detached one goes on");
    let mut events = sandbox.attach(pid, "?from=0&encoding=base64");
    let first = events.within(Duration::from_secs(5));
    assert!(first.name == "gap" || first.bytes().starts_with(b"71720\n"), "{first:?}");
    assert!(sandbox.kill(pid) >= 1);
    drop((killed, detached));
}
