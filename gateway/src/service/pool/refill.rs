//! Making sandboxes ahead, one at a time, and taking them away again.

use super::{Passage, Pool, Spare};
use crate::app::App;
use crate::error::{ApiError, ApiResult, chain};
use crate::failpoint::failpoint;
use crate::ids;
use crate::limits;
use crate::sandbox::usual_limits;
use crate::service::create::FIRST;
use crate::service::runtime_error;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::{ImageId, ImageName};
use bulkhead_protocol::runtime::{CreateSandbox, Disk};
use std::sync::Arc;
use std::time::Duration;

/// The image that clients ask for where they ask for none.
pub(super) const IMAGE: &str = "code:latest";
/// Its host name until it has an owner.
const HOSTNAME: &str = "sandbox";

impl Pool {
    /// Whether one is missing, and how long the last create is ago.
    fn wants(&self) -> Option<Duration> {
        let spares = self.lock();
        let wants = !spares.closed && spares.ready.len() < self.size();
        wants.then(|| spares.last_create.elapsed())
    }

    /// One begins to be made, unless the gateway closes.
    pub(super) fn begins(&self, id: &SandboxId) -> bool {
        let mut spares = self.lock();
        if !spares.closed {
            spares.moving.insert(id.clone(), Passage::Between);
        }
        !spares.closed
    }

    /// Takes one out where there are more than wanted.
    fn surplus(&self) -> Option<Spare> {
        let mut spares = self.lock();
        let surplus = spares.ready.len() > self.size();
        surplus.then(|| spares.ready.pop_back()).flatten()
    }

    /// Puts one in that was made; gives it back where it is dead already or nobody wants it any more.
    pub(super) fn put(&self, spare: Spare) -> Option<Spare> {
        let mut spares = self.lock();
        if spares.closed || spares.moving.get(&spare.id) == Some(&Passage::Died) {
            return Some(spare);
        }
        spares.moving.remove(&spare.id);
        spares.ready.push_back(spare);
        self.arrived.notify_waiters();
        None
    }
}

/// Keeps the pool full, for ever.
pub(crate) async fn refill(app: Arc<App>) {
    let mut pause = limits::POOL_FIRST;
    loop {
        while let Some(spare) = app.pool.surplus() {
            destroy(Arc::clone(&app), spare.id).await;
        }
        let Some(quiet) = app.pool.wants() else {
            app.pool.changed.notified().await;
            continue;
        };
        if quiet < limits::POOL_PAUSE {
            tokio::time::sleep(limits::POOL_PAUSE - quiet).await;
            continue;
        }
        match make(&app).await {
            Ok(()) => pause = limits::POOL_FIRST,
            Err(error) => {
                tracing::warn!(error = error.chain(), "no sandbox could be made ahead");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(limits::POOL_MOST);
            }
        }
    }
}

async fn make(app: &Arc<App>) -> ApiResult<()> {
    if app.registry.len() + app.pool.size() > limits::MAX_SANDBOXES {
        return Err(ApiError::internal("there is no room for sandboxes made ahead"));
    }
    let id = ids::sandbox(&app.node)?;
    if !app.pool.begins(&id) {
        return Ok(());
    }
    let made = launch(app, &id).await;
    let unwanted = match &made {
        Ok(image) => app.pool.put(Spare { id: id.clone(), image: image.clone() }).is_some(),
        Err(_) => true,
    };
    if unwanted {
        destroy(Arc::clone(app), id).await;
    }
    made.map(drop)
}

async fn launch(app: &App, id: &SandboxId) -> ApiResult<ImageId> {
    let image = ImageName::parse(IMAGE).map_err(ApiError::internal)?;
    let found = app.runtime.resolve_image(None, image).await.map_err(runtime_error)?;
    app.store.insert_spare(id.clone(), found.name.to_string()).await?;
    failpoint!(SpareRow);
    let spec = CreateSandbox {
        id: id.clone(),
        launch: FIRST,
        disk: Disk::New,
        image: found.id.clone(),
        named: found.name.clone(),
        limits: usual_limits(),
        hostname: HOSTNAME.to_owned(),
    };
    app.runtime.create(spec).await.map_err(runtime_error)?;
    app.agents.hello(id, ids::characters::<26>()?).await.map_err(ApiError::internal)?;
    Ok(found.id)
}

/// Ends one that is nobody's, and tries until it succeeds.
pub(crate) async fn destroy(app: Arc<App>, id: SandboxId) {
    app.pool.moves(&id);
    let mut pause = limits::DESTROY_FIRST;
    loop {
        let gone = async {
            app.runtime.destroy(id.clone()).await.map_err(runtime_error)?;
            app.store.delete_sandbox(id.clone()).await.map_err(ApiError::from)
        };
        let Err(error) = gone.await else {
            app.pool.moved(&id);
            return;
        };
        tracing::warn!(sandbox = %id, error = error.chain(), "a sandbox made ahead is not destroyed yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::DESTROY_MOST);
    }
}

/// Ends all of them: the gateway closes. What is not done in time is done by the next start.
pub(crate) async fn drain(app: &Arc<App>) {
    let spares: Vec<Spare> = {
        let mut spares = app.pool.lock();
        spares.closed = true;
        spares.ready.drain(..).collect()
    };
    let all = async {
        for spare in spares {
            destroy(Arc::clone(app), spare.id).await;
        }
        // One that was being made is ended by who makes it.
        app.pool.settled().await;
    };
    if tokio::time::timeout(limits::POOL_DRAIN, all).await.is_err() {
        tracing::warn!("sandboxes made ahead are left to the next start");
    }
}

/// Ends those that an earlier gateway left.
pub(crate) async fn clear(app: &Arc<App>) {
    match app.store.spares().await {
        Ok(ids) => {
            for id in ids {
                // At once, so that the comparison with the runtime takes none for a leak.
                app.pool.moves(&id);
                tokio::spawn(destroy(Arc::clone(app), id));
            }
        }
        Err(error) => tracing::error!(error = chain(&error), "the sandboxes made ahead could not be read"),
    }
}
