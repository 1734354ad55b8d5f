//! The terminals of an agent that runs nothing: a "shell" that echoes what is typed and does what a few words
//! say, some of it wrong.

use crate::pty_shell::Shell;
use bulkhead_protocol::agent::{
    End, Ended, ExecutionSpec, ExecutionStatus, Executions, Gap, Hold, Killed, Size, Started, Stdio, Usage,
};
use bulkhead_protocol::frame::{Decoder, FrameType, encode};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// What every shell says first.
pub(crate) const PROMPT: &str = "root@box:~# ";
/// Bytes that a terminal keeps.
const KEPT: usize = 1 << 20;

/// The executions of one agent.
#[derive(Default)]
pub(crate) struct Terminals {
    all: Mutex<BTreeMap<u64, Arc<Execution>>>,
    shells: Mutex<BTreeMap<u64, Arc<Shell>>>,
}

struct Execution {
    handle: u64,
    spec: ExecutionSpec,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    size: Size,
    /// Offset of the first kept byte.
    from: u64,
    kept: Vec<u8>,
    clients: u32,
    ended: bool,
    /// Written to clients at once, as it is.
    raw: Vec<u8>,
}

impl Execution {
    fn write(&self, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        state.kept.extend_from_slice(bytes);
        let over = state.kept.len().saturating_sub(KEPT);
        state.kept.drain(..over);
        state.from += u64::try_from(over).unwrap();
        self.changed.notify_all();
    }

    fn end(&self) {
        self.state.lock().unwrap().ended = true;
        self.changed.notify_all();
    }

    /// Sends everything from the offset `from` on, until the end or until the other side is gone.
    fn follow(&self, stream: &mut UnixStream, mut from: u64) -> io::Result<()> {
        loop {
            let mut out = Vec::new();
            let mut state = self.state.lock().unwrap();
            out.append(&mut state.raw);
            if from < state.from {
                encode(FrameType::Gap, &serde_json::to_vec(&Gap { from, to: state.from })?, &mut out);
                from = state.from;
            }
            let new = &state.kept[usize::try_from(from - state.from).unwrap()..];
            let piece = &new[..new.len().min(60_000)];
            if !piece.is_empty() {
                encode(FrameType::Stdout, piece, &mut out);
                from += u64::try_from(piece.len()).unwrap();
            } else if state.ended {
                let usage = Usage { cpu_ms: None, wall_ms: 1, peak_memory_bytes: None };
                let ended = Ended { end: End::Exited { code: 0 }, usage, output_open: false };
                encode(FrameType::Ended, &serde_json::to_vec(&ended)?, &mut out);
                drop(state);
                return stream.write_all(&out);
            } else if out.is_empty() {
                let waited = self.changed.wait_timeout(state, Duration::from_secs(5)).unwrap().1;
                if waited.timed_out() {
                    encode(FrameType::KeepAlive, b"", &mut out);
                    stream.write_all(&out)?;
                }
                continue;
            }
            drop(state);
            stream.write_all(&out)?;
        }
    }

    /// Does what was typed.
    fn input(self: &Arc<Self>, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.write(text.replace('\n', "\r\n").as_bytes());
        match text.trim_end() {
            "exit" => return self.end(),
            "size" => {
                let Size { cols, rows } = self.state.lock().unwrap().size;
                self.write(format!("{rows} {cols}\r\n").as_bytes());
            }
            "flood" => {
                let this = Arc::clone(self);
                std::thread::spawn(move || {
                    while !this.state.lock().unwrap().ended {
                        this.write(&[b'x'; 60_000]);
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            "split" => {
                self.write(b"<\xe2\x82");
                std::thread::sleep(Duration::from_millis(10));
                self.write(b"\xac>");
            }
            "half" => return self.write(b"<\xe2\x82"),
            "stall" => std::thread::sleep(Duration::from_secs(100)),
            "echo input" => self.lie(FrameType::Input, b"typed by another"),
            "stderr" => self.lie(FrameType::Stderr, b"x"),
            "started twice" => {
                self.lie(FrameType::Started, br#"{"handle":1}"#);
                self.lie(FrameType::Started, br#"{"handle":1}"#);
            }
            "gap" => self.lie(FrameType::Gap, br#"{"from":9,"to":3}"#),
            "unknown" => self.raw(&[99, 0, 0, 0, 0]),
            "giant" => self.raw(&[2, 0xff, 0xff, 0xff, 0xff]),
            _ => {}
        }
        self.write(PROMPT.as_bytes());
    }

    fn lie(&self, kind: FrameType, payload: &[u8]) {
        let mut frame = Vec::new();
        encode(kind, payload, &mut frame);
        self.raw(&frame);
    }

    fn raw(&self, bytes: &[u8]) {
        self.state.lock().unwrap().raw.extend_from_slice(bytes);
        self.changed.notify_all();
    }

    fn status(&self) -> ExecutionStatus {
        let state = self.state.lock().unwrap();
        let usage = Usage { cpu_ms: None, wall_ms: 1, peak_memory_bytes: None };
        let ended = Ended { end: End::Exited { code: 0 }, usage, output_open: false };
        ExecutionStatus {
            handle: self.handle,
            script: String::new(),
            started_ms: 1_700_000_000_000,
            stdio: self.spec.stdio,
            hold: self.spec.hold,
            clients: state.clients,
            offset: state.from + u64::try_from(state.kept.len()).unwrap(),
            ended: state.ended.then_some(ended),
        }
    }
}

impl Terminals {
    /// Answers one request, once its head and body have been read.
    pub(crate) fn serve(&self, stream: &mut UnixStream, head: &str, body: &[u8]) -> io::Result<()> {
        let line = head.lines().next().unwrap();
        let target = line.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.trim_start_matches("/v1/executions").split('/').collect();
        let from = query.strip_prefix("from=").map_or(0, |from| from.parse().unwrap());
        match (line.starts_with("POST"), parts.as_slice()) {
            (true, [""]) => self.start(stream, serde_json::from_slice(body)?),
            (false, [""]) => {
                let mut executions: Vec<_> =
                    self.all.lock().unwrap().values().map(|one| one.status()).collect();
                executions.extend(self.shells.lock().unwrap().values().map(|one| one.status()));
                json(stream, &Executions { executions })
            }
            (_, ["", handle, what]) => {
                let shell = self.shells.lock().unwrap().get(&handle.parse().unwrap()).cloned();
                if let Some(shell) = shell {
                    return shell_act(stream, &shell, what, from, body);
                }
                let found = self.all.lock().unwrap().get(&handle.parse().unwrap()).cloned();
                let Some(execution) = found else { return status(stream, "404 Not Found") };
                act(stream, &execution, what, from, body)
            }
            _ => status(stream, "404 Not Found"),
        }
    }

    fn start(&self, stream: &mut UnixStream, spec: ExecutionSpec) -> io::Result<()> {
        let Stdio::Terminal(size) = spec.stdio else {
            let mut shells = self.shells.lock().unwrap();
            let handle = (2 << 20) + u64::try_from(shells.len()).unwrap() + 1;
            shells.insert(handle, Shell::start(handle, spec));
            drop(shells);
            return json(stream, &Started { handle });
        };
        let state = State { size, from: 0, kept: Vec::new(), clients: 0, ended: false, raw: Vec::new() };
        let mut all = self.all.lock().unwrap();
        let handle = (1 << 20) + u64::try_from(all.len()).unwrap() + 1;
        let hold = spec.hold;
        let execution =
            Arc::new(Execution { handle, spec, state: Mutex::new(state), changed: Condvar::new() });
        all.insert(handle, Arc::clone(&execution));
        drop(all);
        execution.write(PROMPT.as_bytes());
        if hold == Hold::Detached {
            return json(stream, &Started { handle });
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        let mut started = Vec::new();
        encode(FrameType::Started, &serde_json::to_vec(&Started { handle })?, &mut started);
        stream.write_all(&started)?;
        let (mut gone, ending) = (stream.try_clone()?, Arc::clone(&execution));
        std::thread::spawn(move || {
            io::copy(&mut gone, &mut io::sink()).unwrap_or_default();
            ending.end();
        });
        execution.follow(stream, 0)
    }
}

fn act(
    stream: &mut UnixStream,
    execution: &Arc<Execution>,
    what: &str,
    from: u64,
    body: &[u8],
) -> io::Result<()> {
    let ended = execution.state.lock().unwrap().ended;
    match what {
        "kill" => {
            execution.end();
            json(stream, &Killed { processes: 1 })
        }
        "output" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            execution.follow(stream, from)
        }
        _ if ended => status(stream, "409 Conflict"),
        "size" => {
            execution.state.lock().unwrap().size = serde_json::from_slice(body)?;
            json(stream, &serde_json::json!({}))
        }
        "terminal" => terminal(stream, execution, from),
        _ => status(stream, "404 Not Found"),
    }
}

fn shell_act(stream: &mut UnixStream, shell: &Shell, what: &str, from: u64, body: &[u8]) -> io::Result<()> {
    match what {
        "output" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            shell.follow(stream, from)
        }
        "stdin" => json(stream, &shell.write(body)),
        "kill" => json(stream, &shell.kill()),
        _ => status(stream, "409 Conflict"),
    }
}

fn terminal(stream: &mut UnixStream, execution: &Arc<Execution>, from: u64) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: bulkhead-frames\r\n\r\n",
    )?;
    stream.set_read_timeout(None)?;
    execution.state.lock().unwrap().clients += 1;
    let (mut input, typing) = (stream.try_clone()?, Arc::clone(execution));
    std::thread::spawn(move || {
        let (mut decoder, mut buffer) = (Decoder::default(), [0; 4096]);
        while let Ok(count @ 1..) = input.read(&mut buffer) {
            decoder.feed(&buffer[..count]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                assert_eq!(frame.kind, FrameType::Input);
                typing.input(frame.payload);
            }
        }
        typing.state.lock().unwrap().clients -= 1;
        input.shutdown(Shutdown::Both).unwrap_or_default();
    });
    execution.follow(stream, from)
}

fn json(stream: &mut UnixStream, value: &impl serde::Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(value)?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat())
}

fn status(stream: &mut UnixStream, status: &str) -> io::Result<()> {
    stream
        .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
}
