//! The first start: an empty store gets an organisation, a user and a key, and the key goes into a file that
//! only we and root can read. The file comes first: a key in the store that nobody has would help nobody.

use crate::app::App;
use crate::auth::{Order, Scopes};
use crate::error::Error;
use crate::ids;
use crate::quota::Quota;
use crate::store::Owner;
use secrecy::ExposeSecret;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// The organisation that is there from the start.
const DEFAULT: &str = "default";

/// Makes the first key where there is none.
pub(super) async fn key(app: &App, file: &Path) -> Result<(), Error> {
    if !app.store.is_empty().await? {
        return Ok(());
    }
    let org = format!("org_{}", ids::characters::<16>()?);
    let owner = Owner::new(org.clone(), DEFAULT, format!("user_{}", ids::characters::<16>()?));
    let order = Order { name: DEFAULT.to_owned(), scopes: Scopes::EVERYTHING, expires_us: None };
    let (row, plain) = app.keys.mint(&owner, order)?;
    write(file, plain.expose_secret()).map_err(|error| Error::file("write the first key to", file, error))?;
    app.store.create_owner(owner, Some(row.clone())).await?;
    // Its quota is the host's capacity.
    app.store.set_quota(org.clone(), Quota::UNLIMITED).await?;
    app.accounts.of(&org).set(Quota::UNLIMITED);
    app.keys.admit(row);
    tracing::info!(file = %file.display(), "made the first API key");
    Ok(())
}

/// The runtime has made the file, empty and ours; we never make one.
fn write(file: &Path, key: &str) -> io::Result<()> {
    let mut open = OpenOptions::new().write(true).truncate(true).open(file)?;
    open.write_all(format!("{key}\n").as_bytes())?;
    open.sync_all()
}
