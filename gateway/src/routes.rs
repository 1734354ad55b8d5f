//! The route table, and what every handler gets. A path is looked up here, before authentication: what exists
//! is public (the OpenAPI says it), whose it is is not.

pub(crate) mod exec;
pub(crate) mod sandboxes;
pub(crate) mod system;

use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, ApiResult};
use crate::registry::Sandbox;
use bulkhead_protocol::SandboxId;
use hyper::body::Incoming;
use hyper::{Method, StatusCode};
use std::sync::Arc;

/// What a handler works with, after authentication.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) principal: Principal,
    pub(crate) query: String,
    pub(crate) body: Incoming,
}

impl Call {
    /// The sandbox with this id, if it is the caller's. Any other text is an id that does not exist.
    pub(crate) fn sandbox(&self, id: &str) -> ApiResult<Arc<Sandbox>> {
        let id = SandboxId::parse(id).map_err(|_| ApiError::no_sandbox())?;
        self.app.registry.resolve(&self.principal.org, &id).ok_or_else(ApiError::no_sandbox)
    }
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource<'a> {
    Health,
    Version,
    OpenApi,
    Sandboxes,
    Sandbox(&'a str),
    Exec(&'a str),
}

/// What a path and a method name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    Health,
    Version,
    OpenApi,
    ListSandboxes,
    CreateSandbox,
    GetSandbox(&'a str),
    DeleteSandbox(&'a str),
    Exec(&'a str),
}

/// The template of a path that names nothing, for metrics.
pub(crate) const NO_ROUTE: &str = "none";

/// A path that was understood, or why not.
#[derive(Debug)]
pub(crate) struct Matched<'a> {
    /// For metrics.
    pub(crate) template: &'static str,
    pub(crate) endpoint: Result<Endpoint<'a>, Miss>,
}

/// Why a request names no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Miss {
    Path,
    /// The path exists; these methods do.
    Method(&'static str),
}

impl From<Miss> for ApiError {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Path => Self::new(StatusCode::NOT_FOUND, "no such route"),
            Miss::Method(_) => Self::new(StatusCode::METHOD_NOT_ALLOWED, "this route has no such method"),
        }
    }
}

/// Looks a request up. Repeated slashes count as one: a base URL that ends in one makes them.
pub(crate) fn find<'a>(method: &Method, path: &'a str) -> Matched<'a> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let parts = [(); 5].map(|()| segments.next());
    let (template, resource) = match parts {
        [Some("healthz"), None, ..] => ("/healthz", Resource::Health),
        [Some("api"), Some("version"), None, ..] => ("/version", Resource::Version),
        [Some("api"), Some("openapi.json"), None, ..] => ("/openapi.json", Resource::OpenApi),
        [Some("api"), Some("sandboxes"), None, ..] => ("/sandboxes", Resource::Sandboxes),
        [Some("api"), Some("sandboxes"), Some(id), None, _] => ("/sandboxes/{id}", Resource::Sandbox(id)),
        [Some("api"), Some("sandboxes"), Some(id), Some("exec"), None] => {
            ("/sandboxes/{id}/exec", Resource::Exec(id))
        }
        _ => return Matched { template: NO_ROUTE, endpoint: Err(Miss::Path) },
    };
    Matched { template, endpoint: choose(method, resource) }
}

fn choose<'a>(method: &Method, resource: Resource<'a>) -> Result<Endpoint<'a>, Miss> {
    match (resource, method.as_str()) {
        (Resource::Health, "GET") => Ok(Endpoint::Health),
        (Resource::Version, "GET") => Ok(Endpoint::Version),
        (Resource::OpenApi, "GET") => Ok(Endpoint::OpenApi),
        (Resource::Sandboxes, "GET") => Ok(Endpoint::ListSandboxes),
        (Resource::Sandboxes, "POST") => Ok(Endpoint::CreateSandbox),
        (Resource::Sandbox(id), "GET") => Ok(Endpoint::GetSandbox(id)),
        (Resource::Sandbox(id), "DELETE") => Ok(Endpoint::DeleteSandbox(id)),
        (Resource::Exec(id), "POST") => Ok(Endpoint::Exec(id)),
        (Resource::Health | Resource::Version | Resource::OpenApi, _) => Err(Miss::Method("GET")),
        (Resource::Sandboxes, _) => Err(Miss::Method("GET, POST")),
        (Resource::Sandbox(_), _) => Err(Miss::Method("GET, DELETE")),
        (Resource::Exec(_), _) => Err(Miss::Method("POST")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint<'a>(method: &Method, path: &'a str) -> Result<Endpoint<'a>, Miss> {
        find(method, path).endpoint
    }

    #[test]
    fn slashes_collapse_and_nothing_else_is_normalised() {
        for path in ["/api/sandboxes", "/api//sandboxes", "//api///sandboxes//"] {
            assert_eq!(endpoint(&Method::GET, path), Ok(Endpoint::ListSandboxes), "{path}");
        }
        assert_eq!(endpoint(&Method::POST, "/api/sandboxes/x/exec"), Ok(Endpoint::Exec("x")));
        for path in [
            "/",
            "/sandboxes",
            "/api/./sandboxes",
            "/api/v1/../sandboxes",
            "/api/sandboxes;a=b",
            "/api/sandboxes/x/exec/y",
            "/api/sandboxes/x/exec/y/z/w",
            "/api/sandboxes/x/exec-stream",
            "/api/%73andboxes",
            "*",
        ] {
            assert_eq!(endpoint(&Method::GET, path), Err(Miss::Path), "{path}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_says_which_it_has() {
        for method in [Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT] {
            assert_eq!(endpoint(&method, "/api/sandboxes"), Err(Miss::Method("GET, POST")));
        }
        assert_eq!(endpoint(&Method::GET, "/api/sandboxes/x/exec"), Err(Miss::Method("POST")));
    }
}
