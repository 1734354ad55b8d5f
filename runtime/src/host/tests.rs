use super::*;
use bulkhead_sys::host::State;
use std::collections::BTreeMap;

type Host = BTreeMap<String, String>;

/// A host where nothing is wrong.
fn good() -> Host {
    let mut host = Host::new();
    let mut put = |path: &str, text: &str| drop(host.insert(path.to_owned(), text.to_owned()));
    for kind in ["user", "pid", "net", "mnt", "cgroup", "ipc", "uts", "time"] {
        put(&format!("/proc/self/ns/{kind}"), "");
    }
    put("/proc/sys/kernel/osrelease", "6.12.1-amd64\n");
    put("/proc/sys/kernel/seccomp/actions_avail", "kill_process kill_thread trap errno trace log allow\n");
    put("/proc/sys/user/max_user_namespaces", "100000\n");
    put("/proc/sys/vm/memfd_noexec", "0\n");
    put("/proc/self/mounts", "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n");
    put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    put("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    put("/etc/subuid", "build:100000:65536\n");
    put("/proc/sys/kernel/core_pattern", "core\n");
    put("/proc/swaps", "Filename Type Size Used Priority\n");
    put("/sys/kernel/mm/ksm/run", "0\n");
    put("/proc/sys/dev/tty/legacy_tiocsti", "0\n");
    put("/proc/sys/kernel/io_uring_disabled", "2\n");
    put("/proc/sys/kernel/kptr_restrict", "2\n");
    put("/proc/sys/kernel/pid_max", "4194304\n");
    put("/proc/sys/fs/file-max", "9223372036854775807\n");
    put("/sys/devices/system/cpu/smt/active", "0\n");
    put("/sys/devices/system/cpu/vulnerabilities/mds", "Not affected\n");
    host
}

fn with(path: &str, text: &str) -> Host {
    let mut host = good();
    host.insert(path.to_owned(), text.to_owned());
    host
}

fn without(path: &str) -> Host {
    let mut host = good();
    assert!(host.remove(path).is_some(), "{path}");
    host
}

fn of_state(findings: &[Finding], state: State) -> Vec<String> {
    findings.iter().filter(|finding| finding.state == state).map(|finding| finding.what.clone()).collect()
}

#[test]
fn a_good_host_has_nothing_missing_and_no_warning() {
    let (walls, advice) = (walls(&good()), advice(&good(), 999, &["landlock"]));
    for state in [State::Missing, State::Warning] {
        assert_eq!(of_state(&walls, state), Vec::<String>::new());
        assert_eq!(of_state(&advice, state), Vec::<String>::new());
    }
    assert!(walls.iter().chain(&advice).all(|finding| finding.remedy.is_empty()));
}

#[test]
fn each_wall_that_cannot_be_built_is_named() {
    let v1 = "cgroup /c/memory cgroup rw,memory 0 0\ncgroup /c/pids cgroup rw,pids 0 0\n";
    let rows = [
        (with("/proc/sys/kernel/osrelease", "5.15.0\n"), "kernel"),
        (without("/proc/sys/kernel/osrelease"), "kernel"),
        (without("/proc/self/ns/user"), "user namespaces"),
        (without("/proc/self/ns/cgroup"), "cgroup namespaces"),
        (with("/proc/sys/user/max_user_namespaces", "0\n"), "allowed user namespaces"),
        (without("/proc/sys/kernel/seccomp/actions_avail"), "seccomp filters"),
        (with("/proc/sys/kernel/seccomp/actions_avail", "allow errno\n"), "seccomp filters"),
        (with("/proc/sys/vm/memfd_noexec", "2\n"), "vm.memfd_noexec"),
        (with("/sys/fs/cgroup/cgroup.controllers", "memory pids\n"), "cgroups"),
        (with("/proc/self/mounts", v1), "cgroups"),
        (without("/proc/self/mounts"), "cgroups"),
        (with("/etc/subuid", "x:1:2\nbuild:1879000000:65536\n"), "ids"),
        (with("/etc/subgid", "build:4294000000:1000000\nbuild:1879048191:2\n"), "ids"),
        (with("/etc/passwd", "odd:x:1900000000:0::/:\n"), "ids"),
        (with("/etc/group", "odd:x:1900000000:\n"), "ids"),
    ];
    for (host, what) in rows {
        let findings = walls(&host);
        assert_eq!(of_state(&findings, State::Missing), [what], "{findings:?}");
        let missing = findings.iter().find(|finding| finding.state == State::Missing).unwrap();
        assert!(!missing.remedy.is_empty(), "what to do about {what}");
    }
}

#[test]
fn ids_next_to_ours_are_fine() {
    let host = with("/etc/subuid", "containers:524288:1878523904\nbuild:100000:65536\nodd:x:y\n");
    assert_eq!(of_state(&walls(&host), State::Missing), Vec::<String>::new());
}

#[test]
fn which_layout_of_cgroups_is_used_is_said() {
    let found = |host: &Host| {
        let findings = walls(host);
        findings.iter().find(|finding| finding.what == "cgroups").unwrap().found.clone()
    };
    assert!(found(&good()).starts_with("unified"));
    let v1 = "c /c/m cgroup rw,memory 0 0\nc /c/p cgroup rw,pids 0 0\nc /c/c cgroup rw,cpu,cpuacct 0 0\n";
    assert!(found(&with("/proc/self/mounts", v1)).starts_with("v1; the runtime mounts"));
    assert!(found(&with("/proc/self/mounts", &format!("{v1}u /c/u cgroup2 rw 0 0\n"))).starts_with("hybrid"));
}

#[test]
fn each_thing_that_should_be_mended_is_named() {
    let rows = [
        (with("/proc/sys/kernel/core_pattern", "|/usr/lib/systemd/systemd-coredump %P\n"), "core dumps"),
        (with("/proc/swaps", "Filename\n/dev/sda2 partition 1 0 -2\n"), "swap"),
        (with("/sys/kernel/mm/ksm/run", "1\n"), "merging of equal pages (KSM)"),
        (with("/proc/sys/dev/tty/legacy_tiocsti", "1\n"), "dev.tty.legacy_tiocsti"),
        (with("/proc/sys/kernel/io_uring_disabled", "0\n"), "kernel.io_uring_disabled"),
        (with("/proc/sys/kernel/kptr_restrict", "0\n"), "kernel.kptr_restrict"),
        (with("/proc/sys/kernel/pid_max", "4096\n"), "kernel.pid_max"),
        (with("/proc/sys/fs/inotify/max_user_instances", "8\n"), "fs.inotify.max_user_instances"),
        (with("/sys/devices/system/cpu/smt/active", "1\n"), "hardware threads (SMT)"),
        (
            with("/sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable: no\n"),
            "processor vulnerabilities",
        ),
        (without("/sys/devices/system/cpu/vulnerabilities/mds"), "processor vulnerabilities"),
        (
            with("/lib/modules/6.12.1-amd64/modules.dep", "kernel/net/ipv4/esp4.ko:\n"),
            "modules of rare sockets",
        ),
        (without("/proc/self/ns/time"), "time namespaces"),
    ];
    for (host, what) in rows {
        let findings = advice(&host, 999, &[]);
        assert_eq!(of_state(&findings, State::Warning), [what], "{findings:?}");
    }
    let mut mended = with("/proc/sys/kernel/core_pattern", "|/usr/lib/systemd/systemd-coredump %P\n");
    mended.insert("/proc/sys/kernel/core_pipe_limit".into(), "16\n".into());
    mended.insert("/lib/modules/6.12.1-amd64/modules.dep".into(), "kernel/net/ipv4/esp4.ko:\n".into());
    mended.insert("/etc/modprobe.d/x.conf".into(), "install esp4 /bin/false\n".into());
    assert_eq!(of_state(&advice(&mended, 999, &[]), State::Warning), Vec::<String>::new());
}

#[test]
fn the_gateways_number_clashes_with_systemd_only_where_that_is() {
    assert_eq!(of_state(&advice(&good(), 64_901, &[]), State::Warning), Vec::<String>::new());
    let host = with("/run/systemd/system", "");
    assert_eq!(of_state(&advice(&host, 64_901, &[]), State::Warning), ["user of the gateway"]);
    assert_eq!(of_state(&advice(&host, 999, &[]), State::Warning), Vec::<String>::new());
}

#[test]
fn directories_that_are_not_ours_are_named_and_none_is_made() {
    let home = tempfile::tempdir().unwrap();
    let (state, run) = (home.path().join("state"), home.path().join("run"));
    assert_eq!(of_state(&directories(&state, &run, 999), State::Missing).len(), 0);
    assert!(!state.exists() && !run.exists());
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let findings = directories(&state, &run, 999);
    assert_eq!(of_state(&findings, State::Missing), ["directories"]);
    assert!(findings[0].found.ends_with("is writable by others"), "{findings:?}");
}
