//! The sandbox's /etc/passwd and /etc/group, which are the tenant's to fill: nothing in them may make the agent wait,
//! grow or fail. A line that breaks the rules is no line.

use super::{AGENT_ID, MAX_GROUPS, NO_HOME, is_name, parse_id};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};
use std::fs::File;
use std::io::Read;

pub(super) const PASSWD: &str = "/etc/passwd";
pub(super) const GROUP: &str = "/etc/group";
/// Longest file in bytes (CVE-2026-47262).
const MAX_FILE: u64 = 1 << 20;
/// Most lines that are looked at.
const MAX_LINES: usize = 10_000;
/// Longest home directory in bytes.
const MAX_HOME: usize = 1024;

/// A file's text; empty when there is no such file.
///
/// # Errors
/// As openat2(2), fstat(2) and read(2), `EINVAL` for what is no regular file, `EFBIG` for a long one.
pub(super) fn read(path: &str) -> Result<String, Errno> {
    // Not blocking: a pipe without a writer would stop the agent. No links: there is one place where these lie.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = match openat2(AT_FDCWD, path, how) {
        Err(Errno::ENOENT) => return Ok(String::new()),
        opened => opened?,
    };
    let status = fstat(&file)?;
    if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Errno::EINVAL);
    }
    let mut bytes = Vec::new();
    // One more than may be there: the file can grow between the look and the read.
    let read = File::from(file).take(MAX_FILE + 1).read_to_end(&mut bytes);
    let count = read.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    if u64::try_from(count).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(Errno::EFBIG);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of passwd(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User<'a> {
    pub(super) name: &'a str,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: &'a str,
}

/// The lines of a passwd(5) that name a user whom a command may become.
pub(super) fn users(text: &str) -> impl Iterator<Item = User<'_>> {
    text.lines().take(MAX_LINES).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| is_name(name))?;
        let (uid, gid) = (fields.nth(1).and_then(parse_id)?, fields.next().and_then(parse_id)?);
        let home = fields.nth(1)?;
        let usable = home.starts_with('/') && home.len() <= MAX_HOME && !home.contains(char::is_control);
        Some(User { name, uid, gid, home: if usable { home } else { NO_HOME } })
    })
}

/// Lines of a group(5): name, id, members.
fn group_lines(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().take(MAX_LINES).filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1).and_then(parse_id).filter(|id| *id != AGENT_ID)?;
        Some((name, id, fields.next()?))
    })
}

/// The id of a group.
pub(super) fn group_id(text: &str, name: &str) -> Option<u32> {
    group_lines(text).find_map(|(group, id, _)| (group == name).then_some(id))
}

/// The groups that have this member: the first [`MAX_GROUPS`], each once.
pub(super) fn groups_of(text: &str, member: &str) -> Vec<u32> {
    let mut groups = Vec::new();
    for (_, id, members) in group_lines(text) {
        if groups.len() == MAX_GROUPS {
            break;
        }
        if !groups.contains(&id) && members.split(',').any(|name| name == member) {
            groups.push(id);
        }
    }
    groups
}
