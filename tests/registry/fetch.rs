//! `bulkhead fetch` alone, as the command line starts it.

use crate::files;
use bulkhead_tests::programs::program;
use bulkhead_tests::registry::{Registry, run};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Output};

/// Who fetches where there is no user of its own.
const UID: u32 = 64_902;

fn fetch(reference: &str, dir: &Path) -> Output {
    Command::new(program("bulkhead")).args(["fetch", reference, "--to"]).arg(dir).output().expect("it starts")
}

#[test]
fn an_image_of_a_registry_becomes_a_layout_that_other_tools_read() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", 20 << 20);
    // What lies above is closed to who fetches.
    let above = tempfile::tempdir().expect("a directory");
    let dir = above.path().join("layout");
    std::fs::create_dir(&dir).expect("a directory");
    chown(&dir, Some(UID), Some(UID)).expect("chown");
    let output = fetch(&reference, &dir);
    assert!(output.status.success(), "{output:?}");
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a line of JSON"))
        .collect();
    let layers = lines
        .iter()
        .filter(|line| line["layer"]["done"] == line["layer"]["total"] && line["layer"]["of"] == 2);
    assert!(layers.count() >= 2, "{lines:?}");
    let manifest =
        lines.last().expect("a last line")["fetched"]["manifest"].as_str().expect("a digest").to_owned();
    let theirs = run(Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{reference}")));
    let blob = dir.join("blobs/sha256").join(manifest.trim_start_matches("sha256:"));
    assert_eq!(std::fs::read(blob).expect("the manifest"), theirs.stdout);
    let all = files(&dir);
    assert!(all.len() >= 6, "{all:?}");
    assert!(all.iter().all(|file| std::fs::metadata(file).expect("a file").uid() == UID), "{all:?}");
    run(Command::new("skopeo").args(["inspect"]).arg(format!("oci:{}", dir.display())));
    let nothing = fetch(&format!("{}/team/none:1", registry.address), &dir);
    assert!(!nothing.status.success());
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("answered 404"), "{nothing:?}");
}

#[test]
fn who_fetches_writes_nowhere_else() {
    let registry = Registry::start();
    let reference = registry.push("team/app:1", 1);
    let dir = tempfile::tempdir().expect("a directory");
    // The directory is root's, so that the user has no right in it, whatever Landlock says.
    let output = fetch(&reference, dir.path());
    assert!(!output.status.success(), "{output:?}");
    assert!(files(dir.path()).is_empty());
}
