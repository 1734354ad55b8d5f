//! The poll loop: one thread that accepts requests, launches, watches and destroys.
//!
//! Nothing in it waits: a launch is a report that becomes readable, the end of a sandbox is a cgroup that becomes
//! empty, deletion of disks is a process of its own.

mod calls;
mod create;
mod ending;
mod grower;
mod images;
mod imports;
mod manager;
mod poll;
mod reaper;
mod specs;
mod strays;
mod table;
mod turning;

#[cfg(feature = "fuzzing")]
pub(crate) use create::check_request;

use crate::admission::{Admission, Places};
use crate::adopt;
use crate::census;
use crate::cgroup::{CgroupParent, Groups};
use crate::conn::{self, Connection, Listener, MAX_CONNECTIONS, Received, Waiter};
use crate::digests::OfThisRelease;
use crate::error::{Doing, Error, Result, chain};
use crate::ids::Slots;
use crate::instance::Instance;
use crate::launch::{Launcher, Times};
use crate::networks::{Networks, QUIET};
use crate::operator::{Changeable, OnStop, Operator};
use crate::policy::{ImagePolicy, Policies};
use crate::record::{Fate, Record, Records};
use crate::roots::Roots;
use crate::sandbox::Sandbox;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::runtime::{Call, Event, Message, RefusalKind, Reply};
use bulkhead_protocol::stats::Counters;
use bulkhead_sys::error::Context;
use bulkhead_sys::pidfd;
use grower::Grower;
use manager::Manager;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use poll::{Poll, Token};
pub use reaper::HelperCommand;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use strays::Stray;
use table::Table;

/// How often a stop that destroys looks whether it is done, when no event came.
const STOP_TICK: Duration = Duration::from_millis(20);
/// How long a stop that destroys waits for the last sandbox.
const DESTROY_PATIENCE: Duration = Duration::from_secs(30);

/// What the loop needs beside its instance and its store.
#[derive(Debug)]
pub struct Config {
    /// The agent's program.
    pub agent: Vec<u8>,
    /// What can change while the loop runs.
    pub changeable: Changeable,
    /// Who reads the operator's files.
    pub operator: Box<dyn Operator>,
    /// Below which group of the v2 tree the groups of sandboxes lie.
    pub cgroup_parent: CgroupParent,
    /// What the operator says of images, by name.
    pub images: BTreeMap<ImageName, ImagePolicy>,
    /// Where the disks lie.
    pub disks: PathBuf,
    /// How disks and images in the trash are deleted.
    pub reaper: HelperCommand,
    /// Who keeps room for disks; our process number follows.
    pub grower: HelperCommand,
    /// How often images that nothing needs are looked for.
    pub image_sweep: Duration,
    /// How an image is unpacked; the name of the job and our process number follow.
    pub importer: HelperCommand,
}

/// Everything that the loop knows.
struct Server {
    instance: Instance,
    records: Records,
    groups: Groups,
    slots: Slots,
    launcher: Launcher,
    policies: Policies,
    filters: OfThisRelease,
    roots: Box<dyn Roots>,
    poll: Poll,
    listener: Listener,
    connections: HashMap<u64, Connection>,
    /// Connections that ended, whose launches are not given up yet.
    gone: HashSet<u64>,
    next_connection: u64,
    table: Table,
    /// Those that no record names and somebody wants ended.
    strays: BTreeMap<SandboxId, Stray>,
    reaper: reaper::Reaper,
    grower: Grower,
    imports: imports::Imports,
    sweeps: images::Sweeps,
    admission: Admission,
    networks: Networks,
    manager: Manager,
    operator: Box<dyn Operator>,
    on_stop: OnStop,
    counters: Counters,
    times: Times,
    /// Set when the runtime was told to stop and destroys first.
    stop_by: Option<Instant>,
}

/// Serves until `SIGTERM` or `SIGINT`; `SIGHUP` reads the configuration again. The process has one thread and a mount namespace of its own.
///
/// # Errors
/// Whatever makes it impossible to begin or to go on; sandboxes live on then.
pub fn run(instance: Instance, roots: Box<dyn Roots>, config: Config) -> Result<()> {
    let signals = block_signals()?;
    let mut server = Server::start(instance, roots, config)?;
    server.poll.add(signals.as_fd(), Token::Signals)?;
    tracing::info!(sandboxes = server.table.len(), instance = server.instance.name, "runtime is ready");
    server.manager.ready();
    loop {
        let tokens = server.poll.wait(server.patience())?;
        if tokens.is_empty() {
            server.use_quiet();
        }
        for token in tokens {
            match token {
                Token::Signals => server.take_signals(&signals)?,
                other => server.handle(other),
            }
        }
        server.tick();
        server.manager.alive();
        if server.stop_by.is_some_and(|by| server.is_empty() || Instant::now() > by) {
            break;
        }
    }
    server.manager.stopping();
    server.finish()
}

fn block_signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.add(Signal::SIGHUP);
    set.thread_block().during("sigprocmask", String::new).doing("block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .during("signalfd", String::new)
        .doing("block signals")
}

impl Server {
    fn start(instance: Instance, roots: Box<dyn Roots>, config: Config) -> Result<Self> {
        let records = Records::open(instance.intents())?;
        let groups = Groups::start(&instance, config.cgroup_parent)?;
        groups.ensure_births()?;
        let found = adopt::survey(&instance.name, &records, &groups)?;
        let used: HashSet<_> = found.sandboxes.iter().map(|sandbox| sandbox.record().slot).collect();
        let places = Places {
            disks: vec![config.disks, instance.state_dir.clone()],
            run_dir: instance.run_dir.clone(),
        };
        let mut server = Self {
            networks: Networks::new(config.changeable.pool),
            admission: Admission::new(places, config.changeable.overcommit),
            slots: Slots::open(&instance.name, &used, &census::slots())?,
            launcher: Launcher::new(
                &config.agent,
                &instance.run_dir.join("mounts"),
                &instance.name,
                groups.huge_pages(),
            )?,
            policies: Policies::open(&config.images, &*roots)?,
            filters: OfThisRelease::default(),
            listener: Listener::bind(&instance)?,
            instance,
            records,
            groups,
            roots,
            poll: Poll::new()?,
            connections: HashMap::new(),
            gone: HashSet::new(),
            next_connection: 0,
            table: Table::default(),
            strays: BTreeMap::new(),
            reaper: reaper::Reaper::new(config.reaper),
            grower: Grower::new(config.grower),
            imports: imports::Imports::new(config.importer),
            sweeps: images::Sweeps::new(config.image_sweep),
            manager: Manager::of_environment(),
            operator: config.operator,
            on_stop: config.changeable.on_stop,
            counters: Counters::default(),
            times: Times::default(),
            stop_by: None,
        };
        server.poll.add(server.listener.socket.as_fd(), Token::Listener)?;
        for sandbox in found.sandboxes {
            server.adopt(sandbox)?;
        }
        for record in found.stale {
            if let Err(error) = server.forget(&record) {
                // Its record is still there: the next start tries again.
                Self::note(&error);
            }
        }
        let known = |id: &str| server.table.ids().any(|known| known.as_str() == id);
        conn::remove_strange_sockets(&server.instance, &known)?;
        server.reaper.start(&mut server.poll);
        Ok(server)
    }

    fn adopt(&mut self, sandbox: Sandbox) -> Result<()> {
        match &sandbox {
            Sandbox::Running { pidfd, record, .. } => self.watch_agent(pidfd, record.slot.0)?,
            Sandbox::Ending(ending) => self.watch_ending(ending),
            Sandbox::Launching { .. } => {}
        }
        self.table.insert(sandbox);
        Ok(())
    }

    /// Settles what another boot left of a sandbox: its disk.
    fn forget(&mut self, record: &Record) -> Result<()> {
        if record.phase.fate() == Fate::Discard {
            self.discard_kept_disk(&record.id)?;
        }
        self.records.remove(&record.id)
    }

    fn watch_agent(&self, pidfd: &OwnedFd, slot: u32) -> Result<()> {
        self.poll.add(pidfd.as_fd(), Token::Agent(slot))
    }

    /// How long to wait for an event.
    fn patience(&self) -> Option<Duration> {
        // An import that goes on puts a sweep off, and its end is an event.
        let sweep = self.imports.is_idle().then_some(self.sweeps.due);
        let others = [self.imports.next_due(), self.grower.next_due(), sweep];
        let due = [self.table.next_due(), self.next_stray_due()].into_iter().chain(others).flatten().min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let stop = self.stop_by.map(|_| STOP_TICK);
        let quiet = self.wants_quiet().then_some(QUIET);
        let gone = (!self.gone.is_empty()).then_some(Duration::ZERO);
        due.into_iter().chain(stop).chain(quiet).chain(gone).chain(self.manager.patience()).min()
    }

    fn wants_quiet(&self) -> bool {
        self.stop_by.is_none() && self.networks.lacks()
    }

    /// Nothing happened for a moment: time for what launches to come need.
    fn use_quiet(&mut self) {
        if self.wants_quiet()
            && let Err(error) = self.launcher.home.prepare_network(&mut self.networks)
        {
            Self::note(&error);
        }
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Connection(number) => self.receive(number),
            Token::Report(slot) => self.launched(slot),
            Token::Agent(slot) => self.agent_ended(slot),
            Token::Events(slot) => self.look_at(slot),
            Token::Reaper => self.reaper.ended(&mut self.poll),
            Token::Grower => self.grower.ended(&mut self.poll),
            Token::Import(number) => self.import_ended(number),
            Token::Signals => {}
        }
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok(Some(_)) if self.connections.len() >= MAX_CONNECTIONS => {
                tracing::warn!(MAX_CONNECTIONS, "connection refused: too many");
            }
            Ok(Some(connection)) => {
                self.next_connection += 1;
                let number = self.next_connection;
                match self.poll.add(connection.socket.as_fd(), Token::Connection(number)) {
                    Ok(()) => drop(self.connections.insert(number, connection)),
                    Err(error) => tracing::error!("connection refused: {}", chain(&error)),
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!("{}", chain(&error)),
        }
    }

    fn receive(&mut self, number: u64) {
        let Some(connection) = self.connections.get(&number) else { return };
        match connection.receive() {
            Received::Request(request, rights) => {
                let waiter = Waiter { connection: number, seq: request.seq };
                match request.call {
                    Call::ImportImage(order) => self.import(waiter, order, rights),
                    _ if !rights.is_empty() => {
                        self.refuse(waiter, RefusalKind::Invalid, "a call with descriptors".into());
                    }
                    call => self.call(waiter, call),
                }
            }
            Received::Nothing => {}
            Received::Closed => self.hang_up(number),
            Received::Garbage(what) => {
                tracing::error!(what, "connection closed: not a request");
                self.hang_up(number);
            }
        }
    }

    /// Its launches are given up a little later, when no sandbox is out of the table.
    fn hang_up(&mut self, number: u64) {
        self.connections.remove(&number);
        self.gone.insert(number);
    }

    fn answer(&mut self, waiter: Waiter, reply: Reply) {
        let connection = self.connections.get(&waiter.connection);
        if connection.is_some_and(|connection| !connection.reply(waiter.seq, reply)) {
            tracing::warn!("connection closed: it does not take its replies");
            self.hang_up(waiter.connection);
        }
    }

    fn refuse(&mut self, waiter: Waiter, kind: RefusalKind, detail: String) {
        self.answer(waiter, Reply::Refused { kind, detail });
    }

    /// An agent ended: the last of a sandbox that is ending, or by itself.
    fn agent_ended(&mut self, slot: u32) {
        let Some(sandbox) = self.table.take(slot) else { return };
        let Sandbox::Running { record, pidfd, turning } = sandbox else {
            self.table.insert(sandbox);
            return self.look_at_ending(slot);
        };
        self.poll.remove(pidfd.as_fd());
        if let Some(turning) = turning {
            self.drop_turning(*turning, RefusalKind::NotRunning);
        }
        // One that an earlier runtime started is not our child: init reaps it.
        if let Ok(Some(exit)) = pidfd::try_wait(pidfd.as_fd()) {
            tracing::info!(id = %record.id, ?exit, "agent ended");
        }
        self.counters.died += 1;
        let event = Message::Event(Event::Died { id: record.id.clone(), launch: record.launch });
        self.begin_end_of(record, None, Fate::Keep, Vec::new());
        let deaf = self.connections.iter().filter(|(_, connection)| !connection.send(&event));
        for number in deaf.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.hang_up(number);
        }
    }

    /// What is due without an event.
    fn tick(&mut self) {
        self.give_up_launches();
        for slot in self.table.due(Instant::now()) {
            self.look_at(slot);
        }
        self.look_at_strays();
        self.look_at_imports();
        self.grower.tick(&mut self.poll);
    }

    fn is_empty(&self) -> bool {
        self.table.is_empty() && self.strays.is_empty()
    }

    fn look_at(&mut self, slot: u32) {
        match self.table.in_slot(slot) {
            Some(Sandbox::Launching { .. }) => self.launch_too_late(slot),
            Some(Sandbox::Running { .. }) => self.look_at_turning(slot),
            Some(Sandbox::Ending(_)) => self.look_at_ending(slot),
            None => {}
        }
    }

    fn take_signals(&mut self, signals: &SignalFd) -> Result<()> {
        let next = || signals.read_signal().during("read", || "signalfd".into()).doing("read a signal");
        let hangup = u32::try_from(Signal::SIGHUP as i32).ok();
        while let Some(info) = next()? {
            if Some(info.ssi_signo) == hangup {
                self.reload();
            } else {
                self.stop(self.on_stop);
            }
        }
        Ok(())
    }

    /// Takes over what can change without a restart. What is wrong leaves everything as it was.
    fn reload(&mut self) {
        self.manager.reloading();
        match self.operator.reread() {
            Ok(Changeable { on_stop, pool, overcommit }) => {
                self.on_stop = on_stop;
                self.networks.want(pool);
                self.admission.bound(overcommit);
                tracing::info!("the configuration was read again");
            }
            Err(wrong) => {
                for line in wrong.lines() {
                    tracing::error!("the configuration stays as it was: {line}");
                }
            }
        }
        self.manager.ready();
    }

    fn stop(&mut self, on_stop: OnStop) {
        let now = Instant::now();
        match on_stop {
            OnStop::Keep => self.stop_by = Some(now),
            OnStop::Destroy => {
                self.stop_by.get_or_insert(now + DESTROY_PATIENCE);
                self.destroy_all();
            }
        }
        if on_stop == OnStop::Keep && !self.table.is_empty() {
            tracing::info!(sandboxes = self.table.len(), "sandboxes live on; the next start adopts them");
        }
    }

    /// Those that run, those that are nothing but a disk, and those that no record names.
    fn destroy_all(&mut self) {
        let ids: Vec<_> = self.table.ids().cloned().collect();
        for id in ids {
            self.begin_end(&id, Fate::Discard, Vec::new());
        }
        let others = self.beside_table().unwrap_or_else(|error| {
            Self::note(&error);
            HashSet::new()
        });
        for id in others {
            match self.is_stray(&id) {
                Ok(true) => self.end_stray(&id, Fate::Discard, Vec::new()),
                Ok(false) => drop(self.discard_kept_disk(&id).inspect_err(Self::note)),
                Err(error) => Self::note(&error),
            }
        }
    }

    /// Disks and groups that no sandbox of the table has.
    fn beside_table(&self) -> Result<HashSet<SandboxId>> {
        let groups = self.groups.list_sandboxes()?;
        let mut ids: HashSet<_> = groups.iter().filter_map(|name| SandboxId::parse(name).ok()).collect();
        ids.extend(self.disks()?);
        ids.retain(|id| self.table.get(id).is_none());
        Ok(ids)
    }

    fn finish(mut self) -> Result<()> {
        self.grower.stop();
        if let Err(error) = self.stop_imports() {
            Self::note(&error);
        }
        if self.table.is_empty() {
            self.reaper.wait();
            // Ours alone and empty; with a runtime that moved into a group of its own they stay until a purge.
            if let Err(error) = self.groups.remove_instance(&self.instance.name) {
                tracing::debug!("{}", chain(&error));
            }
        }
        self.slots.release_unused()?;
        match std::fs::remove_file(self.instance.socket()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).during("unlink", || "runtime.sock".into()).doing("remove the socket")
            }
            _ => Ok(()),
        }
    }

    /// Ranges that were inhabited at the start may be empty by now.
    fn look_again_at_ranges(&mut self) {
        if self.slots.has_inhabited() {
            self.slots.look_again(&census::slots());
        }
    }

    fn note(error: &Error) {
        tracing::error!("{}", chain(error));
    }
}
