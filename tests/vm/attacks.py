"""What must fail, tried in the VM: the P0 rows of the attack catalogue that depend on the kernel or the host's
cgroups. The programs are Python with the prelude of the attack suite; each prints one JSON object."""
import json
import pathlib

PRELUDE = pathlib.Path(__file__).with_name("prelude.py").read_text()
REFUSED = {"EACCES", "EPERM", "EROFS", "ENOENT", "ENOSYS", "EAFNOSUPPORT", "EINVAL", "ESRCH", "ENOSPC"}


class Attacks:
    """Cases of the suite; `client` and `main` come from it."""

    def outcome(self, program):
        """What a program inside printed."""
        quoted = (PRELUDE + "\n" + program).replace("'", "'\\''")
        data = self.client.exec(self.main, f"python3 -c '{quoted}'", timeout=60)
        return json.loads(data["stdout"] or json.dumps({"stderr": data["stderr"]}))

    def refused(self, program):
        """Every value of the printed object is a refusal."""
        rows = self.outcome(program)
        assert rows and set(rows.values()) <= REFUSED, rows

    def e01(self):
        """E01 no file that makes the kernel run programs can be written"""
        self.refused(
            'names = ["sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hostname", "sys/vm/drop_caches"]\n'
            'roots = ["/proc", "/proc/1/root/proc", "/proc/self/root/proc"]\n'
            'print(json.dumps({r + n: open_for_write(r + "/" + n) for r in roots for n in names}))'
        )

    def e02(self):
        """E02 no cgroup file can be written, none has a release agent"""
        rows = self.outcome(
            "import glob\n"
            'found = [p for p in glob.glob("/sys/**/*", recursive=True) if os.path.isfile(p)]\n'
            'print(json.dumps({"tried": len(found), "open": [p for p in found if open_for_write(p) == "ok"],'
            ' "agent": [p for p in found if "release_agent" in p]}))'
        )
        assert rows["tried"] > 5 and not rows["open"] and not rows["agent"], rows

    def e05(self):
        """E05 a tour of /proc/1 ends at the reaper"""
        self.refused(
            'rows = {n: attempt(lambda n=n: os.readlink("/proc/1/" + n)) for n in ("exe", "cwd", "root")}\n'
            'rows.update({n: attempt(lambda n=n: open("/proc/1/" + n).read()) for n in ("environ", "mem", "maps")})\n'
            'rows["fd"] = attempt(lambda: os.readlink("/proc/1/fd/0"))\n'
            "print(json.dumps(rows))"
        )

    def e09(self):
        """E09 no nested namespace of any kind"""
        self.refused(
            "kinds = {'user': 0x10000000, 'mnt': 0x20000, 'net': 0x40000000, 'pid': 0x20000000, 'ipc': 0x8000000,\n"
            "         'uts': 0x4000000, 'cgroup': 0x2000000, 'time': 0x80}\n"
            "print(json.dumps({k: call('unshare', v) for k, v in kinds.items()}))"
        )

    def p01(self):
        """P01 capabilities, no_new_privs and the filter are a tenant's"""
        rows = self.outcome(
            "rows = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
            "print(json.dumps({k: rows[k].strip() for k in"
            " ('CapInh', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')}))"
        )
        # CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP.
        tenant = f"{1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 18 | 1 << 31:016x}"
        nothing = f"{0:016x}"
        assert (rows["CapEff"], rows["CapBnd"]) == (tenant, tenant), rows
        assert (rows["CapInh"], rows["CapAmb"]) == (nothing, nothing), rows
        assert (rows["NoNewPrivs"], rows["Seccomp"]) == ("1", "2"), rows

    def p08(self):
        """P08 no io_uring, bpf, perf, keys, userfaults or strange sockets"""
        self.refused(
            "rows = {n: call(n, 0, 0, 0, 0, 0) for n in ('io_uring_setup', 'bpf', 'perf_event_open',"
            " 'userfaultfd', 'keyctl', 'add_key')}\n"
            "rows.update({str(f): call('socket', f, 3, 0) for f in (17, 38, 40, 44)})\n"
            "print(json.dumps(rows))"
        )

    def i01(self):
        """I01 what tells of the host is covered: cmdline, keys, iomem, interrupts, vmstat"""
        rows = self.outcome(
            "def size(n):\n  try: return len(open('/proc/' + n, 'rb').read())\n  except OSError: return 0\n"
            "print(json.dumps({n: size(n) for n in"
            " ('cmdline', 'keys', 'iomem', 'interrupts', 'vmstat', 'kallsyms', 'modules', 'locks')}))"
        )
        assert not any(rows.values()), rows

    def d07(self):
        """D07 a disk ends at its limit, and can be emptied"""
        sandbox = self.client.create(name="disk", limits={"diskMiB": 32})
        script = "dd if=/dev/zero of=/root/f bs=1M count=64 2>&1 | grep -o 'quota exceeded'; rm /root/f; echo x >/root/g; cat /root/g"
        data = self.client.exec(sandbox, script, timeout=60)
        assert data["stdout"] == "quota exceeded\nx\n", data
        self.client.delete(sandbox)

    def truth(self):
        """programs are told the sandbox's processors, memory and uptime"""
        script = "nproc; awk '/MemTotal/ {print $2}' /proc/meminfo; cut -d. -f1 /proc/uptime; cat /sys/fs/cgroup/memory.max"
        sandbox = self.client.create(name="truth", limits={"memoryMiB": 128, "cpus": 0.5})
        lines = self.client.exec(sandbox, script)["stdout"].split()
        assert lines[0] == "1" and lines[1] == str(128 << 10) and lines[3] == str(128 << 20), lines
        assert int(lines[2]) < 20, lines
        self.client.delete(sandbox)

    def attacks(self):
        """Every case, in order."""
        return [self.e01, self.e02, self.e05, self.e09, self.p01, self.p08, self.i01, self.d07, self.truth]
