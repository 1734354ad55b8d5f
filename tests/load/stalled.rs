//! Hundreds of clients who stop reading: they hold little, for a while, and nobody else notices.

use crate::client::stalled;
use crate::measure::{Latency, kernel_tcp_kib};
use bulkhead_tests::host::Process;
use bulkhead_tests::{Sandbox, Server, within};
use std::time::{Duration, Instant};

/// Sandboxes, and streams in each: below the 64 executions of a sandbox.
const SANDBOXES: usize = 10;
const STREAMS: usize = 50;
/// KiB that a stream whose client stopped reading may cost the gateway: what it read from the agent, the events
/// made of it, and what waits for the socket.
const GATEWAY_PER_STREAM: u64 = 320;
/// KiB that an agent may grow by, however many of its streams stand: the 8 MiB that its journals share, and for
/// each of the streams two records of 32 KiB on their way to the gateway.
const AGENT: u64 = (8 << 10) + 64 * STREAMS as u64;
/// KiB that the two may grow by once all streams stand.
const GROWTH: u64 = 2 << 10;
/// Everything that a stalled stream takes is taken by then.
const SETTLE: Duration = Duration::from_secs(3);
/// `WRITE_STALL` of the gateway: one who takes nothing for so long is cut.
const STALL: Duration = Duration::from_secs(60);
/// The neighbour's exec may take so much longer than without the streams, and so much more for noise.
const NEIGHBOUR: f64 = 1.5;
const MARK: &str = "yes 71730";

/// Resident KiB of the gateway and of the largest agent.
fn resident(server: &Server, agents: &[Process]) -> (u64, u64) {
    let largest = agents.iter().map(Process::resident_kib).max().unwrap_or_default();
    (server.half("gateway").resident_kib(), largest)
}

fn running(sandboxes: &[Sandbox<'_>]) -> usize {
    let marked = |sandbox: &Sandbox<'_>| {
        let inside = sandbox.processes();
        inside.iter().filter(|process| process.command.starts_with(MARK)).count()
    };
    sandboxes.iter().map(marked).sum()
}

#[test]
fn five_hundred_who_stop_reading_cost_little_and_are_cut() {
    let server = Server::start();
    let neighbour = server.create();
    let sandboxes: Vec<_> = (0..SANDBOXES).map(|_| server.create()).collect();
    let agents: Vec<Process> = sandboxes.iter().map(Sandbox::agent).collect();
    for sandbox in &sandboxes {
        // What the first stream of all needs once is not counted.
        let _warm = sandbox.stream("seq 100000").collect();
    }
    let quiet = Latency::of_exec(&neighbour);
    let (before, kernel_before) = (resident(&server, &agents), kernel_tcp_kib());
    let start = Instant::now();
    let streams: Vec<_> = std::thread::scope(|scope| {
        let open = |sandbox| move || (0..STREAMS).map(|_| stalled(sandbox, MARK)).collect::<Vec<_>>();
        let threads: Vec<_> = sandboxes.iter().map(|sandbox| scope.spawn(open(sandbox))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("streams open")).collect()
    });
    let opened = start.elapsed();
    std::thread::sleep(SETTLE);
    let stalled = resident(&server, &agents);
    let kernel = kernel_tcp_kib().saturating_sub(kernel_before);
    let busy = Latency::of_exec(&neighbour);
    let later = resident(&server, &agents);
    let count = u64::try_from(streams.len()).expect("500");
    println!(
        "{count} streams open after {opened:?}; KiB of gateway and largest agent: {before:?} before, {stalled:?} \
         stalled, {later:?} later ({} KiB of the gateway for each); sockets hold {} KiB each; a neighbour's \
         exec: {busy}, {quiet} before",
        stalled.0.saturating_sub(before.0) / count,
        kernel / count,
    );
    assert_eq!(running(&sandboxes), streams.len(), "nobody is cut early");
    assert!(stalled.0 < before.0 + count * GATEWAY_PER_STREAM, "gateway: {before:?}, {stalled:?}");
    assert!(stalled.1 < before.1 + AGENT + GROWTH, "agent: {before:?}, {stalled:?}");
    assert!(later.0 < stalled.0 + GROWTH && later.1 < stalled.1 + GROWTH, "{stalled:?}, then {later:?}");
    busy.assert_within(NEIGHBOUR, &quiet);
    // The last bytes were taken while the streams were opened.
    let patience = (STALL + opened + Duration::from_secs(20)).saturating_sub(start.elapsed());
    within(patience, "every stalled stream is cut, its tree killed", || match running(&sandboxes) {
        0 => Ok(()),
        left => Err(format!("{left} run")),
    });
    println!("all cut after {:?}; KiB {:?}", start.elapsed(), resident(&server, &agents));
    drop(streams);
}
