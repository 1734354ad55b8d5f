//! What a child does between clone and exec, as data.
//!
//! A list of [`Op`]s is built before the clone, where allocation and errors are easy, and can be printed and
//! compared in tests. The module `child` then executes it in order, allocating nothing. Paths are relative to the
//! current directory unless they begin with `/`; from [`Op::EnterRoot`] on that is the new root.

use crate::call::exec::Strings;
use crate::call::process::{CapSets, Dumpable, Ids};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

/// One step. The doc of each says what must have come before.
#[derive(Debug)]
pub enum Op<'a> {
    /// Closes a descriptor that only the parent may hold, so that the parent's death is visible.
    Close(i32),
    /// `SIGKILL` when the parent dies. Goes away by itself when credentials change or a program is executed.
    DieWithParent,
    /// Reads one byte; the end of the pipe instead means that the parent gave up, and ends the child.
    Await(BorrowedFd<'a>),
    /// Writes to an open file.
    Write(BorrowedFd<'a>, &'static [u8]),
    /// Writes to a file by path.
    WriteFile {
        /// Where.
        path: CString,
        /// What.
        bytes: Vec<u8>,
        /// What a missing file means.
        missing: Missing,
    },
    /// Enters new namespaces of these kinds (`call::exec::namespace`).
    Unshare(u64),
    /// The processors that this process and its children run on.
    SetAffinity(nix::sched::CpuSet),
    /// All mounts private, so that nothing comes in or goes out.
    MakeMountsPrivate,
    /// User and group ids, no supplementary groups. Needs the maps of the user namespace.
    SetIds(Ids, Ids),
    /// Supplementary groups. Comes after [`Op::SetIds`], which takes all of them away; needs `CAP_SETGID`.
    SetGroups(Vec<u32>),
    /// A fresh session keyring.
    NewSessionKeyring,
    /// Attaches the root mount over an existing directory and makes it the current directory.
    EnterRoot {
        /// The detached mount.
        root: BorrowedFd<'a>,
        /// Absolute; it lies in the old root, which goes with [`Op::PivotRoot`].
        over: CString,
    },
    /// Makes a directory in one that is found without following any link; one that exists is fine.
    MakeDirectory {
        /// In which.
        parent: CString,
        /// What it is called.
        name: CString,
        /// Permission bits.
        mode: u32,
    },
    /// Attaches a detached mount over a directory or file, which is found without following any link.
    Attach {
        /// The mount, made by the parent.
        mount: BorrowedFd<'a>,
        /// Where.
        at: CString,
    },
    /// Makes a file system and attaches it over a directory, which is found without following any link.
    Mount {
        /// Its type.
        fstype: &'static CStr,
        /// Its options.
        options: Vec<(&'static CStr, CString)>,
        /// `call::mount::attr`.
        attributes: u64,
        /// Where.
        at: CString,
    },
    /// Shows the file or directory `from` at `to`. Both lie in file systems that an earlier op made.
    Bind {
        /// What is shown.
        from: CString,
        /// Where; missing is fine.
        to: CString,
    },
    /// Makes everything at and below a directory read-only, by a mount over itself.
    MakeReadOnly(CString),
    /// Starts a process that runs these ops; goes on when it says [`Op::Ready`]. After [`Op::Unshare`] of a pid
    /// namespace it is the first one there.
    ForkInit(Vec<Op<'a>>),
    /// Tells the parent of [`Op::ForkInit`] to go on.
    Ready,
    /// The current directory becomes the root, the old one goes.
    PivotRoot,
    /// Host name.
    SetHostname(CString),
    /// A limit, soft and hard.
    Limit(Resource, u64, u64),
    /// File mode creation mask.
    SetUmask(u32),
    /// A new session without a terminal.
    NewSession,
    /// The terminal that is open here becomes the session's. Comes after [`Op::NewSession`].
    ControlTerminal(BorrowedFd<'a>),
    /// Signals as a new program expects them.
    ResetSignals,
    /// Enters a directory. Comes after [`Op::SetIds`], so that it is done with the rights of the program.
    ChangeDirectory(CString),
    /// The same, but one that does not exist or may not be entered leaves the process where it is.
    EnterIfPresent(CString),
    /// Opens a file and puts it at a number.
    OpenAt(CString, i32),
    /// Puts an open file at a number; its own number must be another.
    Place(BorrowedFd<'a>, i32),
    /// Every descriptor from this number on ends with the exec.
    CloseOnExecFrom(i32),
    /// Who may look into this process until the exec.
    SetDumpable(Dumpable),
    /// Keeps permitted capabilities over the next [`Op::SetIds`].
    KeepCapabilities,
    /// The bounding set becomes this one. Needs `CAP_SETPCAP`.
    SetBoundingSet(u64),
    /// The three sets of the thread.
    SetCapabilities(CapSets),
    /// The ambient set becomes this one, which must be permitted and inheritable.
    SetAmbient(u64),
    /// Set-uid bits and file capabilities mean nothing from here on.
    NoNewPrivileges,
    /// A filter over system calls. Needs [`Op::NoNewPrivileges`]; what follows must pass it.
    Filter(&'a [libc::sock_filter]),
    /// Becomes the program of an open file.
    ExecuteFile {
        /// Open on the program.
        file: BorrowedFd<'a>,
        /// Arguments.
        argv: Strings,
        /// Environment.
        envp: Strings,
    },
    /// Becomes the first of these programs that exists.
    ExecutePath {
        /// Tried in order, each with its own arguments; only `ENOENT` leads to the next.
        programs: Vec<(CString, Strings)>,
        /// Environment.
        envp: Strings,
    },
}

/// What a missing file means to [`Op::WriteFile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The step failed.
    Fails,
    /// This kernel has no such knob; go on.
    IsFine,
    /// The same; and before Linux 6.9 root of a user namespace may not write to some that it has (`EACCES`, `EPERM`).
    OrRefusedIsFine,
}

/// What [`Op::Limit`] bounds, see setrlimit(2).
pub use nix::sys::resource::Resource;

impl Op<'_> {
    /// The highest number of a descriptor that the step needs; of its own steps too where it has some.
    pub(crate) fn highest_descriptor(&self) -> Option<i32> {
        let file = match self {
            Op::Close(number) => return Some(*number),
            Op::ForkInit(ops) => return ops.iter().filter_map(Op::highest_descriptor).max(),
            Op::Await(file)
            | Op::Write(file, _)
            | Op::EnterRoot { root: file, .. }
            | Op::Attach { mount: file, .. }
            | Op::ControlTerminal(file)
            | Op::Place(file, _)
            | Op::ExecuteFile { file, .. } => file,
            Op::DieWithParent
            | Op::WriteFile { .. }
            | Op::Unshare(_)
            | Op::SetAffinity(_)
            | Op::MakeMountsPrivate
            | Op::SetIds(..)
            | Op::SetGroups(_)
            | Op::NewSessionKeyring
            | Op::MakeDirectory { .. }
            | Op::Mount { .. }
            | Op::Bind { .. }
            | Op::MakeReadOnly(_)
            | Op::Ready
            | Op::PivotRoot
            | Op::SetHostname(_)
            | Op::Limit(..)
            | Op::SetUmask(_)
            | Op::NewSession
            | Op::ResetSignals
            | Op::ChangeDirectory(_)
            | Op::EnterIfPresent(_)
            | Op::OpenAt(..)
            | Op::CloseOnExecFrom(_)
            | Op::SetDumpable(_)
            | Op::KeepCapabilities
            | Op::SetBoundingSet(_)
            | Op::SetCapabilities(_)
            | Op::SetAmbient(_)
            | Op::NoNewPrivileges
            | Op::Filter(_)
            | Op::ExecutePath { .. } => return None,
        };
        Some(file.as_raw_fd())
    }

    /// The step in a few words, for errors.
    #[must_use]
    pub fn describe(&self) -> String {
        let text = |path: &CStr| path.to_string_lossy().into_owned();
        match self {
            Op::WriteFile { path, .. } => format!("write {}", text(path)),
            Op::EnterRoot { .. } => "enter root".into(),
            Op::MakeDirectory { parent, name, .. } => {
                format!("make directory {} in {}", text(name), text(parent))
            }
            Op::Attach { at, .. } => format!("attach mount at {}", text(at)),
            Op::Mount { fstype, at, .. } => format!("mount {} at {}", text(fstype), text(at)),
            Op::Bind { to, .. } => format!("bind over {}", text(to)),
            Op::MakeReadOnly(path) => format!("make read-only {}", text(path)),
            Op::ForkInit(_) => "fork init".into(),
            Op::Limit(resource, soft, hard) => format!("limit {resource:?} to {soft}, {hard}"),
            Op::ChangeDirectory(path) => format!("change directory to {}", text(path)),
            Op::EnterIfPresent(path) => format!("enter {} if present", text(path)),
            Op::OpenAt(path, number) => format!("open {} as {number}", text(path)),
            Op::Unshare(kinds) => format!("unshare {kinds:#x}"),
            Op::Filter(program) => format!("install filter of {}", program.len()),
            Op::ExecuteFile { .. } => "execute file".into(),
            Op::ExecutePath { programs, .. } => {
                let paths: Vec<_> = programs.iter().map(|(path, _)| path).collect();
                format!("execute one of {paths:?}")
            }
            other => format!("{other:?}"),
        }
    }
}
