//! An agent of its own for a test: in its own cgroup, on its own socket, gone when dropped.

#![expect(clippy::unwrap_used, reason = "a helper of tests: what fails here fails the test")]

use bulkhead_protocol::agent::{
    CGROUP_FD, DENIED_ENV, EXECUTIONS_PATH, End, Ended, ExecutionSpec, LAST_FD, LAUNCH_ENV, LISTEN_FD,
    MEMINFO_FD, MEMORY_CURRENT_FD, MEMORY_ENV, MEMORY_STAT_FD, MEMORY_USAGE_FD, OOM_FD, OPEN_FILES_ENV,
    PROCESSORS_ENV, PROGRAM_FD, StartFailure, StartFailureKind,
};
use bulkhead_protocol::frame::{Decoder, FrameType};
use bulkhead_sys::call::exec::{Strings, namespace};
use bulkhead_sys::call::process::{CapSets, Ids};
use bulkhead_sys::op::Op;
use bulkhead_sys::seccomp::{Profile, compile};
use bulkhead_sys::{caps, fd, pidfd, spawn};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, VsockAddr, bind, connect, getsockname, listen, socket,
};
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The agent's id in a sandbox; here it is one of the host's, with nothing of its own.
const AGENT_ID: u32 = 65_533;

/// The variable that makes the agents of a run listen on sockets of a virtual machine's family, over its loopback.
const TRANSPORT: &str = "BULKHEAD_AGENT_TRANSPORT";
/// The agent's program, where it is not the one that was built with this.
const PROGRAM: &str = "BULKHEAD_AGENT_PROGRAM";

/// Where an agent listens.
enum Address {
    Unix(PathBuf),
    /// A port of this machine.
    Vsock(VsockAddr),
}

impl Address {
    /// A listening socket, and how it is reached.
    fn listen(path: PathBuf) -> (OwnedFd, Self) {
        if std::env::var(TRANSPORT).is_err() {
            return (UnixListener::bind(&path).unwrap().into(), Self::Unix(path));
        }
        let made = vsock();
        let any = VsockAddr::new(libc::VMADDR_CID_LOCAL, libc::VMADDR_PORT_ANY);
        bind(made.as_raw_fd(), &any).unwrap();
        listen(&made, Backlog::new(64).unwrap()).unwrap();
        let address = getsockname(made.as_raw_fd()).unwrap();
        (made, Self::Vsock(address))
    }

    fn connect(&self) -> UnixStream {
        match self {
            Self::Unix(path) => UnixStream::connect(path).unwrap(),
            Self::Vsock(address) => {
                let made = vsock();
                connect(made.as_raw_fd(), address).unwrap();
                // It is read, written and shut down, all of which this type does to any stream socket.
                made.into()
            }
        }
    }
}

fn vsock() -> OwnedFd {
    socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .expect("AF_VSOCK (modprobe vsock_loopback)")
}

pub(crate) struct Agent {
    group: PathBuf,
    address: Address,
    oom: PathBuf,
    pid: i32,
    process: OwnedFd,
}

/// An answer under way.
pub(crate) struct Streaming {
    body: BufReader<UnixStream>,
    decoder: Decoder,
}

/// An execution that ended.
pub(crate) struct Ran {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    ended: Ended,
}

impl Ran {
    pub(crate) fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> &str {
        std::str::from_utf8(&self.stderr).unwrap()
    }

    pub(crate) fn ended(&self) -> &Ended {
        &self.ended
    }

    pub(crate) fn end(&self) -> End {
        self.ended.end
    }
}

impl Agent {
    pub(crate) fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("agent-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let group = v2_tree().join(&name);
        std::fs::create_dir(&group).unwrap();
        let (listener, address) = Address::listen(std::env::temp_dir().join(format!("{name}.socket")));
        let oom = std::env::temp_dir().join(format!("{name}.oom"));
        std::fs::write(&oom, "oom_kill 0\n").unwrap();
        let (pid, process) = launch(&group, &listener, &oom);
        Self { group, address, oom, pid, process }
    }

    /// Where it listens: a path, or a machine and a port.
    pub(crate) fn address(&self) -> String {
        match &self.address {
            Address::Unix(path) => path.display().to_string(),
            Address::Vsock(address) => format!("{}:{}", address.cid(), address.port()),
        }
    }

    /// Runs a script to its end.
    pub(crate) fn run(&self, script: &str) -> Ran {
        self.run_for(script, None)
    }

    pub(crate) fn run_for(&self, script: &str, timeout_ms: Option<u64>) -> Ran {
        self.open(script, timeout_ms).collect()
    }

    pub(crate) fn open(&self, script: &str, timeout_ms: Option<u64>) -> Streaming {
        let spec = ExecutionSpec { timeout_ms, ..ExecutionSpec::attached(script.to_owned()) };
        let (status, body) = self.post(&spec);
        assert_eq!(status, 200);
        Streaming::new(body)
    }

    /// Why this does not run.
    pub(crate) fn refusal(&self, spec: &ExecutionSpec) -> StartFailureKind {
        let (status, mut body) = self.post(spec);
        assert_eq!(status, 422);
        let mut text = String::new();
        body.read_to_string(&mut text).unwrap();
        serde_json::from_str::<StartFailure>(&text).unwrap().kind
    }

    /// Why a script does not run.
    pub(crate) fn fail(&self, script: &str, cwd: Option<&str>, env: &[(&str, &str)]) -> StartFailureKind {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let cwd = cwd.map(str::to_owned);
        self.refusal(&ExecutionSpec { env, cwd, ..ExecutionSpec::attached(script.to_owned()) })
    }

    pub(crate) fn leaves(&self) -> usize {
        let entries = std::fs::read_dir(&self.group).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count()
    }

    /// Processes of all leaves.
    pub(crate) fn processes(&self) -> usize {
        let leaves = std::fs::read_dir(&self.group).unwrap().map(|entry| entry.unwrap().path());
        let lists = leaves.filter_map(|leaf| std::fs::read_to_string(leaf.join("cgroup.procs")).ok());
        lists.map(|list| list.lines().count()).sum()
    }

    pub(crate) fn wait_until_empty(&self) {
        let begun = Instant::now();
        while self.leaves() > 0 {
            assert!(begun.elapsed() < PATIENCE, "leaves are left");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Adds to what the sandbox's counter of out-of-memory kills says.
    pub(crate) fn count_oom_kill(&self) {
        std::fs::write(&self.oom, "oom_kill 1\n").unwrap();
    }

    /// Processes of the agent's pid namespace that are direct children of the agent.
    pub(crate) fn children(&self) -> Vec<i32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let text = std::fs::read_to_string(path).unwrap();
        text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    /// Waits until the agent ended by itself.
    pub(crate) fn wait_until_ended(&self) {
        let begun = Instant::now();
        // A zombie, since nobody waited for it yet.
        while !std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap().contains(") Z ") {
            assert!(begun.elapsed() < PATIENCE, "the agent lives");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn post(&self, spec: &ExecutionSpec) -> (u16, BufReader<UnixStream>) {
        let json = serde_json::to_string(spec).unwrap();
        self.send("POST", EXECUTIONS_PATH, "connection: close", json.as_bytes())
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        header: &str,
        body: &[u8],
    ) -> (u16, BufReader<UnixStream>) {
        let mut stream = self.address.connect();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: agent\r\n{header}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut reader = BufReader::new(stream);
        let status = line(&mut reader).split(' ').nth(1).unwrap().parse().unwrap();
        while !line(&mut reader).is_empty() {}
        (status, reader)
    }
}

impl Drop for Agent {
    /// The agent first, then what it left, then the directories; by process and group, never by name.
    fn drop(&mut self) {
        pidfd::signal(self.process.as_fd(), libc::SIGKILL).unwrap();
        while pidfd::try_wait(self.process.as_fd()).unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::write(self.group.join("cgroup.kill"), "1").unwrap();
        let begun = Instant::now();
        for entry in std::fs::read_dir(&self.group).unwrap().map(Result::unwrap) {
            while entry.file_type().unwrap().is_dir() && std::fs::remove_dir(entry.path()).is_err() {
                assert!(begun.elapsed() < PATIENCE);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::fs::remove_dir(&self.group).unwrap();
        if let Address::Unix(path) = &self.address {
            std::fs::remove_file(path).unwrap();
        }
        std::fs::remove_file(&self.oom).unwrap();
    }
}

impl Streaming {
    pub(crate) fn new(body: BufReader<UnixStream>) -> Self {
        Self { body, decoder: Decoder::default() }
    }

    /// The next frame; `None` at the end of the body.
    pub(crate) fn next_frame(&mut self) -> Option<(FrameType, Vec<u8>)> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some((frame.kind, frame.payload.to_vec()));
            }
            let length = usize::from_str_radix(&line(&mut self.body), 16).unwrap();
            let mut chunk = vec![0; length];
            self.body.read_exact(&mut chunk).unwrap();
            assert_eq!(line(&mut self.body), "");
            if length == 0 {
                assert!(!self.decoder.is_mid_frame());
                return None;
            }
            self.decoder.feed(&chunk);
        }
    }

    pub(crate) fn collect(mut self) -> Ran {
        let (mut stdout, mut stderr, mut ended) = (Vec::new(), Vec::new(), None);
        assert_eq!(self.next_frame().unwrap().0, FrameType::Started);
        while let Some((kind, payload)) = self.next_frame() {
            assert!(ended.is_none(), "a frame after the last one");
            match kind {
                FrameType::Stdout => stdout.extend(payload),
                FrameType::Stderr => stderr.extend(payload),
                FrameType::Ended => ended = Some(serde_json::from_slice(&payload).unwrap()),
                FrameType::KeepAlive => {}
                _ => panic!("{kind:?}"),
            }
        }
        Ran { stdout, stderr, ended: ended.unwrap() }
    }
}

fn line(reader: &mut impl BufRead) -> String {
    let mut text = String::new();
    reader.read_line(&mut text).unwrap();
    text.trim_end().to_owned()
}

fn v2_tree() -> &'static Path {
    let trees = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    trees.into_iter().find(|tree| tree.join("cgroup.procs").exists()).expect("a v2 cgroup tree")
}

/// Starts the program as a launch does, in all but mounts and user namespace: PID 1 of a pid namespace, with an
/// inner init, as an id of its own with the agent's capabilities, under the agent's filter.
fn launch(group: &Path, listener: &OwnedFd, oom: &Path) -> (i32, OwnedFd) {
    let listener = fd::high(listener).unwrap();
    let directory = fd::high(&File::open(group).unwrap()).unwrap();
    let counter = fd::high(&File::open(oom).unwrap()).unwrap();
    let files =
        [("usage", "4194304\n"), ("stat", "inactive_file 1048576\n"), ("meminfo", ""), ("current", "")];
    let files = files.map(|(name, text)| {
        let path = oom.with_file_name(name);
        std::fs::write(&path, text).unwrap();
        fd::high(&File::options().read(true).write(true).open(path).unwrap()).unwrap()
    });
    let null = fd::high(&File::options().read(true).write(true).open("/dev/null").unwrap()).unwrap();
    let program = std::env::var(PROGRAM).unwrap_or(env!("CARGO_BIN_EXE_bulkhead-agent").to_owned());
    let program = fd::high(&File::open(program).unwrap()).unwrap();
    for owned in [group, &group.join("cgroup.procs")] {
        std::os::unix::fs::chown(owned, Some(AGENT_ID), Some(AGENT_ID)).unwrap();
    }
    let text = |text: &str| CString::new(text).unwrap();
    let execute = |mode: &str| Op::ExecuteFile {
        file: program.as_fd(),
        argv: Strings::new(vec![text("bulkhead-agent"), text(mode)]),
        envp: Strings::new(
            [(LAUNCH_ENV, 1), (OPEN_FILES_ENV, 512), (MEMORY_ENV, 64 << 20), (PROCESSORS_ENV, 0)]
                .iter()
                .map(|(name, value)| text(&format!("{name}={value}")))
                .chain([text(&format!("{DENIED_ENV}="))])
                .collect(),
        ),
    };
    let filter = compile(Profile::Agent);
    let ids = Ids::all(AGENT_ID);
    let sets = CapSets { effective: caps::AGENT, permitted: caps::AGENT, inheritable: caps::AGENT };
    let ops = [
        Op::Place(null.as_fd(), 0),
        Op::Place(null.as_fd(), 1),
        Op::Place(null.as_fd(), 2),
        Op::Unshare(namespace::PID),
        Op::ForkInit(vec![Op::CloseOnExecFrom(3), Op::Ready, execute("init")]),
        Op::Place(listener.as_fd(), LISTEN_FD),
        Op::Place(directory.as_fd(), CGROUP_FD),
        Op::Place(counter.as_fd(), OOM_FD),
        Op::Place(files[0].as_fd(), MEMORY_USAGE_FD),
        Op::Place(files[1].as_fd(), MEMORY_STAT_FD),
        Op::Place(files[2].as_fd(), MEMINFO_FD),
        Op::Place(files[3].as_fd(), MEMORY_CURRENT_FD),
        Op::Place(program.as_fd(), PROGRAM_FD),
        Op::CloseOnExecFrom(LAST_FD + 1),
        Op::ChangeDirectory(text("/")),
        Op::KeepCapabilities,
        Op::SetIds(ids, ids),
        Op::SetCapabilities(sets),
        Op::SetAmbient(caps::AGENT),
        Op::SetBoundingSet(caps::TENANT),
        Op::DieWithParent,
        Op::NoNewPrivileges,
        Op::Filter(&filter),
        execute("serve"),
    ];
    let child = spawn::spawn(&ops, namespace::PID, Some(directory.as_fd())).unwrap();
    match child.wait_for_exec().unwrap() {
        spawn::Outcome::Executed { pid, pidfd } => (pid, pidfd),
        failed @ spawn::Outcome::Failed { .. } => panic!("{failed:?}"),
    }
}
