//! Imports of images: each is a process of its own in a group of its own, which is watched and whose result gets a name.
//! Two go on at once; a few more wait, so that each organisation has its turn.

mod queue;

use super::poll::Token;
use super::reaper::HelperCommand;
use super::{Server, chain};
use crate::cgroup::{Bounds, Group};
use crate::conn::Waiter;
use crate::error::{Doing, Error, Result};
use crate::roots::{ImportFailure, ImportTerms};
use bulkhead_protocol::image::{EXIT_NO_ROOM, IMPORT_TIME, ImportImage};
use bulkhead_protocol::runtime::{RefusalKind, Reply, Scarce};
use bulkhead_sys::call::exec::Strings;
use bulkhead_sys::error::Context;
use bulkhead_sys::op::{Missing, Op};
use bulkhead_sys::pidfd::{self, Exit};
use bulkhead_sys::spawn;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use queue::{Queue, Waiting};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// Imports at once: each takes a processor or two.
const MAX_IMPORTS: usize = 2;
/// What the processes of one may have: the window of a decompressor, what is kept of directories, blocks on their way,
/// and page cache, which the kernel takes back; the importer, a stage, and two threads for as long as one gives way to
/// the next.
const BOUNDS: Bounds = Bounds { memory_bytes: 512 << 20, tasks: 16 };
/// What unpacks goes before the server does when the host has no memory left; a service manager may have set ours low.
const OOM_SCORE: &[u8] = b"500";
/// How often a group whose processes are dying is looked at.
const SETTLE: Duration = Duration::from_millis(10);
/// The same after a look that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a stop waits for the last of them.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Those that are under way, and those that wait.
#[derive(Debug)]
pub(super) struct Imports {
    command: HelperCommand,
    running: BTreeMap<u64, Import>,
    waiting: Queue,
    last: u64,
    /// In groups of none of these something may still be dying, of an earlier runtime, or of one that could not begin:
    /// when to look again.
    old: Option<Instant>,
}

#[derive(Debug)]
struct Import {
    job: String,
    order: ImportImage,
    waiter: Waiter,
    handle: OwnedFd,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has until then.
    Runs(Instant),
    /// It was killed for that; the end of its process is not seen yet, and is asked for again then.
    Late(Instant),
    /// Its process has ended like this; others of its group may still be dying, and are looked at then.
    Ended(End, Instant),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    Badly,
    NoRoom,
    Late,
}

impl Imports {
    pub(super) fn new(command: HelperCommand) -> Self {
        Self {
            command,
            running: BTreeMap::new(),
            waiting: Queue::default(),
            last: 0,
            old: Some(Instant::now()),
        }
    }

    /// Whether one goes on.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let running = self.running.values().map(|import| match import.phase {
            Phase::Runs(due) | Phase::Late(due) | Phase::Ended(_, due) => due,
        });
        running.chain(self.old).chain(self.waiting.next_due()).min()
    }

    /// Gives up those that wait for whoever is gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&Waiter) -> bool) {
        self.waiting.forget(is_gone);
    }

    fn phases(&self) -> Vec<(u64, Phase)> {
        self.running.iter().map(|(number, import)| (*number, import.phase)).collect()
    }

    fn jobs(&self) -> Vec<&str> {
        self.running.values().map(|import| import.job.as_str()).collect()
    }

    /// Straight into its group; it has the two descriptors and nothing else of ours.
    fn spawn(&self, job: &str, terms: &ImportTerms, order: &Waiting, group: &Group) -> Result<OwnedFd> {
        const DOING: &str = "start an importer";
        let HelperCommand { program, arguments } = &self.command;
        let parent = std::process::id().to_string();
        let words = std::iter::once("bulkhead").chain(arguments.iter().map(String::as_str));
        let words = words.chain(["--job", job, "--parent", &parent]);
        let most = terms.most.map(|bytes| format!("--most={bytes}"));
        let owner = terms.owner.as_ref().map(|owner| format!("--owner={owner}"));
        let words = words.chain(most.iter().chain(&owner).map(String::as_str));
        let argv = Strings::of_words(words).during("execve", || "arguments".into()).doing(DOING)?;
        let program = CString::new(program.as_os_str().as_bytes()).map_err(|_| nix::errno::Errno::EINVAL);
        let program = program.during("execve", || "program".into()).doing(DOING)?;
        let tasks = group.task_files()?;
        let mut ops: Vec<_> = tasks.iter().map(|file| Op::Write(file.as_fd(), b"0")).collect();
        ops.extend([
            Op::WriteFile {
                path: c"/proc/self/oom_score_adj".to_owned(),
                bytes: OOM_SCORE.to_vec(),
                missing: Missing::Fails,
            },
            Op::Place(order.source.as_fd(), 0),
            Op::Place(order.progress.as_fd(), 1),
            Op::CloseOnExecFrom(3),
            Op::ResetSignals,
            Op::ExecutePath { programs: vec![(program, argv)], envp: environment() },
        ]);
        spawn::execute(&ops, 0, Some(group.unified.as_fd())).doing(DOING)
    }
}

/// Nothing of ours.
fn environment() -> Strings {
    #[cfg(feature = "weaken")]
    let variables = vec![CString::new(crate::weaken::variable()).unwrap_or_default()];
    #[cfg(not(feature = "weaken"))]
    let variables = Vec::new();
    Strings::new(variables)
}

impl Server {
    /// Takes an order, which may have to wait for its turn.
    pub(super) fn import(&mut self, waiter: Waiter, order: ImportImage, rights: Vec<OwnedFd>) {
        if self.stop_by.is_some() {
            return self.refuse(waiter, RefusalKind::NoRoom(Scarce::Stopping), String::new());
        }
        let [source, progress] = match <[OwnedFd; 2]>::try_from(rights) {
            Ok(both) => both,
            Err(rights) => {
                let detail = format!("an import with {} descriptors", rights.len());
                return self.refuse(waiter, RefusalKind::Invalid, detail);
            }
        };
        if !is_one_of(&source, &[SFlag::S_IFREG, SFlag::S_IFDIR])
            || !is_one_of(&progress, &[SFlag::S_IFREG, SFlag::S_IFIFO])
        {
            return self.refuse(waiter, RefusalKind::Invalid, "the descriptors of an import".into());
        }
        if !self.imports.waiting.has_room(order.org.as_deref()) {
            return self.refuse(waiter, RefusalKind::Busy, "too many imports wait".into());
        }
        let until = Instant::now() + IMPORT_TIME;
        self.imports.waiting.take(Waiting { order, waiter, source, progress, until });
        self.begin_imports();
    }

    /// Gives free places to those whose turn it is. From here on whoever asked may go: the import goes on, and its result
    /// stays.
    fn begin_imports(&mut self) {
        while self.imports.running.len() < MAX_IMPORTS && self.stop_by.is_none() {
            self.sweep_images();
            if self.sweeps.due <= Instant::now() {
                return;
            }
            let running = self.imports.running.values().map(|import| import.order.org.as_deref());
            let Some(next) = self.imports.waiting.next(&running.collect::<Vec<_>>()) else { return };
            self.imports.last += 1;
            let number = self.imports.last;
            let job = format!("{}-{number}", std::process::id());
            match self.begin_import(number, &job, &next) {
                Ok(handle) => {
                    let Waiting { order, waiter, .. } = next;
                    let phase = Phase::Runs(Instant::now() + IMPORT_TIME);
                    let import = Import { job, order, waiter, handle, phase };
                    self.imports.running.insert(number, import);
                }
                Err(failure) => {
                    self.imports.old = next_look(self.groups.end_import(&job)).or(self.imports.old);
                    self.import_failed(next.waiter, &job, failure);
                }
            }
        }
    }

    fn begin_import(
        &mut self,
        number: u64,
        job: &str,
        next: &Waiting,
    ) -> std::result::Result<OwnedFd, ImportFailure> {
        let terms = self.roots.begin_import(job, &next.order)?;
        let start = || -> Result<OwnedFd> {
            let group = self.groups.create_for_import(job, BOUNDS)?;
            let handle = self.imports.spawn(job, &terms, next, &group)?;
            match self.poll.add(handle.as_fd(), Token::Import(number)) {
                Ok(()) => Ok(handle),
                Err(error) => {
                    group.kill()?;
                    pidfd::wait(handle.as_fd()).doing("wait for an importer")?;
                    Err(error)
                }
            }
        };
        start().map_err(|error| ImportFailure::Failed(error.into()))
    }

    /// The process of an import has ended.
    pub(super) fn import_ended(&mut self, number: u64) {
        let Some(import) = self.imports.running.get_mut(&number) else { return };
        self.poll.remove(import.handle.as_fd());
        let end = match (pidfd::try_wait(import.handle.as_fd()), import.phase) {
            (_, Phase::Late(_)) => End::Late,
            (Ok(Some(Exit::Code(0))), _) => End::Well,
            (Ok(Some(Exit::Code(EXIT_NO_ROOM))), _) => End::NoRoom,
            (ended, _) => {
                tracing::debug!(?ended, job = import.job, "an import failed");
                End::Badly
            }
        };
        import.phase = Phase::Ended(end, Instant::now());
        self.settle_import(number);
    }

    /// Nobody looks at what an import made before everything of it is proven dead.
    fn settle_import(&mut self, number: u64) {
        let Some(Import { job, phase: Phase::Ended(end, due), .. }) = self.imports.running.get_mut(&number)
        else {
            return;
        };
        if let Some(next) = next_look(self.groups.end_import(job)) {
            *due = next;
            return;
        }
        let end = *end;
        let Some(import) = self.imports.running.remove(&number) else { return };
        let done = match end {
            End::Well => self.roots.finish_import(&import.job, &import.order),
            End::Late => Err(ImportFailure::Failed(Error::TooLong("the import").into())),
            End::NoRoom => Err(ImportFailure::NoRoom),
            End::Badly => Err(self.roots.failed_import(&import.job)),
        };
        match done {
            Ok(row) => {
                tracing::info!(name = %row.name, id = %row.id, "imported");
                self.end_import(&import.job);
                self.answer(import.waiter, Reply::Imported(row));
            }
            Err(failure) => self.import_failed(import.waiter, &import.job, failure),
        }
        self.begin_imports();
    }

    /// What is due without an event.
    pub(super) fn look_at_imports(&mut self) {
        let now = Instant::now();
        for (number, phase) in self.imports.phases() {
            match phase {
                Phase::Runs(due) | Phase::Late(due) if due <= now => self.end_late_import(number),
                Phase::Ended(_, due) if due <= now => self.settle_import(number),
                _ => {}
            }
        }
        self.sweep_images();
        for waiting in self.imports.waiting.late(now) {
            self.refuse(waiting.waiter, RefusalKind::Busy, "waited too long".into());
        }
        if self.imports.old.is_some_and(|due| due <= now) {
            self.imports.old = next_look(self.groups.end_imports_but(&self.imports.jobs()));
        }
    }

    /// Its end is seen like any other.
    fn end_late_import(&mut self, number: u64) {
        let Some(import) = self.imports.running.get_mut(&number) else { return };
        tracing::error!(job = import.job, "an import took too long");
        let next = next_look(self.groups.end_import(&import.job));
        import.phase = Phase::Late(next.unwrap_or_else(|| Instant::now() + AGAIN));
    }

    /// Ends those that go on; what they made so far goes to the trash with the next start.
    pub(super) fn stop_imports(&self) -> Result<()> {
        let until = Instant::now() + STOP_PATIENCE;
        while !self.groups.end_imports_but(&[])? {
            if Instant::now() > until {
                return Err(Error::TooLong("the end of an import"));
            }
            std::thread::sleep(SETTLE);
        }
        Ok(())
    }

    fn import_failed(&mut self, waiter: Waiter, job: &str, failure: ImportFailure) {
        self.end_import(job);
        match failure {
            ImportFailure::Refused(text) => self.refuse(waiter, RefusalKind::InvalidImage, text),
            ImportFailure::NoRoom => self.refuse(waiter, RefusalKind::NoRoom(Scarce::Disk), String::new()),
            ImportFailure::OverQuota(excess) => {
                self.refuse(waiter, RefusalKind::OverQuota(excess), String::new());
            }
            ImportFailure::Failed(error) => {
                let text = chain(&*error);
                tracing::error!(job, "import: {text}");
                self.refuse(waiter, RefusalKind::Failed, text);
            }
        }
    }

    fn end_import(&mut self, job: &str) {
        if let Err(error) = self.roots.end_import(job) {
            tracing::error!(job, "{}", chain(&*error));
        }
        self.reaper.start(&mut self.poll);
    }
}

/// When a group is to be looked at again; `None` once it is gone. One that cannot be looked at is not gone.
fn next_look(gone: Result<bool>) -> Option<Instant> {
    match gone {
        Ok(true) => None,
        Ok(false) => Some(Instant::now() + SETTLE),
        Err(error) => {
            tracing::error!("the group of an import: {}", chain(&error));
            Some(Instant::now() + AGAIN)
        }
    }
}

/// Whether it is a file of one of these kinds that was opened for its content.
fn is_one_of(fd: &OwnedFd, kinds: &[SFlag]) -> bool {
    let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL).unwrap_or(-1);
    let opened = !OFlag::from_bits_retain(flags).contains(OFlag::O_PATH);
    let kind = fstat(fd).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    opened && kind.is_ok_and(|kind| kinds.contains(&kind))
}
