//! A runtime that makes nothing but agents' sockets.

use crate::agent::Agent;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::isolation::{Isolation, Item, Verdict, WallKind};
use bulkhead_protocol::runtime::{
    Call, CreateSandbox, Disk, Event, LIST_PAGE, Life, MAX_PACKET, Message, RUNTIME_PROTOCOL, RefusalKind,
    Reply, Request, SandboxStatus, Scarce,
};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, listen, recv, send, socket,
};
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What the runtime has.
#[derive(Default)]
struct State {
    agents: BTreeMap<SandboxId, Agent>,
    created: Vec<CreateSandbox>,
    connection: Option<Arc<UnixStream>>,
    /// Connections are taken and closed at once.
    away: bool,
}

/// The runtime, which goes on when a gateway goes.
#[derive(Clone)]
pub(crate) struct FakeRuntime {
    agents_dir: PathBuf,
    state: Arc<Mutex<State>>,
}

impl FakeRuntime {
    pub(crate) fn start(run_dir: &Path) -> Self {
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(fd.as_raw_fd(), &UnixAddr::new(&run_dir.join("runtime.sock")).unwrap()).unwrap();
        listen(&fd, Backlog::new(8).unwrap()).unwrap();
        // Types of the standard library own the descriptors; what is sent is sent by packets.
        let listener = UnixListener::from(fd);
        let runtime = Self { agents_dir: run_dir.join("gateway/agents"), state: Arc::default() };
        let server = runtime.clone();
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                server.serve(Arc::new(stream));
            }
        });
        runtime
    }

    fn serve(&self, stream: Arc<UnixStream>) {
        {
            let mut state = self.state.lock().unwrap();
            if state.away {
                return;
            }
            state.connection = Some(Arc::clone(&stream));
        }
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let length = recv(stream.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap_or(0);
            if length == 0 {
                return;
            }
            let Request { seq, call } = serde_json::from_slice(&buffer[..length]).unwrap();
            // In an order of its own: every call is answered from another thread.
            let (server, stream) = (self.clone(), Arc::clone(&stream));
            std::thread::spawn(move || {
                let reply = server.answer(call);
                tell(&stream, &Message::Reply { seq, reply });
            });
        }
    }

    fn answer(&self, call: Call) -> Reply {
        let refused = |kind| Reply::Refused { kind, detail: "secret detail of the host".to_owned() };
        let mut state = self.state.lock().unwrap();
        match call {
            Call::Hello { .. } => Reply::Hello { protocol: RUNTIME_PROTOCOL },
            Call::ResolveImage { image } if image == "nothing" => refused(RefusalKind::UnknownImage),
            Call::ResolveImage { image } => Reply::Image { image: format!("{image}:latest") },
            Call::Create(spec) if spec.image == "full:latest" => {
                state.created.push(spec);
                refused(RefusalKind::NoRoom(Scarce::Memory))
            }
            Call::Create(spec) => {
                let agent = Agent::start(&self.agents_dir, &spec);
                state.agents.insert(spec.id.clone(), agent);
                state.created.push(spec);
                Reply::Created { launch: 1 }
            }
            Call::Destroy { id } => match state.agents.remove(&id) {
                Some(agent) => {
                    agent.kill();
                    Reply::Destroyed
                }
                None => refused(RefusalKind::Unknown),
            },
            Call::Inspect { id } => match state.agents.get(&id) {
                Some(agent) if agent.lives() => Reply::Isolation(report()),
                _ => refused(RefusalKind::Unknown),
            },
            Call::List { after } => {
                let living = state.agents.iter().filter(|(_, agent)| agent.lives()).map(|(id, _)| id);
                let row = |id: &SandboxId| SandboxStatus { id: id.clone(), launch: 1, life: Life::Running };
                let page = living.filter(|id| Some(*id) > after.as_ref()).take(LIST_PAGE).map(row);
                Reply::Sandboxes(page.collect())
            }
            Call::Stop { .. }
            | Call::Freeze { .. }
            | Call::Thaw { .. }
            | Call::Name { .. }
            | Call::ListDisks { .. }
            | Call::Leaks => refused(RefusalKind::Invalid),
        }
    }

    /// Every sandbox that the runtime has.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.state.lock().unwrap().agents.keys().map(ToString::to_string).collect()
    }

    /// The orders so far.
    pub(crate) fn created(&self) -> Vec<CreateSandbox> {
        self.state.lock().unwrap().created.clone()
    }

    /// Puts a sandbox there that no gateway asked for.
    pub(crate) fn plant(&self, id: &str) {
        let limits = bulkhead_protocol::Limits {
            memory_bytes: 1 << 30,
            cpu_millis: 1000,
            pids: 64,
            open_files: 64,
            disk_bytes: 64 << 20,
        };
        let id = SandboxId::parse(id).unwrap();
        let spec = CreateSandbox {
            id,
            launch: 1,
            disk: Disk::New,
            image: "code:latest".to_owned(),
            limits,
            hostname: "x".to_owned(),
        };
        assert_eq!(self.answer(Call::Create(spec)), Reply::Created { launch: 1 });
    }

    /// Ends an agent as if it had died.
    pub(crate) fn kill(&self, id: &str) {
        let id = SandboxId::parse(id).unwrap();
        let state = self.state.lock().unwrap();
        state.agents[&id].kill();
        if let Some(connection) = &state.connection {
            tell(connection, &Message::Event(Event::Died { id, launch: 1 }));
        }
    }

    /// Makes a sandbox unknown without telling anybody.
    pub(crate) fn forget(&self, id: &str) {
        self.state.lock().unwrap().agents.remove(&SandboxId::parse(id).unwrap()).unwrap().kill();
    }

    /// Cuts the connection; `away` says whether the next is refused.
    pub(crate) fn cut(&self, away: Away) {
        let mut state = self.state.lock().unwrap();
        state.away = away == Away::Yes;
        if let Some(connection) = state.connection.take() {
            connection.shutdown(Shutdown::Both).unwrap();
        }
    }
}

/// A report with one wall that holds, one that does not, one of which nothing was found though it is said to hold,
/// and longer texts than there should be.
fn report() -> Isolation {
    let item = |wall, found: Option<&str>| Item {
        wall,
        name: "n".repeat(500),
        wanted: "1\n".to_owned(),
        found: found.map(str::to_owned),
        verdict: Verdict::from(found != Some("2")),
    };
    let items = vec![
        item(WallKind::Disk, Some("1")),
        item(WallKind::Masks, Some("1")),
        item(WallKind::Masks, Some("2")),
        item(WallKind::Ids, None),
    ];
    Isolation { items, modules: vec!["landlock".to_owned()] }
}

/// Whether a runtime can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    Yes,
    No,
}

fn tell(stream: &UnixStream, message: &Message) {
    let packet = serde_json::to_vec(message).unwrap();
    // The gateway may have gone.
    send(stream.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL).unwrap_or_default();
}
