//! Calls about executions that are there already, for tests.

#![expect(clippy::unwrap_used, reason = "a helper of tests: what fails here fails the test")]

use crate::agent::{Agent, PATIENCE, Streaming};
use bulkhead_protocol::agent::{
    EXECUTIONS_PATH, Ended, ExecutionSpec, ExecutionStatus, Executions, Gap, Hold, Killed, Size, Started,
};
use bulkhead_protocol::frame::{Decoder, FrameType, encode};
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// A detached script.
pub(crate) fn detached(script: &str) -> ExecutionSpec {
    ExecutionSpec { hold: Hold::Detached, ..ExecutionSpec::attached(script.to_owned()) }
}

/// What a reader of output got, all in one.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) bytes: Vec<u8>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) ended: Option<Ended>,
}

impl Read {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }
}

impl Agent {
    /// Starts what goes on by itself.
    pub(crate) fn detach(&self, spec: &ExecutionSpec) -> u64 {
        let (status, mut body) = self.post(spec);
        let mut text = String::new();
        body.read_to_string(&mut text).unwrap();
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Started>(&text).unwrap().handle
    }

    /// One call about an execution; the whole answer.
    pub(crate) fn call(&self, method: &str, handle: u64, rest: &str, body: &[u8]) -> (u16, String) {
        let path = format!("{EXECUTIONS_PATH}/{handle}/{rest}");
        let (status, mut answer) = self.send(method, &path, "connection: close", body);
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        (status, text)
    }

    /// A stream of frames about an execution.
    pub(crate) fn follow(&self, handle: u64, rest: &str) -> Streaming {
        let path = format!("{EXECUTIONS_PATH}/{handle}/{rest}");
        let (status, body) = self.send("GET", &path, "connection: close", b"");
        assert_eq!(status, 200);
        Streaming::new(body)
    }

    /// Output from an offset to the end.
    pub(crate) fn read_from(&self, handle: u64, from: u64) -> Read {
        let mut stream = self.follow(handle, &format!("output?from={from}"));
        let mut read = Read::default();
        while let Some((kind, payload)) = stream.next_frame() {
            assert!(read.ended.is_none(), "a frame after the last one");
            match kind {
                FrameType::Stdout | FrameType::Stderr => read.bytes.extend(payload),
                FrameType::Gap => read.gaps.push(serde_json::from_slice(&payload).unwrap()),
                FrameType::Ended => read.ended = Some(serde_json::from_slice(&payload).unwrap()),
                FrameType::KeepAlive => {}
                _ => panic!("{kind:?}"),
            }
        }
        read
    }

    /// The end, waited for.
    pub(crate) fn end_of(&self, handle: u64) -> Ended {
        let mut stream = self.follow(handle, "end");
        let (kind, payload) = stream.next_frame().unwrap();
        assert_eq!(kind, FrameType::Ended);
        assert!(stream.next_frame().is_none());
        serde_json::from_slice(&payload).unwrap()
    }

    pub(crate) fn kill(&self, handle: u64) -> u32 {
        let (status, text) = self.call("POST", handle, "kill", b"");
        assert_eq!(status, 200);
        serde_json::from_str::<Killed>(&text).unwrap().processes
    }

    pub(crate) fn signal(&self, handle: u64, signal: u8) -> u16 {
        self.call("POST", handle, "signal", format!("{{\"signal\":{signal}}}").as_bytes()).0
    }

    pub(crate) fn list(&self) -> Vec<ExecutionStatus> {
        let (status, mut body) = self.send("GET", EXECUTIONS_PATH, "connection: close", b"");
        let mut text = String::new();
        body.read_to_string(&mut text).unwrap();
        assert_eq!(status, 200);
        serde_json::from_str::<Executions>(&text).unwrap().executions
    }

    pub(crate) fn status_of(&self, handle: u64) -> Option<ExecutionStatus> {
        self.list().into_iter().find(|status| status.handle == handle)
    }

    /// Sits down at a terminal.
    pub(crate) fn sit_down(&self, handle: u64, from: u64) -> Seat {
        let path = format!("{EXECUTIONS_PATH}/{handle}/terminal?from={from}");
        let (status, body) = self.send("GET", &path, "connection: upgrade\r\nupgrade: bulkhead-frames", b"");
        assert_eq!(status, 101);
        Seat { body, decoder: Decoder::default(), seen: Vec::new(), ended: None, gaps: 0 }
    }

    pub(crate) fn resize(&self, handle: u64, size: Size) -> u16 {
        self.call("POST", handle, "size", serde_json::to_string(&size).unwrap().as_bytes()).0
    }
}

/// A client at a terminal.
pub(crate) struct Seat {
    body: BufReader<UnixStream>,
    decoder: Decoder,
    pub(crate) seen: Vec<u8>,
    pub(crate) ended: Option<Ended>,
    pub(crate) gaps: usize,
}

impl Seat {
    pub(crate) fn type_in(&mut self, text: &str) {
        self.try_type(text).unwrap();
    }

    pub(crate) fn try_type(&mut self, text: &str) -> std::io::Result<()> {
        let mut wire = Vec::new();
        encode(FrameType::Input, text.as_bytes(), &mut wire);
        self.body.get_mut().write_all(&wire)
    }

    /// Reads until the screen shows this, and clears it up to there.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let screen = String::from_utf8_lossy(&self.seen).into_owned();
            if let Some(at) = screen.find(text) {
                let before = screen[..at + text.len()].to_owned();
                self.seen = screen[at + text.len()..].into();
                return before;
            }
            assert!(begun.elapsed() < PATIENCE, "no {text:?} in {screen:?}");
            assert!(self.read_more(), "the end before {text:?}, after {screen:?}");
        }
    }

    /// Reads to the end of the connection.
    pub(crate) fn read_to_end(&mut self) -> Ended {
        while self.read_more() {}
        self.ended.clone().unwrap()
    }

    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let count = self.body.read(&mut buffer).unwrap();
        self.decoder.feed(&buffer[..count]);
        while let Some(frame) = self.decoder.next_frame().unwrap() {
            match frame.kind {
                FrameType::Stdout => self.seen.extend(frame.payload),
                FrameType::Gap => self.gaps += 1,
                FrameType::Ended => self.ended = Some(serde_json::from_slice(frame.payload).unwrap()),
                FrameType::KeepAlive => {}
                other => panic!("{other:?}"),
            }
        }
        count > 0
    }
}

/// Waits for something that must become true.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
