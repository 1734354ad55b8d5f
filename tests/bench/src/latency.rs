//! Paced latencies: `create`, `exec` and `wake`, each beside its peers in the same rounds.

use crate::client::Client;
use crate::host::cpus;
use crate::peers::{self, Peers};
use crate::product::Instance;
use crate::stats::{Operation, PACE, Series, interleave, ratios, summaries};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Create → ready over HTTP, the first `exec true` and removal, beside what starts a container or less.
pub(crate) fn create(instance: &Instance, rounds: usize) -> Result<Value> {
    let peers = Peers::start(&instance.directory().join("peers"))?;
    let client = RefCell::new(instance.connect()?);
    let sandbox = RefCell::new(String::new());
    let operations: Vec<Operation<'_>> = vec![
        (
            "create",
            Box::new(|_| {
                let began = Instant::now();
                let id = client.borrow_mut().create(1)?;
                let took = began.elapsed();
                *sandbox.borrow_mut() = id;
                Ok(took)
            }),
        ),
        ("exec_true", Box::new(|_| timed(|| client.borrow_mut().exec(&sandbox.borrow(), "true")))),
        ("remove", Box::new(|_| timed(|| client.borrow_mut().remove(&sandbox.borrow())))),
        ("crun_plain", Box::new(|round| peers.oci("crun", "plain", round))),
        ("crun_fair", Box::new(|round| peers.oci("crun", "fair", round))),
        ("runc_plain", Box::new(|round| peers.oci("runc", "plain", round))),
        ("runc_fair", Box::new(|round| peers.oci("runc", "fair", round))),
        ("bwrap", Box::new(|_| peers.bwrap())),
        ("bash_true", Box::new(|_| peers::bash())),
        ("static_true", Box::new(|_| peers::static_true())),
    ];
    let all = interleave(rounds, operations);
    peers.clean()?;
    let all = all?;
    let mut ratios = ratios(&all, "create", &["crun_fair", "crun_plain", "runc_fair", "runc_plain", "bwrap"]);
    ratios.extend(spread(&all, "create"));
    Ok(report(instance, &all, ratios))
}

/// `exec true` over a kept connection, beside bare spawns. As many sandboxes as processors take turns: each has one, and
/// on a shared machine they are not equally fast.
pub(crate) fn exec(instance: &Instance, rounds: usize) -> Result<Value> {
    let mut client = instance.connect()?;
    let sandboxes = (0..cpus()).map(|_| client.create(1)).collect::<Result<Vec<_>>>()?;
    let all = measure_exec(&mut client, &sandboxes, rounds);
    sandboxes.iter().try_for_each(|sandbox| client.remove(sandbox))?;
    let all = all?;
    let mut ratios = ratios(&all, "exec_true", &["bash_true", "static_true"]);
    ratios.extend(spread(&all, "exec_true"));
    Ok(report(instance, &all, ratios))
}

/// Sleep and wake of one sandbox, and the exec that wakes it by itself, beside a container that starts anew.
pub(crate) fn wake(instance: &Instance, rounds: usize) -> Result<Value> {
    let peers = Peers::start(&instance.directory().join("peers"))?;
    let client = RefCell::new(instance.connect()?);
    let sandbox = client.borrow_mut().create(1)?;
    let to = |word: &str| timed(|| client.borrow_mut().turn(&sandbox, word));
    let operations: Vec<Operation<'_>> = vec![
        ("sleep", Box::new(|_| to("sleep"))),
        ("wake", Box::new(|_| to("wake"))),
        ("freeze", Box::new(|_| to("freeze"))),
        ("thaw", Box::new(|_| to("thaw"))),
        ("sleep_again", Box::new(|_| to("sleep"))),
        ("exec_that_wakes", Box::new(|_| timed(|| client.borrow_mut().exec(&sandbox, "true")))),
        ("crun_fair", Box::new(|round| peers.oci("crun", "fair", round))),
    ];
    let all = interleave(rounds, operations);
    peers.clean()?;
    client.borrow_mut().remove(&sandbox)?;
    let all = all?;
    let mut ratios = ratios(&all, "wake", &["crun_fair"]);
    ratios.extend(spread(&all, "wake"));
    Ok(report(instance, &all, ratios))
}

fn measure_exec(client: &mut Client, sandboxes: &[String], rounds: usize) -> Result<Vec<Series>> {
    let mut turns = sandboxes.iter().cycle();
    let mut next = || turns.next().context("no sandbox");
    let operations: Vec<Operation<'_>> = vec![
        (
            "exec_true",
            Box::new(|_| {
                let sandbox = next()?;
                timed(|| client.exec(sandbox, "true"))
            }),
        ),
        ("bash_true", Box::new(|_| peers::bash())),
        ("static_true", Box::new(|_| peers::static_true())),
    ];
    interleave(rounds, operations)
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// How far the slowest hundredth lies above the median.
fn spread(all: &[Series], name: &str) -> Option<(String, Value)> {
    let series = all.iter().find(|series| series.name == name)?;
    let ratio = crate::stats::ratio(series.percentile(99), series.percentile(50));
    Some((format!("{name} p99/p50"), json!(crate::stats::round(ratio))))
}

fn report(instance: &Instance, all: &[Series], ratios: serde_json::Map<String, Value>) -> Value {
    json!({ "pool": instance.pool(), "pace_ms": PACE.as_millis(), "ratios": ratios, "results": summaries(all) })
}
