"""What sandboxes may leave behind on a host, counted from outside."""
import contextlib
import os
import pathlib
import subprocess

# First id of the host-wide ranges that sandboxes run with.
FIRST_ID = 1879048192
CGROUPS = pathlib.Path("/sys/fs/cgroup")
CLAIMS = pathlib.Path("/run/bulkhead-ids")


def processes():
    """Processes that run with an id of a sandbox range, as `pid name`."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, StopIteration):
            lines = (entry / "status").read_text().splitlines()
            ids = next(line for line in lines if line.startswith("Uid:")).split()[1:]
            if any(int(one) >= FIRST_ID for one in ids):
                found.append(f"{entry.name} {lines[0].split()[-1]}")
    return sorted(found)


def cgroups(part="bulkhead"):
    """Control groups at or below a directory whose name holds `part`."""
    return sorted(top for top, _, _ in os.walk(CGROUPS) if part in top)


def mounts():
    """Mounts that any process sees, each once: device, root and mount point."""
    found = set()
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for line in (entry / "mountinfo").read_text().splitlines():
                fields = line.split()
                found.add(f"{fields[2]} {fields[3]} on {fields[4]}")
    return found


def network_namespaces():
    """Network namespaces that a process is in."""
    found = set()
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(entry / "ns/net"))
    return found


def loops():
    """Loop devices with a backing file."""
    return {str(path.parent.parent) for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file")}


def claims():
    """Ranges of ids that somebody claimed."""
    return {path.name for path in CLAIMS.glob("[0-9]*")} if CLAIMS.is_dir() else set()


def units():
    """Units of ours that systemd knows, whether their files exist or they ran once, with their states."""
    found = set()
    for what in ("list-unit-files", "list-units"):
        command = ["systemctl", what, "--no-legend", "--plain", "--all", "bulkhead*"]
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        found |= {" ".join(line.split()[:4]) for line in lines}
    return found


def files():
    """Files that are named after us, wherever a package or a service puts some."""
    command = ["find", "/etc", "/usr", "/var", "/run", "/tmp", "-name", "*bulkhead*"]
    # What is taken away meanwhile is complained about, and no matter.
    found = set(subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines())
    # The place of claims is the host's, for all instances.
    return found - {str(CLAIMS)}


def directories(state):
    """Disks of single sandboxes, and what is in the trash."""
    try:
        store = pathlib.Path(pathlib.Path(state, "run-dir").read_text().strip(), "store")
    except OSError:
        return set()
    return {str(path) for pattern in ("[!.]*", ".trash/*") for path in store.glob(pattern)}


def census(state):
    """Everything above under one roof: compare one from before with one from after."""
    return {
        "processes": set(processes()),
        "cgroups": set(cgroups()),
        "mounts": mounts(),
        "network namespaces": network_namespaces(),
        "loop devices": loops(),
        "directories": directories(state),
        "claims": claims(),
        "units": units(),
        "files": files(),
    }


def difference(before, after):
    """What is there after and was not before; empty is clean."""
    left = {name: sorted(after[name] - before[name]) for name in before}
    return {name: items for name, items in left.items() if items}
