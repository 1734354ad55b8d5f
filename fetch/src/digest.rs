//! The name of bytes by their content.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// `sha256:` and 64 lower-case hexadecimal digits, so it can name a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    text: String,
}

const ALGORITHM: &str = "sha256:";

impl Digest {
    /// Checks `text`, which may come from anywhere; `None` where it is no digest of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(ALGORITHM)?;
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (hex.len() == 64 && hex.bytes().all(digit)).then(|| Self { text: text.to_owned() })
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new().chain_update(bytes))
    }

    /// The digest of what was hashed.
    pub(crate) fn finish(hash: Sha256) -> Self {
        use fmt::Write;
        let mut text = ALGORITHM.to_owned();
        for byte in hash.finalize() {
            // Writing to a string cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        Self { text }
    }

    /// The digits alone.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.text[ALGORITHM.len()..]
    }

    /// Whether these bytes have it.
    pub(crate) fn check(&self, what: &'static str, bytes: &[u8]) -> Result<(), Error> {
        if Self::of(bytes) == *self { Ok(()) } else { Err(Error::Digest { what, expected: self.clone() }) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.text
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("must be sha256: and 64 hexadecimal digits")
    }
}
