//! Creates that all come at once, and what a pool is worth before and after them.

use crate::product::Instance;
use crate::stats::{PACE, Series, summaries};
use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// Creates at once.
const BURST: usize = 50;
/// Time for a pool to be filled: it waits for a pause between creates, and fills one after the other.
const REFILL: Duration = Duration::from_secs(3);
/// Creates one after the other, before and after.
const CALM: usize = 20;

/// Every create of all three parts must succeed.
pub(crate) fn run(instance: &Instance) -> Result<Value> {
    thread::sleep(REFILL);
    let before = calm(instance)?;
    thread::sleep(REFILL);
    let began = Instant::now();
    let burst = burst(instance)?;
    let took = began.elapsed();
    thread::sleep(REFILL);
    let after = calm(instance)?;
    let all = [Series::new("before", before), Series::new("at_once", burst), Series::new("after", after)];
    Ok(json!({
        "pool": instance.pool(),
        "creates": BURST,
        "all_ms": took.as_millis(),
        "results": summaries(&all),
    }))
}

fn calm(instance: &Instance) -> Result<Vec<Duration>> {
    let mut client = instance.connect()?;
    let mut times = Vec::new();
    for _ in 0..CALM {
        thread::sleep(PACE);
        let began = Instant::now();
        let sandbox = client.create(1)?;
        times.push(began.elapsed());
        client.remove(&sandbox)?;
    }
    Ok(times)
}

fn burst(instance: &Instance) -> Result<Vec<Duration>> {
    let one = || -> Result<Duration> {
        let mut client = instance.connect()?;
        let began = Instant::now();
        let sandbox = client.create(1)?;
        let took = began.elapsed();
        client.exec(&sandbox, "true")?;
        client.remove(&sandbox)?;
        Ok(took)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..BURST).map(|_| scope.spawn(one)).collect();
        clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?).collect()
    })
}
