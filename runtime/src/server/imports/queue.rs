//! Who has to wait for an import, and whose turn is next.

use crate::conn::Waiter;
use bulkhead_protocol::image::ImportImage;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Orders that wait; one of each organisation.
const MOST: usize = 8;

/// An order that has no place yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) order: ImportImage,
    pub(super) waiter: Waiter,
    pub(super) source: OwnedFd,
    pub(super) progress: OwnedFd,
    /// Until when it waits.
    pub(super) until: Instant,
}

/// Those that wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Waiting>);

impl Queue {
    /// Whether one more of this owner may wait.
    pub(super) fn has_room(&self, org: Option<&str>) -> bool {
        let waits = org.is_some() && self.0.iter().any(|other| other.order.org.as_deref() == org);
        !waits && self.0.len() < MOST
    }

    pub(super) fn take(&mut self, new: Waiting) {
        self.0.push_back(new);
    }

    /// The first whose owner is none of `running`: an organisation has one place at most. The host's operator may have
    /// another where no organisation waits for it.
    pub(super) fn next(&mut self, running: &[Option<&str>]) -> Option<Waiting> {
        let owners = || self.0.iter().map(|waiting| waiting.order.org.as_deref());
        let first = owners().position(|owner| !running.contains(&owner));
        let place = first.or_else(|| owners().position(|owner| owner.is_none()))?;
        self.0.remove(place)
    }

    /// Those that waited too long.
    pub(super) fn late(&mut self, now: Instant) -> Vec<Waiting> {
        let (late, rest) = std::mem::take(&mut self.0).into_iter().partition(|waiting| waiting.until <= now);
        self.0 = rest;
        Vec::from(late)
    }

    /// Gives up those whose asker is gone: nothing of them has begun.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&Waiter) -> bool) {
        self.0.retain(|waiting| !is_gone(&waiting.waiter));
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.iter().map(|waiting| waiting.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_protocol::image::{ImageCeilings, ImageName};

    fn waiting(org: Option<&str>, connection: u64) -> Waiting {
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let name = ImageName::parse("a").unwrap();
        Waiting {
            order: ImportImage {
                org: org.map(str::to_owned),
                name,
                created_by: None,
                ceilings: ImageCeilings::default(),
            },
            waiter: Waiter { connection, seq: 1 },
            source: file(),
            progress: file(),
            until: Instant::now(),
        }
    }

    fn queue(orders: &[Option<&str>]) -> Queue {
        let mut queue = Queue::default();
        for (order, number) in orders.iter().zip(0..) {
            queue.take(waiting(*order, number));
        }
        queue
    }

    fn next(queue: &mut Queue, running: &[Option<&str>]) -> Option<u64> {
        queue.next(running).map(|waiting| waiting.waiter.connection)
    }

    #[test]
    fn an_organisation_has_one_place_and_whoever_waits_gets_the_other() {
        let mut orders = queue(&[Some("a"), Some("b"), None, None]);
        assert_eq!(next(&mut orders, &[Some("a")]), Some(1));
        assert_eq!(next(&mut orders, &[Some("a")]), Some(2));
        assert_eq!(next(&mut orders, &[Some("a"), None]), Some(3), "nobody else waits");
        assert_eq!(next(&mut orders, &[Some("a")]), None, "also where a place is free");
        assert_eq!(next(&mut orders, &[]), Some(0));
        let mut orders = queue(&[None, Some("a")]);
        assert_eq!(next(&mut orders, &[None]), Some(1), "an organisation goes before the host's second");
    }

    #[test]
    fn nobody_fills_the_queue_alone_and_it_ends() {
        let mut orders = queue(&[Some("a")]);
        assert!(!orders.has_room(Some("a")));
        for _ in 1..MOST {
            assert!(orders.has_room(None) && orders.has_room(Some("b")));
            orders.take(waiting(None, 8));
        }
        assert!(!orders.has_room(Some("b")));
        orders.forget(|waiter| waiter.connection == 8);
        assert_eq!(next(&mut orders, &[]), Some(0));
        assert!(queue(&[None]).late(Instant::now()).len() == 1);
    }
}
