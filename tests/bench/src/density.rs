//! Many idle sandboxes at once: what one costs in memory, and what the last one costs in time.

use crate::client::Client;
use crate::host;
use crate::product::Instance;
use crate::stats::{PACE, Series, ratio, round, summaries};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// Rows of a page of the list: so many are there when it is read first.
const PAGE: usize = 20;
/// Uses of one sandbox and of the list, with few and with many sandboxes.
const USES: usize = 60;
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
    let few = create(&mut client, PAGE, &mut ids).and_then(|_| use_one(&mut client, &ids))?;
    let creates = create(&mut client, count, &mut ids);
    thread::sleep(SETTLE);
    let used = before - host::memory_available()?;
    let many = use_one(&mut client, &ids)?;
    let mut removals = Vec::new();
    for id in &ids {
        let began = Instant::now();
        client.remove(id)?;
        removals.push(began.elapsed());
    }
    let creates = creates?;
    // The first and the last tenth, but enough of them for a median.
    let part = (count / 10).max(10).min(count);
    let ([exec_few, list_few], [exec_many, list_many]) = (few, many);
    let all = [
        Series::new("create", creates.clone()),
        Series::new("create_first", creates[..part].to_vec()),
        Series::new("create_last", creates[count - part..].to_vec()),
        Series::new("exec_with_few", exec_few),
        Series::new("exec_with_all", exec_many),
        Series::new("list_with_few", list_few),
        Series::new("list_with_all", list_many),
        Series::new("remove", removals),
    ];
    let growth =
        |last: usize, first: usize| round(ratio(all[last].percentile(50), all[first].percentile(50)));
    let each = used / i64::try_from(ids.len())?.max(1);
    Ok(json!({
        "pool": instance.pool(),
        "pace_ms": PACE.as_millis(),
        "sandboxes": count,
        "memory": { "each_kib": each / 1024, "all_mib": used >> 20, "of": "MemAvailable" },
        "ratios": {
            "create_last/create_first": growth(2, 1),
            "exec_with_all/exec_with_few": growth(4, 3),
            "list_with_all/list_with_few": growth(6, 5),
        },
        "results": summaries(&all),
    }))
}

/// Times of `exec true` in the first sandbox, and of a page of the list.
fn use_one(client: &mut Client, ids: &[String]) -> Result<[Vec<Duration>; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    let first = ids.first().context("no sandbox")?;
    for _ in 0..USES {
        thread::sleep(PACE);
        let began = Instant::now();
        client.exec(first, "true")?;
        times[0].push(began.elapsed());
        thread::sleep(PACE);
        let began = Instant::now();
        client.list()?;
        times[1].push(began.elapsed());
    }
    Ok(times)
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
