//! Id maps of mounts: on disk everything belongs to one neutral range, in a sandbox to its own.

use crate::error::{Doing, Result};
use bulkhead_sys::fd;
use bulkhead_sys::userns::{self, Extent, IdRange};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// The two maps that a range needs, as user namespaces that no process is in.
#[derive(Debug)]
pub(crate) struct Maps {
    /// For what lies in the neutral range on disk: layers and uppers.
    pub(crate) neutral: OwnedFd,
    /// For what lies in host ids on disk: the host's own /usr.
    pub(crate) host: OwnedFd,
}

/// Ranges whose maps are kept: as many as come and go. The last ones are used again first.
const KEPT: usize = 64;

/// Makes maps, and keeps them for the next sandbox of the same range: a user namespace costs 0.3 ms.
#[derive(Debug, Default)]
pub(crate) struct MapCache {
    /// The last used is the last.
    kept: VecDeque<(IdRange, Maps)>,
}

impl MapCache {
    /// The maps from disk to `range`.
    pub(crate) fn get(&mut self, neutral: IdRange, range: IdRange) -> Result<&Maps> {
        let found = self.kept.iter().position(|(kept, _)| *kept == range);
        let entry = match found.and_then(|place| self.kept.remove(place)) {
            Some(entry) => entry,
            None => (range, make(neutral, range)?),
        };
        while self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(entry);
        Ok(&self.kept[self.kept.len() - 1].1)
    }
}

fn make(neutral: IdRange, range: IdRange) -> Result<Maps> {
    let from = |inside| Extent { inside, outside: range.base, count: range.count };
    // overlayfs makes its own directories in `work` as host root: without this line they have no owner, and
    // the mount comes back read-only instead of failing.
    let work = Extent { inside: 0, outside: 0, count: 1 };
    Ok(Maps {
        neutral: parked(&[from(neutral.base), work]).doing("make the map of layers")?,
        host: parked(&[from(0)]).doing("make the map of the host's files")?,
    })
}

/// Out of the way of launches, which copy the descriptors that are not parked.
fn parked(extents: &[Extent]) -> bulkhead_sys::Result<OwnedFd> {
    userns::detached(extents).map(fd::park)
}
