//! The system call filter, call by call, with the answers of its table.

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::{Server, Switch, Watch};

#[test]
fn e09_no_new_namespace_and_none_of_another_process() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let results = outcome(&sandbox, NAMESPACES);
    assert_all(&results, &["EPERM"]);
    let clone3 = outcome(
        &sandbox,
        r#"
args = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17, 0, 0, 0)
print(json.dumps({"clone3 user": call("clone3", ctypes.byref(args), 64), "clone3 null": call("clone3", 0, 64)}))"#,
    );
    assert_all(&clone3, &["ENOSYS"]);
    watch.end();
}

/// Behind the filter stand the bounds of the user namespace, and behind those nothing but the kernel.
#[test]
fn e09_control_without_the_filter_and_without_the_bounds() {
    let program = r#"print(json.dumps({"user": call("unshare", 0x10000000)}))"#;
    let server = Server::weakened(&[Switch::CommandFilter]);
    assert_all(&outcome(&sandbox_of(&server), program), &["ENOSPC"]);
    drop(server);
    let server = Server::weakened(&[Switch::CommandFilter, Switch::NamespaceLocks]);
    assert_all(&outcome(&sandbox_of(&server), program), &["ok"]);
}

/// Tries every way to a namespace.
const NAMESPACES: &str = r#"
FLAGS = {"user": 0x10000000, "mnt": 0x20000, "net": 0x40000000, "pid": 0x20000000, "ipc": 0x8000000,
         "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}
out = {}
for name, flag in FLAGS.items():
    out["unshare " + name] = call("unshare", flag)
    if name != "time":
        out["clone " + name] = call("clone", flag | 17, 0, 0, 0, 0)
    fd = os.open("/proc/self/ns/" + name, os.O_RDONLY)
    out["setns " + name] = call("setns", fd, 0)
out["unshare all"] = call("unshare", sum(FLAGS.values()))
out["unshare high bits"] = call("unshare", 0x10000000 | 1 << 32)
print(json.dumps(out))"#;

#[test]
fn e15_no_mount_of_any_kind() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let results = outcome(
        &sandbox_of(&server),
        r#"
out = {
    "mount tmpfs": call("mount", "none", "/mnt", "tmpfs", 0, None),
    "remount /": call("mount", "none", "/", None, 0x20, None),
    "remount /proc/sys": call("mount", "none", "/proc/sys", None, 0x20 | 0x1000, None),
    "bind": call("mount", "/", "/mnt", None, 0x1000, None),
    "umount /proc/sys": call("umount2", "/proc/sys", 2),
    "umount2 /dev": call("umount2", "/dev", 2),
    "pivot_root": call("pivot_root", ".", "."),
    "open_tree": call("open_tree", -100, "/", 1),
    "move_mount": call("move_mount", -100, "/tmp", -100, "/mnt", 0),
    "mount_setattr": call("mount_setattr", -100, "/", 0, 0, 32),
    "fsopen": call("fsopen", "tmpfs", 0),
    "fsconfig": call("fsconfig", 0, 6, None, None, 0),
    "fsmount": call("fsmount", 0, 0, 0),
    "fspick": call("fspick", -100, "/", 0),
}
for kind in ["proc", "sysfs", "debugfs", "tracefs", "securityfs", "bpf", "configfs", "cgroup", "cgroup2", "overlay",
             "fuse", "devpts", "mqueue", "binfmt_misc"]:
    out["mount " + kind] = call("mount", "none", "/mnt", kind, 0, None)
print(json.dumps(out))"#,
    );
    assert_all(&results, &["EPERM"]);
    watch.end();
}

/// On each read-only mount that it sees, a tenant tries every way to write that needs no mount call.
#[test]
fn e15_nothing_is_written_through_a_read_only_mount() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let results = outcome(
        &sandbox_of(&server),
        r#"
out = {}
rows = [line.split(" - ")[0].split() for line in open("/proc/self/mountinfo")]
for point in sorted({row[4] for row in rows if "ro" in row[5].split(",")}):
    if os.path.isdir(point):
        out["a file in " + point] = attempt(os.open, point + "/x", os.O_CREAT | os.O_WRONLY)
        out["no name in " + point] = attempt(os.open, point, os.O_TMPFILE | os.O_WRONLY)
        out["times of " + point] = attempt(os.utime, point)
        out["mode of " + point] = attempt(os.chmod, point, 0o777)
        names = [point + "/" + name for name in sorted(os.listdir(point))[:3]]
    else:
        names = [point]
    for name in filter(os.path.isfile, names):
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        out["again " + name] = attempt(os.open, "/proc/self/fd/%d" % file, os.O_RDWR)
        out["shorter " + name] = attempt(os.truncate, name, 0)
        out["link of " + name] = attempt(os.link, name, "/tmp/link")
        out["times of " + name] = attempt(os.utime, name)
print(json.dumps(out))"#,
    );
    // EOPNOTSUPP: a file system without nameless files.
    assert_all(&results, &["EROFS", "EXDEV", "EACCES", "EPERM", "ENOENT", "EOPNOTSUPP"]);
    watch.end();
}

#[test]
fn p08_no_io_uring_bpf_perf_keys_or_userfaults() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let absent = outcome(
        &sandbox,
        r#"
print(json.dumps({
    "io_uring_setup": call("io_uring_setup", 4, ctypes.create_string_buffer(120)),
    "io_uring_enter": call("io_uring_enter", 0, 0, 0, 0, 0, 0),
    "io_uring_register": call("io_uring_register", 0, 0, 0, 0),
    "io_setup": call("io_setup", 1, ctypes.byref(ctypes.c_ulong(0))),
    "io_submit": call("io_submit", 0, 0, 0),
    "memfd_secret": call("memfd_secret", 0),
    "a number of the future": call(999),
    "a number of x32": call(0x40000000 + 39),
}))"#,
    );
    assert_all(&absent, &["ENOSYS"]);
    let refused = outcome(
        &sandbox,
        r#"
print(json.dumps({
    "bpf": call("bpf", 0, ctypes.create_string_buffer(64), 64),
    "perf_event_open": call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0),
    "userfaultfd": call("userfaultfd", 1),
    "add_key": call("add_key", "user", "x", "y", 1, -3),
    "request_key": call("request_key", "user", "x", None, -3),
    "keyctl": call("keyctl", 0, -3, 0),
}))"#,
    );
    assert_all(&refused, &["EPERM"]);
    watch.end();
}

#[test]
fn calls_that_steer_the_host_are_refused() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let results = outcome(
        &sandbox_of(&server),
        r#"
z = ctypes.create_string_buffer(256)
print(json.dumps({
    "init_module": call("init_module", z, 1, ""), "finit_module": call("finit_module", 0, "", 0),
    "delete_module": call("delete_module", "nosuch", 0), "kexec_load": call("kexec_load", 0, 0, 0, 0),
    "kexec_file_load": call("kexec_file_load", -1, -1, 0, None, 0), "reboot": call("reboot", 0, 0, 0, 0),
    "swapon": call("swapon", None, 0), "swapoff": call("swapoff", None), "acct": call("acct", "/nosuch/file"),
    "quotactl": call("quotactl", 0, None, 0, 0), "quotactl_fd": call("quotactl_fd", -1, 0, 0, 0),
    "syslog": call("syslog", 3, z, 16), "iopl": call("iopl", 3), "ioperm": call("ioperm", 0, 1, 1),
    "settimeofday": call("settimeofday", None, None), "clock_settime": call("clock_settime", 0, None),
    "adjtimex": call("adjtimex", z), "clock_adjtime": call("clock_adjtime", 0, z),
    "vhangup": call("vhangup"), "sethostname": call("sethostname", "x", 1),
    "setdomainname": call("setdomainname", "x", 1), "lookup_dcookie": call("lookup_dcookie", 0, z, 16),
    "uselib": call("uselib", "/nosuch"), "ustat": call("ustat", 0, z), "sysfs": call("sysfs", 3),
    "modify_ldt": call("modify_ldt", 0, z, 16), "ptrace": call("ptrace", 0, 0, 0, 0),
    "process_vm_readv": call("process_vm_readv", os.getpid(), None, 0, None, 0, 0),
    "process_vm_writev": call("process_vm_writev", os.getpid(), None, 0, None, 0, 0),
    "process_madvise": call("process_madvise", -1, None, 0, 0, 0),
    "kcmp": call("kcmp", os.getpid(), os.getpid(), 0, 0, 0), "pidfd_getfd": call("pidfd_getfd", -1, 0, 0),
    "fanotify_init": call("fanotify_init", 0, 0), "move_pages": call("move_pages", 0, 0, None, None, None, 0),
    "migrate_pages": call("migrate_pages", 0, 0, None, None), "mbind": call("mbind", 0, 0, 0, None, 0, 0),
    "set_mempolicy": call("set_mempolicy", 0, None, 0), "get_mempolicy": call("get_mempolicy", None, None, 0, 0, 0),
    "cachestat": call("cachestat", 0, None, None, 0), "vmsplice": call("vmsplice", 0, None, 0, 0),
    "personality no aslr": call("personality", 0x40000), "personality low pages": call("personality", 0x100000),
    "prctl mm": call("prctl", 35, 1, 4096, 0, 0),
}))"#,
    );
    assert_all(&results, &["EPERM"]);
    watch.end();
}

#[test]
fn e13_no_file_by_handle() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let results = outcome(
        &sandbox_of(&server),
        r#"
out = {}
for path in ["/", "/usr", "/proc", "/dev", "/tmp"]:
    fd = os.open(path, os.O_RDONLY)
    handle = struct.pack("<IiQ", 8, 1, 2)
    out[path] = call("open_by_handle_at", fd, ctypes.create_string_buffer(handle), 0)
print(json.dumps(out))"#,
    );
    assert_all(&results, &["EPERM"]);
    watch.end();
}

#[test]
fn e17_sockets_of_strange_families_are_unknown() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let refused = outcome(
        &sandbox,
        r#"
out = {}
for family in range(46):
    if family in (1, 2, 10):
        continue
    for kind in (1, 2, 3, 5):
        out["family %d type %d" % (family, kind)] = call("socket", family, kind, 0)
for protocol in (0, 4, 6, 7, 9, 10, 11, 12, 15, 16, 20):
    out["netlink %d" % protocol] = call("socket", 16, 3, protocol)
out["pair of vsock"] = call(53, 40, 1, 0, ctypes.create_string_buffer(8))
print(json.dumps(out))"#,
    );
    assert_all(&refused, &["EAFNOSUPPORT"]);
    let allowed = outcome(
        &sandbox,
        r#"
print(json.dumps({str(f): call("socket", f, 2, 0) for f in (1, 2, 10)}))"#,
    );
    assert_all(&allowed, &["ok"]);
    watch.end();
}

#[test]
fn p13_no_input_is_pushed_into_a_terminal() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let results = outcome(
        &sandbox_of(&server),
        r#"
import pty, termios
main, side = pty.openpty()
letter = ctypes.create_string_buffer(b"x")
requests = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C, "TIOCSETD": 0x5423, "TIOCCONS": 0x541D}
out = {}
for name, request in requests.items():
    out[name] = call("ioctl", side, request, letter)
    out[name + " with high bits"] = call("ioctl", side, request | 1 << 32, letter)
print(json.dumps(out))"#,
    );
    assert_all(&results, &["EPERM"]);
    watch.end();
}

/// A process of the old 32-bit interface would pass by the numbers of the filter: it is killed.
#[test]
fn the_old_interface_kills() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let run = sandbox_of(&server).exec(
        r#"python3 - <<'E'
import ctypes, mmap
# mov eax, 20 (getpid of i386); int 0x80; ret
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
print("pid", f(), flush=True)
E
echo code $?"#,
    );
    assert_eq!(run.stdout, "code 159\n", "128 and SIGSYS: {}", run.data);
    watch.end();
}

/// A filter that breaks programs would be switched off by the first user.
#[test]
fn ordinary_programs_do_not_notice() {
    let server = Server::start();
    let sandbox = sandbox_of(&server);
    let program = r#"
import asyncio, concurrent.futures, multiprocessing, shutil, subprocess, tempfile
out = []
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    out.append(sum(pool.map(lambda n: n * n, range(100))))
with multiprocessing.Pool(3) as pool:
    out.append(sum(pool.map(abs, range(-50, 50))))
out.append(subprocess.run(["sh", "-c", "echo sub | cat"], capture_output=True, text=True).stdout)
async def hello(reader, writer):
    writer.write(b"hello")
    writer.close()
async def talk():
    server = await asyncio.start_server(hello, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    return (await reader.read()).decode()
out.append(asyncio.run(talk()))
with tempfile.TemporaryDirectory() as d:
    shutil.copytree("/etc", d + "/etc", symlinks=True)
    out.append(len(os.listdir(d)))
print(json.dumps(out))"#;
    assert_eq!(outcome(&sandbox, program), serde_json::json!([328_350, 2500, "sub\n", "hello", 1]));
}
