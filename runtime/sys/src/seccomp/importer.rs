//! The list of the stages of an import. They have opened their source when the filter comes, and have nothing to do but
//! to read, to unpack in memory, and to write files below one directory. Whoever takes one over by a flaw of a
//! decompressor finds little of the kernel to go on with.

use super::table::{ALLOW, ENOSYS, EPERM, MADVISE, NAMESPACES, REFUSED, Row, is};
use super::{Half, Rule, Test, Verdict};
use libc as c;

/// Some system calls that the stages of an import may make.
#[derive(Debug, Clone, Copy)]
pub struct Stages {
    /// Numbers on x86-64.
    pub numbers: &'static [i64],
    /// Which of them.
    pub rule: Rule,
    /// Why.
    pub why: &'static str,
}

/// The bits of `PROT_EXEC` in the third argument.
const NO_CODE: Test = Test { argument: 2, half: Half::Low, mask: 4, value: 0 };
/// `CLONE_THREAD`, and no namespace.
const THREAD: Test = Test { argument: 0, half: Half::Low, mask: NAMESPACES | 0x1_0000, value: 0x1_0000 };
const CLONE: Rule = Rule::ByArguments(&[(&[THREAD], Verdict::Allow)], REFUSED);
const WITHOUT_CODE: Rule = Rule::ByArguments(&[(&[NO_CODE], Verdict::Allow)], REFUSED);
/// `F_GETFD`, `F_SETFD`, `F_GETFL`, `F_DUPFD_CLOEXEC`.
const FCNTL: Rule = Rule::ByArguments(
    &[
        (&[is(1, 1)], Verdict::Allow),
        (&[is(1, 2)], Verdict::Allow),
        (&[is(1, 3)], Verdict::Allow),
        (&[is(1, 1030)], Verdict::Allow),
    ],
    REFUSED,
);
/// `PR_SET_NAME`.
const PRCTL: Rule = Rule::ByArguments(&[(&[is(0, 15)], Verdict::Allow)], REFUSED);
/// With a null new limit.
const PRLIMIT: Rule = Rule::ByArguments(
    &[(&[is(2, 0), Test { argument: 2, half: Half::High, mask: u32::MAX, value: 0 }], Verdict::Allow)],
    REFUSED,
);

const fn allow(numbers: &'static [i64], why: &'static str) -> Stages {
    Stages { numbers, rule: ALLOW, why }
}

/// Every row. Each number has a row in [`super::ROWS`] too.
pub const STAGES: &[Stages] = &[
    allow(
        &[
            c::SYS_read,
            c::SYS_pread64,
            c::SYS_lseek,
            c::SYS_fstat,
            c::SYS_newfstatat,
            c::SYS_statx,
            c::SYS_fstatfs,
        ],
        "the source, and layers of the store",
    ),
    allow(
        &[c::SYS_openat, c::SYS_openat2, c::SYS_close, c::SYS_getdents64],
        "files and directories; Landlock decides where",
    ),
    allow(
        &[c::SYS_write, c::SYS_writev, c::SYS_ftruncate, c::SYS_fsync, c::SYS_syncfs],
        "files of the job, progress, the log; and all of it to the disk",
    ),
    allow(
        &[c::SYS_mkdirat, c::SYS_unlinkat, c::SYS_linkat, c::SYS_symlinkat],
        "what a layer consists of; no devices, no fifos, no sockets, no renames",
    ),
    allow(
        &[
            c::SYS_fchown,
            c::SYS_fchownat,
            c::SYS_fchmod,
            c::SYS_utimensat,
            c::SYS_fsetxattr,
            c::SYS_fgetxattr,
            c::SYS_flistxattr,
        ],
        "what a layer says of its files, within the map of the user namespace",
    ),
    Stages {
        numbers: &[c::SYS_mmap, c::SYS_mprotect],
        rule: WITHOUT_CODE,
        why: "memory; no new code comes into it",
    },
    allow(&[c::SYS_munmap, c::SYS_mremap, c::SYS_brk], "memory, within the limit of the group"),
    Stages { numbers: &[c::SYS_madvise], rule: MADVISE, why: "memory that is given back" },
    Stages { numbers: &[c::SYS_clone], rule: CLONE, why: "the thread that decompresses; no processes" },
    allow(
        &[
            c::SYS_set_robust_list,
            c::SYS_rseq,
            c::SYS_gettid,
            c::SYS_getpid,
            c::SYS_sched_getaffinity,
            c::SYS_sched_yield,
            c::SYS_futex,
            c::SYS_exit,
            c::SYS_exit_group,
        ],
        "threads begin, wait for each other and end",
    ),
    Stages { numbers: &[c::SYS_prctl], rule: PRCTL, why: "names of threads" },
    Stages { numbers: &[c::SYS_prlimit64], rule: PRLIMIT, why: "the size of a stack is read" },
    allow(
        &[
            c::SYS_rt_sigaction,
            c::SYS_rt_sigprocmask,
            c::SYS_rt_sigreturn,
            c::SYS_sigaltstack,
            c::SYS_tgkill,
            c::SYS_restart_syscall,
        ],
        "a fault of a thread becomes a message; the pid namespace has nobody else to signal",
    ),
    Stages { numbers: &[c::SYS_fcntl], rule: FCNTL, why: "descriptors are copied" },
    allow(&[c::SYS_poll], "whether somebody listens to progress"),
    allow(
        &[c::SYS_clock_gettime, c::SYS_clock_nanosleep, c::SYS_gettimeofday, c::SYS_getrandom],
        "clocks, and seeds of tables",
    ),
];

/// What is not in the list is refused in the way in which others are told of it: as what does not exist where it does
/// not exist for a command either, since libraries fall back then, and as forbidden everywhere else.
pub(super) fn rule(number: i64, row: &Row) -> Rule {
    match STAGES.iter().find(|allowed| allowed.numbers.contains(&number)) {
        Some(allowed) => allowed.rule,
        None if row.command == ENOSYS => ENOSYS,
        None => EPERM,
    }
}
