//! Rules of labels (contract §3.2): few, short, and free of what separates them in a query.

use super::refuse;
use crate::error::ApiResult;
use crate::limits::{MAX_LABEL, MAX_LABELS};
use std::collections::BTreeMap;

pub(super) fn check(labels: &BTreeMap<String, String>) -> ApiResult<()> {
    if labels.len() > MAX_LABELS {
        return Err(refuse("labels", format_args!("has more than {MAX_LABELS} pairs")));
    }
    for (key, value) in labels {
        if !is_key(key) {
            let rule = "a key must have from 1 to 20 of a-z, 0-9, - and _, with a-z or 0-9 at both ends";
            return Err(refuse("labels", rule));
        }
        if value.chars().count() > MAX_LABEL || value.contains([',', '=', '\0']) {
            let rule = "a value must have at most 20 characters, without a comma, = or NUL";
            return Err(refuse("labels", rule));
        }
    }
    Ok(())
}

fn is_key(key: &str) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = key.as_bytes();
    let inner = |byte: &u8| edge(Some(byte)) || matches!(byte, b'-' | b'_');
    bytes.len() <= MAX_LABEL && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_keep_their_shape() {
        let good = [("a", ""), ("a-b_c9", "ÄÖÜ 日本"), ("0", "x")];
        let bad = [
            ("", "x"),
            ("A", "x"),
            ("-a", "x"),
            ("a_", "x"),
            ("system/x", "x"),
            ("__proto__", "x"),
            ("aaaaaaaaaaaaaaaaaaaaa", "x"),
            ("a", "x,y"),
            ("a", "x=y"),
            ("a", "xxxxxxxxxxxxxxxxxxxxx"),
        ];
        let one = |(key, value): (&str, &str)| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        for pair in good {
            assert!(check(&one(pair)).is_ok(), "{pair:?}");
        }
        for pair in bad {
            assert!(check(&one(pair)).is_err(), "{pair:?}");
        }
        let six = (0..6).map(|n| (n.to_string(), String::new())).collect();
        assert!(check(&six).is_err());
    }
}
