//! The real server: `bulkhead serve` on a free port with directories of its own.

mod leaks;

use crate::client::Client;
use crate::eventually::{eventually, within};
use crate::host::{self, Process};
use crate::janitor::Janitor;
use crate::programs::program;
use crate::residue::Instance;
use crate::sandbox::Sandbox;
use crate::verdict::Verdict;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a server may take to be healthy, on a machine that is busy with other tests.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a server may take to end after SIGTERM.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// How to start a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// More arguments of `bulkhead serve`.
    pub args: Vec<String>,
    /// The directory of other programs than those under test.
    pub programs: Option<PathBuf>,
    /// More variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Where its own directory is made, if not among all temporary ones.
    pub below: Option<PathBuf>,
    /// What executes the server: a program that becomes the one named after its own arguments.
    pub wrapper: Vec<String>,
}

/// A running server. Its drop is the leak check: every sandbox is deleted, the server stopped and purged, and
/// after each of the two steps nothing may be left.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    port: u16,
    options: Options,
    bulkhead: PathBuf,
    serve: Option<Child>,
    client: Client,
    instance: Instance,
    baseline: BTreeSet<String>,
    made: Mutex<Vec<String>>,
    janitor: Janitor,
}

impl Server {
    /// Starts a server with nothing special.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// Starts a server.
    ///
    /// # Panics
    /// When it is not healthy within half a minute.
    #[must_use]
    pub fn start_with(options: &Options) -> Self {
        let bulkhead = match &options.programs {
            Some(programs) => programs.join("bulkhead"),
            None => program("bulkhead"),
        };
        let below = options.below.clone().unwrap_or_else(std::env::temp_dir);
        let dir = tempfile::Builder::new().prefix("bh-").tempdir_in(below).expect("a directory").keep();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("own directory");
        let port = free_port();
        let janitor = Janitor::start(&bulkhead, &dir);
        let instance = Instance { name: String::new(), state: dir.join("state"), run: dir.join("run") };
        let address = format!("127.0.0.1:{port}");
        let mut server = Self {
            client: Client::new(&address, ""),
            serve: None,
            options: options.clone(),
            bulkhead,
            baseline: BTreeSet::new(),
            made: Mutex::default(),
            dir,
            port,
            instance,
            janitor,
        };
        server.spawn();
        server.wait_healthy();
        server.learn();
        server.baseline = server.instance.sandboxes();
        server
    }

    /// A client with the key of the first start.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.client.address()
    }

    /// Its names and directories.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// A sandbox with one cpu and 1 GiB, as the SDKs make them.
    #[must_use]
    pub fn create(&self) -> Sandbox<'_> {
        self.create_with(json!({}))
    }

    /// A sandbox with more fields of the request.
    ///
    /// # Panics
    /// When `more` is no object or the answer is not 201.
    #[must_use]
    pub fn create_with(&self, more: Value) -> Sandbox<'_> {
        let mut body = json!({"name": "test", "image": "code", "cpu": 1, "mem": 1024});
        let fields: &mut Map<String, Value> = body.as_object_mut().expect("a literal object");
        fields.extend(more.as_object().expect("an object of more fields").clone());
        let data = self.client.post("/sandboxes", &body).expect(201).data();
        let id = data["id"].as_str().unwrap_or_else(|| panic!("id in {data}"));
        self.made.lock().expect("no test panics while it holds this").push(id.to_owned());
        Sandbox::of(self, id)
    }

    /// Runs `bulkhead ARGS --state-dir DIR` as an operator does.
    ///
    /// # Panics
    /// When the program can't be started.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.bulkhead);
        command.args(args).arg("--state-dir").arg(&self.instance.state);
        command.output().expect("bulkhead starts")
    }

    /// The server's own processes: `serve`, its two halves and their helpers, without sandboxes.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let Some(serve) = &self.serve else { return Vec::new() };
        let mut all = host::family(pid_of(serve));
        all.retain(|process| process.uid < host::FIRST_SANDBOX_ID);
        all
    }

    /// The half `runtime` or `gateway`.
    #[must_use]
    pub fn half(&self, word: &str) -> Process {
        within(START_PATIENCE, &format!("a {word} below serve"), || {
            let found = self.processes().into_iter().find(|p| p.is_half(word) && p.state != 'Z');
            found.ok_or_else(|| format!("{:?}", self.processes()))
        })
    }

    /// `kill -9` of one half, and waits until a new one of it answers.
    pub fn kill_half(&self, word: &str) {
        let old = self.half(word).pid;
        host::kill9(old);
        eventually(&format!("another {word}"), || match self.half(word).pid {
            new if new != old => Ok(()),
            _ => Err("still the old one".to_owned()),
        });
        self.wait_healthy();
    }

    /// `kill -9` of `serve`; its halves must follow by themselves.
    ///
    /// # Panics
    /// When they do not.
    pub fn kill_serve(&mut self) {
        let family = self.processes();
        let mut serve = self.serve.take().expect("it runs");
        host::kill9(pid_of(&serve));
        drop(serve.wait());
        eventually("the halves end with serve", || {
            let left: Vec<_> = host::processes()
                .into_iter()
                .filter(|p| p.state != 'Z' && family.iter().any(|f| f.pid == p.pid && f.command == p.command))
                .collect();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
    }

    /// `kill -9` of `serve` and everything it started, before one of them can notice another's end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_everything(&mut self) {
        let mut serve = self.serve.take().expect("it runs");
        let pid = pid_of(&serve);
        // A stopped parent does not reap: no number is given away while we still use it.
        host::signal(pid, nix::sys::signal::Signal::SIGSTOP);
        let family = host::family(pid).into_iter().filter(|p| p.uid < host::FIRST_SANDBOX_ID && p.pid != pid);
        family.for_each(|process| host::kill9(process.pid));
        host::kill9(pid);
        drop(serve.wait());
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end in time or not with status 0.
    pub fn stop(&mut self) {
        let Some(mut serve) = self.serve.take() else { return };
        host::signal(pid_of(&serve), nix::sys::signal::Signal::SIGTERM);
        let status = within(STOP_PATIENCE, "serve ends after SIGTERM", || {
            serve.try_wait().map_err(|e| e.to_string())?.ok_or_else(|| self.log_tail())
        });
        assert!(status.success(), "serve ended with {status}: {}", self.log_tail());
    }

    /// Starts it again on the same port and directories.
    pub fn start_again(&mut self) {
        assert!(self.serve.is_none(), "it runs");
        self.spawn();
        self.wait_healthy();
        self.learn();
    }

    /// Puts the programs under test in the place of those it was started with, as an upgrade does.
    pub fn upgrade(&mut self) {
        self.stop();
        self.options.programs = None;
        self.bulkhead = program("bulkhead");
        self.start_again();
    }

    /// Key and name; both are others after a purge.
    fn learn(&mut self) {
        let read =
            |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let key = read(self.instance.state.join("api-key"));
        self.client = Client::new(&format!("127.0.0.1:{}", self.port), key.trim());
        self.instance.name = read(self.instance.run.join("instance")).trim().to_owned();
        assert!(self.instance.name.starts_with("bulkhead-"), "instance {:?}", self.instance.name);
    }

    /// Waits until `/healthz` answers 200.
    ///
    /// # Panics
    /// When it does not within half a minute.
    pub fn wait_healthy(&self) {
        within(START_PATIENCE, "healthy", || match self.client.try_send("GET", "/healthz", &[], None) {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{} {}; log: {}", answer.status, answer.text(), self.log_tail())),
            Err(e) => Err(format!("{e}; log: {}", self.log_tail())),
        });
    }

    /// All that the server wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("log")).unwrap_or_default()).into_owned()
    }

    /// The last lines of what the server wrote to its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        String::from_utf8_lossy(&log.as_bytes()[log.len().saturating_sub(3000)..]).into_owned()
    }

    /// `setpriv` lets the server die with this test, however that ends; the halves follow by themselves.
    fn spawn(&mut self) {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.dir.join("log"));
        let log = log.expect("a log file in the own directory");
        let errors = log.try_clone().expect("a second handle of the log");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .args(&self.options.wrapper)
            .arg(&self.bulkhead)
            .arg("serve");
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        command.arg("--state-dir").arg(&self.instance.state).arg("--run-dir").arg(&self.instance.run);
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command.args(&self.options.args).stdin(std::process::Stdio::null()).stdout(log).stderr(errors);
        self.serve = Some(command.spawn().expect("setpriv of util-linux starts"));
    }

    /// What a test that ends well on it says of its entry of the attack catalogue.
    fn verdict(&self) -> Verdict {
        if self.options.programs.is_some() { Verdict::Control } else { Verdict::Held }
    }

    fn dir(&self) -> &Path {
        &self.dir
    }
}

fn pid_of(child: &Child) -> i32 {
    i32::try_from(child.id()).expect("a pid fits")
}

/// A port below the range that the kernel gives to outgoing connections. Test processes start at different
/// places, so that two of them hardly ever try the same one.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(37);
    for _ in 0..2000 {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = u16::try_from(20_000 + offset).expect("below 65536");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between 20000 and 32000");
}
