//! Much output through exec-stream, as text and in base64, beside one plain hyper process that sends the same
//! command's output as an ordinary chunked body.

use crate::body::Body;
use crate::checks::{Check, Events, Form, LINE, Plain};
use crate::host::{cpus, to_f64};
use crate::memory::Watched;
use crate::plain::Peer;
use crate::product::Instance;
use crate::stats::{Series, ratio, round};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Seconds that a stream may take.
const TIMEOUT: u64 = 300;

/// The sides take turns; medians of `streams` turns of `mib` each.
pub(crate) fn run(instance: &Instance, mib: u64, streams: usize) -> Result<Value> {
    let size = mib * MIB;
    let script = format!("yes {} | head -c {size}", LINE.trim_end());
    let peer = Peer::of_output(&script)?;
    let sandbox = instance.connect()?.create(cpus().min(8))?;
    let ours = |query: &str| {
        let body = json!({ "command": script, "timeout": TIMEOUT }).to_string();
        format!(
            "POST /api/sandboxes/{sandbox}/exec-stream{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            instance.key(),
            body.len()
        )
    };
    let (text, base64) = (ours(""), ours("?encoding=base64"));
    let watched = Watched::find(instance.pid(), &sandbox)?;
    let mut times = [const { Vec::new() }; 3];
    let mut sides = || -> Result<()> {
        // One more of each, which does not count.
        for turn in 0..=streams {
            eprintln!("bench: turn {turn} of {streams}");
            let took = [
                read(instance.port(), &text, Events::new(Form::Text), size).context("text")?,
                read(instance.port(), &base64, Events::new(Form::Base64), size).context("base64")?,
                read(peer.port(), "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", Plain::new(), size)
                    .context("peer")?,
            ];
            if turn > 0 {
                times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
            }
        }
        Ok(())
    };
    let ((), memory) = watched.during(&mut sides)?;
    instance.connect()?.remove(&sandbox)?;
    let names = ["exec_stream_text", "exec_stream_base64", "hyper_plain"];
    let all: Vec<Series> =
        names.into_iter().zip(times).map(|(name, times)| Series::new(name, times)).collect();
    Ok(report(size, &script, &all, &memory))
}

fn report(size: u64, script: &str, all: &[Series], memory: &Value) -> Value {
    let rate = |series: &Series, percent| round(ratio(to_f64(size / MIB), series.percentile(percent) / 1e3));
    let (mut rates, mut ratios) = (Map::new(), Map::new());
    for series in all {
        let told = json!({ "median": rate(series, 50), "least": rate(series, 100), "most": rate(series, 0) });
        rates.insert(series.name.to_owned(), told);
    }
    if let [text, base64, plain] = all {
        for ours in [text, base64] {
            let value = round(ratio(plain.percentile(50), ours.percentile(50)));
            ratios.insert(format!("rate {}/{}", ours.name, plain.name), json!(value));
        }
    }
    json!({
        "bytes": size, "command": script, "payload": "verified",
        "ratios": ratios, "mib_per_s": rates, "resident_kib": memory,
    })
}

/// Reads one answer and checks what it carried.
fn read(port: u16, request: &str, mut check: impl Check, size: u64) -> Result<Duration> {
    let began = Instant::now();
    let mut body = Body::open(port, request)?;
    while let Some(piece) = body.next()? {
        check.take(piece)?;
    }
    let took = began.elapsed();
    let total = check.total()?;
    if total != size {
        bail!("{total} of {size} bytes");
    }
    ensure!(!took.is_zero(), "no time has passed");
    Ok(took)
}
