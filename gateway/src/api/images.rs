//! Images as clients see them (contract §9).

use super::instant;
use bulkhead_protocol::image::ImageRow;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// Bytes in `sizeGB`.
const GB: u64 = 1_000_000_000;

/// An image.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageShown {
    /// Of the name and its owner: a name keeps it when it gets another content.
    pub(crate) id: String,
    name: String,
    tag: String,
    /// Of its unpacked layers, rounded up.
    #[serde(rename = "sizeGB")]
    size_gb: u64,
    /// Whether it belongs to the host: everybody may use it.
    system: bool,
    /// Always `true`.
    active: bool,
    /// Empty where it belongs to the host.
    org_id: String,
    /// RFC 3339.
    created_at: String,
    /// The user who made it; empty where that was the host's operator.
    created_by: String,
}

impl From<&ImageRow> for ImageShown {
    fn from(row: &ImageRow) -> Self {
        Self {
            id: image_id(row),
            name: row.name.name().to_owned(),
            tag: row.name.tag().to_owned(),
            size_gb: row.bytes.div_ceil(GB),
            system: row.org.is_none(),
            active: true,
            org_id: row.org.clone().unwrap_or_default(),
            created_at: instant(row.created_us),
            created_by: row.created_by.clone().unwrap_or_default(),
        }
    }
}

/// By what an image is named in a path: 128 bits of a digest of its owner and its name, in which no slash can be.
pub(crate) fn image_id(row: &ImageRow) -> String {
    let owner = row.org.as_deref().unwrap_or_default();
    // No owner holds a NUL, so no two pairs are the same bytes.
    let text = format!("{owner}\0{}", row.name);
    let digest: [u8; 32] = Sha256::digest(text).into();
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_protocol::image::{ImageId, ImageName};

    fn row(org: Option<&str>, bytes: u64) -> ImageRow {
        ImageRow {
            org: org.map(str::to_owned),
            name: ImageName::parse("library/python:3.12").unwrap(),
            id: ImageId::host(),
            bytes,
            layers: 1,
            created_us: 0,
            created_by: None,
        }
    }

    #[test]
    fn a_size_is_whole_and_never_too_small() {
        for (bytes, expected) in [(0, 0), (1, 1), (GB, 1), (GB + 1, 2)] {
            assert_eq!(ImageShown::from(&row(None, bytes)).size_gb, expected);
        }
    }

    #[test]
    fn an_id_is_that_of_its_owner_and_name() {
        assert_eq!(image_id(&row(Some("a"), 1)), image_id(&row(Some("a"), 2)));
        assert_ne!(image_id(&row(Some("a"), 1)), image_id(&row(Some("b"), 1)));
        assert_ne!(image_id(&row(Some("a"), 1)), image_id(&row(None, 1)));
    }
}
