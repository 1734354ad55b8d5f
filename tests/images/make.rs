//! Images made by hand: layers from members, and layouts and archives from layers.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// `sha256:` and the digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{digits}")
}

/// A layer in the making; names are taken as they are.
pub(crate) struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// A member with whatever header a test wants.
    pub(crate) fn member(
        mut self,
        name: &[u8],
        kind: EntryType,
        content: &[u8],
        change: impl Fn(&mut Header),
    ) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, content).expect("a member");
        self
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.member(name.as_bytes(), EntryType::Directory, b"", |_| {})
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.member(name.as_bytes(), EntryType::Regular, content, |_| {})
    }

    pub(crate) fn program(self, name: &str, content: &[u8]) -> Self {
        self.member(name.as_bytes(), EntryType::Regular, content, |header| header.set_mode(0o755))
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.link(name, target, EntryType::Symlink)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.link(name, target, EntryType::Link)
    }

    fn link(self, name: &str, target: &str, kind: EntryType) -> Self {
        self.member(name.as_bytes(), kind, b"", |header| {
            header.as_gnu_mut().expect("a GNU header").linkname[..target.len()]
                .copy_from_slice(target.as_bytes());
        })
    }

    /// Pax records for the next member.
    pub(crate) fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).expect("records");
        self
    }

    pub(crate) fn tar(self) -> Vec<u8> {
        self.0.into_inner().expect("an archive")
    }
}

/// How a layer is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Packed {
    Tar,
    Gzip,
    Zstd,
}

impl Packed {
    pub(crate) fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Self::Tar => tar.to_vec(),
            Self::Gzip => {
                let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(tar).expect("memory");
                out.finish().expect("memory")
            }
            Self::Zstd => zstd::encode_all(tar, 1).expect("memory"),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// An image: its layers and what its configuration says of commands.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) layers: Vec<(Vec<u8>, Packed)>,
    pub(crate) execution: Value,
}

impl Image {
    pub(crate) fn of(layers: impl IntoIterator<Item = Layer>) -> Self {
        let turn = [Packed::Gzip, Packed::Zstd, Packed::Tar];
        let layers = layers.into_iter().map(Layer::tar).zip(turn.into_iter().cycle()).collect();
        Self { layers, execution: json!({}) }
    }

    pub(crate) fn with(mut self, execution: Value) -> Self {
        self.execution = execution;
        self
    }

    pub(crate) fn config(&self) -> Value {
        let diff_ids: Vec<_> = self.layers.iter().map(|(tar, _)| digest(tar)).collect();
        json!({
            "architecture": "amd64", "os": "linux", "config": self.execution,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        })
    }

    /// An OCI layout in an empty directory; `change` may falsify the manifest before it gets its digest.
    pub(crate) fn write_layout(&self, at: &Path, change: impl Fn(&mut Value)) {
        let layers: Vec<_> =
            self.layers.iter().map(|(tar, packed)| put(at, &packed.pack(tar), packed.media_type())).collect();
        let config = serde_json::to_vec(&self.config()).expect("JSON");
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put(at, &config, "application/vnd.oci.image.config.v1+json"), "layers": layers,
        });
        change(&mut manifest);
        let manifest = serde_json::to_vec(&manifest).expect("JSON");
        let manifest = put(at, &manifest, "application/vnd.oci.image.manifest.v1+json");
        write_index(at, &[manifest]);
    }

    /// An archive of `docker save`.
    pub(crate) fn docker_archive(&self) -> Vec<u8> {
        let names: Vec<_> = (0..self.layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        let manifest = json!([{"Config": "config.json", "RepoTags": ["x:y"], "Layers": names}]);
        let mut archive = Layer::new().file("manifest.json", manifest.to_string().as_bytes());
        archive = archive.file("config.json", self.config().to_string().as_bytes());
        for (name, (tar, _)) in names.iter().zip(&self.layers) {
            archive = archive.file(name, tar);
        }
        archive.tar()
    }
}

/// A blob with its descriptor.
pub(crate) fn put(at: &Path, bytes: &[u8], media_type: &str) -> Value {
    let digest = digest(bytes);
    let blobs = at.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory");
    fs::write(blobs.join(&digest[7..]), bytes).expect("a blob");
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

pub(crate) fn write_index(at: &Path, manifests: &[Value]) {
    fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(at.join("index.json"), index.to_string()).expect("a file");
}

/// A layer with a static busybox under its usual names, and nothing else.
pub(crate) fn busybox() -> Layer {
    let program = fs::read("/bin/busybox").expect("package busybox-static");
    let mut layer = Layer::new().directory("bin").program("bin/busybox", &program);
    for name in [
        "sh", "cat", "ls", "stat", "id", "mkdir", "rm", "env", "pwd", "true", "sleep", "wc", "du", "find",
        "echo",
    ] {
        layer = layer.symlink(&format!("bin/{name}"), "busybox");
    }
    layer
}
