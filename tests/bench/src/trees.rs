//! Many files: list, search and du over HTTP beside the command that does the same inside the same sandbox.

use crate::body::Body;
use crate::host::cpus;
use crate::memory::Watched;
use crate::product::Instance;
use crate::stats::{Series, ratios, round, summaries};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Entries of the directory that is listed.
const ENTRIES: usize = 100_000;
/// Files of the tree that is searched and counted, in directories of 200.
const FILES: usize = 200_000;

/// Files that one command makes.
const STEP: usize = 25_000;

/// What is compared: the call, and the command for it. `ls` sorts and pads as it does for a person.
const PAIRS: [(&str, &str, &str, &str); 3] = [
    ("list", "?path=/root/flat", "ls_l", "ls -l /root/flat > /dev/null"),
    (
        "search",
        "/search?path=/root/tree&pattern=*777.txt",
        "find_name",
        "find /root/tree -name '*777.txt' > /dev/null",
    ),
    ("du", "/du?path=/root/tree", "du_s", "du -s /root/tree > /dev/null"),
];

/// The sides take turns; medians of `turns`.
pub(crate) fn run(instance: &Instance, turns: usize) -> Result<Value> {
    let sandbox = instance.connect()?.create_with(cpus().min(8), 4096)?;
    make(instance, &sandbox).context("make the files")?;
    let watched = Watched::find(instance.pid(), &sandbox)?;
    let (mut found, mut firsts) = (Map::new(), Map::new());
    let mut all = Vec::new();
    let ((), memory) = watched.during(|| {
        for (name, call, command_name, command) in PAIRS {
            eprintln!("bench: {name}");
            let (mut ours, mut first, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
            for turn in 0..=turns {
                let (to_first, took) = read(instance, &sandbox, call, name)?;
                let began = Instant::now();
                instance.connect()?.exec(&sandbox, command)?;
                let command_took = began.elapsed();
                if turn > 0 {
                    ours.push(took);
                    first.push(to_first);
                    theirs.push(command_took);
                }
            }
            let sides = [Series::new(name, ours), Series::new(command_name, theirs)];
            found.extend(ratios(&sides, name, &[command_name]));
            firsts.insert(name.to_owned(), json!(round(Series::new(name, first).percentile(50))));
            all.extend(sides);
        }
        Ok(())
    })?;
    instance.connect()?.remove(&sandbox)?;
    Ok(json!({
        "entries": ENTRIES, "files": FILES, "ratios": found, "first_byte_ms": firsts,
        "results": summaries(&all), "resident_kib": memory,
    }))
}

/// Makes the files, in steps, since a command has half a minute.
fn make(instance: &Instance, sandbox: &str) -> Result<()> {
    for from in (0..FILES).step_by(STEP) {
        let script = format!(
            "python3 - <<'E'\nimport os\nfor n in range({from}, {}):\n  \
             dirs = ['/root/tree/%04d' % (n // 200)] + ['/root/flat'] * (n < {ENTRIES})\n  \
             for d in dirs:\n    os.makedirs(d, exist_ok=True)\n    \
             os.close(os.open(d + '/file-%06d.txt' % n, os.O_CREAT, 0o644))\nE",
            from + STEP
        );
        instance.connect()?.exec(sandbox, &script)?;
    }
    Ok(())
}

/// One call: the time to the first byte of its body, and to its end.
fn read(instance: &Instance, sandbox: &str, call: &str, name: &str) -> Result<(Duration, Duration)> {
    let request = format!(
        "GET /api/sandboxes/{sandbox}/files{call} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {}\r\n\r\n",
        instance.key()
    );
    let began = Instant::now();
    let mut body = Body::open(instance.port(), &request)?;
    let (mut first, mut text) = (None, Vec::new());
    while let Some(piece) = body.next()? {
        first.get_or_insert_with(|| began.elapsed());
        text.extend_from_slice(piece);
    }
    let took = began.elapsed();
    let answer: Value = serde_json::from_slice(&text)?;
    let told = answer.pointer("/data/stdout").and_then(Value::as_str);
    let right = match name {
        "list" => answer.pointer("/data/files").and_then(Value::as_array).map(Vec::len) == Some(ENTRIES),
        "search" => told.is_some_and(|text| text.lines().count() == FILES / 1000),
        _ => told.is_some_and(|text| text.ends_with("/root/tree\n")),
    };
    ensure!(right, "another answer: {:.200}", String::from_utf8_lossy(&text));
    Ok((first.context("an empty answer")?, took))
}
