//! The OpenAPI document, from the same types and routes. `gateway/openapi.json` is its golden copy: a change
//! of the interface shows in a review.

use crate::api::refusals;
use crate::routes::tenants::{keys, leaks, people, register};
use crate::routes::{commands, events, exec, files, images, pty, sandboxes, session, system};
use bytes::Bytes;
use std::sync::OnceLock;
use utoipa::openapi::RefOr;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "bulkhead", description = "Sandboxes for untrusted code."),
    servers((url = "/api")),
    paths(
        system::version,
        sandboxes::create,
        sandboxes::list,
        sandboxes::get,
        sandboxes::patch,
        sandboxes::delete,
        sandboxes::lifecycle::start,
        sandboxes::lifecycle::sleep,
        sandboxes::lifecycle::wake,
        sandboxes::lifecycle::stop,
        sandboxes::lifecycle::pause,
        sandboxes::lifecycle::resume,
        sandboxes::lifecycle::freeze,
        sandboxes::lifecycle::thaw,
        sandboxes::isolation,
        sandboxes::stats,
        events::follow,
        exec::exec,
        exec::stream,
        commands::run,
        commands::list,
        commands::kill,
        commands::attach,
        commands::wait,
        commands::talk::stdin,
        commands::talk::signal,
        pty::socket::ephemeral,
        pty::create,
        pty::list,
        pty::socket::session,
        pty::delete,
        pty::execute,
        pty::buffer,
        pty::resize,
        session::exec,
        session::stream,
        files::look::list,
        files::change::delete,
        files::download::download,
        files::upload::upload,
        files::change::make_directory,
        files::upload::create,
        files::change::copy,
        files::change::rename,
        files::change::chmod,
        files::look::stat,
        files::look::disk_usage,
        files::look::search,
        files::look::head_tail,
        files::change::compress,
        files::change::extract,
        files::watch::start,
        files::watch::socket,
        images::list,
        images::create,
        images::get,
        images::named,
        images::delete,
        people::me,
        people::users,
        keys::list,
        keys::create,
        keys::delete,
        keys::activate,
        keys::touch,
        register::register,
        leaks::list
    ),
    components(schemas(crate::api::Exit, crate::api::FileStat, crate::api::FileChange)),
    security(("key" = [])),
    modifiers(&Key, &Shared)
)]
struct Document;

struct Key;

struct Shared;

impl Modify for Shared {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        refusals::define(document.components.get_or_insert_default());
        for item in document.paths.paths.values_mut() {
            for operation in
                [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
            {
                for response in operation.responses.responses.values_mut() {
                    if let RefOr::T(response) = response
                        && response.description.is_empty()
                    {
                        // OpenAPI 3.1 asks for one.
                        "Success.".clone_into(&mut response.description);
                    }
                }
            }
        }
    }
}

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        document.components.get_or_insert_default().add_security_scheme("key", scheme);
    }
}

/// The document, as it is served and kept.
pub(crate) fn text() -> &'static Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| match Document::openapi().to_pretty_json() {
        Ok(text) => Bytes::from(text + "\n"),
        Err(error) => {
            tracing::error!(%error, "the OpenAPI document could not be encoded");
            Bytes::from_static(b"{}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn the_golden_copy_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let text = std::str::from_utf8(text()).unwrap();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, text).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap();
        assert!(golden == text, "openapi.json is out of date; UPDATE=1 rewrites it");
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(value["openapi"].as_str().unwrap().starts_with("3.1"));
    }
}
