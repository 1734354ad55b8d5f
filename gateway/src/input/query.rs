//! The part of a path behind the question mark. Unknown parameters are ignored.

use crate::error::{ApiError, ApiResult};

/// The last value of a parameter, decoded; a parameter without a value is an empty one.
pub(crate) fn parameter(query: &str, name: &'static str) -> ApiResult<Option<String>> {
    let text = parameter_bytes(query, name)?.map(String::from_utf8).transpose();
    text.map_err(|_| ApiError::field(name, "is not valid percent-encoded UTF-8"))
}

/// [`parameter`] of what need not be text: a path.
pub(crate) fn parameter_bytes(query: &str, name: &'static str) -> ApiResult<Option<Vec<u8>>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.rev().find(|(key, _)| *key == name);
    value
        .map(|(_, value)| {
            decode_bytes(value).ok_or_else(|| ApiError::field(name, "is not validly percent-encoded"))
        })
        .transpose()
}

/// Undoes percent-encoding; a plus sign is itself (contract §1.6).
pub(crate) fn decode(text: &str) -> Option<String> {
    String::from_utf8(decode_bytes(text)?).ok()
}

fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_and_decoded() {
        assert_eq!(parameter("a=1&b=%41+&a=2", "a").unwrap().as_deref(), Some("2"));
        assert_eq!(parameter("a=1&b=%41+&a=2", "b").unwrap().as_deref(), Some("A+"));
        assert_eq!(parameter("close", "close").unwrap().as_deref(), Some(""));
        assert_eq!(parameter("", "close").unwrap(), None);
        assert_eq!(parameter_bytes("p=%2Fa%ff+", "p").unwrap().as_deref(), Some(&b"/a\xff+"[..]));
        assert!(parameter("b=%ff", "b").unwrap_err().message.starts_with("b: "));
        assert!(parameter("b=%4", "b").unwrap_err().message.starts_with("b: "));
    }
}
