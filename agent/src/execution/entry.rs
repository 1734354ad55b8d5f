//! What requests see of an execution, and what they may do to it, while its task drives it.

use super::input::{Input, Kind, Taken};
use super::leaf::Leaf;
use super::link::{Link, Manners, Wants};
use super::signal;
use super::terminal;
use crate::gate::Gate;
use bulkhead_protocol::agent::{
    ExecutionSpec, ExecutionStatus, Hold, IdempotencyKey, Killed, LISTED_SCRIPT, Program, SignalFailure,
    Size, Stdio,
};
use std::cell::{Cell, RefCell};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// Pause before a kill that failed for want of descriptors is tried again.
const KILL_PAUSE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) handle: u64,
    pub(crate) link: Rc<Link>,
    pub(crate) input: Input,
    about: About,
    /// `None` once nothing of it lives.
    leaf: RefCell<Option<Rc<Leaf>>>,
    kill_asked: Cell<bool>,
    dead: Gate,
}

/// What a list says of it, and what it is kept for.
#[derive(Debug)]
pub(crate) struct About {
    script: String,
    started_ms: u64,
    stdio: Stdio,
    hold: Hold,
    pub(crate) key: Option<IdempotencyKey>,
}

impl About {
    /// What is kept of a request.
    pub(crate) fn new(spec: ExecutionSpec) -> Self {
        let script = match spec.program {
            Program::Script(script) => beginning(&script, LISTED_SCRIPT).to_owned(),
            Program::Shell => String::new(),
        };
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let started_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Self { script, started_ms, stdio: spec.stdio, hold: spec.hold, key: spec.key }
    }

    /// Whether it goes on without its connection, and can still be asked about after its end.
    pub(crate) fn is_detached(&self) -> bool {
        self.hold == Hold::Detached || self.key.is_some()
    }

    /// What the answer to its start shows: the output of a terminal goes to whoever sits at it.
    pub(crate) fn shows(&self) -> Wants {
        match self.stdio {
            Stdio::Pipes(_) => Wants::Output,
            Stdio::Terminal(_) => Wants::End,
        }
    }

    /// A terminal's program waits for who sits at it; a command's for nobody.
    pub(crate) fn manners(&self) -> Manners {
        match self.stdio {
            Stdio::Pipes(_) => Manners::GoesOn,
            Stdio::Terminal(_) => Manners::Waits,
        }
    }

    /// As it was asked for.
    pub(crate) fn hold(&self) -> Hold {
        self.hold
    }
}

/// The first bytes of a text, cut between two characters.
fn beginning(text: &str, most: usize) -> &str {
    let cut = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..cut.unwrap_or(0)]
}

/// This execution cannot do that, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cannot;

impl Entry {
    /// A running execution.
    pub(crate) fn new(handle: u64, link: Rc<Link>, input: Input, leaf: Rc<Leaf>, about: About) -> Self {
        let leaf = RefCell::new(Some(leaf));
        Self { handle, link, input, about, leaf, kill_asked: Cell::new(false), dead: Gate::default() }
    }

    /// See [`About`].
    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    /// Nothing of it lives any more.
    pub(crate) fn is_dead(&self) {
        self.leaf.take();
        self.dead.open();
    }

    /// Whether a request killed it.
    pub(crate) fn kill_asked(&self) -> bool {
        self.kill_asked.get()
    }

    /// A line of the list, with no more than this of the script.
    pub(crate) fn status(&self, script_bytes: usize) -> ExecutionStatus {
        ExecutionStatus {
            handle: self.handle,
            script: beginning(&self.about.script, script_bytes).to_owned(),
            started_ms: self.about.started_ms,
            stdio: self.about.stdio,
            hold: self.about.hold,
            clients: self.link.clients(),
            offset: self.link.end(),
            ended: self.link.ended(),
        }
    }

    /// Kills everything of it, whatever its main process left behind included; comes back when nothing lives.
    pub(crate) async fn kill(&self) -> Killed {
        let leaf = self.leaf.borrow().clone();
        let Some(leaf) = leaf else { return Killed { processes: 0 } };
        // Before the kill: the task that drives it sees the death at once.
        if self.link.is_running() {
            self.kill_asked.set(true);
        }
        let processes = leaf.processes().map_or(0, |processes| processes.len());
        while leaf.kill().is_err() && self.leaf.borrow().is_some() {
            tokio::time::sleep(KILL_PAUSE).await;
        }
        tokio::select! {
            // Its own look, since the task may be busy with a slow reader; and the word of the task, since it may
            // remove the leaf before the kernel sends its notice, which it does no more often than each 10 ms.
            () = leaf.surely_emptied() => {}
            () = self.dead.opened() => {}
        }
        Killed { processes: u32::try_from(processes).unwrap_or(u32::MAX) }
    }

    /// Signals every process of it.
    ///
    /// # Errors
    /// [`Cannot`] after its end; in it, why not every process got it.
    pub(crate) fn signal(&self, number: u8) -> Result<Result<(), SignalFailure>, Cannot> {
        let leaf = self.leaf.borrow();
        let leaf = leaf.as_ref().filter(|_| self.link.is_running()).ok_or(Cannot)?;
        Ok(signal::every(leaf, i32::from(number)).map_err(|error| signal::failure(&error)))
    }

    /// Tells its terminal a size.
    ///
    /// # Errors
    /// [`Cannot`] after its end, or without a terminal.
    pub(crate) fn resize(&self, size: Size) -> Result<(), Cannot> {
        let master = self.input.master().ok_or(Cannot)?;
        terminal::resize(master.get_ref().as_fd(), size).map_err(|_| Cannot)
    }

    /// Whether it has standard input that is still open on our side.
    pub(crate) fn takes_input(&self) -> bool {
        self.input.kind() == Kind::Pipe && !self.input.is_closed()
    }

    /// Whether somebody can sit down at it.
    pub(crate) fn has_terminal(&self) -> bool {
        self.input.kind() == Kind::Terminal && self.link.is_running()
    }

    /// Whether another reader may have its output: an attached one has one at a time, which loses nothing.
    pub(crate) fn takes_reader(&self) -> bool {
        self.about.is_detached() || self.link.clients() == 0
    }

    /// Types into its terminal; waits while the program does not read.
    pub(crate) async fn type_in(&self, bytes: &[u8]) -> Taken {
        self.input.writer().await.write(bytes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_cut_between_characters() {
        assert_eq!(beginning("aß", 2), "a");
        assert_eq!(beginning("aß", 3), "aß");
        assert_eq!(beginning("a", 4096), "a");
    }
}
