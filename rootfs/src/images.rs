//! The images of an instance: which there are, what they are called, and where their trees lie.
//!
//! The runtime alone writes names; what an import makes it finds finished (see [`crate::import`]).

pub(crate) mod names;
pub(crate) mod places;
pub(crate) mod record;
pub(crate) mod sharing;

use crate::disk::Disks;
use crate::error::{Doing, Error, Result};
use crate::import::Failure;
use bulkhead_protocol::image::{
    Collected, FoundImage, IMAGE_PAGE, ImageCeilings, ImageDetails, ImageExcess, ImageId, ImageName,
    ImageRow, ImportImage, MostLimits,
};
use bulkhead_protocol::runtime::ImagesOf;
use bulkhead_sys::error::Context;
use names::{Given, Names};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use places::{LAYERS, Places, TREES};
use record::Record;
use sharing::Sharing;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

/// All images but the built-in one.
#[derive(Debug)]
pub(crate) struct Images {
    places: Places,
    sharing: Sharing,
    records: BTreeMap<ImageId, Record>,
    names: Names,
    trees: OwnedFd,
    /// What the last sweep found that nothing needed.
    unused_before: BTreeSet<ImageId>,
}

impl Images {
    /// Looks at what is there, whoever has it; `sharing` is for imports from here on. What an import left that did not come
    /// to its end goes to the trash.
    pub(crate) fn open(places: Places, sharing: Sharing) -> Result<Self> {
        places.clear_unfinished()?;
        let trees: BTreeSet<_> = places.list(TREES)?.into_iter().collect();
        let records = record::read_all(&places)?;
        let records: BTreeMap<_, _> = records
            .into_iter()
            .filter(|record| trees.contains(&record.tree()))
            .map(|r| (r.id.clone(), r))
            .collect();
        let known: BTreeSet<_> = records.values().map(Record::tree).collect();
        for name in trees.iter().filter(|name| !known.contains(*name)) {
            places.discard(TREES, name)?;
        }
        let mut names = Names::read(&places)?;
        names.keep(|given| records.contains_key(&given.id));
        let trees = places.open_directory(TREES)?;
        Ok(Self { places, sharing, records, names, trees, unused_before: BTreeSet::new() })
    }

    /// `org`'s own before the host's.
    pub(crate) fn resolve(&self, org: Option<&str>, name: &ImageName) -> Option<FoundImage> {
        let own = org.and_then(|org| self.names.get(Some(org), name));
        let given = own.or_else(|| self.names.get(None, name))?;
        let defaults = self.records.get(&given.id)?.defaults.clone();
        Some(FoundImage { name: name.clone(), id: given.id.clone(), defaults, most: MostLimits::default() })
    }

    pub(crate) fn has(&self, id: &ImageId) -> bool {
        self.records.contains_key(id)
    }

    /// The root of an image, as a layer.
    pub(crate) fn tree(&self, id: &ImageId) -> Result<OwnedFd> {
        let record = self.records.get(id).ok_or_else(|| Error::UnknownImage(id.to_string()))?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.trees, record.tree().as_str(), flags, Mode::empty())
            .during("openat", || record.tree())
            .doing("open the tree of an image")
    }

    /// A page of rows in the order of owner and name.
    pub(crate) fn list(&self, of: &ImagesOf, skip: u64) -> Vec<ImageRow> {
        let wanted = |given: &&Given| match of {
            ImagesOf::All => true,
            ImagesOf::Org(org) => given.org.as_ref().is_none_or(|owner| owner == org),
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        self.names
            .all()
            .filter(wanted)
            .filter_map(|given| self.row(given))
            .skip(skip)
            .take(IMAGE_PAGE)
            .collect()
    }

    /// One image of exactly this owner.
    pub(crate) fn inspect(
        &self,
        org: Option<&str>,
        name: &ImageName,
        disks: &Disks,
    ) -> Result<Option<ImageDetails>> {
        let Some(given) = self.names.get(org, name) else { return Ok(None) };
        let (Some(row), Some(record)) = (self.row(given), self.records.get(&given.id)) else {
            return Ok(None);
        };
        let sandboxes = disks.images()?.iter().filter(|id| **id == given.id).count() as u64;
        Ok(Some(ImageDetails {
            row,
            defaults: record.defaults.clone(),
            diff_ids: record.diff_ids.clone(),
            sandboxes,
        }))
    }

    fn row(&self, given: &Given) -> Option<ImageRow> {
        let record = self.records.get(&given.id)?;
        Some(ImageRow {
            org: given.org.clone(),
            name: given.name.clone(),
            id: given.id.unowned(),
            bytes: record.bytes,
            layers: u32::try_from(record.diff_ids.len()).unwrap_or(u32::MAX),
            created_us: given.created_us,
            created_by: given.created_by.clone(),
        })
    }

    /// Gives a name to what a finished import put into the store.
    pub(crate) fn name(&mut self, job: &str, order: &ImportImage) -> Result<ImageRow> {
        let record = record::read_published(&self.places, job, self.owner(order))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let given = Given {
            org: order.org.clone(),
            name: order.name.clone(),
            id: record.id.clone(),
            created_us: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
            created_by: order.created_by.clone(),
        };
        self.records.insert(record.id.clone(), record);
        let mut names = self.names.clone();
        names.set(given.clone())?;
        names.write(&self.places)?;
        self.names = names;
        self.row(&given).ok_or_else(|| Error::UnknownImage(given.id.to_string()))
    }

    /// Whose alone it is what this import makes.
    pub(crate) fn owner<'o>(&self, order: &'o ImportImage) -> Option<&'o str> {
        self.sharing.owner(order.org.as_deref())
    }

    /// How many bytes an image may have that is to get this name, which may be another's so far; `None` where the owner
    /// has no ceiling.
    pub(crate) fn room_for(&self, order: &ImportImage) -> std::result::Result<Option<u64>, Failure> {
        let org = order.org.as_deref();
        if !self.names.has_room(org, &order.name) {
            return Err(Failure::Refused("the owner has as many images as may be".into()));
        }
        let ImageCeilings { names, bytes } = order.ceilings;
        let others = || self.names.beside(org, &order.name);
        if names.is_some_and(|most| others().count() as u64 >= most) {
            return Err(Failure::OverQuota(ImageExcess::Names));
        }
        let Some(most) = bytes else { return Ok(None) };
        // Two names of one image are one.
        let ids: BTreeSet<_> = others().map(|given| &given.id).collect();
        let used: u64 =
            ids.into_iter().filter_map(|id| self.records.get(id)).map(|record| record.bytes).sum();
        match most.checked_sub(used) {
            None | Some(0) => Err(Failure::OverQuota(ImageExcess::Bytes)),
            left => Ok(left),
        }
    }

    /// Takes a name away; false where it is not there.
    pub(crate) fn remove(&mut self, org: Option<&str>, name: &ImageName) -> Result<bool> {
        let mut names = self.names.clone();
        if !names.remove(org, name) {
            return Ok(false);
        }
        names.write(&self.places)?;
        self.names = names;
        Ok(true)
    }

    /// Moves to the trash what no name and no disk needs. No import may be under way: it counts on the layers that it
    /// found.
    pub(crate) fn collect(&mut self, disks: &Disks) -> Result<Collected> {
        let unused = self.unused(disks)?;
        self.discard(&unused)
    }

    /// The same with images that were not needed at the last sweep either: somebody may just have found one by its name.
    pub(crate) fn sweep(&mut self, disks: &Disks) -> Result<Collected> {
        let (ripe, rest): (Vec<_>, Vec<_>) =
            self.unused(disks)?.into_iter().partition(|id| self.unused_before.contains(id));
        let collected = self.discard(&ripe)?;
        self.unused_before = rest.into_iter().collect();
        Ok(collected)
    }

    fn unused(&self, disks: &Disks) -> Result<Vec<ImageId>> {
        let named: BTreeSet<_> = self.names.all().map(|given| &given.id).collect();
        let mut unused: Vec<_> = self.records.keys().filter(|id| !named.contains(id)).cloned().collect();
        // Disks are many; most of the time nobody has to ask them.
        if !unused.is_empty() {
            let used: BTreeSet<_> = disks.images()?.into_iter().collect();
            unused.retain(|id| !used.contains(id));
        }
        Ok(unused)
    }

    /// Moves these images to the trash, and the layers that no other has.
    fn discard(&mut self, unused: &[ImageId]) -> Result<Collected> {
        for id in unused {
            let Some(record) = self.records.get(id) else { continue };
            // The record first: one without a tree is passed over by a start, a tree without a record is cleared away.
            record::remove(&self.places, record)?;
            self.places.discard(TREES, &record.tree())?;
            self.records.remove(id);
        }
        let needed: BTreeSet<_> = self.records.values().flat_map(Record::layers).collect();
        let layers = self.places.list(LAYERS)?;
        let unneeded: Vec<_> = layers.iter().filter(|name| !needed.contains(*name)).collect();
        for name in &unneeded {
            self.places.discard(LAYERS, name)?;
        }
        Ok(Collected { layers: unneeded.len() as u64, images: unused.len() as u64 })
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }
}
