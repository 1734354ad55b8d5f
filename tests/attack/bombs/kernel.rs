//! D03: memory of the kernel that a program has by way of its objects. D12: descriptors.

use super::{end_of, goes_off, python};
use bulkhead_tests::{Server, Switch, groups};
use serde_json::json;

/// Makes objects by `make(n)` until one is refused, `most` at most.
fn many(most: u32, before: &str, make: &str) -> String {
    format!(
        r#"
import fcntl, select, time
kept, end = [], "all"
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result
{before}
try:
    for n in range({most}):
        {make}
except MemoryError:
    end = "ENOMEM"
except OSError as e:
    end = name_of(e.errno)
print(json.dumps(end), flush=True)"#
    )
}

type Row = (&'static str, String, &'static [&'static str]);

/// What is made, how, how often at most, and the ends that are safe. `all` is one where what was made is charged and
/// may be taken back, or is little: the host's loss is measured for every row.
fn rows() -> Vec<Row> {
    let lock = "fd = os.open('/tmp/l', os.O_RDWR | os.O_CREAT)";
    let watch = "w = checked(libc.inotify_init())";
    let files =
        "def file(n):\n    os.close(os.open('/dev/shm/%d' % n, os.O_CREAT)); return '/dev/shm/%d' % n";
    let timer = "t = ctypes.c_void_p()";
    vec![
        (
            "names that are not there",
            many(100_000, "", "os.path.exists('/root/%0100d' % n)"),
            &["all", "oom"],
        ),
        (
            "locks of ranges",
            many(10_000, lock, "fcntl.lockf(fd, fcntl.LOCK_EX, 1, n * 2)"),
            &["oom", "ENOLCK", "ENOMEM", "all"],
        ),
        (
            "watches",
            many(
                70_000,
                watch,
                "os.mkdir('/root/%d' % n); checked(libc.inotify_add_watch(w, b'/root/%d' % n, 2))",
            ),
            &["ENOSPC", "oom", "EDQUOT"],
        ),
        ("timers", many(10_000, timer, "checked(libc.timer_create(1, None, ctypes.byref(t)))"), &["EAGAIN"]),
        (
            "groups",
            many(
                200,
                "libc.setgroups.argtypes = [ctypes.c_size_t, ctypes.c_void_p]\ng = (ctypes.c_uint * 65536)()",
                "os.fork() == 0 and (checked(libc.setgroups(65536, g)), time.sleep(3), os._exit(0))",
            ),
            &["EAGAIN", "oom", "ENOMEM"],
        ),
        (
            "attributes of files in memory",
            many(20_000, files, "os.setxattr(file(n), 'user.x', b'x' * 65000)"),
            &["ENOSPC", "EOPNOTSUPP", "oom", "ENOTSUP"],
        ),
    ]
}

fn rows_of_queues() -> Vec<Row> {
    let queue = "message = ctypes.create_string_buffer(8192); ctypes.cast(message, ctypes.POINTER(ctypes.c_long))[0] = 1";
    vec![
        (
            "messages",
            many(
                40_000,
                queue,
                "checked(libc.msgsnd(q, message, 8000, 0o4000)) if n % 2 else (q := checked(libc.msgget(0, 0o600)))",
            ),
            &["ENOSPC", "ENOMEM", "oom"],
        ),
        ("semaphores", many(40_000, "", "checked(libc.semget(0, 250, 0o600))"), &["ENOSPC", "ENOMEM", "oom"]),
        (
            "queues",
            many(
                300,
                "",
                "kept.append(checked(libc.syscall(240, ctypes.c_char_p(b'q%d' % n), 0o102, 0o600, None)))",
            ),
            &["EMFILE", "ENOSPC", "ENOMEM"],
        ),
        (
            "polled",
            many(
                100_000,
                "e = [select.epoll() for _ in range(400)]; p = [os.pipe()[0] for _ in range(250)]",
                "e[n % 400].register(p[n // 400 % 250])",
            ),
            &["all", "ENOSPC", "EMFILE", "oom", "ENOMEM"],
        ),
        ("mount contexts", many(2, "", "checked(libc.syscall(430, b'tmpfs', 0))"), &["EPERM"]),
        (
            "signals",
            many(
                5_000,
                "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [40])",
                "checked(libc.sigqueue(os.getpid(), 40, None))",
            ),
            &["EAGAIN"],
        ),
    ]
}

#[test]
fn d03_objects_of_the_kernel_are_charged_or_counted() {
    let server = Server::start();
    for (what, program, safe) in rows().into_iter().chain(rows_of_queues()) {
        let end = goes_off(&server, what, &program);
        assert!(safe.contains(&end.as_str()), "{what}: {end}");
    }
}

/// Instances of inotify, fewer than a host's own default of 128.
const INSTANCES: &str = r#"
end, kept = "all", []
for n in range(100):
    fd = libc.inotify_init()
    if fd < 0:
        end = name_of(ctypes.get_errno())
        break
print(json.dumps(end), flush=True)"#;

#[test]
fn d03_control_without_its_bound_watches_do_not_end() {
    let sandbox_of = |server: &Server| end_of(&python(&super::small(server), INSTANCES));
    assert_eq!(sandbox_of(&Server::start()), "EMFILE");
    assert_eq!(sandbox_of(&Server::weakened(&[Switch::NamespaceLocks])), "all");
}

/// Opens of all kinds by as many processes as may be, each until it is refused.
const DESCRIPTORS: &str = r#"
import resource, time
def timer():
    fd = libc.timerfd_create(1, 0)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd")
kinds = [lambda: os.open("/dev/null", 0)] * 13 + [lambda: os.eventfd(0), timer,
         lambda: socket.socket(socket.AF_UNIX).detach()]
until = time.time() + 15
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
children = 0
for n in range(600):
    try:
        pid = os.fork()
    except OSError:
        break
    if pid == 0:
        try:
            while time.time() < until:
                kinds[n % 16]()
        except OSError:
            pass
        time.sleep(max(0, until - time.time()))
        os._exit(0)
    children += 1
for _ in range(children):
    os.wait()
print(json.dumps("%d" % children), flush=True)"#;

/// Descriptors that are open on the host, and most that may be.
fn files() -> (u64, u64) {
    let text = crate::host_file("/proc/sys/fs/file-nr");
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
    (numbers[0], numbers[2])
}

/// A sandbox with the limits of one who asked for nothing.
#[test]
fn d12_descriptors_of_one_sandbox_leave_the_host_half_of_its_own_alone() {
    let server = Server::start();
    let sandbox = server.create();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (before, most) = files();
    let (run, peak, loss) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                peak = peak.max(files().0);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            peak
        });
        let (run, loss) = super::loss_during(|| python(&sandbox, DESCRIPTORS));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (run, watch.join().expect("the watcher"), loss)
    });
    println!(
        "{} {} {}: {before} descriptors before, {peak} at most, of {most}; the host had {loss} KiB less",
        run.kind,
        run.code,
        run.line()
    );
    println!("memory of the sandbox: {}", groups::memory_used(&sandbox));
    assert!(peak - before > 10_000, "nothing was opened: {}", run.data);
    assert!(peak - before <= most / 2, "{peak} of {most}, {before} before");
    assert_eq!(sandbox.exec("echo well").stdout, "well\n");
}

#[test]
fn d12_control_without_its_limit_a_process_opens_what_it_likes() {
    let server = Server::weakened(&[Switch::ProcessLimits]);
    let sandbox = server.create_with(json!({"limits": {"openFiles": 64}}));
    let program = "kept = [os.open('/dev/null', 0) for n in range(500)]\nprint(json.dumps('all'))";
    assert_eq!(end_of(&python(&sandbox, program)), "all");
}
