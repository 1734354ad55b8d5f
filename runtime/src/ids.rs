//! Ranges of host ids: one per sandbox, claimed host-wide, so that two instances on one host never share.

use crate::error::{Doing, Error, Result};
use bulkhead_sys::error::Context;
use bulkhead_sys::userns::IdRange;
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// First host id of all ranges: above what distributions, systemd and subordinate id files give away.
pub(crate) const FIRST_ID: u32 = 1_879_048_192;
/// Ids of one range.
pub(crate) const RANGE: u32 = 65_536;
/// Ranges there are; the first is [`NEUTRAL`], the others are slots.
pub(crate) const RANGES: u32 = 4094;
/// Where claims lie: one file per range, so that the kernel decides who was first.
const CLAIMS: &str = "/run/bulkhead-ids";
/// The id inside a sandbox that its agent runs as; no command is started as it.
pub(crate) const AGENT_ID: u32 = 65_533;

/// The range that everything on disk belongs to; no process ever runs in it.
pub const NEUTRAL: IdRange = IdRange { base: FIRST_ID, count: RANGE };

/// Number of a range, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    pub(crate) fn range(self) -> IdRange {
        IdRange { base: FIRST_ID + self.0 * RANGE, count: RANGE }
    }

    /// Whether there is such a range, beside the neutral one.
    pub(crate) fn exists(self) -> bool {
        (1..RANGES).contains(&self.0)
    }

    /// The range that an id of the host lies in, if it is one of a sandbox.
    pub(crate) fn of_id(id: u32) -> Option<Self> {
        Some(Self(id.checked_sub(FIRST_ID)? / RANGE)).filter(|slot| slot.exists())
    }

    fn claim(self) -> PathBuf {
        Path::new(CLAIMS).join(self.range().base.to_string())
    }
}

/// The slots of one instance.
#[derive(Debug)]
pub(crate) struct Slots {
    instance: String,
    /// Claimed and unused; the last one freed is used next, since its id maps are made already.
    free: Vec<Slot>,
    /// Claimed, and somebody lived there at the start whom no record names: a process that is dead and not reaped yet,
    /// or one whose record was set aside.
    inhabited: Vec<Slot>,
    next: u32,
}

impl Slots {
    /// Finds what this instance claimed before. What is `used` by its sandboxes is not free, and what somebody else
    /// lives in is nobody's until it is empty.
    pub(crate) fn open(instance: &str, used: &HashSet<Slot>, inhabited: &HashSet<Slot>) -> Result<Self> {
        make_directory()?;
        let claimed = claimed_by(instance)?.into_iter().filter(|slot| !used.contains(slot));
        let (inhabited, free) = claimed.partition(|slot| inhabited.contains(slot));
        Ok(Self { instance: instance.to_owned(), free, inhabited, next: 1 })
    }

    /// Whether [`Self::look_again`] could find anything.
    pub(crate) fn has_inhabited(&self) -> bool {
        !self.inhabited.is_empty()
    }

    /// Takes back what nobody lives in any more.
    pub(crate) fn look_again(&mut self, inhabited: &HashSet<Slot>) {
        let (still, empty): (Vec<_>, Vec<_>) =
            self.inhabited.drain(..).partition(|slot| inhabited.contains(slot));
        self.inhabited = still;
        self.free.extend(empty);
    }

    /// Claimed for sandboxes to come.
    pub(crate) fn free(&self) -> &[Slot] {
        &self.free
    }

    /// A range that nothing on this host uses.
    pub(crate) fn take(&mut self) -> Result<Slot> {
        if let Some(slot) = self.free.pop() {
            return Ok(slot);
        }
        while self.next < RANGES {
            let slot = Slot(self.next);
            self.next += 1;
            if claim(slot, &self.instance)? {
                return Ok(slot);
            }
        }
        // Others may have given theirs back since.
        self.next = 1;
        Err(Error::NoIds)
    }

    /// Gives a range back: nothing may live in it any more.
    pub(crate) fn put_back(&mut self, slot: Slot) {
        self.free.push(slot);
    }

    /// Gives up the claims on all unused ranges.
    pub(crate) fn release_unused(&mut self) -> Result<()> {
        self.free.drain(..).try_for_each(release)
    }
}

fn make_directory() -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().mode(0o755).create(CLAIMS) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            crate::instance::check_directory(Path::new(CLAIMS), 0)
        }
        done => done.during("mkdir", || CLAIMS.into()).doing("make the directory of id claims"),
    }
}

/// False when somebody else was first.
fn claim(slot: Slot, instance: &str) -> Result<bool> {
    let made = fs::OpenOptions::new().write(true).create_new(true).open(slot.claim());
    let mut file = match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        made => made.during("open", || slot.claim().display().to_string()).doing("claim an id range")?,
    };
    file.write_all(instance.as_bytes()).during("write", || "claim".into()).doing("claim an id range")?;
    Ok(true)
}

fn release(slot: Slot) -> Result<()> {
    match fs::remove_file(slot.claim()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.during("unlink", || slot.claim().display().to_string()).doing("release an id range"),
    }
}

/// The ranges that an instance claims.
pub(crate) fn claimed_by(instance: &str) -> Result<Vec<Slot>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(CLAIMS).during("getdents", || CLAIMS.into()).doing("list id claims")? {
        let entry = entry.during("getdents", || CLAIMS.into()).doing("list id claims")?;
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let slot =
            number.filter(|id| *id > FIRST_ID && id % RANGE == 0).map(|id| Slot((id - FIRST_ID) / RANGE));
        // A claim that vanished meanwhile was somebody else's.
        if let (Some(slot), Ok(owner)) = (slot, fs::read_to_string(entry.path()))
            && owner == instance
        {
            out.push(slot);
        }
    }
    Ok(out)
}

/// Gives up every claim of an instance that owns nothing any more.
pub(crate) fn release_all(instance: &str) -> Result<()> {
    if Path::new(CLAIMS).exists() { claimed_by(instance)?.into_iter().try_for_each(release) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_fit_32_bits() {
        assert_eq!(Slot(1).range().base, NEUTRAL.base + NEUTRAL.count);
        let last = Slot(RANGES - 1).range();
        assert!(last.base.checked_add(last.count).is_some());
        assert!(AGENT_ID < last.count);
    }

    #[test]
    fn a_range_is_free_when_nobody_lives_in_it_any_more() {
        let [one, other] = [Slot(1), Slot(2)];
        let (free, inhabited) = (Vec::new(), vec![one, other]);
        let mut slots = Slots { instance: "bulkhead-test".to_owned(), free, inhabited, next: RANGES };
        slots.look_again(&HashSet::from([other]));
        assert_eq!((slots.free(), slots.has_inhabited()), (&[one][..], true));
        slots.look_again(&HashSet::new());
        assert_eq!((slots.free(), slots.has_inhabited()), (&[one, other][..], false));
    }
}
