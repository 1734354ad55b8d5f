//! The detached commands of an agent that runs nothing: each does what its script says.

use bulkhead_protocol::agent::{
    End, Ended, ExecutionSpec, ExecutionStatus, Executions, Gap, InputTaken, Killed, Program, SignalFailure,
    SignalFailureKind, SignalRequest, StartFailure, StartFailureKind, Started, Usage,
};
use bulkhead_protocol::frame::{FrameType, MAX_PAYLOAD, encode};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A signal that this agent cannot deliver.
pub(crate) const UNDELIVERED: u8 = 31;

/// Above every handle of this agent's other executions.
const FIRST: u64 = (1 << 20) + 1000;

/// The commands of one agent.
#[derive(Default)]
pub(crate) struct Commands {
    all: Mutex<BTreeMap<u64, Arc<Command>>>,
    keys: Mutex<BTreeMap<String, (String, u64)>>,
}

struct Command {
    handle: u64,
    spec: ExecutionSpec,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Offset of the first byte that is kept.
    from: u64,
    kept: Vec<u8>,
    input: Vec<u8>,
    end: Option<End>,
}

/// An answer with a JSON body.
struct Reply(&'static str, Vec<u8>);

fn ok(value: &impl serde::Serialize) -> Reply {
    Reply("200 OK", serde_json::to_vec(value).unwrap())
}

impl Commands {
    /// Whether a path below the executions' is for this one.
    pub(crate) fn owns(target: &str) -> bool {
        let handle = target.split(['/', '?']).nth(3).and_then(|handle| handle.parse::<u64>().ok());
        handle.is_some_and(|handle| handle >= FIRST)
    }

    pub(crate) fn start(&self, stream: &mut UnixStream, spec: ExecutionSpec) -> io::Result<()> {
        let handle = {
            let mut keys = self.keys.lock().unwrap();
            let known = spec.key.as_ref().and_then(|key| keys.get(&key.key).map(|known| (key, known)));
            match known {
                Some((key, (digest, handle))) if key.digest == *digest => *handle,
                Some(_) => {
                    let failure = StartFailure { kind: StartFailureKind::KeyConflict, errno: None };
                    return send(stream, Reply("422 X", serde_json::to_vec(&failure)?));
                }
                None => {
                    let handle = self.add(spec.clone());
                    if let Some(key) = spec.key {
                        keys.insert(key.key, (key.digest, handle));
                    }
                    handle
                }
            }
        };
        send(stream, ok(&Started { handle }))
    }

    fn add(&self, spec: ExecutionSpec) -> u64 {
        let mut all = self.all.lock().unwrap();
        let handle = FIRST + u64::try_from(all.len()).unwrap();
        let exited = |code| Some(End::Exited { code });
        let (from, kept, end) = match script(&spec) {
            "hold" => (0, b"so far\n".to_vec(), None),
            "cat" => (0, Vec::new(), None),
            "show" => (0, serde_json::to_vec(&spec).unwrap(), exited(3)),
            "lost" => (1000, b"late\n".to_vec(), exited(0)),
            "count" => (0, (0..20_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect(), exited(0)),
            _ => (0, b"out\n".to_vec(), exited(3)),
        };
        let state = Mutex::new(State { from, kept, input: Vec::new(), end });
        all.insert(handle, Arc::new(Command { handle, spec, state, changed: Condvar::new() }));
        handle
    }

    /// Answers everything but the start.
    pub(crate) fn serve(&self, stream: &mut UnixStream, target: &str, body: &[u8]) -> io::Result<()> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut parts = path.trim_start_matches("/v1/executions").split('/').skip(1);
        let Some(handle) = parts.next() else { return send(stream, ok(&self.list())) };
        let handle: u64 = handle.parse().unwrap();
        let command = self.all.lock().unwrap().get(&handle).cloned();
        let Some(command) = command else { return send(stream, Reply("404 X", Vec::new())) };
        match parts.next().unwrap() {
            "output" => command.output(stream, query.strip_prefix("from=").unwrap().parse().unwrap()),
            "end" => command.output(stream, u64::MAX),
            "kill" => send(stream, ok(&Killed { processes: u32::from(command.finish(End::Killed)) })),
            "signal" => {
                let SignalRequest { signal } = serde_json::from_slice(body)?;
                if signal == UNDELIVERED {
                    let failure = SignalFailure { kind: SignalFailureKind::Denied, errno: 1 };
                    return send(stream, Reply("422 X", serde_json::to_vec(&failure)?));
                }
                let done = command.finish(End::Signaled { signal });
                send(stream, if done { Reply("200 OK", b"{}".to_vec()) } else { Reply("409 X", Vec::new()) })
            }
            "stdin" => send(stream, command.take(body, query == "close")),
            other => panic!("{other}"),
        }
    }

    fn list(&self) -> Executions {
        let all = self.all.lock().unwrap();
        Executions { executions: all.values().map(|command| command.status()).collect() }
    }
}

impl Command {
    fn status(&self) -> ExecutionStatus {
        let state = self.state.lock().unwrap();
        ExecutionStatus {
            handle: self.handle,
            script: script(&self.spec).to_owned(),
            started_ms: 1_700_000_000_000,
            stdio: self.spec.stdio,
            hold: self.spec.hold,
            clients: 0,
            offset: state.from + u64::try_from(state.kept.len()).unwrap(),
            ended: state.end.map(ended),
        }
    }

    fn finish(&self, end: End) -> bool {
        let mut state = self.state.lock().unwrap();
        let first = state.end.is_none();
        state.end.get_or_insert(end);
        self.changed.notify_all();
        first
    }

    fn take(&self, input: &[u8], close: bool) -> Reply {
        let mut state = self.state.lock().unwrap();
        if self.spec.stdio != bulkhead_protocol::agent::Stdio::Pipes(bulkhead_protocol::agent::Stdin::Open)
            || state.end.is_some()
        {
            return Reply("409 X", Vec::new());
        }
        state.kept.extend_from_slice(input);
        state.input.extend_from_slice(input);
        if close {
            state.end = Some(End::Exited { code: 0 });
        }
        self.changed.notify_all();
        ok(&InputTaken { bytes: u64::try_from(input.len()).unwrap() })
    }

    /// Writes frames from this offset on, until the end or until nobody listens.
    fn output(&self, stream: &mut UnixStream, mut from: u64) -> io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            let mut wire = Vec::new();
            let end = {
                let state = self.state.lock().unwrap();
                if from < state.from {
                    let gap = Gap { from, to: state.from };
                    encode(FrameType::Gap, &serde_json::to_vec(&gap)?, &mut wire);
                    from = state.from;
                }
                let new = state.kept.get(usize::try_from(from - state.from).unwrap()..).unwrap_or_default();
                for piece in new.chunks(MAX_PAYLOAD) {
                    encode(FrameType::Stdout, piece, &mut wire);
                }
                from = from.saturating_add(u64::try_from(new.len()).unwrap());
                if wire.is_empty() && state.end.is_none() {
                    let (_state, timeout) =
                        self.changed.wait_timeout(state, Duration::from_millis(500)).unwrap();
                    if timeout.timed_out() {
                        encode(FrameType::KeepAlive, b"", &mut wire);
                    }
                    None
                } else {
                    state.end
                }
            };
            if let Some(end) = end {
                encode(FrameType::Ended, &serde_json::to_vec(&ended(end))?, &mut wire);
                return stream.write_all(&wire);
            }
            stream.write_all(&wire)?;
        }
    }
}

fn script(spec: &ExecutionSpec) -> &str {
    match &spec.program {
        Program::Script(script) => script,
        Program::Shell => "",
    }
}

fn ended(end: End) -> Ended {
    let usage = Usage { cpu_ms: Some(2), wall_ms: 3, peak_memory_bytes: None };
    Ended { end, usage, output_open: false }
}

fn send(stream: &mut UnixStream, Reply(status, body): Reply) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}
