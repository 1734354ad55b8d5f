//! What the agent reads of others, without a process: entries of the fuzz targets.

use super::spec::Command;
use super::user::{self, Account};
use bulkhead_protocol::agent::ExecutionSpec;

/// Looks a user up in files of a tenant, and gives the id of who was found.
///
/// # Panics
/// When somebody was found whom no command may become.
#[must_use]
pub fn user(asked: &str, passwd: &str, groups: &str) -> Option<u32> {
    let (user, group) = user::parse(asked)?;
    let account = user::choose(&user, group.as_ref(), passwd, groups)?;
    let ids = [account.uid, account.gid];
    assert!(ids.iter().chain(&account.groups).all(|id| *id <= 65_535 && *id != 65_533), "{account:?}");
    assert!(account.groups.len() <= 64, "{account:?}");
    assert!(account.home.starts_with('/') && !account.name.contains([':', '\0', '\n']), "{account:?}");
    Some(account.uid)
}

/// Checks an order of a gateway, and says whether it could be run.
#[must_use]
pub fn spec(order: &[u8]) -> bool {
    serde_json::from_slice::<ExecutionSpec>(order)
        .is_ok_and(|spec| Command::new(&spec, Account::root()).is_ok())
}
