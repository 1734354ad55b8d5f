//! The query of a list: which page, and which labels must match.

use super::refuse;
use crate::error::ApiResult;
use crate::input::decode;
use crate::limits::{PAGE_DEFAULT, PAGE_MOST};
use crate::registry::{Page, Registry};

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) page: u64,
    pub(super) limit: u64,
    labels: Vec<(String, String)>,
}

impl Filter {
    pub(super) fn parse(query: &str) -> ApiResult<Self> {
        let mut filter = Self { page: 1, limit: PAGE_DEFAULT, labels: Vec::new() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "page" => filter.page = number("page", value)?,
                "limit" => filter.limit = number("limit", value)?.min(PAGE_MOST),
                "labels" => filter.labels.extend(labels(value)?),
                // Unknown parameters are ignored; none of them can widen what is shown.
                _ => {}
            }
        }
        Ok(filter)
    }

    /// The rows of the page, and how many there are in all.
    pub(super) fn apply(&self, registry: &Registry, org: &str) -> Page {
        let skip = usize::try_from((self.page - 1).saturating_mul(self.limit)).unwrap_or(usize::MAX);
        let end = skip.saturating_add(usize::try_from(self.limit).unwrap_or(usize::MAX));
        registry.page(org, skip..end, &self.labels)
    }
}

fn number(field: &'static str, text: &str) -> ApiResult<u64> {
    let number = decode(text).and_then(|text| text.trim().parse().ok()).filter(|number| *number >= 1);
    number.ok_or_else(|| refuse(field, "must be an integer of 1 or more"))
}

fn labels(value: &str) -> ApiResult<Vec<(String, String)>> {
    let text = decode(value).ok_or_else(|| refuse("labels", "is not valid percent-encoded UTF-8"))?;
    text.split(',')
        .filter(|item| !item.is_empty())
        .map(|item| {
            let pair =
                item.split_once('=').ok_or_else(|| refuse("labels", "every item must be key=value"))?;
            Ok((pair.0.trim().to_owned(), pair.1.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_clamped() {
        let filter = Filter::parse("page=2&limit=500&labels=a%3Db%2Cc=d%20e+&org=x").unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let labels = vec![pair("a", "b"), pair("c", "d e+")];
        assert_eq!(filter, Filter { page: 2, limit: 100, labels });
        assert_eq!(Filter::parse("").unwrap(), Filter { page: 1, limit: 20, labels: Vec::new() });
    }

    #[test]
    fn a_bad_query_names_its_parameter() {
        let cases = [("page=0", "page"), ("page=x", "page"), ("limit=-1", "limit"), ("limit=", "limit")];
        for (query, field) in cases.into_iter().chain([("labels=a", "labels"), ("labels=%ff", "labels")]) {
            let error = Filter::parse(query).unwrap_err();
            assert!(error.message.starts_with(field), "{query}: {}", error.message);
        }
    }
}
