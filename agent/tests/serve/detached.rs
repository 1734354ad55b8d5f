//! Executions that go on by themselves: replay, follow, gaps, kill, signal, retention.

use crate::agent::Agent;
use crate::calls::{detached, eventually};
use bulkhead_protocol::agent::{End, ExecutionSpec, Hold, RETAINED_ENDS, StartFailureKind};
use bulkhead_protocol::frame::FrameType;
use std::time::{Duration, Instant};

#[test]
fn it_outlives_its_connection_and_is_replayed_and_followed_by_many() {
    let agent = Agent::start();
    let handle =
        agent.detach(&detached("echo one; echo two >&2; read x < /dev/zero & sleep 0.3; echo three; exit 4"));
    let status = agent.status_of(handle).unwrap();
    assert_eq!((status.hold, status.ended, status.clients), (Hold::Detached, None, 0));
    assert!(status.script.starts_with("echo one") && status.started_ms > 0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let read = agent.read_from(handle, 0);
                assert_eq!((read.text().len(), read.gaps.len()), (14, 0));
                assert!(read.text().ends_with("three\n"));
                assert_eq!(read.ended.unwrap().end, End::Exited { code: 4 });
            });
        }
    });
    // It has ended: from the start, from the middle, from beyond the end.
    assert_eq!(agent.read_from(handle, 8).text(), "three\n");
    assert_eq!(agent.read_from(handle, 1 << 40).text(), "");
    assert_eq!(agent.end_of(handle).end, End::Exited { code: 4 });
    let status = agent.status_of(handle).unwrap();
    assert_eq!((status.offset, status.ended.unwrap().end), (14, End::Exited { code: 4 }));
    assert_eq!(agent.signal(handle, 15), 409, "nothing but output, end and kill after its end");
    agent.kill(handle);
    agent.wait_until_empty();
    assert_eq!(agent.kill(handle), 0);
}

#[test]
fn the_end_is_told_when_it_comes_and_its_time_can_be_up() {
    let agent = Agent::start();
    let begun = Instant::now();
    let spec =
        ExecutionSpec { timeout_ms: Some(300), ..detached("echo before; setsid sleep 1000 & sleep 1000") };
    let handle = agent.detach(&spec);
    assert_eq!(agent.end_of(handle).end, End::Timeout);
    assert!(begun.elapsed() >= Duration::from_millis(300) && begun.elapsed() < Duration::from_secs(5));
    assert_eq!(agent.read_from(handle, 0).text(), "before\n");
    agent.wait_until_empty();
}

#[test]
fn a_reader_that_comes_late_is_told_what_it_missed_and_the_writer_never_waits() {
    let agent = Agent::start();
    let handle = agent.detach(&detached("seq 1 1000000; sleep 0.1; echo done >&2"));
    let ended = agent.end_of(handle);
    assert_eq!(ended.end, End::Exited { code: 0 }, "although nobody read");
    let read = agent.read_from(handle, 0);
    let total = agent.status_of(handle).unwrap().offset;
    assert_eq!(total, 6_888_896 + 5);
    let [gap] = read.gaps[..] else { panic!("{:?}", read.gaps) };
    assert_eq!((gap.from, gap.to + u64::try_from(read.bytes.len()).unwrap()), (0, total));
    assert!(read.bytes.len() > 1 << 20, "{} bytes", read.bytes.len());
    let tail = String::from_utf8_lossy(&read.bytes[read.bytes.len() - 30..]);
    assert!(tail.ends_with("1000000\ndone\n"), "{tail}");
    assert!(agent.peak_memory_kib() < 24 << 10);
}

#[test]
fn a_cut_reader_goes_on_where_it_was() {
    let agent = Agent::start();
    let handle = agent.detach(&detached("for i in $(seq 1 60000); do echo line $i; done"));
    let (mut from, mut all, mut cuts) = (0, Vec::new(), 0);
    loop {
        let mut stream = agent.follow(handle, &format!("output?from={from}"));
        let mut ended = false;
        for _ in 0..7 {
            match stream.next_frame() {
                Some((FrameType::Stdout, payload)) => {
                    from += u64::try_from(payload.len()).unwrap();
                    all.extend(payload);
                }
                Some((FrameType::KeepAlive, _)) => {}
                Some((FrameType::Ended, _)) => ended = true,
                None => break,
                Some(other) => panic!("{other:?}"),
            }
        }
        if ended {
            break;
        }
        cuts += 1;
    }
    let expected: String = (1..=60_000).map(|number| format!("line {number}\n")).collect();
    assert!(all == expected.as_bytes() && cuts > 3, "{cuts} cuts");
}

#[test]
fn kill_is_a_receipt_for_sessions_and_orphans_too() {
    let agent = Agent::start();
    let script = "setsid sleep 1001 & (setsid bash -c 'trap \"\" TERM HUP; sleep 1002 & sleep 1003' &) ; echo up; sleep 1004";
    let handle = agent.detach(&detached(script));
    let mut stream = agent.follow(handle, "output?from=0");
    assert_eq!(stream.next_frame().unwrap().0, FrameType::Stdout);
    eventually("all processes are there", || agent.processes() >= 5);
    assert!(agent.kill(handle) >= 5);
    assert_eq!(agent.processes(), 0, "at the answer, not some time after it");
    assert_eq!(agent.end_of(handle).end, End::Killed);
    assert_eq!(agent.kill(handle), 0);
    // What its main process left behind is killed too, although it had ended.
    let handle = agent.detach(&detached("setsid sleep 1000 > /dev/null 2>&1 & exit 0"));
    assert_eq!(agent.end_of(handle).end, End::Exited { code: 0 });
    assert_eq!((agent.kill(handle), agent.processes()), (1, 0));
    assert_eq!(agent.end_of(handle).end, End::Exited { code: 0 }, "its end stays what it was");
    agent.wait_until_empty();
}

#[test]
fn an_attached_one_can_be_found_and_killed_but_not_read_by_another() {
    let agent = Agent::start();
    let stream = agent.open("echo out; sleep 1000", None);
    let handle = agent.list()[0].handle;
    assert_eq!(agent.call("GET", handle, "output", b"").0, 409);
    assert!(agent.kill(handle) >= 1);
    let ran = stream.collect();
    assert_eq!((ran.end(), ran.stdout()), (End::Killed, "out\n"));
    eventually("it is forgotten", || agent.list().is_empty());
    for rest in ["output", "end", "terminal"] {
        assert_eq!(agent.call("GET", handle, rest, b"").0, 404);
    }
    assert_eq!(agent.call("POST", handle, "kill", b"").0, 404);
    assert_eq!(agent.call("POST", handle, "signal", b"{\"signal\":1}").0, 404);
}

#[test]
fn a_signal_reaches_every_process_of_its_own_and_no_other() {
    let agent = Agent::start();
    let script = "trap 'echo outer; exit 7' USR1; (trap 'echo inner; exit 0' USR1; echo ready; while :; do sleep 0.02; done) & \
                  while :; do sleep 0.02; done";
    let (handle, other) = (agent.detach(&detached(script)), agent.detach(&detached("sleep 1000")));
    let mut stream = agent.follow(handle, "output?from=0");
    assert_eq!(stream.next_frame().unwrap().1, b"ready\n");
    for bad in [0, 32, 255] {
        assert_eq!(agent.signal(handle, bad), 400);
    }
    assert_eq!(agent.signal(handle, 10), 200);
    assert_eq!(agent.end_of(handle).end, End::Exited { code: 7 });
    let text = agent.read_from(handle, 0).text().to_owned();
    assert!(text.contains("inner\n") && text.contains("outer\n"), "{text}");
    assert!(agent.status_of(other).unwrap().ended.is_none());
    assert_eq!(agent.signal(other, 9), 200);
    assert_eq!(agent.end_of(other).end, End::Signaled { signal: 9 }, "a client's signal, not our kill");
}

#[test]
fn ends_are_kept_up_to_their_number_and_the_limit_counts_running_ones() {
    let agent = Agent::start();
    let first = agent.detach(&detached("echo first"));
    agent.end_of(first);
    for _ in 0..RETAINED_ENDS {
        let handle = agent.detach(&detached("true"));
        agent.end_of(handle);
    }
    assert_eq!(agent.list().len(), RETAINED_ENDS);
    assert_eq!(agent.call("GET", first, "output", b"").0, 404);
    let nothing = ExecutionSpec { cwd: Some("/nowhere".into()), ..detached("true") };
    assert_eq!(agent.refusal(&nothing), StartFailureKind::NoSuchDirectory);
    agent.wait_until_empty();
}

#[test]
fn many_full_journals_stay_within_the_memory() {
    let agent = Agent::start();
    let running: Vec<_> =
        (0..16).map(|_| agent.detach(&detached("head -c 4000000 /dev/zero; sleep 1000"))).collect();
    for _ in 0..16 {
        let handle = agent.detach(&detached("head -c 4000000 /dev/zero"));
        agent.end_of(handle);
    }
    // Readers that do not read: each holds what is in flight to it.
    let stuck: Vec<_> = (0..100).map(|at| agent.follow(running[at % 16], "output?from=0")).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(agent.run("echo in between").stdout(), "in between\n");
    let peak = agent.peak_memory_kib();
    println!("peak {peak} KiB");
    assert!(peak < 24 << 10, "{peak} KiB");
    drop(stuck);
    for handle in running {
        agent.kill(handle);
    }
    agent.wait_until_empty();
}
