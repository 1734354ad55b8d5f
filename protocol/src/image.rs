//! Images, as the gateway and the host commands speak of them with the runtime, which owns the store.

use crate::Limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Longest name of an image, `name:tag`, in bytes.
pub const MAX_IMAGE_NAME: usize = 128;
/// The tag of who names none.
pub const DEFAULT_TAG: &str = "latest";
/// Bytes of all environment variables of an image together as they travel ([`env_bytes`]); the operator may set as many
/// over them. What travels must fit into a packet, and JSON makes six bytes of one control character.
pub const MAX_IMAGE_ENV: usize = 16 << 10;
/// Longest path or user name that an image's configuration may hold, in bytes.
pub const MAX_IMAGE_TEXT: usize = 1024;
/// How long an import may take, and may wait for its turn before. A source may be a file that never gives its bytes; the
/// largest image there can be is written in a quarter of it to a disk that takes 200 MB/s.
pub const IMPORT_TIME: Duration = Duration::from_secs(20 * 60);
/// Exit status of an importer, and of its stages, that found no room on the disk, not even to say so.
pub const EXIT_NO_ROOM: u8 = 28;
/// Between a digest and whose it is.
const OWNER_MARK: char = '@';
/// Longest name of an owner, in bytes.
const MAX_OWNER: usize = 64;
/// Rows of one [`Reply::Images`](crate::runtime::Reply::Images), so that it fits into a packet.
pub const IMAGE_PAGE: usize = 64;

/// The name that people give to an image: `name:tag`, both of `[a-z0-9._-]`, the name with `/` as well.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageName {
    text: String,
    colon: usize,
}

/// A text that names no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidName;

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "must be name or name:tag, at most {MAX_IMAGE_NAME} bytes of a-z, 0-9, '.', '_', '-' and '/'"
        )
    }
}

impl std::error::Error for InvalidName {}

impl ImageName {
    /// Checks `text`, which may come from anywhere; one without a tag gets [`DEFAULT_TAG`].
    ///
    /// # Errors
    /// [`InvalidName`].
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let (name, tag) = text.split_once(':').unwrap_or((text, DEFAULT_TAG));
        let text = format!("{name}:{tag}");
        let whole = text.len() <= MAX_IMAGE_NAME && !name.contains("..");
        let fits = whole && is_part(name, b"._-/") && is_part(tag, b"._-");
        if fits { Ok(Self { colon: name.len(), text }) } else { Err(InvalidName) }
    }

    /// The part before the colon.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.colon]
    }

    /// The part behind it.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.text[self.colon + 1..]
    }

    /// Both, `name:tag`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Begins and ends with a letter or a digit; between them the marks in `between` are allowed as well.
fn is_part(text: &str, between: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || between.contains(byte))
}

impl TryFrom<String> for ImageName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<ImageName> for String {
    fn from(name: ImageName) -> Self {
        name.text
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What an image is, whatever it is called: the digest of its configuration, or the built-in one. The same image stored
/// for one organisation alone is another one, `sha256:DIGITS@ORGANISATION`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

/// A text that is no [`ImageId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidImageId;

impl fmt::Display for InvalidImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "must be sha256: and 64 hexadecimal digits, and may have @ and an organisation behind them",
        )
    }
}

impl std::error::Error for InvalidImageId {}

impl ImageId {
    const HOST: &str = "host";

    /// The built-in image: the host's own programs.
    #[must_use]
    pub fn host() -> Self {
        Self(Self::HOST.to_owned())
    }

    /// Checks `text`, which may come from anywhere: `host`, or `sha256:` and 64 lower-case hexadecimal digits, behind which
    /// `@` and an owner may stand.
    ///
    /// # Errors
    /// [`InvalidImageId`].
    pub fn parse(text: &str) -> Result<Self, InvalidImageId> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let digits = |digits: &str| digits.len() == 64 && digits.bytes().all(hex);
        let (digest, owner) = Self::parts(text);
        let stored = digest.strip_prefix("sha256:").is_some_and(digits) && owner.is_none_or(is_owner);
        if stored || text == Self::HOST { Ok(Self(text.to_owned())) } else { Err(InvalidImageId) }
    }

    /// The same image, stored for `owner` alone.
    ///
    /// # Errors
    /// [`InvalidImageId`] where `owner` can be no organisation, and for the built-in one, which is everybody's.
    pub fn owned_by(&self, owner: &str) -> Result<Self, InvalidImageId> {
        Self::parse(&format!("{}{OWNER_MARK}{owner}", self.digest()))
    }

    /// The same image, whoever it is stored for.
    #[must_use]
    pub fn unowned(&self) -> Self {
        Self(self.digest().to_owned())
    }

    /// The digest of its configuration, which says what is in it.
    #[must_use]
    pub fn digest(&self) -> &str {
        Self::parts(&self.0).0
    }

    /// The organisation that it is stored for alone; `None` where it is stored for everybody.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        Self::parts(&self.0).1
    }

    fn parts(text: &str) -> (&str, Option<&str>) {
        text.split_once(OWNER_MARK).map_or((text, None), |(digest, owner)| (digest, Some(owner)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the built-in one.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.0 == Self::HOST
    }
}

fn is_owner(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MAX_OWNER).contains(&text.len()) && text.bytes().all(plain)
}

impl TryFrom<String> for ImageId {
    type Error = InvalidImageId;
    fn try_from(text: String) -> Result<Self, InvalidImageId> {
        Self::parse(&text)
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        id.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image that was found by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundImage {
    /// Its full name.
    pub name: ImageName,
    /// What it is.
    pub id: ImageId,
    /// What it says of its commands, and the host's operator over it.
    pub defaults: ImageDefaults,
    /// The most that its sandboxes get.
    #[serde(default)]
    pub most: MostLimits,
}

/// The most that the host's operator lets a sandbox of an image have; `None` is no bound but that of [`Limits::check`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MostLimits {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Cpu time in thousandths of one processor.
    pub cpu_millis: Option<u32>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Bytes on disk.
    pub disk_bytes: Option<u64>,
}

impl MostLimits {
    /// What a sandbox gets of these.
    #[must_use]
    pub fn lower(&self, limits: Limits) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes.map_or(limits.memory_bytes, |most| most.min(limits.memory_bytes)),
            cpu_millis: self.cpu_millis.map_or(limits.cpu_millis, |most| most.min(limits.cpu_millis)),
            pids: self.pids.map_or(limits.pids, |most| most.min(limits.pids)),
            open_files: limits.open_files,
            disk_bytes: self.disk_bytes.map_or(limits.disk_bytes, |most| most.min(limits.disk_bytes)),
        }
    }
}

/// What an image's configuration says of commands run in it: data, checked at import, used where a client says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDefaults {
    /// Environment variables, name and value; [`MAX_IMAGE_ENV`] bytes at most.
    pub env: Vec<(String, String)>,
    /// An absolute path.
    pub working_dir: Option<String>,
    /// `name|uid[:group|gid]`; `None` is root.
    pub user: Option<String>,
}

/// Bytes of environment variables as they travel, against [`MAX_IMAGE_ENV`].
pub fn env_bytes<'a>(env: impl Iterator<Item = (&'a String, &'a String)>) -> usize {
    // A pair is `["name","value"],`.
    env.map(|(name, value)| text_bytes(name) + text_bytes(value) + "[\"\",\"\"],".len()).sum()
}

/// Bytes of a text within its quotes (RFC 8259, section 7).
fn text_bytes(text: &str) -> usize {
    let bytes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => "\\u0000".len(),
        _ => 1,
    });
    bytes.sum()
}

/// One name in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRow {
    /// The organisation that it belongs to; `None` for those of the host, which everybody may use.
    pub org: Option<String>,
    /// Its full name, unique in its organisation.
    pub name: ImageName,
    /// What it names, whoever that is stored for.
    pub id: ImageId,
    /// Bytes of its unpacked layers.
    pub bytes: u64,
    /// How many layers it has.
    pub layers: u32,
    /// When it got this name, in microseconds since 1970.
    pub created_us: i64,
    /// The user who gave it; `None` for the host's operator.
    pub created_by: Option<String>,
}

/// Everything that the store knows of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDetails {
    /// Its name and size.
    pub row: ImageRow,
    /// What it says of its commands.
    pub defaults: ImageDefaults,
    /// Digests of its layers' uncompressed archives, lowest first.
    pub diff_ids: Vec<String>,
    /// Sandboxes whose disk was made on it, running or not.
    pub sandboxes: u64,
}

/// An order to import. The packet carries two descriptors: first the source, a regular file (an archive of an OCI layout
/// or of `docker save`) or a directory (an OCI layout), then a pipe or file to which [`ImportProgress`] is written, one
/// JSON line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportImage {
    /// Who shall own it; `None` for everybody.
    pub org: Option<String>,
    /// The name that it gets; one that exists afterwards names the new image.
    pub name: ImageName,
    /// As [`ImageRow::created_by`].
    pub created_by: Option<String>,
    /// What its owner may have.
    pub ceilings: ImageCeilings,
}

/// What the images of one owner may have together; what is absent has no ceiling but the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageCeilings {
    /// Names.
    pub names: Option<u64>,
    /// Bytes of files, [`ImageRow::bytes`] of each; what two images share counts for both.
    pub bytes: Option<u64>,
}

/// Which ceiling would be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageExcess {
    /// [`ImageCeilings::names`].
    Names,
    /// [`ImageCeilings::bytes`].
    Bytes,
}

/// What an import is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ImportProgress {
    /// A layer of so many bytes as it is stored is being unpacked: number (from 1), of how many, bytes read so far.
    Layer {
        /// From 1.
        number: u32,
        /// How many there are.
        of: u32,
        /// Read so far, as stored.
        done: u64,
        /// To be read, as stored.
        total: u64,
    },
    /// The layers are put together.
    Assembling,
    /// It was refused: what is wrong with the source, for the person who gave it.
    Refused(String),
}

/// What a collection took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collected {
    /// Layers that no image has.
    pub layers: u64,
    /// Images that no name and no disk has.
    pub images: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_two_plain_parts() {
        let name = ImageName::parse("library/python:3.12-slim").unwrap();
        assert_eq!((name.name(), name.tag()), ("library/python", "3.12-slim"));
        assert_eq!(ImageName::parse("code").unwrap().as_str(), "code:latest");
        let long = "a".repeat(MAX_IMAGE_NAME);
        for text in ["", ":", "a:", ":b", "../etc", "a/../b", "/a", "-rf", "a b", "a:b:c", "a\0", &long] {
            assert_eq!(ImageName::parse(text), Err(InvalidName), "{text}");
        }
    }

    #[test]
    fn an_id_is_a_digest_or_the_host() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(ImageId::parse(&digest).unwrap().as_str(), digest);
        assert!(ImageId::parse("host").unwrap().is_host());
        for text in ["", "sha256:", "sha256:../..", &digest.to_uppercase(), &digest[..70], "md5:00"] {
            assert_eq!(ImageId::parse(text), Err(InvalidImageId), "{text}");
        }
    }

    #[test]
    fn an_environment_is_as_long_as_it_is_written() {
        let every: String = (0..0x250).filter_map(char::from_u32).collect();
        let env = vec![("A".to_owned(), every), ("B".to_owned(), String::new())];
        let written = serde_json::to_vec(&env).unwrap().len();
        // With a comma at the end in place of two brackets around it.
        assert_eq!(env_bytes(env.iter().map(|(name, value)| (name, value))) + 1, written);
    }

    #[test]
    fn the_largest_environment_fits_into_one_packet() {
        let pair = ("A".to_owned(), "\u{1}".repeat(100));
        let one = env_bytes([(&pair.0, &pair.1)].into_iter());
        let defaults = ImageDefaults {
            // The image's and the operator's.
            env: vec![pair; 2 * (MAX_IMAGE_ENV / one)],
            working_dir: Some("/".repeat(MAX_IMAGE_TEXT)),
            user: Some("z".repeat(MAX_IMAGE_TEXT)),
        };
        let found = FoundImage {
            name: ImageName::parse(&format!("{}:b", "a".repeat(MAX_IMAGE_NAME - 2))).unwrap(),
            id: ImageId::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(),
            defaults,
            most: MostLimits::default(),
        };
        let bytes = serde_json::to_vec(&found).unwrap().len();
        assert!((2 * MAX_IMAGE_ENV - 2 * one..crate::runtime::MAX_PACKET - 1024).contains(&bytes), "{bytes}");
    }

    #[test]
    fn an_image_of_one_owner_is_another_one() {
        let shared = ImageId::parse(&format!("sha256:{}", "0a".repeat(32))).unwrap();
        let own = shared.owned_by("acme").unwrap();
        assert_eq!(
            (own.digest(), own.owner(), own.unowned()),
            (shared.as_str(), Some("acme"), shared.clone())
        );
        assert_ne!(own, shared);
        assert_ne!(own, shared.owned_by("other").unwrap());
        assert_eq!(own.owned_by("other"), shared.owned_by("other"));
        assert_eq!((ImageId::parse(own.as_str()), shared.owner()), (Ok(own), None));
        for owner in ["", "a@b", "a/b", "../a", "a b", "a\0", &"a".repeat(MAX_OWNER + 1)] {
            assert_eq!(shared.owned_by(owner), Err(InvalidImageId), "{owner}");
        }
        assert_eq!(ImageId::host().owned_by("acme"), Err(InvalidImageId));
    }

    #[test]
    fn a_full_page_fits_into_one_packet() {
        let row = ImageRow {
            org: Some("z".repeat(64)),
            name: ImageName::parse(&format!("{}:b", "a".repeat(MAX_IMAGE_NAME - 2))).unwrap(),
            id: ImageId::parse(&format!("sha256:{}@{}", "0".repeat(64), "z".repeat(MAX_OWNER))).unwrap(),
            bytes: u64::MAX,
            layers: u32::MAX,
            created_us: i64::MIN,
            created_by: Some("z".repeat(64)),
        };
        let page = serde_json::to_vec(&vec![row; IMAGE_PAGE]).unwrap();
        assert!(page.len() < crate::runtime::MAX_PACKET - 64, "{}", page.len());
    }
}
