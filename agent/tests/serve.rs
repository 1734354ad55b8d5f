//! The real program in a cgroup of its own, driven over its socket. Needs root and a v2 cgroup tree; without
//! them these tests fail, they are never skipped.
//!
//! What a launch does to credentials, filter and pid namespaces is done here too; mounts, the user namespace and
//! the limits are tested with the whole system.

#[path = "serve/agent.rs"]
mod agent;
#[path = "serve/archives.rs"]
mod archives;
#[path = "serve/calls.rs"]
mod calls;
#[path = "serve/conversation.rs"]
mod conversation;
#[path = "serve/detached.rs"]
mod detached;
#[path = "serve/files.rs"]
mod files;
#[path = "serve/input.rs"]
mod input;
#[path = "serve/keys.rs"]
mod keys;
#[path = "serve/lent.rs"]
mod lent;
#[path = "serve/terminal.rs"]
mod terminal;
#[path = "serve/user.rs"]
mod user;
#[path = "serve/watches.rs"]
mod watches;

use agent::{Agent, Ran};
use bulkhead_protocol::agent::{End, MAX_EXECUTIONS, StartFailureKind};
use std::time::{Duration, Instant};

#[test]
fn output_and_exit_are_those_of_the_script() {
    let agent = Agent::start();
    let ran = agent.run("echo out; echo err >&2; exit 3");
    assert_eq!((ran.stdout(), ran.stderr()), ("out\n", "err\n"));
    assert_eq!(ran.end(), End::Exited { code: 3 });
    assert_eq!(agent.run("kill -TERM $$").end(), End::Signaled { signal: 15 });
    assert_eq!(agent.run("kill -KILL $$").end(), End::Signaled { signal: 9 }, "nothing ran out of memory");
    agent.wait_until_empty();
}

#[test]
fn a_kill_that_the_kernel_counted_is_want_of_memory() {
    let agent = Agent::start();
    let stream = agent.open("sleep 0.3; kill -KILL $$", None);
    agent.count_oom_kill();
    assert_eq!(stream.collect().end(), End::Oom);
    assert_eq!(agent.run("kill -KILL $$").end(), End::Signaled { signal: 9 }, "that count is an old one");
}

#[test]
fn orphans_go_to_the_init_and_the_agent_ends_with_it() {
    let agent = Agent::start();
    let orphans = "for i in $(seq 20); do (setsid true &); done; sleep 0.2; echo $$";
    assert_eq!(agent.run(orphans).end(), End::Exited { code: 0 });
    let children = agent.children();
    assert_eq!(children.len(), 1, "the init alone: the agent reaped its own");
    let init = bulkhead_sys::pidfd::open(children[0]).unwrap();
    bulkhead_sys::pidfd::signal(std::os::fd::AsFd::as_fd(&init), libc::SIGKILL).unwrap();
    agent.wait_until_ended();
}

#[test]
fn a_command_has_a_tenants_rights_and_nothing_else_of_the_agents() {
    let agent = Agent::start();
    let ran = agent
        .run("echo $LAUNCH$BULKHEAD_LAUNCH-$HOME-$PWD; id -u; umask; ulimit -n; ls /proc/self/fd | wc -l");
    // Four: standard streams and the directory that ls reads.
    assert_eq!(ran.stdout(), "-/root-/root\n0\n0022\n512\n4\n");
    let status = agent.run("cat /proc/self/oom_score_adj; grep -E '^(Cap|NoNew|Seccomp)' /proc/self/status");
    let tenant = format!("{:016x}", bulkhead_sys::caps::TENANT);
    let none = format!("{:016x}", 0);
    let expected = format!(
        "600\nCapInh:\t{none}\nCapPrm:\t{tenant}\nCapEff:\t{tenant}\nCapBnd:\t{tenant}\nCapAmb:\t{none}\n\
         NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n"
    );
    assert_eq!(status.stdout(), expected);
}

#[test]
fn what_never_ran_says_why_and_leaves_nothing() {
    let agent = Agent::start();
    let failure = |cwd: Option<&str>, env: &[(&str, &str)]| agent.fail("true", cwd, env);
    assert_eq!(failure(Some("/nowhere"), &[]), StartFailureKind::NoSuchDirectory);
    assert_eq!(failure(Some("/etc/passwd"), &[]), StartFailureKind::NoSuchDirectory);
    assert_eq!(failure(None, &[("A=B", "")]), StartFailureKind::Invalid);
    assert_eq!(failure(None, &[("LONG", &"x".repeat(200_000))]), StartFailureKind::TooLong);
    assert_eq!(agent.leaves(), 0, "before the answer, not some time after it");
}

#[test]
fn a_timeout_ends_sessions_and_orphans_too_and_keeps_the_output() {
    let agent = Agent::start();
    let begun = Instant::now();
    let script = "echo before; (setsid sleep 1000 &); setsid bash -c 'sleep 1001 & sleep 1002' & sleep 1003";
    let ran = agent.run_for(script, Some(200));
    assert_eq!((ran.end(), ran.stdout()), (End::Timeout, "before\n"));
    assert!(begun.elapsed() < Duration::from_secs(5));
    agent.wait_until_empty();
}

#[test]
fn a_daemon_neither_holds_the_answer_nor_dies_with_it() {
    let agent = Agent::start();
    let begun = Instant::now();
    let ran = agent.run("(for i in 1 2 3 4 5; do echo $i; sleep 0.2; done; echo done > /dev/shm/agent-$$) & echo /dev/shm/agent-$$");
    assert_eq!(ran.end(), End::Exited { code: 0 });
    assert!(ran.ended().output_open && begun.elapsed() < Duration::from_millis(900));
    assert_eq!(agent.leaves(), 1);
    agent.wait_until_empty();
    let proof = ran.stdout().lines().find(|line| line.starts_with('/')).unwrap();
    assert_eq!(std::fs::read_to_string(proof).unwrap(), "done\n", "it could write to the end");
    std::fs::remove_file(proof).unwrap();
}

#[test]
fn a_closed_connection_kills_even_a_command_that_is_blocked_on_its_reader() {
    let agent = Agent::start();
    for script in ["echo here; setsid sleep 1000 & sleep 1000", "yes"] {
        let mut stream = agent.open(script, None);
        stream.next_frame().unwrap();
        stream.next_frame().unwrap();
        assert_eq!(agent.leaves(), 1);
        // `yes` fills the journal, the socket and the pipe meanwhile, and blocks.
        std::thread::sleep(Duration::from_millis(300));
        drop(stream);
        agent.wait_until_empty();
    }
}

#[test]
fn a_slow_reader_loses_nothing() {
    let agent = Agent::start();
    let stream = agent.open("seq 1 300000; seq 1 100000 >&2", None);
    std::thread::sleep(Duration::from_millis(300));
    let ran: Ran = stream.collect();
    let numbers = |to: u32| (1..=to).map(|number| format!("{number}\n")).collect::<String>();
    assert!(ran.stdout() == numbers(300_000) && ran.stderr() == numbers(100_000));
    assert!(agent.peak_memory_kib() < 24 << 10);
}

#[test]
fn the_limit_of_executions_is_kept_and_given_back() {
    let agent = Agent::start();
    let streams: Vec<_> = (0..MAX_EXECUTIONS).map(|_| agent.open("sleep 1000", None)).collect();
    assert_eq!(agent.fail("true", None, &[]), StartFailureKind::ExecutionLimit);
    drop(streams);
    agent.wait_until_empty();
    assert_eq!(agent.run("true").end(), End::Exited { code: 0 });
}
