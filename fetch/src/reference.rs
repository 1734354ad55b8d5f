//! `[registry/]repository[:tag|@digest]`, as people write it.

use crate::digest::Digest;
use std::fmt;
use std::net::IpAddr;

/// Whose images are meant where no registry is named.
const HUB: &str = "docker.io";
/// Where that registry answers.
const HUB_HOST: &str = "registry-1.docker.io";
/// Where that registry keeps repositories without an owner.
const HUB_OWNER: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// Characters of a tag (distribution specification).
const MAX_TAG: usize = 128;
/// Characters of host and repository together.
const MAX_NAME: usize = 255;

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    which: Which,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    Tag(String),
    Digest(Digest),
}

/// A text that names no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidReference;

impl fmt::Display for InvalidReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be [registry/]repository[:tag|@sha256:digest]")
    }
}

impl std::error::Error for InvalidReference {}

impl Reference {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`InvalidReference`].
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        let (name, which) = match text.split_once('@') {
            Some((name, digest)) => (name, Which::Digest(Digest::parse(digest).ok_or(InvalidReference)?)),
            None => match text.rsplit_once(':') {
                // A colon before a slash belongs to a port.
                Some((name, tag)) if !tag.contains('/') => (name, Which::Tag(tag.to_owned())),
                _ => (text, Which::Tag(DEFAULT_TAG.to_owned())),
            },
        };
        let first = name.split('/').next().unwrap_or_default();
        let host = name.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        let (registry, repository) = if host { name.split_once('/') } else { None }.unwrap_or((HUB, name));
        let repository = match (registry, repository.contains('/')) {
            (HUB, false) => format!("{HUB_OWNER}/{repository}"),
            _ => repository.to_owned(),
        };
        let tag = match &which {
            Which::Tag(tag) => tag.len() <= MAX_TAG && is_word(tag, |byte| byte.is_ascii_alphanumeric()),
            Which::Digest(_) => true,
        };
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let parts = repository.split('/').all(|part| is_word(part, lower) && !part.contains(".."));
        let fits = name.len() <= MAX_NAME && tag && parts && is_host(registry);
        if fits {
            Ok(Self { registry: registry.to_owned(), repository, which })
        } else {
            Err(InvalidReference)
        }
    }

    /// The registry as people name it; credentials are kept under this name.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Where requests go: host and perhaps port.
    pub(crate) fn host(&self) -> &str {
        if self.registry == HUB { HUB_HOST } else { &self.registry }
    }

    /// The repository in the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; the beginning of the digest where there is none.
    #[must_use]
    pub fn tag(&self) -> &str {
        match &self.which {
            Which::Tag(tag) => tag,
            Which::Digest(digest) => &digest.hex()[..12],
        }
    }

    /// What the manifest must have as its digest.
    pub(crate) fn digest(&self) -> Option<&Digest> {
        match &self.which {
            Which::Tag(_) => None,
            Which::Digest(digest) => Some(digest),
        }
    }

    /// What the manifest is asked for by.
    pub(crate) fn selector(&self) -> String {
        match &self.which {
            Which::Tag(tag) => tag.clone(),
            Which::Digest(digest) => digest.to_string(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.digest().is_some() { '@' } else { ':' };
        write!(f, "{}/{}{mark}{}", self.registry, self.repository, self.selector())
    }
}

/// A letter or digit, and then also `.`, `_` and `-`; tags may begin with `_` as well, which nobody needs.
fn is_word(text: &str, plain: impl Fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(&plain)
        && text.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// A name or an address, and perhaps a port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let bracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name = match bracketed {
        Some(address) => address.parse::<IpAddr>().is_ok(),
        None => name.split('.').all(|label| is_word(label, |byte| byte.is_ascii_alphanumeric())),
    };
    port && name
}

/// Whether a host, without its port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    plain == "localhost" || plain.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_registry_a_repository_and_a_tag() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, registry, repository, tag) in [
            ("python", "docker.io", "library/python", "latest"),
            ("python:3.12", "docker.io", "library/python", "3.12"),
            ("team/app:1", "docker.io", "team/app", "1"),
            ("localhost/app", "localhost", "app", "latest"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000", "a/b", "c"),
            ("ghcr.io/a/b", "ghcr.io", "a/b", "latest"),
            ("[::1]:5000/a", "[::1]:5000", "a", "latest"),
            (&format!("ghcr.io/a/b@{digest}"), "ghcr.io", "a/b", "0a0a0a0a0a0a"),
        ] {
            let reference = Reference::parse(text).unwrap();
            let parts = (reference.registry(), reference.repository(), reference.tag());
            assert_eq!(parts, (registry, repository, tag), "{text}");
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        let long = "a".repeat(300);
        for text in [
            "",
            ":",
            "/",
            "a:",
            "a@",
            "a@sha256:00",
            "A/b",
            "a//b",
            "a/../b",
            "../a",
            "a b",
            "a:b c",
            "-a",
            "x.y:0/a",
            "x.y:99999/a",
            "x@y.z/a",
            "http://x.y/a",
            "[::1/a",
            "a:b/",
            "a?b",
            "a#b",
            "a%2f",
            &long,
        ] {
            assert_eq!(Reference::parse(text), Err(InvalidReference), "{text}");
        }
    }
}
