//! At the ceiling of processes and of open files.

use crate::small_sandbox;
use bulkhead_tests::{Server, eventually};
use serde_json::json;

/// Forks until it is refused, 200 times at most; the children end after 10 seconds or when they are killed.
const FORK: &str = r#"
import errno, json, os, signal, time
children, refused = [], None
for attempt in range(200):
    try:
        pid = os.fork()
    except OSError as e:
        refused = errno.errorcode[e.errno]
        break
    if pid == 0:
        time.sleep(10)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
print(json.dumps({"children": len(children), "refused": refused}))
"#;

#[test]
fn d01_a_fork_too_many_is_eagain() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    let run = sandbox.python(FORK);
    assert_eq!(run["refused"], "EAGAIN", "{run}");
    let children = run["children"].as_u64().expect("a number");
    // The shell, Python, and the agent's share of 32, of which it uses two or three.
    assert!((20..=64).contains(&children), "{run}");
    assert_eq!(sandbox.exec("echo room again").stdout, "room again\n");
}

#[test]
fn d01_a_thread_too_many_is_refused() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    let program = r#"
import json, threading, time
started, stop = 0, threading.Event()
for attempt in range(200):
    try:
        threading.Thread(target=stop.wait, args=(10,)).start()
        started += 1
    except RuntimeError:
        break
stop.set()
print(json.dumps(started))
"#;
    let started = sandbox.python(program).as_u64().expect("a number");
    assert!((20..=64).contains(&started), "{started}");
}

/// A full sandbox says that it is full, and whatever filled it can be ended from outside.
#[test]
fn d01_a_full_sandbox_says_so_and_can_be_deleted() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    // Eighty at most, for twenty seconds at most.
    let fill = "for i in $(seq 80); do sleep 20 & done 2>/dev/null; wait";
    std::thread::scope(|scope| {
        let filler = scope.spawn(|| sandbox.post_exec(&json!({"command": fill, "timeout": 25})));
        let message = eventually("a command is refused for want of processes", || {
            let answer = sandbox.post_exec(&json!({"command": "true"}));
            if answer.status == 200 {
                return Err(answer.text());
            }
            Ok((answer.status, answer.error(answer.status)))
        });
        assert!(matches!(message.0, 409 | 429 | 503), "{message:?}");
        assert!(message.1.contains("process"), "{message:?}");
        sandbox.delete();
        let _answer = filler.join().expect("an answer");
    });
}

#[test]
fn d12_open_files_end_at_their_limit() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    let program = r#"
import errno, json, os, resource
opened = []
try:
    while len(opened) < 5000:
        opened.append(os.open("/dev/null", os.O_RDONLY))
except OSError as e:
    refused = errno.errorcode[e.errno]
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    raised = "ok"
except (ValueError, OSError) as e:
    raised = "refused"
print(json.dumps([len(opened), refused, raised]))
"#;
    assert_eq!(sandbox.python(program), json!([125, "EMFILE", "refused"]), "128 with the standard streams");
}
