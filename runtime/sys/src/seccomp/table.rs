//! The table. Sources: the allow-lists that container runtimes publish, the CVEs named in the reasons, and
//! what bash, coreutils, Python, Node, the JVM and Go were seen to call.

mod groups;

use super::{Half, Profile, Rule, Test, Verdict, importer};
use groups::{
    EVENTS, FILES, HOST, IDENTITY, IPC, MEMORY, MOUNTING, NETWORK, PROCESSES, SELF_SANDBOX, SIGNALS, TIME,
};
use libc as c;
use nix::errno::Errno;

/// Some system calls with one decision and one reason.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Numbers on x86-64.
    pub numbers: &'static [i64],
    /// In the agent's profile.
    pub agent: Rule,
    /// In the command's profile.
    pub command: Rule,
    /// In the gateway's profile.
    pub gateway: Rule,
    /// Why.
    pub why: &'static str,
}

impl Row {
    /// What a profile decides about one of the numbers of this row.
    #[must_use]
    pub fn rule(&self, number: i64, profile: Profile) -> Rule {
        match profile {
            Profile::Agent => self.agent,
            Profile::Command => self.command,
            Profile::GatewayOfMachines if number == c::SYS_socket => MACHINE_SOCKET,
            Profile::Gateway | Profile::GatewayOfMachines => self.gateway,
            Profile::Importer => importer::rule(number, self),
        }
    }
}

pub(super) const ALLOW: Rule = Rule::Always(Verdict::Allow);
pub(super) const EPERM: Rule = Rule::Always(Verdict::Fail(Errno::EPERM));
const PRETEND: Rule = Rule::Always(Verdict::Pretend);
pub(super) const ENOSYS: Rule = Rule::Always(Verdict::Fail(Errno::ENOSYS));

const fn all(rule: Rule, numbers: &'static [i64], why: &'static str) -> Row {
    Row { numbers, agent: rule, command: rule, gateway: rule, why }
}

/// An `int` argument has this value.
pub(super) const fn is(argument: u8, value: u32) -> Test {
    Test { argument, half: Half::Low, mask: u32::MAX, value }
}

/// Every namespace flag of clone(2) but `CLONE_NEWTIME`, whose bit is part of the exit signal there.
pub(super) const NAMESPACES: u32 = 0x7e02_0000;
const NAMESPACE_FLAGS: Test = Test { argument: 0, half: Half::Low, mask: NAMESPACES, value: 0 };
const CLONE: Rule = Rule::ByArguments(&[(&[NAMESPACE_FLAGS], Verdict::Allow)], Verdict::Fail(Errno::EPERM));

/// The kind of a socket, without `SOCK_NONBLOCK` and `SOCK_CLOEXEC`.
const fn kind(value: u32) -> Test {
    Test { argument: 1, half: Half::Low, mask: 0xf, value }
}

/// `AF_INET` (2) and `AF_INET6` (10), which differ in one bit.
const INET: Test = Test { argument: 0, half: Half::Low, mask: !8, value: 2 };
const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;
const RAW: u32 = 3;
const NO_FAMILY: Verdict = Verdict::Fail(Errno::EAFNOSUPPORT);
const SOCKET: Rule = Rule::ByArguments(
    &[
        (&[is(0, 1)], Verdict::Allow), // AF_UNIX
        (&[INET, kind(STREAM), is(2, 0)], Verdict::Allow),
        (&[INET, kind(STREAM), is(2, 6)], Verdict::Allow),
        (&[INET, kind(DATAGRAM), is(2, 0)], Verdict::Allow),
        (&[INET, kind(DATAGRAM), is(2, 17)], Verdict::Allow),
        // As the kernel says without CAP_NET_RAW.
        (&[INET, kind(RAW)], Verdict::Fail(Errno::EPERM)),
        (&[INET], Verdict::Fail(Errno::EPROTONOSUPPORT)),
    ],
    NO_FAMILY,
);
const UNIX_SOCKET: Rule = Rule::ByArguments(&[(&[is(0, 1)], Verdict::Allow)], NO_FAMILY);
/// And streams of `AF_VSOCK`.
pub(super) const MACHINE_SOCKET: Rule = Rule::ByArguments(
    &[(&[is(0, 1)], Verdict::Allow), (&[is(0, 40), kind(STREAM), is(2, 0)], Verdict::Allow)],
    NO_FAMILY,
);
/// `SO_ATTACH_FILTER`, `SO_ATTACH_BPF` and their two `REUSEPORT` sisters, of `SOL_SOCKET`.
const SETSOCKOPT: Rule = Rule::ByArguments(
    &[
        (&[is(1, 1), is(2, 26)], REFUSED),
        (&[is(1, 1), is(2, 50)], REFUSED),
        (&[is(1, 1), is(2, 51)], REFUSED),
        (&[is(1, 1), is(2, 52)], REFUSED),
    ],
    Verdict::Allow,
);
/// `F_SETLEASE` and `F_NOTIFY`.
const FCNTL: Rule =
    Rule::ByArguments(&[(&[is(1, 1024)], REFUSED), (&[is(1, 1026)], REFUSED)], Verdict::Allow);
/// `SECCOMP_SET_MODE_FILTER`: as on a kernel without filters, which programs expect.
const SECCOMP: Rule = Rule::ByArguments(&[(&[is(0, 1)], Verdict::Fail(Errno::EINVAL))], Verdict::Allow);
const RLIMIT_CORE: u32 = 4;
const SETRLIMIT: Rule = Rule::ByArguments(&[(&[is(0, RLIMIT_CORE)], Verdict::Pretend)], Verdict::Allow);
/// Reading it, with a null new limit, is fine.
const PRLIMIT: Rule = Rule::ByArguments(
    &[
        (
            &[is(1, RLIMIT_CORE), is(2, 0), Test { argument: 2, half: Half::High, mask: u32::MAX, value: 0 }],
            Verdict::Allow,
        ),
        (&[is(1, RLIMIT_CORE)], Verdict::Pretend),
    ],
    Verdict::Allow,
);
/// `MADV_MERGEABLE`.
pub(super) const MADVISE: Rule =
    Rule::ByArguments(&[(&[is(2, 12)], Verdict::Fail(Errno::EINVAL))], Verdict::Allow);

pub(super) const REFUSED: Verdict = Verdict::Fail(Errno::EPERM);
const IOCTL: Rule = Rule::ByArguments(
    &[
        (&[is(1, 0x5412)], REFUSED), // TIOCSTI
        (&[is(1, 0x541c)], REFUSED), // TIOCLINUX
        (&[is(1, 0x541d)], REFUSED), // TIOCCONS
        (&[is(1, 0x5423)], REFUSED), // TIOCSETD
    ],
    Verdict::Allow,
);
/// `PR_SET_MM`, `PR_SCHED_CORE`, `PR_SET_MEMORY_MERGE`.
const PRCTL: Rule = Rule::ByArguments(PRCTL_REFUSED, Verdict::Allow);
const PRCTL_REFUSED: &[(&[Test], Verdict)] =
    &[(&[is(0, 35)], REFUSED), (&[is(0, 62)], REFUSED), (&[is(0, 67)], REFUSED)];
/// And `PR_SET_SECCOMP` with a filter.
const COMMAND_PRCTL: Rule = Rule::ByArguments(
    &[
        PRCTL_REFUSED[0],
        PRCTL_REFUSED[1],
        PRCTL_REFUSED[2],
        (&[is(0, 22), is(1, 2)], Verdict::Fail(Errno::EINVAL)),
    ],
    Verdict::Allow,
);
const ARCH_PRCTL: Rule = Rule::ByArguments(
    &[
        (&[is(0, 0x1001)], Verdict::Allow), // ARCH_SET_GS
        (&[is(0, 0x1002)], Verdict::Allow), // ARCH_SET_FS
        (&[is(0, 0x1003)], Verdict::Allow), // ARCH_GET_FS
        (&[is(0, 0x1004)], Verdict::Allow), // ARCH_GET_GS
    ],
    REFUSED,
);
const PERSONALITY: Rule = Rule::ByArguments(
    &[
        (&[is(0, 0)], Verdict::Allow),
        (&[is(0, 8)], Verdict::Allow),
        (&[is(0, 0x2_0000)], Verdict::Allow),
        (&[is(0, 0x2_0008)], Verdict::Allow),
        (&[is(0, 0xffff_ffff)], Verdict::Allow),
    ],
    REFUSED,
);

/// Every row. A number stands in one row only.
pub const ROWS: &[Row] = &[
    all(ALLOW, FILES, "files and directories: the mounts and the owner of the files decide"),
    all(ALLOW, MEMORY, "memory, charged to the cgroup"),
    all(ALLOW, PROCESSES, "processes, within the pids limit and the pid namespace"),
    Row {
        numbers: &[c::SYS_execve, c::SYS_execveat],
        agent: ALLOW,
        command: ALLOW,
        gateway: EPERM,
        why: "programs; the gateway has none to run",
    },
    all(ALLOW, SIGNALS, "signals, within the pid namespace"),
    all(ALLOW, TIME, "clocks read and timers"),
    all(ALLOW, IDENTITY, "ids, within the map of the user namespace"),
    all(ALLOW, IPC, "System V IPC and message queues, within the ipc namespace"),
    all(ALLOW, NETWORK, "sockets once made; which ones may be made is decided at socket"),
    all(ALLOW, EVENTS, "waiting for events"),
    all(ALLOW, SELF_SANDBOX, "programs that confine themselves: only ever takes rights away"),
    Row {
        numbers: &[c::SYS_socket],
        agent: SOCKET,
        command: SOCKET,
        gateway: UNIX_SOCKET,
        why: "unix, tcp and udp: the other families and protocols have each had their kernel exploits (AF_ALG: CVE-2026-31431; AF_VSOCK reaches a hypervisor), and opening one may load a module; answers that wait in a netlink socket are charged to nobody, 2 MiB each; the gateway has taken its addresses and makes unix sockets only, and streams of AF_VSOCK where the operator has agents in virtual machines",
    },
    all(UNIX_SOCKET, &[c::SYS_socketpair], "unix: no other family has pairs"),
    all(
        CLONE,
        &[c::SYS_clone],
        "threads and processes, but no namespace: the door to most local root exploits (CVE-2022-0185, CVE-2024-1086)",
    ),
    Row {
        numbers: &[c::SYS_clone3],
        agent: ALLOW,
        command: ENOSYS,
        gateway: ENOSYS,
        why: "flags lie behind a pointer, so commands fall back to clone; the agent clones into cgroup leaves and holds no capability that makes a namespace",
    },
    all(IOCTL, &[c::SYS_ioctl], "all but terminal injection and line disciplines (CVE-2017-5226)"),
    Row {
        numbers: &[c::SYS_prctl],
        agent: PRCTL,
        command: COMMAND_PRCTL,
        gateway: PRCTL,
        why: "no PR_SET_MM, no steering of core scheduling or page merging; filters as at seccomp",
    },
    Row {
        numbers: &[c::SYS_seccomp],
        agent: ALLOW,
        command: SECCOMP,
        gateway: SECCOMP,
        why: "compiled filters are charged to nobody and share one pool of the host, which when empty lets nobody install any",
    },
    all(SETSOCKOPT, &[c::SYS_setsockopt], "no socket filters: the same pool as at seccomp"),
    all(
        FCNTL,
        &[c::SYS_fcntl],
        "no leases, which hold up whoever opens a shared file, and no directory notices",
    ),
    all(MADVISE, &[c::SYS_madvise], "no page merging: it tells what neighbours have in memory"),
    Row {
        numbers: &[c::SYS_setrlimit],
        agent: SETRLIMIT,
        command: SETRLIMIT,
        gateway: ALLOW,
        why: "core dumps stay off: their limit of 1 means never, 0 would start the host's helper where core_pattern is a pipe",
    },
    Row {
        numbers: &[c::SYS_prlimit64],
        agent: PRLIMIT,
        command: PRLIMIT,
        gateway: ALLOW,
        why: "as setrlimit",
    },
    all(PRETEND, &[c::SYS_sync], "would flush every file system of the host"),
    all(ARCH_PRCTL, &[c::SYS_arch_prctl], "thread pointers only"),
    all(PERSONALITY, &[c::SYS_personality], "no READ_IMPLIES_EXEC, no MMAP_PAGE_ZERO, no fixed addresses"),
    all(EPERM, &[c::SYS_unshare, c::SYS_setns], "no new and no other namespaces"),
    all(EPERM, MOUNTING, "mounts are made before the sandbox lives (CVE-2022-0185, CVE-2022-0492)"),
    all(
        ENOSYS,
        &[c::SYS_io_uring_setup, c::SYS_io_uring_enter, c::SYS_io_uring_register],
        "operations pass by the filter; libuv probes it, so it is missing, not fatal",
    ),
    all(
        EPERM,
        &[c::SYS_bpf, c::SYS_perf_event_open, c::SYS_userfaultfd],
        "verifier and PMU bugs, race widening",
    ),
    all(
        EPERM,
        &[c::SYS_add_key, c::SYS_request_key, c::SYS_keyctl],
        "keyrings are per user, not per namespace (CVE-2016-0728); upcalls run on the host",
    ),
    all(EPERM, HOST, "things of the host: no use inside, a history of bugs"),
    all(
        EPERM,
        &[c::SYS_adjtimex, c::SYS_clock_adjtime, c::SYS_settimeofday, c::SYS_clock_settime],
        "clocks are the host's",
    ),
    all(
        EPERM,
        &[
            c::SYS_ptrace,
            c::SYS_process_vm_readv,
            c::SYS_process_vm_writev,
            c::SYS_process_madvise,
            c::SYS_kcmp,
            c::SYS_pidfd_getfd,
        ],
        "looking into other processes: protects the agent's children between clone and exec",
    ),
    all(
        EPERM,
        &[c::SYS_open_by_handle_at, c::SYS_fanotify_init, c::SYS_fanotify_mark],
        "files by inode number, past every path (\"shocker\")",
    ),
    all(
        EPERM,
        &[
            c::SYS_move_pages,
            c::SYS_migrate_pages,
            c::SYS_mbind,
            c::SYS_set_mempolicy,
            c::SYS_get_mempolicy,
            450,
        ],
        "steering memory nodes under a neighbour",
    ),
    all(EPERM, &[451], "cachestat: tells what a neighbour read from shared files"),
    all(
        EPERM,
        &[c::SYS_mincore],
        "mincore: the same; the kernel asks who owns a file, and root inside owns the shared ones in its overlay",
    ),
    all(EPERM, &[c::SYS_vmsplice], "gives pages away without copying"),
    all(ENOSYS, &[447], "memfd_secret: memory that cannot be reclaimed"),
    all(
        ENOSYS,
        &[c::SYS_io_setup, c::SYS_io_destroy, c::SYS_io_submit, c::SYS_io_cancel, c::SYS_io_getevents, 333],
        "one pool for the whole host, fs.aio-max-nr",
    ),
];
