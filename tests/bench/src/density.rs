//! Many idle sandboxes at once: what one costs in memory, and what the last one costs in time.

use crate::client::Client;
use crate::host;
use crate::product::Instance;
use crate::stats::{PACE, Series, ratio, round, summaries};
use anyhow::Result;
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// Time for the kernel to finish what it does behind the requests.
const SETTLE: Duration = Duration::from_secs(2);

/// Creates `count` sandboxes, reads the host's memory before and after, and removes them.
pub(crate) fn run(instance: &Instance, count: usize) -> Result<Value> {
    let mut client = instance.connect()?;
    let warm_up = client.create(1)?;
    client.exec(&warm_up, "true")?;
    client.remove(&warm_up)?;
    thread::sleep(SETTLE);
    let before = host::memory_available()?;
    let mut ids = Vec::new();
    let creates = create(&mut client, count, &mut ids);
    thread::sleep(SETTLE);
    let used = before - host::memory_available()?;
    let mut removals = Vec::new();
    for id in &ids {
        let began = Instant::now();
        client.remove(id)?;
        removals.push(began.elapsed());
    }
    let creates = creates?;
    // The first and the last tenth, but enough of them for a median.
    let part = (count / 10).max(10).min(count);
    let all = [
        Series::new("create", creates.clone()),
        Series::new("create_first", creates[..part].to_vec()),
        Series::new("create_last", creates[count - part..].to_vec()),
        Series::new("remove", removals),
    ];
    let growth = ratio(all[2].percentile(50), all[1].percentile(50));
    let each = used / i64::try_from(count)?.max(1);
    Ok(json!({
        "pool": 0,
        "pace_ms": PACE.as_millis(),
        "sandboxes": count,
        "memory": { "each_kib": each / 1024, "all_mib": used >> 20, "of": "MemAvailable" },
        "ratios": { "create_last/create_first": round(growth) },
        "results": summaries(&all),
    }))
}

fn create(client: &mut Client, count: usize, ids: &mut Vec<String>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 1..=count {
        thread::sleep(PACE);
        let began = Instant::now();
        let id = client.create(1)?;
        times.push(began.elapsed());
        ids.push(id);
        if number % 50 == 0 {
            eprintln!("bench: {number} of {count} sandboxes");
        }
    }
    Ok(times)
}
