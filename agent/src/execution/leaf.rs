//! The cgroup leaf of one execution: where its processes are born, how they are killed, how one knows that none
//! is left. Works through directory descriptors only; there is no path to a cgroup inside a sandbox.
//!
//! A leaf is used once: from Linux 6.18 on, a process that is cloned into a group that was killed before dies at
//! birth. Killing needs no new process, so a full process limit cannot stop it.

use crate::watch::watch;
use bulkhead_protocol::agent::LEAVES;
use bulkhead_sys::error::{Context, Error};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::UnlinkatFlags;
use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;

/// How long the wait for an empty leaf relies on the kernel's notice before it looks by itself: the notice has
/// never been missing, and a wait that could hang for ever needs a floor.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// First pause before a removal that was refused although nobody is left is tried again; doubles.
const REMOVE_PAUSE: Duration = Duration::from_millis(1);
/// Removals tried: four seconds in all. What is left then, the runtime removes with the sandbox.
const REMOVE_TRIES: u32 = 12;

/// Pause after a look that failed for want of descriptors.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longest list of processes that is read, in bytes: 30,000 processes, more than a sandbox may have.
const MAX_PROCESSES_TEXT: u64 = 256 << 10;

/// A leaf.
#[derive(Debug)]
pub(crate) struct Leaf {
    group: Rc<OwnedFd>,
    name: String,
    directory: OwnedFd,
}

impl Leaf {
    /// Makes a leaf in the sandbox's group for the execution number `counter`. Its name is one of the few that the
    /// sandbox's view of `/sys/fs/cgroup` knows.
    ///
    /// # Errors
    /// As mkdirat(2) and openat(2); `EAGAIN` when the sandbox may have no more leaves.
    pub(crate) fn make(group: &Rc<OwnedFd>, counter: u64) -> Result<Self, Error> {
        let mode = Mode::from_bits_truncate(0o700);
        let free = |name: &String| nix::sys::stat::mkdirat(group.as_fd(), name.as_str(), mode);
        let names = (0..LEAVES as u64).map(|more| ((counter + more) % LEAVES as u64).to_string());
        // A name that is taken belongs to a leaf that something still lives in.
        let made = names.map(|name| (free(&name), name)).find(|(made, _)| *made != Err(Errno::EEXIST));
        let (made, name) = made.unwrap_or((Err(Errno::EAGAIN), String::new()));
        made.during("mkdirat", || name.clone())?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::openat(group.as_fd(), name.as_str(), flags, Mode::empty())
            .during("openat", || name.clone())?;
        Ok(Self { group: Rc::clone(group), name, directory })
    }

    /// For cloning into it.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Sends `SIGKILL` to every process of the leaf, forks under way included.
    ///
    /// # Errors
    /// As openat(2) and write(2).
    pub(crate) fn kill(&self) -> Result<(), Error> {
        let file = self.open("cgroup.kill", OFlag::O_WRONLY)?;
        nix::unistd::write(&file, b"1").during("write", || "cgroup.kill".into()).map(drop)
    }

    /// The text of a small file of the leaf; `None` where this host has no such file.
    pub(crate) fn read(&self, name: &'static str) -> Option<String> {
        let file = self.open(name, OFlag::O_RDONLY).ok()?;
        read_at_start(file.as_fd()).ok()
    }

    /// The processes of the leaf, by their numbers in the agent's pid namespace, each once.
    ///
    /// # Errors
    /// As openat(2) and read(2).
    pub(crate) fn processes(&self) -> Result<BTreeSet<i32>, Error> {
        let file = std::fs::File::from(self.open("cgroup.procs", OFlag::O_RDONLY)?);
        let mut text = String::new();
        file.take(MAX_PROCESSES_TEXT).read_to_string(&mut text).during("read", || "cgroup.procs".into())?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect())
    }

    /// Comes back when no process is left, or the leaf is removed, which only an empty one can be.
    ///
    /// # Errors
    /// As openat(2), pread(2), epoll_ctl(2).
    pub(crate) async fn emptied(&self) -> std::io::Result<()> {
        match self.watch_events().await {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(()),
            done => done,
        }
    }

    /// The same, however long the agent is out of descriptors.
    pub(crate) async fn surely_emptied(&self) {
        while self.emptied().await.is_err() {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn watch_events(&self) -> std::io::Result<()> {
        let file = self.open("cgroup.events", OFlag::O_RDONLY).map_err(|error| error.errno)?;
        let events = watch(file, Interest::PRIORITY)?;
        loop {
            // The read also arms the notice for the next change, so it comes after the old one was cleared.
            if !read_at_start(events.get_ref().as_fd())?.lines().any(|line| line == "populated 1") {
                return Ok(());
            }
            match tokio::time::timeout(LOOK_AGAIN, events.ready(Interest::PRIORITY)).await {
                Ok(guard) => guard?.clear_ready(),
                Err(_elapsed) => {}
            }
        }
    }

    /// Removes the leaf if it is empty.
    ///
    /// # Errors
    /// As unlinkat(2); `EBUSY` while a process is in it.
    pub(crate) fn remove(&self) -> Result<(), Errno> {
        match nix::unistd::unlinkat(self.group.as_fd(), self.name.as_str(), UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            done => done,
        }
    }

    /// Removes the leaf as soon as it is empty. Gives up quietly on a kernel that refuses: whatever leaves are
    /// there when the sandbox goes, the runtime removes.
    pub(crate) async fn retire(&self) {
        let mut pause = REMOVE_PAUSE;
        for _ in 0..REMOVE_TRIES {
            if self.remove().is_ok() {
                return;
            }
            if self.emptied().await.is_err() {
                return;
            }
            // Empty by its events, and yet busy for the moment until the last exit is through.
            if self.remove().is_ok() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn open(&self, name: &'static str, flags: OFlag) -> Result<OwnedFd, Error> {
        nix::fcntl::openat(self.directory.as_fd(), name, flags | OFlag::O_CLOEXEC, Mode::empty())
            .during("openat", || format!("{}/{name}", self.name))
    }
}

/// The text of a small kernel file, read anew from its beginning.
pub(crate) fn read_at_start(file: BorrowedFd<'_>) -> Result<String, Errno> {
    // Longer than any file that is read this way; a longer one is cut, and its first lines count.
    let mut buffer = [0; 1024];
    let count = nix::sys::uio::pread(file, &mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}
