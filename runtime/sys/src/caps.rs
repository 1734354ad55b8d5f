//! Capabilities by name, as bits (capabilities(7), `linux/capability.h`).

/// Change owners of files.
pub const CHOWN: u64 = 1 << 0;
/// Pass over permission bits of files.
pub const DAC_OVERRIDE: u64 = 1 << 1;
/// Act as the owner of any file.
pub const FOWNER: u64 = 1 << 3;
/// Keep set-id bits when a file changes.
pub const FSETID: u64 = 1 << 4;
/// Signal any process of the user namespace.
pub const KILL: u64 = 1 << 5;
/// Take any group of the user namespace.
pub const SETGID: u64 = 1 << 6;
/// Take any user of the user namespace.
pub const SETUID: u64 = 1 << 7;
/// Shrink the bounding set.
pub const SETPCAP: u64 = 1 << 8;
/// Listen on low ports.
pub const NET_BIND_SERVICE: u64 = 1 << 10;
/// Change the root directory.
pub const SYS_CHROOT: u64 = 1 << 18;
/// Write file capabilities.
pub const SETFCAP: u64 = 1 << 31;

/// What root inside a sandbox has: enough for package managers, nothing that reaches beyond its own files.
pub const TENANT: u64 =
    CHOWN | DAC_OVERRIDE | FOWNER | FSETID | SETUID | SETGID | SETFCAP | NET_BIND_SERVICE | SYS_CHROOT;

/// What the agent holds: to become a command's user, to shrink its bounding set, to end it; and all that a
/// tenant has, because under no_new_privs an exec gives no capability that was not permitted before.
pub const AGENT: u64 = TENANT | SETPCAP | KILL;

/// The capabilities of this module by name.
pub const NAMES: [(&str, u64); 11] = [
    ("CHOWN", CHOWN),
    ("DAC_OVERRIDE", DAC_OVERRIDE),
    ("FOWNER", FOWNER),
    ("FSETID", FSETID),
    ("KILL", KILL),
    ("SETGID", SETGID),
    ("SETUID", SETUID),
    ("SETPCAP", SETPCAP),
    ("NET_BIND_SERVICE", NET_BIND_SERVICE),
    ("SYS_CHROOT", SYS_CHROOT),
    ("SETFCAP", SETFCAP),
];
