//! Owner, mode, times and extended attributes.

use super::failure::{Outcome, Step, quoted, refused};
use super::limits;
use super::members::Member;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use xattr::FileExt;

/// Nothing on disk is set-user-id or set-group-id: inside nobody gains by it, outside nobody shall.
const FILE_MODE: u32 = 0o777;
/// For directories the second of them says whose group new files have, which harms nobody.
const DIRECTORY_MODE: u32 = 0o3777;
/// Extended attributes that are kept begin so, and not so.
const KEPT_XATTRS: &[u8] = b"user.";
const DROPPED_XATTRS: &[u8] = b"user.overlay.";

/// What a member says of itself beside its content.
#[derive(Debug, Clone)]
pub(crate) struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    modified: TimeSpec,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attributes {
    pub(crate) fn of(member: &Member) -> Outcome<Self> {
        let id = |id: u64| match u32::try_from(id) {
            Ok(small) if id < limits::IDS => Ok(small),
            _ => refused(format!("{} belongs to id {id}; 65535 is the last", quoted(&member.name))),
        };
        let (seconds, nanos) = member.modified;
        let kept = |(name, _): &&(Vec<u8>, Vec<u8>)| {
            name.starts_with(KEPT_XATTRS)
                && name.len() > KEPT_XATTRS.len()
                && !name.starts_with(DROPPED_XATTRS)
                && name.len() <= limits::NAME
                && !name.contains(&0)
        };
        Ok(Self {
            uid: id(member.uid)?,
            gid: id(member.gid)?,
            mode: member.mode,
            modified: TimeSpec::new(seconds, i64::from(nanos)),
            xattrs: member.xattrs.iter().filter(kept).cloned().collect(),
        })
    }

    /// Of something that we made: root's.
    pub(crate) fn ours(mode: u32) -> Self {
        Self { uid: 0, gid: 0, mode, modified: TimeSpec::new(0, 0), xattrs: Vec::new() }
    }

    pub(crate) fn put_on_file(&self, file: &File, name: &[u8]) -> Outcome {
        self.put(file, FILE_MODE, name)
    }

    pub(crate) fn put_on_directory(&self, directory: &File, name: &[u8]) -> Outcome {
        self.put(directory, DIRECTORY_MODE, name)
    }

    fn put(&self, file: &File, bits: u32, name: &[u8]) -> Outcome {
        for (key, value) in &self.xattrs {
            file.set_xattr(OsStr::from_bytes(key), value).step("fsetxattr", name)?;
        }
        fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid))).step("fchown", name)?;
        // After the owner, whose change takes bits away.
        fchmod(file, Mode::from_bits_truncate(self.mode & bits)).step("fchmod", name)?;
        futimens(file, &self.modified, &self.modified).step("futimens", name)
    }

    pub(crate) fn put_on_link(&self, parent: BorrowedFd<'_>, name: &[u8]) -> Outcome {
        let (uid, gid) = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
        fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW).step("fchownat", name)?;
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(parent, name, &self.modified, &self.modified, flags).step("utimensat", name)
    }
}

/// Gives one directory all that another has.
pub(crate) fn copy(from: &File, to: &File) -> Outcome {
    let stat = nix::sys::stat::fstat(from.as_fd()).step("fstat", b".")?;
    let mut xattrs = Vec::new();
    for name in from.list_xattr().step("flistxattr", b".")? {
        if name.as_bytes().starts_with(KEPT_XATTRS)
            && let Some(value) = from.get_xattr(&name).step("fgetxattr", b".")?
        {
            xattrs.push((name.as_bytes().to_vec(), value));
        }
    }
    let all = Attributes {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode,
        modified: TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
        xattrs,
    };
    all.put_on_directory(to, b".")
}
