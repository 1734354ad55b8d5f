//! What a change of the state means to whoever follows it. What is under way is told when it has happened.

use super::{Rest, State};

impl State {
    /// The name of the event, where coming here from `from` is one.
    pub(crate) fn news(self, from: State) -> Option<&'static str> {
        match (from, self) {
            (State::Creating(_), State::Running(_)) => Some("sandbox.created"),
            (State::Waking { from: Rest::Asleep, .. }, State::Running(_)) => Some("sandbox.woken"),
            (State::Waking { from: Rest::Killed | Rest::Failed, .. }, State::Running(_)) => {
                Some("sandbox.started")
            }
            (State::Frozen(_) | State::Thawing(_), State::Running(_)) => Some("sandbox.thawed"),
            (State::Frozen(_), State::Frozen(_)) => None,
            (_, State::Frozen(_)) => Some("sandbox.frozen"),
            (State::Sleeping { .. }, State::Asleep { .. }) => Some("sandbox.slept"),
            (State::Killed { .. }, State::Killed { .. }) => None,
            // A launch that failed leads back to where it was.
            (State::Waking { from: Rest::Killed, birth }, State::Killed { launch })
                if birth.launch > launch =>
            {
                None
            }
            (_, State::Killed { .. }) => Some("sandbox.killed"),
            (State::Creating(_), State::Failed { .. }) => Some("sandbox.failed"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Birth, Run};
    use super::*;

    #[test]
    fn what_has_happened_is_told_once() {
        let (running, birth) = (State::Running(Run::sound(1)), Birth::of(1));
        let asleep = State::Asleep { launch: 1 };
        let waking = |from| State::Waking { birth: Birth::of(2), from };
        for (from, to, told) in [
            (State::Creating(birth), running, Some("sandbox.created")),
            (running, State::Sleeping { launch: 1 }, None),
            (State::Sleeping { launch: 1 }, asleep, Some("sandbox.slept")),
            (asleep, waking(Rest::Asleep), None),
            (waking(Rest::Asleep), running, Some("sandbox.woken")),
            (waking(Rest::Asleep), asleep, None),
            (waking(Rest::Killed), running, Some("sandbox.started")),
            (waking(Rest::Killed), State::Killed { launch: 1 }, None),
            (running, State::Killed { launch: 1 }, Some("sandbox.killed")),
            (State::Freezing(Run::sound(1)), State::Frozen(Run::sound(1)), Some("sandbox.frozen")),
            (State::Thawing(Run::sound(1)), running, Some("sandbox.thawed")),
            (running, running, None),
            (State::Creating(birth), State::Deleting, None),
        ] {
            assert_eq!(to.news(from), told, "{from:?} to {to:?}");
        }
    }
}
