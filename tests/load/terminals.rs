//! A hundred terminals, half of them flooding: those of another sandbox echo as if they were alone.

use crate::measure::Latency;
use bulkhead_tests::websocket::{Message, WebSocket};
use bulkhead_tests::{Sandbox, Server, Terminal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Terminals of each of the two sandboxes.
const TERMINALS: usize = 50;
/// The slowest hundredth of all echoes beside the flood.
const BAR: Duration = Duration::from_millis(20);
/// Echoes of each terminal.
const ECHOES: usize = 10;
/// Between two echoes.
const PACE: Duration = Duration::from_millis(5);
/// The flood is read in large pieces: one wake of its reader for many of the server's writes.
const PAUSE: Duration = Duration::from_millis(5);
const PIECE: usize = 256 << 10;

/// A session that shows its prompt.
fn terminal(sandbox: &Sandbox<'_>) -> Terminal {
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    terminal
}

/// One in which the kernel echoes, so that no program of the sandbox needs a processor.
fn echoing(sandbox: &Sandbox<'_>) -> WebSocket {
    let mut terminal = terminal(sandbox);
    terminal.send("cat\n");
    terminal.until(0, "the command line", |text| text.contains("cat\r\n"));
    terminal.socket
}

fn echo(socket: &mut WebSocket) -> Duration {
    std::thread::sleep(PACE);
    let start = Instant::now();
    socket.text("x");
    loop {
        match socket.receive(Duration::from_secs(20)) {
            Some(Message::Data(bytes)) if bytes.contains(&b'x') => return start.elapsed(),
            Some(Message::Data(_) | Message::Pong(_)) => {}
            other => panic!("no echo: {other:?}"),
        }
    }
}

/// Every terminal in turn.
fn echoes(sockets: &mut [WebSocket]) -> Latency {
    let mut samples = Vec::new();
    for _ in 0..ECHOES {
        samples.extend(sockets.iter_mut().map(echo));
    }
    Latency::new(samples)
}

/// Reads and forgets until `over`; counts the bytes. One thread for all.
fn drain(mut streams: Vec<TcpStream>, over: &AtomicBool, read: &AtomicU64) {
    let mut buffer = vec![0; PIECE];
    for stream in &streams {
        stream.set_nonblocking(true).expect("a socket can be that");
    }
    while !over.load(Ordering::Relaxed) {
        let ready: Vec<bool> = {
            let mut all: Vec<_> =
                streams.iter().map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
            let some = poll(&mut all, PollTimeout::from(100_u8)).expect("poll");
            all.iter().map(|one| some > 0 && one.any().unwrap_or(false)).collect()
        };
        for (stream, _) in streams.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let count = stream.read(&mut buffer).expect("the flood goes on");
            assert!(count > 0, "one who reads was dropped");
            read.fetch_add(u64::try_from(count).expect("small"), Ordering::Relaxed);
        }
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn fifty_floods_delay_no_echo_of_another_sandbox() {
    let server = Server::start();
    let (loud, calm) = (server.create(), server.create());
    let mut typed: Vec<_> = (0..TERMINALS).map(|_| echoing(&calm)).collect();
    let quiet = echoes(&mut typed);
    let mut floods: Vec<_> = (0..TERMINALS).map(|_| terminal(&loud)).collect();
    floods.iter_mut().for_each(|terminal| terminal.send("yes flood\n"));
    let streams = floods.into_iter().map(|terminal| terminal.socket.into_stream()).collect();
    let (over, read) = (AtomicBool::new(false), AtomicU64::new(0));
    let (busy, rate) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| drain(streams, &over, &read));
        // The floods have come up.
        std::thread::sleep(Duration::from_secs(1));
        let (start, from) = (Instant::now(), read.load(Ordering::Relaxed));
        let busy = echoes(&mut typed);
        let bytes = read.load(Ordering::Relaxed) - from;
        let rate = bytes / u64::try_from(start.elapsed().as_millis()).expect("short").max(1) / 1024;
        over.store(true, Ordering::Relaxed);
        reader.join().expect("the flood was read");
        (busy, rate)
    });
    println!("echo {busy} beside floods of {rate} MiB/s, {quiet} without");
    assert!(read.load(Ordering::Relaxed) > 1 << 20, "there was a flood");
    assert!(busy.percentile(99) < BAR, "echo {busy}, {quiet} without the floods");
}
