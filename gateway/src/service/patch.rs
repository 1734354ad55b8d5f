//! What a tenant may change about a sandbox that exists.

use crate::app::App;
use crate::error::ApiResult;
use crate::registry::Sandbox;
use crate::sandbox::{AutoSleep, Settings};

/// Says whether an idle sandbox may be put to sleep. One change after the other, so that the store ends up with the last.
pub(crate) async fn auto_sleep(app: &App, sandbox: &Sandbox, wanted: AutoSleep) -> ApiResult<()> {
    let _turn = app.patches.lock().await;
    let settings = Settings { auto_sleep: wanted, ..sandbox.facts.settings.clone() };
    app.store.set_settings(sandbox.facts.id.clone(), settings).await?;
    sandbox.set_auto_sleep(wanted);
    Ok(())
}
