//! Two sandboxes on one host do not exist for each other (I06), and do not use up what they share (N, D11).

use crate::{assert_all, outcome};
use bulkhead_tests::Server;
use serde_json::json;

#[test]
fn i06_processes_ports_files_queues_and_memory_are_apart() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    // Left running when the command ends, as any daemon would be.
    let script = "(exec -a find-me-42 sleep 60 >/dev/null 2>&1 &)
        for d in /tmp /root /dev/shm; do echo of-one > $d/mine; done
        (python3 -m http.server 8765 --bind 127.0.0.1 >/dev/null 2>&1 &)
        ipcmk -M 4096 >/dev/null; ipcmk -Q >/dev/null";
    let _run = one.exec(script).ok();
    bulkhead_tests::eventually("the first one serves", || {
        let ask =
            "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8765), 2); print(\"up\")'";
        let run = one.exec(ask);
        if run.line() == "up" { Ok(()) } else { Err(run.stderr) }
    });
    let results = outcome(
        &two,
        r#"
import subprocess
s = socket.socket()
s.settimeout(2)
processes = subprocess.run("cat /proc/[0-9]*/cmdline", shell=True, capture_output=True).stdout
ipcs = subprocess.run(["ipcs", "-mq"], capture_output=True, text=True).stdout
print(json.dumps({
    "process": "seen" if b"find-me-" + b"42" in processes else "absent",
    "port": "absent" if attempt(s.connect, ("127.0.0.1", 8765)) == "ECONNREFUSED" else "seen",
    "files": "seen" if any(os.path.exists(d + "/mine") for d in ("/tmp", "/root", "/dev/shm")) else "absent",
    "shared memory": "seen" if "0x" in ipcs else "absent",
}))"#,
    );
    assert_all(&results, &["absent"]);
}

#[test]
fn d11_what_one_uses_up_the_other_still_has() {
    let server = Server::start();
    let limits = json!({"memoryMiB": 128, "pids": 64, "openFiles": 1024, "cpus": 0.5});
    let greedy = server.create_with(json!({"limits": limits}));
    let other = server.create();
    let used = outcome(
        &greedy,
        r#"
def until_refused(make, most):
    kept = []
    try:
        while len(kept) < most:
            kept.append(make())
        return "ok"
    except OSError as e:
        return name_of(e.errno)
def inotify():
    fd = libc.inotify_init()
    if fd < 0:
        raise OSError(ctypes.get_errno(), "inotify_init")
    return fd
print(json.dumps({
    "inotify": until_refused(inotify, 900),
    "ptys": until_refused(lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY), 200),
}))"#,
    );
    assert_eq!(used["inotify"], "EMFILE", "watch instances are limited: {used}");
    assert_eq!(used["ptys"], "ENOSPC", "terminals are limited: {used}");
    let run = other.exec("python3 -c 'import pty; pty.openpty(); print(1)'").ok();
    assert_eq!(run.line(), "1");
}
