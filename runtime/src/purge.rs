//! Takes away what an instance has in the kernel, when no server runs.

use crate::adopt::kill_all;
use crate::cgroup::Groups;
use crate::error::{Error, Result};
use crate::ids;
use crate::instance::{self, Lock};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone, and their groups to be removable.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends every process of the instance and removes its cgroups and its claims on ids. The files are the caller's,
/// and so is the lock: no server may start before they are gone too.
///
/// # Errors
/// [`Error::InUse`] while a server runs; [`Error::TooLong`] when something does not die.
pub fn purge(state_dir: &Path) -> Result<Lock> {
    let (lock, name) = instance::claim(state_dir)?;
    let groups = Groups::last(&name, state_dir)?;
    let until = Instant::now() + PATIENCE;
    loop {
        let mut left = !groups.end_imports_but(&[])?;
        for id in kill_all(&groups)? {
            left |= !groups.remove(&id)?;
        }
        if !left {
            break;
        }
        if Instant::now() > until {
            return Err(Error::TooLong("the end of the last process"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    groups.remove_old_homes()?;
    groups.remove_instance(&name)?;
    ids::release_all(&name)?;
    Ok(lock)
}
