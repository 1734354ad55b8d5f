//! Echo of one byte, typed into a terminal over its WebSocket, beside terminals of this host. `cat` lets the
//! kernel echo, so that it is the way there and back alone; `bash` reads the byte and writes it.

use crate::product::Instance;
use crate::shells::Local;
use crate::socket::Socket;
use crate::stats::{Operation, PACE, interleave, ratios, summaries};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An echo that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// A terminal that shows nothing for so long is at rest.
const QUIET: Duration = Duration::from_millis(300);
/// So many bytes are typed before the line is emptied: it must not wrap.
const LINE: usize = 40;
/// Empties a line, in a shell as in the kernel (`VKILL`).
const KILL_LINE: &[u8] = &[0x15];
const LOCAL_BASH: [&str; 3] = ["/bin/bash", "--norc", "-i"];

/// Something with an echo.
trait Echo {
    fn send(&mut self, bytes: &[u8]) -> Result<()>;
    /// What is shown within this time; nothing when nothing is.
    fn receive(&mut self, time: Duration) -> Result<Vec<u8>>;

    /// Reads until nothing comes any more.
    fn rest(&mut self) -> Result<()> {
        while !self.receive(QUIET)?.is_empty() {}
        Ok(())
    }

    /// Types a byte and waits until it is shown.
    fn echo(&mut self, round: usize) -> Result<Duration> {
        if round % LINE == LINE - 1 {
            self.send(KILL_LINE)?;
            self.rest()?;
        }
        let began = Instant::now();
        self.send(b"x")?;
        let shown = self.receive(PATIENCE)?;
        let took = began.elapsed();
        ensure!(shown.contains(&b'x'), "shown instead: {:?}", String::from_utf8_lossy(&shown));
        Ok(took)
    }
}

impl Echo for Local {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Local::send(self, bytes)
    }

    fn receive(&mut self, time: Duration) -> Result<Vec<u8>> {
        Local::receive(self, time)
    }
}

impl Echo for Socket {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Socket::send(self, bytes)
    }

    fn receive(&mut self, time: Duration) -> Result<Vec<u8>> {
        self.patience(time)?;
        match Socket::receive(self) {
            Err(error) if is_silence(&error) => Ok(Vec::new()),
            other => other,
        }
    }
}

fn is_silence(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(io, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut))
}

/// Round trips over the product and over terminals of this host, in the same rounds.
pub(crate) fn run(instance: &Instance, rounds: usize) -> Result<Value> {
    let mut client = instance.connect()?;
    let sandbox = client.create(1)?;
    let mut open = || -> Result<Socket> {
        let session = client.session(&sandbox)?;
        let path = format!("/api/sandboxes/{sandbox}/pty/sessions/{session}?apiKey={}", instance.key());
        let mut socket = Socket::connect(instance.port(), &path)?;
        socket.rest().context("the first prompt")?;
        Ok(socket)
    };
    let (mut kernel, mut bash) = (open()?, open()?);
    kernel.send(b"cat\n")?;
    kernel.rest()?;
    let (mut local_kernel, mut local_bash) = (Local::start(&["cat"])?, Local::start(&LOCAL_BASH)?);
    local_kernel.rest()?;
    local_bash.rest()?;
    let operations: Vec<Operation<'_>> = vec![
        ("pty_cat", Box::new(|round| kernel.echo(round))),
        ("pty_bash", Box::new(|round| bash.echo(round))),
        ("local_cat", Box::new(|round| local_kernel.echo(round))),
        ("local_bash", Box::new(|round| local_bash.echo(round))),
    ];
    let all = interleave(rounds, operations)?;
    instance.connect()?.remove(&sandbox)?;
    let mut compared = ratios(&all, "pty_cat", &["local_cat"]);
    compared.extend(ratios(&all, "pty_bash", &["local_bash"]));
    Ok(json!({ "pace_ms": PACE.as_millis(), "ratios": compared, "results": summaries(&all) }))
}
