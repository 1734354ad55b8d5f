//! The route table, and what every handler gets. A path is looked up here, before authentication: what exists
//! is public (the OpenAPI says it), whose it is is not.

pub(crate) mod commands;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod files;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod images;
pub(crate) mod program;
pub(crate) mod pty;
pub(crate) mod sandboxes;
pub(crate) mod session;
pub(crate) mod system;
pub(crate) mod tenants;

use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, ApiResult};
use crate::input::RequestBody;
use crate::quota::Held;
use crate::registry::Sandbox;
use crate::server::Place;
use bulkhead_protocol::SandboxId;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, StatusCode, Version};
use images::Images;
use std::sync::Arc;
use tenants::Tenants;

/// What a handler works with, after authentication.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) principal: Principal,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    /// The connection itself, after a 101.
    pub(crate) upgrade: OnUpgrade,
    pub(crate) version: Version,
    /// The place of the connection.
    pub(crate) place: Option<Place>,
    /// What the call holds of its organisation's quota, as long as it goes on.
    pub(crate) held: Arc<Vec<Held>>,
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
    Events,
    Sandboxes,
    Sandbox(&'a str),
    Lifecycle(&'a str, Lifecycle),
    Isolation(&'a str),
    Stats(&'a str),
    Exec(&'a str),
    ExecStream(&'a str),
    Command(&'a str, Command<'a>),
    Session(&'a str, Session),
    PtySocket(&'a str),
    PtySessions(&'a str),
    PtySession(&'a str, &'a str),
    /// One of those with one method.
    PtyAction(&'a str, Pty<'a>),
    /// The directory behind the query: listed or deleted.
    Files(&'a str),
    /// One of those with one method.
    FileAction(&'a str, Files<'a>),
}

/// A call that brings a sandbox somewhere; each has one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Start,
    Sleep,
    Wake,
    Stop,
    Pause,
    Resume,
    Freeze,
    Thaw,
}

/// A call about shell sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Exec,
    Stream,
}

/// A call about terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pty<'a> {
    Ephemeral,
    Create,
    List,
    Attach(&'a str),
    Delete(&'a str),
    Execute(&'a str),
    Buffer(&'a str),
    Resize(&'a str),
}

/// A call about files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files<'a> {
    List,
    Delete,
    Download,
    Upload,
    MakeDirectory,
    Create,
    Copy,
    Move,
    Chmod,
    Stat,
    DiskUsage,
    Search,
    HeadTail,
    Compress,
    Extract,
    Watch,
    WatchSocket(&'a str),
}

/// What a path below `commands/` names; each has one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Run,
    List,
    Kill,
    Attach,
    Wait,
    Stdin(&'a str),
    Signal(&'a str),
}

/// What a path and a method name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    Health,
    Version,
    OpenApi,
    Events,
    ListSandboxes,
    CreateSandbox,
    GetSandbox(&'a str),
    PatchSandbox(&'a str),
    DeleteSandbox(&'a str),
    Lifecycle(&'a str, Lifecycle),
    Isolation(&'a str),
    Stats(&'a str),
    Exec(&'a str),
    ExecStream(&'a str),
    Command(&'a str, Command<'a>),
    Pty(&'a str, Pty<'a>),
    Session(&'a str, Session),
    Files(&'a str, Files<'a>),
    Images(Images<'a>),
    Tenants(Tenants<'a>),
}

/// Segments that are looked at; no path of ours has as many.
const MOST_SEGMENTS: usize = 8;

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
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    let parts: Vec<&str> = segments.take(MOST_SEGMENTS).collect();
    let named = match parts.as_slice() {
        ["healthz"] => Some(("/healthz", Resource::Health)),
        ["api", "version"] => Some(("/version", Resource::Version)),
        ["api", "openapi.json"] => Some(("/openapi.json", Resource::OpenApi)),
        ["api", "events"] => Some(("/events", Resource::Events)),
        ["api", "sandboxes"] => Some(("/sandboxes", Resource::Sandboxes)),
        ["api", "sandboxes", id] => Some(("/sandboxes/{id}", Resource::Sandbox(id))),
        ["api", "sandboxes", id, rest @ ..] => within_sandbox(id, rest),
        _ => None,
    };
    if let Some((template, resource)) = named {
        return Matched { template, endpoint: choose(method, resource) };
    }
    let rest = parts.strip_prefix(&["api"]).unwrap_or_default();
    if let Some((template, call)) = tenants::find(method, rest) {
        return Matched { template, endpoint: call.map(Endpoint::Tenants) };
    }
    match images::find(method, rest) {
        Some((template, call)) => Matched { template, endpoint: call.map(Endpoint::Images) },
        None => Matched { template: NO_ROUTE, endpoint: Err(Miss::Path) },
    }
}

/// What a sandbox has.
fn within_sandbox<'a>(id: &'a str, rest: &[&'a str]) -> Option<(&'static str, Resource<'a>)> {
    let command = |command| Resource::Command(id, command);
    let lifecycle = |step| Resource::Lifecycle(id, step);
    Some(match rest {
        ["start"] => ("/sandboxes/{id}/start", lifecycle(Lifecycle::Start)),
        ["sleep"] => ("/sandboxes/{id}/sleep", lifecycle(Lifecycle::Sleep)),
        ["wake"] => ("/sandboxes/{id}/wake", lifecycle(Lifecycle::Wake)),
        ["stop"] => ("/sandboxes/{id}/stop", lifecycle(Lifecycle::Stop)),
        ["pause"] => ("/sandboxes/{id}/pause", lifecycle(Lifecycle::Pause)),
        ["resume"] => ("/sandboxes/{id}/resume", lifecycle(Lifecycle::Resume)),
        ["freeze"] => ("/sandboxes/{id}/freeze", lifecycle(Lifecycle::Freeze)),
        ["thaw"] => ("/sandboxes/{id}/thaw", lifecycle(Lifecycle::Thaw)),
        ["isolation"] => ("/sandboxes/{id}/isolation", Resource::Isolation(id)),
        ["stats"] => ("/sandboxes/{id}/stats", Resource::Stats(id)),
        ["exec"] => ("/sandboxes/{id}/exec", Resource::Exec(id)),
        ["exec-stream"] => ("/sandboxes/{id}/exec-stream", Resource::ExecStream(id)),
        ["session-exec"] => ("/sandboxes/{id}/session-exec", Resource::Session(id, Session::Exec)),
        ["session-exec-stream"] => {
            ("/sandboxes/{id}/session-exec-stream", Resource::Session(id, Session::Stream))
        }
        ["pty"] => ("/sandboxes/{id}/pty", Resource::PtySocket(id)),
        ["pty", "sessions"] => ("/sandboxes/{id}/pty/sessions", Resource::PtySessions(id)),
        ["pty", "sessions", sid] => ("/sandboxes/{id}/pty/sessions/{sid}", Resource::PtySession(id, sid)),
        ["pty", "sessions", sid, "execute"] => {
            ("/sandboxes/{id}/pty/sessions/{sid}/execute", Resource::PtyAction(id, Pty::Execute(sid)))
        }
        ["pty", "sessions", sid, "buffer"] => {
            ("/sandboxes/{id}/pty/sessions/{sid}/buffer", Resource::PtyAction(id, Pty::Buffer(sid)))
        }
        ["pty", "sessions", sid, "resize"] => {
            ("/sandboxes/{id}/pty/sessions/{sid}/resize", Resource::PtyAction(id, Pty::Resize(sid)))
        }
        ["commands", "run"] => ("/sandboxes/{id}/commands/run", command(Command::Run)),
        ["commands", "list"] => ("/sandboxes/{id}/commands/list", command(Command::List)),
        ["commands", "kill"] => ("/sandboxes/{id}/commands/kill", command(Command::Kill)),
        ["commands", "attach"] => ("/sandboxes/{id}/commands/attach", command(Command::Attach)),
        ["commands", "wait"] => ("/sandboxes/{id}/commands/wait", command(Command::Wait)),
        ["commands", pid, "stdin"] => ("/sandboxes/{id}/commands/{pid}/stdin", command(Command::Stdin(pid))),
        ["commands", pid, "signal"] => {
            ("/sandboxes/{id}/commands/{pid}/signal", command(Command::Signal(pid)))
        }
        ["files", rest @ ..] => return files::find(id, rest),
        _ => return None,
    })
}

fn choose<'a>(method: &Method, resource: Resource<'a>) -> Result<Endpoint<'a>, Miss> {
    match (resource, method.as_str()) {
        (Resource::Health, "GET") => Ok(Endpoint::Health),
        (Resource::Version, "GET") => Ok(Endpoint::Version),
        (Resource::OpenApi, "GET") => Ok(Endpoint::OpenApi),
        (Resource::Events, "GET") => Ok(Endpoint::Events),
        (Resource::Sandboxes, "GET") => Ok(Endpoint::ListSandboxes),
        (Resource::Sandboxes, "POST") => Ok(Endpoint::CreateSandbox),
        (Resource::Sandbox(id), "GET") => Ok(Endpoint::GetSandbox(id)),
        (Resource::Sandbox(id), "PATCH") => Ok(Endpoint::PatchSandbox(id)),
        (Resource::Sandbox(id), "DELETE") => Ok(Endpoint::DeleteSandbox(id)),
        (Resource::Lifecycle(id, step), "POST") => Ok(Endpoint::Lifecycle(id, step)),
        (Resource::Lifecycle(..), _) => Err(Miss::Method("POST")),
        (Resource::Isolation(id), "GET") => Ok(Endpoint::Isolation(id)),
        (Resource::Stats(id), "GET") => Ok(Endpoint::Stats(id)),
        (Resource::Exec(id), "POST") => Ok(Endpoint::Exec(id)),
        (Resource::ExecStream(id), "POST") => Ok(Endpoint::ExecStream(id)),
        (Resource::Command(id, Command::List), "GET") => Ok(Endpoint::Command(id, Command::List)),
        (Resource::Command(_, Command::List), _) => Err(Miss::Method("GET")),
        (Resource::Command(id, command), "POST") => Ok(Endpoint::Command(id, command)),
        (Resource::Session(id, session), "POST") => Ok(Endpoint::Session(id, session)),
        (Resource::Session(..), _) => Err(Miss::Method("POST")),
        (Resource::PtySocket(id), "GET") => Ok(Endpoint::Pty(id, Pty::Ephemeral)),
        (Resource::PtySessions(id), "GET") => Ok(Endpoint::Pty(id, Pty::List)),
        (Resource::PtySessions(id), "POST") => Ok(Endpoint::Pty(id, Pty::Create)),
        (Resource::PtySession(id, sid), "GET") => Ok(Endpoint::Pty(id, Pty::Attach(sid))),
        (Resource::PtySession(id, sid), "DELETE") => Ok(Endpoint::Pty(id, Pty::Delete(sid))),
        (Resource::PtyAction(id, pty @ Pty::Buffer(_)), "GET") => Ok(Endpoint::Pty(id, pty)),
        (Resource::PtySocket(_) | Resource::PtyAction(_, Pty::Buffer(_)), _) => Err(Miss::Method("GET")),
        (Resource::PtyAction(id, pty), "POST") => Ok(Endpoint::Pty(id, pty)),
        (Resource::PtyAction(..), _) => Err(Miss::Method("POST")),
        (Resource::PtySessions(_), _) => Err(Miss::Method("GET, POST")),
        (Resource::PtySession(..), _) => Err(Miss::Method("GET, DELETE")),
        (Resource::Files(id), "GET") => Ok(Endpoint::Files(id, Files::List)),
        (Resource::Files(id), "DELETE") => Ok(Endpoint::Files(id, Files::Delete)),
        (Resource::Files(_), _) => Err(Miss::Method("GET, DELETE")),
        (Resource::FileAction(id, action), method) if method == files::method(action) => {
            Ok(Endpoint::Files(id, action))
        }
        (Resource::FileAction(_, action), _) => Err(Miss::Method(files::method(action))),
        (Resource::Health | Resource::Version | Resource::OpenApi | Resource::Events, _)
        | (Resource::Isolation(_) | Resource::Stats(_), _) => Err(Miss::Method("GET")),
        (Resource::Sandboxes, _) => Err(Miss::Method("GET, POST")),
        (Resource::Sandbox(_), _) => Err(Miss::Method("GET, PATCH, DELETE")),
        (Resource::Exec(_) | Resource::ExecStream(_) | Resource::Command(..), _) => Err(Miss::Method("POST")),
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
            "/api/sandboxes/x/exec-streams",
            "/api/sandboxes/x/commands",
            "/api/sandboxes/x/commands/1",
            "/api/sandboxes/x/commands/1/stdin/y",
            "/api/a/b/c/d/e/f/g/h/i/j/k",
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
