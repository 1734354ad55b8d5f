//! What programs are told about their machine: exact where the kernel would tell the host's numbers.

use bulkhead_tests::Server;
use serde_json::json;

const MIB: u64 = 1 << 20;

#[test]
fn processors_are_counted_as_they_were_given() {
    let host = std::thread::available_parallelism().unwrap().get();
    let server = Server::start();
    for (cpus, count) in [(0.5, 1), (1.0, 1), (1.5, 2.min(host)), (64.0, host)] {
        let sandbox = server.create_with(json!({"limits": {"cpus": cpus}}));
        let run = sandbox.exec(
            "nproc; grep -c ^processor /proc/cpuinfo; grep -c '^cpu[0-9]' /proc/stat; \
             python3 -c 'import os; print(os.cpu_count())'; cat /sys/devices/system/cpu/online",
        );
        let lines: Vec<_> = run.stdout.lines().collect();
        let online = if count == 1 { "0".to_owned() } else { format!("0-{}", count - 1) };
        let count = count.to_string();
        assert_eq!(lines, [&count, &count, &count, &count, &online], "{cpus} cpus: {}", run.data);
    }
}

#[test]
fn two_sandboxes_of_half_the_host_do_not_share_a_processor() {
    let host = std::thread::available_parallelism().unwrap().get();
    assert!(host >= 2, "the suites need two processors");
    let server = Server::start();
    let seen = || {
        let sandbox = server.create_with(json!({"limits": {"cpus": 1}}));
        let script = "python3 -c 'import os; print(*os.sched_getaffinity(0))'";
        (sandbox.exec(script).line().to_owned(), sandbox)
    };
    let ((first, _one), (second, _two)) = (seen(), seen());
    assert_ne!(first, second);
}

#[test]
fn memory_is_the_limit_and_follows_what_is_used() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"limits": {"memoryMiB": 256}}));
    let kib = |text: &str, name: &str| -> u64 {
        let row =
            text.lines().find(|row| row.starts_with(&format!("{name}:"))).unwrap_or_else(|| panic!("{text}"));
        row.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let idle = sandbox.exec("cat /proc/meminfo").stdout;
    assert_eq!((kib(&idle, "MemTotal"), kib(&idle, "SwapTotal")), (256 << 10, 0));
    assert!(kib(&idle, "MemFree") > 240 << 10, "{idle}");
    let busy = sandbox.exec(
        "python3 -c '
import time
block = bytearray(b\"x\" * (128 << 20))
time.sleep(2.5)
print(open(\"/proc/meminfo\").read())'",
    );
    assert!(kib(&busy.stdout, "MemFree") < 128 << 10, "{}", busy.data);
    // The next start looks again.
    let after = sandbox.exec("cat /proc/meminfo").stdout;
    assert!(kib(&after, "MemAvailable") > 220 << 10, "{after}");
    let free = sandbox.exec("free -m | awk '/Mem:/ {print $2}'");
    assert_eq!(free.line(), "256");
}

#[test]
fn the_clock_since_boot_begins_with_the_sandbox() {
    let server = Server::start();
    let sandbox = server.create();
    let uptime: f64 = sandbox.exec("cut -d' ' -f1 /proc/uptime").line().parse().unwrap();
    assert!((0.0..60.0).contains(&uptime), "{uptime}");
    let later: f64 = sandbox.exec("sleep 0.3; cut -d' ' -f1 /proc/uptime").line().parse().unwrap();
    assert!(later >= uptime + 0.3, "{uptime} then {later}");
    // Both clocks, and what ps makes of them.
    let ages = sandbox.exec("python3 -c 'import time; print(time.monotonic() < 60)'; ps -o etimes= -p 1");
    let lines: Vec<_> = ages.stdout.split_whitespace().collect();
    assert_eq!(lines[0], "True", "{}", ages.data);
    assert!(lines[1].parse::<u64>().unwrap() < 60, "{}", ages.data);
}

#[test]
fn limits_stand_where_runtimes_look_for_them_also_from_a_leaf() {
    let server = Server::start();
    let limits = json!({"limits": {"memoryMiB": 64, "cpus": 0.5, "pids": 100}});
    let sandbox = server.create_with(limits);
    let read = |path: &str| sandbox.exec(&format!("cat {path}")).line().trim().to_owned();
    let bytes = (64 * MIB).to_string();
    assert_eq!(read("/sys/fs/cgroup/memory.max"), bytes);
    assert_eq!(read("/sys/fs/cgroup/$(sed -n 's/^0:://p' /proc/self/cgroup)/memory.max"), bytes);
    assert_eq!(read("/sys/fs/cgroup/memory/memory.limit_in_bytes"), bytes);
    assert_eq!(read("/sys/fs/cgroup/cpu.max"), "50000 100000");
    assert_eq!(read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), "50000");
    assert_eq!(read("/sys/fs/cgroup/pids.max"), "100");
    let current: u64 = read("/sys/fs/cgroup/memory.current").parse().unwrap();
    assert!(current > 0 && current < 64 * MIB, "{current}");
    // By these a JVM decides which version it reads: all in one tree, whose mount has the type.
    assert_eq!(read("/proc/cgroups | awk 'NR > 1 && $2 != 0' | wc -l"), "0");
    let mount = sandbox.exec("grep -c ' /sys/fs/cgroup .* - cgroup2 ' /proc/self/mountinfo");
    assert_eq!(mount.line(), "1");
}

#[test]
fn nobody_inside_can_change_what_is_said() {
    let server = Server::start();
    let sandbox = server.create();
    let tries = [
        "echo 1 > /proc/meminfo",
        "echo 1 > /sys/sandbox/meminfo",
        "echo 1 > /sys/fs/cgroup/memory.max",
        "chmod 666 /sys/sandbox/meminfo",
        "chown 0 /sys/sandbox/meminfo",
        "rm /sys/sandbox/cpus",
        "mv /sys/sandbox/cpus /sys/sandbox/x",
        "touch /sys/sandbox/new",
        "umount /sys/fs/cgroup",
        "ln /sys/sandbox/meminfo /sys/sandbox/again",
    ];
    for attempt in tries {
        let run = sandbox.exec(&format!("({attempt}) 2>/dev/null; echo $?"));
        assert_ne!(run.line(), "0", "{attempt}");
    }
}

#[test]
fn a_disk_ends_at_its_limit_inside_and_not_outside() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"limits": {"diskMiB": 32}}));
    let neighbour = server.create();
    let run = sandbox.exec(
        "dd if=/dev/zero of=/root/f bs=1M count=100 2>&1 | grep -o 'Disk quota exceeded'; stat -c %s /root/f",
    );
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(lines[0], "Disk quota exceeded", "{}", run.data);
    assert!(lines[1].parse::<u64>().unwrap() <= 32 * MIB, "{}", run.data);
    assert_eq!(neighbour.exec("dd if=/dev/zero of=/root/f bs=1M count=64 status=none; echo $?").line(), "0");
    // What is full can be emptied and used again.
    assert_eq!(sandbox.exec("rm /root/f && echo again > /root/g && cat /root/g").line(), "again");
}
