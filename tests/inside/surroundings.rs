//! Mounts, descriptors, limits, devices, network, `/proc` (I01, I03, I05, E18 of the attack catalogue).

use crate::look;
use bulkhead_tests::probe::Report;
use bulkhead_tests::{Server, host};
use std::collections::BTreeSet;

#[test]
fn mounts_are_the_ones_we_made() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    let rows: &[(&str, &str, &[&str])] = &[
        ("/", "overlay", &["rw", "nosuid", "nodev"]),
        ("/proc", "proc", &["nosuid", "nodev", "noexec"]),
        ("/proc/sys", "proc", &["ro"]),
        ("/dev", "tmpfs", &["ro", "nosuid", "noexec"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec", "mode=620", "ptmxmode=666", "max=72"]),
        ("/dev/shm", "tmpfs", &["nosuid", "nodev"]),
        ("/tmp", "tmpfs", &["nosuid", "nodev"]),
    ];
    for (point, kind, options) in rows {
        let mount = report.mount(point);
        assert_eq!(&mount.kind, kind, "{point}");
        for option in *options {
            assert!(mount.has(option), "{point} is not {option}: {mount:?}");
        }
    }
    assert!(report.mounts.iter().any(|m| m.point == "/dev/mqueue" && m.kind == "mqueue"), "no /dev/mqueue");
    for mount in &report.mounts {
        let shared =
            mount.propagation.iter().any(|tag| tag.starts_with("shared") || tag.starts_with("master"));
        assert!(!shared, "not private: {mount:?}");
        let may_have_devices = mount.point.starts_with("/dev") || mount.point.starts_with("/proc");
        assert!(mount.has("nodev") || may_have_devices, "devices would work on {mount:?}");
        // Only there for its type in the table, read-only, and covered by files of ours.
        let for_show = mount.point == "/sys/fs/cgroup" && mount.kind == "cgroup2" && mount.has("ro");
        assert!(for_show || !mount.kind.starts_with("cgroup"), "a cgroup file system inside: {mount:?}");
    }
    let over = report.mounts.iter().filter(|m| m.point == "/sys/fs/cgroup").map(|m| m.kind.as_str());
    assert!(over.clone().any(|kind| kind == "tmpfs"), "{:?}", over.collect::<Vec<_>>());
}

/// The host's programs are lent, not given.
#[test]
fn the_hosts_programs_cannot_be_changed_for_others() {
    let server = Server::start();
    let (sandbox, _report) = look(&server);
    let before = std::fs::metadata("/usr/bin/env").expect("coreutils").modified().expect("a time");
    let run = sandbox.exec(
        "cp /usr/bin/true /usr/bin/env; touch /usr/bin/new-file; echo x > /usr/lib/os-release; rm /bin/true; \
         /usr/bin/env true; echo $?",
    );
    assert_eq!(run.line(), "0", "{}", run.data);
    assert_eq!(run.stderr.matches("Read-only file system").count(), 4, "{}", run.stderr);
    assert_eq!(std::fs::metadata("/usr/bin/env").expect("still there").modified().expect("a time"), before);
    assert!(!std::path::Path::new("/usr/bin/new-file").exists(), "a file of a sandbox is on the host");
    let other = server.create();
    assert_eq!(other.exec("ls /usr/bin/new-file 2>/dev/null; env true; echo $?").line(), "0");
}

#[test]
fn nothing_of_the_hosts_directories_is_named() {
    let server = Server::start();
    let (sandbox, report) = look(&server);
    let state = server.instance().state.to_string_lossy().into_owned();
    let run = server.instance().run.to_string_lossy().into_owned();
    let hostname =
        std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the host has a name").trim().to_owned();
    let seen = serde_json::to_string(&report).expect("plain data");
    for secret in
        [state.as_str(), run.as_str(), server.instance().name.as_str(), sandbox.id(), hostname.as_str()]
    {
        let harmless = secret.len() < 4 || secret == "localhost";
        assert!(harmless || !seen.contains(secret), "{secret} can be seen inside");
    }
}

#[test]
fn i03_the_environment_is_constant() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    let names: BTreeSet<&str> = report.environment.keys().map(String::as_str).collect();
    let known = [
        "GIVEN", "HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TERM", "PWD", "SHLVL", "_",
        "HOSTNAME", "OLDPWD",
    ];
    for name in &names {
        assert!(known.contains(name), "{name} comes from somewhere: {:?}", report.environment);
    }
    assert_eq!(report.environment["GIVEN"], "yes");
    assert_eq!(report.environment["HOME"], "/root");
    assert!(report.environment["PATH"].contains("/usr/bin"), "{:?}", report.environment);
    assert_eq!((report.hostname.as_str(), report.directory.as_str()), ("looked-at", "/root"));
}

#[test]
fn descriptors_are_the_three_streams() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    let numbers: Vec<u32> = report.descriptors.keys().copied().collect();
    assert_eq!(numbers, [0, 1, 2], "{:?}", report.descriptors);
    assert_eq!(report.descriptors[&0], "/dev/null");
    for output in [1, 2] {
        let target = &report.descriptors[&output];
        assert!(target.starts_with("pipe:") || target.starts_with("socket:"), "{target}");
    }
}

fn limit<'a>(report: &'a Report, name: &str) -> (&'a str, &'a str) {
    let (soft, hard) = report.limits.get(name).unwrap_or_else(|| panic!("{name} in {:?}", report.limits));
    (soft, hard)
}

#[test]
fn limits_are_those_that_were_asked_for() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    assert_eq!(limit(&report, "Max open files"), ("1000", "1000"));
    assert_eq!(
        limit(&report, "Max core file size"),
        ("1", "1"),
        "1 keeps a piped core_pattern away, 0 does not"
    );
    assert_eq!(limit(&report, "Max realtime priority").1, "0");
    assert_eq!(limit(&report, "Max nice priority").1, "0");
    let locked: u64 = limit(&report, "Max locked memory").1.parse().expect("not unlimited");
    assert!(locked <= 8 << 20, "{locked}");
    for name in ["Max msgqueue size", "Max pending signals", "Max processes"] {
        assert_ne!(limit(&report, name).1, "unlimited", "{name}");
    }
}

#[test]
fn the_cgroup_says_nothing_of_the_host() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    for line in report.cgroup.lines() {
        let path = line.splitn(3, ':').nth(2).expect("three fields");
        let depth = path.split('/').filter(|part| !part.is_empty()).count();
        assert!(depth <= 1 && !path.contains(".."), "{line}");
    }
}

#[test]
fn only_loopback_is_there_and_up() {
    let server = Server::start();
    let (sandbox, report) = look(&server);
    assert_eq!(report.interfaces, BTreeSet::from(["lo".to_owned()]));
    let ping = "import socket; s = socket.create_server(('127.0.0.1', 80)); c = socket.create_connection(('127.0.0.1', 80)); print(1)";
    assert_eq!(sandbox.python(ping), 1, "loopback carries, port 80 may be bound");
}

#[test]
fn devices_are_the_harmless_ones() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    let expected = [
        ("null", "c 1:3"),
        ("zero", "c 1:5"),
        ("full", "c 1:7"),
        ("random", "c 1:8"),
        ("urandom", "c 1:9"),
        ("tty", "c 5:0"),
        ("fd", "link /proc/self/fd"),
        ("stdin", "link /proc/self/fd/0"),
        ("stdout", "link /proc/self/fd/1"),
        ("stderr", "link /proc/self/fd/2"),
        ("ptmx", "link pts/ptmx"),
        ("pts", "dir"),
        ("shm", "dir"),
        ("mqueue", "dir"),
    ];
    let expected: std::collections::BTreeMap<_, _> =
        expected.into_iter().map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    assert_eq!(report.devices, expected);
}

#[test]
fn i01_files_of_proc_that_tell_of_the_host_are_empty() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    let readable: Vec<_> = report.readable.iter().filter(|(_, bytes)| **bytes > 0).collect();
    assert!(readable.is_empty(), "readable: {readable:?}");
    assert!(report.writable_sysctls.is_empty(), "writable: {:?}", report.writable_sysctls);
}

#[test]
fn only_own_processes_are_visible() {
    let server = Server::start();
    let (_sandbox, report) = look(&server);
    assert!(report.pids.contains(&1) && report.pids.contains(&report.pid), "{:?}", report.pids);
    assert!(report.pids.len() <= 4, "init, the shell and the probe: {:?}", report.pids);
    assert!(report.pids.len() < host::processes().len());
}
