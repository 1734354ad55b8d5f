//! Directories of the host that the operator shows: what lies in there can be read, and leads nowhere.

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::python::with_prelude;
use bulkhead_tests::{Options, Server};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::Mode;
use serde_json::Value;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A directory of the host with a socket on which somebody listens, a FIFO that somebody reads, and a file that somebody
/// has locked. All of them are open to everybody.
struct Busy {
    directory: TempDir,
    _listener: UnixListener,
    _reader: File,
    _lock: Flock<File>,
}

impl Busy {
    fn new() -> Self {
        let directory =
            tempfile::Builder::new().prefix("bulkhead-shown-").tempdir_in("/srv").expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let listener = UnixListener::bind(at("socket")).expect("a socket");
        nix::unistd::mkfifo(&at("pipe"), Mode::empty()).expect("a FIFO");
        fs::write(at("file"), "text").expect("a file");
        for name in ["socket", "pipe", "file", "."] {
            fs::set_permissions(at(name), Permissions::from_mode(0o777)).expect("chmod");
        }
        let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let reader =
            OpenOptions::new().read(true).custom_flags(nonblocking).open(at("pipe")).expect("its reader");
        let lock =
            Flock::lock(File::open(at("file")).expect("a file"), FlockArg::LockExclusive).expect("its lock");
        Self { directory, _listener: listener, _reader: reader, _lock: lock }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// What of the three belongs to the host: a lock that is refused is the host's.
fn program(at: &str) -> String {
    format!(
        r#"
import fcntl
stream = socket.socket(socket.AF_UNIX)
file = os.open("{at}/file", os.O_RDONLY)
assert os.read(file, 4) == b"text"
print(json.dumps({{
    "connect": attempt(stream.connect, "{at}/socket"),
    "pipe": attempt(os.open, "{at}/pipe", os.O_WRONLY | os.O_NONBLOCK),
    "lock": attempt(fcntl.flock, file, fcntl.LOCK_EX | fcntl.LOCK_NB),
}}))"#
    )
}

#[test]
fn e16_nothing_in_a_shown_directory_leads_to_the_host() {
    let (busy, config) = (Busy::new(), tempfile::tempdir().unwrap());
    let file = config.path().join("bulkhead.toml");
    let path = busy.path().display();
    fs::write(&file, format!("[images.code]\nmounts = {{ '/srv/shown' = '{path}' }}\n")).unwrap();
    let server = Server::start_with(&Options {
        args: vec!["--config".into(), file.to_str().unwrap().into()],
        ..Options::default()
    });
    let mut results = outcome(&sandbox_of(&server), &program("/srv/shown"));
    assert_eq!(results["lock"].take(), "ok", "a lock in a sandbox is its own");
    results.as_object_mut().unwrap().remove("lock");
    assert_all(&results, &["ECONNREFUSED", "ENXIO"]);
}

/// The same through a bind that is read-only: all three are the host's.
#[test]
fn e16_control_a_read_only_bind_leads_to_sockets_pipes_and_locks() {
    let busy = Busy::new();
    let path = busy.path().display().to_string();
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec python3 -c \"$2\"";
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh", &path])
        .arg(with_prelude(&program(&path)))
        .output()
        .unwrap();
    let results: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let wanted = serde_json::json!({"connect": "ok", "pipe": "ok", "lock": "EAGAIN"});
    assert_eq!(results, wanted);
}
