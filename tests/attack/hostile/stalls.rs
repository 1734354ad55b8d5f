//! M01, M08, M11: agents that do not speak, do not read, or hang up.

use super::{GROWTH, LATE, assert_log_is_ours, hostile_server, misbehave, named};
use crate::base::Base;
use bulkhead_tests::streaming::Streaming;
use bulkhead_tests::{Server, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

/// Two deadlines of a hello follow one another: head and body.
const HELLO: Duration = Duration::from_secs(10);
/// From a request to the head of its answer.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// Silence of a stream.
const IDLE: Duration = Duration::from_secs(30);
/// A whole unary answer, its head included.
const UNARY: Duration = Duration::from_secs(70);
/// Connections to one sandbox's agent at once.
const STREAMS: usize = 160;

#[test]
fn m01_who_never_says_hello_is_no_sandbox() {
    let server = hostile_server();
    let base = Base::of_many(&server, 5);
    std::thread::scope(|scope| {
        for name in ["mute", "half-head", "half-body", "slow", "deaf"] {
            let server = &server;
            scope.spawn(move || {
                let start = Instant::now();
                let body = json!({"name": name, "image": "code", "cpu": 1, "mem": 1024});
                let message = server.client().post("/sandboxes", &body).error(504);
                let took = start.elapsed();
                assert!(took < HELLO + LATE, "{name}: {took:?}");
                assert!(message.contains("did not answer in time"), "{name}: {message}");
            });
        }
    });
    let list = server.client().get("/sandboxes").expect(200).data();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "what did not start is gone: {list}");
    base.delete_others();
    base.assert_back();
    assert_log_is_ours(&server);
}

/// Sleeps through the longest deadline.
#[test]
fn m01_who_stalls_anywhere_is_given_up_in_time() {
    let server = hostile_server();
    let base = Base::of_many(&server, 3);
    std::thread::scope(|scope| {
        let stalls = [
            ("never", FIRST_BYTE),
            ("head", FIRST_BYTE),
            ("no frame", IDLE),
            ("half a header", IDLE),
            ("half a frame", IDLE),
            ("silence", IDLE),
        ];
        let sandbox = named(&server, "stalls");
        for (word, deadline) in stalls {
            let sandbox = sandbox.clone();
            scope.spawn(move || {
                let (answer, took) = misbehave(&sandbox, word);
                let message = answer.error(504);
                assert!(took >= deadline - Duration::from_secs(1), "{word}: {took:?}");
                assert!(took < deadline + LATE, "{word}: {took:?}");
                assert!(message.starts_with("the sandbox's agent did not answer"), "{word}: {message}");
            });
        }
        let stream = sandbox.clone();
        scope.spawn(move || {
            let start = Instant::now();
            let all = stream.stream("!silence").collect();
            assert!(start.elapsed() < IDLE + LATE, "{:?}", start.elapsed());
            assert_eq!(all.exit["error"], "the sandbox's agent did not answer in time", "{}", all.exit);
        });
        let (lists, kills) = (named(&server, "list-slow"), named(&server, "kill-stalls"));
        scope.spawn(move || {
            let start = Instant::now();
            let message = lists.get("/commands/list").error(504);
            assert!(start.elapsed() < UNARY + LATE, "{message}: {:?}", start.elapsed());
            lists.delete();
        });
        scope.spawn(move || {
            let pid = kills.run("sleep 1");
            let start = Instant::now();
            let message = kills.post("/commands/kill", &json!({"pid": pid})).error(504);
            assert!(start.elapsed() < IDLE + LATE, "{message}: {:?}", start.elapsed());
            kills.delete();
        });
    });
    base.assert_grown_at_most(GROWTH);
    base.delete_others();
    base.assert_back();
    assert_log_is_ours(&server);
}

#[test]
fn m01_more_stalled_streams_than_a_sandbox_may_have_are_refused_at_once() {
    let server = hostile_server();
    let base = Base::of_many(&server, 2);
    let sandbox = named(&server, "stalls");
    let mut held: Vec<_> = std::thread::scope(|scope| {
        let open = || sandbox.open("/exec-stream", &[], &json!({"command": "!silence"}));
        let workers: Vec<_> = (0..STREAMS).map(|_| scope.spawn(open)).collect();
        workers.into_iter().map(|worker| worker.join().expect("the client")).collect()
    });
    let open = held.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(open, STREAMS, "{open} of {STREAMS} streams are open");
    let start = Instant::now();
    let message = sandbox.post_exec(&json!({"command": "true"})).error(429);
    assert!(start.elapsed() < Duration::from_secs(1), "{message}");
    assert_eq!(named(&server, "other").exec("echo well").stdout, "well\n");
    held.drain(..).for_each(|answer| answer.cut());
    eventually("places are free again", || {
        let answer = sandbox.post_exec(&json!({"command": "true"}));
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    base.delete_others();
    base.assert_back();
}

#[test]
fn m08_who_hangs_up_at_once_costs_no_reconnects() {
    let server = hostile_server();
    let neighbours = Server::start();
    let neighbour = neighbours.create();
    let sandbox = named(&server, "storm");
    let pid = sandbox.run("sleep 1");
    let base = Base::of_many(&server, 4);
    let _follow = sandbox.attach(pid, "");
    let _waits = sandbox.open("/commands/attach", &[], &json!({"pid": pid}));
    let _storm = sandbox.exec("touch /tmp/storm").ok();
    let gateway = server.half("gateway");
    let (before, start) = (gateway.cpu_ticks(), Instant::now());
    while start.elapsed() < Duration::from_secs(5) {
        let calls = Instant::now();
        let message = sandbox.get("/commands/list").error(502);
        assert!(message.starts_with("the sandbox's agent failed"), "{message}");
        assert!(calls.elapsed() < Duration::from_secs(2) + LATE, "{:?}", calls.elapsed());
    }
    // Ticks of 10 ms: one of a hundred is a percent of a processor.
    let (ticks, seconds) = (server.half("gateway").cpu_ticks() - before, start.elapsed().as_secs());
    println!("{ticks} ticks in {seconds} s");
    assert!(ticks <= 5 * seconds, "{ticks} ticks in {seconds} s");
    assert_eq!(neighbour.exec("echo well").stdout, "well\n");
    base.delete_others();
    base.assert_back();
    assert_log_is_ours(&server);
}

/// The agent reads the head of a request and nothing more.
#[test]
fn m11_who_does_not_read_holds_nothing_but_a_bounded_upload() {
    const UPLOAD: usize = 1 << 20;
    const CLIENTS: usize = 20;
    /// As many as wait for one sandbox.
    const WAIT: usize = 4;
    /// What they hold by themselves, and what the allocators of two threads keep of it, in KiB: less than half of all.
    const HELD: u64 = 7 << 10;
    let server = hostile_server();
    let base = Base::of_many(&server, 2);
    let sandbox = named(&server, "unread");
    let pid = sandbox.run_with("cat", json!({"stdin": true}));
    let upload = || {
        let (start, path) = (Instant::now(), sandbox.path(&format!("/commands/{pid}/stdin")));
        let headers = [("Content-Type", "application/octet-stream")];
        let bytes = vec![b'x'; UPLOAD];
        let mut answer = Streaming::post_bytes_within(UNARY, sandbox.client(), &path, &headers, &bytes);
        let text = String::from_utf8_lossy(&answer.read_to_end()).into_owned();
        assert!(
            text.starts_with("{\"error\":\"") && start.elapsed() < UNARY,
            "{text}: {:?}",
            start.elapsed()
        );
        (answer.status, start.elapsed())
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(upload)).collect();
        std::thread::sleep(Duration::from_secs(20));
        base.assert_grown_at_most(HELD + GROWTH);
        assert_eq!(named(&server, "other").exec("echo well").stdout, "well\n");
        let ends: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        let late = ends.iter().filter(|(status, _)| *status == 504).count();
        let refused = ends.iter().filter(|(status, took)| *status == 429 && *took < IDLE).count();
        assert_eq!((late, refused), (WAIT, CLIENTS - WAIT), "{ends:?}");
    });
    base.delete_others();
    base.assert_back();
}
