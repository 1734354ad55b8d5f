//! Files: answers, and the requests that have a body.

use super::instant;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::files::{Entry, EntryKind, EventKind, WatchEvent};
use serde::Serialize;
use utoipa::ToSchema;

/// What an operation has to say, in the form of a command's output.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileText {
    pub(crate) stdout: String,
    /// Always empty: what fails is answered with an error's status.
    pub(crate) stderr: &'static str,
    /// Always 0.
    pub(crate) exit_code: u8,
}

impl FileText {
    pub(crate) fn new(stdout: String) -> Self {
        Self { stdout, stderr: "", exit_code: 0 }
    }
}

/// The entries of a directory.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileList {
    /// Always true.
    pub(crate) success: bool,
    pub(crate) files: Vec<FileEntry>,
}

/// One entry of a directory.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileEntry {
    pub(crate) name: String,
    /// Absolute.
    pub(crate) path: String,
    /// The bytes of `path`, where they are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub(crate) path_base64: Option<String>,
    /// Bytes of its content.
    pub(crate) size: u64,
    /// Permission bits in four octal digits.
    #[schema(pattern = "^[0-7]{4}$")]
    pub(crate) mode: String,
    pub(crate) is_dir: bool,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) mod_time: String,
}

/// Bytes that are no text.
fn exact(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| STANDARD.encode(bytes))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl FileEntry {
    pub(crate) fn new(path: &[u8], entry: &Entry) -> Self {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        Self {
            name: lossy(name),
            path: lossy(path),
            path_base64: exact(path),
            size: entry.size,
            mode: format!("{:04o}", entry.mode & 0o7777),
            is_dir: entry.kind == EntryKind::Directory,
            mod_time: instant(entry.modified_us),
        }
    }
}

/// What `stdout` of stat holds, as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileStat {
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub(crate) path_base64: Option<String>,
    pub(crate) size: u64,
    /// `st_mode` in hexadecimal.
    pub(crate) mode: String,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    /// A word of GNU stat.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl FileStat {
    pub(crate) fn new(path: &[u8], entry: &Entry) -> Self {
        let kind = match entry.kind {
            EntryKind::File if entry.size == 0 => "regular empty file",
            EntryKind::File => "regular file",
            EntryKind::Directory => "directory",
            EntryKind::Link => "symbolic link",
            EntryKind::CharacterDevice => "character special file",
            EntryKind::BlockDevice => "block special file",
            EntryKind::Pipe => "fifo",
            EntryKind::Socket => "socket",
        };
        Self {
            path: lossy(path),
            path_base64: exact(path),
            size: entry.size,
            mode: format!("{:x}", entry.mode),
            mtime: entry.modified_us.div_euclid(1_000_000),
            kind,
            uid: entry.uid,
            gid: entry.gid,
        }
    }
}

/// Bytes of a file.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only its schema is used; the bytes are passed on as they come")]
pub(crate) struct Octets(Vec<u8>);

/// What a new file holds; without it an empty one, or one that exists as it is.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used; the fields are read one by one")]
pub(crate) struct CreateFileRequest {
    pub(crate) content: Option<String>,
}

/// What an upload stored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Uploaded {
    /// Bytes of content.
    pub(crate) size: u64,
    /// Entries of a tar stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub(crate) entries: Option<u64>,
}

/// What to watch.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used; the fields are read one by one")]
pub(crate) struct WatchRequest {
    /// A directory or a file; absolute.
    #[schema(min_length = 1, max_length = 4095)]
    pub(crate) path: String,
    /// Whether directories below are watched as well, also those that appear later.
    #[schema(default = false)]
    pub(crate) recursive: Option<bool>,
    /// Whether names with a dot in front are left out.
    #[schema(default = true)]
    pub(crate) ignore_hidden: Option<bool>,
}

/// A watch that collects.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WatchStarted {
    /// A UUID.
    #[schema(min_length = 36, max_length = 36)]
    pub(crate) session_id: String,
}

/// One message of a watch's WebSocket.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileChange {
    /// `created`, `modified`, `deleted`, `renamed`, `chmod`, or `overflow`: events were lost.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Absolute.
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub(crate) path_base64: Option<String>,
    /// Where it was, of a rename.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub(crate) old_path: Option<String>,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) timestamp: String,
}

impl FileChange {
    pub(crate) fn new(event: &WatchEvent, path: &[u8], old: Option<&[u8]>) -> Self {
        let kind = match event.kind {
            EventKind::Created => "created",
            EventKind::Modified => "modified",
            EventKind::Deleted => "deleted",
            EventKind::Renamed => "renamed",
            EventKind::Chmod => "chmod",
            EventKind::Overflow => "overflow",
        };
        let timestamp = instant(event.time_us);
        Self { kind, path: lossy(path), path_base64: exact(path), old_path: old.map(lossy), timestamp }
    }
}

/// Bytes as du(1) with `-h` says them: rounded up, one decimal below ten, and always with a suffix that clients know.
pub(crate) fn human(bytes: u64) -> String {
    const SUFFIXES: [char; 3] = ['K', 'M', 'G'];
    let (mut unit, mut at) = (1024_u64, 0);
    while at + 1 < SUFFIXES.len() && bytes.div_ceil(unit) >= 1024 {
        unit *= 1024;
        at += 1;
    }
    let tenths = u128::from(bytes) * 10;
    let tenths = tenths.div_ceil(u128::from(unit));
    if tenths < 100 && bytes > 0 {
        return format!("{}.{}{}", tenths / 10, tenths % 10, SUFFIXES[at]);
    }
    format!("{}{}", bytes.div_ceil(unit), SUFFIXES[at])
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_those_of_du() {
        for (bytes, text) in [
            (0, "0K"),
            (1, "0.1K"),
            (4096, "4.0K"),
            (4097, "4.1K"),
            (10 << 10, "10K"),
            (1023 << 10, "1023K"),
            ((1023 << 10) + 1, "1.0M"),
            (1 << 20, "1.0M"),
            (12 << 20, "12M"),
            (3 << 40, "3072G"),
        ] {
            assert_eq!(human(bytes), text, "{bytes}");
        }
        assert_eq!(human(u64::MAX), "17179869184G");
    }
}
