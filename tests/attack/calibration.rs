//! The same probes under bulkhead and under programs that everybody knows, with the settings that these begin with:
//! what of the catalogue is ours, and proof that the probes can succeed. `scripts/test all` installs the peers.
//!
//! Nothing is used: files of the kernel are opened and not written, processes are bounded in number.

use bulkhead_tests::Server;
use bulkhead_tests::groups::InForce;
use bulkhead_tests::python::with_prelude;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// Processes that the probe tries to have at once, and those that our sandbox may have.
const FORKS: u64 = 200;
const PIDS: u64 = 64;
/// Hides the v2 tree of a hybrid host, beside which crun refuses to work, in a mount namespace of its own.
const HIDE: &str =
    r#"[ ! -d /sys/fs/cgroup/unified ] || mount --bind "$1" /sys/fs/cgroup/unified; shift; exec "$@""#;

const PROBES: &str = r#"
import fcntl, pty, signal, termios
def in_child(function):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(function()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    answer = os.read(reading, 100).decode()
    os.waitpid(pid, 0)
    return answer or "died"
def typed():
    os.setsid()
    _, slave = pty.openpty()
    attempt(fcntl.ioctl, slave, termios.TIOCSCTTY, 0)
    return attempt(fcntl.ioctl, slave, termios.TIOCSTI, b"x")
def forks():
    children = []
    try:
        while len(children) < FORKS:
            pid = os.fork()
            if pid == 0:
                signal.pause()
            children.append(pid)
        return "ok"
    except OSError as e:
        return name_of(e.errno)
    finally:
        for pid in children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
def shows(path):
    return "ok" if read(path) else "nothing"
print(json.dumps({
    "nested user namespace": in_child(lambda: call("unshare", 0x10000000)),
    "mount in a nested one": in_child(lambda: call("unshare", 0x10020000) if call("unshare", 0x10020000) != "ok"
                                      else call("mount", "none", "/tmp", "tmpfs", 0, None)),
    "AF_ALG socket": attempt(lambda: socket.socket(38, 5, 0).close()),
    "generic netlink socket": attempt(lambda: socket.socket(16, 3, 16).close()),
    "io_uring": call("io_uring_setup", 0, None),
    "bpf": call("bpf", 0, None, 0),
    "keyring": call("keyctl", 0, -3, 1),
    "TIOCSTI": in_child(typed),
    "/proc/keys": shows("/proc/keys"),
    "/proc/interrupts": shows("/proc/interrupts"),
    "core_pattern, to write": open_for_write("/proc/sys/kernel/core_pattern"),
    "200 processes": forks(),
}))"#;

/// Whether this kernel has the family at all.
const FAMILY: &str = "print(json.dumps(attempt(lambda: socket.socket(38, 5, 0).close())))";

/// What reached the kernel: it worked, or the kernel itself found the arguments (all null) wrong.
fn reached(answer: &Value) -> bool {
    matches!(answer.as_str(), Some("ok" | "EFAULT"))
}

fn probes() -> String {
    with_prelude(&PROBES.replace("FORKS", &FORKS.to_string()))
}

fn output(name: &str, command: &mut Command) -> Value {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{name}: {e}; scripts/test all installs it"));
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}: {output:?}"))
}

fn bulkhead() -> Value {
    let server = Server::start();
    let sandbox = server.create_with(json!({"limits": {"pids": PIDS, "memoryMiB": 1024, "cpus": 1.0}}));
    assert_eq!(InForce::of(&sandbox), InForce::for_tenant(1024, PIDS, 1000));
    sandbox.python(&probes())
}

fn bwrap() -> Value {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr"]);
    command.args(["--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"]);
    command.args(["--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    output("bwrap", command.args(["/usr/bin/python3", "-c"]).arg(probes()))
}

/// A runtime of the OCI with the bundle that its own `spec` writes, over the host's `/usr`.
fn oci(runtime: &str, directory: &Path) -> Value {
    let (bundle, empty) = (directory.join(runtime), directory.join("empty"));
    let root = bundle.join("rootfs");
    for name in ["usr", "proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(root.join(name)).expect("own directory");
    }
    fs::create_dir_all(&empty).expect("own directory");
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).expect("own directory");
    }
    let made = Command::new(runtime).arg("spec").current_dir(&bundle).status();
    assert!(made.unwrap_or_else(|e| panic!("{runtime}: {e}; scripts/test all installs it")).success());
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("spec wrote it")).expect("JSON");
    let id = format!("bulkhead-calibration-{}", std::process::id());
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/usr/bin/python3", "-c", probes()]);
    config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
    let usr = json!({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["bind", "ro"]});
    config["mounts"].as_array_mut().expect("mounts of a bundle").push(usr);
    fs::write(&path, config.to_string()).expect("own directory");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", HIDE, "sh"]).arg(&empty);
    command.arg(runtime).arg("--root").arg(directory.join("state")).args(["run", "--bundle"]);
    output(runtime, command.arg(&bundle).arg(&id))
}

#[test]
fn the_same_probes_under_bulkhead_bwrap_crun_and_runc() {
    let directory = tempfile::tempdir().expect("a directory");
    let all = [
        ("bulkhead", bulkhead()),
        ("bwrap", bwrap()),
        ("crun", oci("crun", directory.path())),
        ("runc", oci("runc", directory.path())),
    ];
    let rows: Vec<&String> = all[0].1.as_object().expect("an object").keys().collect();
    print!("{:<24}", "");
    all.iter().for_each(|(name, _)| print!("{name:<16}"));
    println!();
    for row in &rows {
        print!("{row:<24}");
        all.iter().for_each(|(_, told)| print!("{:<16}", told[row.as_str()].as_str().unwrap_or("?")));
        println!();
    }
    let [ours, peers @ ..] = &all;
    for row in &rows {
        assert!(!reached(&ours.1[row.as_str()]), "{row} under bulkhead: {}", ours.1);
    }
    // None of them has a filter of its own: what the filter refuses, they let through, where this kernel has it.
    let host = output("python3", Command::new("/usr/bin/python3").args(["-c", &with_prelude(FAMILY)]));
    let rows =
        ["nested user namespace", "mount in a nested one", "generic netlink socket", "io_uring", "TIOCSTI"];
    for (name, told) in peers {
        for row in rows.into_iter().chain(["/proc/interrupts"]) {
            assert!(reached(&told[row]), "{row} under {name}: {told}");
        }
        assert_eq!(told["AF_ALG socket"], host, "under {name}: {told}");
    }
    assert!(reached(&peers[0].1["200 processes"]), "bwrap bounds no processes: {}", peers[0].1);
}
