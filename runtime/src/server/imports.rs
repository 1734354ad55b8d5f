//! Imports of images: each is a process of its own, which is watched and whose result gets a name.

use super::poll::Token;
use super::reaper::HelperCommand;
use super::{Server, chain};
use crate::conn::Waiter;
use crate::roots::{ImportFailure, RootError};
use bulkhead_protocol::image::ImportImage;
use bulkhead_protocol::runtime::{RefusalKind, Reply, Scarce};
use bulkhead_sys::error::Context;
use bulkhead_sys::pidfd;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Imports at once: each takes a processor or two.
const MAX_IMPORTS: usize = 2;
/// How long one may take. A source may be a file that never gives its bytes.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Those that are under way.
#[derive(Debug)]
pub(super) struct Imports {
    command: HelperCommand,
    running: BTreeMap<u64, Import>,
    last: u64,
}

#[derive(Debug)]
struct Import {
    job: String,
    order: ImportImage,
    waiter: Waiter,
    child: Child,
    handle: OwnedFd,
    until: Instant,
}

impl Imports {
    pub(super) fn new(command: HelperCommand) -> Self {
        Self { command, running: BTreeMap::new(), last: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.running.values().map(|import| import.until).min()
    }

    /// Kills those that take too long; their end is seen like any other.
    pub(super) fn end_late(&mut self) {
        let now = Instant::now();
        for import in self.running.values_mut().filter(|import| import.until <= now) {
            tracing::error!(job = import.job, "an import took too long");
            import.until = now + PATIENCE;
            if let Err(error) = import.child.kill() {
                tracing::error!(%error, "cannot end an import");
            }
        }
    }

    fn spawn(&self, job: &str, source: OwnedFd, progress: OwnedFd) -> std::io::Result<Child> {
        let mut command = Command::new(&self.command.program);
        command.args(&self.command.arguments).args(["--job", job]);
        command.arg("--parent").arg(std::process::id().to_string());
        command.env_clear().stdin(source).stdout(progress).stderr(Stdio::inherit()).spawn()
    }
}

impl Server {
    /// Whoever asked may go: the import goes on, and its result stays.
    pub(super) fn import(&mut self, waiter: Waiter, order: ImportImage, rights: Vec<OwnedFd>) {
        if self.stop_by.is_some() {
            return self.refuse(waiter, RefusalKind::NoRoom(Scarce::Stopping), String::new());
        }
        if self.imports.running.len() >= MAX_IMPORTS {
            return self.refuse(waiter, RefusalKind::Busy, format!("{MAX_IMPORTS} imports are under way"));
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
        self.imports.last += 1;
        let number = self.imports.last;
        let job = format!("{}-{number}", std::process::id());
        if let Err(failure) = self.roots.begin_import(&job, &order) {
            return self.import_failed(waiter, &job, failure);
        }
        match self.start_import(number, source, progress, &job, &order, waiter) {
            Ok(import) => drop(self.imports.running.insert(number, import)),
            Err(error) => self.import_failed(waiter, &job, ImportFailure::Failed(error)),
        }
    }

    fn start_import(
        &self,
        number: u64,
        source: OwnedFd,
        progress: OwnedFd,
        job: &str,
        order: &ImportImage,
        waiter: Waiter,
    ) -> Result<Import, RootError> {
        let mut child = self.imports.spawn(job, source, progress).during("spawn", || "importer".into())?;
        let watched = i32::try_from(child.id()).map_err(RootError::from).and_then(|pid| {
            let handle = pidfd::open(pid)?;
            self.poll.add(handle.as_fd(), Token::Import(number))?;
            Ok(handle)
        });
        match watched {
            Ok(handle) => Ok(Import {
                job: job.to_owned(),
                order: order.clone(),
                waiter,
                child,
                handle,
                until: Instant::now() + PATIENCE,
            }),
            Err(error) => {
                child.kill().and_then(|()| child.wait())?;
                Err(error)
            }
        }
    }

    pub(super) fn import_ended(&mut self, number: u64) {
        let Some(mut import) = self.imports.running.remove(&number) else { return };
        self.poll.remove(import.handle.as_fd());
        let done = match import.child.wait() {
            Ok(status) if status.success() => self.roots.finish_import(&import.job, &import.order),
            Ok(status) => {
                tracing::debug!(%status, job = import.job, "an import failed");
                Err(self.roots.failed_import(&import.job))
            }
            Err(error) => Err(ImportFailure::Failed(error.into())),
        };
        match done {
            Ok(row) => {
                tracing::info!(name = %row.name, id = %row.id, "imported");
                self.end_import(&import.job);
                self.answer(import.waiter, Reply::Imported(row));
            }
            Err(failure) => self.import_failed(import.waiter, &import.job, failure),
        }
    }

    fn import_failed(&mut self, waiter: Waiter, job: &str, failure: ImportFailure) {
        self.end_import(job);
        match failure {
            ImportFailure::Refused(text) => self.refuse(waiter, RefusalKind::InvalidImage, text),
            ImportFailure::NoRoom => self.refuse(waiter, RefusalKind::NoRoom(Scarce::Disk), String::new()),
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

/// Whether it is a file of one of these kinds that was opened for its content.
fn is_one_of(fd: &OwnedFd, kinds: &[SFlag]) -> bool {
    let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL).unwrap_or(-1);
    let opened = !OFlag::from_bits_retain(flags).contains(OFlag::O_PATH);
    let kind = fstat(fd).map(|stat| SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT);
    opened && kind.is_ok_and(|kind| kinds.contains(&kind))
}
