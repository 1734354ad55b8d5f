//! Entries for the targets in `fuzz/`: what strangers write, without a process around it.

use super::attributes::Attributes;
use super::changes::{Changes, Meaning};
use super::digest::Digest;
use super::failure::{Failure, Outcome};
use super::layer::{self, Budget, Watch};
use super::members::{Members, Plain};
use super::place::{Path, Place};
use super::plan::Plan;
use super::source::Source;
use bulkhead_protocol::image::{MAX_IMAGE_ENV, MAX_IMAGE_TEXT, env_bytes};
use serde_json::json;
use std::os::fd::OwnedFd;

/// Nobody has to be told.
struct Unheard;

impl<S> Watch<S> for Unheard {
    fn beat(&mut self, _stream: &S) -> Outcome {
        Ok(())
    }
}

/// Reads a layer and what its members mean, to its end or its first fault, and gives back how many names it has.
///
/// # Panics
/// Where a name leads out, or what a layer takes away is not what was written down of it.
#[must_use]
pub fn layer(bytes: &[u8]) -> usize {
    let mut members = Members::new(Plain(bytes));
    let (mut changes, mut count, mut block) = (Changes::default(), 0, [0; 1024]);
    while let Ok(Some(member)) = members.next() {
        let Ok(path) = Path::parse(&member.name) else { break };
        let climbs = path.bytes().split(|byte| *byte == b'/').any(|step| step == b"..");
        assert!(!climbs && !path.bytes().starts_with(b"/"), "{member:?}");
        if let Ok(Meaning::Change(change)) = Meaning::of(&path)
            && changes.add(change).is_err()
        {
            break;
        }
        if Attributes::of(&member).is_err() {
            break;
        }
        while matches!(members.content(&mut block), Ok(1..)) {}
        count += 1;
    }
    let again = Changes::parse(&changes.to_bytes()).expect("what was written is read again");
    assert_eq!(again.all, changes.all);
    count
}

/// Unpacks a layer below an open directory, to its end or its first fault.
///
/// # Errors
/// That fault.
pub fn unpack(bytes: &[u8], root: OwnedFd) -> Result<(), Failure> {
    let mut members = Members::new(Plain(bytes));
    let mut budget = Budget::new(Some(1 << 30));
    layer::apply(&mut members, &mut Place::new(root), &mut budget, &mut Unheard).map(drop)
}

/// Plans images of which these bytes are the index, the manifest, the configuration, or what docker calls a manifest;
/// the rest of each is as it should be.
///
/// # Panics
/// Where a plan breaks a rule that the product relies on.
pub fn image(bytes: &[u8]) {
    const INDEX: &str = "application/vnd.oci.image.manifest.v1+json";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    let described = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes).as_str(), "size": bytes.len()});
    let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes.to_vec());
    let index = |manifest: &[u8]| {
        let index = json!({"schemaVersion": 2, "manifests": [described(INDEX, manifest)]});
        ("index.json".to_owned(), index.to_string().into_bytes())
    };
    let manifest = json!({
        "schemaVersion": 2, "config": described(CONFIG, bytes), "layers": [described(LAYER, b"")],
    });
    let manifest = manifest.to_string().into_bytes();
    let docker = json!([{"Config": "config", "Layers": ["layer"]}]).to_string().into_bytes();
    let sources = [
        vec![("index.json".to_owned(), bytes.to_vec())],
        vec![index(bytes), blob(bytes), blob(b"{}")],
        vec![index(&manifest), blob(&manifest), blob(bytes), blob(b"")],
        vec![("manifest.json".to_owned(), bytes.to_vec()), ("config".to_owned(), b"{}".to_vec())],
        vec![
            ("manifest.json".to_owned(), docker),
            ("config".to_owned(), bytes.to_vec()),
            ("layer".to_owned(), Vec::new()),
        ],
    ];
    for files in sources {
        let source = Source::in_memory(&files).expect("a file in memory");
        let Ok(plan) = Plan::of(&source) else { continue };
        let defaults = &plan.described.defaults;
        assert_eq!(plan.layers.len(), plan.described.diff_ids.len());
        assert!(env_bytes(defaults.env.iter().map(|(name, value)| (name, value))) <= MAX_IMAGE_ENV);
        assert!(
            defaults.env.iter().all(|(name, value)| !name.contains(['=', '\0']) && !value.contains('\0'))
        );
        let directory = defaults.working_dir.as_deref().unwrap_or("/");
        assert!(
            directory.starts_with('/') && directory.len() <= MAX_IMAGE_TEXT && !directory.contains("/../")
        );
    }
}
