//! A gateway process with its directories, its runtime and a key.

use crate::client::{Answer, Client};
use crate::operator::{self, Files};
use crate::runtime::FakeRuntime;
use bulkhead_gateway::{Config, Endpoint, Tls};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "GATEWAY_TEST_DIR";
const LISTEN: &str = "GATEWAY_TEST_LISTEN";

/// Not a test: the gateway of the tests, which start this program again with two variables set.
#[test]
fn gateway_process() {
    let (Some(dir), Ok(listen)) = (std::env::var_os(CHILD), std::env::var(LISTEN)) else { return };
    let (state_dir, run_dir) = (PathBuf::from(&dir).join("state"), PathBuf::from(&dir).join("run"));
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    let words: Vec<&str> = listen.split(' ').collect();
    let [listen, metrics] = words[..] else { panic!("{words:?}") };
    let bind = |address: &str| Endpoint::bind(address.parse().unwrap()).unwrap();
    let (listen, metrics_listen) = (bind(listen), Some(bind(metrics)));
    let files = Files::new(&PathBuf::from(&dir).join("operator"));
    let changeable = operator::understand(&files.configuration()).unwrap();
    let operator = Box::new(operator::Operator);
    let config = Config { listen, metrics_listen, state_dir, run_dir, changeable, operator };
    bulkhead_gateway::run(config).unwrap();
}

/// Everything a test needs.
pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) runtime: FakeRuntime,
    listen: SocketAddr,
    metrics: SocketAddr,
    process: Option<Child>,
    pub(crate) operator: Files,
    /// What clients have to trust, where they speak TLS.
    certificate: Option<String>,
    pub(crate) key: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with("{}")
    }

    /// One where anybody may register.
    pub(crate) fn with_registration() -> Self {
        Self::with(r#"{"register":true}"#)
    }

    /// With so many sandboxes made ahead.
    pub(crate) fn with_pool(pool: usize) -> Self {
        Self::with(&format!(r#"{{"pool":{pool}}}"#))
    }

    /// One that speaks TLS.
    pub(crate) fn with_tls() -> Self {
        Self::with(r#"{"tls":true}"#)
    }

    fn with(configuration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["state/gateway", "run/gateway/agents"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("state/api-key"), "").unwrap();
        let operator = Files::new(&dir.path().join("operator"));
        operator.configure(configuration);
        let tls = operator::understand(configuration).unwrap().tls != Tls::Off;
        let certificate = tls.then(|| operator.certify(2100));
        let runtime = FakeRuntime::start(&dir.path().join("run"), operator.clone());
        // The gateway waits for a port that is taken, so nobody else can take it in between for long.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [listen, metrics] = ports.map(|port| port.local_addr().unwrap());
        let (process, key) = (None, String::new());
        let mut world = Self { dir, runtime, listen, metrics, process, operator, certificate, key };
        world.start();
        world.key =
            std::fs::read_to_string(world.dir.path().join("state/api-key")).unwrap().trim().to_owned();
        world
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Starts the gateway and waits until it serves.
    pub(crate) fn start(&mut self) {
        let log =
            std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let child = command
            .args(["world::gateway_process", "--exact", "--nocapture"])
            .env(CHILD, self.dir.path())
            .env(LISTEN, format!("{} {}", self.listen, self.metrics))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
        let client = self.stranger();
        eventually("the gateway serves", || {
            client.try_get("/healthz").is_some_and(|answer| answer.status == 200)
        });
    }

    /// Ends the gateway with this signal and says how it ended.
    pub(crate) fn stop(&mut self, signal: nix::sys::signal::Signal) -> Option<i32> {
        let mut child = self.process.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
        child.wait().unwrap().code()
    }

    /// A client without a key.
    pub(crate) fn stranger(&self) -> Client {
        let client = Client::new(self.listen);
        match &self.certificate {
            Some(certificate) => client.trusting(certificate),
            None => client,
        }
    }

    /// Tells the gateway to read its configuration again, and waits until it has said this.
    pub(crate) fn reload(&self, says: &str) {
        let before = self.log().matches(says).count();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
        eventually(says, || self.log().matches(says).count() > before);
    }

    /// The text that Prometheus reads.
    pub(crate) fn scrape(&self) -> String {
        Client::new(self.metrics).get("/metrics").text
    }

    /// A client with the first key.
    pub(crate) fn client(&self) -> Client {
        self.stranger().with("X-API-Key", &self.key)
    }

    /// Makes a sandbox of `image` and gives its id.
    pub(crate) fn sandbox(&self, image: &str) -> String {
        let answer = self.client().post("/api/sandboxes", &json!({ "name": "box", "image": image }));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json["data"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn exec(&self, id: &str, body: &Value) -> Answer {
        self.client().post(&format!("/api/sandboxes/{id}/exec"), body)
    }

    /// What a command of the fake agent does.
    pub(crate) fn run(&self, id: &str, command: &str) -> Answer {
        self.exec(id, &json!({ "command": command }))
    }

    pub(crate) fn status(&self, id: &str) -> String {
        let answer = self.client().get(&format!("/api/sandboxes/{id}"));
        answer.json["data"]["status"].as_str().unwrap_or("none").to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(child) = &mut self.process {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        }
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).unwrap().count()
}
