//! Launches: from a request to two processes that set themselves up, and what becomes of them.

use super::table::promise;
use super::{Server, Token};
use crate::conn::{Waiter, agent_listener};
use crate::error::{Error, Result, chain};
use crate::failpoint::failpoint;
use crate::launch::{Clock, Cloned, Failed, Mapped, Prepared};
use crate::record::{Fate, Listed, Phase, Record};
use crate::sandbox::Sandbox;
use crate::spec::mounts;
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::runtime::{CreateSandbox, Disk, RefusalKind, Reply, Scarce, is_hostname};
use bulkhead_sys::host::Here;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the processes of a sandbox may take from clone to exec.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(10);

/// What of a request is in no record.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    hostname: &'a str,
    named: &'a ImageName,
    disk: Disk,
}

/// Why a launch does not begin.
type Refusal = (RefusalKind, String);

impl Server {
    pub(super) fn create(&mut self, waiter: Waiter, request: CreateSandbox) {
        if let Err((kind, detail)) = self.check(&request) {
            return self.refuse(waiter, kind, detail);
        }
        if let Some(sandbox) = self.table.take_named(&request.id) {
            return self.create_after(sandbox, waiter, request);
        }
        if self.strays.contains_key(&request.id) {
            return self.create_after_stray(waiter, request);
        }
        match self.check_disk(&request) {
            Ok(()) => self.create_where_nothing_is(waiter, request),
            Err((kind, detail)) => self.refuse(waiter, kind, detail),
        }
    }

    fn create_where_nothing_is(&mut self, waiter: Waiter, request: CreateSandbox) {
        match self.is_stray(&request.id) {
            Ok(true) => self.create_after_stray(waiter, request),
            Ok(false) => self.begin_launch(waiter, request),
            Err(error) => self.refuse(waiter, error.kind(), chain(&error)),
        }
    }

    /// A launch whose id has one that is still ending begins when that has ended, if the disk is then as it wants it.
    fn create_after(&mut self, sandbox: Sandbox, waiter: Waiter, request: CreateSandbox) {
        match sandbox {
            Sandbox::Ending(mut ending) if waits_for(ending.fate, request.disk) && ending.next.is_none() => {
                ending.next = Some((waiter, request));
                self.table.insert(Sandbox::Ending(ending));
            }
            other => {
                self.table.insert(other);
                self.refuse(waiter, RefusalKind::Exists, request.id.to_string());
            }
        }
    }

    fn begin_launch(&mut self, waiter: Waiter, request: CreateSandbox) {
        let policy = self.policies.of(&request.named);
        // The gateway did the same; a kept disk may be older than what the operator says now.
        let limits = policy.most.lower(request.limits);
        let (denied, filters) = (policy.denied.clone(), policy.filters.clone());
        let mounts = policy.mounts();
        let promised = self.table.promised().saturating_add(promise(&limits));
        if let Err(scarce) = self.admission.admit(&Here, promised) {
            tracing::warn!(id = %request.id, ?scarce, "no room");
            self.counters.refused += 1;
            return self.refuse(waiter, RefusalKind::NoRoom(scarce), String::new());
        }
        let slot = match self.slots.take() {
            Ok(slot) => slot,
            Err(error) => return self.refuse(waiter, error.kind(), chain(&error)),
        };
        let record = Record {
            id: request.id.clone(),
            slot,
            image: request.image,
            limits,
            processors: self.launcher.host.choose(limits.cpu_millis, self.table.load()),
            filters,
            mounts,
            listed: Listed::Mounts,
            denied,
            launch: request.launch,
            boot: self.records.boot().to_owned(),
            phase: Phase::Launching(request.disk),
        };
        let mut clock = Clock::start();
        let asked = Asked { hostname: &request.hostname, named: &request.named, disk: request.disk };
        match self.launch(record, asked, &mut clock) {
            Ok(mapped) => {
                let until = Instant::now() + LAUNCH_PATIENCE;
                if let Err(error) = self.poll.add(mapped.report(), Token::Report(slot.0)) {
                    return self.launch_failed(Failed { error, ..mapped.abandon() }, waiter);
                }
                self.table.insert(Sandbox::Launching { mapped: Box::new(mapped), clock, waiter, until });
            }
            Err(failed) => self.launch_failed(*failed, waiter),
        }
    }

    /// The chain of a launch up to the point where its processes go on by themselves.
    fn launch(
        &mut self,
        record: Record,
        asked: Asked<'_>,
        clock: &mut Clock,
    ) -> std::result::Result<Mapped, Box<Failed>> {
        let cloned = self
            .begin_processes(record.clone(), asked, clock)
            .map_err(|error| Box::new(Failed { record, pidfd: None, error }))?;
        failpoint!(LaunchCloned);
        clock.mark("network and clone");
        let mapped = cloned.map()?;
        failpoint!(LaunchMapped);
        clock.mark("id maps");
        Ok(mapped)
    }

    /// Up to a first process, which waits.
    fn begin_processes(&mut self, record: Record, asked: Asked<'_>, clock: &mut Clock) -> Result<Cloned> {
        let id = record.id.clone();
        let spec = self.launcher.template.compose(&record, asked.hostname)?;
        clock.mark("spec");
        let prepared = Prepared::record(&self.records, record, spec, asked.disk)?;
        failpoint!(LaunchRecorded);
        let listener = agent_listener(&self.instance, id.as_str())?;
        failpoint!(LaunchSocket);
        clock.mark("record and socket");
        let in_cgroup = prepared.limit(&self.groups)?;
        failpoint!(LaunchGroups);
        clock.mark("cgroups");
        let shown = self.policies.of(asked.named).handles(&*self.roots)?;
        let rooted = in_cgroup.root(&mut *self.roots)?;
        failpoint!(LaunchRoot);
        clock.mark("disk and root");
        rooted.clone_child(&self.launcher, &mut self.networks, &listener, shown)
    }

    /// Both processes of a launch executed their program, or one failed.
    pub(super) fn launched(&mut self, slot: u32) {
        let Some(sandbox) = self.table.take(slot) else { return };
        let Sandbox::Launching { mapped, mut clock, waiter, .. } = sandbox else {
            return self.table.insert(sandbox);
        };
        self.poll.remove(mapped.report());
        failpoint!(LaunchExecuted);
        clock.mark("setup to exec");
        match mapped.finish(&self.records) {
            Ok(running) => {
                failpoint!(LaunchRunning);
                clock.mark("record again");
                tracing::debug!(id = %running.record.id, "launched: {clock}");
                self.times.add(&clock);
                self.counters.launched += 1;
                let launch = running.record.launch;
                let watched = self.watch_agent(&running.pidfd, slot);
                self.table.insert(Sandbox::Running {
                    record: running.record,
                    pidfd: running.pidfd,
                    turning: None,
                });
                if let Err(error) = watched {
                    tracing::error!("the end of an agent will go unnoticed: {}", chain(&error));
                }
                self.answer(waiter, Reply::Created { launch });
            }
            Err(failed) => self.launch_failed(*failed, waiter),
        }
    }

    pub(super) fn launch_failed(&mut self, failed: Failed, waiter: Waiter) {
        let shown = places(&failed.record);
        if matches!(failed.error, Error::Step { .. }) && !shown.is_empty() {
            // The step names the place: it lies in what is read-only, or a link or a file is on the way.
            let (id, image) = (&failed.record.id, &failed.record.image);
            tracing::error!(%id, %image, ?shown, "{}; check images.NAME.mounts", chain(&failed.error));
        } else {
            tracing::error!(id = %failed.record.id, "{}", chain(&failed.error));
        }
        self.counters.failed += 1;
        let reply = Reply::Refused { kind: failed.error.kind(), detail: chain(&failed.error) };
        let fate = failed.record.phase.fate();
        self.begin_end_of(failed.record, failed.pidfd, fate, vec![(waiter, reply)]);
    }

    pub(super) fn launch_too_late(&mut self, slot: u32) {
        let Some(sandbox) = self.table.take(slot) else { return };
        let Sandbox::Launching { mapped, waiter, .. } = sandbox else { return self.table.insert(sandbox) };
        self.poll.remove(mapped.report());
        self.launch_failed(mapped.abandon(), waiter);
    }

    /// A launch that nobody will be told of ends, and one that waits does not begin: whoever asks next what runs must
    /// not find it a moment after it was not there.
    pub(super) fn give_up_launches(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        if gone.is_empty() {
            return;
        }
        let is_gone = |waiter: &Waiter| gone.contains(&waiter.connection);
        for id in self.table.ids().cloned().collect::<Vec<_>>() {
            match self.table.get_mut(&id) {
                Some(Sandbox::Launching { mapped, waiter, .. }) if is_gone(waiter) => {
                    let fate = mapped.record().phase.fate();
                    self.begin_end(&id, fate, Vec::new());
                }
                Some(Sandbox::Ending(ending)) => drop(ending.next.take_if(|(waiter, _)| is_gone(waiter))),
                _ => {}
            }
        }
        for stray in self.strays.values_mut() {
            stray.next.take_if(|(waiter, _)| is_gone(waiter));
        }
        self.imports.forget(is_gone);
    }

    /// The gateway checked all of this; who trusts a request because of its sender has one wall less.
    fn check(&self, request: &CreateSandbox) -> std::result::Result<(), Refusal> {
        if self.stop_by.is_some() {
            return Err((RefusalKind::NoRoom(Scarce::Stopping), String::new()));
        }
        check_request(request).map_err(|what| (RefusalKind::Invalid, what))?;
        if request.disk == Disk::New && !self.roots.has_image(&request.image) {
            return Err((RefusalKind::UnknownImage, String::new()));
        }
        Ok(())
    }

    /// A new disk must not be there yet, a kept one must.
    fn check_disk(&self, request: &CreateSandbox) -> std::result::Result<(), Refusal> {
        let there = self.roots.has_disk(&request.id).map_err(|error| {
            let error = Error::Root(error);
            (error.kind(), chain(&error))
        })?;
        match (request.disk, there) {
            (Disk::New, false) | (Disk::Kept, true) => Ok(()),
            (Disk::New, true) => Err((RefusalKind::Exists, "its disk".into())),
            (Disk::Kept, false) => Err((RefusalKind::Unknown, "its disk".into())),
        }
    }
}

/// Where directories of the host would be shown.
fn places(record: &Record) -> Vec<&Path> {
    let shown = record.mounts.iter().filter(|mount| mounts::is_of_host(mount));
    shown.map(|mount| mount.destination().as_path()).collect()
}

/// Whether a launch with this disk finds what it needs when an end is over that leaves the disk to `fate`.
pub(super) fn waits_for(fate: Fate, disk: Disk) -> bool {
    matches!((fate, disk), (Fate::Keep, Disk::Kept) | (Fate::Discard, Disk::New))
}

/// The rules of a request that need no look at anything else.
pub(crate) fn check_request(request: &CreateSandbox) -> std::result::Result<(), String> {
    if let Err(bounds) = request.limits.check() {
        return Err(format!("{} is not within {} and {}", bounds.field, bounds.least, bounds.most));
    }
    if request.launch == 0 {
        return Err("launch".into());
    }
    if !is_hostname(&request.hostname) {
        return Err("hostname".into());
    }
    Ok(())
}
