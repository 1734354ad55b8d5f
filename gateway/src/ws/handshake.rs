//! The handshake: everything that can be wrong with it is an ordinary HTTP answer. A page of another origin
//! is refused: a browser sends its user's reach to us with any page's request.

use crate::error::{ApiError, ApiResult};
use crate::reply::{self, Reply, ReplyBody};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{StatusCode, Version};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Bytes of a decoded `Sec-WebSocket-Key`.
const KEY_LEN: usize = 16;

/// A handshake that is in order.
#[derive(Debug)]
pub(crate) struct Accepted {
    answer: HeaderValue,
}

impl Accepted {
    /// The 101.
    pub(crate) fn reply(self) -> Reply {
        let body = ReplyBody::Whole(Bytes::new());
        let mut reply = reply::with(StatusCode::SWITCHING_PROTOCOLS, reply::JSON, body);
        let headers = reply.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.answer);
        reply
    }
}

/// Checks the head of a request for a WebSocket.
pub(crate) fn accept(version: Version, headers: &HeaderMap) -> ApiResult<Accepted> {
    same_origin(headers)?;
    let wanted = version == Version::HTTP_11
        && has_token(headers, &header::CONNECTION, "upgrade")
        && has_token(headers, &header::UPGRADE, "websocket");
    if !wanted || only(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|value| value != "13") {
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, "this route speaks WebSocket, version 13"));
    }
    let empty = only(headers, &header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    if headers.contains_key(header::TRANSFER_ENCODING) || !empty {
        return Err(ApiError::bad_request("a handshake has no body"));
    }
    let key = only(headers, &header::SEC_WEBSOCKET_KEY);
    let key = key.filter(|key| STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == KEY_LEN));
    let key = key.ok_or_else(|| ApiError::bad_request("Sec-WebSocket-Key: must be 16 bytes in base64"))?;
    let answer = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(ApiError::internal)?;
    Ok(Accepted { answer })
}

/// The only value of a header.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

fn same_origin(headers: &HeaderMap) -> ApiResult<()> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let text = |name| only(headers, name).and_then(|value| value.to_str().ok());
    let same =
        text(&header::ORIGIN).zip(text(&header::HOST)).is_some_and(|(origin, host)| is_same(origin, host));
    if same {
        Ok(())
    } else {
        Err(ApiError::new(StatusCode::FORBIDDEN, "Origin: is not the one of this server"))
    }
}

/// Whether `origin` is what a page of `host` sends. The scheme is not known here (a proxy may have ended TLS),
/// so both are taken, each with its default port.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let plain = |name: &str| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
    !authority.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut all = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            all.append(name, value);
        }
        all
    }

    const GOOD: [(&str, &str); 5] = [
        ("host", "box.example:8080"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn status(pairs: &[(&'static str, &str)]) -> u16 {
        match accept(Version::HTTP_11, &headers(pairs)) {
            Ok(_) => 101,
            Err(error) => error.status.as_u16(),
        }
    }

    #[test]
    fn the_example_of_the_standard_is_accepted() {
        let reply = accept(Version::HTTP_11, &headers(&GOOD)).unwrap().reply();
        assert_eq!(reply.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!reply.headers().contains_key("sec-websocket-extensions"));
    }

    #[test]
    fn every_missing_or_wrong_part_has_its_status() {
        for (at, expected) in [(1, 426), (2, 426), (3, 426), (4, 400)] {
            let mut pairs = GOOD.to_vec();
            pairs.remove(at);
            assert_eq!(status(&pairs), expected, "without {}", GOOD[at].0);
            let mut pairs = GOOD.to_vec();
            pairs[at].1 = "x";
            assert_eq!(status(&pairs), expected, "wrong {}", GOOD[at].0);
        }
        assert_eq!(status(&[GOOD.to_vec(), vec![("content-length", "1")]].concat()), 400);
        assert_eq!(status(&[GOOD.to_vec(), vec![GOOD[4]]].concat()), 400);
        assert_eq!(
            accept(Version::HTTP_10, &headers(&GOOD)).unwrap_err().status,
            StatusCode::UPGRADE_REQUIRED
        );
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let from = |origin| status(&[GOOD.to_vec(), vec![("origin", origin)]].concat());
        assert_eq!(from("http://box.example:8080"), 101);
        assert_eq!(from("https://BOX.example:8080"), 101);
        for origin in [
            "null",
            "",
            "http://box.example",
            "http://evil.example:8080",
            "http://box.example:8080.evil",
            "file://box.example:8080",
            "box.example:8080",
        ] {
            assert_eq!(from(origin), 403, "{origin}");
        }
        assert!(
            is_same("https://a.b", "a.b:443")
                && is_same("http://a.b", "a.b")
                && !is_same("https://a.b", "a.b:80")
        );
        assert_eq!(status(&[GOOD.to_vec(), vec![("origin", "http://box.example:8080"); 2]].concat()), 403);
    }
}
