//! Group I: what a sandbox could read about its host and its neighbours (I01, I04, I05, I07, I11, I12), and what the API
//! tells a stranger (I08, I10). I03 is in `inside`, I06 in `neighbours.rs`. I04 looks at disks alone: there are no
//! images with slack of their own yet.

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::{Client, Server, Switch};
use serde_json::json;

/// Words that would tell where and on what this runs.
fn secrets(server: &Server, id: &str) -> Vec<String> {
    let mut secrets = vec![
        server.instance().state.to_string_lossy().into_owned(),
        server.instance().name.clone(),
        id.to_owned(),
        bulkhead_tests::programs::repository().to_string_lossy().into_owned(),
        std::fs::read_to_string("/proc/cmdline").unwrap_or_default().trim().to_owned(),
    ];
    let links = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    secrets.extend(links.filter_map(|link| std::fs::read_to_string(link.path().join("address")).ok()));
    let mut secrets: Vec<String> = secrets.into_iter().map(|secret| secret.trim().to_owned()).collect();
    secrets.retain(|secret| secret.len() > 6 && secret != "00:00:00:00:00:00");
    secrets
}

#[test]
fn i01_no_file_of_proc_or_sys_names_the_host() {
    let server = Server::start();
    let sandbox = sandbox_of(&server);
    let words = json!(secrets(&server, sandbox.id())).to_string();
    // The program's own memory and arguments hold the words that it looks for: it leaves itself out.
    let program = format!(
        r##"
import time
secrets = json.loads(r'''{words}''')
own = ("/proc/self", "/proc/thread-self", "/proc/%d" % os.getpid(), "/proc/%d" % os.getppid())
end, found, count = time.time() + 10, {{}}, 0
for root in ["/proc", "/sys", "/etc", "/dev"]:
    for dir, dirs, files in os.walk(root):
        if dir.startswith(own) or "/task" in dir or time.time() > end:
            dirs[:] = []
            continue
        for name in files:
            text = read(os.path.join(dir, name)) or ""
            count += 1
            for secret in secrets:
                if secret in text:
                    found[os.path.join(dir, name)] = secret
for name in ("mountinfo", "mounts", "cgroup", "maps", "mountstats"):
    for secret in secrets:
        if secret in (read("/proc/self/" + name) or ""):
            found[name] = secret
print(json.dumps(found or {{"files %d" % count: "absent" if count > 100 else "too few"}}))"##
    );
    assert_all(&outcome(&sandbox, &program), &["absent"]);
}

#[test]
fn i04_files_that_were_never_written_are_zeros() {
    let server = Server::start();
    let run = outcome(
        &sandbox_of(&server),
        r#"
out = {}
for dir in ["/tmp", "/root", "/var/tmp", "/dev/shm"]:
    with open(dir + "/hole", "wb+") as f:
        if attempt(os.posix_fallocate, f.fileno(), 0, 4 << 20) != "ok":
            f.truncate(4 << 20)
        f.seek(0)
        out[dir] = "old bytes" if any(f.read()) else "absent"
print(json.dumps(out))"#,
    );
    assert_all(&run, &["absent"]);
}

#[test]
fn i05_the_kernels_log_and_memory_are_closed() {
    let server = Server::start();
    let results = outcome(
        &sandbox_of(&server),
        r#"
out = {"syslog": call("syslog", 3, ctypes.create_string_buffer(64), 64)}
for path in ["/proc/kmsg", "/dev/kmsg", "/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/kallsyms",
             "/proc/iomem", "/proc/config.gz", "/proc/keys", "/proc/key-users", "/dev/vda", "/dev/sda", "/dev/kvm"]:
    out[path] = "readable" if read(path) else "EPERM"
print(json.dumps(out))"#,
    );
    assert_all(&results, &["EPERM"]);
}

#[test]
fn i10_errors_do_not_tell_of_the_inside() {
    let server = Server::start();
    let sandbox = sandbox_of(&server);
    let client = server.client();
    let exec = format!("/sandboxes/{}/exec", sandbox.id());
    let answers = [
        client.post("/sandboxes", &json!({"name": 5})),
        client.post("/sandboxes", &json!({"name": "a", "image": "nosuch"})),
        client.post("/sandboxes", &json!({"name": "a", "labels": {"'; DROP TABLE x; --": "1"}})),
        client.call("POST", "/sandboxes", Some("{")),
        client.post(&exec, &json!({"command": "true", "cwd": "/no/such/place"})),
        client.post(&exec, &json!({"command": 5})),
        client.get("/sandboxes/%ff"),
        client.get("/sandboxes?labels=%27%3B--"),
        client.call("PATCH", "/sandboxes", Some("{}")),
        client.with_key("bh_wrong").get("/sandboxes"),
    ];
    let state = server.instance().state.to_string_lossy().into_owned();
    for answer in answers {
        let message = answer.error(answer.status);
        for word in [state.as_str(), "bulkhead-", ".rs", "panicked", "sqlite", "SELECT", "src/", client.key()]
        {
            assert!(!message.contains(word), "{word} in {message}");
        }
        assert!(answer.headers.get("server").is_none(), "{:?}", answer.headers);
    }
}

/// Files of /proc that tell of the whole machine, when they say anything.
const OF_THE_HOST: &str = r#"
names = ["interrupts", "softirqs", "vmstat", "zoneinfo", "diskstats", "partitions", "iomem", "ioports", "modules", "devices",
         "cmdline", "config.gz", "locks", "key-users", "schedstat", "swaps", "buddyinfo", "pagetypeinfo", "slabinfo",
         "timer_list", "crypto", "misc", "pressure/cpu", "pressure/memory", "pressure/io", "bus/pci/devices", "tty/drivers"]
print(json.dumps({name: "told" if read("/proc/" + name) else "absent" for name in names}))"#;

#[test]
fn i01_files_about_the_whole_machine_say_nothing() {
    let server = Server::start();
    assert_all(&outcome(&sandbox_of(&server), OF_THE_HOST), &["absent"]);
}

#[test]
fn i01_control_without_their_covers_they_tell() {
    let server = Server::weakened(&[Switch::ProcMasks]);
    let seen = outcome(&sandbox_of(&server), OF_THE_HOST);
    for name in ["interrupts", "vmstat", "cmdline", "diskstats"] {
        assert_eq!(seen[name], "told", "{seen}");
    }
}

#[test]
fn i07_ids_tell_a_range_and_nothing_of_whose_it_is() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"name": "same-name"}));
    let seen = outcome(
        &sandbox,
        r#"
print(json.dumps({name: read("/proc/self/" + name).split() for name in ("uid_map", "gid_map")}
    | {"loginuid": read("/proc/self/loginuid"), "node": os.uname().nodename, "boot": read("/proc/sys/kernel/random/boot_id"),
       "machine": read("/etc/machine-id")}))"#,
    );
    assert_eq!(seen["uid_map"], seen["gid_map"]);
    assert_eq!(seen["uid_map"].as_array().map(Vec::len), Some(3), "one line: {seen}");
    assert_eq!(seen["node"], "same-name", "the name that the tenant gave, not the host's");
    assert_ne!(seen["machine"], json!(crate::host_file("/etc/hostname")), "{seen}");
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    assert!(machine.trim().is_empty() || seen["machine"] != json!(machine), "the host's machine-id: {seen}");
}

/// Medians of so many questions are compared.
const QUESTIONS: usize = 200;

fn median_of(client: &Client, path: &str) -> std::time::Duration {
    let mut times: Vec<_> = (0..QUESTIONS)
        .map(|_| {
            let start = std::time::Instant::now();
            let _message = client.get(path).error(404);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[QUESTIONS / 2]
}

#[test]
fn i08_the_clock_does_not_tell_whether_anothers_sandbox_exists_alone() {
    let server = Server::start();
    let sandbox = server.create();
    assert!(server.command(&["org", "create", "other"]).status.success());
    let key = server.command(&["key", "create", "--org", "other"]);
    let other = server.client().with_key(String::from_utf8_lossy(&key.stdout).trim());
    let foreign = format!("/sandboxes/{}", sandbox.id());
    // An id that differs in its last letter alone.
    let mut unknown = foreign.clone();
    let last = unknown.pop().expect("an id has letters");
    unknown.push(if last == 'a' { 'b' } else { 'a' });
    let rounds: Vec<_> = (0..5).map(|_| (median_of(&other, &foreign), median_of(&other, &unknown))).collect();
    println!("medians of another's and of nobody's: {rounds:?}");
    // Noise goes either way; a difference of the code goes one way in each round.
    let apart = |a: std::time::Duration, b: std::time::Duration| a > b + b / 10;
    assert!(!rounds.iter().all(|(foreign, unknown)| apart(*foreign, *unknown)), "{rounds:?}");
    assert!(!rounds.iter().all(|(foreign, unknown)| apart(*unknown, *foreign)), "{rounds:?}");
}

/// `preadv2` with `RWF_NOWAIT` tells what is in memory of files that all share; that is a stated non-claim (N2), so
/// only the two calls that tell it of whole files at once are looked at.
#[test]
fn i11_what_is_in_memory_of_shared_files_is_not_told_in_bulk() {
    let server = Server::start();
    let results = outcome(
        &sandbox_of(&server),
        r#"
import mmap
path = "/usr/bin/python3"
fd = os.open(path, os.O_RDONLY)
area = mmap.mmap(fd, 1 << 20, prot=mmap.PROT_READ)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
at, bits = libc.mmap(None, 1 << 20, 1, 1, fd, 0), ctypes.create_string_buffer(256)
print(json.dumps({"cachestat": call("cachestat", fd, ctypes.create_string_buffer(16), ctypes.create_string_buffer(40), 0),
    "mincore": call("mincore", ctypes.c_void_p(at), ctypes.c_size_t(1 << 20), bits)}))"#,
    );
    assert_all(&results, &["EPERM"]);
}

#[test]
fn i12_counters_of_the_whole_machine_stand_still() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    let look = "cat /proc/stat /proc/loadavg /proc/uptime | grep -v -e '^cpu' -e '^btime' -e '\\.' | md5sum; cat /proc/loadavg; \
                ls /proc/pressure /sys/class/thermal /sys/class/powercap 2>/dev/null; cat /proc/pressure/* 2>/dev/null; true";
    let before = one.exec(look).ok().stdout;
    let _busy = two
        .exec("for i in 1 2 3; do sh -c 'n=0; while [ $n -lt 60000 ]; do n=$((n+1)); done' & done; wait")
        .ok();
    assert_eq!(one.exec(look).ok().stdout, before, "what a neighbour did shows");
    let calls = outcome(
        &one,
        r#"print(json.dumps({"rdpmc": call("perf_event_open", ctypes.create_string_buffer(128), 0, -1, -1, 0)}))"#,
    );
    assert_all(&calls, &["EPERM"]);
}

#[test]
fn i12_control_without_covers_the_counters_move() {
    let server = Server::weakened(&[Switch::ProcMasks]);
    let sandbox = sandbox_of(&server);
    let look = || sandbox.exec("cat /proc/interrupts").ok().stdout;
    assert_ne!(look(), look(), "interrupts of the host are counted in the open");
}
