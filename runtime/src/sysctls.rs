//! Knobs of the kernel that belong to a namespace of the sandbox, written through its own fresh `/proc` before that
//! becomes read-only.

use bulkhead_protocol::Limits;
use std::collections::HashMap;

/// Bytes of a page, the unit of `shmall`.
const PAGE: u64 = 4096;

/// Beginning of the names of what counts per user namespace.
const OF_USER: &str = "user.";
/// Second wall against nested namespaces, beside the filter; and bounds on what the kernel counts per user
/// namespace. All of ours exist when they are written.
const USER_NAMESPACE: [(&str, &str); 11] = [
    ("user/max_user_namespaces", "0"),
    ("user/max_mnt_namespaces", "0"),
    ("user/max_pid_namespaces", "0"),
    ("user/max_net_namespaces", "0"),
    ("user/max_ipc_namespaces", "0"),
    ("user/max_uts_namespaces", "0"),
    ("user/max_cgroup_namespaces", "0"),
    ("user/max_time_namespaces", "0"),
    ("user/max_inotify_instances", "64"),
    ("user/max_inotify_watches", "65536"),
    ("user/max_fanotify_groups", "0"),
];

/// Bounds on what lives in the IPC namespace until the sandbox ends, whoever made it. What it holds is charged to
/// the sandbox's memory in any case; this bounds how *many* there are, and tells programs that ask a number that
/// fits. From Linux 6.9 on root of the user namespace may write them; before that memory alone is the bound.
fn of_ipc(limits: &Limits) -> [(&'static str, String); 7] {
    let memory = limits.memory_bytes;
    [
        // No segment, and not all together, can be larger than what may be used.
        ("kernel/shmmax", memory.to_string()),
        ("kernel/shmall", (memory / PAGE).to_string()),
        // Databases use one segment for each server, browsers some dozens.
        ("kernel/shmmni", "1024".to_owned()),
        ("kernel/msgmni", "256".to_owned()),
        // Per set, in all, operations per call, sets. PostgreSQL uses sets of 20, one for 19 connections.
        ("kernel/sem", "500 32000 500 256".to_owned()),
        ("fs/mqueue/queues_max", "64".to_owned()),
        ("fs/mqueue/msg_max", "256".to_owned()),
    ]
}

/// All of a sandbox, by the names that sysctl(8) has for them.
pub(crate) fn of(limits: &Limits) -> HashMap<String, String> {
    let user = USER_NAMESPACE.into_iter().map(|(name, value)| (name, value.to_owned()));
    user.chain(of_ipc(limits)).map(|(name, value)| (name.replace('/', "."), value)).collect()
}

/// Whether a knob locks the user namespace, and so has to be set before anybody lives in it.
pub(crate) fn is_of_user_namespace(name: &str) -> bool {
    name.starts_with(OF_USER)
}

/// Where a knob lies below `/proc/sys`.
pub(crate) fn path(name: &str) -> String {
    name.replace('.', "/")
}
