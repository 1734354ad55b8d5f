//! File operations: one connection each, from the gateway to a worker inside the sandbox.
//!
//! The gateway sends `POST /v1/files` with `Upgrade: bulkhead-frames` and a [`FileCall`]. The agent answers 101 and hands
//! the connection to a short-lived process with the user's rights, or 422 [`StartFailure`](crate::agent::StartFailure).
//! From then on there are frames both ways:
//!
//! | direction | frame | payload |
//! | --- | --- | --- |
//! | worker → gateway | `Head` | JSON of [`FileHead`], first and once |
//! | | `Stdout` | what the operation says of its content, see [`FileOperation`] |
//! | | `KeepAlive` | nothing |
//! | | `Done` | JSON of [`FileDone`], last and once; not where `Head` was a failure |
//! | gateway → worker | `Input` | content of an upload |
//! | | `InputEnd` | nothing: the content is complete. A connection that ends before it undoes the upload |
//!
//! A connection that closes ends the worker and everything it does. Names are bytes: as [`PathText`] they are base64.

use serde::{Deserialize, Serialize};

/// Path of [`FileCall`].
pub const FILES_PATH: &str = "/v1/files";
/// Longest path in bytes, with its NUL (`PATH_MAX`).
pub const MAX_PATH: usize = 4096;
/// Longest search pattern in bytes.
pub const MAX_PATTERN: usize = 1024;
/// Workers of one sandbox at once, watches not counted.
pub const MAX_FILE_WORKERS: usize = 32;
/// Watches of one sandbox at once.
pub const MAX_WATCHES: usize = 16;
/// Events of one watch that wait for their reader; then there is one [`EventKind::Overflow`] in place of the rest.
pub const MAX_WATCH_EVENTS: usize = 16_384;
/// Directories that one watch follows.
pub const MAX_WATCH_DIRECTORIES: usize = 8192;
/// Lines of [`FileOperation::HeadTail`].
pub const MAX_LINES: u32 = 10_000;
/// Bytes of the text of [`FileOperation::HeadTail`].
pub const MAX_TEXT: u64 = 8 << 20;
/// Paths that a search finds.
pub const MAX_FOUND: u32 = 1000;
/// Entries of an archive.
pub const MAX_ARCHIVE_ENTRIES: u64 = 1_000_000;
/// Bytes that are read of a zip archive before its first member: its directory, which is held in memory.
pub const MAX_ZIP_DIRECTORY: u64 = 16 << 20;
/// Depth of directories in an archive or a tree.
pub const MAX_DEPTH: u32 = 256;
/// Bytes that an archive unpacks to may be this many times the archive's, above [`RATIO_FLOOR`].
pub const MAX_RATIO: u64 = 1000;
/// Below so many bytes the ratio of an archive is not looked at.
pub const RATIO_FLOOR: u64 = 64 << 20;
/// Seconds that packing, unpacking, copying and counting may take.
pub const MAX_SECONDS: u64 = 600;

/// Bytes of a path, base64 (standard alphabet, padded) in JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PathText(pub String);

/// One operation and whose rights it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCall {
    /// As [`ExecutionSpec::user`](crate::agent::ExecutionSpec::user); `None` is root.
    pub user: Option<String>,
    /// What to do.
    pub operation: FileOperation,
}

/// What a worker can do. All paths are absolute; each is resolved beneath the sandbox's root, without magic links.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOperation {
    /// `Stdout`: JSON of one [`Entry`] per line, in no order.
    List {
        /// A directory.
        path: PathText,
        /// 1 is the directory's own entries; at most [`MAX_DEPTH`].
        depth: u32,
    },
    /// Recursive; what is missing is fine.
    Delete {
        /// Anything but `/`.
        path: PathText,
    },
    /// With parents; an existing directory is fine.
    MakeDirectory {
        /// The directory.
        path: PathText,
    },
    /// An empty file, with parents; one that exists keeps its content and gets a new time.
    Touch {
        /// The file.
        path: PathText,
    },
    /// Recursive; makes the target's parents. Into `to` where that is a directory.
    Copy {
        /// Source.
        from: PathText,
        /// Target.
        to: PathText,
    },
    /// Makes the target's parents; replaces a file. Into `to` where that is a directory.
    Move {
        /// Source.
        from: PathText,
        /// Target.
        to: PathText,
    },
    /// Follows a link, as chmod(1).
    Chmod {
        /// File or directory.
        path: PathText,
        /// At most 0o7777.
        mode: u32,
    },
    /// Does not follow a link. Answered by [`FileDone::stat`].
    Stat {
        /// Anything.
        path: PathText,
    },
    /// Bytes on disk, each inode once. Answered by [`FileDone::bytes`].
    DiskUsage {
        /// File or directory.
        path: PathText,
    },
    /// Names of regular files below a directory. `Stdout`: paths, each followed by a NUL, in the order of their names.
    Search {
        /// A directory.
        path: PathText,
        /// With `*`, `?` or `[` a glob that matches the whole name, else a part of it.
        pattern: PathText,
        /// At most [`MAX_FOUND`].
        limit: u32,
    },
    /// `Stdout`: the text.
    HeadTail {
        /// A file.
        path: PathText,
        /// 1 to [`MAX_LINES`].
        lines: u32,
        /// Which end.
        end: End,
    },
    /// Packs `path` into `<path>.<format>` beside it; members are relative to its parent. Answered by
    /// [`FileDone::path`].
    Compress {
        /// File or directory.
        path: PathText,
        /// How.
        format: Format,
    },
    /// Unpacks into `dest`, which is made. Answered by [`FileDone::entries`] and [`FileDone::bytes`].
    Extract {
        /// The archive; its format is that of its name.
        archive: PathText,
        /// A directory.
        dest: PathText,
    },
    /// `Head` has size and time, `Stdout` the content.
    Download {
        /// A regular file.
        path: PathText,
        /// Only these bytes: first and last, both included; `None` for the last is the end.
        range: Option<(u64, Option<u64>)>,
    },
    /// `Stdout`: the directory as a tar stream, members relative to it.
    DownloadTree {
        /// A directory.
        path: PathText,
    },
    /// `Input`: the content. With parents; the file is replaced when the content is whole, or not at all. Answered by
    /// [`FileDone::bytes`].
    Upload {
        /// The file.
        path: PathText,
        /// Permission bits of a new file.
        mode: u32,
        /// Most bytes.
        limit: u64,
    },
    /// `Input`: a tar stream, unpacked into a directory that is made. Answered as [`Self::Extract`].
    UploadTree {
        /// The directory.
        path: PathText,
        /// Most bytes of content.
        limit: u64,
    },
    /// `Stdout`: JSON of one [`WatchEvent`] per line, from `Head` on until the connection ends or the path is gone.
    Watch {
        /// Directory or file.
        path: PathText,
        /// How much of it.
        reach: Reach,
        /// Which names.
        hidden: Hidden,
    },
}

/// Which end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The first lines.
    Head,
    /// The last.
    Tail,
}

/// Formats of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Not compressed.
    #[serde(rename = "tar")]
    Tar,
    /// With gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// With bzip2.
    #[serde(rename = "tar.bz2")]
    TarBz2,
    /// With zstd.
    #[serde(rename = "tar.zst")]
    TarZst,
    /// Zip.
    #[serde(rename = "zip")]
    Zip,
}

/// How much a watch sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The path itself and its entries.
    Here,
    /// Directories below as well, also those that appear.
    Below,
}

/// Whether names with a dot in front are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// They are.
    Show,
    /// They are not.
    Skip,
}

/// Whether an operation begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileHead {
    /// It does.
    Begun {
        /// Bytes of the whole file, of a download.
        size: Option<u64>,
        /// Microseconds since 1970 of its last change, of a download.
        modified_us: Option<i64>,
    },
    /// It does not, and has no effect.
    Failed(FileFailure),
}

/// How an operation ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDone {
    /// Why it did not end well; what it did until then stays, except where the operation says otherwise.
    pub failure: Option<FileFailure>,
    /// Of a stat.
    pub stat: Option<Entry>,
    /// Bytes that were counted, written or unpacked.
    pub bytes: Option<u64>,
    /// Entries that were unpacked or listed.
    pub entries: Option<u64>,
    /// The archive that was made.
    pub path: Option<PathText>,
}

/// Why an operation failed, for the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileFailure {
    /// There is no such file or directory.
    NotFound,
    /// A directory is needed.
    NotDirectory,
    /// A directory is not.
    IsDirectory,
    /// The user has no right to it.
    Denied,
    /// It is in the way.
    Exists,
    /// A file system that cannot be written.
    ReadOnly,
    /// The disk is full.
    NoSpace,
    /// Above the limit of the call.
    TooLarge,
    /// A name or path is too long, or leads in a circle.
    BadPath,
    /// A device, socket or pipe.
    Special,
    /// `/`, or a directory into itself.
    Impossible,
    /// An archive that cannot be read.
    BadArchive,
    /// An archive with names that lead out, or entries that are no files, directories or links.
    Hostile,
    /// More entries, depth, ratio or time than the bounds of this module.
    Bounds,
    /// The range begins behind the end of the file.
    Range,
    /// Too many watches or directories for one.
    Watches,
    /// The sandbox is at its limits.
    Resources,
    /// Anything else.
    Internal,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path.
    pub path: PathText,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of its content.
    pub size: u64,
    /// `st_mode`, with the type.
    pub mode: u32,
    /// Owner inside the sandbox.
    pub uid: u32,
    /// Group inside the sandbox.
    pub gid: u32,
    /// Microseconds since 1970 of its last change.
    pub modified_us: i64,
    /// Where a link leads.
    pub target: Option<PathText>,
}

/// Types of inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
}

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchEvent {
    /// What.
    pub kind: EventKind,
    /// Absolute path; of an overflow the watch's own.
    pub path: PathText,
    /// Where it was, of a rename.
    pub old_path: Option<PathText>,
    /// Microseconds since 1970.
    pub time_us: i64,
}

/// What can be told of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It is new.
    Created,
    /// Its content changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name.
    Renamed,
    /// Its rights or owner changed.
    Chmod,
    /// Events were lost: look for yourself.
    Overflow,
}
