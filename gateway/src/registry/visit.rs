//! A visit: proof that an agent answers, and the reason why its sandbox is not put to sleep for idleness. It is held for
//! as long as a request or a stream goes on, and belongs to one launch: after a sleep and a wake it is over.

use super::{Departure, Sandbox};
use std::ops::Deref;
use std::sync::Arc;

/// One use of a sandbox that runs.
#[derive(Debug)]
pub(crate) struct Visit {
    sandbox: Arc<Sandbox>,
    launch: u32,
}

impl Visit {
    /// Begins a visit, unless the sandbox does not run.
    pub(crate) fn begin(sandbox: &Arc<Sandbox>) -> Option<Self> {
        let launch = sandbox.enter()?;
        Some(Self { sandbox: Arc::clone(sandbox), launch })
    }

    /// Whether this gateway has heard the version of its agent.
    pub(crate) fn is_greeted(&self) -> bool {
        self.sandbox.greeted_launch() == self.launch
    }

    /// It has.
    pub(crate) fn greeted(&self) {
        self.sandbox.greet(self.launch);
    }

    /// Another visit of the same launch.
    pub(crate) fn again(&self) -> Self {
        self.sandbox.enter_again();
        Self { sandbox: Arc::clone(&self.sandbox), launch: self.launch }
    }

    /// Waits until the launch is over, and says why.
    pub(crate) fn over(&self) -> impl Future<Output = Departure> + Send + 'static {
        let (sandbox, launch) = (Arc::clone(&self.sandbox), self.launch);
        async move { sandbox.departure(launch).await }
    }
}

impl Deref for Visit {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.sandbox.leave();
    }
}
