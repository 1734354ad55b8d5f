//! What an image costs: a create of one beside the built-in one, and its import beside `tar`.

use crate::layout;
use crate::product::Instance;
use crate::stats::{Operation, PACE, Series, interleave, ratio, ratios, round, summaries};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The images: name, MiB of files, layers.
const IMAGES: [(&str, usize, usize); 3] =
    [("create_5_mib", 5, 1), ("create_500_mib", 500, 1), ("create_60_layers", 60, 60)];
/// Of these the import is compared.
const IMPORTED: usize = 1;
/// Turns of the import.
const TURNS: usize = 5;

/// Creates of each image in the same rounds, then imports in turns with `gzip -dc | tar xf`.
pub(crate) fn run(instance: &Instance, rounds: usize) -> Result<Value> {
    let directory = instance.directory().join("layouts");
    for (name, mib, layers) in IMAGES {
        eprintln!("bench: image of {mib} MiB in {layers} layers");
        layout::write(&directory.join(name), mib, layers, 0)?;
    }
    let imports = imports(instance, &directory)?;
    for (name, ..) in IMAGES {
        import(instance, name, &directory.join(name))?;
    }
    let client = RefCell::new(instance.connect()?);
    let create = |image: &str| -> Result<Duration> {
        let mut client = client.borrow_mut();
        let began = Instant::now();
        let id = client.create_of(image, 1)?;
        let took = began.elapsed();
        client.remove(&id)?;
        Ok(took)
    };
    let mut operations: Vec<Operation<'_>> = vec![("create_built_in", Box::new(|_| create("code")))];
    for (name, ..) in IMAGES {
        operations.push((name, Box::new(move |_| create(name))));
    }
    let mut all = interleave(rounds, operations)?;
    let mut found = serde_json::Map::new();
    for (name, ..) in IMAGES {
        found.extend(ratios(&all, name, &["create_built_in"]));
    }
    let [ours, tar] = imports;
    found.insert("import/tar".into(), json!(round(ratio(ours.percentile(50), tar.percentile(50)))));
    all.extend([ours, tar]);
    Ok(json!({ "pace_ms": PACE.as_millis(), "ratios": found, "results": summaries(&all) }))
}

/// Times of imports and of tar on the same layers, both until the files are on the disk. Each turn has a layout of its
/// own and nothing is removed before the last has ended: ext4 without a journal takes no inode again for a minute after its
/// file was removed, and who makes files meanwhile pays for the search.
fn imports(instance: &Instance, directory: &Path) -> Result<[Series; 2]> {
    let (_, mib, layers) = IMAGES[IMPORTED];
    let turns: Vec<String> = (1..=TURNS).map(|turn| format!("import-{turn}")).collect();
    for (edition, turn) in (1..).zip(&turns) {
        eprintln!("bench: {turn} of {TURNS} is written");
        layout::write(&directory.join(turn), mib, layers, edition)?;
    }
    let unpacked = instance.state().join("bench-tar");
    fs::create_dir(&unpacked)?;
    let (mut ours, mut tar) = (Vec::new(), Vec::new());
    for turn in &turns {
        let layout = directory.join(turn);
        nix::unistd::sync();
        tar.push(unpack(&layout, &unpacked.join(turn))?);
        nix::unistd::sync();
        let began = Instant::now();
        import(instance, turn, &layout)?;
        ours.push(began.elapsed());
    }
    fs::remove_dir_all(&unpacked)?;
    for turn in &turns {
        command(instance, &["image", "rm", turn])?;
        fs::remove_dir_all(directory.join(turn))?;
    }
    command(instance, &["image", "gc"])?;
    Ok([Series::new("import", ours), Series::new("tar", tar)])
}

fn unpack(layout: &Path, out: &Path) -> Result<Duration> {
    fs::create_dir(out)?;
    let began = Instant::now();
    for layer in layout::layers(layout)? {
        let script = "gzip -dc < \"$1\" | tar xf - -C \"$2\" && sync -f \"$2\"";
        let status = Command::new("sh").args(["-c", script, "sh"]).arg(layer).arg(out).status()?;
        ensure!(status.success(), "tar ended with {status}");
    }
    Ok(began.elapsed())
}

fn import(instance: &Instance, name: &str, layout: &Path) -> Result<()> {
    let layout = layout.to_str().context("a path of text")?;
    command(instance, &["image", "import", layout, "--name", name])
}

/// A host command of the product, on this instance.
fn command(instance: &Instance, words: &[&str]) -> Result<()> {
    let mut command = Command::new(instance.program());
    command.args(words).arg("--state-dir").arg(instance.state());
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
