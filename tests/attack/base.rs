//! What a server holds in peace, to be compared with what it holds after an attack, and a neighbour in its own
//! sandbox who must not notice one.

use bulkhead_tests::residue::descriptors;
use bulkhead_tests::{Sandbox, Server, within};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Descriptors that the client of a flood needs, with room.
const CLIENT_DESCRIPTORS: u64 = 8192;
/// Execs from which a 99th percentile is taken.
const SAMPLES: usize = 100;
/// What scheduling on a busy machine may add to any single exec.
const NOISE: Duration = Duration::from_millis(15);
/// Idle threads of a pool and dropped connections are gone after so long.
const SETTLE: Duration = Duration::from_secs(30);

pub(crate) struct Base<'a> {
    server: &'a Server,
    neighbour: Sandbox<'a>,
    held: BTreeMap<String, usize>,
    threads: usize,
    memory_kib: u64,
}

impl<'a> Base<'a> {
    pub(crate) fn of(server: &'a Server) -> Self {
        Self::of_many(server, 1)
    }

    /// [`Self::of`] before an attack by up to `many` sandboxes at once.
    pub(crate) fn of_many(server: &'a Server, many: usize) -> Self {
        let neighbour = server.create();
        let _warm = neighbour.exec("true").ok();
        // The runtime keeps the id maps of a range for the next sandbox.
        let others: Vec<Sandbox<'_>> = (0..many).map(|_| server.create()).collect();
        for other in others {
            let _warm = other.exec("true").ok();
            other.delete();
        }
        let (held, threads) = (held(server), threads(server));
        let memory_kib = server.half("gateway").resident_kib();
        Self { server, neighbour, held, threads, memory_kib }
    }

    /// 99th percentile of an exec of the neighbour.
    pub(crate) fn p99(&self) -> Duration {
        let mut times: Vec<Duration> = (0..SAMPLES)
            .map(|_| {
                let start = Instant::now();
                let _run = self.neighbour.exec("true").ok();
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[SAMPLES * 99 / 100 - 1]
    }

    /// The neighbour's execs take less than twice as long as in peace.
    pub(crate) fn assert_undisturbed(&self, quiet: Duration) {
        // The machine has other work as well: an attack slows each of three rounds.
        let loud = (0..3).map(|_| self.p99()).min().expect("three");
        println!("p99 of a neighbour's exec: {quiet:?} in peace, {loud:?} under attack");
        assert!(loud < quiet * 2 + NOISE, "{quiet:?} in peace, {loud:?} under attack");
    }

    /// The gateway has not grown by more than this.
    pub(crate) fn assert_grown_at_most(&self, kib: u64) {
        let now = self.server.half("gateway").resident_kib();
        println!("gateway: {} KiB before, {now} KiB after", self.memory_kib);
        assert!(now < self.memory_kib + kib, "{now} KiB, {} before", self.memory_kib);
    }

    /// Deletes every sandbox but the neighbour's.
    pub(crate) fn delete_others(&self) {
        let rows = self.server.client().get("/sandboxes?limit=100").expect(200).data();
        let ids = rows.as_array().into_iter().flatten().filter_map(|row| row["id"].as_str());
        for id in ids.filter(|id| *id != self.neighbour.id()) {
            Sandbox::of(self.server, id).delete();
        }
    }

    /// Descriptors and threads return to what they were, and the neighbour works.
    pub(crate) fn assert_back(&self) {
        within(SETTLE, "descriptors and threads are what they were", || {
            let (held, threads) = (held(self.server), threads(self.server));
            let more: Vec<_> =
                held.iter().filter(|(kind, n)| **n > self.held.get(*kind).copied().unwrap_or(0)).collect();
            if more.is_empty() && threads <= self.threads {
                return Ok(());
            }
            Err(format!("{more:?}, before {:?}; threads {threads}, before {}", self.held, self.threads))
        });
        assert_eq!(self.neighbour.exec("echo well").stdout, "well\n");
    }
}

/// Descriptors of both halves.
fn held(server: &Server) -> BTreeMap<String, usize> {
    let of = |half: &'static str| {
        let all = descriptors(server.half(half).pid).into_iter();
        all.map(move |(kind, many)| (format!("{half} {kind}"), many))
    };
    of("gateway").chain(of("runtime")).collect()
}

fn threads(server: &Server) -> usize {
    let path = format!("/proc/{}/task", server.half("gateway").pid);
    std::fs::read_dir(path).expect("the gateway runs").count()
}

/// Lets this process open as many connections as an attack needs.
pub(crate) fn raise_descriptors() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    if soft < CLIENT_DESCRIPTORS {
        let hard = hard.max(CLIENT_DESCRIPTORS);
        setrlimit(Resource::RLIMIT_NOFILE, CLIENT_DESCRIPTORS, hard).expect("root may raise it");
    }
}
