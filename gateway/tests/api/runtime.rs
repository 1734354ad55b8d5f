//! A runtime that makes nothing but agents' sockets.

use crate::agent::Agent;
use crate::operator::Files;
use crate::recorded::Recorded;
use crate::runtime_images::{self, Images};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::{FoundImage, ImageId, ImageName, MostLimits};
use bulkhead_protocol::isolation::{Isolation, Item, Verdict, WallKind};
use bulkhead_protocol::runtime::{
    Call, CreateSandbox, Disk, Event, LIST_PAGE, Leak, LeakKind, Life, MAX_PACKET, Message, RUNTIME_PROTOCOL,
    RefusalKind, Reply, Request, SandboxStatus, Scarce,
};
use bulkhead_protocol::stats::{self, Counters, Memory, Stats};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, bind, listen,
    recvmsg, send, socket,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::IoSliceMut;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// An id from which [`image_name`] finds the name again: what a fake agent does depends on it.
pub(crate) fn image_id(name: &str) -> ImageId {
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    ImageId::parse(&format!("sha256:{hex:0<64}")).unwrap()
}

/// The name of an image of [`image_id`].
pub(crate) fn image_name(id: &ImageId) -> String {
    let digits = id.as_str().trim_start_matches("sha256:").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = digits.chunks(2).map(byte).take_while(|byte| *byte != 0).collect();
    String::from_utf8(bytes).unwrap()
}

/// A host name: what gets it is said to have died before.
pub(crate) const DIES: &str = "dies";

/// What the runtime has.
#[derive(Default)]
struct State {
    agents: BTreeMap<SandboxId, Running>,
    disks: BTreeSet<SandboxId>,
    images: Images,
    /// What the next questions for room hear; afterwards there is plenty.
    rooms: VecDeque<u64>,
    /// Something lies around that no record claims.
    leaks: bool,
    created: Vec<CreateSandbox>,
    calls: Vec<String>,
    /// Calls with this name are refused.
    refuses: Option<&'static str>,
    connection: Option<Arc<UnixStream>>,
    /// Connections are taken and closed at once.
    away: bool,
    speaks: Speaks,
    /// What agents of the image `recorded` say.
    recorded: Arc<OnceLock<Recorded>>,
}

/// Of which release a runtime is, as its hello tells.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) enum Speaks {
    #[default]
    Ours,
    /// Of one that answers whoever asks.
    Another(u32),
    /// Of one that refuses a gateway of another release, as ours does.
    Refuses(u32),
}

impl Speaks {
    fn hello(self, gateway: u32) -> Reply {
        let answer = |protocol| Reply::Hello { protocol, release: String::new() };
        match self {
            Self::Ours => answer(RUNTIME_PROTOCOL),
            Self::Another(protocol) => answer(protocol),
            Self::Refuses(protocol) => {
                let detail = format!("the runtime speaks {protocol}, the gateway {gateway}");
                Reply::Refused { kind: RefusalKind::Invalid, detail }
            }
        }
    }
}

/// One launch.
struct Running {
    agent: Agent,
    launch: u32,
    life: Life,
}

/// The runtime, which goes on when a gateway goes.
#[derive(Clone)]
pub(crate) struct FakeRuntime {
    agents_dir: PathBuf,
    operator: Files,
    state: Arc<Mutex<State>>,
    looks: Arc<Looks>,
}

/// Looks at what is in force: how many go on, and the most at once so far.
#[derive(Default)]
struct Looks {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Looks {
    /// Each takes a moment, so that others come meanwhile.
    fn around(&self, look: impl FnOnce() -> Reply) -> Reply {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        let reply = look();
        self.now.fetch_sub(1, Ordering::SeqCst);
        reply
    }
}

impl FakeRuntime {
    pub(crate) fn start(run_dir: &Path, operator: Files) -> Self {
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(fd.as_raw_fd(), &UnixAddr::new(&run_dir.join("runtime.sock")).unwrap()).unwrap();
        listen(&fd, Backlog::new(8).unwrap()).unwrap();
        // Types of the standard library own the descriptors; what is sent is sent by packets.
        let listener = UnixListener::from(fd);
        let agents_dir = run_dir.join("gateway/agents");
        let runtime = Self { agents_dir, operator, state: Arc::default(), looks: Arc::default() };
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
            let (length, descriptors) = receive(&stream, &mut buffer);
            if length == 0 {
                return;
            }
            let Request { seq, call } = serde_json::from_slice(&buffer[..length]).unwrap();
            // In an order of its own: every call is answered from another thread.
            let (server, stream) = (self.clone(), Arc::clone(&stream));
            std::thread::spawn(move || {
                let is_look = matches!(call, Call::Inspect { .. });
                let answer = || server.answer_with(call, descriptors);
                let reply = if is_look { server.looks.around(answer) } else { answer() };
                tell(&stream, &Message::Reply { seq, reply });
            });
        }
    }

    fn answer(&self, call: Call) -> Reply {
        self.answer_with(call, Vec::new())
    }

    fn answer_with(&self, call: Call, descriptors: Vec<File>) -> Reply {
        let mut state = self.state.lock().unwrap();
        let name = serde_json::to_value(&call).unwrap();
        let alone = name.as_str().map(str::to_owned);
        let name = alone.or_else(|| name.as_object()?.keys().next().cloned()).unwrap_or_default();
        if state.refuses.is_some_and(|refuses| refuses == name) {
            return refused(RefusalKind::Failed);
        }
        match call {
            Call::Hello { protocol } => state.speaks.hello(protocol),
            Call::ResolveImage { image, .. } if image.name() == "nothing" => {
                refused(RefusalKind::UnknownImage)
            }
            Call::ResolveImage { image, .. } => {
                let id = image_id(image.name());
                let defaults = runtime_images::defaults(image.name());
                Reply::Image(FoundImage { name: image, id, defaults, most: MostLimits::default() })
            }
            Call::ListImages { of, skip } => state.images.list(&of, skip),
            Call::ImportImage(order) => state.images.import(order, descriptors),
            Call::RemoveImage { org, image } => state.images.remove(org.as_deref(), &image),
            Call::ImageRoom => Reply::ImageRoom { bytes: state.rooms.pop_front().unwrap_or(1 << 40) },
            Call::InspectImage { .. } | Call::CollectImages => refused(RefusalKind::Failed),
            Call::Create(spec) => self.create(&mut state, spec),
            Call::Name { id, hostname } if hostname == DIES => {
                let launch = state.agents[&id].launch;
                if let Some(connection) = &state.connection {
                    tell(connection, &Message::Event(Event::Died { id, launch }));
                }
                drop(state);
                // The gateway has heard of the death when it hears of the name.
                std::thread::sleep(std::time::Duration::from_millis(200));
                Reply::Named
            }
            Call::Stop { .. } | Call::Freeze { .. } | Call::Thaw { .. } | Call::Name { .. } => {
                turn(&mut state, &call, name)
            }
            Call::ListDisks { after } => {
                let rows = state.disks.iter().filter(|id| Some(*id) > after.as_ref());
                Reply::Disks(rows.take(LIST_PAGE).cloned().collect())
            }
            Call::Leaks => {
                let leak = Leak { kind: LeakKind::Mount, name: "planted".to_owned() };
                Reply::Leaks(state.leaks.then_some(leak).into_iter().collect())
            }
            Call::Destroy { id } => {
                let (disk, running) = (state.disks.remove(&id), state.agents.remove(&id));
                match running {
                    Some(running) => running.agent.kill(),
                    None if !disk => return refused(RefusalKind::Unknown),
                    None => {}
                }
                Reply::Destroyed
            }
            call @ (Call::Inspect { .. } | Call::Stats { .. } | Call::Counters | Call::ReadFile { .. }) => {
                self.tell(&mut state, call, name)
            }
            Call::Spec { of } => panic!("a gateway asks for the spec of {of:?}"),
            Call::List { after } => {
                let rows = state.agents.iter().filter(|(id, _)| Some(*id) > after.as_ref());
                let row = |(id, running): (&SandboxId, &Running)| SandboxStatus {
                    id: id.clone(),
                    launch: running.launch,
                    life: running.life,
                };
                Reply::Sandboxes(rows.take(LIST_PAGE).map(row).collect())
            }
        }
    }

    /// Calls that look and change nothing.
    fn tell(&self, state: &mut State, call: Call, name: String) -> Reply {
        match call {
            Call::Inspect { id } if state.agents.contains_key(&id) => {
                state.calls.push(name);
                Reply::Isolation(report())
            }
            Call::Inspect { id } if state.disks.contains(&id) => refused(RefusalKind::NotRunning),
            Call::Inspect { .. } => refused(RefusalKind::Unknown),
            Call::Stats { id } if !state.disks.contains(&id) => refused(RefusalKind::Unknown),
            Call::Stats { id } => {
                state.calls.push(name);
                Reply::Stats(Box::new(stats(state.agents.contains_key(&id))))
            }
            Call::Counters => {
                let launched = u64::try_from(state.created.len()).unwrap();
                Reply::Counters(Box::new(Counters { launched, ..Counters::default() }))
            }
            Call::ReadFile { file } => self.operator.read(file),
            other => panic!("{other:?}"),
        }
    }

    fn create(&self, state: &mut State, spec: CreateSandbox) -> Reply {
        if image_name(&spec.image) == "full" {
            state.created.push(spec);
            return refused(RefusalKind::NoRoom(Scarce::Memory));
        }
        assert!(!state.agents.contains_key(&spec.id), "{} runs already", spec.id);
        let has_disk = state.disks.contains(&spec.id);
        assert_eq!(has_disk, spec.disk == Disk::Kept, "the disk of {}", spec.id);
        let newer = state.created.iter().all(|old| old.id != spec.id || old.launch < spec.launch);
        assert!(newer, "launch {} of {} is no new one", spec.launch, spec.id);
        let (agent, launch) = (Agent::start(&self.agents_dir, &spec, &state.recorded), spec.launch);
        state.agents.insert(spec.id.clone(), Running { agent, launch, life: Life::Running });
        state.disks.insert(spec.id.clone());
        state.created.push(spec);
        Reply::Created { launch }
    }

    /// Every sandbox that has anything.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.state.lock().unwrap().disks.iter().map(ToString::to_string).collect()
    }

    /// Every sandbox that runs, with its launch and whether it stands still.
    pub(crate) fn running(&self) -> BTreeMap<String, (u32, Life)> {
        let state = self.state.lock().unwrap();
        state.agents.iter().map(|(id, r)| (id.to_string(), (r.launch, r.life))).collect()
    }

    /// The most looks at what is in force that went on at once.
    pub(crate) fn most_looks(&self) -> usize {
        self.looks.most.load(Ordering::SeqCst)
    }

    /// The names of calls so far that have changed what runs.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// From now on every call with this name fails; `None` is none.
    pub(crate) fn refuse(&self, call: Option<&'static str>) {
        self.state.lock().unwrap().refuses = call;
    }

    /// Says what is left beside the images, the next times that somebody asks.
    pub(crate) fn leave_room(&self, rooms: &[u64]) {
        self.state.lock().unwrap().rooms = rooms.iter().copied().collect();
    }

    /// Gives the host's operator, or an organisation, an image.
    pub(crate) fn plant_image(&self, org: Option<&str>, name: &str, bytes: u64) {
        self.state.lock().unwrap().images.plant(org, name, bytes);
    }

    /// Puts something there that no record claims.
    pub(crate) fn leak(&self) {
        self.state.lock().unwrap().leaks = true;
    }

    /// Loses a sandbox without a trace.
    pub(crate) fn lose(&self, id: &str) {
        self.forget(id);
        self.state.lock().unwrap().disks.remove(&SandboxId::parse(id).unwrap());
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
        let (image, hostname) = (image_id("code"), "x".to_owned());
        let named = ImageName::parse("code").unwrap();
        let spec = CreateSandbox { id, launch: 1, disk: Disk::New, image, named, limits, hostname };
        assert_eq!(self.answer(Call::Create(spec)), Reply::Created { launch: 1 });
    }

    /// Launches one whose disk is there, as a gateway did that is gone.
    pub(crate) fn launch_again(&self, id: &str, launch: u32) {
        let id = SandboxId::parse(id).unwrap();
        let first = self.created().into_iter().find(|spec| spec.id == id).unwrap();
        let spec = CreateSandbox { launch, disk: Disk::Kept, ..first };
        assert_eq!(self.answer(Call::Create(spec)), Reply::Created { launch });
    }

    /// Ends an agent as if it had died.
    pub(crate) fn kill(&self, id: &str) {
        let id = SandboxId::parse(id).unwrap();
        let mut state = self.state.lock().unwrap();
        let Running { agent, launch, .. } = state.agents.remove(&id).unwrap();
        agent.kill();
        if let Some(connection) = &state.connection {
            tell(connection, &Message::Event(Event::Died { id, launch }));
        }
    }

    /// Makes a sandbox unknown without telling anybody.
    pub(crate) fn forget(&self, id: &str) {
        self.state.lock().unwrap().agents.remove(&SandboxId::parse(id).unwrap()).unwrap().agent.kill();
    }

    /// The recording that agents of the image `recorded` play, when all of them are through.
    pub(crate) fn recorded(&self) -> Arc<OnceLock<Recorded>> {
        Arc::clone(&self.state.lock().unwrap().recorded)
    }

    /// Another runtime takes the place of this one.
    pub(crate) fn replace(&self, speaks: Speaks) {
        self.state.lock().unwrap().speaks = speaks;
        self.cut(Away::No);
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

/// One packet and what came with it.
fn receive(stream: &UnixStream, buffer: &mut [u8]) -> (usize, Vec<File>) {
    let mut control = nix::cmsg_space!([RawFd; 2]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let Ok(message) = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut control), flags) else {
        return (0, Vec::new());
    };
    let rights = message.cmsgs().unwrap().flat_map(|control| match control {
        ControlMessageOwned::ScmRights(descriptors) => descriptors,
        other => panic!("{other:?}"),
    });
    (message.bytes, rights.map(runtime_images::owned).collect())
}

/// What one that runs uses, or one that is asleep.
fn stats(runs: bool) -> Stats {
    let memory = Memory { current: runs.then_some(1 << 20), peak: None, limit: runs.then_some(88 << 20) };
    let disk = stats::Disk { used: Some(4096), limit: Some(1 << 30) };
    Stats { memory, disk, executions: runs.then_some(1), ..Stats::default() }
}

pub(crate) fn refused(kind: RefusalKind) -> Reply {
    Reply::Refused { kind, detail: "secret detail of the host".to_owned() }
}

/// A call about what runs.
fn turn(state: &mut State, call: &Call, name: String) -> Reply {
    let (Call::Stop { id } | Call::Freeze { id } | Call::Thaw { id } | Call::Name { id, .. }) = call else {
        panic!("{call:?}");
    };
    let Some(running) = state.agents.get_mut(id) else { return refused(RefusalKind::Unknown) };
    state.calls.push(name);
    match call {
        Call::Freeze { .. } => {
            running.life = Life::Frozen;
            Reply::Frozen
        }
        Call::Thaw { .. } => {
            running.life = Life::Running;
            Reply::Thawed
        }
        Call::Name { .. } => Reply::Named,
        _ => {
            running.agent.kill();
            state.agents.remove(id);
            Reply::Stopped
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
