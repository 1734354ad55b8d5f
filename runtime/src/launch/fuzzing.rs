//! The plan of a launch from any request: entry of the fuzz target `plan`.

use super::{Launcher, order};
use crate::error::Result;
use crate::ids::Slot;
use crate::record::{Phase, Record};
use crate::roots::Root;
use crate::server::check_request;
use bulkhead_protocol::runtime::CreateSandbox;
use bulkhead_sys::op::Op;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Plans launches and starts none. Needs root and a mount namespace of its own: templates are mounts.
pub struct Planner {
    launcher: Launcher,
    null: OwnedFd,
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Planner")
    }
}

impl Planner {
    /// Makes the templates below `mounts`, an empty directory.
    ///
    /// # Errors
    /// Whatever the kernel says.
    ///
    /// # Panics
    /// Without a `/dev/null`.
    pub fn new(mounts: &Path) -> Result<Self> {
        let null = File::open("/dev/null").expect("there is a /dev/null").into();
        Ok(Self { launcher: Launcher::new(b"no program", mounts)?, null })
    }

    /// The steps for a request, as they are described; `None` where it is refused.
    ///
    /// # Errors
    /// Whatever the kernel says: a view of the machine is made for each.
    pub fn plan(&self, request: &[u8]) -> Result<Option<Vec<String>>> {
        let Ok(request) = serde_json::from_slice::<CreateSandbox>(request) else { return Ok(None) };
        if check_request(&request).is_err() {
            return Ok(None);
        }
        let processors = self.launcher.host.choose(request.limits.cpu_millis, &BTreeMap::new());
        let record = Record {
            id: request.id,
            slot: Slot(3),
            image: request.image,
            limits: request.limits,
            processors,
            filters: self.launcher.digests.clone(),
            launch: request.launch,
            boot: String::new(),
            phase: Phase::Launching(request.disk),
        };
        let processors = self.launcher.host.these(&record.processors);
        let view = self.launcher.view.of(&record.limits, &processors)?;
        let dup = || self.null.try_clone().expect("a descriptor");
        let root = Root { root: dup(), mounts: Vec::new() };
        let inputs = order::Inputs {
            record: &record,
            hostname: &request.hostname,
            launcher: &self.launcher,
            wait: self.null.as_fd(),
            go: self.null.as_fd(),
            tasks: vec![self.null.as_fd()],
            root: &root,
            dev: self.null.as_fd(),
            view: &view,
            shown: self.null.as_fd(),
            descriptors: vec![self.null.as_fd(); 8],
        };
        Ok(Some(order::steps(&inputs).iter().map(Op::describe).collect()))
    }
}
