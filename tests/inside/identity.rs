//! Ids, capabilities, filter, namespaces (P01, P02, I07 of the attack catalogue).

use crate::look;
use bulkhead_tests::host::{self, FIRST_SANDBOX_ID};
use bulkhead_tests::probe;
use bulkhead_tests::{Server, eventually};

/// `CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETUID, SETGID, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP`.
const TENANT_CAPABILITIES: [u32; 9] = [0, 1, 3, 4, 6, 7, 10, 18, 31];

fn tenant_bits() -> u64 {
    TENANT_CAPABILITIES.iter().map(|bit| 1u64 << bit).sum()
}

#[test]
fn p01_root_inside_has_nine_capabilities_and_no_way_to_more() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    assert_eq!((report.uids.as_slice(), report.gids.as_slice()), (&[0; 4][..], &[0; 4][..]));
    assert!(report.groups.is_empty() || report.groups == [0], "{:?}", report.groups);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(report.capabilities[set], tenant_bits(), "{set}: {:x}", report.capabilities[set]);
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(report.capabilities[set], 0, "{set}: {:x}", report.capabilities[set]);
    }
    assert_eq!((report.no_new_privs, report.seccomp_mode), (1, 2));
    assert!((1..=3).contains(&report.seccomp_filters), "{} filters", report.seccomp_filters);
}

#[test]
fn p01_another_user_has_none_and_setuid_gives_none_back() {
    let server = Server::start();
    let (sandbox, _report) = look(&server);
    let drop = "setpriv --reuid 1000 --regid 1000 --clear-groups";
    let plain = probe::report(&sandbox, &format!("{drop} {}", probe::PATH_INSIDE));
    let _run = sandbox
        .exec(&format!("cp {} /root/s && chmod 4755 /root/s && chmod 711 /root", probe::PATH_INSIDE))
        .ok();
    let setuid = probe::report(&sandbox, &format!("{drop} /root/s"));
    for report in [plain, setuid] {
        assert_eq!(report.uids, [1000; 4], "P02: setuid is inert");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(report.capabilities[set], 0, "{set}");
        }
        assert_eq!(report.no_new_privs, 1);
    }
}

#[test]
fn i07_ids_are_one_range_of_the_hosts_reserved_ones() {
    let server = Server::start();
    let (first, second) = (look(&server), look(&server));
    let base = |map: &str| -> u32 {
        let numbers: Vec<u32> = map.split(' ').map(|n| n.parse().expect("a number")).collect();
        assert_eq!((numbers.len(), numbers[0], numbers[2]), (3, 0, 65_536), "one line of 65,536: {map}");
        numbers[1]
    };
    let bases = [base(&first.1.uid_map), base(&second.1.uid_map)];
    assert_ne!(bases[0], bases[1], "two sandboxes share ids");
    for ((sandbox, report), base) in [first, second].iter().zip(bases) {
        assert_eq!(report.uid_map, report.gid_map);
        assert!(base > FIRST_SANDBOX_ID && (base - FIRST_SANDBOX_ID).is_multiple_of(65_536), "base {base}");
        for process in sandbox.processes() {
            assert!((base..base + 65_536).contains(&process.uid), "{process:?} outside of {base}");
        }
    }
}

#[test]
fn every_namespace_is_its_own() {
    let server = Server::start();
    let (first, second) = (look(&server).1, look(&server).1);
    for kind in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let inside = &first.namespaces[kind];
        assert_ne!(Some(inside.clone()), host::namespace("self", kind), "{kind} is the host's");
        assert_ne!(inside, &second.namespaces[kind], "{kind} is shared by two sandboxes");
    }
}

#[test]
fn the_network_namespace_belongs_to_the_host() {
    let server = Server::start();
    let (sandbox, _report) = look(&server);
    // Root inside may not touch a network that is owned by the initial user namespace.
    let run = sandbox.python(&bulkhead_tests::python::with_prelude(
        r#"
import fcntl
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
down = struct.pack("16sH14x", b"lo", 0)
print(json.dumps([
    attempt(fcntl.ioctl, s, 0x8914, down),
    attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1),
]))"#,
    ));
    assert_eq!(run, serde_json::json!(["EPERM", "EPERM"]), "SIOCSIFFLAGS, a raw socket");
}

/// Asked of `grep`, since a Rust program like the probe ignores `SIGPIPE` by itself.
#[test]
fn signals_and_mask_are_clean() {
    let server = Server::start();
    let run = server.create().exec("grep -E '^Sig(Blk|Ign)' /proc/self/status; umask").ok();
    // The C library's own two, 32 and 33, are ignored in whatever posix_spawn(3) started, everywhere.
    let own_of_libc = 0b11_u64 << 31;
    for line in run.stdout.lines().filter(|line| line.starts_with("Sig")) {
        let bits = line.split_whitespace().nth(1).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        assert_eq!(bits.map(|bits| bits & !own_of_libc), Some(0), "inherited: {line}");
    }
    assert!(run.stdout.ends_with("0022\n"), "{}", run.stdout);
    assert_eq!(
        server.create().exec("yes | head -n 1").ok().stderr,
        "",
        "SIGPIPE ends a writer without a word"
    );
}

#[test]
fn the_agent_and_commands_are_the_kernels_first_choice_before_the_host() {
    let server = Server::start();
    let (sandbox, report) = look(&server);
    let score = |pid: i32| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap_or_default();
        text.trim().parse().unwrap_or(i32::MIN)
    };
    let agent = eventually("the agent is there", || Ok(sandbox.agent()));
    assert!(score(agent.pid) >= 300, "agent {}", score(agent.pid));
    assert!((600..=900).contains(&report.oom_score_adj), "command {}", report.oom_score_adj);
}
