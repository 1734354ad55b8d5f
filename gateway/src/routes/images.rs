//! `/images…` (contract §9): what sandboxes can be made of. A tenant sees the host's images and its own; another one's
//! is one that does not exist.

use super::{Call, Miss};
use crate::api::{Done, ImageShown, Octets, refusals};
use crate::audit;
use crate::auth::Scope;
use crate::error::{ApiError, ApiResult};
use crate::input::{self, Content, RequestBody};
use crate::limits;
use crate::reply::{self, JSON, Reply, ReplyBody};
use crate::service::images as service;
use bulkhead_protocol::image::{DEFAULT_TAG, ImageName, ImportImage};
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Method, StatusCode};

/// One call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Images<'a> {
    List,
    Create,
    Get(&'a str),
    Named(&'a str),
    Delete(&'a str),
}

impl Images<'_> {
    /// What a key must have.
    pub(crate) fn scope(self) -> Scope {
        match self {
            Self::List | Self::Get(_) | Self::Named(_) => Scope::ImagesRead,
            Self::Create | Self::Delete(_) => Scope::ImagesWrite,
        }
    }
}

/// What the segments behind `/api/` name: the template, and what it is with this method.
pub(super) fn find<'a>(
    method: &Method,
    parts: &[&'a str],
) -> Option<(&'static str, Result<Images<'a>, Miss>)> {
    Some(match parts {
        ["images"] => (
            "/images",
            match method.as_str() {
                "GET" => Ok(Images::List),
                "POST" => Ok(Images::Create),
                _ => Err(Miss::Method("GET, POST")),
            },
        ),
        ["images", id] => (
            "/images/{id}",
            match method.as_str() {
                "GET" => Ok(Images::Get(id)),
                "DELETE" => Ok(Images::Delete(id)),
                _ => Err(Miss::Method("GET, DELETE")),
            },
        ),
        ["images", "name", name] => (
            "/images/name/{name}",
            if method == Method::GET { Ok(Images::Named(name)) } else { Err(Miss::Method("GET")) },
        ),
        _ => return None,
    })
}

/// Answers one call.
pub(crate) async fn answer(call: Call, images: Images<'_>) -> ApiResult<Reply> {
    match images {
        Images::List => list(&call).await,
        Images::Create => create(call).await,
        Images::Get(id) => get(&call, id).await,
        Images::Named(name) => named(&call, name).await,
        Images::Delete(id) => delete(&call, id).await,
    }
}

/// Lists what sandboxes can be made of: the host's images and the organisation's own.
#[utoipa::path(
    get, path = "/images", operation_id = "listImages", tag = "images",
    responses((status = 200, body = Vec<ImageShown>), refusals::Keyed, refusals::Asked)
)]
pub(crate) async fn list(call: &Call) -> ApiResult<Reply> {
    let rows = service::list(&call.app, &call.principal.org).await?;
    let shown: Vec<_> = rows.iter().map(ImageShown::from).collect();
    Ok(reply::json(StatusCode::OK, &shown))
}

/// Shows one image.
#[utoipa::path(
    get, path = "/images/{id}", operation_id = "getImage", tag = "images",
    params(("id" = String, Path)),
    responses((status = 200, body = ImageShown), refusals::Keyed, refusals::Ruled)
)]
pub(crate) async fn get(call: &Call, id: &str) -> ApiResult<Reply> {
    let row = service::by_id(&call.app, &call.principal.org, id).await?;
    Ok(reply::json(StatusCode::OK, &ImageShown::from(&row)))
}

/// Shows the image that a create with this name gets.
#[utoipa::path(
    get, path = "/images/name/{name}", operation_id = "getImageByName", tag = "images",
    params(("name" = String, Path, description = "`name` or `name:tag`, percent-encoded.")),
    responses((status = 200, body = ImageShown), refusals::Keyed, refusals::Ruled)
)]
pub(crate) async fn named(call: &Call, name: &str) -> ApiResult<Reply> {
    // What cannot be decoded names nothing.
    let name = input::decode(name).unwrap_or_default();
    let row = service::by_name(&call.app, &call.principal.org, &name).await?;
    Ok(reply::json(StatusCode::OK, &ImageShown::from(&row)))
}

/// Makes an image of an archive: of an OCI layout, or as `docker save` writes it. One of the organisation that has the
/// name already gives way; sandboxes that were made of it keep it.
#[utoipa::path(
    post, path = "/images", operation_id = "createImage", tag = "images",
    params(
        ("name" = String, Query, description = "Of `a-z`, `0-9`, `.`, `_`, `-` and `/`.", min_length = 1, max_length = 126),
        ("version" = Option<String>, Query, description = "The tag, by default `latest`.", min_length = 1, max_length = 126)
    ),
    request_body(content = Octets, content_type = "application/x-tar", description = "At most 5 GiB."),
    responses(
        (status = 201, body = ImageShown),
        refusals::Keyed, refusals::Bodied, refusals::Asked
    )
)]
pub(crate) async fn create(mut call: Call) -> ApiResult<Reply> {
    let body = std::mem::replace(&mut call.body, RequestBody::Here(Vec::new()));
    archive_type(&call.headers)?;
    let name = name(&call.query)?;
    let mut content = Content::of(body, &call.headers)?;
    let org = call.principal.org.clone();
    let archive = match service::receive(&call.app, &org, &mut content).await {
        Ok(archive) => archive,
        Err(error) => {
            content.discard().await;
            return Err(error);
        }
    };
    let ceilings = service::ceilings(&call.app, &org);
    let order = ImportImage { org: Some(org), name, created_by: Some(call.principal.user), ceilings };
    let app = call.app;
    let mut work = Box::pin(async move { service::import(&app, order, archive).await });
    if let Ok(row) = tokio::time::timeout(limits::EXEC_HEADERS, &mut work).await {
        let shown = ImageShown::from(&row?);
        let mut answer = reply::json(StatusCode::CREATED, &shown);
        answer.extensions_mut().insert(audit::Object(shown.id));
        return Ok(answer);
    }
    // A client gives up when it hears nothing for 300 s (contract §13).
    let body = ReplyBody::waiting(async {
        match work.await {
            Ok(row) => reply::body(&ImageShown::from(&row)).unwrap_or_else(|refusal| refusal),
            Err(error) => {
                tracing::debug!(status = error.status.as_u16(), "an image that took long was not made");
                ReplyBody::Broken
            }
        }
    });
    Ok(reply::with(StatusCode::CREATED, JSON, body))
}

/// Refuses a body that is no archive by its own word: the old form of this call names a path of the host.
fn archive_type(headers: &HeaderMap) -> ApiResult<()> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(kind.as_str(), "application/x-tar" | "application/octet-stream") {
        return Ok(());
    }
    let rule = "must be an image's archive, as application/x-tar or application/octet-stream";
    Err(ApiError::field("body", rule))
}

/// The name that the query asks for.
fn name(query: &str) -> ApiResult<ImageName> {
    let name = input::parameter(query, "name")?.ok_or_else(|| ApiError::field("name", "is required"))?;
    let version = input::parameter(query, "version")?;
    if name.contains(':') {
        return Err(ApiError::field("name", "must have no tag; version is the tag"));
    }
    ImageName::parse(&name).map_err(|error| ApiError::field("name", error))?;
    let full = format!("{name}:{}", version.as_deref().unwrap_or(DEFAULT_TAG));
    ImageName::parse(&full).map_err(|error| ApiError::field("version", error))
}

/// Takes an image of the organisation away. Sandboxes that were made of it keep it.
#[utoipa::path(
    delete, path = "/images/{id}", operation_id = "deleteImage", tag = "images",
    params(("id" = String, Path)),
    responses((status = 200, body = Done), refusals::Admitted, refusals::Ruled)
)]
pub(crate) async fn delete(call: &Call, id: &str) -> ApiResult<Reply> {
    service::remove(&call.app, &call.principal.org, id).await?;
    Ok(reply::json(StatusCode::OK, &Done { status: "success", message: "image deleted" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_version_are_asked_for_apart() {
        assert_eq!(name("name=a%2Fb").unwrap().as_str(), "a/b:latest");
        assert_eq!(name("name=a&version=1.2").unwrap().as_str(), "a:1.2");
        for (query, field) in
            [("", "name"), ("name=a:b", "name"), ("name=../x", "name"), ("name=a&version=", "version")]
        {
            assert!(name(query).unwrap_err().message.starts_with(&format!("{field}: ")), "{query}");
        }
    }
}
