//! The bars of a neighbour (N01, C5): everything at once in sandboxes that have half of the machine, beside one that
//! has the other half. Nothing runs beside these tests.

use super::{LOSS_KIB, long, loss_during};
use bulkhead_tests::groups::InForce;
use bulkhead_tests::{Sandbox, Server};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Execs of the neighbour from which a percentile is taken.
const CALLS: usize = 500;
/// In the everyday form.
const FEW_CALLS: usize = 150;
/// From the beginning of one to that of the next.
const PACE: Duration = Duration::from_millis(25);
/// A round may be disturbed by the machine; an attack that is felt is felt in each.
const ROUNDS: usize = 3;
/// What a timer and a wake-up may add to a call of some milliseconds.
const NOISE: Duration = Duration::from_millis(2);
/// Memory of the attackers together, in MiB.
const MEMORY_MIB: u64 = 4096;

/// The attackers: their share of a processor, and what each runs again and again. Half of the machine's two processors
/// and 4 GiB in all.
const ATTACKS: [(&str, f64, &str); 4] = [
    ("forks", 0.25, "SECONDS=0; f() { [ $SECONDS -lt 8 ] && { f | f & }; }; f; sleep 8"),
    (
        "memory",
        0.25,
        "python3 - <<'E'\nimport os, socket, time\nend = time.time() + 8\nwhile time.time() < end:\n    if os.fork() == 0:\n        b = bytearray(3 << 30)\n        os._exit(0)\n    os.wait()\n    open('/dev/shm/f', 'wb').write(bytes(60 << 20))\n    os.unlink('/dev/shm/f')\n    kept = []\n    for n in range(64):\n        r, w = os.pipe(); os.set_blocking(w, False); kept += [r, w]\n        try: os.write(w, bytes(65536))\n        except OSError: pass\n        a, b = socket.socketpair(); a.setblocking(False); kept += [a, b]\n        try:\n            while True: a.send(bytes(65536))\n        except OSError: pass\n    for fd in kept: os.close(fd) if isinstance(fd, int) else fd.close()\nE",
    ),
    (
        "disk",
        0.25,
        "end=$(($(date +%s) + 8)); while [ $(date +%s) -lt $end ]; do dd if=/dev/zero of=/root/f bs=1M count=400 conv=fsync 2>/dev/null; cat /root/f >/dev/null; rm -f /root/f; done",
    ),
    ("processor", 0.25, "for i in 1 2 3 4; do timeout 8 sh -c 'while :; do :; done' & done; wait"),
];

/// Times of paced execs, sorted.
fn beats(neighbour: &Sandbox<'_>, calls: usize) -> Vec<Duration> {
    let begin = Instant::now();
    let mut times = Vec::with_capacity(calls);
    for n in 0..u32::try_from(calls).expect("some hundred") {
        std::thread::sleep((begin + PACE * n).saturating_duration_since(Instant::now()));
        let start = Instant::now();
        let _run = neighbour.exec("true").ok();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times
}

fn p99(times: &[Duration]) -> Duration {
    times[times.len() * 99 / 100 - 1]
}

fn load() -> String {
    crate::host_file("/proc/loadavg").trim().to_owned()
}

/// One round: quiet, then under attack; percentiles of both, and by how much the host's memory fell.
fn round(
    neighbour: &Sandbox<'_>,
    attackers: &[(Sandbox<'_>, &str)],
    calls: usize,
) -> (Duration, Duration, u64) {
    let quiet = p99(&beats(neighbour, calls));
    let stop = AtomicBool::new(false);
    let (loud, loss) = std::thread::scope(|scope| {
        for (attacker, script) in attackers {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let body = json!({"command": script, "timeout": 10});
                    let _answer = attacker.post_exec(&body);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let measured = loss_during(|| {
            std::thread::sleep(Duration::from_secs(1));
            p99(&beats(neighbour, calls))
        });
        stop.store(true, Ordering::Relaxed);
        measured
    });
    (quiet, loud, loss)
}

#[test]
fn n01_a_neighbour_keeps_its_share_beside_everything_at_once_alone() {
    let server = Server::start();
    let neighbour = server.create();
    let attackers: Vec<_> = ATTACKS
        .iter()
        .map(|(name, cpus, script)| {
            let memory = MEMORY_MIB / 4;
            let limits: Value = json!({"memoryMiB": memory, "cpus": cpus, "pids": 512, "diskMiB": 512});
            let sandbox = server.create_with(json!({"name": name, "limits": limits}));
            assert!(InForce::of(&sandbox).memory <= (memory + 24) << 20, "{name}");
            (sandbox, *script)
        })
        .collect();
    let _warm = beats(&neighbour, 50);
    let calls = if long() { CALLS } else { FEW_CALLS };
    let limit = (MEMORY_MIB + 4 * 24) << 10;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (quiet, loud, loss) = round(&neighbour, &attackers, calls);
        println!(
            "p99 of an exec: {quiet:?} quiet, {loud:?} under attack; the host had {loss} KiB less; load {}",
            load()
        );
        if loud <= quiet * 2 + NOISE && loss <= limit + limit / 10 + LOSS_KIB {
            for (attacker, _) in &attackers {
                let start = Instant::now();
                attacker.delete();
                assert!(start.elapsed() < Duration::from_secs(5), "delete took {:?}", start.elapsed());
            }
            return;
        }
        rounds.push((quiet, loud, loss));
    }
    panic!("no round of {ROUNDS} was within twice the quiet p99: {rounds:?}");
}

/// Times of fsync(2) inside, in milliseconds, sorted.
fn fsyncs(sandbox: &Sandbox<'_>) -> Vec<f64> {
    let program = r#"
import json, os, time
fd, times = os.open("/root/beat", os.O_CREAT | os.O_WRONLY), []
for n in range(60):
    os.pwrite(fd, b"x" * 4096, n * 4096)
    start = time.perf_counter()
    os.fsync(fd)
    times.append((time.perf_counter() - start) * 1000)
    time.sleep(0.02)
print(json.dumps(sorted(times)))"#;
    serde_json::from_value(sandbox.python(program)).expect("numbers")
}

/// All disks lie in one file system. A neighbour's fsync does not wait for it: overlays are volatile, see ARCHITECTURE.
#[test]
fn d08_a_storm_of_writes_leaves_a_neighbours_fsync_bounded_alone() {
    let server = Server::start();
    let neighbour = server.create();
    let attacker = server.create_with(json!({"limits": {"memoryMiB": 256, "cpus": 0.5, "diskMiB": 512}}));
    let quiet = fsyncs(&neighbour);
    let loud = std::thread::scope(|scope| {
        let storm = scope.spawn(|| attacker.post_exec(&json!({"command": ATTACKS[2].2, "timeout": 12})));
        std::thread::sleep(Duration::from_millis(500));
        let loud = fsyncs(&neighbour);
        drop(storm.join());
        loud
    });
    let last = quiet.len() * 95 / 100;
    println!(
        "fsync p50/p95 in ms: quiet {:.1}/{:.1}, in a storm {:.1}/{:.1}; load {}",
        quiet[quiet.len() / 2],
        quiet[last],
        loud[loud.len() / 2],
        loud[last],
        load()
    );
    assert!(loud[last] < 500.0, "{loud:?}");
}
