//! The child half of a clone: one straight line over a list of [`Op`]s.
//!
//! Runs in the new process, before exec. It must never allocate, lock, panic or return: the process is a copy
//! of its parent in which only this thread exists. What fails is reported as (process, index, errno).

use crate::call::exec::{self, Files, Side, exit_now};
use crate::call::{mount, process, terminal};
use crate::fd::FIRST_PARKED;
use crate::op::{Missing, Op};
use crate::report::{BEFORE_OPS, Failure, Process};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::mount::MsFlags;
use nix::sys::stat::Mode;
use nix::unistd;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Exit status of a child whose setup failed; the report says why.
const SETUP_FAILED: i32 = 125;

/// What a process of the child needs beside its ops.
#[derive(Clone, Copy)]
struct Line<'p> {
    process: Process,
    report: BorrowedFd<'p>,
    /// Where [`Op::Ready`] goes: the pipe to the parent of [`Op::ForkInit`].
    ready: Option<BorrowedFd<'p>>,
}

/// Executes the ops; the last one must execute a program.
pub(crate) fn run(ops: &[Op<'_>], report: BorrowedFd<'_>) -> ! {
    run_line(ops, Line { process: Process::Child, report, ready: None })
}

/// The same for a child that shares its parent's descriptors: takes copies of those that are not parked, and tells the
/// parent so.
pub(crate) fn run_apart(ops: &[Op<'_>], report: BorrowedFd<'_>, apart: BorrowedFd<'_>) -> ! {
    if let Err(errno) = exec::own_descriptors_below(FIRST_PARKED).and_then(|()| write_all(apart, b"a")) {
        fail(report, Failure { process: Process::Child, index: BEFORE_OPS, errno });
    }
    run(ops, report)
}

fn run_line(ops: &[Op<'_>], line: Line<'_>) -> ! {
    for (index, op) in ops.iter().enumerate() {
        if let Err(errno) = step(op, line) {
            fail(line.report, Failure { process: line.process, index, errno });
        }
    }
    exit_now(SETUP_FAILED)
}

fn fail(report: BorrowedFd<'_>, failure: Failure) -> ! {
    // Nobody is left to tell if this fails; the exit status still says that setup failed.
    if unistd::write(report, &failure.encode()).is_err() {
        exit_now(SETUP_FAILED);
    }
    exit_now(SETUP_FAILED)
}

fn step(op: &Op<'_>, line: Line<'_>) -> Result<(), Errno> {
    match op {
        Op::Close(number) => unistd::close(*number),
        Op::DieWithParent => process::set_parent_death_signal(libc::SIGKILL.unsigned_abs()),
        Op::Await(pipe) => await_byte(*pipe),
        Op::Write(file, bytes) => write_all(*file, bytes),
        Op::WriteFile { path, bytes, missing } => write_file(path, bytes, *missing),
        Op::MakeDirectory { parent, name, mode } => make_directory(parent, name, *mode),
        Op::NewSession => unistd::setsid().map(drop),
        Op::ChangeDirectory(path) => unistd::chdir(path.as_c_str()),
        Op::EnterIfPresent(path) => enter_if_present(path),
        Op::ControlTerminal(terminal) => terminal::take_control(*terminal),
        Op::OpenAt(path, number) => open_at(path, *number),
        Op::Place(file, number) => exec::place(*file, *number),
        Op::CloseOnExecFrom(first) => exec::close_on_exec_from(*first),
        Op::SetHostname(name) => set_hostname(name),
        Op::Limit(resource, soft, hard) => nix::sys::resource::setrlimit(*resource, *soft, *hard),
        Op::SetUmask(mask) => {
            nix::sys::stat::umask(Mode::from_bits_truncate(*mask));
            Ok(())
        }
        Op::ResetSignals => process::reset_signals(),
        Op::ForkInit(ops) => fork_init(ops, line),
        Op::Ready => line.ready.map_or(Err(Errno::EBADF), |pipe| write_all(pipe, b"r")),
        Op::ExecuteFile { file, argv, envp } => exec::execute_file(*file, argv, envp).map(drop),
        Op::ExecutePath { programs, envp } => execute_first(programs, envp),
        other => step_of_walls(other),
    }
}

/// The steps that build and close the walls: mounts, namespaces, credentials.
fn step_of_walls(op: &Op<'_>) -> Result<(), Errno> {
    match op {
        Op::Unshare(kinds) => unshare(*kinds),
        Op::SetAffinity(set) => nix::sched::sched_setaffinity(unistd::Pid::from_raw(0), set),
        Op::MakeMountsPrivate => remount(c"/", MsFlags::MS_REC | MsFlags::MS_PRIVATE),
        Op::EnterRoot { root, over } => enter_root(*root, over),
        Op::Attach { mount, at } => attach(*mount, at),
        Op::Mount { fstype, options, attributes, at } => {
            let made = make_mount(fstype, options, *attributes)?;
            attach(made.as_fd(), at)
        }
        Op::Bind { from, to } => tolerate_missing(bind(from, to)),
        Op::MakeReadOnly(path) => make_read_only(path),
        Op::PivotRoot => mount::pivot_into_current_directory(),
        Op::SetIds(uid, gid) => process::set_ids(*uid, *gid),
        Op::SetGroups(groups) => process::set_groups(groups),
        Op::NewSessionKeyring => process::join_new_session_keyring(),
        Op::SetDumpable(dumpable) => process::set_dumpable(*dumpable),
        Op::KeepCapabilities => process::keep_capabilities(),
        Op::SetBoundingSet(keep) => set_bounding_set(*keep),
        Op::SetCapabilities(sets) => process::set_capabilities(*sets),
        Op::SetAmbient(set) => set_ambient(*set),
        Op::NoNewPrivileges => process::set_no_new_privileges(),
        Op::Filter(program) => process::install_filter(program),
        // `step` handles the rest.
        _ => Err(Errno::ENOSYS),
    }
}

fn await_byte(pipe: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut byte = [0];
    loop {
        match unistd::read(pipe, &mut byte) {
            Ok(0) => return Err(Errno::EPIPE),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn write_all(file: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Errno> {
    let written = unistd::write(file, bytes)?;
    if written == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
}

fn write_file(path: &CStr, bytes: &[u8], missing: Missing) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    match nix::fcntl::open(path, flags, Mode::empty()) {
        Ok(file) => write_all(file.as_fd(), bytes),
        Err(Errno::ENOENT) if missing != Missing::Fails => Ok(()),
        Err(Errno::EACCES | Errno::EPERM) if missing == Missing::OrRefusedIsFine => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn make_directory(parent: &CStr, name: &CStr, mode: u32) -> Result<(), Errno> {
    match nix::sys::stat::mkdirat(find(parent)?, name, Mode::from_bits_truncate(mode)) {
        Err(Errno::EEXIST) => Ok(()),
        done => done,
    }
}

fn open_at(path: &CStr, number: i32) -> Result<(), Errno> {
    let file = nix::fcntl::open(path, OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())?;
    exec::place(file.as_fd(), number)
}

fn set_hostname(name: &CStr) -> Result<(), Errno> {
    // SAFETY: sethostname reads `len` bytes at the pointer. They are exactly the bytes of this C string, which is
    // borrowed for longer than the call.
    let done = unsafe { libc::sethostname(name.as_ptr(), name.count_bytes()) };
    Errno::result(done).map(drop)
}

fn unshare(kinds: u64) -> Result<(), Errno> {
    let flags = i32::try_from(kinds).map_err(|_| Errno::EINVAL)?;
    nix::sched::unshare(nix::sched::CloneFlags::from_bits_retain(flags))
}

fn remount(path: &CStr, flags: MsFlags) -> Result<(), Errno> {
    nix::mount::mount(None::<&CStr>, path, None::<&CStr>, flags, None::<&CStr>)
}

/// Opens a mount point below the current directory, refusing every symbolic link on the way.
fn find(path: &CStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    nix::fcntl::openat2(nix::fcntl::AT_FDCWD, path, how)
}

fn attach(made: BorrowedFd<'_>, at: &CStr) -> Result<(), Errno> {
    mount::attach(made, find(at)?.as_fd())
}

fn enter_root(root: BorrowedFd<'_>, over: &CStr) -> Result<(), Errno> {
    let target = nix::fcntl::open(over, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    mount::attach(root, target.as_fd())?;
    unistd::fchdir(root)
}

fn make_mount(
    fstype: &CStr,
    options: &[(&CStr, std::ffi::CString)],
    attributes: u64,
) -> Result<OwnedFd, Errno> {
    let fs = mount::fsopen(fstype)?;
    for (key, value) in options {
        let setting = if value.is_empty() { mount::Setting::Flag } else { mount::Setting::Text(value) };
        mount::configure(fs.as_fd(), key, setting)?;
    }
    mount::create(fs.as_fd(), attributes)
}

fn tolerate_missing(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::ENOENT) => Ok(()),
        done => done,
    }
}

fn enter_if_present(path: &CStr) -> Result<(), Errno> {
    match unistd::chdir(path) {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => Ok(()),
        done => done,
    }
}

fn bind(from: &CStr, to: &CStr) -> Result<(), Errno> {
    nix::mount::mount(Some(from), to, None::<&CStr>, MsFlags::MS_BIND, None::<&CStr>)
}

/// By mount(2) and not by open_tree(2): a detached copy counts as a mount namespace, of which the user namespace
/// may have none any more when this runs.
fn make_read_only(path: &CStr) -> Result<(), Errno> {
    nix::mount::mount(Some(path), path, None::<&CStr>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&CStr>)?;
    mount::set_attributes(find(path)?.as_fd(), mount::attr::RDONLY, 0, None, mount::Depth::All)
}

fn set_bounding_set(keep: u64) -> Result<(), Errno> {
    for capability in 0..64u8 {
        if keep & (1 << capability) != 0 {
            continue;
        }
        match process::drop_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last capability of this kernel.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn set_ambient(set: u64) -> Result<(), Errno> {
    process::clear_ambient()?;
    for capability in 0..64u8 {
        if set & (1 << capability) != 0 {
            process::raise_ambient(capability)?;
        }
    }
    Ok(())
}

fn execute_first(programs: &[(std::ffi::CString, exec::Strings)], envp: &exec::Strings) -> Result<(), Errno> {
    let mut last = Errno::ENOENT;
    for (path, argv) in programs {
        match exec::execute_path(path, argv, envp) {
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                last = errno;
                break;
            }
            Ok(never) => match never {},
        }
    }
    Err(last)
}

fn fork_init(ops: &[Op<'_>], line: Line<'_>) -> Result<(), Errno> {
    let (reader, writer) = unistd::pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: clone asks for one thread, which the child of a clone has; the new process runs ops only, which
    // are async-signal-safe.
    match unsafe { exec::clone(0, None, Files::Copied) }? {
        Side::Child => {
            // Without its own copy of the reading end, the death of the parent is visible as SIGPIPE.
            if unistd::close(reader.as_raw_fd()).is_err() {
                exit_now(SETUP_FAILED);
            }
            run_line(ops, Line { process: Process::Init, report: line.report, ready: Some(writer.as_fd()) })
        }
        Side::Parent(_pid, _pidfd) => {
            drop(writer);
            await_byte(reader.as_fd())
        }
    }
}
