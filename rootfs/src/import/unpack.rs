//! The first step of an import: reads the source, and unpacks the layers that the store lacks.

use super::decode::Layer;
use super::digest::Digest;
use super::failure::{Outcome, refused};
use super::job::{self, Job, Layers};
use super::layer::{self, Budget, Watch};
use super::limits;
use super::members::{Members, Stream};
use super::place::Place;
use super::plan::{Plan, Stored};
use super::progress::Progress;
use super::source::{Given, Source};
use crate::images::record::Record;
use bulkhead_protocol::image::{ImageId, ImportProgress};
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// Bytes between two looks at the room of the disk.
const LOOK_EVERY: u64 = 64 << 20;
/// Members between two looks.
const ENTRIES_EVERY: u64 = 10_000;

/// Reads the source and unpacks what `layers` lack into the directory of the job. Every layer is read and checked to its
/// end, also one that the store has: who knows a digest alone gets nothing by it.
///
/// # Errors
/// The first rule that the source breaks, or step that failed.
pub fn unpack(job: &Job, layers: &Layers, given: Given, progress: &mut Progress) -> Outcome {
    let plan = Plan::of(&Source::read(given)?)?;
    let unpacked = job::make_directory(job.directory(), job::LAYERS, 0o700)?;
    let mut budget = Budget::new(job.most());
    let (mut seen, mut bytes) = (BTreeSet::new(), 0);
    let of = u32::try_from(plan.layers.len()).unwrap_or(u32::MAX);
    for ((stored, diff_id), number) in plan.layers.iter().zip(&plan.described.diff_ids).zip(1..) {
        let total = stored.blob.size;
        let mut watch = Told { job, progress, number, of, total, looked_at: 0, entries: 0 };
        watch.tell(0);
        let has = if seen.insert(diff_id.clone()) { layers.find(diff_id)? } else { None };
        if has.is_some() || directory_exists(&unpacked, diff_id)? {
            check(stored, diff_id, &mut budget, &mut watch)?;
        } else {
            one(&unpacked, stored, diff_id, &mut budget, &mut watch)?;
        }
        watch.tell(total);
        let found = match has {
            Some(has) => has,
            None => job::make_directory(unpacked.as_fd(), diff_id.hex(), 0o700)?,
        };
        bytes += job::bytes_of(found.as_fd())?;
    }
    let id = ImageId::parse(plan.id.as_str()).or_else(|error| refused(error.to_string()))?;
    let diff_ids = plan.described.diff_ids.iter().map(|digest| digest.as_str().to_owned()).collect();
    job.write_image(&Record { id, diff_ids, defaults: plan.described.defaults, bytes })
}

fn directory_exists(unpacked: &impl AsFd, diff_id: &Digest) -> Outcome<bool> {
    Ok(job::directory(unpacked.as_fd(), diff_id.hex())?.is_some())
}

/// Unpacks one layer, and makes sure that it is the one it should be.
fn one(
    unpacked: &impl AsFd,
    stored: &Stored,
    diff_id: &Digest,
    budget: &mut Budget,
    watch: &mut Told<'_>,
) -> Outcome {
    let home = job::make_directory(unpacked.as_fd(), diff_id.hex(), 0o700)?;
    let root = job::make_directory(home.as_fd(), job::ROOT, 0o755)?;
    let mut members = Members::new(Layer::open(&stored.blob, limits::BYTES)?);
    let applied = layer::apply(&mut members, &mut Place::new(root), budget, watch)?;
    finish(members.stream, stored, diff_id)?;
    job::write(home.as_fd(), job::CHANGES, &applied.changes.to_bytes())?;
    job::write(home.as_fd(), job::BYTES, applied.bytes.to_string().as_bytes())
}

/// Reads one layer to its end without unpacking it.
fn check(stored: &Stored, diff_id: &Digest, budget: &mut Budget, watch: &mut Told<'_>) -> Outcome {
    let mut layer = Layer::open(&stored.blob, limits::BYTES)?;
    let mut block = vec![0; 128 << 10];
    loop {
        match layer.read(&mut block)? {
            0 => break,
            count => budget.take_bytes(count as u64)?,
        }
        watch.beat(&layer)?;
    }
    finish(layer, stored, diff_id)
}

fn finish(layer: Layer, stored: &Stored, diff_id: &Digest) -> Outcome {
    let digests = layer.finish()?;
    if let Some(wanted) = &stored.digest
        && *wanted != digests.stored
    {
        return refused(format!("a layer is not {}: its content is another", wanted.as_str()));
    }
    if digests.plain != *diff_id {
        return refused(format!("a layer is not {}, as the configuration says", diff_id.as_str()));
    }
    Ok(())
}

/// Looks after one layer while it is read.
struct Told<'a> {
    job: &'a Job,
    progress: &'a mut Progress,
    number: u32,
    of: u32,
    total: u64,
    looked_at: u64,
    entries: u64,
}

impl Told<'_> {
    fn tell(&mut self, done: u64) {
        let (number, of, total) = (self.number, self.of, self.total);
        self.progress.tell(&ImportProgress::Layer { number, of, done, total });
    }
}

impl Watch<Layer> for Told<'_> {
    fn beat(&mut self, layer: &Layer) -> Outcome {
        self.entries += 1;
        if layer.bytes() - self.looked_at >= LOOK_EVERY || self.entries.is_multiple_of(ENTRIES_EVERY) {
            self.looked_at = layer.bytes();
            layer::check_room(self.job)?;
        }
        let (number, of, total) = (self.number, self.of, self.total);
        let done = layer.stored_bytes().min(total);
        self.progress.tell_now_and_then(&|| ImportProgress::Layer { number, of, done, total });
        Ok(())
    }
}
