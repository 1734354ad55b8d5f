//! Applies the members of a layer to a directory.

use super::attributes::Attributes;
use super::changes::{Changes, Meaning};
use super::failure::{Failure, Outcome, Step, quoted, refused};
use super::job::Job;
use super::limits;
use super::members::{Kind, Member, Members, Stream};
use super::place::{Path, Place};
use bulkhead_protocol::image::ImageExcess;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

const BLOCK: usize = 128 << 10;

/// What all layers of an image may still have together.
#[derive(Debug)]
pub(crate) struct Budget {
    entries: u64,
    bytes: u64,
    /// What the bytes began with, where the owner's ceiling is lower than the one for all.
    owners: Option<u64>,
}

impl Budget {
    /// For an image of an owner that may have so many bytes more.
    pub(crate) fn new(most: Option<u64>) -> Self {
        let owners = most.filter(|most| *most < limits::BYTES);
        Self { entries: limits::ENTRIES, bytes: owners.unwrap_or(limits::BYTES), owners }
    }

    pub(crate) fn take_entry(&mut self) -> Outcome {
        match self.entries.checked_sub(1) {
            Some(left) => self.entries = left,
            None => return refused(format!("the image has more than {} files", limits::ENTRIES)),
        }
        Ok(())
    }

    pub(crate) fn take_bytes(&mut self, bytes: u64) -> Outcome {
        match (self.bytes.checked_sub(bytes), self.owners) {
            (Some(left), _) => self.bytes = left,
            (None, Some(_)) => return Err(Failure::OverQuota(ImageExcess::Bytes)),
            (None, None) => return refused(format!("the image has more than {} bytes", limits::BYTES)),
        }
        Ok(())
    }
}

/// Somebody who is told that it goes on, and may say that it shall not.
pub(crate) trait Watch<S> {
    fn beat(&mut self, stream: &S) -> Outcome;
}

/// What a layer left beside its files.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) changes: Changes,
    /// Bytes of its files.
    pub(crate) bytes: u64,
}

/// Unpacks all members below `place`.
pub(crate) fn apply<S: Stream>(
    members: &mut Members<S>,
    place: &mut Place,
    budget: &mut Budget,
    watch: &mut dyn Watch<S>,
) -> Outcome<Applied> {
    let mut applied = Applied::default();
    let mut directories = Directories::default();
    let mut block = vec![0; BLOCK];
    while let Some(member) = members.next()? {
        budget.take_entry()?;
        watch.beat(&members.stream)?;
        let path = Path::parse(&member.name)?;
        match Meaning::of(&path)? {
            Meaning::Nothing => continue,
            Meaning::Change(change) => {
                applied.changes.add(change)?;
                continue;
            }
            Meaning::Plain => {}
        }
        let attributes = Attributes::of(&member)?;
        match &member.kind {
            Kind::Directory => {
                place.directory(&path)?;
                directories.add(path, attributes)?;
            }
            Kind::File | Kind::Sparse(_) => {
                budget.take_bytes(member.size)?;
                applied.bytes += member.size;
                let mut file = place.file(&path)?;
                fill(members, &member, &mut file, &mut block, watch)?;
                attributes.put_on_file(&file, path.bytes())?;
            }
            Kind::Symlink(target) => {
                place.symlink(&path, target)?;
                let (parent, name) = place.parent_of(&path)?;
                attributes.put_on_link(parent, name)?;
            }
            Kind::Link(target) => place.link(&path, &Path::parse(target)?)?,
            // Nobody could open one: mounts of sandboxes have no devices, and no user namespace makes any.
            Kind::Node => {}
        }
    }
    directories.put(place)?;
    Ok(applied)
}

fn fill<S: Stream>(
    members: &mut Members<S>,
    member: &Member,
    file: &mut File,
    block: &mut [u8],
    watch: &mut dyn Watch<S>,
) -> Outcome {
    let Kind::Sparse(pieces) = &member.kind else {
        return write(members, member, member.size, file, block, watch);
    };
    for (at, length) in pieces {
        file.seek(SeekFrom::Start(*at)).step("lseek", &member.name)?;
        write(members, member, *length, file, block, watch)?;
    }
    file.set_len(member.size).step("ftruncate", &member.name)
}

fn write<S: Stream>(
    members: &mut Members<S>,
    member: &Member,
    mut left: u64,
    file: &mut File,
    block: &mut [u8],
    watch: &mut dyn Watch<S>,
) -> Outcome {
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = members.content(&mut block[..most])?;
        if count == 0 {
            return refused(format!("{} is cut short", quoted(&member.name)));
        }
        file.write_all(&block[..count]).step("write", &member.name)?;
        left -= count as u64;
        watch.beat(&members.stream)?;
    }
    Ok(())
}

/// Directories, whose times change while they are filled: what the last member of each says is put on at the end.
#[derive(Debug, Default)]
struct Directories {
    all: BTreeMap<Path, Attributes>,
    bytes: usize,
}

impl Directories {
    fn add(&mut self, path: Path, attributes: Attributes) -> Outcome {
        self.bytes += path.bytes().len() + size_of::<(Path, Attributes)>();
        if self.bytes > limits::KEPT_PATHS {
            return refused("a layer has too many directories");
        }
        self.all.insert(path, attributes);
        Ok(())
    }

    /// What became something else meanwhile is left alone.
    fn put(&self, place: &Place) -> Outcome {
        for (path, attributes) in &self.all {
            if let Some(found) = place.find(path)? {
                attributes.put_on_directory(&File::from(found), path.bytes())?;
            }
        }
        Ok(())
    }
}

/// Whether the disk of the store has the room that an import leaves.
pub(crate) fn check_room(job: &Job) -> Outcome {
    let room = nix::sys::statvfs::fstatvfs(job.directory()).step("fstatvfs", b"store")?;
    let free = room.blocks_available().saturating_mul(room.fragment_size());
    if free < job.room_kept() { Err(Failure::NoRoom) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
