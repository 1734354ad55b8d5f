//! Takes away what an instance has in the kernel, when no server runs.

use crate::adopt::kill_all;
use crate::cgroup::Groups;
use crate::error::{Error, Result};
use crate::ids;
use crate::instance::Instance;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long killed processes may take to be gone, and their groups to be removable.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends every process of the instance and removes its cgroups and its claims on ids. The files are the caller's.
///
/// # Errors
/// [`Error::InUse`] while a server runs; [`Error::TooLong`] when something does not die.
pub fn purge(state_dir: &Path, run_dir: &Path) -> Result<Instance> {
    let instance = Instance::existing(state_dir, run_dir)?;
    let groups = Groups::open(&instance.name)?;
    let until = Instant::now() + PATIENCE;
    loop {
        let mut left = false;
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
    groups.remove_instance(&instance.name)?;
    ids::release_all(&instance.name)?;
    Ok(instance)
}
