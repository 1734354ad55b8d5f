//! The plan of a launch from any request: entry of the fuzz target `plan`.

use super::{Launcher, order};
use crate::digests::Digests;
use crate::error::Result;
use crate::ids::Slot;
use crate::record::{Listed, Phase, Record};
use crate::server::check_request;
use crate::spec::mounts;
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
        Ok(Self { launcher: Launcher::new(b"no program", mounts, "bulkhead-00000000", &[])?, null })
    }

    /// The steps for a request, as they are described; `None` where it is refused.
    ///
    /// # Errors
    /// A request that is not refused and of which no plan is made.
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
            filters: Digests::default(),
            mounts: Vec::new(),
            listed: Listed::Mounts,
            denied: Vec::new(),
            launch: request.launch,
            boot: String::new(),
            phase: Phase::Launching(request.disk),
        };
        let spec = self.launcher.template.compose(&record, &request.hostname)?;
        let null = || self.null.as_fd();
        let made = [mounts::DEV, mounts::SYS, mounts::OWN, mounts::GROUP, mounts::LIMITS];
        let inputs = order::Inputs {
            spec: &spec,
            agent: null(),
            filter: &self.launcher.filter,
            wait: null(),
            go: null(),
            tasks: vec![null()],
            root: null(),
            handles: made.map(|name| (name.to_owned(), null())).into(),
            descriptors: vec![null(); 8],
        };
        Ok(Some(order::steps(&inputs)?.iter().map(Op::describe).collect()))
    }
}
