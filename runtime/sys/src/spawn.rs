//! Clones a child that runs a list of ops, and reads how that went.

use crate::call::exec::{self, Files, Side};
use crate::error::{Context, Error, Result};
use crate::fd;
use crate::op::Op;
use crate::pidfd;
use crate::report::{self, Failure};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A child on its way to its program.
#[derive(Debug)]
pub struct Child {
    /// Its pid as the caller sees it.
    pub pid: i32,
    /// Its identity: does not pass to a later process of the same number.
    pub pidfd: OwnedFd,
    report: OwnedFd,
}

/// Clones into new namespaces (`call::exec::namespace`) and, where given, straight into a v2 cgroup; the child
/// runs the ops, the last of which executes a program.
///
/// Safe in any process: the child shares no memory with it, and between clone and exec it runs ops only, which
/// neither allocate nor lock.
///
/// # Errors
/// As pipe2(2) and clone3(2).
pub fn spawn(ops: &[Op<'_>], namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Child> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).during("pipe2", String::new)?;
    // SAFETY: clone asks for one thread, or for a child that makes async-signal-safe calls only until it
    // executes a program or exits; `child::run` does nothing else.
    let side = unsafe { exec::clone(namespaces, cgroup, Files::Copied) };
    match side.during("clone3", || format!("{namespaces:#x}"))? {
        Side::Child => crate::child::run(ops, writer.as_fd()),
        Side::Parent(pid, pidfd) => Ok(Child { pid, pidfd, report: reader }),
    }
}

/// The same for a parent that holds many descriptors: the child gets no copy of those that are parked
/// ([`crate::fd::park`]), and its own pidfd is parked. Waits until the child has its own table, some 50 µs.
///
/// Where the low numbers are all taken, so that the child needs one from [`fd::FIRST_PARKED`] on, it gets copies of all.
///
/// # Errors
/// As [`spawn`], and poll(2).
pub fn spawn_apart(ops: &[Op<'_>], namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Child> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).during("pipe2", String::new)?;
    let (told, apart) = nix::unistd::pipe2(OFlag::O_CLOEXEC).during("pipe2", String::new)?;
    let needed = ops.iter().filter_map(Op::highest_descriptor);
    if needed.chain([writer.as_raw_fd(), apart.as_raw_fd()]).any(|number| number >= fd::FIRST_PARKED) {
        return Ok(parked(spawn(ops, namespaces, cgroup)?));
    }
    // SAFETY: as in `spawn`; and the child changes no descriptor before it has a table of its own, until when this
    // process waits with all that the child uses still open. It needs none that is not copied: asked for above.
    let side = unsafe { exec::clone(namespaces, cgroup, Files::Shared) };
    match side.during("clone3", || format!("{namespaces:#x}"))? {
        Side::Child => crate::child::run_apart(ops, writer.as_fd(), apart.as_fd()),
        Side::Parent(pid, pidfd) => {
            let own_table = wait_for_either(told.as_fd(), pidfd.as_fd());
            let child = Child { pid, pidfd, report: reader };
            own_table.or_else(|error| end(&child).and(Err(error)))?;
            Ok(parked(child))
        }
    }
}

fn parked(child: Child) -> Child {
    Child { pidfd: fd::park(child.pidfd), ..child }
}

fn end(child: &Child) -> Result<()> {
    pidfd::signal(child.pidfd.as_fd(), libc::SIGKILL)?;
    pidfd::wait(child.pidfd.as_fd()).map(drop)
}

/// Waits for a word of the child, or for its end: this process holds the other end of the pipe too, so that alone would
/// never tell.
fn wait_for_either(told: BorrowedFd<'_>, process: BorrowedFd<'_>) -> Result<()> {
    let mut fds = [told, process].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    loop {
        match nix::poll::poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            done => return done.map(drop).during("poll", || "a new child".into()),
        }
    }
}

/// As [`spawn`], and waits until the program runs: about a millisecond. Gives back its identity.
///
/// # Errors
/// As [`spawn`], or the step that failed; nothing of the child is left then.
pub fn execute(ops: &[Op<'_>], namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    match spawn(ops, namespaces, cgroup)?.wait_for_exec()? {
        Outcome::Executed { pidfd, .. } => Ok(pidfd),
        Outcome::Failed { failure, pidfd } => {
            pidfd::wait(pidfd.as_fd())?;
            let on = ops.get(failure.index).map(Op::describe).unwrap_or_default();
            Err(Error { call: "a child's", on, errno: failure.errno })
        }
    }
}

/// What became of the setup of a child.
#[derive(Debug)]
pub enum Outcome {
    /// Its program runs (and so does that of its init, where it has one).
    Executed {
        /// Its pid as the caller sees it.
        pid: i32,
        /// Its identity.
        pidfd: OwnedFd,
    },
    /// A step failed; the child ends by itself, but it has to be waited for.
    Failed {
        /// Which and why.
        failure: Failure,
        /// Its identity.
        pidfd: OwnedFd,
    },
}

impl Child {
    /// Blocks until the child executed its program or failed. A child that was killed meanwhile counts as
    /// executed: who waits for it learns of its end in the ordinary way.
    ///
    /// # Errors
    /// The I/O error of the report pipe.
    pub fn wait_for_exec(self) -> Result<Outcome> {
        let Self { pid, pidfd, report } = self;
        match report::wait(report).during("read", || "report of a child".into())? {
            Some(failure) => Ok(Outcome::Failed { failure, pidfd }),
            None => Ok(Outcome::Executed { pid, pidfd }),
        }
    }

    /// The reading end of the report, for callers that poll.
    #[must_use]
    pub fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::exec::Strings;
    use std::io::Read;

    /// What `ls` says of the numbers of descriptors that a child has.
    fn numbers_in_child(
        spawn: impl Fn(&[Op<'_>], u64, Option<BorrowedFd<'_>>) -> Result<Child>,
        out: (OwnedFd, OwnedFd),
    ) -> Vec<i32> {
        let (reader, writer) = out;
        let argv =
            Strings::new(["sh", "-c", "ls /proc/$$/fd"].map(|word| word.to_owned()).map(c_string).into());
        let programs = vec![(c"/bin/sh".to_owned(), argv)];
        let envp = Strings::new(vec![c"PATH=/usr/bin:/bin".to_owned()]);
        let ops = [Op::Place(writer.as_fd(), 1), Op::ExecutePath { programs, envp }];
        let child = spawn(&ops, 0, None).unwrap();
        drop(ops);
        drop(writer);
        let Outcome::Executed { pidfd, .. } = child.wait_for_exec().unwrap() else { panic!("not executed") };
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        wait_for_either(pidfd.as_fd(), pidfd.as_fd()).unwrap();
        crate::pidfd::try_wait(pidfd.as_fd()).unwrap();
        text.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }

    fn c_string(text: String) -> std::ffi::CString {
        std::ffi::CString::new(text).unwrap()
    }

    fn inheritable(fd: &OwnedFd) {
        nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    }

    #[test]
    fn a_child_apart_has_what_is_not_parked_and_its_parent_keeps_all() {
        let null = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let (low, parked) = (null(), fd::park(null()));
        inheritable(&low);
        inheritable(&parked);
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let apart = numbers_in_child(spawn_apart, pipe());
        assert!(apart.contains(&low.as_raw_fd()), "{apart:?}");
        assert!(!apart.contains(&parked.as_raw_fd()), "{apart:?}");
        // The control: a child that gets copies has both.
        let copied = numbers_in_child(spawn, pipe());
        assert!(copied.contains(&low.as_raw_fd()) && copied.contains(&parked.as_raw_fd()), "{copied:?}");
        inheritable(&low);
        inheritable(&parked);
    }

    #[test]
    fn a_child_apart_that_needs_a_parked_one_gets_it() {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let numbers = numbers_in_child(spawn_apart, (reader, fd::park(writer)));
        assert!(numbers.contains(&1), "its output came: {numbers:?}");
        // As deep as the steps go.
        let null = fd::park(std::fs::File::open("/dev/null").unwrap().into());
        let inner = Op::ForkInit(vec![Op::Ready, Op::Place(null.as_fd(), 0)]);
        assert_eq!(inner.highest_descriptor(), Some(null.as_raw_fd()));
    }

    #[test]
    fn where_no_number_is_high_enough_a_descriptor_stays() {
        use nix::sys::resource::{Resource, getrlimit, setrlimit};
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let number = null.as_raw_fd();
        setrlimit(Resource::RLIMIT_NOFILE, fd::FIRST_PARKED.unsigned_abs().into(), hard).unwrap();
        let stays = fd::park(null);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert_eq!(stays.as_raw_fd(), number);
        assert!(fd::park(stays).as_raw_fd() >= fd::FIRST_PARKED);
    }

    #[test]
    fn a_child_apart_reports_the_step_that_failed() {
        let ops = [Op::ChangeDirectory(c"/nowhere".to_owned())];
        let child = spawn_apart(&ops, 0, None).unwrap();
        let Outcome::Failed { failure, pidfd } = child.wait_for_exec().unwrap() else { panic!("executed") };
        assert_eq!((failure.index, failure.errno), (0, Errno::ENOENT));
        wait_for_either(pidfd.as_fd(), pidfd.as_fd()).unwrap();
        assert!(crate::pidfd::try_wait(pidfd.as_fd()).unwrap().is_some());
    }
}
