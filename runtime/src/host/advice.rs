//! What a host should have: settings that make a wall thicker, pools that are large enough, and which way round
//! something missing is taken.

use bulkhead_sys::host::{Facts, Finding, has_module, kernel};

/// How many sandboxes a host's pools are measured by.
const SANDBOXES: u64 = 1000;
/// First and last uid that systemd gives to services for the time of their run (`DynamicUser=`).
const DYNAMIC_USERS: std::ops::RangeInclusive<u32> = 61_184..=65_519;
/// Modules behind bugs that broke out of containers; no sandbox can reach their sockets, and the next one who can
/// should not find them either.
const MODULES: [&str; 7] =
    ["esp4", "esp6", "rxrpc", "algif_aead", "algif_hash", "algif_rng", "algif_skcipher"];

/// A pool of the host's: file, how much is needed, per what.
const POOLS: [(&str, u64, &str); 12] = [
    ("kernel/pid_max", SANDBOXES * 32, "32 processes for each of 1000 sandboxes"),
    ("fs/file-max", SANDBOXES * 256, "256 open files for each of 1000 sandboxes"),
    ("fs/aio-max-nr", 65_536, "the host's own use; sandboxes have no asynchronous I/O"),
    ("fs/inotify/max_user_instances", 64, "what one sandbox may have"),
    ("kernel/pty/max", SANDBOXES * 4, "4 terminals for each of 1000 sandboxes"),
    ("fs/mount-max", 1000, "ten times the mounts of one sandbox"),
    ("user/max_user_namespaces", SANDBOXES, "one for each of 1000 sandboxes"),
    ("user/max_pid_namespaces", SANDBOXES * 2, "two for each of 1000 sandboxes"),
    ("user/max_mnt_namespaces", SANDBOXES, "one for each of 1000 sandboxes"),
    ("user/max_net_namespaces", SANDBOXES, "one for each of 1000 sandboxes"),
    ("user/max_ipc_namespaces", SANDBOXES, "one for each of 1000 sandboxes"),
    ("user/max_cgroup_namespaces", SANDBOXES, "one for each of 1000 sandboxes"),
];

/// A switch that should not have this value: file, value, what follows from it, the better value.
const SWITCHES: [(&str, u64, &str, u64); 3] = [
    ("dev/tty/legacy_tiocsti", 1, "a program may type into the terminal of its parent", 0),
    ("kernel/io_uring_disabled", 0, "everybody outside of sandboxes may use io_uring", 2),
    ("kernel/kptr_restrict", 0, "kernel addresses are shown to everybody outside of sandboxes", 2),
];

/// Everything that is worth a word.
#[must_use]
pub fn advice(facts: &dyn Facts, gateway_uid: u32, modules: &[&str]) -> Vec<Finding> {
    let mut findings = vec![core_dumps(facts), swap(facts), same_pages(facts)];
    findings.extend(SWITCHES.iter().filter_map(|row| switch(facts, row)));
    findings.extend(POOLS.iter().filter_map(|row| pool(facts, row)));
    findings.extend([threads(facts), vulnerabilities(facts), sockets(facts), gateway(facts, gateway_uid)]);
    findings.extend([clocks(facts), memory_files(facts), ipc(facts)]);
    let found = if modules.is_empty() { "the kernel does not tell".to_owned() } else { modules.join(", ") };
    findings.push(Finding::fine("security modules", found));
    findings
}

fn core_dumps(facts: &dyn Facts) -> Finding {
    let (what, root) = ("core dumps", "/proc/sys/kernel");
    let pattern = facts.text(&format!("{root}/core_pattern")).unwrap_or_default();
    let waits = facts.number(&format!("{root}/core_pipe_limit")).is_some_and(|limit| limit > 0);
    if pattern.starts_with('|') && !waits {
        let found = "go to a program of root's on the host, any number at once";
        return Finding::warning(
            what,
            found,
            "sysctl -w kernel.core_pattern=core, or kernel.core_pipe_limit=4",
        );
    }
    Finding::fine(what, format!("pattern {}", pattern.trim()))
}

fn swap(facts: &dyn Facts) -> Finding {
    let areas = facts.text("/proc/swaps").map_or(0, |text| text.lines().skip(1).count());
    if areas == 0 {
        return Finding::fine("swap", "off");
    }
    let found = format!("{areas} areas: memory of sandboxes may be written to them by the host");
    Finding::warning("swap", found, "swapoff -a, and take it out of /etc/fstab")
}

fn same_pages(facts: &dyn Facts) -> Finding {
    match facts.number("/sys/kernel/mm/ksm/run") {
        Some(1) => Finding::warning(
            "merging of equal pages (KSM)",
            "on: a sandbox can learn by time what pages others have, if anybody there asks for it",
            "echo 2 > /sys/kernel/mm/ksm/run",
        ),
        _ => Finding::fine("merging of equal pages (KSM)", "off"),
    }
}

fn dotted(path: &str) -> String {
    path.replace('/', ".")
}

fn switch(facts: &dyn Facts, (path, bad, means, good): &(&str, u64, &str, u64)) -> Option<Finding> {
    let value = facts.number(&format!("/proc/sys/{path}"))?;
    let what = dotted(path);
    Some(if value == *bad {
        Finding::warning(&what, format!("{value}: {means}"), format!("sysctl -w {what}={good}"))
    } else {
        Finding::fine(&what, value.to_string())
    })
}

fn pool(facts: &dyn Facts, (path, need, what_for): &(&str, u64, &str)) -> Option<Finding> {
    let text = facts.text(&format!("/proc/sys/{path}"))?;
    // `fs.file-max` is larger than any number of ours on some hosts.
    let have = text.trim().parse::<u64>().ok()?;
    let what = dotted(path);
    Some(if have < *need {
        Finding::warning(
            &what,
            format!("{have}, needed for {what_for}: {need}"),
            format!("sysctl -w {what}={need}"),
        )
    } else {
        Finding::fine(&what, have.to_string())
    })
}

fn threads(facts: &dyn Facts) -> Finding {
    let what = "hardware threads (SMT)";
    if facts.number("/sys/devices/system/cpu/smt/active") == Some(1) {
        let found = "on: two sandboxes may share a core at one time, with what leaks there";
        return Finding::warning(
            what,
            found,
            "echo off > /sys/devices/system/cpu/smt/control, or boot with nosmt",
        );
    }
    Finding::fine(what, "off")
}

fn vulnerabilities(facts: &dyn Facts) -> Finding {
    let (what, directory) = ("processor vulnerabilities", "/sys/devices/system/cpu/vulnerabilities");
    let names = facts.names(directory);
    if names.is_empty() {
        return Finding::warning(what, "the kernel does not tell", "mount /sys");
    }
    let open = |name: &&String| {
        facts.text(&format!("{directory}/{name}")).is_some_and(|text| text.starts_with("Vulnerable"))
    };
    let open: Vec<_> = names.iter().filter(open).cloned().collect();
    if open.is_empty() {
        return Finding::fine(what, format!("{} known, none open", names.len()));
    }
    Finding::warning(
        what,
        format!("open: {}", open.join(", ")),
        "update kernel and microcode; boot with mitigations=auto",
    )
}

fn sockets(facts: &dyn Facts) -> Finding {
    let what = "modules of rare sockets";
    let files = facts.names("/etc/modprobe.d").into_iter();
    let rules: Vec<_> = files.filter_map(|name| facts.text(&format!("/etc/modprobe.d/{name}"))).collect();
    let forbidden = |module: &str| {
        let start = format!("install {module} ");
        rules.iter().flat_map(|text| text.lines()).any(|line| line.trim().starts_with(&start))
    };
    let loadable: Vec<_> =
        MODULES.into_iter().filter(|module| has_module(facts, module) && !forbidden(module)).collect();
    if loadable.is_empty() {
        return Finding::fine(what, "none can be loaded");
    }
    let rows: Vec<_> = loadable.iter().map(|module| format!("install {module} /bin/false")).collect();
    let remedy = format!("in /etc/modprobe.d/bulkhead.conf: {}", rows.join("; "));
    Finding::warning(what, format!("can be loaded: {}", loadable.join(", ")), remedy)
}

fn gateway(facts: &dyn Facts, uid: u32) -> Finding {
    let what = "user of the gateway";
    if facts.exists("/run/systemd/system") && DYNAMIC_USERS.contains(&uid) {
        let found = format!("uid {uid}, which systemd may give to a service of its own");
        return Finding::warning(
            what,
            found,
            "useradd --system --no-create-home --shell /usr/sbin/nologin bulkhead",
        );
    }
    Finding::fine(what, format!("uid {uid}"))
}

fn clocks(facts: &dyn Facts) -> Finding {
    if facts.exists("/proc/self/ns/time") {
        return Finding::fine("time namespaces", "yes");
    }
    let found = "no: sandboxes see since when the host runs";
    Finding::warning("time namespaces", found, "use a kernel with CONFIG_TIME_NS=y")
}

fn memory_files(facts: &dyn Facts) -> Finding {
    let sealed = kernel(facts) >= (6, 3);
    let found =
        if sealed { "sealed as executable" } else { "sealed; the kernel has no flag for executable (6.3)" };
    Finding::fine("the agent's program", found)
}

fn ipc(facts: &dyn Facts) -> Finding {
    let what = "System V and message queues";
    if kernel(facts) >= (6, 9) {
        return Finding::fine(what, "bounded in number and by the sandbox's memory");
    }
    Finding::fine(what, "bounded by the sandbox's memory; in number from Linux 6.9 on")
}
