//! The spec of a sandbox, for the host's operator.

use super::Server;
use crate::conn::Waiter;
use crate::error::{Error, Result, chain};
use crate::ids::Slot;
use crate::record::{Listed, Phase, Record};
use crate::sandbox::Sandbox;
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::runtime::{Disk, RefusalKind, Reply, SpecOf};
use bulkhead_protocol::{Limits, SandboxId};
use oci_spec::runtime::Spec;
use std::os::fd::AsFd;

/// What stands for the id of a sandbox that does not exist.
const NOBODY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// And for the name of one, where none is asked for.
pub(super) const NAME: &str = "sandbox";

impl Server {
    /// A gateway is not told: no spec ever crosses its socket, in neither direction.
    pub(super) fn spec(&mut self, waiter: Waiter, of: &SpecOf) {
        if !self.connections.get(&waiter.connection).is_some_and(|connection| connection.peer.is_root()) {
            return self.refuse(waiter, RefusalKind::Invalid, "for the operator alone".into());
        }
        let made = match of {
            SpecOf::Image { image, limits } => self.spec_of_image(image, *limits),
            SpecOf::Sandbox { id } => self.spec_of_sandbox(id),
        };
        match made {
            Ok(Some(spec)) => match serde_json::to_string(&self.launcher.template.with_filter(spec)) {
                Ok(json) => self.answer(waiter, Reply::Spec { json }),
                Err(error) => self.refuse(waiter, RefusalKind::Failed, error.to_string()),
            },
            Ok(None) => match of {
                SpecOf::Image { .. } => self.refuse(waiter, RefusalKind::UnknownImage, String::new()),
                SpecOf::Sandbox { id } => self.refuse(waiter, RefusalKind::Unknown, id.to_string()),
            },
            Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
        }
    }

    /// Of a sandbox that runs: from its record, and its name from the kernel.
    fn spec_of_sandbox(&self, id: &SandboxId) -> Result<Option<Spec>> {
        let Some(Sandbox::Running { record, pidfd, .. }) = self.table.get(id) else { return Ok(None) };
        let hostname = self.launcher.home.name_of(pidfd.as_fd())?;
        self.launcher.template.compose(record, &hostname).map(Some)
    }

    /// Of one that a request for this image would make now, with a name, an id and a range of ids of nobody.
    fn spec_of_image(&self, image: &ImageName, limits: Limits) -> Result<Option<Spec>> {
        let Some(found) = self.roots.resolve(None, image) else { return Ok(None) };
        let policy = self.policies.of(image);
        let limits = policy.most.lower(limits);
        limits.check().map_err(|_| Error::Spec("limits out of bounds"))?;
        let record = Record {
            id: SandboxId::parse(NOBODY).map_err(|_| Error::Spec("no id"))?,
            slot: Slot(1),
            image: found.id,
            limits,
            processors: self.launcher.host.choose(limits.cpu_millis, self.table.load()),
            filters: policy.filters.clone(),
            mounts: policy.mounts(),
            listed: Listed::Mounts,
            denied: policy.denied.clone(),
            launch: 1,
            boot: String::new(),
            phase: Phase::Launching(Disk::New),
        };
        self.launcher.template.compose(&record, NAME).map(Some)
    }
}
