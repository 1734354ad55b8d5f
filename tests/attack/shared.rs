//! What all sandboxes and the host share, and what one must not do to the others through it: files of /usr, device
//! nodes, kernel memory that nobody is charged for, core dump helpers.

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::Server;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

/// A file that every host of the suite has and that nobody holds open.
const SHARED_FILE: &str = "/usr/share/doc/coreutils/copyright";

#[test]
fn d17_no_lease_holds_up_whoever_opens_a_shared_file() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    let results = outcome(
        &one,
        &format!(
            r#"
import fcntl
file, directory = os.open("{SHARED_FILE}", os.O_RDONLY), os.open("/usr/bin", os.O_RDONLY)
print(json.dumps({{
    "write lease": attempt(fcntl.fcntl, file, 1024, 1),
    "read lease": attempt(fcntl.fcntl, file, 1024, 0),
    "high bits": call("fcntl", file, 1024 | 1 << 32, 1),
    "directory notice": attempt(fcntl.fcntl, directory, 1026, 0x1f),
}}))"#
        ),
    );
    assert_all(&results, &["EPERM"]);
    let start = Instant::now();
    let _text = fs::read(SHARED_FILE).unwrap();
    let _run = two.exec(&format!("head -c 1 {SHARED_FILE}")).ok();
    assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
}

#[test]
fn i11_a_watch_on_shared_files_tells_nothing_of_neighbours_or_the_host() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    let watcher = r#"
import ctypes, os, select, time
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init1(0o4000)
for path in (b"/usr/bin", b"/usr/share/doc/coreutils"):
    assert libc.inotify_add_watch(fd, path, 0xfff) >= 0
open("/tmp/ready", "w").close()
seen, until = b"", time.time() + 4
while time.time() < until:
    if select.select([fd], [], [], 0.1)[0]:
        seen += os.read(fd, 65536)
print("factor" if b"factor" in seen else "copyright" if b"copyright" in seen else "nothing")
"#;
    let answer = std::thread::scope(|scope| {
        let watch = scope.spawn(|| one.exec(&format!("python3 -c '{watcher}'")));
        bulkhead_tests::eventually("the watch stands", || {
            let ready = one.exec("test -e /tmp/ready");
            if ready.code == 0 { Ok(()) } else { Err(String::new()) }
        });
        for _ in 0..5 {
            let _run = two.exec(&format!("factor 42; cat {SHARED_FILE} >/dev/null")).ok();
            let _text = fs::read(SHARED_FILE).unwrap();
            assert!(
                std::process::Command::new("/usr/bin/factor").arg("42").output().unwrap().status.success()
            );
        }
        watch.join().unwrap()
    });
    assert_eq!(answer.line(), "nothing");
}

#[test]
fn e12_device_nodes_work_and_cannot_be_changed() {
    let server = Server::start();
    let before = fs::metadata("/dev/null").unwrap();
    let sandbox = sandbox_of(&server);
    let results = outcome(
        &sandbox,
        r#"
print(json.dumps({"times": attempt(os.utime, "/dev/null"), "mode": attempt(os.chmod, "/dev/null", 0o600)}))"#,
    );
    assert_all(&results, &["EROFS", "EPERM"]);
    let _run = sandbox.exec("echo gone > /dev/null && head -c 4 /dev/urandom | wc -c | grep -x 4").ok();
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!((before.mtime(), before.mode(), before.uid()), (after.mtime(), after.mode(), after.uid()));
}

#[test]
fn d03_no_compiled_filters_that_nobody_is_charged_for() {
    let server = Server::start();
    let sandbox = sandbox_of(&server);
    let sockets = outcome(
        &sandbox,
        r#"
s, program = socket.socket(), struct.pack("HxxxxxxP", 1, 0)
print(json.dumps({name: attempt(s.setsockopt, 1, number, program) for name, number in
    {"SO_ATTACH_FILTER": 26, "SO_ATTACH_BPF": 50, "SO_ATTACH_REUSEPORT_CBPF": 51, "SO_ATTACH_REUSEPORT_EBPF": 52}.items()}))"#,
    );
    assert_all(&sockets, &["EPERM"]);
    let own = outcome(
        &sandbox,
        r#"
print(json.dumps({"seccomp": call("seccomp", 1, 0, None), "prctl": call("prctl", 22, 2, None)}))"#,
    );
    assert_all(&own, &["EINVAL"]);
}

#[test]
fn e01_core_dumps_stay_off_whatever_a_tenant_sets() {
    let server = Server::start();
    let run = sandbox_of(&server).exec(
        "ulimit -c 0; python3 -c 'import resource as r; r.setrlimit(r.RLIMIT_CORE, (0, 0)); \
         print(r.getrlimit(r.RLIMIT_CORE), r.prlimit(0, r.RLIMIT_CORE))'",
    );
    assert_eq!(run.ok().line(), "(1, 1) (1, 1)");
}

#[test]
fn e19_only_tcp_and_udp_among_the_protocols_of_inet() {
    let server = Server::start();
    let sandbox = sandbox_of(&server);
    let refused = outcome(
        &sandbox,
        r#"
print(json.dumps({f"{family} {kind} {protocol}": attempt(socket.socket, family, kind, protocol)
    for family in (2, 10) for kind, protocol in ((1, 262), (1, 256), (1, 132), (2, 136), (2, 115), (5, 132), (6, 33), (2, 1))}))"#,
    );
    assert_all(&refused, &["EPROTONOSUPPORT"]);
    let open = outcome(
        &sandbox,
        r#"
print(json.dumps({f"{family} {kind} {protocol}": attempt(socket.socket, family, kind, protocol)
    for family in (2, 10) for kind, protocol in ((1, 0), (1, 6), (2, 0), (2, 17))}))"#,
    );
    assert_all(&open, &["ok"]);
}
