//! D10: floods of output. D15: floods of the kernel's log.

use super::{long, python, small};
use crate::base::Base;
use bulkhead_tests::Server;
use serde_json::json;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// What the gateway may grow by, in KiB: 8 MiB for each of two streams, and what an allocator keeps.
const GROWTH_KIB: u64 = 40 << 10;
/// What failures of one kind may add to the kernel's log, in bytes.
const LOG_BYTES: usize = 64 << 10;
/// Bytes a second of reports about memory that ended: the kernel writes ten in five seconds at most, of up to 8 KiB
/// each, whoever caused them.
const REPORTS: usize = 24 << 10;

#[test]
fn d10_floods_of_output_are_cut_held_up_or_forgotten() {
    let server = Server::start();
    let base = Base::of(&server);
    let sandbox = small(&server);
    let agent = sandbox.agent();
    let mib = if long() { 1024 } else { 64 };
    let rows = [
        format!("yes | head -c {mib}M"),
        format!("yes | head -c {mib}M >&2"),
        format!("head -c {mib}M /dev/zero | tr '\\0' x"),
        format!("head -c {mib}M /dev/zero | tr '\\0' '\\377'"),
        format!("for i in $(seq 32); do yes $i | head -c {}M & done; wait", mib / 32),
    ];
    for row in rows {
        let run = sandbox.exec_with(&row, json!({"timeout": 120}));
        let kept = run.stdout.len() + run.stderr.len();
        assert!(kept <= 32 << 20, "{row}: {kept} bytes of an answer");
        let cut = &run.data["truncated"];
        assert!(
            cut["stdout"].as_u64().unwrap_or(0) + cut["stderr"].as_u64().unwrap_or(0) > 0,
            "{row}: {cut}"
        );
        assert!(agent.resident_kib() < 24 << 10, "{row}: the agent has {} KiB", agent.resident_kib());
    }
    // Nobody reads these.
    for _ in 0..4 {
        let _handle = sandbox.run("timeout 3 yes; timeout 3 yes >&2");
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(sandbox.exec("echo well").stdout, "well\n");
    assert!(agent.resident_kib() < 24 << 10, "the agent has {} KiB", agent.resident_kib());
    sandbox.delete();
    base.assert_grown_at_most(GROWTH_KIB);
    base.assert_back();
}

/// Everything that the kernel says from here on.
fn log_from_here() -> std::fs::File {
    let mut options = std::fs::OpenOptions::new();
    let mut log =
        options.read(true).custom_flags(0o4000).open("/dev/kmsg").expect("root reads the kernel's log");
    let mut record = [0; 8192];
    while log.read(&mut record).is_ok_and(|read| read > 0) {}
    log
}

fn bytes_since(log: &mut std::fs::File) -> usize {
    let (mut record, mut all) = ([0; 8192], 0);
    while let Ok(read) = log.read(&mut record) {
        if read == 0 {
            break;
        }
        all += read;
    }
    all
}

#[test]
fn d15_what_fails_inside_hardly_reaches_the_kernels_log_alone() {
    let server = Server::start();
    let sandbox = small(&server);
    let rounds = if long() { "100000" } else { "1000" };
    let rows = [
        ("refused calls", "for n in range(ROUNDS * 100):\n    libc.syscall(272, 0x10000000)"),
        (
            "wild pointers",
            "for n in range(ROUNDS):\n    if os.fork() == 0:\n        ctypes.string_at(8)\n    os.wait()",
        ),
        (
            "wrong architecture",
            "import mmap\ncode = mmap.mmap(-1, 4096, prot=7)\ncode.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\nf = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))\nfor n in range(ROUNDS):\n    if os.fork() == 0:\n        f()\n    os.wait()",
        ),
        (
            "memory ends",
            "for n in range(ROUNDS // 20):\n    if os.fork() == 0:\n        b = bytearray(200 << 20)\n        os._exit(0)\n    os.wait()",
        ),
    ];
    for (what, program) in rows {
        let (mut log, start) = (log_from_here(), std::time::Instant::now());
        let run = python(&sandbox, &format!("{}\nprint(1)", program.replace("ROUNDS", rounds)));
        let bytes = bytes_since(&mut log);
        let seconds = usize::try_from(start.elapsed().as_secs()).expect("some") + 5;
        println!("{what}: {bytes} bytes in the kernel's log, ended as {} {}", run.kind, run.code);
        let most = if what == "memory ends" { REPORTS * seconds } else { LOG_BYTES };
        assert!(bytes <= most, "{what}: {bytes} bytes in {seconds} s");
    }
}
