"""The suite that runs as root inside the VM: unified cgroups, nsdelegate, systemd as PID 1.

Its cases build on one another. One whose foundation failed, or that would begin after BUDGET, has failed without
being run, so that a hanging product still ends in a report.
Output is TAP and a closing `N passed, N failed`; the script outside knows how many
must pass.
"""
import pathlib
import re
import time
import traceback

import attacks
import faults
import package
import product
import residue
import slices
import upgrade
import vsock

SMALL = {"memoryMiB": 64, "pids": 32, "cpus": 0.5}
MIB = 1 << 20
# Tasks of the agent and the inner init, which the sandbox's own limit carries on top of the tenant's.
AGENT_PIDS = 32
# Seconds; the script outside ends the VM somewhat later.
BUDGET = 540


class Suite(
    attacks.Attacks, package.Package, slices.Slices, upgrade.Upgrade, faults.Faults, vsock.Vsock,
):
    """What the cases share, and the cases in the order in which they run."""

    def __init__(self):
        self.server = product.Server()
        self.client = None
        self.before = None
        self.main = None
        self.small = None

    def group(self, sandbox):
        """The sandbox's control group: the topmost directory that its id names."""
        found = residue.cgroups(sandbox)
        assert found, f"no cgroup is named by {sandbox}"
        return pathlib.Path(found[0])

    def unified_hierarchy(self):
        """systemd mounted one unified hierarchy with nsdelegate and the three controllers"""
        mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
        mount = [line.split() for line in mounts if " /sys/fs/cgroup " in line]
        assert len(mount) == 1 and mount[0][2] == "cgroup2" and "nsdelegate" in mount[0][3], mount
        controllers = (residue.CGROUPS / "cgroup.controllers").read_text().split()
        assert {"memory", "pids", "cpu"} <= set(controllers), controllers
        assert pathlib.Path("/proc/1/comm").read_text().strip() == "systemd"

    def serve_starts(self):
        """serve starts on empty directories and is healthy"""
        self.before = residue.census(product.STATE)
        self.server.start()
        self.client = product.Client()

    def create(self):
        """create answers 201 with a running sandbox, in a group of its own below the root"""
        self.main = self.client.create()
        assert self.group(self.main).is_dir()
        assert residue.processes(), "no process runs with an id of a sandbox range"

    def run(self):
        """exec gives stdout, stderr and exit code"""
        data = self.client.exec(self.main, "echo out; echo err >&2; id -u; exit 3")
        assert (data["stdout"], data["stderr"], data["exitCode"]) == ("out\n0\n", "err\n", 3), data
        self.client.exec(self.main, "echo kept >/tmp/marker")

    def kill_receipt(self):
        """a timeout answers 124 when nothing of the tree lives, setsid and double fork included"""
        script = (
            "setsid sh -c 'echo first; exec sleep 9871' & "
            "(setsid sh -c 'sleep 9872 & echo second' &); sleep 9873"
        )
        data = self.client.exec(self.main, script, timeout=3)
        living = [found for pid in product.parents() if "sleep" in (found := product.words(pid))[:1]]
        assert data["exitCode"] == 124 and sorted(data["stdout"].split()) == ["first", "second"], data
        assert data["end"]["kind"] == "timeout", data
        assert not living, f"alive after the answer: {living}"

    def limits_in_force(self):
        """the limits asked for stand in the sandbox's own group"""
        self.small = self.client.create(name="small", limits=SMALL)
        group = self.group(self.small)
        memory = int((group / "memory.max").read_text())
        assert SMALL["memoryMiB"] * MIB <= memory <= (SMALL["memoryMiB"] + 24) * MIB, memory
        pids = int((group / "pids.max").read_text())
        assert SMALL["pids"] <= pids <= SMALL["pids"] + AGENT_PIDS, pids
        quota, period = map(int, (group / "cpu.max").read_text().split())
        assert quota / period == SMALL["cpus"], (quota, period)

    def isolation(self):
        """what the runtime reads back from the kernel holds, item by item"""
        report = self.client.isolation(self.small)
        items = [item for wall in report["walls"] for item in wall["items"]]
        gaps = [item for item in items if not item["holds"]]
        assert report["holds"] and not gaps and len(items) > 80, gaps or report
        assert "memory.max" in {item["name"] for item in items}

    def memory(self):
        """a command over 64 MiB meets the OOM killer, and the sandbox goes on"""
        data = self.client.exec(self.small, "python3 -c 'len(b\"x\" * (300 << 20))'", timeout=60)
        assert data["exitCode"] == 137 or data["end"]["kind"] == "oom", data
        assert "oom_kill 0\n" not in (self.group(self.small) / "memory.events").read_text()
        assert self.client.works(self.small)

    def pids(self):
        """a fork over 32 pids fails with EAGAIN, and nothing of the bomb stays"""
        script = (
            "import os, time\nforked = 0\nwhile True:\n  try: child = os.fork()\n"
            "  except OSError as error: print(forked, error.errno); break\n"
            "  if child == 0: time.sleep(90); os._exit(0)\n  forked += 1\n"
            "os.kill(0, 9)\n"
        )
        data = self.client.exec(self.small, f"setsid -w python3 -uc '{script}'; true", timeout=60)
        forked, errno = map(int, data["stdout"].split())
        assert errno == 11 and forked <= SMALL["pids"] + AGENT_PIDS, data
        assert self.client.works(self.small)

    def cpu(self):
        """a busy loop at half a cpu is throttled: its cpu time is about half of the wall time"""
        group = self.group(self.small)
        before, began = statistics(group), time.monotonic()
        self.client.exec(self.small, "end=$((SECONDS + 3)); while ((SECONDS < end)); do :; done", timeout=30)
        wall, after = time.monotonic() - began, statistics(group)
        used = (after["usage_usec"] - before["usage_usec"]) / 1e6
        assert used <= wall * SMALL["cpus"] + 0.15, f"{used:.2f} s of cpu in {wall:.2f} s"
        assert after["nr_throttled"] > before["nr_throttled"], "never throttled"

    def neighbour(self):
        """the neighbour without those limits still works"""
        assert self.client.works(self.main)

    def sleeps_and_wakes(self):
        """a sandbox that sleeps has no group and no process; a command wakes it, with its files"""
        group = self.group(self.main)
        self.client.turn(self.main, "sleep")
        assert self.client.status(self.main) == "snapshotted" and not group.exists(), group
        data = self.client.exec(self.main, "cat /tmp/marker /root/kept 2>&1; echo awake")
        assert data["stdout"].endswith("awake\n"), data
        self.client.exec(self.main, "echo kept >/root/kept; echo kept >/tmp/marker")
        self.client.turn(self.main, "sleep")
        assert self.client.exec(self.main, "cat /root/kept")["stdout"] == "kept\n"
        self.client.exec(self.main, "echo kept >/tmp/marker")

    def freezes_and_thaws(self):
        """a frozen sandbox stands still, as the kernel says, and goes on with the next command"""
        group = self.group(self.main)
        self.client.turn(self.main, "freeze")
        assert "frozen 1\n" in (group / "cgroup.events").read_text()
        assert self.client.works(self.main)
        assert "frozen 0\n" in (group / "cgroup.events").read_text()

    def gateway_killed(self):
        """after kill -9 of the gateway the sandboxes answer again"""
        self.server.kill_half("gateway")
        self.answer_again()

    def runtime_killed(self):
        """after kill -9 of the runtime the sandboxes answer again, and a new one starts"""
        self.server.kill_half("runtime")
        self.answer_again()
        self.client.delete(self.client.create(name="after"))

    def serve_restarted(self):
        """after SIGTERM and a new start the sandboxes answer again, unharmed"""
        code = self.server.stop()
        assert code == 0, f"serve ended with {code}"
        self.server.start()
        self.answer_again()

    def serve_killed(self):
        """after kill -9 of serve no half lives, and a new start finds the sandboxes"""
        halves = [self.server.half("gateway"), self.server.half("runtime")]
        self.server.kill()
        product.eventually("both halves are gone", lambda: not any(map(product.words, halves)))
        self.server.start()
        self.answer_again()

    def unit_restarted(self):
        """under systemd, a restart of the unit leaves the sandboxes alone"""
        self.server.stop()
        self.server.start_unit()
        self.answer_again()
        product.systemctl("restart", product.UNIT)
        self.server.ready()
        self.answer_again()

    def delete(self):
        """delete answers when the sandbox's processes and group are gone"""
        group = self.group(self.main)
        self.client.delete(self.main)
        assert not group.exists(), f"{group} is still there"

    def purge(self):
        """purge with one sandbox left removes everything the instance had"""
        product.systemctl("stop", product.UNIT)
        assert residue.processes(), "the sandbox did not outlive its server"
        product.purge()
        until = time.monotonic() + 10
        while left := residue.difference(self.before, residue.census(product.STATE)):
            assert time.monotonic() < until, f"left behind: {left}"
            time.sleep(0.2)

    def answer_again(self):
        """Both sandboxes run commands and are the very same ones as before."""
        for sandbox in (self.main, self.small):
            product.eventually(f"{sandbox} runs commands", lambda: self.client.works(sandbox))
        assert self.client.exec(self.main, "cat /tmp/marker")["stdout"] == "kept\n"

    def cases(self):
        """Every case, in order."""
        return [
            self.unified_hierarchy, self.serve_starts, self.create, self.run, self.kill_receipt,
            self.limits_in_force, self.isolation, self.memory, self.pids, self.cpu, self.neighbour,
            self.sleeps_and_wakes, self.freezes_and_thaws, *self.attacks(),
            self.gateway_killed, self.runtime_killed, self.serve_restarted, self.serve_killed, self.unit_restarted, self.delete,
            self.purge, self.agent_over_vsock, self.gateway_over_vsock, *self.package_cases(),
        ]


def statistics(group):
    """The numbers of `cpu.stat`."""
    return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", (group / "cpu.stat").read_text())}


def log_tail():
    """The last lines of the server's log, plain and of the units, as TAP comments."""
    try:
        lines = pathlib.Path(product.LOG).read_text(errors="replace").splitlines()[-25:]
    except OSError:
        lines = []
    lines += package.said().splitlines()
    return ["# the server's log:", *(f"#   {line}" for line in lines)]


def main():
    """Runs the cases and says how each ended; after the first failure the server's log is shown."""
    suite = Suite()
    cases = suite.cases()
    foundations = [suite.serve_starts, suite.create, suite.limits_in_force, suite.package_installs]
    print(f"1..{len(cases)}", flush=True)
    failed, stop, end = 0, "", time.monotonic() + BUDGET
    for number, case in enumerate(cases, 1):
        began = time.monotonic()
        if began > end:
            stop = stop or "no time left"
        notes = []
        try:
            assert not stop, f"not run: {stop}"
            case()
        except Exception:  # a case may fail in any way; the others still run
            failed += 1
            notes = [f"# {line}" for line in traceback.format_exc(limit=-6).splitlines()]
            notes = notes[-1:] if stop else notes
            notes += log_tail() if failed == 1 else []
            if case in foundations:
                stop = stop or f"it builds on case {number}"
        word = "not ok" if notes else "ok"
        text = f"{word} {number} - {case.__doc__} # {time.monotonic() - began:.1f} s"
        print("\n".join([text, *notes]), flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed", flush=True)


if __name__ == "__main__":
    main()
