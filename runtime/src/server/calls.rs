//! The calls of a gateway.

use super::Server;
use super::specs::NAME;
use crate::conn::Waiter;
use crate::error::{Error, Result, chain};
use crate::failpoint::failpoint;
use crate::inspect::{Place, inspect};
use crate::leaks::{self, Known};
use crate::record::{Fate, Phase};
use crate::roots::RootError;
use crate::sandbox::Sandbox;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{
    Call, LIST_PAGE, Leak, Life, RUNTIME_PROTOCOL, RefusalKind, Reply, SandboxStatus, is_hostname,
};
use bulkhead_protocol::stats::{Counters, Stats};
use std::os::fd::AsFd;

/// The release that this is.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

impl Server {
    pub(super) fn call(&mut self, waiter: Waiter, call: Call) {
        match call {
            Call::Hello { protocol } if protocol == RUNTIME_PROTOCOL => {
                let release = RELEASE.to_owned();
                self.answer(waiter, Reply::Hello { protocol: RUNTIME_PROTOCOL, release });
            }
            Call::Hello { protocol } => {
                let detail = format!(
                    "the runtime of release {RELEASE} speaks protocol {RUNTIME_PROTOCOL}, the gateway {protocol}: \
                     both must be of one release"
                );
                self.refuse(waiter, RefusalKind::Invalid, detail);
            }
            Call::ResolveImage { org, image } => match self.roots.resolve(org.as_deref(), &image) {
                Some(found) => {
                    let found = self.policies.of(&image).apply(found);
                    self.answer(waiter, Reply::Image(found));
                }
                None => self.refuse(waiter, RefusalKind::UnknownImage, String::new()),
            },
            Call::ListImages { of, skip } => {
                let page = self.roots.images(&of, skip);
                self.answer(waiter, Reply::Images(page));
            }
            Call::InspectImage { org, image } => self.inspect_image(waiter, org.as_deref(), &image),
            Call::RemoveImage { org, image } => self.remove_image(waiter, org.as_deref(), &image),
            Call::CollectImages => self.collect_images(waiter),
            Call::ImageRoom => self.answer(waiter, Reply::ImageRoom { bytes: self.roots.image_room() }),
            // Needs its descriptors.
            Call::ImportImage(order) => self.import(waiter, order, Vec::new()),
            Call::Create(request) => self.create(waiter, request),
            Call::Stop { id } => self.stop_sandbox(waiter, &id),
            Call::Freeze { id } => self.turn(waiter, &id, Life::Frozen),
            Call::Thaw { id } => self.turn(waiter, &id, Life::Running),
            Call::Name { id, hostname } => self.name(waiter, &id, &hostname),
            Call::Destroy { id } => self.destroy(waiter, &id),
            Call::Inspect { id } => self.inspect(waiter, &id),
            Call::Stats { id } => self.stats(waiter, &id),
            Call::Counters => {
                let counters = Counters { steps: self.times.steps(), ..self.counters.clone() };
                self.answer(waiter, Reply::Counters(Box::new(counters)));
            }
            Call::ReadFile { file } => match self.operator.read(file) {
                Ok(text) => self.answer(waiter, Reply::File { text }),
                Err(detail) => self.refuse(waiter, RefusalKind::Failed, detail),
            },
            Call::Spec { of } => self.spec(waiter, &of),
            Call::List { after } => {
                let page = self.list(after.as_ref());
                self.answer(waiter, Reply::Sandboxes(page));
            }
            Call::ListDisks { after } => match self.list_disks(after.as_ref()) {
                Ok(page) => self.answer(waiter, Reply::Disks(page)),
                Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
            },
            Call::Leaks => match self.leaks() {
                Ok(leaks) => self.answer(waiter, Reply::Leaks(leaks)),
                Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
            },
        }
    }

    fn inspect(&mut self, waiter: Waiter, id: &SandboxId) {
        // One that is launched or ended: nobody was told that it lives, or somebody will be told that it does not.
        let Some(Sandbox::Running { record, .. }) = self.table.get(id) else {
            return self.refuse(waiter, RefusalKind::Unknown, id.to_string());
        };
        let Phase::Running(identity) = record.phase else {
            return self.refuse(waiter, RefusalKind::NotRunning, id.to_string());
        };
        let disk = self.roots.disk_limit(id).unwrap_or_else(|error| {
            tracing::error!(%id, "{}", chain(&*error));
            None
        });
        // Nothing that is compared depends on the name, and who asks for a report makes nobody enter a namespace.
        let spec = self.launcher.template.compose(record, NAME);
        let filters = self.filters.with(&record.denied);
        let inspected = spec.and_then(|spec| {
            inspect(record, identity, Place { groups: &self.groups, spec: &spec, filters }, disk)
        });
        match inspected {
            Ok(Some(report)) => self.answer(waiter, Reply::Isolation(report)),
            Ok(None) => self.refuse(waiter, RefusalKind::NotRunning, id.to_string()),
            Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
        }
    }

    fn stats(&mut self, waiter: Waiter, id: &SandboxId) {
        let mut stats = match self.table.get(id) {
            // Counters of a group that is being emptied are nobody's.
            Some(Sandbox::Running { .. }) => self.groups.get(id).ok().flatten().map(|group| group.usage()),
            _ => None,
        }
        .unwrap_or_default();
        let read = |value: std::result::Result<Option<u64>, RootError>| {
            value.unwrap_or_else(|error| {
                tracing::debug!(%id, "{}", chain(&*error));
                None
            })
        };
        stats.disk.used = read(self.roots.disk_used(id));
        stats.disk.limit = read(self.roots.disk_limit(id));
        if stats == Stats::default() {
            return self.refuse(waiter, RefusalKind::Unknown, id.to_string());
        }
        self.answer(waiter, Reply::Stats(Box::new(stats)));
    }

    fn name(&mut self, waiter: Waiter, id: &SandboxId, hostname: &str) {
        if !is_hostname(hostname) {
            return self.refuse(waiter, RefusalKind::Invalid, "hostname".into());
        }
        let Some(Sandbox::Running { pidfd, .. }) = self.table.get(id) else {
            return self.refuse(waiter, RefusalKind::Unknown, id.to_string());
        };
        match self.launcher.home.rename(pidfd.as_fd(), hostname) {
            Ok(()) => {
                failpoint!(Named);
                self.answer(waiter, Reply::Named);
            }
            Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
        }
    }

    fn stop_sandbox(&mut self, waiter: Waiter, id: &SandboxId) {
        let unknown = || Reply::Refused { kind: RefusalKind::Unknown, detail: id.to_string() };
        let reply = match self.table.get(id) {
            Some(Sandbox::Running { .. }) => Reply::Stopped,
            Some(Sandbox::Ending(ending)) if ending.fate == Fate::Keep => Reply::Stopped,
            // A launch that nobody was told of ends as one that failed.
            Some(Sandbox::Launching { mapped, .. }) => {
                let fate = mapped.record().phase.fate();
                let reply = if fate == Fate::Keep { Reply::Stopped } else { unknown() };
                return self.begin_end(id, fate, vec![(waiter, reply)]);
            }
            Some(Sandbox::Ending(_)) => return self.answer(waiter, unknown()),
            None => return self.stop_stray(waiter, id),
        };
        self.begin_end(id, Fate::Keep, vec![(waiter, reply)]);
    }

    /// What no record names may run all the same: "unknown" would be read as "it stopped".
    fn stop_stray(&mut self, waiter: Waiter, id: &SandboxId) {
        match self.is_stray(id) {
            Ok(true) => self.end_stray(id, Fate::Keep, vec![(waiter, Reply::Stopped)]),
            Ok(false) => self.refuse(waiter, RefusalKind::Unknown, id.to_string()),
            Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
        }
    }

    fn destroy(&mut self, waiter: Waiter, id: &SandboxId) {
        if self.table.get(id).is_some() {
            return self.begin_end(id, Fate::Discard, vec![(waiter, Reply::Destroyed)]);
        }
        match self.is_stray(id) {
            Ok(true) => return self.end_stray(id, Fate::Discard, vec![(waiter, Reply::Destroyed)]),
            Ok(false) => {}
            Err(error) => return self.refuse(waiter, error.kind(), chain(&error)),
        }
        // A disk without a sandbox is what a stop leaves.
        match self.discard_kept_disk(id) {
            Ok(true) => self.answer(waiter, Reply::Destroyed),
            Ok(false) => self.refuse(waiter, RefusalKind::Unknown, id.to_string()),
            Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
        }
    }

    pub(super) fn discard_kept_disk(&mut self, id: &SandboxId) -> Result<bool> {
        if !self.roots.has_disk(id).map_err(Error::Root)? {
            return Ok(false);
        }
        self.roots.discard(id).map_err(Error::Root)?;
        self.reaper.start(&mut self.poll);
        Ok(true)
    }

    fn list(&self, after: Option<&SandboxId>) -> Vec<SandboxStatus> {
        let status = |(id, sandbox): (&SandboxId, &Sandbox)| {
            let Sandbox::Running { record, .. } = sandbox else { return None };
            // One whose group cannot be read is on its way out: its event comes.
            let life = self.groups.life(id).unwrap_or(Life::Running);
            Some(SandboxStatus { id: id.clone(), launch: record.launch, life })
        };
        self.table.after(after).filter_map(status).take(LIST_PAGE).collect()
    }

    fn leaks(&mut self) -> Result<Vec<Leak>> {
        self.look_again_at_ranges();
        leaks::find(&Known {
            instance: &self.instance,
            groups: &self.groups,
            records: &self.records,
            ids: self.table.ids().map(SandboxId::as_str).collect(),
            used: self.table.after(None).map(|(_, sandbox)| sandbox.record().slot).collect(),
            free: self.slots.free().iter().copied().collect(),
        })
    }

    fn list_disks(&self, after: Option<&SandboxId>) -> Result<Vec<SandboxId>> {
        let mut ids = self.disks()?;
        ids.retain(|id| Some(id) > after);
        ids.sort_unstable();
        ids.truncate(LIST_PAGE);
        Ok(ids)
    }

    /// All ids that have a disk, in no order.
    pub(super) fn disks(&self) -> Result<Vec<SandboxId>> {
        let names = self.roots.disks().map_err(Error::Root)?;
        Ok(names.iter().filter_map(|name| SandboxId::parse(name).ok()).collect())
    }
}
