//! The registry: who finds what, how many may use it, and that rest and use exclude each other.

mod listing;
mod model;

use super::*;
use crate::auth::Scopes;
use crate::news::News;
use crate::quota::Accounts;
use crate::sandbox::{AutoSleep, Facts, MadeOf, Settings};
use bulkhead_protocol::Limits;
use std::collections::BTreeMap;
use std::time::Duration;

/// With a place of its own.
fn sandbox_of(facts: Facts, state: State) -> Sandbox {
    let hold = Accounts::default().of(&facts.org).adopt_sandbox(facts.settings.share());
    Sandbox::new(facts, state, Fame::Known, hold, News::default().of("o"))
}

fn facts(org: &str) -> Facts {
    let limits =
        Limits { memory_bytes: 64 << 20, cpu_millis: 500, pids: 32, open_files: 64, disk_bytes: 64 << 20 };
    Facts {
        id: SandboxId::parse(&"a".repeat(30)).unwrap(),
        org: org.to_owned(),
        created_by: "u".to_owned(),
        created_us: 1,
        name: "n".to_owned(),
        image: "code:latest".to_owned(),
        settings: Settings {
            made_of: MadeOf::default(),
            limits,
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            ports: Vec::new(),
            region: None,
            auto_sleep: AutoSleep::Off,
            idle_timeout_s: None,
            ttl_s: None,
            expires: None,
        },
    }
}

fn running() -> Arc<Sandbox> {
    Arc::new(sandbox_of(facts("o"), State::Running(Run::sound(1))))
}

/// What an earlier gateway began to delete is told by this one; what nobody knew is not.
#[tokio::test(start_paused = true)]
async fn the_end_of_what_was_known_is_told() {
    for (fame, first) in [(Fame::Known, "event:sandbox.deleted\n"), (Fame::Unknown, ":\n\n")] {
        let (registry, feed) = (Registry::default(), News::default().of("o"));
        let hold = Accounts::default().of("o").adopt_sandbox(facts("o").settings.share());
        let dying = Sandbox::new(facts("o"), State::Deleting, fame, hold, Arc::clone(&feed));
        let id = registry.insert(dying).unwrap().facts.id.clone();
        let mut reader = feed.follow(None, Scopes::STAR).unwrap();
        registry.remove(&id);
        assert!(reader.next().await.starts_with(first.as_bytes()), "{fame:?}");
    }
}

#[test]
fn another_organisation_and_a_dying_sandbox_do_not_resolve() {
    let registry = Registry::default();
    let id = facts("o").id;
    let sandbox = registry.insert(sandbox_of(facts("o"), State::Killed { launch: 1 })).unwrap();
    assert!(registry.resolve("o", &id).is_some());
    assert!(registry.resolve("p", &id).is_none());
    sandbox.apply(Event::Delete).unwrap();
    assert!(registry.resolve("o", &id).is_none());
    registry.remove(&id);
    assert!(registry.any(&id).is_none());
}

#[test]
fn one_sandbox_has_so_many_connections_and_no_more() {
    let sandbox = sandbox_of(facts("o"), State::NEW);
    let mut held: Vec<_> = (0..limits::MAX_STREAMS).map(|_| sandbox.stream().unwrap()).collect();
    assert!(sandbox.stream().is_none());
    held.pop();
    assert!(sandbox.stream().is_some());
}

#[tokio::test(start_paused = true)]
async fn nobody_rests_while_somebody_visits() {
    let sandbox = running();
    let minute = Duration::from_secs(60);
    let visit = Visit::begin(&sandbox).unwrap();
    let second = visit.again();
    tokio::time::advance(minute * 2).await;
    assert_eq!(sandbox.advance_if_idle(Goal::Asleep, minute), None);
    drop(visit);
    assert_eq!(sandbox.idle(), None, "the second is still there");
    drop(second);
    assert_eq!(sandbox.advance_if_idle(Goal::Asleep, minute), None, "the time counts from its end");
    tokio::time::advance(minute).await;
    let asleep = Advance::Begun(State::Sleeping { launch: 1 });
    assert_eq!(sandbox.advance_if_idle(Goal::Asleep, minute), Some(asleep));
    assert!(Visit::begin(&sandbox).is_none(), "who comes later waits");
}

#[tokio::test]
async fn a_visit_ends_with_its_launch_also_when_the_next_runs_already() {
    let sandbox = running();
    let visit = Visit::begin(&sandbox).unwrap();
    let over = visit.over();
    for event in [
        Event::Freeze,
        Event::Froze { launch: 1 },
        Event::Sleep,
        Event::Stopped { launch: 1 },
        Event::Wake,
        Event::Launched { launch: 2 },
    ] {
        sandbox.apply(event).unwrap();
    }
    assert_eq!(over.await, Departure::Slept);
    let visit = Visit::begin(&sandbox).unwrap();
    sandbox.apply(Event::Died { launch: 2 }).unwrap();
    assert_eq!(visit.over().await, Departure::Died);
}

#[test]
fn news_of_an_older_snapshot_change_nothing() {
    let sandbox = running();
    let (_, version) = sandbox.snapshot();
    for event in [Event::Freeze, Event::Froze { launch: 1 }] {
        sandbox.apply(event).unwrap();
    }
    let moving = Event::Seen { launch: 1, motion: Motion::Moving };
    assert_eq!(sandbox.apply_since(version, moving), Err(Refusal::Stale));
    assert_eq!(sandbox.state(), State::Frozen(Run::sound(1)));
}
