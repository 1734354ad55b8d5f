//! Parameters of file calls. Paths are bytes: a name need not be text.

use crate::error::{ApiError, ApiResult};
use crate::input::{self, Switch};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::files::{Format, MAX_PATH, MAX_PATTERN, PathText};
use std::ops::RangeInclusive;

/// Where calls look that name no path (contract §7).
pub(super) const HOME: &[u8] = b"/root";

/// A path that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) bytes: Vec<u8>,
}

impl Named {
    pub(super) fn text(&self) -> PathText {
        PathText(STANDARD.encode(&self.bytes))
    }
}

/// A path that has to be there.
pub(super) fn path(query: &str, name: &'static str) -> ApiResult<Named> {
    let bytes = input::parameter_bytes(query, name)?;
    named(name, bytes.ok_or_else(|| ApiError::field(name, "is required"))?)
}

/// A path that need not be there.
pub(super) fn path_or(query: &str, name: &'static str, absent: &[u8]) -> ApiResult<Named> {
    named(name, input::parameter_bytes(query, name)?.unwrap_or_else(|| absent.to_vec()))
}

/// A path that came in a query or a body.
pub(super) fn named(name: &'static str, bytes: Vec<u8>) -> ApiResult<Named> {
    let rule = |rule: &str| Err(ApiError::field(name, rule));
    if bytes.is_empty() {
        return rule("must not be empty");
    }
    if bytes.contains(&0) {
        return rule("must not contain NUL");
    }
    if bytes.len() >= MAX_PATH {
        return Err(ApiError::field(name, format_args!("is longer than {} bytes", MAX_PATH - 1)));
    }
    // Both SDKs read a relative one from `/` when they compute an archive's name, a shell from the home.
    if bytes.first() != Some(&b'/') {
        return rule("must be absolute");
    }
    Ok(Named { bytes })
}

/// A yes or no, in any case: one SDK writes `True`.
pub(super) fn switch(query: &str, name: &'static str, absent: Switch) -> ApiResult<Switch> {
    match input::parameter(query, name)? {
        None => Ok(absent),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(Switch::On),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(Switch::Off),
        Some(_) => Err(ApiError::field(name, "must be true or false")),
    }
}

/// A whole number, brought into its bounds.
pub(super) fn number(query: &str, name: &'static str, bounds: RangeInclusive<u32>) -> ApiResult<Option<u32>> {
    let Some(text) = input::parameter(query, name)? else { return Ok(None) };
    let digits = text.strip_prefix('-').unwrap_or(&text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ApiError::field(name, "must be a whole number"));
    }
    if text.starts_with('-') {
        return Ok(Some(*bounds.start()));
    }
    Ok(Some(text.parse().unwrap_or(u32::MAX).clamp(*bounds.start(), *bounds.end())))
}

/// Permission bits: three or four octal digits.
pub(super) fn mode(query: &str) -> ApiResult<u32> {
    let text = input::parameter(query, "mode")?.ok_or_else(|| ApiError::field("mode", "is required"))?;
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(&text, 8).ok().filter(|_| octal);
    mode.ok_or_else(|| ApiError::field("mode", "must be three or four octal digits"))
}

/// The format of an archive.
pub(super) fn format(query: &str) -> ApiResult<Format> {
    match input::parameter(query, "format")?.as_deref() {
        None | Some("tar.gz") => Ok(Format::TarGz),
        Some("tar") => Ok(Format::Tar),
        Some("tar.bz2") => Ok(Format::TarBz2),
        Some("tar.zst") => Ok(Format::TarZst),
        Some("zip") => Ok(Format::Zip),
        Some(_) => Err(ApiError::field("format", "must be tar, tar.gz, tar.bz2, tar.zst or zip")),
    }
}

/// What a transfer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    File,
    /// A directory, as a tar stream.
    Tree,
}

/// What `format` says of a transfer.
pub(super) fn carries(query: &str) -> ApiResult<Carries> {
    match input::parameter(query, "format")?.as_deref() {
        None => Ok(Carries::File),
        Some("tar") => Ok(Carries::Tree),
        Some(_) => Err(ApiError::field("format", "must be tar, or absent")),
    }
}

/// What a search looks for.
pub(super) fn pattern(query: &str) -> ApiResult<PathText> {
    let bytes = input::parameter_bytes(query, "pattern")?;
    let bytes = bytes.ok_or_else(|| ApiError::field("pattern", "is required"))?;
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(ApiError::field("pattern", "must neither be empty nor contain NUL"));
    }
    if bytes.len() > MAX_PATTERN {
        return Err(ApiError::field("pattern", format_args!("is longer than {MAX_PATTERN} bytes")));
    }
    Ok(PathText(STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(result: ApiResult<T>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.status.as_u16(), 400);
        error.message.into_owned()
    }

    #[test]
    fn a_path_is_absolute_bounded_bytes() {
        assert_eq!(path("path=/a%20b+%FF%0A", "path").unwrap().bytes, b"/a b+\xff\n");
        assert_eq!(path("path=%2Froot", "path").unwrap().text().0, "L3Jvb3Q=");
        assert_eq!(path_or("", "path", HOME).unwrap().bytes, HOME);
        let long = format!("path=/{}", "x".repeat(4095));
        assert!(path(&long[..long.len() - 1], "path").is_ok());
        for (query, text) in [
            ("", "path: is required"),
            ("path=", "path: must not be empty"),
            ("path=/a%00", "path: must not contain NUL"),
            ("path=a", "path: must be absolute"),
            ("path=/%4", "path: is not validly percent-encoded"),
            (&long, "path: is longer than 4095 bytes"),
        ] {
            assert_eq!(refusal(path(query, "path")), text, "{query}");
        }
    }

    #[test]
    fn other_parameters_have_their_values_and_no_others() {
        assert_eq!(switch("head=FALSE", "head", Switch::On).unwrap(), Switch::Off);
        assert_eq!(switch("head=True", "head", Switch::Off).unwrap(), Switch::On);
        assert_eq!(refusal(switch("head=1", "head", Switch::On)), "head: must be true or false");
        for (text, expected) in [("0", 1), ("-5", 1), ("7", 7), ("99999999999999999999", 10_000)] {
            assert_eq!(number(&format!("lines={text}"), "lines", 1..=10_000).unwrap(), Some(expected));
        }
        for text in ["", "-", "+1", "1.5", "x"] {
            assert!(number(&format!("lines={text}"), "lines", 1..=10).is_err(), "{text}");
        }
        for (text, expected) in [("644", Some(0o644)), ("0755", Some(0o755)), ("7777", Some(0o7777))] {
            assert_eq!(mode(&format!("mode={text}")).ok(), expected);
        }
        for text in ["", "64", "07555", "u+x", "888", "+64", "0o7"] {
            assert!(mode(&format!("mode={text}")).is_err(), "{text}");
        }
        assert_eq!(format("").unwrap(), Format::TarGz);
        assert!(format("format=rar").is_err() && carries("format=zip").is_err());
        assert_eq!(refusal(pattern("pattern=")), "pattern: must neither be empty nor contain NUL");
        assert!(pattern(&format!("pattern={}", "x".repeat(1025))).is_err());
    }
}
