//! Attaching: everything since the start, then what follows, for as many as ask.

use bulkhead_tests::Server;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn what_was_printed_comes_first_and_what_follows_as_it_comes() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("echo one; echo two >&2; sleep 2; echo three; exit 4");
    bulkhead_tests::eventually("it has printed", || {
        let run = sandbox.exec("pgrep -x sleep >/dev/null || ls /proc/[0-9]*/exe -l | grep -q sleep");
        if run.code == 0 { Ok(()) } else { Err(run.data.to_string()) }
    });
    let mut events = sandbox.attach(pid, "");
    let early: Vec<_> = (0..2).map(|_| events.within(Duration::from_secs(1))).collect();
    let mut texts: Vec<_> = early.iter().map(|e| (e.name.as_str(), e.data.as_str())).collect();
    texts.sort_unstable();
    assert_eq!(texts, [("stderr", "two\n"), ("stdout", "one\n")], "at once");
    let rest = events.collect();
    assert_eq!((rest.stdout.as_str(), rest.stderr.as_str(), rest.code()), ("three\n", "", 4));
    assert!(rest.events[0].at - early[1].at > Duration::from_millis(500), "the third line came live");
    let again = sandbox.attach(pid, "").collect();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str(), again.code()), ("one\nthree\n", "two\n", 4));
}

#[test]
fn many_attach_at_once() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("for i in $(seq 20); do echo $i; sleep 0.1; done; exit 6");
    let expected: String = (1..=20).map(|n| format!("{n}\n")).collect();
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                let got = sandbox.attach(pid, "").collect();
                assert_eq!((got.stdout.as_str(), got.code()), (expected.as_str(), 6));
            });
        }
    });
}

#[test]
fn one_that_leaves_disturbs_neither_the_process_nor_the_others() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("for i in $(seq 15); do echo $i; sleep 0.1; done");
    let stays = sandbox.attach(pid, "");
    for _ in 0..5 {
        let mut leaves = sandbox.attach(pid, "");
        let _first = leaves.within(Duration::from_secs(5));
        leaves.answer.cut();
    }
    let got = stays.collect();
    assert_eq!((got.stdout.lines().count(), got.code()), (15, 0));
    assert_eq!(sandbox.wait(pid), 0);
}

#[test]
fn a_kill_ends_those_who_are_attached() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("echo before; sleep 95959");
    let mut events = sandbox.attach(pid, "");
    assert_eq!(events.within(Duration::from_secs(5)).data, "before\n");
    let start = Instant::now();
    assert!(sandbox.kill(pid) >= 1);
    let rest = events.collect();
    assert_eq!((rest.events.len(), rest.code()), (1, 137), "{}", rest.exit);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn an_attacher_who_does_not_read_delays_nobody() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("head -c 40000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo end");
    let silent: Vec<_> =
        (0..5).map(|_| sandbox.open("/commands/attach", &[], &json!({"pid": pid}))).collect();
    let start = Instant::now();
    assert_eq!(sandbox.wait(pid), 0, "a background command is never held up by who looks at it");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let got = sandbox.attach(pid, "").collect();
    assert!(got.stdout.ends_with("end\n"), "the end is there for whoever comes later");
    for answer in silent {
        answer.cut();
    }
}
