//! Changes of keys, each in the store and in memory, in one order for both. Each is a task of its own: a client that goes
//! away cannot leave a key in one of them only.

use crate::app::App;
use crate::input::Switch;
use crate::news::Story;
use crate::store::{KeyRow, Owner, StoreError, StoreResult};
use std::sync::Arc;

/// Runs one change after the other.
async fn change<T, F>(app: &Arc<App>, work: impl FnOnce(Arc<App>) -> F + Send + 'static) -> StoreResult<T>
where
    T: Send + 'static,
    F: Future<Output = StoreResult<T>> + Send,
{
    let app = Arc::clone(app);
    let task = tokio::spawn(async move {
        let other = Arc::clone(&app);
        let _turn = app.keys.changes.lock().await;
        work(other).await
    });
    // It ends early only where the process does, or by a panic.
    task.await.map_err(|_| StoreError::Gone)?
}

fn tell(app: &App, org: &str, id: &str, what: &'static str) {
    app.news.of(org).tell(&Story::Key { id, what });
}

/// Keeps a new key.
pub(crate) async fn insert(app: &Arc<App>, row: KeyRow) -> StoreResult<()> {
    change(app, move |app| async move {
        app.store.insert_key(row.clone()).await?;
        tell(&app, &row.org, &row.id, "key.created");
        app.keys.admit(row);
        Ok(())
    })
    .await
}

/// Keeps a new organisation with its first key.
pub(crate) async fn insert_owner(app: &Arc<App>, owner: Owner, row: KeyRow) -> StoreResult<()> {
    change(app, move |app| async move {
        app.store.create_owner(owner, Some(row.clone())).await?;
        app.keys.admit(row);
        Ok(())
    })
    .await
}

/// Switches the key `id` of `org` on or off; the row as it is then.
pub(crate) async fn switch(app: &Arc<App>, org: String, id: String, active: Switch) -> StoreResult<KeyRow> {
    change(app, move |app| async move {
        let row = app.store.activate_key(org, id, active).await?;
        tell(&app, &row.org, &row.id, "key.changed");
        app.keys.renew(row.clone());
        Ok(row)
    })
    .await
}

/// Ends the key `id` for good.
pub(crate) async fn revoke(app: &Arc<App>, id: String) -> StoreResult<()> {
    change(app, move |app| async move {
        let row = app.store.revoke_key(id).await?;
        tell(&app, &row.org, &row.id, "key.revoked");
        app.keys.renew(row);
        Ok(())
    })
    .await
}

/// Drops the key `id` of `org`.
pub(crate) async fn delete(app: &Arc<App>, org: String, id: String) -> StoreResult<()> {
    change(app, move |app| async move {
        app.store.delete_key(org.clone(), id.clone()).await?;
        tell(&app, &org, &id, "key.deleted");
        app.keys.forget(&id);
        Ok(())
    })
    .await
}
