//! The state machine against random histories.

use super::*;
use crate::sandbox::{AutoSleep, Settings};
use bulkhead_protocol::Limits;
use proptest::prelude::*;
use std::collections::BTreeMap;

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
            limits,
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            ports: Vec::new(),
            region: None,
            auto_sleep: AutoSleep::Off,
        },
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1u32..4).prop_map(|launch| Event::Launched { launch }),
        Just(Event::LaunchFailed),
        (1u32..4).prop_map(|launch| Event::Died { launch }),
        Just(Event::Missing),
        Just(Event::Faulted),
        Just(Event::Delete),
    ]
}

proptest! {
    #[test]
    fn no_history_breaks_an_invariant(events in prop::collection::vec(event(), 0..40)) {
        let sandbox = Sandbox::new(facts("o"), State::NEW);
        let mut launch = 0;
        let mut deletes = 0;
        for event in events {
            let before = sandbox.state();
            let outcome = sandbox.apply(event);
            let after = sandbox.state();
            match outcome {
                Ok(state) => {
                    prop_assert_eq!(state, after);
                    prop_assert_ne!(before, after, "an accepted event changes something");
                }
                Err(_) => prop_assert_eq!(before, after, "a refused event changes nothing"),
            }
            if before == State::Deleting {
                prop_assert_eq!(outcome, Err(Refusal::Deleting));
            }
            prop_assert!(!after.is_creating() || before.is_creating(), "nothing returns to creating");
            if let State::Running { launch: now, .. } = after {
                prop_assert!(now >= launch, "launches only rise");
                launch = now;
            }
            if event == Event::Delete && outcome.is_ok() {
                deletes += 1;
            }
        }
        prop_assert!(deletes <= 1, "one delete wins");
    }
}

#[test]
fn a_death_of_an_earlier_launch_is_no_news() {
    let state = State::Running { launch: 3, health: Health::Sound };
    assert_eq!(state.after(Event::Died { launch: 2 }), Err(Refusal::Stale));
    assert_eq!(state.after(Event::Died { launch: 3 }), Ok(State::Killed));
}

#[test]
fn a_death_that_overtakes_the_birth_is_not_forgotten() {
    let state = State::NEW.after(Event::Died { launch: 1 }).unwrap();
    assert_eq!(state.after(Event::Launched { launch: 1 }), Ok(State::Killed));
    assert_eq!(
        state.after(Event::Launched { launch: 2 }),
        Ok(State::Running { launch: 2, health: Health::Sound })
    );
}

#[test]
fn another_organisation_and_a_dying_sandbox_do_not_resolve() {
    let registry = Registry::default();
    let id = facts("o").id;
    let sandbox = registry.insert(Sandbox::new(facts("o"), State::Killed)).unwrap();
    assert!(registry.resolve("o", &id).is_some());
    assert!(registry.resolve("p", &id).is_none());
    sandbox.apply(Event::Delete).unwrap();
    assert!(registry.resolve("o", &id).is_none());
    registry.remove(&id);
    assert!(registry.any(&id).is_none());
}

#[test]
fn one_sandbox_has_so_many_connections_and_no_more() {
    let sandbox = Sandbox::new(facts("o"), State::NEW);
    let mut held: Vec<_> = (0..limits::MAX_STREAMS).map(|_| sandbox.stream().unwrap()).collect();
    assert!(sandbox.stream().is_none());
    held.pop();
    assert!(sandbox.stream().is_some());
}
