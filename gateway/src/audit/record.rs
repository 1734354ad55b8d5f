//! One line.

use crate::limits;
use serde::{Serialize, Serializer};
use std::net::SocketAddr;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The object that a request made, for its line: an extension of the answer.
#[derive(Debug, Clone)]
pub(crate) struct Object(pub(crate) String);

/// What one line says. What is empty or 0 is left out.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record<'a> {
    #[serde(serialize_with = "now")]
    pub(crate) time: (),
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) request_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) org: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) key: &'a str,
    /// A method and the template of a route, or a word of ours.
    pub(crate) action: &'a str,
    #[serde(skip_serializing_if = "str::is_empty", serialize_with = "bounded")]
    pub(crate) object: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<SocketAddr>,
    /// Lines of the same kind that were left out before this one.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) held_back: u64,
    /// Lines of any kind that found no room before this one.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) dropped: u64,
}

impl<'a> Record<'a> {
    pub(crate) fn of(action: &'a str) -> Self {
        Self {
            time: (),
            request_id: "",
            org: "",
            user: "",
            key: "",
            action,
            object: "",
            status: 0,
            peer: None,
            held_back: 0,
            dropped: 0,
        }
    }
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn now<S: Serializer>(_time: &(), serializer: S) -> Result<S::Ok, S::Error> {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&now)
}

/// A client may have chosen it: its beginning, printable ASCII and nothing else.
fn bounded<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let plain = text.chars().take(limits::AUDIT_OBJECT);
    let plain = plain.map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    serializer.collect_str(&plain.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_object_whatever_it_is_about() {
        let object = format!("a\r\n{{\"time\":1}}\u{1b}[2J\u{202e}{}", "x".repeat(10_000));
        let record = Record { object: &object, status: 404, ..Record::of("DELETE /sandboxes/{id}") };
        let line = serde_json::to_string(&record).unwrap();
        assert!(line.len() < 400 && line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(value["object"].as_str().unwrap().starts_with(r#"a??{"time":1}?[2J?xxx"#), "{line}");
        let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["action", "object", "status", "time"]);
    }
}
