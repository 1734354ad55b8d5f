//! The state machine against a smaller one: one word, the number of the last launch, and a table. Random histories,
//! with news that come late, early or twice.

use super::super::machine::*;
use super::{Fame, Sandbox, facts};
use crate::news::News;
use crate::quota::{Accounts, Quota};
use proptest::prelude::*;

/// A state without what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Creating,
    Running,
    Sleeping,
    Asleep,
    Waking(Rest),
    Freezing,
    Frozen,
    Thawing,
    Killed,
    Failed,
    Deleting,
}

/// What the machine must do, as a table.
#[derive(Debug, Clone, Copy)]
struct Model {
    word: Word,
    launch: u32,
    /// Whether the launch under way has died already.
    dead: bool,
}

impl Model {
    const NEW: Self = Self { word: Word::Creating, launch: 1, dead: false };

    /// The next word, where the event is about the present launch or about none.
    fn next(self, event: Event) -> Option<Word> {
        use Word::*;
        let born = if self.dead { Killed } else { Running };
        Some(match (self.word, event) {
            (Creating, Event::Launched { .. }) if self.dead => return None,
            (Creating | Waking(_), Event::Launched { .. }) => born,
            (Creating, Event::LaunchFailed { .. }) => Failed,
            (Creating, Event::Withdrawn { .. }) => Deleting,
            (Waking(Rest::Asleep), Event::LaunchFailed { .. }) => Asleep,
            (Waking(Rest::Killed), Event::LaunchFailed { .. }) => Killed,
            (Waking(Rest::Failed), Event::LaunchFailed { .. }) => Failed,
            (Running | Frozen, Event::Sleep) => Sleeping,
            (Sleeping, Event::Stopped { .. }) => Asleep,
            (Asleep, Event::Wake) => Waking(Rest::Asleep),
            (Killed, Event::Wake) => Waking(Rest::Killed),
            (Failed, Event::Wake) => Waking(Rest::Failed),
            (Running, Event::Freeze) => Freezing,
            (Freezing, Event::Froze { .. }) => Frozen,
            (Freezing, Event::FreezeFailed { .. }) | (Frozen, Event::Thaw) => Thawing,
            (Thawing, Event::Thawed { .. }) => Running,
            (Running | Freezing | Frozen | Thawing, Event::Died { .. }) => Killed,
            (Running | Asleep | Killed | Failed | Frozen, Event::Seen { motion, .. }) => match motion {
                Motion::Moving => Running,
                Motion::Still => Frozen,
            },
            (Running | Sleeping | Asleep | Frozen | Killed | Failed, Event::Delete) => Deleting,
            _ => return None,
        })
    }

    fn apply(&mut self, event: Event) {
        let about = launch_of(event);
        let newer = matches!(event, Event::Seen { .. }) && about.is_some_and(|launch| launch > self.launch);
        if about.is_some_and(|launch| launch != self.launch) && !newer {
            return;
        }
        if matches!((self.word, event), (Word::Creating | Word::Waking(_), Event::Died { .. })) {
            self.dead = true;
            return;
        }
        let Some(word) = self.next(event) else { return };
        if newer {
            self.launch = about.unwrap_or(self.launch);
        }
        if matches!(word, Word::Waking(_)) {
            self.launch += 1;
            self.dead = false;
        }
        self.word = word;
    }
}

fn launch_of(event: Event) -> Option<u32> {
    match event {
        Event::Launched { launch }
        | Event::LaunchFailed { launch }
        | Event::Withdrawn { launch }
        | Event::Stopped { launch }
        | Event::Froze { launch }
        | Event::FreezeFailed { launch }
        | Event::Thawed { launch }
        | Event::Died { launch }
        | Event::Seen { launch, .. } => Some(launch),
        Event::Sleep | Event::Wake | Event::Freeze | Event::Thaw | Event::Faulted | Event::Delete => None,
    }
}

/// Word and launch of a state.
fn seen(state: State) -> (Word, Option<u32>) {
    match state {
        State::Creating(birth) => (Word::Creating, Some(birth.launch)),
        State::Running(run) => (Word::Running, Some(run.launch)),
        State::Sleeping { launch } => (Word::Sleeping, Some(launch)),
        State::Asleep { launch } => (Word::Asleep, Some(launch)),
        State::Waking { birth, from } => (Word::Waking(from), Some(birth.launch)),
        State::Freezing(run) => (Word::Freezing, Some(run.launch)),
        State::Frozen(run) => (Word::Frozen, Some(run.launch)),
        State::Thawing(run) => (Word::Thawing, Some(run.launch)),
        State::Killed { launch } => (Word::Killed, Some(launch)),
        State::Failed { launch } => (Word::Failed, Some(launch)),
        State::Deleting => (Word::Deleting, None),
    }
}

fn event() -> impl Strategy<Value = Event> {
    let launch = 1u32..5;
    let motion = prop_oneof![Just(Motion::Moving), Just(Motion::Still)];
    let told = launch.clone().prop_flat_map(|launch| {
        prop::sample::select(vec![
            Event::Launched { launch },
            Event::LaunchFailed { launch },
            Event::Withdrawn { launch },
            Event::Stopped { launch },
            Event::Froze { launch },
            Event::FreezeFailed { launch },
            Event::Thawed { launch },
            Event::Died { launch },
        ])
    });
    let asked =
        prop::sample::select(vec![Event::Sleep, Event::Wake, Event::Freeze, Event::Thaw, Event::Faulted]);
    prop_oneof![
        10 => told,
        10 => asked,
        2 => (launch, motion).prop_map(|(launch, motion)| Event::Seen { launch, motion }),
        1 => Just(Event::Delete),
    ]
}

fn goal() -> impl Strategy<Value = Goal> {
    prop::sample::select(vec![Goal::Awake, Goal::Started, Goal::Asleep, Goal::Frozen, Goal::Thawed])
}

/// What the driver of a busy state says in the end.
fn driven(state: State) -> Event {
    match state {
        State::Creating(Birth { launch, fate: Fate::Died }) => Event::LaunchFailed { launch },
        State::Creating(birth) | State::Waking { birth, .. } => Event::Launched { launch: birth.launch },
        State::Sleeping { launch } => Event::Stopped { launch },
        State::Freezing(run) => Event::Froze { launch: run.launch },
        State::Thawing(run) => Event::Thawed { launch: run.launch },
        other => panic!("{other:?} is not busy"),
    }
}

proptest! {
    #[test]
    fn every_history_ends_where_the_model_says(events in prop::collection::vec(event(), 0..80)) {
        let (mut state, mut model) = (State::NEW, Model::NEW);
        for event in events {
            let before = state;
            match state.after(event) {
                Ok(next) => {
                    prop_assert_ne!(before, next, "an accepted event changes something");
                    state = next;
                }
                Err(refusal) => {
                    let deleting = before == State::Deleting;
                    prop_assert_eq!(refusal == Refusal::Deleting, deleting);
                    let sleeping = matches!(before, State::Sleeping { .. });
                    let busy = event == Event::Delete && before.is_busy() && !sleeping;
                    prop_assert_eq!(refusal == Refusal::Busy, busy);
                }
            }
            model.apply(event);
            let (word, launch) = seen(state);
            prop_assert_eq!(word, model.word, "{:?} after {:?}", state, event);
            prop_assert!(launch.is_none_or(|launch| launch == model.launch));
        }
    }

    /// What runs has its share, however it came to run; what rests has none; what goes keeps what it had.
    #[test]
    fn a_share_is_taken_while_something_runs(events in prop::collection::vec(event(), 0..80)) {
        let facts = facts("o");
        let share = facts.settings.share();
        let account = Accounts::default().of("o");
        account.set(Quota { cpu_millis: Some(share.cpu_millis), ..Quota::UNLIMITED });
        let sandbox = Sandbox::new(facts, State::NEW, Fame::Unknown, account.take_sandbox(share).unwrap(), News::default().of("o"));
        let mut taken = true;
        for event in events {
            let state = sandbox.apply(event).unwrap_or_else(|_| sandbox.state());
            taken = if state == State::Deleting { taken } else { !state.is_at_rest() };
            prop_assert_eq!(account.take_sandbox(share).is_err(), taken, "{:?} after {:?}", state, event);
        }
        sandbox.release();
        prop_assert!(account.take_sandbox(share).is_ok());
    }

    /// From anywhere, whoever wants a sandbox somewhere gets there or is told why not, in a few steps.
    #[test]
    fn every_goal_is_reached_or_refused(
        events in prop::collection::vec(event(), 0..40), goal in goal()
    ) {
        let mut state = events.into_iter().fold(State::NEW, |state, event| state.after(event).unwrap_or(state));
        for _ in 0..8 {
            match state.toward(goal) {
                Way::There => {
                    let right = match goal {
                        Goal::Awake | Goal::Started | Goal::Thawed => matches!(state, State::Running(_)),
                        Goal::Asleep => matches!(state, State::Asleep { .. }),
                        Goal::Frozen => matches!(state, State::Frozen(_)),
                    };
                    prop_assert!(right, "{:?} is not {:?}", state, goal);
                    return Ok(());
                }
                Way::No(obstacle) => {
                    let dead = matches!(state, State::Killed { .. } | State::Failed { .. });
                    prop_assert!(!dead || goal != Goal::Started, "{:?}", obstacle);
                    return Ok(());
                }
                Way::Step(event) => {
                    let next = state.after(event);
                    prop_assert!(next.is_ok_and(State::is_busy), "{:?} in {:?}", event, state);
                    state = next.unwrap();
                }
                Way::Wait => state = state.after(driven(state)).unwrap(),
            }
        }
        prop_assert!(false, "{:?} is never reached from {:?}", goal, state);
    }
}

#[test]
fn a_death_of_an_earlier_launch_is_no_news() {
    let state = State::Running(Run::sound(3));
    assert_eq!(state.after(Event::Died { launch: 2 }), Err(Refusal::Stale));
    assert_eq!(state.after(Event::Died { launch: 3 }), Ok(State::Killed { launch: 3 }));
}

#[test]
fn a_death_that_overtakes_the_birth_is_not_forgotten() {
    let state = State::NEW.after(Event::Died { launch: 1 }).unwrap();
    assert_eq!(
        state.after(Event::Launched { launch: 1 }),
        Err(Refusal::Stale),
        "who drives it says what follows"
    );
    let waking = State::Asleep { launch: 1 }.after(Event::Wake).unwrap();
    let waking = waking.after(Event::Died { launch: 2 }).unwrap();
    assert_eq!(waking.after(Event::Launched { launch: 2 }), Ok(State::Killed { launch: 2 }));
}

#[test]
fn only_the_first_launch_is_withdrawn() {
    let withdrawn = Event::Withdrawn { launch: 1 };
    assert_eq!(State::NEW.after(withdrawn), Ok(State::Deleting));
    let waking = State::Killed { launch: 0 }.after(Event::Wake).unwrap();
    assert_eq!(waking.after(withdrawn), Err(Refusal::Stale));
    assert_eq!(State::Running(Run::sound(1)).after(withdrawn), Err(Refusal::Stale));
}
