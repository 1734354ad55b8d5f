//! Ways out of a sandbox that were used against others.

use crate::{assert_all, host_file, outcome, sandbox_of};
use bulkhead_tests::{Server, Watch};

#[test]
fn e01_files_that_make_the_kernel_run_programs() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let watched =
        ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/hostname"];
    let before = watched.map(host_file);
    let results = outcome(
        &sandbox,
        r#"
names = ["sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hotplug", "sys/kernel/poweroff_cmd",
         "sys/fs/binfmt_misc/register", "sysrq-trigger", "sys/vm/overcommit_memory", "sys/vm/drop_caches",
         "sys/kernel/hostname", "sys/kernel/pid_max", "sys/kernel/shmmax", "sys/fs/mqueue/msg_max", "sys/user/max_user_namespaces", "sys/net/ipv4/ip_forward"]
roots = ["/proc", "/proc/1/root/proc", "/proc/self/root/proc", "/proc/thread-self/root/proc",
         "/proc/self/task/%d/root/proc" % os.getpid(), "/proc/self/cwd/../proc", "/dev/fd/../../../proc"]
print(json.dumps({root + "/" + name: open_for_write(root + "/" + name) for root in roots for name in names}))"#,
    );
    let rows = results.as_object().expect("an object");
    for (path, result) in rows {
        // The masked file is `/dev/null` in its place: opening that writes nowhere.
        let masked = path.ends_with("sysrq-trigger") && result == "ok";
        let refused =
            ["EACCES", "EROFS", "ENOENT", "EPERM", "ENOTDIR"].contains(&result.as_str().unwrap_or("?"));
        assert!(masked || refused, "{path}: {result}");
    }
    let null = sandbox.exec("stat -L -c '%t:%T' /proc/sysrq-trigger");
    assert!(null.code != 0 || null.line() == "1:3", "sysrq-trigger is no null device: {}", null.data);
    assert_eq!(watched.map(host_file), before);
    watch.end();
}

#[test]
fn e02_no_cgroup_file_can_be_written() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let results = outcome(
        &sandbox,
        r#"
found = {
    "user namespace": call("unshare", 0x10000000 | 0x20000 | 0x2000000),
    "version 1": call("mount", "none", "/tmp", "cgroup", 0, "memory"),
    "version 2": call("mount", "none", "/tmp", "cgroup2", 0, None),
}
for root in ["/sys", "/proc/self/root/sys", "/run", "/dev"]:
    for dir, dirs, files in os.walk(root):
        for name in files:
            if name.startswith(("cgroup.", "memory.", "pids.", "cpu.", "release_agent", "notify_on_release", "tasks")):
                path = os.path.join(dir, name)
                found[path] = open_for_write(path)
for line in open("/proc/self/mountinfo"):
    if " - cgroup" in line and " rw," in line:
        found[line] = "ok"
print(json.dumps(found))"#,
    );
    assert_all(&results, &["EACCES", "EROFS", "EPERM"]);
    watch.end();
}

#[test]
fn e05_a_tour_of_pid_1_ends_at_the_reaper() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let results = outcome(
        &sandbox,
        r#"
out = {}
for name in ["exe", "cwd", "root"]:
    out["readlink " + name] = attempt(os.readlink, "/proc/1/" + name)
for name in ["environ", "mem", "maps", "auxv", "syscall", "stack", "io"]:
    out["read " + name] = attempt(lambda: open("/proc/1/" + name, "rb").read(16))
out["list map_files"] = attempt(os.listdir, "/proc/1/map_files")
for name in ["fd/0", "fd/1", "fd/2", "fd/3", "task/1/fd/0"]:
    out["readlink " + name] = attempt(os.readlink, "/proc/1/" + name)
    out["open " + name] = attempt(os.open, "/proc/1/" + name, os.O_RDONLY)
for name in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"]:
    out["open ns " + name] = attempt(os.open, "/proc/1/ns/" + name, os.O_RDONLY)
out["write mem"] = open_for_write("/proc/1/mem")
out["ptrace attach"] = call("ptrace", 16, 1, 0, 0)
fd = os.pidfd_open(1)
out["pidfd_getfd"] = call("pidfd_getfd", fd, 0, 0)
out["setns by pidfd"] = call("setns", fd, 0x20000)
print(json.dumps(out))"#,
    );
    // Tenant root owns the reaper's directory of descriptors, and may count them; there is none beyond the three.
    assert_all(&results, &["EACCES", "EPERM", "ENOENT"]);
    assert_eq!(sandbox.exec("ls -m /proc/1/fd 2>/dev/null").line(), "0, 1, 2");
    let arguments = sandbox.exec("tr '\\0' ' ' < /proc/1/cmdline");
    assert!(!arguments.stdout.contains('/'), "the reaper's arguments name a path: {}", arguments.stdout);
    watch.end();
}

#[test]
fn e06_chroot_leads_nowhere() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let program = r#"
before = sorted(os.listdir("/"))
root = os.open("/", os.O_RDONLY)
os.makedirs("/tmp/x/y", exist_ok=True)
first = attempt(os.chroot, "/tmp/x")
os.fchdir(root)
for step in range(50):
    os.chdir("..")
second = attempt(os.chroot, ".")
print(json.dumps([first, second, sorted(os.listdir(".")) == before]))"#;
    let run = outcome(&sandbox_of(&server), program);
    // Package managers need chroot: it may work, and then the way out of it ends where it started.
    assert!(run[2] == true && (run[0] == "ok" || run[0] == "EPERM"), "{run}");
    watch.end();
}

#[test]
fn e12_device_nodes_cannot_be_made() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let results = outcome(
        &sandbox,
        r#"
import stat
out = {}
for place in ["/", "/tmp", "/dev/shm", "/root", "/var/tmp"]:
    for kind, letter in ((stat.S_IFBLK, "b"), (stat.S_IFCHR, "c")):
        for major, minor in ((8, 0), (1, 1), (1, 3), (5, 1), (10, 237), (10, 200), (254, 0), (259, 0)):
            path = "%s/node-%s-%d-%d" % (place, letter, major, minor)
            out[path] = attempt(os.mknod, path, kind | 0o666, os.makedev(major, minor))
out["/dev is read-only"] = attempt(lambda: open("/dev/x", "w"))
print(json.dumps(out))"#,
    );
    assert_all(&results, &["EPERM", "EROFS"]);
    let fifo = outcome(&sandbox, r#"print(json.dumps({"fifo": attempt(os.mkfifo, "/tmp/fifo")}))"#);
    assert_all(&fifo, &["ok"]);
    watch.end();
}

#[test]
fn e16_no_socket_of_the_host_answers() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let server = Server::start();
    let watch = Watch::begin(&server);
    let run_dir = server.instance().run.to_string_lossy().into_owned();
    let state_dir = server.instance().state.to_string_lossy().into_owned();
    let name = format!("bulkhead-canary-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let _canary = UnixListener::bind_addr(&address).expect("a free name");
    let program = format!(
        r#"
def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(2)
    return attempt(s.connect, path)
out = {{}}
for path in ["/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock",
             "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/podman/podman.sock",
             "{run_dir}/runtime.sock", "{run_dir}/gateway/admin.sock", "/run/bulkhead/runtime.sock",
             "{state_dir}/api-key", "\0{name}"]:
    out[path] = connect(path)
for line in (read("/proc/net/unix") or "").splitlines()[1:]:
    if len(line.split()) > 7 and line.split()[7].startswith("@"):
        out["abstract " + line.split()[7]] = connect("\0" + line.split()[7][1:])
print(json.dumps(out))"#
    );
    assert_all(&outcome(&sandbox_of(&server), &program), &["ENOENT", "ECONNREFUSED", "EACCES"]);
    watch.end();
}

#[test]
fn e16_no_port_of_the_host_or_beyond_answers() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let canary = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = canary.local_addr().expect("bound").port();
    let api = server.address().rsplit(':').next().expect("a port").to_owned();
    let program = format!(
        r#"
out = {{}}
for host in ["127.0.0.1", "0.0.0.0", "::1", "169.254.169.254", "10.0.0.1", "192.168.0.1", "192.0.2.1"]:
    for port in ({port}, {api}, 22, 80):
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        s.settimeout(2)
        out["%s %d" % (host, port)] = attempt(s.connect, (host, port))
print(json.dumps(out))"#
    );
    assert_all(&outcome(&sandbox_of(&server), &program), &["ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"]);
    watch.end();
}

#[test]
fn e18_nothing_of_sys_can_be_written() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let results = outcome(
        &sandbox_of(&server),
        r#"
out = {"tried": "EPERM"}
for dir, dirs, files in os.walk("/sys"):
    for name in files:
        path = os.path.join(dir, name)
        if open_for_write(path) == "ok":
            out[path] = "ok"
out["a new file"] = attempt(lambda: open("/sys/x", "w"))
print(json.dumps(out))"#,
    );
    assert_all(&results, &["EPERM", "EROFS", "EACCES", "ENOENT"]);
    watch.end();
}

#[test]
fn the_hosts_files_are_not_there() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let canary = server.instance().state.parent().expect("the test's directory").join("canary");
    std::fs::write(&canary, "of the host").expect("own directory");
    let repository = bulkhead_tests::programs::repository().to_string_lossy().into_owned();
    let program = format!(
        r#"
out = {{}}
for path in ["{canary}", "{repository}", "/etc/machine-id", "/boot/vmlinuz", "/root/.ssh", "/root/.cargo",
             "/var/lib/dpkg/status", "/var/log/dpkg.log", "/lost+found"]:
    for root in ["", "/proc/1/root", "/proc/self/root", "/..", "/usr/.."]:
        out[root + path] = "ok" if os.path.exists(root + path) else "absent"
print(json.dumps(out))"#,
        canary = canary.display()
    );
    let sandbox = sandbox_of(&server);
    assert_all(&outcome(&sandbox, &program), &["absent"]);
    // Files that programs expect are there, and they are ours.
    assert_eq!(sandbox.exec("cat /etc/shadow").ok().stdout.lines().count(), 1);
    for name in ["passwd", "group", "hosts", "hostname"] {
        let inside = sandbox.exec(&format!("cat /etc/{name}")).ok().stdout;
        let host = std::fs::read_to_string(format!("/etc/{name}")).unwrap_or_default();
        assert!(inside.is_empty() || inside != host, "/etc/{name} is the host's");
    }
    watch.end();
}

#[test]
fn programs_that_ask_for_privilege_get_none() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    for script in
        ["unshare -U true", "unshare -m true", "unshare -rn true", "mount -t tmpfs none /mnt", "umount /tmp"]
    {
        let run = sandbox.exec(script);
        assert_ne!(run.code, 0, "{script} worked: {}", run.data);
    }
    watch.end();
}
