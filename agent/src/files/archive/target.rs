//! Where an archive is unpacked: a directory, below which names that a stranger chose are made.
//!
//! Each step of a name is one `openat` that follows no link, so nothing is ever written through one, whoever made it
//! and when. Names that could lead out are refused before they have any effect; where a link leads is data.

use crate::files::chmod::set_mode;
use crate::files::entry::kind;
use crate::files::failure::{Outcome, Stop, failed};
use crate::files::path::{AbsolutePath, Root};
use crate::files::tree::look;
use bulkhead_protocol::files::{EntryKind, FileFailure, MAX_ARCHIVE_ENTRIES, MAX_DEPTH, MAX_PATH};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

/// Longest name of a directory's entry in bytes (`NAME_MAX`).
const MAX_NAME: usize = 255;
/// Bits of directories that no member describes.
const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o755);
/// What of a member's bits is kept: set-id and sticky ones are not.
const PLAIN: u32 = 0o777;
/// Whoever unpacks must be able to go on.
const OWNER: u32 = 0o700;

/// See the module.
#[derive(Debug)]
pub(crate) struct Target {
    directory: OwnedFd,
    /// The parent that was used last.
    last: Option<(Vec<CString>, OwnedFd)>,
    /// Members so far.
    pub(crate) entries: u64,
    /// Bytes of content so far.
    pub(crate) bytes: u64,
    most_bytes: u64,
    too_many: FileFailure,
}

/// A member's name, step by step; none is `.` or `..`.
fn steps(name: &[u8]) -> Outcome<Vec<CString>> {
    if name.is_empty() || name.starts_with(b"/") || name.len() >= MAX_PATH {
        return failed(FileFailure::Hostile);
    }
    let mut steps = Vec::new();
    for step in name.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b".")) {
        if step == b".." || step.len() > MAX_NAME {
            return failed(FileFailure::Hostile);
        }
        steps.push(CString::new(step).map_err(|_| FileFailure::Hostile)?);
    }
    if steps.len() > usize::try_from(MAX_DEPTH).unwrap_or(usize::MAX) {
        return failed(FileFailure::Bounds);
    }
    Ok(steps)
}

/// Whether bytes can be the target of a link. Where it leads is not looked at: only who follows it can tell, with the
/// rights of this user and never out of the sandbox, and here nothing is followed.
fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() < MAX_PATH && !bytes.contains(&0)
}

impl Target {
    /// Below a directory, which is made; `most_bytes` of content, then this failure.
    pub(crate) fn make(
        root: &Root,
        path: &AbsolutePath,
        most_bytes: u64,
        too_many: FileFailure,
    ) -> Outcome<Self> {
        let directory = root.make(path)?;
        Ok(Self { directory, last: None, entries: 0, bytes: 0, most_bytes, too_many })
    }

    fn count(&mut self) -> Outcome {
        if self.entries >= MAX_ARCHIVE_ENTRIES {
            return failed(FileFailure::Bounds);
        }
        self.entries += 1;
        Ok(())
    }

    /// Opens or makes the directory that these steps lead to.
    fn down(&mut self, steps: &[CString]) -> Outcome<OwnedFd> {
        if let Some((last, directory)) = &self.last
            && last == steps
        {
            return Ok(directory.try_clone()?);
        }
        let mut directory = self.directory.try_clone()?;
        for step in steps {
            directory = match enter(&directory, step) {
                Err(Stop::Failed(FileFailure::NotFound)) => {
                    match mkdirat(&directory, step.as_c_str(), DIRECTORY_MODE) {
                        Ok(()) | Err(Errno::EEXIST) => enter(&directory, step)?,
                        Err(errno) => return Err(errno.into()),
                    }
                }
                entered => entered?,
            };
        }
        self.last = Some((steps.to_vec(), directory.try_clone()?));
        Ok(directory)
    }

    /// Makes a directory.
    pub(crate) fn directory(&mut self, name: &[u8], mode: u32) -> Outcome {
        self.count()?;
        let steps = steps(name)?;
        let directory = self.down(&steps)?;
        if steps.is_empty() { Ok(()) } else { Ok(set_mode(&directory, mode & PLAIN | OWNER)?) }
    }

    /// Makes a file, in place of what is there, unless that is a directory.
    pub(crate) fn file(&mut self, name: &[u8], mode: u32) -> Outcome<Member<'_>> {
        self.count()?;
        let mut steps = steps(name)?;
        let own = steps.pop().ok_or(FileFailure::Hostile)?;
        let directory = self.down(&steps)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = || openat(&directory, own.as_c_str(), flags, Mode::from_bits_truncate(0o600));
        let file = match open() {
            Err(Errno::EEXIST) => {
                unlinkat(&directory, own.as_c_str(), UnlinkatFlags::NoRemoveDir)?;
                open()?
            }
            opened => opened?,
        };
        Ok(Member { file: file.into(), mode: mode & PLAIN, target: self })
    }

    /// Makes a symbolic link, wherever it leads.
    pub(crate) fn link(&mut self, name: &[u8], target: &[u8]) -> Outcome {
        self.count()?;
        let mut steps = steps(name)?;
        let own = steps.pop().ok_or(FileFailure::Hostile)?;
        if !is_target(target) {
            return failed(FileFailure::Hostile);
        }
        let directory = self.down(&steps)?;
        replacing(&directory, &own, || symlinkat(target, &directory, own.as_c_str()))
    }

    /// Gives a regular file that is inside a second name.
    pub(crate) fn hard_link(&mut self, name: &[u8], target: &[u8]) -> Outcome {
        self.count()?;
        let (mut steps_to, mut steps) = (steps(target)?, steps(name)?);
        let (old, own) = steps_to.pop().zip(steps.pop()).ok_or(FileFailure::Hostile)?;
        let from = self.down(&steps_to)?;
        match look(&from, &old).map(|stat| kind(&stat)) {
            Ok(EntryKind::File) => {}
            Ok(_) => return failed(FileFailure::Hostile),
            Err(_) => return failed(FileFailure::BadArchive),
        }
        let to = self.down(&steps)?;
        if steps == steps_to && own == old {
            return Ok(());
        }
        let link = || linkat(&from, old.as_c_str(), &to, own.as_c_str(), AtFlags::empty());
        replacing(&to, &own, link)
    }
}

/// One step down, through no link.
fn enter(directory: &OwnedFd, step: &CStr) -> Outcome<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(directory, step, flags, Mode::empty()) {
        Err(Errno::ENOTDIR | Errno::ELOOP) => match look(directory, step).map(|stat| kind(&stat)) {
            Ok(EntryKind::Link) => failed(FileFailure::Hostile),
            Ok(_) | Err(_) => failed(FileFailure::Exists),
        },
        opened => Ok(opened?),
    }
}

fn replacing(directory: &OwnedFd, name: &CStr, make: impl Fn() -> Result<(), Errno>) -> Outcome {
    match make() {
        Err(Errno::EEXIST) => {
            unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
            Ok(make()?)
        }
        made => Ok(made?),
    }
}

/// A file that is being filled.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    file: File,
    mode: u32,
    target: &'a mut Target,
}

impl Member<'_> {
    /// Appends content.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.target.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if self.target.bytes > self.target.most_bytes {
            return Err(self.target.too_many.into());
        }
        Ok(self.file.write_all(bytes)?)
    }

    /// It is whole.
    pub(crate) fn finish(self, modified: Option<i64>) -> Outcome {
        set_mode(&self.file, self.mode)?;
        match modified {
            Some(seconds) => {
                let time = TimeSpec::new(seconds, 0);
                Ok(futimens(&self.file, &time, &time)?)
            }
            None => Ok(()),
        }
    }
}
