//! What is taken: each gives back what it took when it is dropped.

use super::account::{Account, Over};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// What is counted one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Execution,
    Stream,
    Connection,
}

/// One of a kind, until dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) account: Arc<Account>,
    pub(super) kind: Kind,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.give_back(self.kind);
    }
}

/// What one sandbox takes of processors and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) cpu_millis: u64,
    pub(crate) memory_bytes: u64,
}

/// Whether a sandbox takes its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    Working,
    Resting,
    /// Everything was given back.
    Gone,
}

/// A sandbox's place, and its share while it works. Lives as long as the sandbox's entry in the registry.
#[derive(Debug)]
pub(crate) struct SandboxHold {
    account: Arc<Account>,
    share: Share,
    load: Mutex<Load>,
}

impl SandboxHold {
    pub(super) fn new(account: Arc<Account>, share: Share, load: Load) -> Self {
        Self { account, share, load: Mutex::new(load) }
    }

    /// The sandbox takes its share (again): before it is started. Done twice it counts once.
    pub(crate) fn work(&self) -> Result<(), Over> {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        if *load == Load::Resting {
            self.account.take_share(self.share)?;
            *load = Load::Working;
        }
        Ok(())
    }

    /// The sandbox has its share, whatever the ceilings say: it runs already. Done twice it counts once.
    pub(crate) fn adopt(&self) {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        if *load == Load::Resting {
            self.account.adopt_share(self.share);
            *load = Load::Working;
        }
    }

    /// The sandbox keeps its place and nothing else: it sleeps or is dead. Done twice it counts once.
    pub(crate) fn rest(&self) {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        if *load == Load::Working {
            self.account.give_share_back(self.share);
            *load = Load::Resting;
        }
    }

    /// Gives everything back: the sandbox is no more, whoever may still look at it.
    pub(crate) fn release(&self) {
        self.rest();
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        if *load != Load::Gone {
            self.account.give_sandbox_back();
            *load = Load::Gone;
        }
    }
}

impl Drop for SandboxHold {
    fn drop(&mut self) {
        self.release();
    }
}
