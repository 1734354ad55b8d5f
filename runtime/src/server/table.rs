//! All sandboxes of the runtime, found by id and by slot, with sums that no event has to count again.

use crate::record::Record;
use crate::sandbox::Sandbox;
use bulkhead_protocol::limits::AGENT_MEMORY_BYTES;
use bulkhead_protocol::{Limits, SandboxId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Instant;

/// The sandboxes. One that changes its state is taken out and put in again.
#[derive(Debug, Default)]
pub(super) struct Table {
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    by_slot: HashMap<u32, SandboxId>,
    /// Slots of those that have to be looked at without an event.
    unfinished: BTreeSet<u32>,
    load: BTreeMap<usize, u64>,
    promised: u64,
}

impl Table {
    pub(super) fn insert(&mut self, sandbox: Sandbox) {
        let record = sandbox.record();
        let slot = record.slot.0;
        if sandbox.due().is_some() {
            self.unfinished.insert(slot);
        }
        for (number, share) in shares(record) {
            *self.load.entry(number).or_insert(0) += share;
        }
        self.promised += promise(&record.limits);
        self.by_slot.insert(slot, record.id.clone());
        self.sandboxes.insert(record.id.clone(), sandbox);
    }

    /// Takes the sandbox in a slot out.
    pub(super) fn take(&mut self, slot: u32) -> Option<Sandbox> {
        let id = self.by_slot.remove(&slot)?;
        self.take_named(&id)
    }

    /// Takes a sandbox out.
    pub(super) fn take_named(&mut self, id: &SandboxId) -> Option<Sandbox> {
        let sandbox = self.sandboxes.remove(id)?;
        let record = sandbox.record();
        self.by_slot.remove(&record.slot.0);
        self.unfinished.remove(&record.slot.0);
        self.promised -= promise(&record.limits);
        for (number, share) in shares(record) {
            if let Some(load) = self.load.get_mut(&number) {
                *load = load.saturating_sub(share);
            }
        }
        Some(sandbox)
    }

    pub(super) fn get(&self, id: &SandboxId) -> Option<&Sandbox> {
        self.sandboxes.get(id)
    }

    /// To change what the sums and the times of the table do not depend on.
    pub(super) fn get_mut(&mut self, id: &SandboxId) -> Option<&mut Sandbox> {
        self.sandboxes.get_mut(id)
    }

    pub(super) fn in_slot(&self, slot: u32) -> Option<&Sandbox> {
        self.by_slot.get(&slot).and_then(|id| self.sandboxes.get(id))
    }

    /// In order of id, those after `after`.
    pub(super) fn after(&self, after: Option<&SandboxId>) -> impl Iterator<Item = (&SandboxId, &Sandbox)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.sandboxes.range::<SandboxId, _>((from, Bound::Unbounded))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &SandboxId> {
        self.sandboxes.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.sandboxes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sandboxes.is_empty()
    }

    /// What each processor carries, in thousandths: every sandbox spreads evenly over its own.
    pub(super) fn load(&self) -> &BTreeMap<usize, u64> {
        &self.load
    }

    /// Bytes of memory that the limits of all allow.
    pub(super) fn promised(&self) -> u64 {
        self.promised
    }

    /// When the next one has to be looked at.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting().map(|(_, due)| due).min()
    }

    /// The slots of those that have to be looked at now.
    pub(super) fn due(&self, now: Instant) -> Vec<u32> {
        self.waiting().filter(|(_, due)| *due <= now).map(|(slot, _)| slot).collect()
    }

    fn waiting(&self) -> impl Iterator<Item = (u32, Instant)> {
        self.unfinished.iter().filter_map(|slot| Some((*slot, self.in_slot(*slot)?.due()?)))
    }
}

/// Bytes of memory that a sandbox may take, its agent included.
pub(super) fn promise(limits: &Limits) -> u64 {
    limits.memory_bytes + AGENT_MEMORY_BYTES
}

fn shares(record: &Record) -> impl Iterator<Item = (usize, u64)> {
    let share = u64::from(record.limits.cpu_millis) / record.processors.len().max(1) as u64;
    record.processors.clone().into_iter().map(move |number| (number, share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digests::Digests;
    use crate::ids::Slot;
    use crate::record::{Fate, Listed, Phase};
    use crate::sandbox::Ending;

    fn sandbox(letter: char, slot: u32) -> Sandbox {
        let limits = Limits {
            memory_bytes: 64 << 20,
            cpu_millis: 1500,
            pids: 32,
            open_files: 1024,
            disk_bytes: 64 << 20,
        };
        let record = Record {
            id: SandboxId::parse(&letter.to_string().repeat(30)).unwrap(),
            slot: Slot(slot),
            image: bulkhead_protocol::image::ImageId::host(),
            limits,
            processors: vec![0, 3],
            filters: Digests::default(),
            mounts: Vec::new(),
            listed: Listed::Mounts,
            denied: Vec::new(),
            launch: 1,
            boot: String::new(),
            phase: Phase::Ending(Fate::Keep),
        };
        Sandbox::Ending(Box::new(Ending::begin(record, Fate::Keep, None)))
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut table = Table::default();
        table.insert(sandbox('a', 1));
        table.insert(sandbox('b', 2));
        assert_eq!(table.load(), &BTreeMap::from([(0, 1500), (3, 1500)]));
        let later = Instant::now() + std::time::Duration::from_secs(1);
        assert_eq!((table.due(later), table.due(Instant::now())), (vec![1, 2], vec![]));
        let taken = table.take(1).unwrap();
        assert_eq!(table.load(), &BTreeMap::from([(0, 750), (3, 750)]));
        assert_eq!(table.promised(), promise(&taken.record().limits));
        assert!(table.take(1).is_none() && table.take_named(&taken.record().id.clone()).is_none());
        table.insert(taken);
        let b = SandboxId::parse(&"b".repeat(30)).unwrap();
        assert!(table.take_named(&b).is_some() && table.take(2).is_none());
        assert_eq!((table.len(), table.due(later)), (1, vec![1]));
    }

    #[test]
    fn a_page_begins_after_an_id() {
        let mut table = Table::default();
        for (letter, slot) in [('a', 3), ('b', 2), ('c', 1)] {
            table.insert(sandbox(letter, slot));
        }
        let a = SandboxId::parse(&"a".repeat(30)).unwrap();
        let slots: Vec<_> = table.after(Some(&a)).map(|(_, sandbox)| sandbox.record().slot.0).collect();
        assert_eq!(slots, [2, 1]);
    }
}
