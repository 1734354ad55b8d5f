//! The administrator's side of the socket, for the command line: synchronous, one request per call.

use super::wire::{
    Done, KeyInfo, KeyOrder, Keys, Leak, Leaks, NewKey, Org, OrgInfo, Orgs, QuotaChange, Refusal,
};
use crate::dirs::Directory;
use crate::limits;
use crate::quota::Quota;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens.
    #[error("no gateway answers on {path}")]
    NoServer {
        /// The socket.
        path: PathBuf,
    },
    /// The server says why.
    #[error("{0}")]
    Refused(String),
    /// The conversation broke.
    #[error("the gateway did not answer")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

type Result<T> = std::result::Result<T, ClientError>;

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Broken(error.into())
}

/// Makes an organisation.
///
/// # Errors
/// [`ClientError`]; a name that is taken or malformed is refused.
pub fn create_org(run_dir: &Path, name: &str) -> Result<Org> {
    ask(run_dir, Method::POST, "/orgs", &json!({ "name": name }))
}

/// Every organisation, oldest first.
///
/// # Errors
/// [`ClientError`].
pub fn list_orgs(run_dir: &Path) -> Result<Vec<OrgInfo>> {
    ask(run_dir, Method::GET, "/orgs", &json!({})).map(|Orgs { orgs }| orgs)
}

/// Sets the ceilings that `change` names for the organisation with this name or id, and gives all of them.
///
/// # Errors
/// [`ClientError`]; an unknown organisation is refused.
pub fn quota(run_dir: &Path, org: &str, change: QuotaChange) -> Result<Quota> {
    let mut body = serde_json::to_value(change).map_err(broken)?;
    body["org"] = json!(org);
    ask(run_dir, Method::POST, "/quota", &body)
}

/// Makes a key.
///
/// # Errors
/// [`ClientError`]; an unknown organisation and an unknown scope are refused.
pub fn create_key(run_dir: &Path, order: &KeyOrder) -> Result<NewKey> {
    ask(run_dir, Method::POST, "/keys", &serde_json::to_value(order).map_err(broken)?)
}

/// Everything that nobody claims.
///
/// # Errors
/// [`ClientError`].
pub fn leaks(run_dir: &Path) -> Result<Vec<Leak>> {
    ask(run_dir, Method::GET, "/leaks", &json!({})).map(|Leaks { leaks }| leaks)
}

/// Every key, oldest first.
///
/// # Errors
/// [`ClientError`].
pub fn list_keys(run_dir: &Path) -> Result<Vec<KeyInfo>> {
    ask(run_dir, Method::GET, "/keys", &json!({})).map(|Keys { keys }| keys)
}

/// Ends a key; requests with it are refused from now on.
///
/// # Errors
/// [`ClientError`]; an unknown id is refused.
pub fn revoke_key(run_dir: &Path, id: &str) -> Result<()> {
    let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !plain {
        return Err(ClientError::Refused("there is no such key".to_owned()));
    }
    ask(run_dir, Method::DELETE, &format!("/keys/{id}"), &json!({})).map(|Done {}| ())
}

fn ask<T: DeserializeOwned>(run_dir: &Path, method: Method, path: &str, body: &Value) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    runtime.block_on(async {
        tokio::time::timeout(limits::ADMIN_TIMEOUT, exchange(run_dir, method, path, body))
            .await
            .map_err(broken)?
    })
}

async fn exchange<T: DeserializeOwned>(
    run_dir: &Path,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<T> {
    let dir = run_dir.join("gateway");
    let nobody = || ClientError::NoServer { path: dir.join(super::SOCKET) };
    let held = Directory::open(&dir).map_err(|_| nobody())?;
    let stream = UnixStream::connect(held.entry(super::SOCKET)).await.map_err(|_| nobody())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "admin")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(broken)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body =
            Limited::new(answer.into_body(), limits::MAX_ADMIN_REPLY).collect().await.map_err(broken)?;
        Ok::<_, ClientError>((status, body.to_bytes()))
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let (status, bytes) = tokio::select! {
        answer = &mut answer => answer?,
        end = &mut connection => {
            end.map_err(broken)?;
            answer.await?
        }
    };
    if status.is_success() {
        return serde_json::from_slice(&bytes).map_err(broken);
    }
    let Refusal { error } = serde_json::from_slice(&bytes).map_err(broken)?;
    Err(ClientError::Refused(error))
}
