//! An agent that runs nothing and does what the script says, most of it wrong.

use crate::commands_agent::Commands;
use crate::files_agent;
use crate::pty_agent::Terminals;
use crate::recorded::Recorded;
use crate::runtime::image_name;
use bulkhead_protocol::agent::{
    AGENT_PROTOCOL, EXECUTIONS_PATH, End, Ended, ExecutionSpec, HELLO_PATH, Hello, Hold, NAME_PATH, Program,
    StartFailure, StartFailureKind, Usage,
};
use bulkhead_protocol::files::FILES_PATH;
use bulkhead_protocol::frame::{FrameType, encode};
use bulkhead_protocol::runtime::CreateSandbox;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// One agent and its connections.
pub(crate) struct Agent {
    path: PathBuf,
    lives: AtomicBool,
    connections: Arc<Mutex<Vec<UnixStream>>>,
}

impl Agent {
    pub(crate) fn start(dir: &Path, spec: &CreateSandbox, recorded: &Arc<OnceLock<Recorded>>) -> Self {
        let path = dir.join(format!("{}.sock", spec.id));
        let listener = UnixListener::bind(&path).unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (kept, image, launch) = (Arc::clone(&connections), image_name(&spec.image), spec.launch);
        let executions = Arc::new((Terminals::default(), Commands::default()));
        let recorded = Arc::clone(recorded);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                kept.lock().unwrap().push(stream.try_clone().unwrap());
                let (image, executions) = (image.clone(), Arc::clone(&executions));
                let recorded = Arc::clone(&recorded);
                // A broken pipe is the gateway giving up, which is what most of this is for.
                std::thread::spawn(move || {
                    let close = stream.try_clone().unwrap();
                    match &*image {
                        "recorded" => recorded.get_or_init(Recorded::default).serve(stream),
                        _ => serve(stream, (&image, launch), &executions),
                    }
                    .unwrap_or_default();
                    close.shutdown(Shutdown::Both).unwrap_or_default();
                });
            }
        });
        Self { path, lives: AtomicBool::new(true), connections }
    }

    /// Nobody can connect any more, and who is connected is cut.
    pub(crate) fn kill(&self) {
        if self.lives.swap(false, Ordering::SeqCst) {
            std::fs::remove_file(&self.path).unwrap();
        }
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.shutdown(Shutdown::Both).unwrap_or_default();
        }
    }
}

/// Hellos so far.
static HELLOS: AtomicU32 = AtomicU32::new(0);

fn serve(
    mut stream: UnixStream,
    (image, launch): (&str, u32),
    (terminals, commands): &(Terminals, Commands),
) -> io::Result<()> {
    let (head, body) = request(&mut stream)?;
    if head.contains(HELLO_PATH) {
        let mut hello: Hello = serde_json::from_slice(&body)?;
        assert_eq!(hello.protocol, AGENT_PROTOCOL);
        match image {
            "mute" => return stall(&mut stream),
            "liar" => hello.nonce = "another".to_owned(),
            "old" => hello.protocol = 0,
            // The release after the next finds it so.
            "aged" if launch == 1 && HELLOS.fetch_add(1, Ordering::SeqCst) > 0 => hello.protocol = 0,
            // Of no use to the first gateway, which is killed before.
            "late" if launch == 1 => return stall(&mut stream),
            _ => {}
        }
        return answer(&mut stream, "200 OK", &serde_json::to_vec(&hello)?);
    }
    if head.contains(NAME_PATH) {
        return answer(&mut stream, "200 OK", b"{}");
    }
    // The look for a session's shell: there is every program.
    if let Ok(spec) = serde_json::from_slice::<ExecutionSpec>(&body)
        && script(&spec).starts_with("command -v ")
    {
        return run(&mut stream, &spec);
    }
    if head.contains(FILES_PATH) {
        return files_agent::serve(&mut stream, &body);
    }
    if image == "tty" {
        return terminals.serve(&mut stream, &head, &body);
    }
    let target = head.split(' ').nth(1).unwrap();
    if head.starts_with("GET") || Commands::owns(target) {
        return commands.serve(&mut stream, target, &body);
    }
    if target != EXECUTIONS_PATH {
        return answer(&mut stream, "404 X", b"");
    }
    let spec: ExecutionSpec = serde_json::from_slice(&body)?;
    match spec.hold {
        Hold::Attached => run(&mut stream, &spec),
        Hold::Detached => commands.start(&mut stream, spec),
    }
}

/// What an execution was asked to run; nothing for a shell.
fn script(spec: &ExecutionSpec) -> &str {
    match &spec.program {
        Program::Script(script) => script,
        Program::Shell => "",
    }
}

fn run(stream: &mut UnixStream, spec: &ExecutionSpec) -> io::Result<()> {
    match script(spec) {
        "never" => return stall(stream),
        "half a head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-")?;
            return stall(stream);
        }
        "endless header" => return endless(stream, b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 4096]),
        "many headers" => return endless(stream, b"HTTP/1.1 200 OK\r\n", &b"x: y\r\n".repeat(100)),
        "endless 1xx" => return endless(stream, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        "garbage" => return endless(stream, b"", b"\x16\x03\x01 no http \r\n\r\n"),
        "no shell" => return refuse(stream, StartFailureKind::NoShell),
        "no dir" => return refuse(stream, StartFailureKind::NoSuchDirectory),
        "no process" => return refuse(stream, StartFailureKind::ProcessLimit),
        "long refusal" => return answer(stream, "422 X", &vec![b' '; 1 << 20]),
        "status 500" => return answer(stream, "500 X\u{1b}[31m", b""),
        _ => {}
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    if script(spec) != "no start" {
        frame(stream, FrameType::Started, br#"{"handle":1048577}"#)?;
    }
    frames(stream, spec)
}

fn frames(stream: &mut UnixStream, spec: &ExecutionSpec) -> io::Result<()> {
    match script(spec) {
        "show" => frame(stream, FrameType::Stdout, &serde_json::to_vec(spec)?)?,
        "bytes" => frame(stream, FrameType::Stdout, b"a\xff\0\x1b[0m\r\nevent: x\n\xf0\x9f\x98")?,
        "much" => {
            for _ in 0..160 {
                frame(stream, FrameType::Stdout, &[b'x'; 65_536])?;
            }
        }
        "hang" | "hang deaf" => {
            frame(stream, FrameType::Stdout, b"so far")?;
            return stall(stream);
        }
        "lines" => {
            frame(stream, FrameType::Stdout, b"one\n  two\npart")?;
            frame(stream, FrameType::Stdout, b"ial\n\n")?;
            frame(stream, FrameType::KeepAlive, b"")?;
            frame(stream, FrameType::Stderr, b"data: forged\n\nevent:exit\n")?;
            frame(stream, FrameType::Stdout, b"no end")?;
        }
        "typing" => {
            for part in [&b"pass"[..], b"word: \xe2\x82", b"\xac"] {
                frame(stream, FrameType::Stdout, part)?;
                std::thread::sleep(Duration::from_millis(150));
            }
        }
        "flood" => loop {
            frame(stream, FrameType::Stdout, &b"0123456789abcdef0123456789abcde\n".repeat(2048))?;
        },
        "giant frame" => stream.write_all(&[2, 0xff, 0xff, 0xff, 0xff])?,
        "optional frame" => {
            stream.write_all(&[200, 0, 0, 0, 3, b'n', b'e', b'w'])?;
            frame(stream, FrameType::Stdout, b"and more")?;
        }
        "optional frames" => stream.write_all(&[200, 0, 0, 0, 1, 0].repeat(1000))?,
        "unknown frame" => stream.write_all(&[77, 0, 0, 0, 0])?,
        "half a frame" => {
            stream.write_all(&[2, 0, 0, 1, 0, b'x'])?;
            return stall(stream);
        }
        "cut frame" => return stream.write_all(&[2, 0, 0, 1, 0, b'x']),
        "empty frames" => {
            for _ in 0..1_000_000 {
                frame(stream, FrameType::Stdout, b"")?;
            }
        }
        "bad code" => frame(stream, FrameType::Ended, br#"{"end":{"kind":"exited","code":999}}"#)?,
        "bad json" => frame(stream, FrameType::Ended, b"{\"end\":\n\x1b[31mforged log line\n")?,
        look if look.starts_with("command -v ") => return end(stream, End::Exited { code: 0 }),
        "timeout" => return end(stream, End::Timeout),
        "oom" => return end(stream, End::Oom),
        "signal" => return end(stream, End::Signaled { signal: 11 }),
        _ => {
            frame(stream, FrameType::Stdout, b"out")?;
            frame(stream, FrameType::KeepAlive, b"")?;
            frame(stream, FrameType::Stderr, b"err")?;
        }
    }
    end(stream, End::Exited { code: 3 })
}

fn end(stream: &mut UnixStream, end: End) -> io::Result<()> {
    let usage = Usage { cpu_ms: Some(2), wall_ms: 3, peak_memory_bytes: None };
    frame(stream, FrameType::Ended, &serde_json::to_vec(&Ended { end, usage, output_open: false })?)
}

fn frame(stream: &mut UnixStream, kind: FrameType, payload: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode(kind, payload, &mut bytes);
    stream.write_all(&bytes)
}

fn refuse(stream: &mut UnixStream, kind: StartFailureKind) -> io::Result<()> {
    answer(stream, "422 X", &serde_json::to_vec(&StartFailure { kind, errno: Some(2) })?)
}

fn answer(stream: &mut UnixStream, status: &str, body: &[u8]) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

/// Says nothing more and waits for the other side to go.
fn stall(stream: &mut UnixStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

fn endless(stream: &mut UnixStream, first: &[u8], then: &[u8]) -> io::Result<()> {
    stream.write_all(first)?;
    loop {
        stream.write_all(then)?;
    }
}

pub(crate) fn request(stream: &mut UnixStream) -> io::Result<(String, Vec<u8>)> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break bytes.drain(..end + 4).collect::<Vec<u8>>();
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let missing = length.trim().parse::<usize>().unwrap() - bytes.len();
    let mut rest = vec![0; missing];
    stream.read_exact(&mut rest)?;
    bytes.append(&mut rest);
    Ok((head, bytes))
}
