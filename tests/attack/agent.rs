//! Attacks on what serves the sandbox from inside (P09, P10, P11, E04).

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::Server;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn p09_the_first_process_shrugs_signals_off() {
    let server = Server::start();
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
}

/// Tenant root can become any id of the range, the agent's among them, and kill all it sees.
#[test]
fn p09_killing_everything_one_sees_ends_only_oneself() {
    let server = Server::start();
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
}

#[test]
fn p09_the_agent_cannot_be_seen() {
    let server = Server::start();
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
}

#[test]
fn p10_there_is_nothing_of_the_agent_to_find() {
    let server = Server::start();
    let sandbox = sandbox_of(&server);
    // The agent's own pairs have no name: the line of a named socket has an eighth field.
    let sockets = sandbox.exec("find / -xdev -type s 2>/dev/null; awk 'NR > 1 && NF > 7' /proc/net/unix");
    assert_eq!(sockets.stdout, "", "a named socket can be seen");
    let descriptors = sandbox.exec("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -e cgroup -e memfd -e bulkhead");
    assert_eq!(descriptors.stdout, "", "a descriptor of the agent was inherited");
}

#[test]
fn e04_the_agents_program_cannot_be_opened_for_writing() {
    let server = Server::start();
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
    std::thread::scope(|scope| {
        let commands = scope.spawn(|| {
            for _ in 0..50 {
                let _run = sandbox.exec("exec /proc/self/exe -c true");
            }
        });
        let results = outcome(&sandbox, program);
        assert_all(&results, &["absent", "EACCES", "EPERM", "ETXTBSY"]);
        commands.join().expect("the client");
    });
}

#[test]
fn p11_variables_reach_the_command_and_nothing_else() {
    let server = Server::start();
    let evil = json!({
        "LD_AUDIT": "/tmp/evil.so", "RUST_LOG": "trace", "BASH_ENV": "/tmp/evil.sh", "LISTEN_FDS": "9",
        "BULKHEAD_LAUNCH": "9977", "HOME": "/nowhere",
    });
    let sandbox = server.create_with(json!({"envVars": evil}));
    let run = sandbox.exec("echo $RUST_LOG $LISTEN_FDS $HOME");
    assert_eq!(run.stdout, "trace 9 /nowhere\n", "{}", run.data);
    let agent = std::fs::read(format!("/proc/{}/environ", sandbox.agent().pid)).expect("root may read it");
    let agent = String::from_utf8_lossy(&agent).into_owned();
    for value in ["evil", "trace", "nowhere", "9977", "bh_"] {
        assert!(!agent.contains(value), "{value} in the agent's environment: {agent}");
    }
}
