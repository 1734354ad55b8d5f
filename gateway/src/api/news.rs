//! The events of an organisation, as clients see them.

use serde::Serialize;
use utoipa::ToSchema;

/// What an event says; `event:` has its kind: `sandbox.created`, `.started` (after it was killed or had failed), `.woken`,
/// `.slept`, `.frozen`, `.thawed`, `.killed`, `.failed`, `.deleted`; `execution.ended`; `image.imported`, `.deleted`;
/// `key.created`, `.changed`, `.revoked`, `.deleted`; and `gap`, whose data is the offsets of what is not there any more.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewsItem<'a> {
    #[schema(format = DateTime)]
    pub(crate) at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox_id: Option<&'a str>,
    /// How an execution ended: a kind of end, `left` where its client went before, `failed` where it never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<&'static str>,
    /// The image's `name:tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<&'a str>,
}

/// Data of the event `gap`.
#[derive(Debug, Serialize)]
pub(crate) struct GapNotice {
    pub(crate) from: u64,
    pub(crate) to: u64,
}
