//! What a registry says an image is. Only what is needed is read; the rest is kept, byte for byte, as the digest wants.

use crate::digest::Digest;
use crate::error::Error;
use crate::limits;
use serde::Deserialize;

/// What is asked for.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// One manifest for this machine.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) digest: Digest,
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
    pub(crate) manifest: Manifest,
}

/// Bytes by their digest. Where else they may be had is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(flatten)]
    descriptor: Descriptor,
    platform: Option<Platform>,
}

#[derive(Debug, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// Either kind, by its members.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Either {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<Vec<Entry>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// What a document is.
#[derive(Debug)]
pub(crate) enum Document {
    /// A list; this entry of it is ours.
    Index(Descriptor),
    Manifest {
        media_type: Option<String>,
        manifest: Manifest,
    },
}

/// Reads a document.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, Error> {
    let malformed = Error::Malformed("manifest");
    let Ok(either) = serde_json::from_slice::<Either>(bytes) else { return Err(malformed) };
    match either {
        Either { schema_version: 2, manifests: Some(entries), config: None, layers: None, .. } => {
            if entries.len() > limits::INDEX_ENTRIES {
                let most = u64::try_from(limits::INDEX_ENTRIES).unwrap_or(u64::MAX);
                return Err(Error::TooLarge { what: "the index", most });
            }
            let ours = |entry: &Entry| {
                entry.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == "amd64")
            };
            let alone = |entry: &Entry| entries.len() == 1 && entry.platform.is_none();
            let entry = entries.iter().find(|entry| ours(entry) || alone(entry));
            entry.map(|entry| Document::Index(entry.descriptor.clone())).ok_or(Error::Platform)
        }
        Either {
            schema_version: 2,
            manifests: None,
            config: Some(config),
            layers: Some(layers),
            media_type,
        } => {
            let manifest = Manifest { config, layers };
            manifest.check()?;
            Ok(Document::Manifest { media_type, manifest })
        }
        _ => Err(malformed),
    }
}

impl Manifest {
    /// Holds the bounds.
    fn check(&self) -> Result<(), Error> {
        if self.config.size > limits::MANIFEST {
            return Err(Error::TooLarge { what: "the configuration", most: limits::MANIFEST });
        }
        if self.layers.len() > limits::LAYERS {
            let most = u64::try_from(limits::LAYERS).unwrap_or(u64::MAX);
            return Err(Error::TooLarge { what: "the number of layers", most });
        }
        let total = self.layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.size));
        match total {
            Some(total) if total <= limits::MAX_BYTES => Ok(()),
            _ => Err(Error::TooLarge { what: "the image", most: limits::MAX_BYTES }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn descriptor(size: u64) -> Value {
        json!({"mediaType": "x", "digest": format!("sha256:{}", "0".repeat(64)), "size": size})
    }

    fn document(value: &Value) -> Result<Document, Error> {
        read(value.to_string().as_bytes())
    }

    #[test]
    fn the_entry_for_this_machine_is_taken() {
        let entry = |os: &str, architecture: &str, size| {
            let mut entry = descriptor(size);
            entry["platform"] = json!({"os": os, "architecture": architecture, "variant": "v8"});
            entry
        };
        let index = json!({"schemaVersion": 2, "manifests": [
            entry("linux", "arm64", 1), entry("windows", "amd64", 2), entry("linux", "amd64", 3)]});
        assert!(matches!(document(&index), Ok(Document::Index(Descriptor { size: 3, .. }))));
        let other = json!({"schemaVersion": 2, "manifests": [entry("linux", "arm64", 1)]});
        assert!(matches!(document(&other), Err(Error::Platform)));
        let alone = json!({"schemaVersion": 2, "manifests": [descriptor(4)]});
        assert!(matches!(document(&alone), Ok(Document::Index(Descriptor { size: 4, .. }))));
    }

    #[test]
    fn what_breaks_a_bound_is_refused() {
        let manifest = |config: u64, layers: Vec<Value>| {
            document(&json!({"schemaVersion": 2, "config": descriptor(config), "layers": layers}))
        };
        assert!(manifest(1, vec![descriptor(1); 128]).is_ok());
        for refused in [
            manifest(5 << 20, Vec::new()),
            manifest(1, vec![descriptor(1); 129]),
            manifest(1, vec![descriptor(1 << 40)]),
            manifest(1, vec![descriptor(u64::MAX), descriptor(2)]),
        ] {
            assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        }
        let path = json!({"digest": "sha256:../../etc", "size": 1});
        assert!(matches!(manifest(1, vec![path]), Err(Error::Malformed(_))));
        let both = json!({"schemaVersion": 2, "manifests": [], "config": descriptor(1), "layers": []});
        for refused in [both, json!({"schemaVersion": 1, "fsLayers": []}), json!([]), json!({})] {
            assert!(matches!(document(&refused), Err(Error::Malformed(_))), "{refused}");
        }
    }
}
