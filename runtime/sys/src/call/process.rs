//! Attributes of the calling process: credentials, signals, prctl(2), seccomp(2).

use super::check;
use nix::errno::Errno;

/// Capability sets of a process, one bit per capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapSets {
    /// In force.
    pub effective: u64,
    /// May be put in force.
    pub permitted: u64,
    /// Kept over exec by files that say so.
    pub inheritable: u64,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn low(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn half(sets: CapSets, shift: u32) -> CapData {
    CapData {
        effective: low(sets.effective >> shift),
        permitted: low(sets.permitted >> shift),
        inheritable: low(sets.inheritable >> shift),
    }
}

/// Sets the capabilities of this thread, see capset(2).
///
/// # Errors
/// As capset(2).
pub fn set_capabilities(sets: CapSets) -> Result<(), Errno> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let data = [half(sets, 0), half(sets, 32)];
    // SAFETY: capset of version 3 reads a header and two data blocks. Both have the layout of linux/capability.h,
    // lie whole on our stack and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

/// The capabilities of this thread, see capget(2).
///
/// # Errors
/// As capget(2).
pub fn capabilities() -> Result<CapSets, Errno> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData::default(); 2];
    // SAFETY: capget of version 3 reads a header and writes two data blocks. Both have the layout of
    // linux/capability.h, lie whole on our stack and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | (u64::from(high) << 32);
    Ok(CapSets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// prctl(2) with numbers only. Options that take a pointer are not for this function.
///
/// # Errors
/// As prctl(2).
fn control(option: i32, first: u64, second: u64) -> Result<(), Errno> {
    // SAFETY: some options of prctl take pointers; this function is private, and each of its callers in this module
    // uses an option that takes numbers only.
    check(libc::c_long::from(unsafe { libc::prctl(option, first, second, 0u64, 0u64) })).map(drop)
}

/// Removes a capability from the bounding set of this thread.
///
/// # Errors
/// As prctl(2); `EINVAL` for a capability that this kernel does not know.
pub fn drop_from_bounding_set(capability: u8) -> Result<(), Errno> {
    control(libc::PR_CAPBSET_DROP, u64::from(capability), 0)
}

/// Empties the ambient set.
///
/// # Errors
/// As prctl(2).
pub fn clear_ambient() -> Result<(), Errno> {
    control(libc::PR_CAP_AMBIENT, u64::from(libc::PR_CAP_AMBIENT_CLEAR_ALL.unsigned_abs()), 0)
}

/// Adds a capability, permitted and inheritable already, to the ambient set.
///
/// # Errors
/// As prctl(2).
pub fn raise_ambient(capability: u8) -> Result<(), Errno> {
    control(libc::PR_CAP_AMBIENT, u64::from(libc::PR_CAP_AMBIENT_RAISE.unsigned_abs()), u64::from(capability))
}

/// Keeps permitted capabilities over the next change away from uid 0.
///
/// # Errors
/// As prctl(2).
pub fn keep_capabilities() -> Result<(), Errno> {
    control(libc::PR_SET_KEEPCAPS, 1, 0)
}

/// Nothing this process executes gains rights.
///
/// # Errors
/// As prctl(2).
pub fn set_no_new_privileges() -> Result<(), Errno> {
    control(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Signal that this process gets when the thread that made it ends; 0 for none.
///
/// # Errors
/// As prctl(2).
pub fn set_parent_death_signal(signal: u32) -> Result<(), Errno> {
    control(libc::PR_SET_PDEATHSIG, u64::from(signal), 0)
}

/// Who may read the memory and the /proc files of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dumpable {
    /// Root of the initial user namespace alone.
    No,
    /// Its own user too.
    Yes,
}

/// Sets [`Dumpable`].
///
/// # Errors
/// As prctl(2).
pub fn set_dumpable(dumpable: Dumpable) -> Result<(), Errno> {
    control(libc::PR_SET_DUMPABLE, u64::from(dumpable == Dumpable::Yes), 0)
}

/// Real, effective and saved user and group, and no supplementary groups; groups first, while they may be set.
///
/// Raw calls: the C library's wrappers would broadcast to threads, which a child after clone does not have.
///
/// # Errors
/// As setgroups(2), setresgid(2), setresuid(2).
pub fn set_ids(uid: Ids, gid: Ids) -> Result<(), Errno> {
    // SAFETY: setgroups reads as many ids as its first argument says, which is none, so the null pointer is never
    // followed.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0usize, std::ptr::null::<u32>()) })?;
    // SAFETY: setresgid takes numbers only: it touches no memory of ours, and an id that may not be taken is an
    // error.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid.real, gid.effective, gid.saved) })?;
    // SAFETY: setresuid takes numbers only: it touches no memory of ours, and an id that may not be taken is an
    // error.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid.real, uid.effective, uid.saved) }).map(drop)
}

/// Supplementary groups, in place of those there are; like [`set_ids`] a raw call.
///
/// # Errors
/// As setgroups(2).
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: setgroups reads as many ids at the pointer as its first argument says. They are exactly the ids of
    // this slice, which is borrowed for longer than the call.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Takes the saved user and group 0 back, which brings the permitted capabilities back into force.
///
/// # Errors
/// As setresuid(2), setresgid(2).
pub fn become_root_again() -> Result<(), Errno> {
    // The user first: setresgid needs the capabilities that come back with it.
    // SAFETY: setresuid takes numbers only: it touches no memory of ours, and an id that may not be taken is an
    // error.
    check(unsafe { libc::syscall(libc::SYS_setresuid, 0, 0, 0) })?;
    // SAFETY: setresgid takes numbers only: it touches no memory of ours, and an id that may not be taken is an
    // error.
    check(unsafe { libc::syscall(libc::SYS_setresgid, 0, 0, 0) }).map(drop)
}

/// The three ids of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Who started it.
    pub real: u32,
    /// Whose rights it has.
    pub effective: u32,
    /// Whose rights it can take again.
    pub saved: u32,
}

impl Ids {
    /// All three the same.
    #[must_use]
    pub fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id }
    }
}

/// Leaves the session keyring of the parent for a new, empty one (keyctl(2)). A kernel without keyrings is fine.
///
/// # Errors
/// As keyctl(2), except `ENOSYS`.
pub fn join_new_session_keyring() -> Result<(), Errno> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    let no_name: *const libc::c_char = std::ptr::null();
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING reads a name unless the pointer is null. It is, which asks for an anonymous
    // keyring, so no memory of ours is touched.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, no_name) }) {
        Ok(_) | Err(Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Installs a filter on this thread and all that it becomes; it cannot be taken off again.
///
/// # Errors
/// As seccomp(2); `EACCES` without [`set_no_new_privileges`].
pub fn install_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let header = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: SECCOMP_SET_MODE_FILTER reads a sock_fprog and the `len` instructions it points to; both outlive
    // the call, and the kernel writes to neither.
    let done =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0u32, &raw const header) };
    check(done).map(drop)
}

/// All signals unblocked and at their default, as a new program expects them.
///
/// # Errors
/// As sigprocmask(2). A signal that cannot be changed (`SIGKILL`, `SIGSTOP`, those of the C library) is skipped.
pub fn reset_signals() -> Result<(), Errno> {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: signal takes a number and SIG_DFL, which is no code; EINVAL for the few that are not ours
        // to change is exactly what we want to skip.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()
}
