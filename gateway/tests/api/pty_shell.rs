//! The shells of an agent that runs nothing else: a real one on the host, fed by pipes.

use bulkhead_protocol::agent::{
    End, Ended, ExecutionSpec, ExecutionStatus, InputTaken, Killed, Program, Usage,
};
use bulkhead_protocol::frame::{FrameType, encode};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

/// One shell.
pub(crate) struct Shell {
    handle: u64,
    spec: ExecutionSpec,
    input: Mutex<ChildStdin>,
    child: Mutex<Child>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pieces: Vec<(FrameType, Vec<u8>)>,
    open: usize,
    ended: Option<Ended>,
}

impl Shell {
    pub(crate) fn start(handle: u64, spec: ExecutionSpec) -> Arc<Self> {
        let Program::Script(script) = &spec.program else { panic!("a shell without a script") };
        let mut child = Command::new("bash")
            .args(["-c", script])
            .envs(spec.env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let shell = Arc::new(Self {
            handle,
            spec,
            input: Mutex::new(child.stdin.take().unwrap()),
            child: Mutex::new(child),
            state: Mutex::new(State { open: 2, ..State::default() }),
            changed: Condvar::new(),
        });
        shell.read(output, FrameType::Stdout);
        shell.read(errors, FrameType::Stderr);
        shell
    }

    fn read(self: &Arc<Self>, mut from: impl Read + Send + 'static, kind: FrameType) {
        let this = Arc::clone(self);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                this.state.lock().unwrap().pieces.push((kind, buffer[..count].to_vec()));
                this.changed.notify_all();
            }
            let mut state = this.state.lock().unwrap();
            state.open -= 1;
            if state.open == 0 {
                let status = this.child.lock().unwrap().wait().unwrap();
                let end = status
                    .code()
                    .map_or(End::Killed, |code| End::Exited { code: u8::try_from(code).unwrap() });
                let usage = Usage { cpu_ms: None, wall_ms: 1, peak_memory_bytes: None };
                state.ended = Some(Ended { end, usage, output_open: false });
            }
            this.changed.notify_all();
        });
    }

    pub(crate) fn status(&self) -> ExecutionStatus {
        let state = self.state.lock().unwrap();
        let Program::Script(script) = &self.spec.program else { panic!("a shell without a script") };
        ExecutionStatus {
            handle: self.handle,
            script: script.clone(),
            started_ms: 1_700_000_000_000,
            stdio: self.spec.stdio,
            hold: self.spec.hold,
            clients: 0,
            offset: state.pieces.iter().map(|(_, piece)| u64::try_from(piece.len()).unwrap()).sum(),
            ended: state.ended.clone(),
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> InputTaken {
        self.input.lock().unwrap().write_all(bytes).unwrap_or_default();
        InputTaken { bytes: u64::try_from(bytes.len()).unwrap() }
    }

    pub(crate) fn kill(&self) -> Killed {
        self.child.lock().unwrap().kill().unwrap();
        Killed { processes: 1 }
    }

    pub(crate) fn follow(&self, stream: &mut UnixStream, from: u64) -> io::Result<()> {
        let (mut at, mut skip) = (0, usize::try_from(from).unwrap());
        loop {
            let mut state = self.state.lock().unwrap();
            while at == state.pieces.len() && state.ended.is_none() {
                state = self.changed.wait(state).unwrap();
            }
            let mut frame = Vec::new();
            match state.pieces.get(at) {
                Some((kind, piece)) if skip < piece.len() => {
                    encode(*kind, &piece[skip..], &mut frame);
                    skip = 0;
                }
                Some((_, piece)) => skip -= piece.len(),
                None => {
                    encode(FrameType::Ended, &serde_json::to_vec(&state.ended)?, &mut frame);
                    drop(state);
                    return stream.write_all(&frame);
                }
            }
            at += 1;
            drop(state);
            stream.write_all(&frame)?;
        }
    }
}
