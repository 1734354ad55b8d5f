//! `bulkhead-bench`: the product and its peers, measured in one run, since absolute times do not repeat.
//!
//! Each benchmark prints one JSON object on standard output; progress goes to standard error. Latencies are
//! *paced*: 25 ms pass before each operation, because back-to-back loops hide waits that real requests pay.

mod body;
mod bundle;
mod burst;
mod checks;
mod client;
mod density;
mod host;
mod images;
mod latency;
mod layout;
mod memory;
mod peers;
mod plain;
mod product;
mod pty;
mod shells;
mod socket;
mod stats;
mod stream;
mod table;
mod throughput;
mod transfer;
mod trees;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The benchmarks, in the order in which they run when none is named.
const NAMES: [&str; 12] = [
    "create",
    "exec",
    "wake",
    "throughput",
    "density",
    "burst",
    "stream",
    "pty",
    "download",
    "upload",
    "trees",
    "images",
];
/// Sandboxes that are made ahead where [`ALL`] measures with a pool, and sandboxes at once where it measures many.
const POOL: usize = 16;
const MANY: usize = 1000;
/// Runs every benchmark as the promised figures want it, and ends with a table.
const ALL: &str = "all";

/// Measures the product beside its peers in the same run.
#[derive(Debug, Parser)]
struct Options {
    /// Benchmarks: create, exec, wake, throughput, density, burst, stream, pty, download, upload,
    /// trees, images; each once without a name; `all` for the table of the promised figures.
    names: Vec<String>,
    /// Rounds of a latency benchmark; each round measures every side once.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Seconds of each side of the throughput benchmark.
    #[arg(long, default_value_t = 9)]
    seconds: u64,
    /// Sandboxes of the density benchmark.
    #[arg(long, default_value_t = 200)]
    sandboxes: usize,
    /// Sandboxes that the product makes ahead.
    #[arg(long, default_value_t = 0)]
    pool: usize,
    /// MiB of each stream or file of the benchmarks stream, download and upload.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Turns of each side of the benchmarks stream, download, upload and trees.
    #[arg(long, default_value_t = 5)]
    streams: usize,
    /// The program to measure; `bulkhead-agent` stands beside it.
    #[arg(long, default_value = "dist/bin/bulkhead")]
    program: PathBuf,
    /// An existing directory, mode 0755, for everything that a run needs.
    #[arg(long)]
    work: PathBuf,
    /// The same for run directories: in memory, as on a real host.
    #[arg(long)]
    runs: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let names: Vec<&str> = match options.names.as_slice() {
        [] => NAMES.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(name) && names != [ALL]) {
        bail!("no such benchmark: {unknown} (there are: {})", NAMES.join(", "));
    }
    if options.rounds == 0 || options.seconds == 0 || options.sandboxes == 0 {
        bail!("rounds, seconds and sandboxes are at least 1");
    }
    if options.mib == 0 || options.streams == 0 {
        bail!("mib and streams are at least 1");
    }
    if names == [ALL] {
        return all(options);
    }
    for name in names {
        println!("{}", reported(name, name, &options)?);
    }
    Ok(())
}

/// Every benchmark, creates with and without a pool, and the table.
fn all(options: Options) -> Result<()> {
    let options = Options { pool: 0, sandboxes: MANY, ..options };
    let mut reports = BTreeMap::new();
    for name in NAMES {
        let report = reported(name, name, &options)?;
        println!("{report}");
        reports.insert(name, report);
    }
    let name = "create_pool";
    let report = reported("create", name, &Options { pool: POOL, ..options })?;
    println!("{report}");
    reports.insert(name, report);
    println!("\n{}", table::of(&reports));
    Ok(())
}

fn reported(benchmark: &str, name: &str, options: &Options) -> Result<Value> {
    eprintln!("bench: {name}");
    let figures = run(benchmark, name, options).with_context(|| format!("benchmark {name}"))?;
    report(benchmark, figures)
}

fn run(name: &str, directory: &str, options: &Options) -> Result<Value> {
    let instance = product::Instance::start(product::Places {
        program: &options.program,
        directory: &options.work.join(directory),
        run: &options.runs.join(directory),
        pool: options.pool,
    })?;
    let figures = match name {
        "create" => latency::create(&instance, options.rounds),
        "exec" => latency::exec(&instance, options.rounds),
        "wake" => latency::wake(&instance, options.rounds),
        "burst" => burst::run(&instance),
        "throughput" => throughput::run(&instance, options.seconds),
        "stream" => stream::run(&instance, options.mib, options.streams),
        "pty" => pty::run(&instance, options.rounds),
        "download" => transfer::download(&instance, options.mib, options.streams),
        "upload" => transfer::upload(&instance, options.mib, options.streams),
        "trees" => trees::run(&instance, options.streams),
        "images" => images::run(&instance, options.rounds),
        _ => density::run(&instance, options.sandboxes),
    };
    let stopped = instance.stop();
    let mut figures = figures?;
    stopped?;
    figures["mkdir_us"] = json!(host::mkdir_micros(&options.work)?);
    Ok(figures)
}

/// Puts what every report says in front of a benchmark's own figures.
fn report(name: &str, figures: Value) -> Result<Value> {
    let mut whole = json!({ "benchmark": name });
    let fields = whole.as_object_mut().context("the report is an object")?;
    fields.extend(host::facts()?);
    if let Value::Object(own) = figures {
        fields.extend(own);
    }
    Ok(whole)
}
