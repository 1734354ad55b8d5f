//! An agent that was taken over is a tenant, and what a launch handed to it gives it nothing more. Programs run in the
//! agent's own process, with its descriptors, its capabilities and its filter.

use super::{hostile_server, named};
use crate::base::Base;
use crate::{assert_all, host_file};
use bulkhead_tests::Sandbox;
use bulkhead_tests::groups::InForce;
use serde_json::Value;

/// Runs a program as the agent.
fn as_agent(sandbox: &Sandbox<'_>, program: &str) -> Value {
    sandbox.exec(&format!("#agent\n{program}")).ok().json()
}

#[test]
fn i01_the_sockets_of_an_agent_tell_nothing_of_the_host() {
    let server = hostile_server();
    let sandbox = named(&server, "sockets");
    let found = as_agent(
        &sandbox,
        r#"
import array, fcntl
def interfaces(fd):
    room = array.array("B", bytes(8192))
    size, _ = struct.unpack("iL", fcntl.ioctl(fd, 0x8912, struct.pack("iL", len(room), room.buffer_info()[0])))
    return [bytes(room[at:at + 16]).split(b"\0")[0].decode() for at in range(0, size, 40)]
def asks(fd):
    answers = {}
    for index in range(1, 64):
        try:
            answer = fcntl.ioctl(fd, 0x8910, struct.pack("16si20x", b"", index))
            answers[index] = answer[:16].split(b"\0")[0].decode()
        except OSError:
            pass
    return answers
import stat
def is_socket(fd):
    return attempt(os.fstat, fd) == "ok" and stat.S_ISSOCK(os.fstat(fd).st_mode)
def name(fd):
    with socket.socket(fileno=os.dup(fd)) as s:
        return s.getsockname()
print(json.dumps({"%d %s" % (fd, name(fd)):
    [interfaces(fd), asks(fd), attempt(fcntl.ioctl, fd, 0x894C), attempt(fcntl.ioctl, fd, 0x89E0)] for fd in filter(is_socket, range(3, 64))}))"#,
    );
    let rows = found.as_object().expect("an object of descriptors");
    assert!(rows.len() >= 2, "the listening socket and this connection: {found}");
    for (socket, told) in rows {
        assert_eq!(told[0], serde_json::json!([]), "{socket} names interfaces with addresses: {told}");
        let names: Vec<&str> =
            told[1].as_object().into_iter().flatten().filter_map(|(_, name)| name.as_str()).collect();
        assert!(names.iter().all(|name| *name == "lo"), "{socket} names links: {told}");
        for (index, what) in [(2, "its network namespace"), (3, "its file")] {
            assert_ne!(told[index], "ok", "{socket} gives {what}: {told}");
        }
        assert!(!socket.contains("/tmp/") && !socket.contains("/run/"), "{socket} names a path of the host");
    }
}

#[test]
fn e02_the_cgroup_handle_sets_no_limit_and_leads_nowhere() {
    let server = hostile_server();
    let sandbox = named(&server, "groups");
    let before = InForce::of(&sandbox);
    let results = as_agent(
        &sandbox,
        r#"
out = {}
same = os.fstat(CGROUP_FD).st_ino
for way in ("..", "../..", "/../..", "./../"):
    fd = os.open(way, os.O_RDONLY, dir_fd=CGROUP_FD) if not way.startswith("/") else None
    if fd is not None:
        out["way " + way] = "EACCES" if os.fstat(fd).st_ino == same else "out"
# Its own processes it may move and watch; everything else of the sandbox's group is the launch's.
for name in sorted(os.listdir(os.open(".", os.O_RDONLY, dir_fd=CGROUP_FD))):
    if name not in ("cgroup.procs",):
        out[name] = attempt(lambda: os.close(os.open(name, os.O_WRONLY, dir_fd=CGROUP_FD)))
for fd in (OOM_FD, USAGE_FD, STAT_FD):
    out["write %d" % fd] = attempt(os.write, fd, b"1")
print(json.dumps(out))"#,
    );
    assert_all(&results, &["EACCES", "EPERM", "EBADF", "EINVAL", "EISDIR"]);
    let leaf = as_agent(
        &sandbox,
        r#"
os.mkdir("mine", dir_fd=CGROUP_FD)
out = {}
for name in sorted(os.listdir(os.open("mine", os.O_RDONLY, dir_fd=CGROUP_FD))):
    text = {"cgroup.subtree_control": b"+memory +cpu +pids", "cgroup.max.descendants": b"max"}.get(name, b"9223372036854775807")
    out[name] = attempt(lambda: os.write(os.open("mine/" + name, os.O_WRONLY, dir_fd=CGROUP_FD), text))
made = 0
while made < 5000 and attempt(os.mkdir, "x%d" % made, 0o755, dir_fd=CGROUP_FD) == "ok":
    made += 1
deep = 0
while deep < 100 and attempt(os.mkdir, "mine" + "/d" * (deep + 1), 0o755, dir_fd=CGROUP_FD) == "ok":
    deep += 1
for n in range(made):
    os.rmdir("x%d" % n, dir_fd=CGROUP_FD)
print(json.dumps({"files": out, "made": made, "deep": deep}))"#,
    );
    println!("{leaf}");
    assert!(leaf["made"].as_u64().is_some_and(|made| made < 1000), "groups without end: {leaf}");
    assert!(leaf["deep"].as_u64().is_some_and(|deep| deep < 8), "groups in groups without end: {leaf}");
    assert_eq!(InForce::of(&sandbox), before, "no limit has moved");
}

#[test]
fn p01_an_agent_has_no_more_rights_than_a_tenant() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    let canaries =
        ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"].map(|path| (path, host_file(path)));
    let sandbox = named(&server, "rights");
    let results = as_agent(
        &sandbox,
        r#"
flags = {"user": 0x10000000, "mount": 0x20000, "net": 0x40000000, "pid": 0x20000000, "ipc": 0x8000000,
         "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}
out = {"unshare " + name: call("unshare", bit) for name, bit in flags.items()}
def clone3(bits):
    args = ctypes.create_string_buffer(struct.pack("<11Q", bits, 0, 0, 0, 17, *[0] * 6))
    pid = libc.syscall(ctypes.c_long(435), args, ctypes.c_long(88))
    if pid == 0:
        os._exit(0)
    return "ok" if pid > 0 else name_of(ctypes.get_errno())
out.update({"clone3 " + name: clone3(bit) for name, bit in flags.items()})
for fd in range(3, 10):
    out["setns %d" % fd] = call("setns", fd, 0)
for name in ("mount", "umount2", "pivot_root", "open_tree", "move_mount", "fsopen", "mount_setattr", "bpf", "ptrace",
             "perf_event_open", "userfaultfd", "keyctl", "add_key", "kexec_load", "init_module", "reboot", "swapon",
             "sethostname", "settimeofday", "open_by_handle_at", "process_vm_readv", "pidfd_getfd", "kcmp", "io_uring_setup",
             "io_setup", "quotactl", "acct", "syslog"):
    out[name] = call(name, 0, 0, 0, 0, 0)
for family in (16, 17, 38, 40, 44, 33):
    for protocol in (6, 12, 15, 16):
        out["socket %d %d" % (family, protocol)] = attempt(lambda: socket.socket(family, 3, protocol).close())
out["raw"] = attempt(lambda: socket.socket(2, 3, 1).close())
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/user/max_user_namespaces",
             "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/dev/mem", "/dev/kmsg", "/proc/kcore"):
    out["write " + path] = open_for_write(path)
out["mknod"] = attempt(os.mknod, "/tmp/node", 0o20600, os.makedev(1, 1))
out["link up"] = attempt(lambda: __import__("fcntl").ioctl(socket.socket(2, 2), 0x8914, struct.pack("16sh", b"lo", 0)))
print(json.dumps(out))"#,
    );
    let safe = [
        "EPERM",
        "EACCES",
        "ENOSYS",
        "EAFNOSUPPORT",
        "EPROTONOSUPPORT",
        "ENOENT",
        "EROFS",
        "EINVAL",
        "ENOSPC",
    ];
    assert_all(&results, &safe);
    // Zero would start the host's helper for core dumps where there is one; one means never.
    let cores = as_agent(
        &sandbox,
        r#"
import resource as r
r.setrlimit(r.RLIMIT_CORE, (0, 0))
r.prlimit(0, r.RLIMIT_CORE, (0, 0))
print(json.dumps(r.getrlimit(r.RLIMIT_CORE)))"#,
    );
    assert_eq!(cores, serde_json::json!([1, 1]));
    for (path, before) in canaries {
        assert_eq!(host_file(path), before, "{path}");
    }
    base.delete_others();
    base.assert_back();
}

#[test]
fn p01_capabilities_that_an_agent_keeps_are_its_namespaces_own() {
    let server = hostile_server();
    let sandbox = named(&server, "keeps");
    let status = as_agent(
        &sandbox,
        r#"
# The proc of the sandbox shows the inner namespace: a child stands in it, with what it inherits.
import subprocess
text = subprocess.run(["cat", "/proc/self/status", "/proc/self/uid_map"], capture_output=True, text=True).stdout
fds = subprocess.run("ls -l /proc/self/fd /proc/self/fd/4/.. 2>&1", shell=True, capture_output=True, text=True, close_fds=False).stdout
print(json.dumps({"status": text, "fds": fds, "pids": [n for n in os.listdir("/proc") if n.isdigit()]}))"#,
    );
    let text = status["status"].as_str().expect("a text");
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
    println!("{status}");
    assert_eq!(field("NoNewPrivs:").as_deref(), Some("1"), "{text}");
    assert_eq!(field("Seccomp:").as_deref(), Some("2"), "{text}");
    // Nothing but what a tenant's root has, and the two that shrink and end commands.
    const AGENT: u64 = 0x8004_04db | 1 << 5 | 1 << 8;
    for set in ["CapEff:", "CapPrm:", "CapBnd:", "CapInh:", "CapAmb:"] {
        let bits = field(set).and_then(|bits| u64::from_str_radix(&bits, 16).ok()).expect(set);
        assert_eq!(bits & !AGENT, 0, "{set} {bits:x}");
    }
    let fds = status["fds"].as_str().expect("a text");
    for secret in [server.instance().name.as_str(), sandbox.id(), "/work", "bh-"] {
        assert!(!fds.contains(secret), "{secret} in {fds}");
    }
}

/// What the agent writes as the sandbox's own /proc/meminfo is its own lie, and no place to store without end.
#[test]
fn d11_what_an_agent_writes_for_its_sandbox_is_bounded() {
    let server = hostile_server();
    let sandbox = named(&server, "writes");
    let results = as_agent(
        &sandbox,
        r#"
out = {}
for name, fd in (("meminfo", MEMINFO_FD), ("current", CURRENT_FD)):
    written = 0
    try:
        while written < 64 << 20:
            written += os.pwrite(fd, b"x" * 65536, written)
        end = "ok"
    except OSError as e:
        end = name_of(e.errno)
    out[name] = [written, end]
    attempt(os.ftruncate, fd, 0)
print(json.dumps(out))"#,
    );
    println!("{results}");
    for (name, row) in results.as_object().expect("an object") {
        assert!(row[0].as_u64().is_some_and(|bytes| bytes < 8 << 20), "{name}: {results}");
    }
}
