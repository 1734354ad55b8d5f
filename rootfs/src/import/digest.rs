//! SHA-256, as registries write it.

use super::failure::{Outcome, quoted, refused};
use sha2::{Digest as _, Sha256};
use std::fmt::Write;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "sha256:";

/// `sha256:` and 64 digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest(String);

impl Digest {
    /// Checks what a manifest says.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        match text.strip_prefix(PREFIX) {
            Some(digits) if digits.len() == 64 && digits.bytes().all(hex) => Ok(Self(text.to_owned())),
            _ => refused(format!("{} is no SHA-256 digest", quoted(text.as_bytes()))),
        }
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hash = Hash::default();
        hash.take(bytes);
        hash.finish()
    }

    /// The digits alone: a safe name of a file.
    pub(crate) fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A digest in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hash(Sha256);

impl Hash {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let mut text = PREFIX.to_owned();
        for byte in self.0.finalize() {
            write!(text, "{byte:02x}").expect("a String takes all text");
        }
        Digest(text)
    }
}

/// Passes a stream on and remembers what it was.
#[derive(Debug)]
pub(crate) struct Hashing<R> {
    inner: R,
    pub(crate) hash: Hash,
    count: Arc<AtomicU64>,
}

impl<R: Read> Hashing<R> {
    /// `count` is told of every byte.
    pub(crate) fn new(inner: R, count: Arc<AtomicU64>) -> Self {
        Self { inner, hash: Hash::default(), count }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(out)?;
        self.hash.take(&out[..count]);
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_algorithm_and_one_spelling() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(Digest::parse(empty).unwrap().hex().len(), 64);
        for text in
            ["", "sha256:", "sha256:../../x", "sha1:00", "md5:00", &empty.to_uppercase(), &empty[..70]]
        {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
