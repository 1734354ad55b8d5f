//! D02: memory in every form that a program can ask for. D04, D05: memory of pipes and sockets.

use super::{ASKED_MIB, end_of, goes_off, python, small};
use bulkhead_tests::{Server, Switch};

/// Fills with pieces of a mebibyte by `piece(n)`, to [`ASKED_MIB`]; prints `all`, or the error that stopped it.
fn fill(before: &str, piece: &str) -> String {
    format!(
        r#"
import fcntl, mmap, time
kept, megabyte = [], bytes(range(256)) * 4096
{before}
end = "all"
try:
    for n in range({ASKED_MIB}):
        {piece}
except MemoryError:
    end = "ENOMEM"
except OSError as e:
    end = name_of(e.errno)
print(json.dumps(end), flush=True)"#
    )
}

const WRITE: &str = "os.write(fd, megabyte) == len(megabyte) or os.write(fd, megabyte)";
const SYSTEM_V: &str = r"
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
def segment():
    id = libc.shmget(0, 1 << 20, 0o1600)
    if id < 0:
        raise OSError(ctypes.get_errno(), 'shmget')
    at = libc.shmat(id, None, 0)
    libc.shmctl(id, 0, None)
    ctypes.memset(at, 1, 1 << 20)";

fn open(path: &str) -> String {
    format!("fd = os.open('{path}', os.O_RDWR | os.O_CREAT)")
}

#[test]
fn d02_memory_of_programs_ends_at_the_limit() {
    let server = Server::start();
    let rows = [
        ("anonymous", fill("", "kept.append(bytearray(megabyte))")),
        ("memfd", fill("fd = os.memfd_create('m')", WRITE)),
        ("shared", fill("", "kept.append(mmap.mmap(-1, 1 << 20)); kept[-1].write(megabyte)")),
        // A page table of 4 KiB for each 2 MiB that were looked at: 256 make a mebibyte of tables.
        (
            "page tables",
            fill(
                "m = mmap.mmap(-1, 256 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000); m.madvise(15)",
                "[m[(n * 256 + i) << 21] for i in range(256)]",
            ),
        ),
    ];
    for (what, program) in rows {
        assert_eq!(goes_off(&server, what, &program), "oom", "{what}");
    }
    // Where the bound on all segments is in force (Linux 6.9), it is met first.
    let end = goes_off(&server, "System V", &fill(SYSTEM_V, "segment()"));
    assert!(matches!(end.as_str(), "oom" | "ENOSPC"), "{end}");
}

#[test]
fn d02_files_in_memory_end_at_a_quarter_of_the_limit() {
    let server = Server::start();
    for path in ["/dev/shm/fill", "/tmp/fill"] {
        assert_eq!(goes_off(&server, path, &fill(&open(path), WRITE)), "ENOSPC", "{path}");
    }
    let files = "
def empty(n):
    for i in range(100):
        os.close(os.open('/dev/shm/%d-%d' % (n, i), os.O_CREAT))";
    assert_eq!(goes_off(&server, "files in memory", &fill(files, "empty(n)")), "ENOSPC");
}

/// What the kernel can take back is no bomb: the program goes on.
#[test]
fn d02_the_page_cache_of_own_files_is_taken_back() {
    let server = Server::start();
    let write = format!("{}; os.unlink('/root/fill')", open("/root/fill"));
    let again = "os.pwrite(fd, megabyte, (n % 32) << 20); os.pread(fd, 1 << 20, (n * 7 % 32) << 20)";
    assert_eq!(goes_off(&server, "page cache", &fill(&write, again)), "all");
    let read = "names = [os.path.join(d, f) for d, _, fs in os.walk('/usr/lib') for f in fs][:4000]";
    let piece = "[open(f, 'rb').read(1 << 20) for f in names[n * 8:n * 8 + 8] if os.path.isfile(f)]";
    assert_eq!(goes_off(&server, "page cache of shared files", &fill(read, piece)), "all");
}

#[test]
fn d02_areas_and_locked_memory_are_counted() {
    let server = Server::start();
    // Neighbours with different rights cannot become one area: 65,530 at most.
    let areas = "m = mmap.mmap(-1, 600 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
base = ctypes.addressof(ctypes.c_char.from_buffer(m))
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
def areas(n):
    for i in range(128):
        if libc.mprotect(base + ((n * 128 + i) << 13), 4096, 1):
            raise OSError(ctypes.get_errno(), 'mprotect')";
    assert_eq!(goes_off(&server, "areas", &fill(areas, "areas(n)")), "ENOMEM");
    let locked = "libc.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
def lock():
    kept.append(mmap.mmap(-1, 1 << 20))
    if libc.mlock(ctypes.addressof(ctypes.c_char.from_buffer(kept[-1])), 1 << 20):
        raise OSError(ctypes.get_errno(), 'mlock')";
    let end = goes_off(&server, "mlock", &fill(locked, "lock()"));
    assert!(["ENOMEM", "EPERM", "EAGAIN"].contains(&end.as_str()), "{end}");
}

/// 500 pieces of a mebibyte would be there: 250 are looked for, which no limit of 64 allows.
#[test]
fn d02_control_without_the_limit_memory_does_not_end() {
    let server = Server::weakened(&[Switch::MemoryLimit]);
    let sandbox = server.create_with(serde_json::json!({"limits": {"memoryMiB": 64}}));
    let program = "b = bytearray(250 << 20); print(json.dumps('all'))";
    assert_eq!(end_of(&python(&sandbox, program)), "all");
    let pipes = PIPES.replace("range(1000)", "range(150)");
    assert_eq!(end_of(&python(&sandbox, &pipes)), "all", "D04");
    bulkhead_tests::verdict::also("D04", bulkhead_tests::verdict::Verdict::Control);
    let queues = DATAGRAMS.replace("range(400)", "range(60)");
    assert_eq!(end_of(&python(&sandbox, &queues)), "all", "D05");
    bulkhead_tests::verdict::also("D05", bulkhead_tests::verdict::Verdict::Control);
}

#[test]
fn d02_control_without_their_bound_files_in_memory_grow_on() {
    let server = Server::weakened(&[Switch::MemoryFilesLimit]);
    let sandbox = small(&server);
    let program = fill(&open("/dev/shm/fill"), WRITE).replace(&format!("range({ASKED_MIB})"), "range(40)");
    assert_eq!(end_of(&python(&sandbox, &program)), "all");
}

/// A mebibyte in each of up to 1000 pipes.
const PIPES: &str = r#"
import fcntl
end, kept = "all", []
for n in range(1000):
    try:
        r, w = os.pipe()
        kept += [r, w]
        os.set_blocking(w, False)
        fcntl.fcntl(w, 1031, 1 << 20)
        os.write(w, b"x" * (1 << 20))
    except OSError as e:
        if e.errno not in (errno.EPERM, errno.EAGAIN):
            end = name_of(e.errno)
            break
print(json.dumps(end), flush=True)"#;

#[test]
fn d04_what_lies_in_pipes_is_charged() {
    let server = Server::start();
    let end = goes_off(&server, "pipes", PIPES);
    assert!(["oom", "EMFILE", "ENFILE"].contains(&end.as_str()), "{end}");
}

/// Up to a mebibyte in each of 400 pairs of datagram sockets.
const DATAGRAMS: &str = r#"
end, kept = "all", []
try:
    for n in range(400):
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for s in pair:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            s.setblocking(False)
        kept.append(pair)
        try:
            while True:
                pair[0].send(b"x" * 65536)
        except BlockingIOError:
            pass
except OSError as e:
    end = name_of(e.errno)
print(json.dumps(end), flush=True)"#;

const FLIGHT: &str = r#"
import array
end, kept = "all", []
try:
    for n in range(4000):
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        # The pair flies in a queue that only itself holds.
        a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [a.fileno(), b.fileno()] * 120))])
        a.close(); b.close()
except OSError as e:
    end = name_of(e.errno)
print(json.dumps(end), flush=True)"#;

const LOOPBACK: &str = r#"
end, kept = "all", []
server = socket.create_server(("127.0.0.1", 0), backlog=512)
try:
    for n in range(450):
        c = socket.create_connection(server.getsockname())
        s, _ = server.accept()
        kept += [c, s]
        c.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        c.setblocking(False)
        try:
            while True:
                c.send(b"x" * (1 << 20))
        except BlockingIOError:
            pass
except OSError as e:
    end = name_of(e.errno)
print(json.dumps(end), flush=True)"#;

const UNREAD: &str = r#"
end, kept = "all", []
try:
    for n in range(900):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        kept.append(s)
        for _ in range(32):
            s.sendto(b"x" * 60000, socket.MSG_DONTWAIT, s.getsockname())
except OSError as e:
    end = name_of(e.errno)
print(json.dumps(end), flush=True)"#;

#[test]
fn d05_what_lies_in_sockets_is_charged() {
    let server = Server::start();
    let end = goes_off(&server, "unix streams", DATAGRAMS);
    assert_eq!(end, "oom");
    let end = goes_off(&server, "descriptors in flight", FLIGHT);
    assert!(["ETOOMANYREFS", "oom"].contains(&end.as_str()), "{end}");
    // These two throw away what does not fit: the kernel takes it from the sandbox's own allowance.
    for (what, program) in [("unread datagrams", UNREAD), ("unread streams", LOOPBACK)] {
        let end = goes_off(&server, what, program);
        assert!(["all", "oom", "ENOBUFS", "ENOMEM", "EAGAIN"].contains(&end.as_str()), "{what}: {end}");
    }
}

/// Two mebibytes of answers that nobody reads would wait in each, charged to nobody.
#[test]
fn d05_there_is_no_netlink_socket_to_leave_answers_in() {
    let server = Server::start();
    let program = r#"
request = struct.pack("=IHHII", 32, 18, 5, 1, 0) + b"\0" * 16
end, kept = "all", []
try:
    for n in range(300):
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        s.setblocking(False)
        kept.append(s)
        for _ in range(2000):
            s.send(request)
except OSError as e:
    end = name_of(e.errno)
print(json.dumps(end), flush=True)"#;
    assert_eq!(goes_off(&server, "netlink", program), "EAFNOSUPPORT");
}
