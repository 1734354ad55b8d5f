//! Pages against a walk over everything, whatever has happened to the sandboxes before.

use super::super::machine::*;
use super::{facts, sandbox_of};
use crate::registry::{Registry, Sandbox};
use bulkhead_protocol::SandboxId;
use proptest::prelude::*;
use std::sync::Arc;

const ORGS: [&str; 2] = ["o", "p"];

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Of one of [`ORGS`], in one of three moments, with a label or without.
    Insert(usize, i64, bool),
    /// Of the sandbox with this number.
    Apply(usize, Event),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let event = prop_oneof![
        Just(Event::Launched { launch: 1 }),
        Just(Event::LaunchFailed { launch: 1 }),
        Just(Event::Died { launch: 1 }),
        Just(Event::Sleep),
        Just(Event::Stopped { launch: 1 }),
        Just(Event::Wake),
        Just(Event::Delete),
    ];
    prop_oneof![
        3 => (0..ORGS.len(), 0..3_i64, any::<bool>()).prop_map(|(org, at, labelled)| Step::Insert(org, at, labelled)),
        4 => (0..20_usize, event).prop_map(|(number, event)| Step::Apply(number, event)),
        1 => (0..20_usize).prop_map(Step::Remove),
    ]
}

fn id(number: usize) -> SandboxId {
    let letters: String = (0..30).map(|place| if number >> place & 1 == 1 { 'b' } else { 'a' }).collect();
    SandboxId::parse(&letters).unwrap()
}

fn take(registry: &Registry, step: Step, made: &mut usize) {
    match step {
        Step::Insert(org, created_us, labelled) => {
            let mut facts = facts(ORGS[org]);
            facts.id = id(*made);
            facts.created_us = created_us;
            if labelled {
                facts.settings.labels.insert("k".to_owned(), "v".to_owned());
            }
            registry.insert(sandbox_of(facts, State::NEW)).unwrap();
            *made += 1;
        }
        // What the machine refuses changes nothing, also not what is counted.
        Step::Apply(number, event) => drop(registry.any(&id(number)).map(|sandbox| sandbox.apply(event))),
        Step::Remove(number) => registry.remove(&id(number)),
    }
}

/// What a list of `org` has, by a walk over everything.
fn walk(registry: &Registry, org: &str, labels: &[(String, String)]) -> Vec<SandboxId> {
    let listed = |sandbox: &Arc<Sandbox>| {
        sandbox.facts.org == org
            && sandbox.state().is_listed()
            && labels.iter().all(|(key, value)| sandbox.facts.settings.labels.get(key) == Some(value))
    };
    let mut rows: Vec<_> = registry.all().into_iter().filter(listed).collect();
    rows.sort_by_key(|sandbox| (-sandbox.facts.created_us, std::cmp::Reverse(sandbox.facts.id.clone())));
    rows.iter().map(|sandbox| sandbox.facts.id.clone()).collect()
}

proptest! {
    #[test]
    fn every_page_is_a_part_of_the_walk(steps in proptest::collection::vec(step(), 0..60), limit in 1..6_usize) {
        let registry = Registry::default();
        let mut made = 0;
        for step in steps {
            take(&registry, step, &mut made);
        }
        let label = [("k".to_owned(), "v".to_owned())];
        for (org, labels) in ORGS.iter().flat_map(|org| [(org, &[][..]), (org, &label[..])]) {
            let all = walk(&registry, org, labels);
            for start in (0..=all.len() + limit).step_by(limit) {
                let page = registry.page(org, start..start + limit, labels);
                let ids: Vec<_> = page.rows.iter().map(|sandbox| sandbox.facts.id.clone()).collect();
                let wanted: Vec<_> = all.iter().skip(start).take(limit).cloned().collect();
                prop_assert_eq!((ids, page.total), (wanted, all.len()));
            }
        }
    }
}

#[test]
fn what_is_no_more_counts_nowhere_whoever_holds_it() {
    let registry = Registry::default();
    let total = || registry.page("o", 0..0, &[]).total;
    let kept = registry.insert(sandbox_of(facts("o"), State::NEW)).unwrap();
    let other = super::Facts { id: id(1), ..facts("o") };
    registry.insert(sandbox_of(other, State::NEW)).unwrap();
    assert_eq!(total(), 2);
    registry.remove(&kept.facts.id);
    kept.apply(Event::Launched { launch: 1 }).unwrap();
    assert_eq!(total(), 1);
    registry.remove(&id(1));
    assert!(registry.read().shelves.is_empty(), "an organisation without sandboxes takes no room");
}
