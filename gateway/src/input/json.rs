//! JSON, stricter than the standard: no name twice in one object (two readers would see two values), bounded
//! depth and bounded number of values.

use crate::error::{ApiError, ApiResult};
use crate::limits;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// What all levels of one document share.
#[derive(Default)]
struct Document {
    values: Cell<usize>,
    refusal: RefCell<Option<ApiError>>,
}

impl Document {
    /// Keeps our own text: serde's would be a generic one.
    fn refuse<E: Error>(&self, refusal: ApiError) -> E {
        self.refusal.replace(Some(refusal));
        E::custom("refused")
    }
}

/// Reads one whole document.
pub(super) fn parse(bytes: &[u8]) -> ApiResult<Value> {
    let text = std::str::from_utf8(bytes).map_err(|_| ApiError::field("body", "is not valid UTF-8"))?;
    let document = Document::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Level { document: &document, depth: 0 }.deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        document.refusal.take().unwrap_or_else(|| {
            let place = format_args!("is not valid JSON, at line {} column {}", error.line(), error.column());
            ApiError::field("body", place)
        })
    })
}

#[derive(Clone, Copy)]
struct Level<'a> {
    document: &'a Document,
    depth: usize,
}

impl Level<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= limits::MAX_JSON_DEPTH {
            let rule = format_args!("is nested deeper than {} levels", limits::MAX_JSON_DEPTH);
            return Err(self.document.refuse(ApiError::field("body", rule)));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        let values = self.document.values.get() + 1;
        self.document.values.set(values);
        if values > limits::MAX_JSON_VALUES {
            let rule = format_args!("has more than {} values", limits::MAX_JSON_VALUES);
            return Err(self.document.refuse(ApiError::field("body", rule)));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let level = self.deeper()?;
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(level)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let level = self.deeper()?;
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(level)?;
            if all.contains_key(&name) {
                let shown: String = name.chars().take(limits::MAX_ENV_NAME).collect();
                return Err(self.document.refuse(ApiError::field(shown, "appears twice")));
            }
            all.insert(name, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &[u8]) -> String {
        parse(text).unwrap_err().message.into_owned()
    }

    #[test]
    fn plain_documents_are_read_as_they_are() {
        let text = r#"{"a":[1,-2,2.5,true,null,"\u00e9"],"b":{"c":{}}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn each_refusal_says_what_is_wrong_in_our_words() {
        assert_eq!(refusal(br#"{"name":1,"name":2}"#), "name: appears twice");
        assert_eq!(refusal(br#"{"a":{"b":1,"b":1}}"#), "b: appears twice");
        assert_eq!(refusal(b"{\"a\":\"\xff\"}"), "body: is not valid UTF-8");
        let deep = "[".repeat(100_000);
        assert_eq!(refusal(deep.as_bytes()), "body: is nested deeper than 32 levels");
        let many = format!("[{}0]", "0,".repeat(60_000));
        assert_eq!(refusal(many.as_bytes()), "body: has more than 50000 values");
        for text in
            [&b"{"[..], b"{} x", b"nan", b"1e400", b"\"\\ud800\"", b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0"]
        {
            assert!(refusal(text).starts_with("body: is not valid "), "{text:?}");
        }
    }
}
