//! Routes about organisations, users and keys (contract §9), and about the host: which path and method names which.

pub(crate) mod keys;
pub(crate) mod leaks;
pub(crate) mod people;
pub(crate) mod register;

use super::{Call, Miss};
use crate::auth::Scope;
use crate::error::ApiResult;
use crate::reply::Reply;
use hyper::Method;

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tenants<'a> {
    Me,
    Users,
    ListKeys,
    CreateKey,
    DeleteKey(&'a str),
    ActivateKey(&'a str),
    TouchKey(&'a str),
    /// Needs no key.
    Register,
    Leaks,
}

impl Tenants<'_> {
    /// What a key must have, beside being valid.
    pub(crate) fn scope(self) -> Option<Scope> {
        match self {
            Self::Me | Self::Users | Self::Register => None,
            Self::ListKeys
            | Self::CreateKey
            | Self::DeleteKey(_)
            | Self::ActivateKey(_)
            | Self::TouchKey(_) => Some(Scope::Keys),
            Self::Leaks => Some(Scope::Admin),
        }
    }
}

/// What the segments behind `/api/` name: the template, and what it is with this method.
pub(super) fn find<'a>(
    method: &Method,
    parts: &[&'a str],
) -> Option<(&'static str, Result<Tenants<'a>, Miss>)> {
    let get = |call: Tenants<'a>| if method == Method::GET { Ok(call) } else { Err(Miss::Method("GET")) };
    let post = |call: Tenants<'a>| if method == Method::POST { Ok(call) } else { Err(Miss::Method("POST")) };
    Some(match parts {
        ["users", "me"] => ("/users/me", get(Tenants::Me)),
        ["orgs", "users"] => ("/orgs/users", get(Tenants::Users)),
        ["orgs", "apikeys"] => (
            "/orgs/apikeys",
            match method.as_str() {
                "GET" => Ok(Tenants::ListKeys),
                "POST" => Ok(Tenants::CreateKey),
                _ => Err(Miss::Method("GET, POST")),
            },
        ),
        ["orgs", "apikeys", id] => (
            "/orgs/apikeys/{keyId}",
            if method == Method::DELETE { Ok(Tenants::DeleteKey(id)) } else { Err(Miss::Method("DELETE")) },
        ),
        ["orgs", "apikeys", id, "activate"] => {
            ("/orgs/apikeys/{keyId}/activate", post(Tenants::ActivateKey(id)))
        }
        ["orgs", "apikeys", id, "touch"] => (
            "/orgs/apikeys/{keyId}/touch",
            if method == Method::PATCH { Ok(Tenants::TouchKey(id)) } else { Err(Miss::Method("PATCH")) },
        ),
        ["register"] => ("/register", post(Tenants::Register)),
        ["admin", "leaks"] => ("/admin/leaks", get(Tenants::Leaks)),
        _ => return None,
    })
}

/// Answers one call that needs a key.
pub(crate) async fn answer(call: Call, tenants: Tenants<'_>) -> ApiResult<Reply> {
    match tenants {
        Tenants::Me => people::me(&call).await,
        Tenants::Users => people::users(&call).await,
        Tenants::ListKeys => Ok(keys::list(&call)),
        Tenants::CreateKey => keys::create(call).await,
        Tenants::DeleteKey(id) => keys::delete(&call, id).await,
        Tenants::ActivateKey(id) => keys::activate(call, id).await,
        Tenants::TouchKey(id) => keys::touch(&call, id).await,
        Tenants::Leaks => leaks::list(&call).await,
        // Answered before authentication.
        Tenants::Register => Err(Miss::Path.into()),
    }
}
