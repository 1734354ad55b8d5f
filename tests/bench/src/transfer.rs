//! One large file down and up, beside one plain hyper process with a file in the same file system: the volume of
//! the disks, without the overlay and the quota that a sandbox has over it.

use crate::body::Body;
use crate::checks::{Check, LINE, Plain};
use crate::host::{cpus, to_f64};
use crate::memory::Watched;
use crate::plain::Peer;
use crate::product::Instance;
use crate::stats::{Series, ratio, round};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Memory of the sandbox: both sides may keep the file in memory, as the plain process has no limit.
const MEMORY_MIB: u64 = 4096;
/// Where the file lies in the sandbox.
const FILE: &str = "/root/file";
/// Bytes of one write of the client.
const WRITE: usize = 256 << 10;

/// The plain process's directory, beside the disks; removed when it goes.
struct Beside(PathBuf);

impl Beside {
    fn make(instance: &Instance) -> Result<Self> {
        let directory = instance.store().join("bench");
        fs::create_dir(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(Self(directory))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("bench: {} stays: {error}", self.0.display());
        }
    }
}

/// The sides of a benchmark.
struct Sides<'a> {
    instance: &'a Instance,
    sandbox: String,
    beside: Beside,
    peer: Peer,
    size: u64,
    turns: usize,
}

impl<'a> Sides<'a> {
    fn make(instance: &'a Instance, mib: u64, turns: usize) -> Result<Self> {
        let sandbox = instance.connect()?.create_with(cpus().min(8), MEMORY_MIB)?;
        let beside = Beside::make(instance)?;
        let peer = Peer::of_files(&beside.0)?;
        Ok(Self { instance, sandbox, beside, peer, size: mib * MIB, turns })
    }

    fn head(&self, method: &str, call: &str, length: u64) -> String {
        format!(
            "{method} /api/sandboxes/{}/files/{call}?path={FILE} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {}\r\n\
             Content-Length: {length}\r\n\r\n",
            self.sandbox,
            self.instance.key()
        )
    }

    /// Both take turns; the first of each does not count.
    fn measure(
        self,
        name: &'static str,
        ours: impl Fn(&Self) -> Result<Duration>,
        plain: impl Fn(&Self) -> Result<Duration>,
    ) -> Result<Value> {
        let watched = Watched::find(self.instance.pid(), &self.sandbox)?;
        let (mut our_times, mut plain_times) = (Vec::new(), Vec::new());
        let ((), memory) = watched.during(|| {
            for turn in 0..=self.turns {
                eprintln!("bench: turn {turn} of {}", self.turns);
                let took = (ours(&self).context(name)?, plain(&self).context("hyper_plain")?);
                if turn > 0 {
                    our_times.push(took.0);
                    plain_times.push(took.1);
                }
            }
            Ok(())
        })?;
        let all = [Series::new(name, our_times), Series::new("hyper_plain", plain_times)];
        let rate = |series: &Series, percent| {
            round(ratio(to_f64(self.size / MIB), series.percentile(percent) / 1e3))
        };
        let told = |series: &Series| json!({ "median": rate(series, 50), "least": rate(series, 100), "most": rate(series, 0) });
        let figures = json!({
            "bytes": self.size, "payload": "verified", "sandbox_memory_mib": MEMORY_MIB,
            "ratios": { format!("rate {name}/hyper_plain"): round(ratio(all[1].percentile(50), all[0].percentile(50))) },
            "mib_per_s": { name: told(&all[0]), "hyper_plain": told(&all[1]) },
            "resident_kib": memory,
        });
        let Self { instance, sandbox, .. } = self;
        instance.connect()?.remove(&sandbox)?;
        Ok(figures)
    }
}

/// `GET …/files/download`.
pub(crate) fn download(instance: &Instance, mib: u64, turns: usize) -> Result<Value> {
    let sides = Sides::make(instance, mib, turns)?;
    let script = format!("yes {} | head -c {} > {FILE}", LINE.trim_end(), sides.size);
    instance.connect()?.exec(&sides.sandbox, &script)?;
    let mut file = BufWriter::with_capacity(WRITE, File::create(sides.beside.0.join("file"))?);
    for _ in 0..sides.size / u64::try_from(LINE.len())? {
        file.write_all(LINE.as_bytes())?;
    }
    file.into_inner()?.sync_all()?;
    sides.measure(
        "download",
        |sides| read(instance.port(), &sides.head("GET", "download", 0), sides.size),
        |sides| read(sides.peer.port(), "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", sides.size),
    )
}

/// `POST …/files/upload`. The file of the turn before is removed first, which is not measured.
pub(crate) fn upload(instance: &Instance, mib: u64, turns: usize) -> Result<Value> {
    let sides = Sides::make(instance, mib, turns)?;
    let remove = format!("rm -f {FILE}");
    let compare = format!("yes {} | head -c {} | cmp - {FILE}", LINE.trim_end(), sides.size);
    sides.measure(
        "upload",
        |sides| {
            instance.connect()?.exec(&sides.sandbox, &remove)?;
            let took = write(instance.port(), &sides.head("POST", "upload", sides.size), sides.size)?;
            instance.connect()?.exec(&sides.sandbox, &compare)?;
            Ok(took)
        },
        |sides| {
            let file = sides.beside.0.join("file");
            if file.exists() {
                fs::remove_file(&file)?;
            }
            let head =
                format!("POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n", sides.size);
            let took = write(sides.peer.port(), &head, sides.size)?;
            ensure!(file.metadata()?.len() == sides.size, "the plain process did not store all");
            Ok(took)
        },
    )
}

/// Reads one answer and checks what it carried.
fn read(port: u16, request: &str, size: u64) -> Result<Duration> {
    let began = Instant::now();
    let (mut body, mut check) = (Body::open(port, request)?, Plain::new());
    while let Some(piece) = body.next()? {
        check.take(piece)?;
    }
    let (took, total) = (began.elapsed(), check.total()?);
    ensure!(total == size, "{total} of {size} bytes");
    Ok(took)
}

/// Sends one body and waits for the answer.
fn write(port: u16, head: &str, size: u64) -> Result<Duration> {
    let block = LINE.as_bytes().repeat(WRITE / LINE.len());
    let began = Instant::now();
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.write_all(head.as_bytes())?;
    let mut left = usize::try_from(size)?;
    while left > 0 {
        let count = left.min(block.len());
        socket.write_all(&block[..count])?;
        left -= count;
    }
    let mut body = Body::of(socket)?;
    while body.next()?.is_some() {}
    Ok(began.elapsed())
}
