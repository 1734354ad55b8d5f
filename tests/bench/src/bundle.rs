//! OCI bundles for the peers: what they run, in which isolation.

use anyhow::Result;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Names of the filter's allow-list.
const SYSCALLS: &str = include_str!("syscalls.txt");
const MIB: u64 = 1 << 20;
/// First host id of the user namespace: above every ordinary user, below the ranges of the product.
const FIRST_ID: u32 = 1_000_000;

/// A bundle of its own file system with one static program: no user namespace, small limits.
pub(crate) fn plain(directory: &Path, cgroup: &str, busybox: &Path) -> Result<()> {
    let root = directory.join("rootfs");
    for name in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        fs::create_dir_all(root.join(name))?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/true"))?;
    let mut config = config(cgroup, &json!({ "memory": 256 * MIB, "pids": 128 }));
    push(
        &mut config,
        "/mounts",
        json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        }),
    );
    write(directory, &config)
}

/// A bundle as close to one of our sandboxes as the format allows: the host's `/usr` read-only, the same
/// namespaces (user included), the same limits, a filter of about the same size.
pub(crate) fn fair(directory: &Path, cgroup: &str) -> Result<()> {
    let root = directory.join("rootfs");
    for name in ["usr", "proc", "sys", "dev", "tmp", "etc", "root", "home", "var"] {
        fs::create_dir_all(root.join(name))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    let mut config = config(cgroup, &json!({ "memory": (1024 + 24) * MIB, "pids": 512 + 32 }));
    push(
        &mut config,
        "/mounts",
        json!({
            "destination": "/usr", "type": "bind", "source": "/usr",
            "options": ["bind", "ro", "nosuid", "nodev"],
        }),
    );
    push(
        &mut config,
        "/mounts",
        json!({
            "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "mode=1777"],
        }),
    );
    push(&mut config, "/linux/namespaces", json!({ "type": "user" }));
    push(&mut config, "/linux/namespaces", json!({ "type": "cgroup" }));
    let map = json!([{ "containerID": 0, "hostID": FIRST_ID, "size": 65_536 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    write(directory, &config)
}

fn push(config: &mut Value, list: &str, item: Value) {
    if let Some(items) = config.pointer_mut(list).and_then(Value::as_array_mut) {
        items.push(item);
    }
}

fn write(directory: &Path, config: &Value) -> Result<()> {
    Ok(fs::write(directory.join("config.json"), config.to_string())?)
}

/// What both bundles have in common.
fn config(cgroup: &str, limits: &Value) -> Value {
    let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    let syscalls: Vec<&str> = SYSCALLS.split_whitespace().collect();
    json!({
        "ociVersion": "1.0.2-dev",
        "process": process(),
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "bench",
        "mounts": mounts(),
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {
                "devices": [{ "allow": false, "access": "rwm" }],
                "memory": { "limit": limits["memory"] },
                "pids": { "limit": limits["pids"] },
                "cpu": { "quota": 100_000, "period": 100_000 },
            },
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": syscalls, "action": "SCMP_ACT_ALLOW" }],
            },
        },
    })
}

fn process() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "terminal": false,
        "user": { "uid": 0, "gid": 0 },
        "args": ["/bin/true"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities, "effective": capabilities,
            "permitted": capabilities, "ambient": capabilities,
        },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
        "noNewPrivileges": true,
    })
}

fn mounts() -> Value {
    let rows = [
        ("/proc", "proc", ""),
        ("/dev", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        ("/dev/pts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("/dev/shm", "tmpfs", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        ("/dev/mqueue", "mqueue", "nosuid,noexec,nodev"),
        ("/sys", "sysfs", "nosuid,noexec,nodev,ro"),
    ];
    let mount = |(destination, kind, options): (&str, &str, &str)| {
        let options: Vec<&str> = options.split(',').filter(|option| !option.is_empty()).collect();
        json!({ "destination": destination, "type": kind, "source": kind, "options": options })
    };
    Value::Array(rows.map(mount).to_vec())
}
