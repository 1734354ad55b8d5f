//! D07: a full disk. D18: trees that are hard to delete.

use super::{DISK_MIB, assert_well, long, python, small};
use bulkhead_tests::{Sandbox, Server, Switch, host, within};
use std::time::{Duration, Instant};

/// A destroy takes no longer, whatever lies on the disk.
const DESTROY: Duration = Duration::from_secs(5);
/// What the volume may take on the host's disk beside the limit, in MiB: its own trees and pieces of fixed size.
const OVERHEAD_MIB: u64 = 64;

/// What all disks take of their volume, in MiB.
fn taken_mib(server: &Server) -> u64 {
    let volume = server.instance().run.join("store");
    let written = std::process::Command::new("sync").arg("-f").arg(&volume).status();
    assert!(written.expect("sync of coreutils starts").success(), "the volume is written back");
    host::used_bytes(&volume) >> 20
}

/// Fills the disk by `piece(n)`, at most this often; the error that stopped it, and how many there were.
fn fill(most: u32, before: &str, piece: &str) -> String {
    format!(
        r#"
os.makedirs("/root/fill", exist_ok=True)
os.chdir("/root/fill")
megabyte = os.urandom(1 << 20)
{before}
end, many = "nothing", 0
try:
    for n in range({most}):
        {piece}
        many += 1
    os.sync()
except OSError as e:
    end = name_of(e.errno)
print(json.dumps([end, many]))"#
    )
}

fn filled(sandbox: &Sandbox<'_>, program: &str) -> (String, u64) {
    serde_json::from_value(python(sandbox, program).ok().json()).expect("an error and a number")
}

#[test]
fn d07_a_full_disk_is_edquot_and_costs_the_host_no_more_than_its_limit() {
    let server = Server::start();
    let create = "def create(n):\n    fd = os.open(str(n), os.O_CREAT | os.O_WRONLY)\n    return fd";
    let rows = [
        ("bytes", "fd = os.open('f', os.O_CREAT | os.O_WRONLY)", "os.write(fd, megabyte); os.fsync(fd)", 500),
        // A megabyte every gibibyte, then the holes.
        (
            "holes",
            "fd = os.open('f', os.O_CREAT | os.O_WRONLY)",
            "os.pwrite(fd, megabyte, ((n % 32) << 30) + (n // 32 << 20)); os.fsync(fd)",
            500,
        ),
        (
            "deleted but open",
            create,
            "fd = create(n); os.write(fd, megabyte); os.fsync(fd); os.unlink(str(n))",
            500,
        ),
        (
            "attributes",
            create,
            "os.close(create(n)); [os.setxattr(str(n), 'user.%d' % i, megabyte[:3500]) for i in range(4)]; \
             (n % 200) or os.fsync(os.open('.', 0))",
            20_000,
        ),
    ];
    for (what, before, piece, most) in rows {
        let sandbox = small(&server);
        let agent = sandbox.agent().pid;
        let before_mib = taken_mib(&server);
        let (end, many) = filled(&sandbox, &fill(most, before, piece));
        let taken = taken_mib(&server).saturating_sub(before_mib);
        println!("{what}: {end} after {many}; the volume took {taken} MiB");
        assert_eq!(end, "EDQUOT", "{what} after {many}");
        assert!(taken <= DISK_MIB + OVERHEAD_MIB, "{what}: {taken} MiB of {DISK_MIB}");
        assert_well(&sandbox, agent);
        // What is full can be emptied again.
        let _run =
            sandbox.exec("rm -rf /root/fill && sync && dd if=/dev/zero of=/root/again bs=1M count=4").ok();
        let start = Instant::now();
        sandbox.delete();
        assert!(start.elapsed() < DESTROY, "{what}: {:?}", start.elapsed());
    }
}

#[test]
fn d07_names_without_end_are_paid_for() {
    let server = Server::start();
    let rows = [
        ("empty files", "os.close(os.open('%0200d' % n, os.O_CREAT))"),
        ("directories", "os.mkdir('%0200d' % n)"),
        ("links", "n == 0 and os.close(os.open('first', os.O_CREAT)); os.link('first', '%0200d' % n)"),
        ("deep", "os.mkdir('d'); os.chdir('d')"),
    ];
    let most = if long() { 1_000_000 } else { 20_000 };
    for (what, piece) in rows {
        let sandbox = small(&server);
        let agent = sandbox.agent().pid;
        let before = taken_mib(&server);
        let (end, many) = filled(&sandbox, &fill(most, "", piece));
        let taken = taken_mib(&server).saturating_sub(before);
        println!("{what}: {end} after {many}; the volume took {taken} MiB");
        assert!(["EDQUOT", "EMLINK", "nothing"].contains(&end.as_str()), "{what}: {end}");
        assert!(taken <= DISK_MIB + OVERHEAD_MIB, "{what}: {taken} MiB");
        assert_well(&sandbox, agent);
        let start = Instant::now();
        sandbox.delete();
        assert!(start.elapsed() < DESTROY, "{what}: {:?}", start.elapsed());
    }
}

#[test]
fn d07_control_without_the_limit_the_disk_does_not_end() {
    let server = Server::weakened(&[Switch::DiskLimit]);
    let sandbox = small(&server);
    let before = "fd = os.open('f', os.O_CREAT | os.O_WRONLY)";
    let (end, many) = filled(&sandbox, &fill(100, before, "os.write(fd, megabyte); os.fsync(fd)"));
    assert_eq!((end.as_str(), many), ("nothing", 100), "{DISK_MIB} MiB");
}

/// Names that no shell likes, trees deeper than any path, directories that nobody may enter.
const MONSTERS: &str = r#"
os.makedirs(b"/root/m/\xff\xfe\x01", exist_ok=True)
for name in [b"a\nb", b"-rf", b"*", b"\xff" * 255, "é\u202e".encode(), b" ", b"x" * 255]:
    os.close(os.open(b"/root/m/" + name, os.O_CREAT))
out = {"immutable": "?"}
import fcntl
fd = os.open("/root/m/*", os.O_RDONLY)
out["immutable"] = attempt(fcntl.ioctl, fd, 0x40086602, struct.pack("l", 0x10))
os.symlink("/proc/self/root", "/root/m/link")
os.mkfifo("/root/m/fifo")
attempt(os.mknod, "/root/m/whiteout", 0o20000 | 0o600, 0)
for n in range(WIDE):
    os.close(os.open("/root/m/%d" % n, os.O_CREAT))
os.chdir("/root/m")
for n in range(DEEP):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
for path in ["/root/m", "/root"]:
    os.chmod(path, 0)
print(json.dumps(out))"#;

#[test]
fn d18_monsters_are_destroyed_at_once_and_hold_up_nobody() {
    let server = Server::start();
    let (wide, deep) = if long() { ("1000000", "40000") } else { ("20000", "2000") };
    let limits = serde_json::json!({"limits": {"memoryMiB": 256, "diskMiB": 2048}});
    let sandbox = server.create_with(limits);
    let program = MONSTERS.replace("WIDE", wide).replace("DEEP", deep);
    let script = bulkhead_tests::python::with_prelude(&program);
    let body = serde_json::json!({"timeout": 280});
    let run = sandbox.exec_with(&format!("python3 - <<'E'\n{script}\nE"), body).ok();
    assert_eq!(run.json(), serde_json::json!({"immutable": "EPERM"}));
    let memory = server.half("runtime").resident_kib();
    let start = Instant::now();
    sandbox.delete();
    assert!(start.elapsed() < DESTROY, "{:?}", start.elapsed());
    // While the tree is taken apart, others come and go.
    for _ in 0..5 {
        let start = Instant::now();
        let other = server.create();
        assert_eq!(other.exec("echo well").stdout, "well\n");
        other.delete();
        assert!(start.elapsed() < DESTROY, "beside it: {:?}", start.elapsed());
    }
    assert!(server.half("runtime").resident_kib() < memory + (8 << 10), "the runtime grew");
    within(Duration::from_secs(30), "the trash is empty", || {
        let trash = server.instance().run.join("store/.trash");
        let left = std::fs::read_dir(&trash).map_or(0, Iterator::count);
        if left == 0 { Ok(()) } else { Err(format!("{left} in it")) }
    });
}
