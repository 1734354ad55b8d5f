//! The poll loop: one thread that accepts requests, launches, watches and destroys.
//!
//! Nothing in it waits: a launch is a report that becomes readable, the end of a sandbox is a cgroup that becomes
//! empty, deletion of disks is a process of its own.

mod calls;
mod ending;
mod poll;
mod reaper;

#[cfg(feature = "fuzzing")]
pub(crate) use calls::check_texts;

use crate::adopt;
use crate::cgroup::{Groups, Stand};
use crate::conn::{self, Connection, Listener, MAX_CONNECTIONS, Received, Waiter};
use crate::error::{Doing, Error, Result, chain};
use crate::ids::Slots;
use crate::instance::Instance;
use crate::launch::Launcher;
use crate::record::{Phase, Records};
use crate::roots::Roots;
use crate::sandbox::Sandbox;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{Event, Message, RefusalKind, Reply};
use bulkhead_sys::error::Context;
use bulkhead_sys::pidfd;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use poll::{Poll, Token};
pub use reaper::ReaperCommand;
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the processes of a sandbox may take from clone to exec.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(10);
/// How often something unfinished is looked at again, when no event came.
const TICK: Duration = Duration::from_millis(20);
/// How long a stop that destroys waits for the last sandbox.
const DESTROY_PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of sandboxes when the runtime is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// They live on; the next start adopts them.
    Keep,
    /// They are destroyed.
    Destroy,
}

/// What the loop needs beside its instance and its store.
#[derive(Debug)]
pub struct Config {
    /// The agent's program.
    pub agent: Vec<u8>,
    /// See [`OnStop`].
    pub on_stop: OnStop,
    /// How disks in the trash are deleted.
    pub reaper: ReaperCommand,
}

/// Everything that the loop knows.
struct Server {
    instance: Instance,
    records: Records,
    groups: Groups,
    slots: Slots,
    launcher: Launcher,
    roots: Box<dyn Roots>,
    poll: Poll,
    listener: Listener,
    connections: HashMap<u64, Connection>,
    next_connection: u64,
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    by_slot: HashMap<u32, SandboxId>,
    reaper: reaper::Reaper,
    /// Set when the runtime was told to stop and destroys first.
    stop_by: Option<Instant>,
}

/// Serves until `SIGTERM` or `SIGINT`. The process has one thread and a mount namespace of its own.
///
/// # Errors
/// Whatever makes it impossible to begin or to go on; sandboxes live on then.
pub fn run(instance: Instance, roots: Box<dyn Roots>, config: Config) -> Result<()> {
    let signals = block_signals()?;
    let on_stop = config.on_stop;
    let mut server = Server::start(instance, roots, config)?;
    server.poll.add(signals.as_fd(), Token::Signals)?;
    tracing::info!(sandboxes = server.sandboxes.len(), instance = server.instance.name, "runtime is ready");
    loop {
        for token in server.poll.wait(server.patience())? {
            match token {
                Token::Signals => {
                    while signals
                        .read_signal()
                        .during("read", || "signalfd".into())
                        .doing("read a signal")?
                        .is_some()
                    {}
                    server.stop(on_stop);
                }
                other => server.handle(other),
            }
        }
        server.tick();
        if server.stop_by.is_some_and(|by| server.sandboxes.is_empty() || Instant::now() > by) {
            break;
        }
    }
    server.finish()
}

fn block_signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block().during("sigprocmask", String::new).doing("block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .during("signalfd", String::new)
        .doing("block signals")
}

impl Server {
    fn start(instance: Instance, roots: Box<dyn Roots>, config: Config) -> Result<Self> {
        let records = Records::open(instance.intents())?;
        let groups = Groups::open(&instance.name, Stand::At(&instance.run_dir.join("mounts/unified")))?;
        groups.ensure_births()?;
        let found = adopt::survey(&records, &groups)?;
        let used: Vec<_> = found.iter().map(|sandbox| sandbox.record().slot).collect();
        let mut server = Self {
            slots: Slots::open(&instance.name, &used)?,
            launcher: Launcher::new(&config.agent, &instance.run_dir.join("mounts"))?,
            listener: Listener::bind(&instance)?,
            instance,
            records,
            groups,
            roots,
            poll: Poll::new()?,
            connections: HashMap::new(),
            next_connection: 0,
            sandboxes: BTreeMap::new(),
            by_slot: HashMap::new(),
            reaper: reaper::Reaper::new(config.reaper),
            stop_by: None,
        };
        server.poll.add(server.listener.socket.as_fd(), Token::Listener)?;
        for sandbox in found {
            server.adopt(sandbox)?;
        }
        let known = |id: &str| server.sandboxes.keys().any(|known| known.as_str() == id);
        conn::remove_strange_sockets(&server.instance, &known)?;
        server.reaper.start(&mut server.poll);
        Ok(server)
    }

    fn adopt(&mut self, sandbox: Sandbox) -> Result<()> {
        let slot = sandbox.record().slot.0;
        match &sandbox {
            Sandbox::Running { pidfd, .. } => self.poll.add(pidfd.as_fd(), Token::Agent(slot))?,
            Sandbox::Ending(ending) => {
                if let Some(events) = &ending.events {
                    self.poll.add_urgent(events.as_fd(), Token::Events(slot))?;
                }
            }
            Sandbox::Launching { .. } | Sandbox::Dead { .. } => {}
        }
        self.insert(sandbox);
        Ok(())
    }

    fn insert(&mut self, sandbox: Sandbox) {
        let record = sandbox.record();
        self.by_slot.insert(record.slot.0, record.id.clone());
        self.sandboxes.insert(record.id.clone(), sandbox);
    }

    /// How long to wait for an event.
    fn patience(&self) -> Option<Duration> {
        let unfinished =
            |sandbox: &Sandbox| matches!(sandbox, Sandbox::Launching { .. } | Sandbox::Ending(_));
        (self.stop_by.is_some() || self.sandboxes.values().any(unfinished)).then_some(TICK)
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Connection(number) => self.receive(number),
            Token::Report(slot) => self.launched(slot),
            Token::Agent(slot) => self.agent_ended(slot),
            Token::Events(slot) => self.look_at_ending(slot),
            Token::Reaper => self.reaper.ended(&mut self.poll),
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
            Received::Request(request) => {
                let waiter = Waiter { connection: number, seq: request.seq };
                self.call(waiter, request.call);
            }
            Received::Nothing => {}
            Received::Closed => drop(self.connections.remove(&number)),
            Received::Garbage(what) => {
                tracing::error!(what, "connection closed: not a request");
                self.connections.remove(&number);
            }
        }
    }

    fn answer(&mut self, waiter: Waiter, reply: Reply) {
        let connection = self.connections.get(&waiter.connection);
        if connection.is_some_and(|connection| !connection.reply(waiter.seq, reply)) {
            tracing::warn!("connection closed: it does not take its replies");
            self.connections.remove(&waiter.connection);
        }
    }

    fn refuse(&mut self, waiter: Waiter, kind: RefusalKind, detail: String) {
        self.answer(waiter, Reply::Refused { kind, detail });
    }

    /// Both processes of a launch executed their program, or one failed.
    fn launched(&mut self, slot: u32) {
        let Some(sandbox) = self.take(slot) else { return };
        let Sandbox::Launching { mapped, mut clock, waiter, .. } = sandbox else {
            return self.insert(sandbox);
        };
        self.poll.remove(mapped.report());
        clock.mark("setup to exec");
        match mapped.finish(&self.records) {
            Ok(running) => {
                clock.mark("record again");
                tracing::debug!(id = %running.record.id, "launched: {clock}");
                let launch = running.record.launch;
                let watched = self.poll.add(running.pidfd.as_fd(), Token::Agent(slot));
                self.insert(Sandbox::Running { record: running.record, pidfd: running.pidfd });
                if let Err(error) = watched {
                    tracing::error!("the end of an agent will go unnoticed: {}", chain(&error));
                }
                self.answer(waiter, Reply::Created { launch });
            }
            Err(failed) => self.launch_failed(*failed, waiter),
        }
    }

    /// An agent ended though nobody destroyed its sandbox.
    fn agent_ended(&mut self, slot: u32) {
        let Some(sandbox) = self.take(slot) else { return };
        let Sandbox::Running { mut record, pidfd } = sandbox else { return self.insert(sandbox) };
        self.poll.remove(pidfd.as_fd());
        // One that an earlier runtime started is not our child: init reaps it.
        if let Ok(Some(exit)) = pidfd::try_wait(pidfd.as_fd()) {
            tracing::info!(id = %record.id, ?exit, "agent ended");
        }
        let killed = self.groups.get(&record.id).and_then(|group| group.map_or(Ok(()), |group| group.kill()));
        if let Err(error) = killed {
            tracing::error!(id = %record.id, "{}", chain(&error));
        }
        record.phase = Phase::Dead;
        if let Err(error) = self.records.write(&record) {
            tracing::error!(id = %record.id, "{}", chain(&error));
        }
        let event = Message::Event(Event::Died { id: record.id.clone(), launch: record.launch });
        self.insert(Sandbox::Dead { record });
        self.connections.retain(|_, connection| connection.send(&event));
    }

    /// Takes a sandbox out, to put it back in another state.
    fn take(&mut self, slot: u32) -> Option<Sandbox> {
        self.by_slot.get(&slot).and_then(|id| self.sandboxes.remove(id))
    }

    /// What is due without an event.
    fn tick(&mut self) {
        let now = Instant::now();
        let late = |sandbox: &Sandbox| matches!(sandbox, Sandbox::Launching { until, .. } if now > *until);
        let slots = |filter: &dyn Fn(&Sandbox) -> bool| -> Vec<u32> {
            self.sandboxes
                .values()
                .filter(|sandbox| filter(sandbox))
                .map(|sandbox| sandbox.record().slot.0)
                .collect()
        };
        let (late, ending) = (slots(&late), slots(&|sandbox| matches!(sandbox, Sandbox::Ending(_))));
        for slot in late {
            self.launch_too_late(slot);
        }
        for slot in ending {
            self.look_at_ending(slot);
        }
    }

    fn stop(&mut self, on_stop: OnStop) {
        let now = Instant::now();
        match on_stop {
            OnStop::Keep => self.stop_by = Some(now),
            OnStop::Destroy => {
                self.stop_by.get_or_insert(now + DESTROY_PATIENCE);
                let ids: Vec<_> = self.sandboxes.keys().cloned().collect();
                for id in ids {
                    self.begin_end(&id, None);
                }
            }
        }
        if on_stop == OnStop::Keep && !self.sandboxes.is_empty() {
            tracing::info!(sandboxes = self.sandboxes.len(), "sandboxes live on; the next start adopts them");
        }
    }

    fn finish(mut self) -> Result<()> {
        if self.sandboxes.is_empty() {
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

    fn note(error: &Error) {
        tracing::error!("{}", chain(error));
    }
}
