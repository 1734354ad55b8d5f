//! Where in a stream of events to begin.

use super::parameter;
use crate::error::{ApiError, ApiResult};
use crate::limits::MAX_COUNT;
use hyper::HeaderMap;

const LAST_EVENT_ID: &str = "last-event-id";

/// Where to begin, as the query or else the header says.
pub(crate) fn offset(query: &str, headers: &HeaderMap) -> ApiResult<Option<u64>> {
    if let Some(text) = parameter(query, "from")? {
        return number("from", &text).map(Some);
    }
    match headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) {
        Some(value) => number("Last-Event-ID", value.to_str().unwrap_or_default()).map(Some),
        None => Ok(None),
    }
}

fn number(field: &'static str, text: &str) -> ApiResult<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number <= MAX_COUNT);
    number.ok_or_else(|| ApiError::field(field, "must be an integer of 0 or more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_counts_more_than_the_header() {
        let mut headers = HeaderMap::new();
        assert_eq!(offset("", &headers).unwrap(), None);
        headers.insert(LAST_EVENT_ID, hyper::header::HeaderValue::from_static("7"));
        assert_eq!(offset("", &headers).unwrap(), Some(7));
        assert_eq!(offset("from=9", &headers).unwrap(), Some(9));
        assert!(offset("from=-1", &headers).is_err() && offset("from=", &headers).is_err());
    }
}
