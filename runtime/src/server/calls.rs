//! The calls of a gateway, one function each.

use super::{LAUNCH_PATIENCE, Server, Token};
use crate::conn::{Waiter, agent_listener};
use crate::error::{Error, Result, chain};
use crate::inspect::{Place, inspect};
use crate::launch::{Clock, Failed, Mapped, Prepared};
use crate::record::{Phase, Record};
use crate::sandbox::Sandbox;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{
    Call, CreateSandbox, LIST_PAGE, Life, MAX_HOSTNAME, MAX_IMAGE_NAME, RUNTIME_PROTOCOL, RefusalKind, Reply,
    SandboxStatus,
};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Instant;

impl Server {
    pub(super) fn call(&mut self, waiter: Waiter, call: Call) {
        match call {
            Call::Hello { protocol } if protocol == RUNTIME_PROTOCOL => {
                self.answer(waiter, Reply::Hello { protocol: RUNTIME_PROTOCOL });
            }
            Call::Hello { protocol } => {
                self.refuse(
                    waiter,
                    RefusalKind::Invalid,
                    format!("protocol {protocol}, not {RUNTIME_PROTOCOL}"),
                );
            }
            Call::ResolveImage { image } => match self.roots.resolve(&image) {
                Some(image) => self.answer(waiter, Reply::Image { image }),
                None => self.refuse(waiter, RefusalKind::UnknownImage, String::new()),
            },
            Call::Create(request) => self.create(waiter, request),
            Call::Destroy { id } => self.destroy(waiter, &id),
            Call::Inspect { id } => self.inspect(waiter, &id),
            Call::List { after } => {
                let page = self.list(after);
                self.answer(waiter, Reply::Sandboxes(page));
            }
        }
    }

    fn create(&mut self, waiter: Waiter, request: CreateSandbox) {
        if let Err((kind, detail)) = self.check(&request) {
            return self.refuse(waiter, kind, detail);
        }
        let slot = match self.slots.take() {
            Ok(slot) => slot,
            Err(error) => return self.refuse(waiter, error.kind(), chain(&error)),
        };
        let record = Record {
            id: request.id.clone(),
            slot,
            image: request.image,
            limits: request.limits,
            processors: self.launcher.host.choose(request.limits.cpu_millis, &self.load()),
            filters: self.launcher.digests.clone(),
            launch: 1,
            boot: self.records.boot().to_owned(),
            phase: Phase::Launching,
        };
        let mut clock = Clock::start();
        match self.launch(record.clone(), request.hostname, &mut clock) {
            Ok(mapped) => {
                let until = Instant::now() + LAUNCH_PATIENCE;
                if let Err(error) = self.poll.add(mapped.report(), Token::Report(slot.0)) {
                    return self.launch_failed(Failed { error, ..mapped.abandon() }, waiter);
                }
                self.insert(Sandbox::Launching { mapped: Box::new(mapped), clock, waiter, until });
            }
            Err(error) => {
                self.launch_failed(Failed { record, pidfd: None, error }, waiter);
            }
        }
    }

    fn inspect(&mut self, waiter: Waiter, id: &SandboxId) {
        let record = match self.sandboxes.get(id) {
            Some(Sandbox::Running { record, .. }) => record,
            Some(Sandbox::Dead { .. }) => {
                return self.refuse(waiter, RefusalKind::NotRunning, id.to_string());
            }
            // Nobody was told that it lives, or somebody will be told that it does not.
            Some(Sandbox::Launching { .. } | Sandbox::Ending(_)) | None => {
                return self.refuse(waiter, RefusalKind::Unknown, id.to_string());
            }
        };
        let Phase::Running(identity) = record.phase else {
            return self.refuse(waiter, RefusalKind::NotRunning, id.to_string());
        };
        let disk = self.roots.disk_limit(id).unwrap_or_else(|error| {
            tracing::error!(%id, "{}", chain(&*error));
            None
        });
        let place = Place { instance: &self.instance.name, groups: &self.groups, launcher: &self.launcher };
        match inspect(record, identity, place, disk) {
            Some(report) => self.answer(waiter, Reply::Isolation(report)),
            None => self.refuse(waiter, RefusalKind::NotRunning, id.to_string()),
        }
    }

    /// What each processor carries, in thousandths: every sandbox spreads evenly over its own.
    fn load(&self) -> BTreeMap<usize, u64> {
        let mut load = BTreeMap::new();
        for record in self.sandboxes.values().map(Sandbox::record) {
            let share = u64::from(record.limits.cpu_millis) / record.processors.len().max(1) as u64;
            for number in &record.processors {
                *load.entry(*number).or_insert(0) += share;
            }
        }
        load
    }

    /// The chain of a launch up to the point where its processes go on by themselves.
    fn launch(&mut self, record: Record, hostname: String, clock: &mut Clock) -> Result<Mapped> {
        let id = record.id.clone();
        let prepared = Prepared::record(&self.records, record, hostname)?;
        let listener = agent_listener(&self.instance, id.as_str())?;
        clock.mark("record and socket");
        let in_cgroup = prepared.limit(&self.groups)?;
        clock.mark("cgroups");
        let rooted = in_cgroup.root(&mut *self.roots)?;
        clock.mark("disk and root");
        let cloned = rooted.clone_child(&self.launcher, &listener)?;
        clock.mark("network and clone");
        let mapped = cloned.map()?;
        clock.mark("id maps");
        Ok(mapped)
    }

    /// The gateway checked all of this; who trusts a request because of its sender has one wall less.
    fn check(&self, request: &CreateSandbox) -> std::result::Result<(), (RefusalKind, String)> {
        if self.stop_by.is_some() {
            return Err((RefusalKind::NoRoom, "stopping".into()));
        }
        if self.sandboxes.contains_key(&request.id) {
            return Err((RefusalKind::Exists, request.id.to_string()));
        }
        check_texts(request).map_err(|what| (RefusalKind::Invalid, what))?;
        if request.image.len() > MAX_IMAGE_NAME || self.roots.resolve(&request.image).is_none() {
            return Err((RefusalKind::UnknownImage, String::new()));
        }
        Ok(())
    }

    pub(super) fn launch_failed(&mut self, failed: Failed, waiter: Waiter) {
        tracing::error!(id = %failed.record.id, "{}", chain(&failed.error));
        let reply = Reply::Refused { kind: failed.error.kind(), detail: chain(&failed.error) };
        self.begin_end_of(failed.record, failed.pidfd, vec![(waiter, reply)]);
    }

    pub(super) fn launch_too_late(&mut self, slot: u32) {
        let Some(sandbox) = self.take(slot) else { return };
        let Sandbox::Launching { mapped, waiter, .. } = sandbox else { return self.insert(sandbox) };
        self.poll.remove(mapped.report());
        self.launch_failed(mapped.abandon(), waiter);
    }

    fn destroy(&mut self, waiter: Waiter, id: &SandboxId) {
        if self.sandboxes.contains_key(id) {
            return self.begin_end(id, Some(waiter));
        }
        // A disk without a sandbox is what a reboot leaves.
        match self.discard_stray_disk(id) {
            Ok(true) => self.answer(waiter, Reply::Destroyed),
            Ok(false) => self.refuse(waiter, RefusalKind::Unknown, id.to_string()),
            Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
        }
    }

    fn discard_stray_disk(&mut self, id: &SandboxId) -> Result<bool> {
        let disks = self.roots.disks().map_err(Error::Root)?;
        if !disks.iter().any(|name| name == id.as_str()) {
            return Ok(false);
        }
        self.roots.discard(id).map_err(Error::Root)?;
        self.reaper.start(&mut self.poll);
        Ok(true)
    }

    fn list(&self, after: Option<SandboxId>) -> Vec<SandboxStatus> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let status = |sandbox: &Sandbox| {
            let life = match sandbox {
                Sandbox::Running { .. } => Life::Running,
                Sandbox::Dead { .. } => Life::Dead,
                // Nobody was told that it lives, or somebody will be told that it does not.
                Sandbox::Launching { .. } | Sandbox::Ending(_) => return None,
            };
            let record = sandbox.record();
            Some(SandboxStatus { id: record.id.clone(), launch: record.launch, life })
        };
        self.sandboxes
            .range((from, Bound::Unbounded))
            .filter_map(|(_, sandbox)| status(sandbox))
            .take(LIST_PAGE)
            .collect()
    }
}

/// The rules of a request that need no look at anything else.
pub(crate) fn check_texts(request: &CreateSandbox) -> std::result::Result<(), String> {
    if let Err(bounds) = request.limits.check() {
        return Err(format!("{} is not within {} and {}", bounds.field, bounds.least, bounds.most));
    }
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let hostname = &request.hostname;
    if hostname.is_empty() || hostname.len() > MAX_HOSTNAME || !hostname.bytes().all(allowed) {
        return Err("hostname".into());
    }
    Ok(())
}
