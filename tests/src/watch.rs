//! What an attack must not change: the host, the server's own footing, and the work of a neighbour.
//!
//! ```no_run
//! let server = bulkhead_tests::Server::start();
//! let watch = bulkhead_tests::Watch::begin(&server);
//! let _attack = server.create().exec("unshare -U true");
//! watch.end();
//! ```

mod host;

use crate::client::Client;
use crate::eventually::within;
use crate::residue::descriptors;
use crate::sandbox::Run;
use crate::server::Server;
use host::Host;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Pause between two beats of the neighbour: enough of them in a short test, and little work beside it.
const BEAT: Duration = Duration::from_millis(100);
/// A beat takes milliseconds; on a machine full of tests it may take this long.
const SLOWEST_BEAT: Duration = Duration::from_secs(5);
/// Idle threads of a pool and dropped connections are gone after so long.
const SETTLE: Duration = Duration::from_secs(30);
/// Some work, a write of one page, and the way there and back.
const BEAT_COMMAND: &str = "head -c 4096 /dev/zero > /tmp/beat && wc -c < /tmp/beat";

/// A watch over one attack, from before its first sandbox to its end.
#[derive(Debug)]
pub struct Watch<'a> {
    server: &'a Server,
    host: Host,
    held: BTreeMap<String, usize>,
    neighbour: Neighbour,
}

impl<'a> Watch<'a> {
    /// Looks at everything and lets a neighbour of another organisation begin to work.
    ///
    /// # Panics
    /// When the neighbour cannot be made.
    #[must_use]
    pub fn begin(server: &'a Server) -> Self {
        let neighbour = Neighbour::make(server);
        // What a first sandbox leaves warm (id maps, threads) is no leak of the attack.
        let warm = server.create();
        let _run = warm.exec("true").ok();
        warm.delete();
        Self { server, host: Host::look(), held: footing(server), neighbour: neighbour.work() }
    }

    /// Ends every sandbox of the test and looks again. Gives back how long each beat of the neighbour took, in order
    /// of length, for who asserts more of them.
    ///
    /// # Panics
    /// When the host changed, the server holds more than before, or a beat of the neighbour was missed.
    pub fn end(self) -> Vec<Duration> {
        self.server.delete_all();
        let Self { server, host, held, neighbour } = self;
        let mut times = neighbour.stop();
        times.sort_unstable();
        host.assert_unchanged();
        within(SETTLE, "the server holds what it held", || {
            let now = footing(server);
            let more: Vec<_> =
                now.iter().filter(|(kind, count)| held.get(*kind).copied().unwrap_or(0) < **count).collect();
            if more.is_empty() { Ok(()) } else { Err(format!("{more:?}, before {held:?}")) }
        });
        let slowest = times.last().copied().unwrap_or_default();
        assert!(!times.is_empty() && slowest < SLOWEST_BEAT, "beats of the neighbour: {times:?}");
        times
    }
}

/// Descriptors and threads of both halves.
fn footing(server: &Server) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for half in ["gateway", "runtime"] {
        let pid = server.half(half).pid;
        // A range's id maps are kept for the next sandbox: as many as there ever were at once.
        let counted = descriptors(pid).into_iter().filter(|(kind, _)| kind != "user");
        all.extend(counted.map(|(kind, count)| (format!("{half} {kind}"), count)));
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        all.insert(format!("{half} threads"), threads);
    }
    all
}

/// A sandbox of another organisation.
#[derive(Debug)]
struct Neighbour {
    client: Client,
    id: String,
    worker: Option<(Arc<AtomicBool>, JoinHandle<Vec<Duration>>)>,
}

impl Neighbour {
    fn make(server: &Server) -> Self {
        let org = server.command(&["org", "create", "neighbour"]);
        assert!(org.status.success(), "{org:?}");
        let key = server.command(&["key", "create", "--org", "neighbour"]);
        assert!(key.status.success(), "{key:?}");
        let client = server.client().with_key(String::from_utf8_lossy(&key.stdout).trim());
        let body = json!({"name": "neighbour", "limits": {"memoryMiB": 64, "pids": 32}});
        let data = client.post("/sandboxes", &body).expect(201).data();
        let id = data["id"].as_str().unwrap_or_else(|| panic!("id in {data}")).to_owned();
        Self { client, id, worker: None }
    }

    fn work(mut self) -> Self {
        let (client, path) = (self.client.clone(), format!("/sandboxes/{}/exec", self.id));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let beats = move || {
            let mut times = Vec::new();
            loop {
                let start = Instant::now();
                let answer = client.post(&path, &json!({"command": BEAT_COMMAND})).expect(200);
                assert_eq!(Run::from_data(answer.data()).line(), "4096", "a beat of the neighbour");
                times.push(start.elapsed());
                if stopped.load(Ordering::Relaxed) {
                    return times;
                }
                std::thread::sleep(BEAT);
            }
        };
        self.worker = Some((stop, std::thread::spawn(beats)));
        self
    }

    /// How long each beat took.
    fn stop(mut self) -> Vec<Duration> {
        let (stop, worker) = self.worker.take().expect("it works");
        stop.store(true, Ordering::Relaxed);
        let times = worker.join().expect("no beat of the neighbour fails");
        let _answer = self.client.delete(&format!("/sandboxes/{}", self.id)).expect(200);
        times
    }
}

/// A test that failed elsewhere ends the worker too, so that it fails with its own message.
impl Drop for Neighbour {
    fn drop(&mut self) {
        if let Some((stop, worker)) = self.worker.take() {
            stop.store(true, Ordering::Relaxed);
            drop(worker.join());
        }
    }
}
