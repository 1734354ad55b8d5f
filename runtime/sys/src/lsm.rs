//! Which security modules the kernel has in force.

/// `SYS_lsm_list_modules` (Linux 6.8), which libc does not know yet.
const LIST_MODULES: libc::c_long = 461;
/// Room for answers; Linux has fourteen.
const MOST: usize = 32;
/// Numbers of `linux/lsm.h`, from 100 on.
const FIRST: u64 = 100;
const NAMES: [&str; 14] = [
    "capability",
    "selinux",
    "smack",
    "tomoyo",
    "apparmor",
    "yama",
    "loadpin",
    "safesetid",
    "lockdown",
    "bpf",
    "landlock",
    "ima",
    "evm",
    "ipe",
];

/// Names of the modules in force; empty on a kernel that does not tell.
#[must_use]
pub fn modules() -> Vec<&'static str> {
    let mut ids = [0_u64; MOST];
    let mut size = u32::try_from(size_of_val(&ids)).unwrap_or(0);
    // SAFETY: lsm_list_modules writes at most `size` bytes to the array and the bytes it needed to `size`; both lie
    // on our stack, outlive the call, and take any bit pattern. An older kernel answers ENOSYS and writes nothing.
    let count = unsafe { libc::syscall(LIST_MODULES, ids.as_mut_ptr(), &raw mut size, 0_u32) };
    let count = usize::try_from(count).unwrap_or(0).min(MOST);
    let name = |id: &u64| usize::try_from(id.checked_sub(FIRST)?).ok().and_then(|at| NAMES.get(at)).copied();
    ids[..count].iter().map(|id| name(id).unwrap_or("unknown")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn where_the_kernel_tells_it_has_capabilities() {
        let modules = super::modules();
        assert!(modules.is_empty() || modules.contains(&"capability"), "{modules:?}");
    }
}
