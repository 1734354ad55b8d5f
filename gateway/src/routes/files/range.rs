//! `Range` of a download (RFC 9110 §14): one range of bytes. Whatever else it may be is ignored, as the standard
//! allows: the answer is then the whole file.

use hyper::HeaderMap;
use hyper::header::RANGE;

/// The part of a file that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// From the first to the last byte, or to the end.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

/// What a request asks for.
pub(super) fn wanted(headers: &HeaderMap) -> Wanted {
    let mut values = headers.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Wanted::All };
    value.to_str().ok().and_then(parse).unwrap_or(Wanted::All)
}

fn parse(text: &str) -> Option<Wanted> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.split_once('-').filter(|_| unit.trim().eq_ignore_ascii_case("bytes"))?;
    match (first.trim(), last.trim()) {
        ("", last) => Some(Wanted::Last(number(last)?)),
        (first, "") => Some(Wanted::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Wanted::From(first, Some(last)))
        }
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_and_everything_else_is_the_whole_file() {
        for (text, expected) in [
            ("bytes=0-0", Wanted::From(0, Some(0))),
            ("bytes=5-", Wanted::From(5, None)),
            ("Bytes = 5 - 9", Wanted::From(5, Some(9))),
            ("bytes=-500", Wanted::Last(500)),
            ("bytes=9-5", Wanted::All),
            ("bytes=0-1,5-6", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("bytes=99999999999999999999-", Wanted::All),
            ("", Wanted::All),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, text.parse().unwrap());
            assert_eq!(wanted(&headers), expected, "{text}");
            headers.append(RANGE, text.parse().unwrap());
            assert_eq!(wanted(&headers), Wanted::All);
        }
        assert_eq!(wanted(&HeaderMap::new()), Wanted::All);
    }
}
