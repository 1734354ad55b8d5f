//! The members of one JSON object, taken out by name. `null` is the same as absent.

use super::json;
use crate::error::{ApiError, ApiResult};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A yes or no, with a name at the place where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    On,
    Off,
}

/// An object whose members have not been looked at yet.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Map<String, Value>,
    /// What stands before a member's name in a refusal: empty, or `parent.`.
    prefix: String,
}

impl Fields {
    /// A request's body; no bytes at all are an empty object.
    pub(crate) fn of_body(bytes: &[u8]) -> ApiResult<Self> {
        if bytes.is_empty() {
            return Ok(Self { members: Map::new(), prefix: String::new() });
        }
        match json::parse(bytes)? {
            Value::Object(members) => Ok(Self { members, prefix: String::new() }),
            _ => Err(ApiError::field("body", "must be a JSON object")),
        }
    }

    /// The full name of a member.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The refusal of a member.
    pub(crate) fn refuse(&self, name: &str, rule: impl std::fmt::Display) -> ApiError {
        ApiError::field(self.name(name), rule)
    }

    /// A member of any type.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    /// The name of a member that nobody took.
    pub(crate) fn left(&self) -> Option<String> {
        self.members.keys().next().map(|name| self.name(name))
    }

    pub(crate) fn text(&mut self, name: &str) -> ApiResult<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(name, "must be a string")),
        }
    }

    pub(crate) fn switch(&mut self, name: &str, absent: Switch) -> ApiResult<Switch> {
        match self.take(name) {
            None => Ok(absent),
            Some(Value::Bool(true)) => Ok(Switch::On),
            Some(Value::Bool(false)) => Ok(Switch::Off),
            Some(_) => Err(self.refuse(name, "must be true or false")),
        }
    }

    /// One that has no usual value.
    pub(crate) fn needed_switch(&mut self, name: &str) -> ApiResult<Switch> {
        if self.members.get(name).is_none_or(Value::is_null) {
            return Err(self.refuse(name, "is required"));
        }
        self.switch(name, Switch::Off)
    }

    pub(crate) fn whole(&mut self, name: &str, bounds: &RangeInclusive<u64>) -> ApiResult<Option<u64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64().filter(|number| bounds.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let rule = format_args!("must be an integer from {} to {}", bounds.start(), bounds.end());
                Err(self.refuse(name, rule))
            }
        }
    }

    pub(crate) fn list(&mut self, name: &str) -> ApiResult<Option<Vec<Value>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.refuse(name, "must be an array")),
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> ApiResult<Option<Self>> {
        let prefix = format!("{}.", self.name(name));
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self { members, prefix })),
            Some(_) => Err(self.refuse(name, "must be an object")),
        }
    }

    /// An object of strings. A member that is `null` is left out.
    pub(crate) fn texts(&mut self, name: &str) -> ApiResult<Option<BTreeMap<String, String>>> {
        let Some(object) = self.object(name)? else { return Ok(None) };
        let mut texts = BTreeMap::new();
        for (key, value) in object.members {
            match value {
                Value::String(text) => drop(texts.insert(key, text)),
                Value::Null => {}
                _ => return Err(self.refuse(name, "every value must be a string")),
            }
        }
        Ok(Some(texts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_absent_and_no_body_is_an_empty_object() {
        let mut fields = Fields::of_body(br#"{"a":null,"o":{"x":null}}"#).unwrap();
        assert_eq!(fields.text("a").unwrap(), None);
        assert_eq!(fields.texts("o").unwrap(), Some(BTreeMap::new()));
        assert!(Fields::of_body(b"").unwrap().left().is_none());
    }

    #[test]
    fn a_value_of_another_type_names_its_field() {
        let body = br#"{"t":1,"s":"true","w":1.0,"l":{},"o":[],"e":{"A":1},"n":{"deep":"x"}}"#;
        let mut fields = Fields::of_body(body).unwrap();
        let text = |error: ApiError| error.message.into_owned();
        assert_eq!(text(fields.text("t").unwrap_err()), "t: must be a string");
        assert_eq!(text(fields.switch("s", Switch::On).unwrap_err()), "s: must be true or false");
        assert_eq!(text(fields.whole("w", &(1..=8)).unwrap_err()), "w: must be an integer from 1 to 8");
        assert_eq!(text(fields.list("l").unwrap_err()), "l: must be an array");
        assert_eq!(text(fields.object("o").unwrap_err()), "o: must be an object");
        assert_eq!(text(fields.texts("e").unwrap_err()), "e: every value must be a string");
        let mut inner = fields.object("n").unwrap().unwrap();
        assert_eq!(
            text(inner.whole("deep", &(0..=1)).unwrap_err()),
            "n.deep: must be an integer from 0 to 1"
        );
        assert_eq!(text(Fields::of_body(b"[]").unwrap_err()), "body: must be a JSON object");
    }
}
