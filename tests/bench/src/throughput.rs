//! Saturated `exec true` over kept connections, in turns with bare spawns of the same number at once.

use crate::client::Client;
use crate::host::{self, CpuTime, to_f64};
use crate::peers;
use crate::product::Instance;
use crate::stats::{Series, rate, ratio, round, summaries};
use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// Connections, and bare spawns, at once.
const PARALLEL: usize = 16;
/// Turns of each side.
const TURNS: u32 = 3;

/// What one side did in all its turns.
struct Side {
    samples: Vec<Duration>,
    time: Duration,
    cpu_seconds: f64,
}

/// Both sides in turns: rates, processor time for each command, and latencies under load.
pub(crate) fn run(instance: &Instance, seconds: u64) -> Result<Value> {
    let sandbox = instance.connect()?.create(host::cpus().min(8))?;
    let turn = Duration::from_secs(seconds) / TURNS;
    let (mut ours, mut bare) = (Side::new(), Side::new());
    for number in 1..=TURNS {
        eprintln!("bench: turn {number} of {TURNS}");
        let clients = (0..PARALLEL).map(|_| instance.connect()).collect::<Result<Vec<_>>>()?;
        ours.turn(turn, clients, |client: &mut Client| client.exec(&sandbox, "true"))?;
        bare.turn(turn, vec![(); PARALLEL], |()| peers::bash().map(drop))?;
    }
    // A new connection: the product closes one that was idle for longer than ten seconds.
    instance.connect()?.remove(&sandbox)?;
    let figures = json!({
        "parallel": PARALLEL,
        "ratios": {
            "rate exec_true/bash_true": round(ratio(ours.rate(), bare.rate())),
            "cpu exec_true/bash_true": round(ratio(ours.cpu_ms(), bare.cpu_ms())),
        },
        "rates": { "exec_true_per_s": round(ours.rate()), "bash_true_per_s": round(bare.rate()) },
        "cpu": {
            "exec_true_ms": round(ours.cpu_ms()), "bash_true_ms": round(bare.cpu_ms()),
            "of": "the whole machine",
        },
        "results": summaries(&[
            Series::new("exec_true", ours.samples), Series::new("bash_true", bare.samples),
        ]),
    });
    Ok(figures)
}

impl Side {
    fn new() -> Self {
        Self { samples: Vec::new(), time: Duration::ZERO, cpu_seconds: 0.0 }
    }

    /// Repeats `work` on a thread for each of `workers` until the turn is over.
    fn turn<W: Send>(
        &mut self,
        turn: Duration,
        workers: Vec<W>,
        work: impl Fn(&mut W) -> Result<()> + Sync,
    ) -> Result<()> {
        let (cpu, began) = (CpuTime::now()?, Instant::now());
        let repeat = |worker: &mut W| {
            let mut samples = Vec::new();
            while began.elapsed() < turn {
                let start = Instant::now();
                work(worker)?;
                samples.push(start.elapsed());
            }
            Ok(samples)
        };
        let all: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
            let start = |worker: W| {
                scope.spawn(|| {
                    let mut worker = worker;
                    repeat(&mut worker)
                })
            };
            let threads: Vec<_> = workers.into_iter().map(start).collect();
            threads.into_iter().map(|one| one.join().map_err(|_| anyhow!("a worker panicked"))?).collect()
        });
        let time = began.elapsed();
        let share = CpuTime::now()?.share_since(cpu);
        self.samples.extend(all.context("under load")?.into_iter().flatten());
        self.time += time;
        self.cpu_seconds += share * time.as_secs_f64() * to_f64(u64::try_from(host::cpus())?);
        Ok(())
    }

    fn count(&self) -> u64 {
        u64::try_from(self.samples.len()).unwrap_or(u64::MAX)
    }

    fn rate(&self) -> f64 {
        rate(self.count(), self.time)
    }

    fn cpu_ms(&self) -> f64 {
        ratio(self.cpu_seconds * 1e3, to_f64(self.count()))
    }
}
