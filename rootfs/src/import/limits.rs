//! How large anything of an image may be. What is beyond is refused, never cut.

/// Layers of one image.
pub(crate) const LAYERS: usize = 128;
/// Bytes of an index or manifest.
pub(crate) const MANIFEST_BYTES: u64 = 4 << 20;
/// Bytes of a configuration.
pub(crate) const CONFIG_BYTES: u64 = 1 << 20;
/// Indexes and manifests that are looked at, and how deep one index may lie in others.
pub(crate) const MANIFESTS: usize = 64;
pub(crate) const INDEX_DEPTH: usize = 4;
/// Members of an archive, and files of a layout directory.
pub(crate) const BLOBS: usize = 4096;
/// Members of all layers of one image.
pub(crate) const ENTRIES: u64 = 2_000_000;
/// Bytes of all layers of one image, unpacked: files, and what lies between them in the archive.
pub(crate) const BYTES: u64 = 64 << 30;
/// What a compressed layer may become is this many times its size, and [`RATIO_FREE`] in any case. A long run of
/// zeros becomes a thousand times smaller with gzip, and more with zstd.
pub(crate) const RATIO: u64 = 200;
pub(crate) const RATIO_FREE: u64 = 256 << 20;
/// `log2` of the memory that a zstd decoder may want.
pub(crate) const ZSTD_WINDOW_LOG: u32 = 27;
/// Bytes of a path, of one of its names, and its steps.
pub(crate) const PATH: usize = 4096;
pub(crate) const NAME: usize = 255;
pub(crate) const DEPTH: usize = 128;
/// Bytes of the extended header of one member.
pub(crate) const EXTENDED_HEADER: u64 = 1 << 20;
/// Extended attributes of one member, and the bytes of all their names and values.
pub(crate) const XATTRS: usize = 64;
pub(crate) const XATTR_BYTES: usize = 64 << 10;
/// Pieces of one sparse file.
pub(crate) const SPARSE_PIECES: usize = 1 << 16;
/// Bytes of the paths that a process keeps in memory until the end of a layer: directories, and what it removes.
pub(crate) const KEPT_PATHS: usize = 64 << 20;
/// Room that an import leaves on the disk of the store.
pub(crate) const ROOM_KEPT: u64 = 512 << 20;
/// Ids of owners are below this: the range that everything on disk belongs to.
pub(crate) const IDS: u64 = 65_536;
