//! At the ceiling of memory: the kernel ends the command, the sandbox goes on.

use crate::small_sandbox;
use bulkhead_tests::{Sandbox, Server, host};

/// Touches `mib` MiB and says so.
fn eat(sandbox: &Sandbox<'_>, mib: u32) -> bulkhead_tests::Run {
    sandbox.exec(&format!("python3 -c 'b = bytearray({mib} << 20); print(len(b) >> 20)'"))
}

fn assert_goes_on(sandbox: &Sandbox<'_>) {
    assert_eq!(sandbox.object()["status"], "running");
    assert_eq!(sandbox.exec("echo goes on").stdout, "goes on\n");
}

#[test]
fn d02_too_much_is_an_oom_end() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    assert_eq!(eat(&sandbox, 20).ok().line(), "20");
    for _ in 0..3 {
        let run = eat(&sandbox, 300);
        assert_eq!((run.code, run.kind.as_str()), (137, "oom"), "{}", run.data);
        assert_goes_on(&sandbox);
    }
}

#[test]
fn d02_a_child_that_was_killed_for_memory_is_not_the_commands_end() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    let run = sandbox.exec("python3 -c 'bytearray(300 << 20)'; echo child $?");
    assert_eq!((run.stdout.as_str(), run.code), ("child 137\n", 0), "{}", run.data);
    assert_goes_on(&sandbox);
}

/// Files in memory count; so does what no process holds any more.
#[test]
fn d02_files_in_memory_count() {
    let server = Server::start();
    for dir in ["/dev/shm", "/tmp"] {
        let sandbox = small_sandbox(&server);
        let before = host::available_kib();
        let run = sandbox.exec(&format!("head -c 300M /dev/zero > {dir}/fill; stat -c %s {dir}/fill"));
        let size: u64 = run.line().parse().unwrap_or(0);
        assert!(size < 300 << 20 || dir == "/tmp", "{dir}: {}", run.data);
        let taken = before.saturating_sub(host::available_kib());
        assert!(taken < 160 << 10, "{dir}: the host lost {taken} KiB");
        let _run = sandbox.exec(&format!("rm -f {dir}/fill"));
        assert_goes_on(&sandbox);
    }
}

/// Swap would let a tenant have more than its memory; `mlock` would take what cannot be reclaimed.
#[test]
fn d02_many_eaters_share_one_ceiling() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    let before = host::available_kib();
    let script = "for i in 1 2 3 4 5 6; do python3 -c 'import time; b = bytearray(30 << 20); time.sleep(2)' & done; wait";
    let run = sandbox.exec(script);
    assert_eq!(run.code, 0, "{}", run.data);
    assert!(run.stderr.contains("Killed") || run.stderr.is_empty(), "{}", run.stderr);
    let taken = before.saturating_sub(host::available_kib());
    assert!(taken < 160 << 10, "the host lost {taken} KiB");
    assert_goes_on(&sandbox);
}
