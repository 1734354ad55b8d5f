//! Attacks on what serves the sandbox from inside (P09, P10, P11, E04).

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::{Server, Watch};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn p09_the_first_process_shrugs_signals_off() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let _run = sandbox.exec("for s in KILL STOP TERM SEGV INT HUP QUIT USR1 ABRT; do kill -$s 1; done; true");
    let start = Instant::now();
    assert_eq!(sandbox.exec("echo here").ok().stdout, "here\n");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(
        sandbox.exec("grep -c . /proc/1/status >/dev/null; echo $?").line(),
        "0",
        "the reaper is there"
    );
    watch.end();
}

/// Tenant root can become any id of the range, the agent's among them, and kill all it sees.
#[test]
fn p09_killing_everything_one_sees_ends_only_oneself() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let _answer = sandbox.post_exec(&json!({"command": "kill -9 -1"}));
    assert_eq!(sandbox.exec("echo here").ok().stdout, "here\n");
    let program = r#"
for uid in (1, 1000, 65533, 65534, 65535):
    child = os.fork()
    if child == 0:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        attempt(os.kill, -1, 9)
        os._exit(0)
    os.waitpid(child, 0)
print(json.dumps("tried"))"#;
    assert_eq!(outcome(&sandbox, program), "tried");
    assert_eq!(sandbox.exec("echo here").ok().stdout, "here\n");
    assert_eq!(sandbox.object()["status"], "running");
    watch.end();
}

#[test]
fn p09_the_agent_cannot_be_seen() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let agent = sandbox.agent();
    let seen =
        sandbox.exec("for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null").stdout;
    let names_agent = seen.lines().any(|line| line.trim_end() == agent.command.trim_end());
    assert!(!names_agent, "{seen}");
    let parents = sandbox.exec("grep -h ^PPid: /proc/[0-9]*/status | sort -u").stdout;
    let has_outer_parent = parents.lines().any(|line| line.split_whitespace().nth(1) == Some("0"));
    assert!(has_outer_parent, "commands are children of a process outside of the inner namespace: {parents}");
    let results = outcome(
        &sandbox,
        r#"
seen = {int(p) for p in os.listdir("/proc") if p.isdigit()}
for pid in list(seen):
    seen |= {int(t) for t in os.listdir("/proc/%d/task" % pid)}
hidden = [pid for pid in range(1, 400) if pid not in seen and attempt(os.kill, pid, 0) != "ESRCH"]
print(json.dumps({"pid %d" % pid: "there" for pid in hidden} or {"none": "absent"}))"#,
    );
    assert_all(&results, &["absent"]);
    watch.end();
}

#[test]
fn p10_there_is_nothing_of_the_agent_to_find() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    // The agent's own pairs have no name: the line of a named socket has an eighth field.
    let sockets = sandbox.exec("find / -xdev -type s 2>/dev/null; awk 'NR > 1 && NF > 7' /proc/net/unix");
    assert_eq!(sockets.stdout, "", "a named socket can be seen");
    let descriptors = sandbox.exec("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -e cgroup -e memfd -e bulkhead");
    assert_eq!(descriptors.stdout, "", "a descriptor of the agent was inherited");
    watch.end();
}

#[test]
fn e04_the_agents_program_cannot_be_opened_for_writing() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let program = r#"
import glob
out = {"tried": "absent"}
for round in range(300):
    for path in glob.glob("/proc/[0-9]*/exe"):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if "memfd" in target or "bulkhead" in target:
            out[path] = open_for_write(path)
print(json.dumps(out))"#;
    // What is executed here ends at whoever executes it: a shell, or the agent.
    let _run = sandbox.exec("echo '#!/proc/self/exe' > /root/shell && chmod 755 /root/shell").ok();
    let agent = sandbox.agent().pid;
    let before = std::fs::read(format!("/proc/{agent}/exe")).expect("root may read it");
    std::thread::scope(|scope| {
        let commands = scope.spawn(|| {
            for _ in 0..50 {
                let _run = sandbox.exec("exec /proc/self/exe -c true");
                let _run = sandbox.exec("/root/shell");
            }
        });
        let results = outcome(&sandbox, program);
        assert_all(&results, &["absent", "EACCES", "EPERM", "ETXTBSY"]);
        commands.join().expect("the client");
    });
    let after = std::fs::read(format!("/proc/{agent}/exe")).expect("root may read it");
    let file = std::fs::read(bulkhead_tests::programs::program("bulkhead-agent")).expect("the product");
    assert!(before == after && before == file, "the agent's program changed");
    watch.end();
}

#[test]
fn p11_variables_reach_the_command_and_nothing_else() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let evil = json!({
        "LD_AUDIT": "/tmp/evil.so", "RUST_LOG": "trace", "BASH_ENV": "/tmp/evil.sh", "LISTEN_FDS": "9",
        "BULKHEAD_LAUNCH": "9977", "HOME": "/nowhere",
    });
    let sandbox = server.create_with(json!({"envVars": evil}));
    let run = sandbox.exec("echo $RUST_LOG $LISTEN_FDS $HOME");
    assert_eq!(run.stdout, "trace 9 /nowhere\n", "{}", run.data);
    // What is no name of a variable is refused before anything runs; how many there are is no concern of the agent.
    for name in ["", "A=B", "A\0B"] {
        let _message = sandbox.post_exec(&json!({"command": "true", "env": {name: "x"}})).error(400);
    }
    let odd = sandbox.exec_with("printf %s \"$A\"", json!({"env": {"A": "\n=\n"}})).ok();
    assert_eq!(odd.stdout, "\n=\n");
    let agent = std::fs::read(format!("/proc/{}/environ", sandbox.agent().pid)).expect("root may read it");
    let agent = String::from_utf8_lossy(&agent).into_owned();
    for value in ["evil", "trace", "nowhere", "9977", "bh_"] {
        assert!(!agent.contains(value), "{value} in the agent's environment: {agent}");
    }
    watch.end();
}

/// Tenant root owns the files of the reaper in /proc, as of any process that is not dumpable; what the kernel lets it
/// set there must not matter, and nothing of it reaches the agent.
#[test]
fn p09_what_can_be_set_of_the_reaper_does_no_harm() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let agent = sandbox.agent().pid;
    let score = || std::fs::read_to_string(format!("/proc/{agent}/oom_score_adj")).expect("root may read it");
    let before = score();
    let results = outcome(
        &sandbox,
        r#"
def write(name, text):
    return attempt(lambda: os.write(os.open("/proc/1/" + name, os.O_WRONLY), text))
words = {"comm": b"x", "timerslack_ns": b"1000000000", "mem": b"x", "uid_map": b"0 0 1", "setgroups": b"allow",
         "attr/current": b"x"}
own = {"oom_score_adj": b"1000", "clear_refs": b"1", "coredump_filter": b"ff", "autogroup": b"19"}
refused = {name: write(name, text) for name, text in words.items()}
print(json.dumps([refused, {name: write(name, text) for name, text in own.items()}]))"#,
    );
    assert_all(&results[0], &["EACCES", "EPERM", "EINVAL", "ENOENT"]);
    println!("of the reaper: {}", results[1]);
    // Files in memory are full, and the agent has none.
    let _full = sandbox.exec("head -c 100M /dev/zero > /dev/shm/full; head -c 300M /dev/zero > /tmp/full");
    let start = Instant::now();
    assert_eq!(sandbox.exec("echo here").ok().stdout, "here\n");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(score(), before, "the agent's own score");
    watch.end();
}

/// While commands start one after the other, a tenant looks into every process as early as it can.
#[test]
fn e20_a_command_that_starts_shows_nothing_of_the_agent() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let _run = sandbox.exec("rm -f /tmp/stop; touch /tmp/go").ok();
    let program = r#"
out, looks, early = {"tried": "EPERM"}, 0, 0
me = (os.getpid(), os.getppid(), 1)
while not os.path.exists("/tmp/stop"):
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        if pid in me:
            continue
        looks += 1
        out["ptrace"] = call("ptrace", 16, pid, 0, 0)
        memory = open_for_write("/proc/%d/mem" % pid)
        try:
            for number in os.listdir("/proc/%d/fd" % pid):
                target = os.readlink("/proc/%d/fd/%s" % (pid, number))
                if any(word in target for word in ("socket:", "cgroup", "memfd", "meminfo", "memory.")):
                    out["descriptor " + target] = "seen"
        except OSError:
            pass
        # Whoever still holds the agent's id held it a moment ago.
        if "Uid:	65533" in (read("/proc/%d/status" % pid) or ""):
            early += 1
            if memory == "ok":
                out["memory before the change of ids"] = "open"
out = {key: "EPERM" if value == "ESRCH" else value for key, value in out.items()}
print(json.dumps([out, looks, early]))"#;
    let seen = std::thread::scope(|scope| {
        let look = scope.spawn(|| outcome(&sandbox, program));
        for _ in 0..300 {
            let _run = sandbox.exec("true").ok();
        }
        let _run = sandbox.exec("touch /tmp/stop").ok();
        look.join().expect("the client")
    });
    println!("{} looks, {} of them before the change of ids", seen[1], seen[2]);
    assert!(seen[1].as_u64().is_some_and(|looks| looks > 0), "nothing was seen: {seen}");
    assert_all(&seen[0], &["EPERM"]);
    watch.end();
}
