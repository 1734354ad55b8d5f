//! Images for a benchmark: layouts of OCI with files that compress about as programs do.

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::Path;
use tar::{Builder, Header};

/// Bytes of the files of an image: as large as those of a distribution are on average.
const FILE: usize = 100 << 10;
/// Files of one directory.
const PER_DIRECTORY: usize = 100;

/// Writes a layout with a shell and `mib` MiB of files in so many layers; another `edition` has other bytes in each file.
pub(crate) fn write(at: &Path, mib: usize, layers: usize, edition: usize) -> Result<()> {
    fs::create_dir_all(at.join("blobs/sha256"))?;
    let files = (mib << 20) / FILE;
    let mut descriptors = Vec::new();
    let mut diff_ids = Vec::new();
    for number in 0..layers {
        let mut tar = Builder::new(Vec::new());
        if number == 0 {
            shell(&mut tar)?;
        }
        let share = files * number / layers..files * (number + 1) / layers;
        add(&mut tar, &format!("layer-{number}"), number as u64, b"")?;
        for file in share {
            let bytes = content(edition * files + file);
            add(&mut tar, &format!("data/{}/{file}", file / PER_DIRECTORY), 0, &bytes)?;
        }
        let tar = tar.into_inner()?;
        diff_ids.push(digest(&tar));
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&tar)?;
        descriptors.push(put(at, &packed.finish()?, "application/vnd.oci.image.layer.v1.tar+gzip")?);
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = put(at, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": descriptors }).to_string();
    let index = json!({ "schemaVersion": 2, "manifests": [put(at, manifest.as_bytes(), kind)?] });
    fs::write(at.join("index.json"), index.to_string())?;
    fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

/// The blobs of a layout that are layers, in no order.
pub(crate) fn layers(at: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(at.join("blobs/sha256"))? {
        let path = entry?.path();
        let mut magic = [0; 2];
        std::io::Read::read_exact(&mut fs::File::open(&path)?, &mut magic)?;
        if magic == [0x1f, 0x8b] {
            found.push(path);
        }
    }
    Ok(found)
}

fn shell(tar: &mut Builder<Vec<u8>>) -> Result<()> {
    let program = fs::read("/bin/busybox").context("read busybox")?;
    add(tar, "bin/sh", 0, &program)?;
    let mut header = header(0, 0o777, 0);
    header.set_entry_type(tar::EntryType::Symlink);
    tar.append_link(&mut header, "bin/true", "sh")?;
    Ok(())
}

fn add(tar: &mut Builder<Vec<u8>>, name: &str, mtime: u64, bytes: &[u8]) -> Result<()> {
    Ok(tar.append_data(&mut header(bytes.len() as u64, 0o755, mtime), name, bytes)?)
}

fn header(size: u64, mode: u32, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Neither all the same nor noise, other bytes in each file.
fn content(number: usize) -> Vec<u8> {
    let mut state = u32::try_from(number).unwrap_or(0);
    let byte = |at: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if at.is_multiple_of(3) { state.to_le_bytes()[3] } else { b'a' }
    };
    (0..FILE).map(byte).collect()
}

fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn put(at: &Path, bytes: &[u8], media_type: &str) -> Result<Value> {
    let digest = digest(bytes);
    let name = digest.trim_start_matches("sha256:");
    fs::write(at.join("blobs/sha256").join(name), bytes)?;
    Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
}
