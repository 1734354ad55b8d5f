"""Sandboxes in a slice of their own: what systemd does to it binds them, and does nothing else to them."""
import pathlib
import re

import package
import product
import residue

SLICE = residue.CGROUPS / "bulkhead.slice"
MIB = 1 << 20
# What the slice gets at once; a sandbox may have more.
MEMORY = 96 * MIB
TASKS = 90


def limits(group):
    """The limits of a sandbox, and its processes."""
    files = ("memory.max", "pids.max", "cpu.max", "cgroup.procs")
    return {name: (group / name).read_text() for name in files}


def set_property(*properties):
    """Sets properties of the slice until the next boot."""
    product.systemctl("set-property", "--runtime", "bulkhead.slice", *properties)


class Slices:
    """Cases of the suite; they go on with the installed package."""

    def slice_binds(self):
        """limits of the slice bind its sandboxes together, and end when they are taken back"""
        first, second = self.some[:2]
        set_property(f"MemoryMax={MEMORY}", f"TasksMax={TASKS}", "CPUQuota=150%")
        assert (SLICE / "memory.max").read_text() == f"{MEMORY}\n"
        assert (SLICE / "cpu.max").read_text() == "150000 100000\n"
        fork = "import os, time\nn = 0\ntry:\n  while n < 400:\n    if os.fork() == 0: time.sleep(9); os._exit(0)\n    n += 1\nexcept OSError: pass\nprint(n)\nos.kill(0, 9)"
        data = self.client.exec(first, f"setsid -w python3 -uc '{fork}'; true", timeout=60)
        assert int(data["stdout"]) < TASKS, data
        before = events(SLICE)["oom"]
        data = self.client.exec(first, "python3 -c 'len(b\"x\" * (300 << 20))'", timeout=60)
        assert data["exitCode"] == 137 or data["end"]["kind"] == "oom", data
        assert events(SLICE)["oom"] > before, "it was not the slice's limit"
        # One tenant's end for want of memory is nobody else's, nor the unit's.
        assert self.client.works(first) and self.client.works(second)
        set_property("MemoryMax=infinity", "TasksMax=infinity", "CPUQuota=")
        assert (SLICE / "memory.max").read_text() == "max\n"
        assert (SLICE / "cpu.max").read_text().startswith("max "), (SLICE / "cpu.max").read_text()
        product.systemctl("revert", "bulkhead.slice")
        shown = package.shown("systemd-cgtop", "-b", "-n", "1", "--depth=3")
        assert re.search(r"^/?bulkhead\.slice ", shown, re.MULTILINE), shown

    def slice_is_left_alone(self):
        """a reload, a new systemd, and a stop and start of the slice change no group of a sandbox"""
        groups = [self.group(sandbox) for sandbox in self.some]
        before = [limits(group) for group in groups]
        for words in (["daemon-reload"], ["daemon-reexec"], ["restart", "bulkhead.slice"], ["stop", "bulkhead.slice"],
                      ["daemon-reload"], ["start", "bulkhead.slice"], ["restart", package.RUNTIME]):
            product.systemctl(*words)
            assert [limits(group) for group in groups] == before, words
        package.healthy()
        self.some_live()
        new = self.client.create(name="new")
        assert self.group(new).parent.parent == SLICE
        self.client.delete(new)

    def slice_waits(self):
        """another place for groups is used once no sandbox runs at the old one, and sandboxes are found where they are"""
        config = pathlib.Path(package.CONFIG)
        text = config.read_text()
        config.write_text(text.replace('cgroup-parent = "/bulkhead.slice"', 'cgroup-parent = "/"'))
        cursor = package.now()
        product.systemctl("restart", package.RUNTIME)
        package.says(cursor, "sandboxes run below /bulkhead.slice")
        package.healthy()
        self.some_live()
        config.write_text(text)
        product.systemctl("restart", package.RUNTIME)
        package.healthy()

    def slice_cases(self):
        """Every case, in order."""
        return [self.slice_binds, self.slice_is_left_alone, self.slice_waits]


def events(group):
    """The numbers of `memory.events`."""
    return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", (group / "memory.events").read_text())}
