//! What lives in the IPC namespace and in pools of the host (D02, N03 of the attack catalogue): bounded in number,
//! whatever it costs.

use bulkhead_tests::python::with_prelude;
use bulkhead_tests::{Server, host};
use serde_json::json;

/// Knobs that root of a user namespace may write from here on.
const WRITABLE: (u32, u32) = (6, 9);

#[test]
fn n03_system_v_objects_and_queues_are_bounded() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"limits": {"memoryMiB": 256}}));
    let names = "kernel/shmmax kernel/shmall kernel/shmmni kernel/msgmni kernel/sem fs/mqueue/queues_max";
    let read = |prefix: &str| {
        sandbox.exec(&format!("cd {prefix} && for f in {names}; do echo $(cat $f); done")).ok()
    };
    let inside = read("/proc/sys").stdout;
    let lines: Vec<&str> = inside.lines().collect();
    let memory = 256_u64 << 20;
    let (all, pages) = (memory.to_string(), (memory / 4096).to_string());
    if host::kernel() < WRITABLE {
        // Memory is the only bound there; the numbers are the kernel's own.
        assert_eq!(lines[2], "4096", "{lines:?}");
        return;
    }
    assert_eq!(lines, [all.as_str(), &pages, "1024", "256", "500 32000 500 256", "64"]);
    let outcome = sandbox.python(&with_prelude(
        r#"
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def many(make):
    for n in range(5000):
        if make() < 0:
            return [n, errno.errorcode[ctypes.get_errno()]]
    return [5000, "ok"]
print(json.dumps([
    many(lambda: libc.shmget(0, 4096, 0o1600)),
    many(lambda: libc.msgget(0, 0o1600)),
    many(lambda: libc.semget(0, 1, 0o1600)),
]))"#,
    ));
    assert_eq!(outcome, json!([[1024, "ENOSPC"], [256, "ENOSPC"], [256, "ENOSPC"]]));
    let too_large = sandbox.exec(
        "python3 -c 'import ctypes; print(ctypes.CDLL(None).shmget(0, ctypes.c_size_t(257 << 20), 0o1600))'",
    );
    assert_eq!(too_large.ok().line(), "-1");
    let read_only = sandbox.exec("echo 5000 > /proc/sys/kernel/msgmni; cat /proc/sys/kernel/msgmni");
    assert_eq!(read_only.line(), "256", "{}", read_only.data);
}

/// One sandbox at its bound leaves another all of its own.
#[test]
fn n03_a_neighbours_objects_do_not_count() {
    let server = Server::start();
    let (first, second) = (server.create(), server.create());
    let fill = "python3 -c 'import ctypes; l = ctypes.CDLL(None); print(sum(l.semget(0, 1, 0o1600) >= 0 for _ in range(300)))'";
    let before = first.exec(fill).ok();
    assert_eq!(second.exec(fill).ok().line(), before.line());
}

/// The pool of huge pages is the host's; it may be empty, so the limit is what counts.
#[test]
fn d02_huge_pages_are_not_for_sandboxes() {
    let server = Server::start();
    let sandbox = server.create();
    let run = sandbox.python(&with_prelude(
        "import mmap\nprint(json.dumps(attempt(mmap.mmap, -1, 2 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)))",
    ));
    assert_eq!(run, "ENOMEM");
    let report = sandbox.client().get(&sandbox.path("/isolation")).expect(200).data().to_string();
    let has_controller = std::fs::read_to_string("/proc/cgroups").expect("cgroups").contains("hugetlb");
    assert_eq!(report.contains("hugetlb.2MB."), has_controller, "{report}");
}

#[test]
fn the_stack_is_linuxs_own_whoever_started_the_server() {
    let server = Server::start();
    let sandbox = server.create();
    assert_eq!(sandbox.exec("ulimit -S -s").ok().line(), "8192");
    // More may be had: it is memory like any other.
    let deep = "ulimit -S -s 65536 && python3 -c 'import resource; print(resource.getrlimit(resource.RLIMIT_STACK)[0])'";
    assert_eq!(sandbox.exec(deep).ok().line(), (64 << 20).to_string());
}
