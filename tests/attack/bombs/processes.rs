//! D01: processes without end. D11: terminals.

use super::{PIDS, end_of, python, python_as, small};
use bulkhead_protocol::limits::AGENT_PIDS;
use bulkhead_tests::groups::InForce;
use bulkhead_tests::{Sandbox, Server, Switch, groups, within};
use serde_json::json;
use std::time::{Duration, Instant};

/// A destroy takes no longer, whatever runs.
const DESTROY: Duration = Duration::from_secs(5);

/// Makes processes until it is refused, 400 at most, all of which end with the program.
fn until_refused(make: &str) -> String {
    format!(
        r#"
import signal, time
children = []
def fork():
    pid = os.fork()
    if pid == 0:
        time.sleep(20)
        os._exit(0)
    return pid
def corpse():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return None
def vfork():
    return os.posix_spawn("/bin/sleep", ["sleep", "20"], {{}})
refused = "nothing"
for attempt_number in range(400):
    try:
        children.append({make}())
    except OSError as e:
        refused = name_of(e.errno)
        break
many = len(children)
for pid in filter(None, children):
    os.kill(pid, signal.SIGKILL)
for _ in children:
    os.wait()
print(json.dumps(refused if many > 20 else "%s after %d" % (refused, many)))"#
    )
}

#[test]
fn d01_forks_vforks_and_corpses_end_at_eagain() {
    let server = Server::start();
    let sandbox = small(&server);
    let agent = sandbox.agent().pid;
    let user = "setpriv --reuid 1000 --regid 1000 --clear-groups";
    for words in ["", user] {
        for make in ["fork", "vfork", "corpse"] {
            let end = end_of(&python_as(&sandbox, words, &until_refused(make)));
            assert_eq!(end, "EAGAIN", "{make} as {words:?}");
            super::assert_well(&sandbox, agent);
        }
    }
}

/// The classic, bounded by its own clock: it goes on when the command that lit it has ended.
fn classic(words: &str) -> String {
    format!(
        "{words} bash -c 'SECONDS=0; f() {{ [ $SECONDS -lt 20 ] && {{ f | f & }}; }}; f' >/dev/null 2>&1 &"
    )
}

fn pids(sandbox: &Sandbox<'_>) -> u64 {
    groups::value(sandbox, &["pids.current"]).parse().expect("a number")
}

#[test]
fn d01_the_classic_fork_bomb_stays_within_its_limit_and_is_destroyed() {
    let server = Server::start();
    let ceiling = PIDS + u64::from(AGENT_PIDS);
    for words in ["", "setpriv --reuid 1000 --regid 1000 --clear-groups", "setsid"] {
        let sandbox = small(&server);
        let _lit = sandbox.post_exec(&json!({"command": classic(words), "timeout": 5}));
        within(Duration::from_secs(10), "the bomb fills its sandbox", || {
            let now = pids(&sandbox);
            if now + 8 >= ceiling { Ok(()) } else { Err(format!("{now} of {ceiling}")) }
        });
        for _ in 0..20 {
            assert!(pids(&sandbox) <= ceiling, "{} of {ceiling}", pids(&sandbox));
            std::thread::sleep(Duration::from_millis(20));
        }
        // Full is not dead: it answers, and says why it does nothing.
        let answer = sandbox.post_exec(&json!({"command": "true", "timeout": 5}));
        assert!(matches!(answer.status, 200 | 409 | 429 | 503), "{} {}", answer.status, answer.text());
        let start = Instant::now();
        sandbox.delete();
        assert!(start.elapsed() < DESTROY, "{words:?}: destroyed in {:?}", start.elapsed());
    }
}

#[test]
fn d01_control_without_the_limit_there_are_as_many_as_one_likes() {
    let server = Server::weakened(&[Switch::PidsLimit, Switch::ProcessLimits]);
    let sandbox = server.create_with(json!({"limits": {"memoryMiB": 512, "pids": PIDS, "cpus": 0.5}}));
    assert_eq!(end_of(&python(&sandbox, &until_refused("corpse"))), "nothing", "400 of {PIDS}");
}

/// Opens terminals until it is refused, 120 at most.
const TERMINALS: &str = r#"
kept, refused = [], "nothing"
while len(kept) < 120:
    try:
        kept.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    except OSError as e:
        refused = name_of(e.errno)
        break
print(json.dumps(refused))"#;

#[test]
fn d11_terminals_end_at_their_number() {
    let server = Server::start();
    assert_eq!(end_of(&python(&small(&server), TERMINALS)), "ENOSPC");
}

#[test]
fn d11_control_without_the_number_they_do_not_end() {
    let server = Server::weakened(&[Switch::TerminalLimit]);
    assert_eq!(end_of(&python(&small(&server), TERMINALS)), "nothing");
}

#[test]
fn n03_the_limits_of_one_sandbox_are_a_small_part_of_the_hosts_tables() {
    let server = Server::start();
    let sandbox = server.create();
    let number = |path: &str| -> u64 {
        let text = crate::host_file(path);
        text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    };
    let pids = InForce::of(&sandbox).pids;
    assert!(pids * 8 <= number("/proc/sys/kernel/pid_max"), "{pids} processes of the default");
    let used = python(
        &sandbox,
        r#"
# 200 of each at most, in the tables of System V and POSIX.
libc.msgget.restype = libc.semget.restype = libc.shmget.restype = ctypes.c_int
def fill(make):
    many = 0
    while many < 200 and make(many) >= 0:
        many += 1
    return many
made = [fill(lambda n: libc.msgget(n + 1, 0o1600)), fill(lambda n: libc.semget(n + 1, 1, 0o1600)),
        fill(lambda n: libc.shmget(n + 1, 4096, 0o1600))]
queues = fill(lambda n: libc.syscall(240, ctypes.c_char_p(b"q%d" % n), 0o102, 0o600, None))
print(json.dumps(made + [queues]))"#,
    );
    let used: Vec<u64> = serde_json::from_value(used.ok().json()).expect("numbers");
    assert!(used[..3] == [200; 3] && used[3] > 0, "{used:?}");
    // None of them is in the neighbour's tables, which are as empty as before.
    let neighbour = server.create();
    let seen = neighbour
        .exec("ipcs -q -s -m | grep -c 0x; ls /dev/mqueue | wc -l; ipcmk -Q >/dev/null && echo made");
    assert_eq!(seen.stdout, "0\n0\nmade\n");
}
