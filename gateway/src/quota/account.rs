//! One organisation's counters, behind one lock that is never held across an await.

use super::Quota;
use super::bucket::Bucket;
use super::hold::{Held, Kind, Load, SandboxHold, Share};
use crate::error::ApiError;
use crate::limits;
use crate::rate::Limiter;
use bulkhead_protocol::limits::MIB;
use hyper::StatusCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// A ceiling would be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    most: u64,
    what: &'static str,
}

impl Over {
    /// Of a ceiling that somebody else keeps.
    pub(crate) fn of(most: u64, what: &'static str) -> Self {
        Self { most, what }
    }
}

impl From<Over> for ApiError {
    fn from(Over { most, what }: Over) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, format!("quota: at most {most} {what}")).of_limit(what)
    }
}

/// What is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    sandboxes: u64,
    cpu_millis: u64,
    memory_bytes: u64,
    executions: u64,
    streams: u64,
    connections: u64,
}

/// Whose ceilings an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Those of everybody of whom nothing was said.
    Usual,
    /// Its own.
    Own,
}

#[derive(Debug)]
struct State {
    quota: Quota,
    source: Source,
    used: Used,
    requests: Bucket,
    bytes: Bucket,
}

/// One organisation's.
#[derive(Debug)]
pub(crate) struct Account {
    state: Mutex<State>,
    /// Its refused requests in the audit log: a flood of them is cut, so that it drives nobody's lines out.
    pub(crate) refusals: Limiter,
}

/// Adds to a counter unless that exceeds its ceiling.
fn add(used: u64, more: u64, most: Option<u64>, what: &'static str) -> Result<u64, Over> {
    let sum = used.saturating_add(more);
    match most {
        Some(most) if sum > most => Err(Over { most, what }),
        Some(_) | None => Ok(sum),
    }
}

impl State {
    fn with_share(&self, share: Share) -> Result<Used, Over> {
        let Self { quota, used, .. } = self;
        let bytes = quota.memory_mib.map(|mib| mib.saturating_mul(MIB));
        let cpu_millis =
            add(used.cpu_millis, share.cpu_millis, quota.cpu_millis, "thousandths of processors")?;
        let memory_bytes = add(used.memory_bytes, share.memory_bytes, bytes, "bytes of memory")?;
        Ok(Used { cpu_millis, memory_bytes, ..*used })
    }
}

impl Account {
    fn new(quota: Quota, source: Source) -> Self {
        let now = Instant::now();
        let (requests, bytes) = (Bucket::new(now), Bucket::new(now));
        let state = Mutex::new(State { quota, source, used: Used::default(), requests, bytes });
        Self { state, refusals: Limiter::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one request.
    pub(crate) fn request(&self) -> Result<(), Over> {
        let mut state = self.lock();
        let Some(rate) = state.quota.requests_per_second else { return Ok(()) };
        let over = Over { most: rate, what: "requests per second" };
        state.requests.take(Instant::now(), rate, limits::REQUEST_BURST).ok_or(over)
    }

    /// Counts bytes that were sent.
    pub(crate) fn sent(&self, bytes: u64) {
        let mut state = self.lock();
        if let Some(rate) = state.quota.bytes_per_second {
            state.bytes.spend(Instant::now(), bytes, rate);
        }
    }

    /// How long to wait before more is sent.
    pub(crate) fn debt(&self) -> Duration {
        let state = self.lock();
        match state.quota.bytes_per_second {
            Some(_) => state.bytes.debt(Instant::now(), limits::BYTE_BURST),
            None => Duration::ZERO,
        }
    }

    /// Takes one of a kind.
    pub(crate) fn take(self: &Arc<Self>, kind: Kind) -> Result<Held, Over> {
        let mut state = self.lock();
        let State { quota, used, .. } = &mut *state;
        let connections = Some(limits::ORG_CONNECTIONS);
        let (count, most, what) = match kind {
            Kind::Execution => (&mut used.executions, quota.executions, "executions"),
            Kind::Stream => (&mut used.streams, quota.streams, "streams"),
            Kind::Connection => (&mut used.connections, connections, "connections"),
        };
        *count = add(*count, 1, most, what)?;
        Ok(Held { account: Arc::clone(self), kind })
    }

    /// Takes a place for a sandbox that is about to be made, and its share.
    pub(crate) fn take_sandbox(self: &Arc<Self>, share: Share) -> Result<SandboxHold, Over> {
        let mut state = self.lock();
        let sandboxes = add(state.used.sandboxes, 1, state.quota.sandboxes, "sandboxes")?;
        state.used = Used { sandboxes, ..state.with_share(share)? };
        drop(state);
        Ok(SandboxHold::new(Arc::clone(self), share, Load::Working))
    }

    /// Counts a sandbox that exists, whatever the ceilings say: at a start. It counts as working.
    pub(crate) fn adopt_sandbox(self: &Arc<Self>, share: Share) -> SandboxHold {
        let mut state = self.lock();
        state.used.sandboxes = state.used.sandboxes.saturating_add(1);
        drop(state);
        self.adopt_share(share);
        SandboxHold::new(Arc::clone(self), share, Load::Working)
    }

    pub(super) fn adopt_share(&self, share: Share) {
        let used = &mut self.lock().used;
        used.cpu_millis = used.cpu_millis.saturating_add(share.cpu_millis);
        used.memory_bytes = used.memory_bytes.saturating_add(share.memory_bytes);
    }

    pub(super) fn take_share(&self, share: Share) -> Result<(), Over> {
        let mut state = self.lock();
        state.used = state.with_share(share)?;
        Ok(())
    }

    pub(super) fn give_share_back(&self, share: Share) {
        let used = &mut self.lock().used;
        used.cpu_millis = used.cpu_millis.saturating_sub(share.cpu_millis);
        used.memory_bytes = used.memory_bytes.saturating_sub(share.memory_bytes);
    }

    pub(super) fn give_sandbox_back(&self) {
        let used = &mut self.lock().used;
        used.sandboxes = used.sandboxes.saturating_sub(1);
    }

    pub(super) fn give_back(&self, kind: Kind) {
        let used = &mut self.lock().used;
        let count = match kind {
            Kind::Execution => &mut used.executions,
            Kind::Stream => &mut used.streams,
            Kind::Connection => &mut used.connections,
        };
        *count = count.saturating_sub(1);
    }

    /// The ceilings.
    pub(crate) fn quota(&self) -> Quota {
        self.lock().quota
    }

    /// Sets the ceilings; what is above one stays, and nothing is added.
    pub(crate) fn set(&self, quota: Quota) {
        let mut state = self.lock();
        (state.quota, state.source) = (quota, Source::Own);
    }

    /// The same of one that has none of its own.
    fn set_usual(&self, quota: Quota) {
        let mut state = self.lock();
        if state.source == Source::Usual {
            state.quota = quota;
        }
    }
}

/// The accounts by organisation.
#[derive(Debug, Default)]
pub(crate) struct Accounts(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    usual: Quota,
    accounts: HashMap<String, Arc<Account>>,
}

impl Known {
    fn add(&mut self, org: String, own: Option<Quota>) -> Arc<Account> {
        let (quota, source) = own.map_or((self.usual, Source::Usual), |own| (own, Source::Own));
        let account = self.accounts.entry(org).or_insert_with(|| Arc::new(Account::new(quota, source)));
        Arc::clone(account)
    }
}

impl Accounts {
    /// With what the store says of organisations, and what those have of whom it says nothing.
    pub(crate) fn new(usual: Quota, quotas: impl IntoIterator<Item = (String, Option<Quota>)>) -> Self {
        let mut known = Known { usual, accounts: HashMap::new() };
        for (org, own) in quotas {
            known.add(org, own);
        }
        Self(RwLock::new(known))
    }

    /// The account of `org`; one that was not there has the usual quota.
    pub(crate) fn of(&self, org: &str) -> Arc<Account> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known.accounts.get(org) {
            return Arc::clone(account);
        }
        drop(known);
        self.0.write().unwrap_or_else(PoisonError::into_inner).add(org.to_owned(), None)
    }

    /// Changes what those have of whom nothing else was said.
    pub(crate) fn set_usual(&self, quota: Quota) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.usual = quota;
        known.accounts.values().for_each(|account| account.set_usual(quota));
    }
}

#[cfg(test)]
mod tests;
