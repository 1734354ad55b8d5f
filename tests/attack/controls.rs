//! Negative controls of entries whose attacks stand in other files: without the wall the attack succeeds. What is
//! opened for writing here belongs to the sandbox's own namespaces, and nothing is written.

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::{Server, Switch, eventually};
use serde_json::{Value, json};

/// Filter and capabilities away: what then refuses is the kernel alone.
const BARE: [Switch; 2] = [Switch::CommandFilter, Switch::CapabilityDrop];
/// And the agent in sight.
const WITH_AGENT: [Switch; 3] = [Switch::CommandFilter, Switch::CapabilityDrop, Switch::InnerPids];

/// What a program prints in a sandbox without these walls.
fn without(away: &[Switch], program: &str) -> Value {
    let server = Server::weakened(away);
    outcome(&sandbox_of(&server), program)
}

#[test]
fn e01_control_settings_open_without_the_cover() {
    let results = without(
        &[Switch::ProcSysReadOnly],
        r#"
print(json.dumps({name: open_for_write("/proc/sys/" + name) for name in
    ("kernel/shmmax", "fs/mqueue/msg_max", "kernel/core_pattern")}))"#,
    );
    // Behind the cover stands one more wall, which is never taken away: host id 0 is nobody inside.
    assert_eq!(results["kernel/core_pattern"], "EACCES");
    assert_eq!((&results["kernel/shmmax"], &results["fs/mqueue/msg_max"]), (&json!("ok"), &json!("ok")));
}

#[test]
fn e01_control_core_dumps_come_back_without_their_limit() {
    let away = [Switch::CoreLimit, Switch::CommandFilter];
    let limit =
        without(&away, "import resource\nprint(json.dumps(resource.getrlimit(resource.RLIMIT_CORE)))");
    assert_ne!(limit, json!([1, 1]));
}

#[test]
fn e02_control_a_cgroup_tree_is_mounted_and_open() {
    let results = without(
        &BARE,
        r#"
os.makedirs("/tmp/groups")
out = {"mount": call("mount", "none", "/tmp/groups", "cgroup2", 0, None)}
out["membership"] = open_for_write("/tmp/groups/cgroup.procs")
print(json.dumps(out))"#,
    );
    assert_all(&results, &["ok"]);
}

#[test]
fn e04_control_the_agents_program_is_found_and_still_sealed() {
    let results = without(
        &WITH_AGENT,
        r#"
print(json.dumps({"found": os.readlink("/proc/1/exe"), "open": open_for_write("/proc/1/exe")}))"#,
    );
    assert_eq!(results, json!({"found": "/memfd:bulkhead-agent (deleted)", "open": "ETXTBSY"}));
}

#[test]
fn e05_control_the_tour_of_pid_1_leads_through_the_agent() {
    let results = without(
        &WITH_AGENT,
        r#"
out = {"readlink " + name: attempt(os.readlink, "/proc/1/" + name) for name in ("exe", "cwd", "root", "fd/3")}
out["environ"] = attempt(lambda: open("/proc/1/environ", "rb").read(16))
out["namespace"] = attempt(os.open, "/proc/1/ns/mnt", os.O_RDONLY)
print(json.dumps(out))"#,
    );
    assert_all(&results, &["ok"]);
}

#[test]
fn e13_control_a_directory_is_opened_by_its_handle() {
    let results = without(
        &BARE,
        r#"
os.makedirs("/tmp/outer/inner")
handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
print(json.dumps({
    "name": call(303, -100, "/tmp/outer/inner", handle, ctypes.byref(ctypes.c_int(0)), 0),
    "open": call("open_by_handle_at", os.open("/tmp", os.O_RDONLY), handle, os.O_DIRECTORY),
}))"#,
    );
    assert_eq!(results["name"], "ok");
    // Linux gives it to root of a user namespace, for directories of that namespace's own mounts, since 6.11.
    assert_eq!(results["open"], if kernel() >= (6, 11) { "ok" } else { "EPERM" });
}

/// The version of the host's kernel.
fn kernel() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn e15_control_a_cover_is_made_writable() {
    let results = without(
        &BARE,
        r#"
os.makedirs("/tmp/m")
print(json.dumps({
    "mount": call("mount", "none", "/tmp/m", "tmpfs", 0, None),
    "remount": call("mount", "none", "/proc/sys", None, 0x20 | 0x1000, None),
    "a setting": open_for_write("/proc/sys/kernel/shmmax"),
    "uncover": call("umount2", "/proc/cpuinfo", 2),
}))"#,
    );
    assert_all(&results, &["ok"]);
}

#[test]
fn e17_control_other_families_are_there() {
    let results = without(
        &[Switch::CommandFilter],
        r#"
print(json.dumps({"kernel events": call("socket", 16, 3, 15), "netfilter": call("socket", 16, 3, 12),
    "machines": call("socket", 40, 1, 0)}))"#,
    );
    assert_eq!(results["kernel events"], "ok", "{results}");
}

#[test]
fn e18_control_a_fresh_proc_is_mounted() {
    let results = without(
        &BARE,
        r#"
os.makedirs("/tmp/p")
print(json.dumps({"mount": call("mount", "none", "/tmp/p", "proc", 0, None),
    "a setting": open_for_write("/tmp/p/sys/kernel/shmmax")}))"#,
    );
    assert_all(&results, &["ok"]);
}

#[test]
fn e19_control_other_protocols_are_there() {
    let program = r#"print(json.dumps({str(p): call("socket", 2, kind, p) for kind, p in ((1, 262), (2, 136), (1, 132))}))"#;
    let results = without(&[Switch::CommandFilter], program);
    let open = results.as_object().into_iter().flatten().filter(|(_, result)| *result == "ok").count();
    assert!(open > 0, "neither MPTCP nor UDP-Lite nor SCTP: {results}");
}

#[test]
fn e20_control_a_command_of_the_api_is_traced() {
    let server = Server::weakened(&BARE);
    let sandbox = sandbox_of(&server);
    let results = std::thread::scope(|scope| {
        let traced = scope.spawn(|| sandbox.exec("exec -a traced-71809 sleep 20"));
        let results = eventually("the command is there", || {
            let found = outcome(
                &sandbox,
                r#"
out = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    if "traced-" + "71809" in (read("/proc/%s/cmdline" % pid) or "") and int(pid) not in (os.getpid(), os.getppid()):
        out[pid] = call("ptrace", 16, int(pid), 0, 0)
        os.kill(int(pid), 9)
print(json.dumps(out))"#,
            );
            if found == json!({}) { Err("not seen".to_owned()) } else { Ok(found) }
        });
        let _run = traced.join().expect("the client");
        results
    });
    assert!(results.as_object().is_some_and(|rows| rows.values().any(|row| row == "ok")), "{results}");
}

#[test]
fn p07_control_pages_are_given_to_a_pipe() {
    let results = without(
        &[Switch::CommandFilter],
        r#"
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
page = ctypes.create_string_buffer(4096)
piece = Piece(ctypes.addressof(page), 4096)
print(json.dumps({"vmsplice": call("vmsplice", os.pipe()[1], ctypes.byref(piece), 1, 8)}))"#,
    );
    assert_all(&results, &["ok"]);
}

#[test]
fn p08_control_rings_and_keys_are_there() {
    let results = without(
        &[Switch::CommandFilter],
        r#"
print(json.dumps({"keyctl": call("keyctl", 0, -3, 0), "add_key": call("add_key", "user", "x", "y", 1, -3),
    "io_uring": call("io_uring_setup", 4, ctypes.create_string_buffer(120))}))"#,
    );
    assert_eq!(results["add_key"], "ok", "{results}");
    // A host may have switched rings off by itself.
    assert_ne!(results["io_uring"], "ENOSYS", "{results}");
}

/// With the agent in the commands' pid namespace, whoever takes its id ends the sandbox.
#[test]
fn p09_control_the_init_is_killed() {
    let server = Server::weakened(&[Switch::InnerPids]);
    let sandbox = sandbox_of(&server);
    let _answer = sandbox.post_exec(&json!({
        "command": "python3 -c 'import os; os.setresgid(65533, 65533, 65533); os.setresuid(65533, 65533, 65533); os.kill(2, 9)'"
    }));
    eventually("the sandbox is over", || {
        let answer = sandbox.post_exec(&json!({"command": "true"}));
        if answer.status == 200 { Err(answer.text()) } else { Ok(()) }
    });
}

#[test]
fn p10_control_the_agents_socket_is_stolen() {
    let results = without(
        &WITH_AGENT,
        r#"
fd = os.pidfd_open(1)
stolen = libc.syscall(438, fd, 3, 0)
listener = socket.socket(fileno=os.dup(stolen)) if stolen >= 0 else None
print(json.dumps({"family": listener and listener.family, "listens": listener and listener.getsockopt(1, 30)}))"#,
    );
    assert_eq!(results, json!({"family": 1, "listens": 1}), "a listening unix socket");
}

#[test]
fn p13_control_input_is_pushed() {
    let results = without(
        &[Switch::CommandFilter],
        r#"
import fcntl, pty, termios
main, side = pty.openpty()
if os.fork() == 0:
    os.setsid()
    fcntl.ioctl(side, termios.TIOCSCTTY, 0)
    print(json.dumps({"TIOCSTI": call("ioctl", side, 0x5412, ctypes.create_string_buffer(b"x"))}), flush=True)
    os._exit(0)
os.wait()"#,
    );
    // A host may refuse it by itself: what counts is that the kernel was asked.
    let refuses = std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|text| text == "0\n");
    assert_eq!(results["TIOCSTI"], if refuses { "EIO" } else { "ok" });
}

#[test]
fn i01_control_files_of_the_host_are_read_without_masks() {
    let program = r#"print(json.dumps({name: len(read("/proc/" + name) or "") for name in ("interrupts", "devices", "vmstat")}))"#;
    let results = without(&[Switch::ProcMasks], program);
    assert!(results.as_object().is_some_and(|rows| rows.values().all(|size| *size != 0)), "{results}");
}

#[test]
fn i05_control_addresses_of_the_kernel_are_listed_without_masks() {
    let program = r#"print(json.dumps({"symbols": len(read("/proc/kallsyms") or ""), "keys": len(read("/proc/key-users") or "")}))"#;
    let results = without(&[Switch::ProcMasks], program);
    assert!(results.as_object().is_some_and(|rows| rows.values().any(|size| *size != 0)), "{results}");
}

#[test]
fn i11_control_what_is_in_the_page_cache_is_told() {
    let results = without(
        &[Switch::CommandFilter],
        r#"
span, answer = (ctypes.c_uint64 * 2)(0, 4096), (ctypes.c_uint64 * 8)()
file = os.open("/usr/bin/true", os.O_RDONLY)
print(json.dumps({"cachestat": call("cachestat", file, ctypes.byref(span), ctypes.byref(answer), 0)}))"#,
    );
    assert_all(&results, &["ok"]);
}

#[test]
fn d11_control_watches_and_terminals_have_no_end() {
    let results = without(
        &[Switch::TerminalLimit, Switch::NamespaceLocks],
        r#"
watches = [libc.inotify_init() for n in range(100)]
print(json.dumps({"watches": "ok" if min(watches) >= 0 else "refused",
    "terminals": attempt(lambda: [os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY) for n in range(100)])}))"#,
    );
    assert_all(&results, &["ok"]);
}
