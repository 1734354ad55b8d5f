//! Sandboxes made ahead: the image and the limits that clients ask for most, no organisation, no name. A create that fits
//! takes one and gives it its name. Nobody sees one before; one that was anybody's never comes back.
//!
//! Their rows say `pooled`: the next start destroys what it finds. Refilled by one task, off the path of requests.
//!
//! A death is told to the pool before it is looked for in the registry, and who takes one out asks the pool once its entry
//! is there: so there is no moment at which nobody learns of it.

mod refill;

pub(crate) use refill::{clear, destroy, drain, refill};

use super::launch::{born, hostname};
use super::{create, runtime_error};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::failpoint::failpoint;
use crate::limits;
use crate::quota::SandboxHold;
use crate::registry::{Event, Sandbox};
use crate::sandbox::{Facts, usual_limits};
use crate::store::{Claim, Row, Status};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::ImageId;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// One that waits for its tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spare {
    id: SandboxId,
    image: ImageId,
}

/// Where one is that does not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    /// It is being made, or ended: the runtime may list it or not.
    Between,
    /// It was taken, and runs.
    Taken,
    /// It was on its way when it died.
    Died,
}

/// Those that wait, and what the refilling has to know.
#[derive(Debug)]
pub(crate) struct Pool {
    size: AtomicUsize,
    state: Mutex<Spares>,
    changed: Notify,
    /// Something that was on its way is not any more.
    arrived: Notify,
}

#[derive(Debug)]
struct Spares {
    ready: VecDeque<Spare>,
    /// Those that are on their way.
    moving: HashMap<SandboxId, Passage>,
    last_create: Instant,
    closed: bool,
}

impl Pool {
    /// A pool of so many, empty as yet.
    pub(crate) fn new(size: usize) -> Self {
        let (ready, moving) = (VecDeque::new(), HashMap::new());
        let spares = Spares { ready, moving, last_create: Instant::now(), closed: false };
        let size = AtomicUsize::new(size.min(limits::MAX_POOL));
        Self { size, state: Mutex::new(spares), changed: Notify::new(), arrived: Notify::new() }
    }

    fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// From now on so many: the refilling makes more, or takes those away that are too many.
    pub(crate) fn resize(&self, size: usize) {
        self.size.store(size.min(limits::MAX_POOL), Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Spares> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait, and how many should.
    pub(crate) fn fill(&self) -> (usize, usize) {
        (self.lock().ready.len(), self.size())
    }

    /// A create is under way: refilling waits.
    pub(crate) fn busy(&self) {
        if self.size() > 0 {
            self.lock().last_create = Instant::now();
        }
    }

    /// The id of one that can become a sandbox of these facts.
    pub(crate) fn take(&self, wanted: &Facts) -> Option<SandboxId> {
        // What the operator says of an image goes by its name.
        if wanted.settings.limits != usual_limits() || wanted.image != refill::IMAGE {
            return None;
        }
        self.take_first(|spare| spare.image == wanted.settings.made_of.id)
    }

    fn take_first(&self, fits: impl Fn(&Spare) -> bool) -> Option<SandboxId> {
        let mut spares = self.lock();
        let at = spares.ready.iter().position(fits)?;
        let Spare { id, .. } = spares.ready.remove(at)?;
        spares.moving.insert(id.clone(), Passage::Taken);
        self.changed.notify_one();
        Some(id)
    }

    /// One is being made, or ended.
    fn moves(&self, id: &SandboxId) {
        self.lock().moving.insert(id.clone(), Passage::Between);
    }

    /// It has arrived.
    fn moved(&self, id: &SandboxId) {
        self.lock().moving.remove(id);
        self.arrived.notify_waiters();
    }

    /// Waits until nothing is on its way.
    async fn settled(&self) {
        loop {
            // Made before the look: what arrives after it is noticed.
            let arrived = self.arrived.notified();
            if self.lock().moving.is_empty() {
                return;
            }
            arrived.await;
        }
    }

    /// Whether this is the id of one of them.
    pub(crate) fn knows(&self, id: &SandboxId) -> bool {
        let spares = self.lock();
        spares.moving.contains_key(id) || spares.ready.iter().any(|spare| spare.id == *id)
    }

    /// Takes one out that has died; of one on its way it is remembered.
    fn lose(&self, id: &SandboxId) -> Option<SandboxId> {
        let mut spares = self.lock();
        if let Some(passage) = spares.moving.get_mut(id) {
            *passage = Passage::Died;
        }
        let at = spares.ready.iter().position(|spare| spare.id == *id)?;
        self.changed.notify_one();
        spares.ready.remove(at).map(|spare| spare.id)
    }

    /// Whether one died on its way.
    fn has_lost(&self, id: &SandboxId) -> bool {
        self.lock().moving.get(id) == Some(&Passage::Died)
    }

    /// The ids of all that the runtime must list, also of those that were taken and are nobody's yet.
    pub(crate) fn ids(&self) -> Vec<SandboxId> {
        let spares = self.lock();
        let taken = spares.moving.iter().filter(|(_, passage)| **passage == Passage::Taken).map(|(id, _)| id);
        spares.ready.iter().map(|spare| &spare.id).chain(taken).cloned().collect()
    }
}

/// Makes one that was taken out of the pool the sandbox of `facts`, whose id it has. `None` where the key is taken; then,
/// and where it fails, it is destroyed.
pub(crate) async fn assign(
    app: &Arc<App>,
    facts: Facts,
    claim: Option<Claim>,
    hold: SandboxHold,
) -> ApiResult<Option<Arc<Sandbox>>> {
    let outcome = adopt(app, &facts, claim, hold).await;
    if !matches!(outcome, Ok(Some(_))) {
        if let Some(sandbox) = app.registry.any(&facts.id) {
            create::withdraw(app, &sandbox, create::FIRST).await;
        } else {
            tokio::spawn(destroy(Arc::clone(app), facts.id));
            return outcome;
        }
    }
    app.pool.moved(&facts.id);
    outcome
}

async fn adopt(
    app: &Arc<App>,
    facts: &Facts,
    claim: Option<Claim>,
    hold: SandboxHold,
) -> ApiResult<Option<Arc<Sandbox>>> {
    let hostname = hostname(&facts.name);
    // Before the row: nothing half named ever belongs to a tenant.
    let (outside, inside) = tokio::join!(
        app.runtime.name(facts.id.clone(), hostname.clone()),
        app.agents.name(&facts.id, hostname)
    );
    outside.map_err(runtime_error)?;
    inside.map_err(ApiError::internal)?;
    failpoint!(SpareNamed);
    let row = Row { facts: facts.clone(), status: Status::Running, launch: create::FIRST };
    let Some(sandbox) = create::insert(app, row, claim, hold).await? else { return Ok(None) };
    failpoint!(SpareTaken);
    // Whatever is told from now on finds the entry.
    if app.pool.has_lost(&facts.id) {
        let outcome = sandbox.apply(Event::Died { launch: create::FIRST });
        tracing::debug!(sandbox = %facts.id, ?outcome, "a sandbox made ahead died while it was taken");
    }
    born(app, &sandbox, create::FIRST).await?;
    Ok(Some(sandbox))
}

/// The runtime says that one ended: of the pool or of any other.
pub(crate) fn died(app: &Arc<App>, id: &SandboxId) {
    if let Some(id) = app.pool.lose(id) {
        tracing::warn!(sandbox = %id, "a sandbox made ahead died");
        tokio::spawn(destroy(Arc::clone(app), id));
    }
}

#[cfg(test)]
mod tests;
