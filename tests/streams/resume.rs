//! Cut at any point and resumed by offset: every byte once, or an explicit gap.

use bulkhead_tests::{Event, Events, Sandbox, Server};
use serde_json::json;
use std::time::Duration;

/// Bytes of one line of [`lines`].
const LINE: u64 = 64;

/// A script that prints `total` bytes of which each tells its place, with a pause after each `every` lines.
fn lines(total: u64, every: u64) -> String {
    let last = total / LINE;
    format!(
        "seq -f '%063.0f' 1 {last} | awk '{{ print }} NR % {every} == 0 {{ fflush(); system(\"sleep 0.02\") }}'"
    )
}

/// The byte at this place.
fn byte_at(offset: u64) -> u8 {
    let line = format!("{:063}\n", offset / LINE + 1);
    line.as_bytes()[usize::try_from(offset % LINE).expect("below 64")]
}

/// What was seen of a stream.
#[derive(Default)]
struct Seen {
    offset: u64,
    skipped: u64,
    ended: bool,
}

impl Seen {
    fn take(&mut self, event: &Event) {
        match event.name.as_str() {
            "gap" => {
                let gap = event.json();
                let (from, to) = (gap["from"].as_u64(), gap["to"].as_u64());
                assert_eq!(from, Some(self.offset), "a gap starts where we are: {gap}");
                let to = to.expect("to is a number");
                assert!(to > self.offset, "{gap}");
                self.skipped += to - self.offset;
                self.offset = to;
            }
            "stdout" => {
                for byte in event.bytes() {
                    assert_eq!(byte, byte_at(self.offset), "at {}", self.offset);
                    self.offset += 1;
                }
                assert_eq!(event.id, Some(self.offset));
            }
            "exit" => self.ended = true,
            other => panic!("event {other:?}"),
        }
    }
}

/// Numbers that are the same in each run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Reads about `share` bytes at a time and cuts; resumes by query and by header in turn.
fn read_in_pieces(sandbox: &Sandbox<'_>, pid: u64, first: Events, share: u64) -> (Seen, usize) {
    let (mut seen, mut events, mut cuts, mut state) = (Seen::default(), first, 0, 7);
    loop {
        let until = seen.offset + random(&mut state) % (2 * share);
        while seen.offset < until && !seen.ended {
            seen.take(&events.within(Duration::from_secs(20)));
        }
        if seen.ended {
            return (seen, cuts);
        }
        events.answer.cut();
        cuts += 1;
        events = if cuts % 2 == 0 {
            sandbox.attach(pid, &format!("?encoding=base64&from={}", seen.offset))
        } else {
            let offset = seen.offset.to_string();
            let headers = [("Last-Event-ID", offset.as_str())];
            Events::of(sandbox.open("/commands/attach?encoding=base64", &headers, &json!({"pid": pid})))
        };
    }
}

#[test]
fn a_background_command_cut_at_random_points_comes_whole() {
    let server = Server::start();
    let sandbox = server.create();
    let total = 1_500_000 / LINE * LINE;
    let pid = sandbox.run(&lines(total, 500));
    let first = sandbox.attach(pid, "?encoding=base64");
    let (seen, cuts) = read_in_pieces(&sandbox, pid, first, total / 60);
    assert_eq!((seen.offset, seen.skipped), (total, 0), "it fits into the journal");
    assert!(cuts > 20, "{cuts} cuts");
}

#[test]
fn a_detaching_stream_of_megabytes_loses_nothing_silently() {
    let server = Server::start();
    let sandbox = server.create();
    let total = (6 << 20) / LINE * LINE;
    let first = sandbox.stream_with(
        "?encoding=base64",
        &lines(total, 2000),
        json!({"onDisconnect": "detach", "timeout": 120}),
    );
    let pid = first.answer.header("x-execution-pid").and_then(|v| v.parse().ok()).expect("X-Execution-Pid");
    let (seen, cuts) = read_in_pieces(&sandbox, pid, first, total / 100);
    assert_eq!(seen.offset, total, "every byte came or was named in a gap");
    println!("{total} bytes, {cuts} cuts, {} bytes in gaps", seen.skipped);
    // A reader whom a busy machine holds up skips by gaps, and is cut less often for each byte.
    assert!(cuts > 0 && seen.skipped < total, "{cuts} cuts, {} bytes in gaps", seen.skipped);
}

#[test]
fn text_is_resumed_at_its_ids() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("for i in $(seq 40); do echo \"zeile $i äöü\"; done; echo err >&2; exit 3");
    let whole = sandbox.attach(pid, "").collect();
    assert_eq!(whole.code(), 3);
    for event in whole.events.iter().filter(|event| event.is_output()) {
        let id = event.id.expect("each event has its offset");
        let rest = sandbox.attach(pid, &format!("?from={id}")).collect();
        let behind = |name: &str| {
            let later = whole.named(name).into_iter().filter(|e| e.id > Some(id));
            later.map(|e| e.data.as_str()).collect::<String>()
        };
        assert_eq!((rest.stdout, rest.stderr), (behind("stdout"), behind("stderr")), "from {id}");
    }
}

#[test]
fn a_journal_that_has_moved_on_says_so() {
    let server = Server::start();
    let sandbox = server.create();
    let total = (12 << 20) / LINE * LINE;
    let pid = sandbox.run(&format!("seq -f '%063.0f' 1 {}; sleep 60", total / LINE));
    bulkhead_tests::eventually("everything is written", || {
        let run = sandbox.exec("ls -l /proc/[0-9]*/exe 2>/dev/null | grep -c '/sleep$'");
        if run.line() == "1" { Ok(()) } else { Err(run.stdout) }
    });
    let mut events = sandbox.attach(pid, "?encoding=base64&from=0");
    let gap = events.within(Duration::from_secs(5));
    assert_eq!(gap.name, "gap", "{gap:?}");
    let mut seen = Seen::default();
    seen.take(&gap);
    assert!(seen.offset < total && total - seen.offset <= 8 << 20, "from {} of {total}", seen.offset);
    assert!(total - seen.offset >= 64 << 10, "64 KiB are always kept: {}", seen.offset);
    while seen.offset < total {
        seen.take(&events.within(Duration::from_secs(5)));
    }
    assert_eq!(seen.skipped, gap.json()["to"].as_u64().expect("to"), "one gap, at the start");
    events.answer.cut();
    let middle = total / 2;
    let first = sandbox.attach(pid, &format!("?from={middle}")).within(Duration::from_secs(5));
    assert_eq!((first.name.as_str(), &first.json()["from"]), ("gap", &json!(middle)), "{first:?}");
    let _ended = sandbox.kill(pid);
}
