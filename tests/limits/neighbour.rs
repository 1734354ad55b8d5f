//! What one sandbox does at its limits is not felt by another, nor by the host.

use crate::small_sandbox;
use bulkhead_tests::{Sandbox, Server, host};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A beat of the neighbour: a command over HTTP that uses a little of everything.
const BEAT: &str = "head -c 4096 /dev/urandom > /tmp/beat && echo beat";
/// Beats to measure without and with an attacker.
const BEATS: usize = 40;

fn beats(neighbour: &Sandbox<'_>) -> Duration {
    let mut times: Vec<Duration> = (0..BEATS)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(neighbour.exec(BEAT).ok().stdout, "beat\n");
            let time = start.elapsed();
            std::thread::sleep(Duration::from_millis(10));
            time
        })
        .collect();
    times.sort();
    times[BEATS / 2]
}

/// Forks, eats memory and burns cpu; ends by itself.
const ATTACK: &str = r#"
for round in 1 2 3; do
  python3 -c 'bytearray(300 << 20)' &
  for i in $(seq 10); do (end=$((SECONDS+1)); while [ $SECONDS -lt $end ]; do :; done) & done
  for i in $(seq 60); do sleep 1 & done 2>/dev/null
  wait
done"#;

#[test]
fn n01_a_neighbour_and_the_host_do_not_notice() {
    let server = Server::start();
    let attacker = small_sandbox(&server);
    let neighbour = server.create();
    let _warm = beats(&neighbour);
    let quiet = beats(&neighbour);
    let available = host::available_kib();
    let stop = AtomicBool::new(false);
    let (loud, lowest) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _answer = attacker.post_exec(&json!({"command": ATTACK, "timeout": 20}));
            }
        });
        let watch = scope.spawn(|| {
            let mut lowest = u64::MAX;
            while !stop.load(Ordering::Relaxed) {
                lowest = lowest.min(host::available_kib());
                std::thread::sleep(Duration::from_millis(20));
            }
            lowest
        });
        std::thread::sleep(Duration::from_millis(300));
        let loud = beats(&neighbour);
        stop.store(true, Ordering::Relaxed);
        attack.join().expect("the attacker's client");
        (loud, watch.join().expect("the watcher"))
    });
    // Half a processor of two is taken away; a machine that stalls would be ten times slower.
    assert!(loud < quiet * 3 + Duration::from_millis(10), "a beat took {quiet:?}, under attack {loud:?}");
    let taken = available.saturating_sub(lowest);
    assert!(taken < 300 << 10, "the host lost {taken} KiB to a sandbox of 88 MiB");
    assert_eq!(attacker.exec("echo goes on").stdout, "goes on\n");
    let started = Instant::now();
    attacker.delete();
    assert!(started.elapsed() < Duration::from_secs(5), "delete took {:?}", started.elapsed());
}
