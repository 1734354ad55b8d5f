//! Whose rights a command has: a strict reading of `name|uid[:group|gid]`, looked up in the sandbox's own files.
//!
//! A number is a number: one that is no id is refused, never looked up as a name, whatever the image's files say
//! (CVE-2026-46680, CVE-2024-40635).

mod files;

use bulkhead_protocol::agent::{StartFailure, StartFailureKind};

/// Ids that a sandbox has: 0 to this.
const MAX_ID: u32 = 65_535;
/// The agent's own, which no command gets.
const AGENT_ID: u32 = 65_533;
/// Longest name of a user or group.
const MAX_NAME: usize = 32;
/// Most supplementary groups.
const MAX_GROUPS: usize = 64;
/// Home of who has none.
const NO_HOME: &str = "/";

/// A user of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// For `USER` and `LOGNAME`: the name, or the number of a user without one.
    pub(crate) name: String,
    /// Absolute.
    pub(crate) home: String,
}

impl Account {
    /// What nobody asked for: root, without a look at any file.
    pub(crate) fn root() -> Self {
        Self { uid: 0, gid: 0, groups: Vec::new(), name: "root".to_owned(), home: "/root".to_owned() }
    }
}

/// One half of a user string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Id(u32),
    Name(String),
}

impl Asked {
    /// `None` for what is neither.
    fn parse(text: &str) -> Option<Self> {
        match text.as_bytes().first()? {
            b'0'..=b'9' => parse_id(text).map(Self::Id),
            _ => is_name(text).then(|| Self::Name(text.to_owned())),
        }
    }
}

/// Decimal digits without sign, space or leading zero, an id that a command may have.
fn parse_id(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || text.len() > 5 || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|id| *id <= MAX_ID && *id != AGENT_ID)
}

/// `^[a-z_][a-z0-9_-]{0,31}$`
fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    first && text.len() <= MAX_NAME && text.bytes().all(rest)
}

/// Finds who is meant.
///
/// # Errors
/// [`StartFailureKind::NoSuchUser`].
pub(crate) fn find(asked: Option<&str>) -> Result<Account, StartFailure> {
    let Some(asked) = asked else { return Ok(Account::root()) };
    let none = |errno| StartFailure { kind: StartFailureKind::NoSuchUser, errno };
    let (user, group) = parse(asked).ok_or(none(None))?;
    let read = |path| files::read(path).map_err(|errno| none(Some(errno as i32)));
    let passwd = read(files::PASSWD)?;
    let groups = read(files::GROUP)?;
    choose(&user, group.as_ref(), &passwd, &groups).ok_or(none(None))
}

pub(super) fn parse(asked: &str) -> Option<(Asked, Option<Asked>)> {
    match asked.split_once(':') {
        None => Some((Asked::parse(asked)?, None)),
        Some((user, group)) => Some((Asked::parse(user)?, Some(Asked::parse(group)?))),
    }
}

/// A number without an entry is a user too: of a group with its own number, never of root's.
pub(super) fn choose(user: &Asked, group: Option<&Asked>, passwd: &str, groups: &str) -> Option<Account> {
    let entry = files::users(passwd).find(|entry| match user {
        Asked::Id(id) => entry.uid == *id,
        Asked::Name(name) => entry.name == name,
    });
    let mut account = match (entry, user) {
        (Some(entry), _) => Account {
            uid: entry.uid,
            gid: entry.gid,
            groups: files::groups_of(groups, entry.name),
            name: entry.name.to_owned(),
            home: entry.home.to_owned(),
        },
        (None, Asked::Id(id)) => {
            Account { uid: *id, gid: *id, groups: Vec::new(), name: id.to_string(), home: NO_HOME.to_owned() }
        }
        (None, Asked::Name(_)) => return None,
    };
    if let Some(group) = group {
        account.gid = match group {
            Asked::Id(id) => *id,
            Asked::Name(name) => files::group_id(groups, name)?,
        };
        // Who names a group wants no other.
        account.groups.clear();
    }
    Some(account)
}

#[cfg(test)]
mod tests;
