//! Sleep and wake: files stay, processes end, and whoever listened is told so.

use crate::{becomes, status, step};
use bulkhead_tests::{Server, eventually, host};
use serde_json::json;
use std::time::Duration;

#[test]
fn files_limits_labels_and_ids_outlive_a_sleep_and_processes_do_not() {
    let mut server = Server::start();
    let more =
        json!({"labels": {"a": "b"}, "envVars": {"WHO": "me"}, "limits": {"memoryMiB": 128, "pids": 40}});
    let sandbox = server.create_with(more);
    let id = sandbox.id().to_owned();
    let before = sandbox.object();
    drop(sandbox.exec("echo mine > /root/mine; mkdir -p /opt/x").ok());
    let pid = sandbox.run("sleep 1000");
    step(&sandbox, "sleep");
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
    let mut asleep = sandbox.object();
    assert_eq!(asleep.insert("status".to_owned(), json!("running")), Some(json!("snapshotted")));
    assert_eq!(asleep, before, "nothing but the status differs");
    step(&sandbox, "wake");
    assert_eq!(sandbox.object(), before);
    let look = "cat /root/mine; ls -d /opt/x; echo $WHO";
    assert_eq!(sandbox.exec(look).stdout, "mine\n/opt/x\nme\n");
    assert_eq!(sandbox.exec("ps -e -o comm= | grep -c '^sleep'").line(), "0");
    assert_eq!(sandbox.post("/commands/wait", &json!({"pid": pid})).status, 404, "an old handle is none");
    let again = sandbox.run("sleep 1000");
    assert!(again > pid, "handles are never used again");
    // Also over a restart of everything, asleep.
    step(&sandbox, "stop");
    drop(sandbox);
    server.kill_everything();
    server.start_again();
    let sandbox = bulkhead_tests::Sandbox::of(&server, &id);
    assert_eq!(status(&sandbox), "snapshotted");
    assert_eq!(sandbox.exec("cat /root/mine").line(), "mine");
    assert_eq!(status(&sandbox), "running");
}

#[test]
fn who_listens_is_told_of_the_sleep() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("echo so far; sleep 1000");
    let mut terminal = sandbox.ephemeral();
    terminal.prompt();
    std::thread::scope(|scope| {
        let exec = scope.spawn(|| sandbox.exec_with("echo so far; sleep 1000", json!({"timeout": 100})));
        let wait = scope.spawn(|| sandbox.post("/commands/wait", &json!({"pid": pid})).expect(200).json());
        let stream = sandbox.stream("echo so far; sleep 1000");
        eventually("all three run", || match sandbox.processes() {
            all if all.iter().filter(|p| p.command.contains("sleep 1000")).count() >= 3 => Ok(()),
            all => Err(format!("{all:?}")),
        });
        std::thread::sleep(Duration::from_millis(300));
        step(&sandbox, "sleep");
        let run = exec.join().expect("the client");
        assert_eq!((run.stdout.as_str(), run.kind.as_str(), run.code), ("so far\n", "sleep", 137));
        assert_eq!(wait.join().expect("the client")["end"]["kind"], "sleep");
        let streamed = stream.collect();
        assert_eq!((streamed.stdout.as_str(), &streamed.exit["end"]["kind"]), ("so far\n", &json!("sleep")));
        let end = format!("{:?}", terminal.end(Duration::from_secs(10)));
        assert!(end.contains("put to sleep"), "{end}");
    });
    assert_eq!(status(&sandbox), "snapshotted");
}

#[test]
fn a_dead_one_starts_on_its_disk_and_only_on_request() {
    let server = Server::start();
    let sandbox = server.create();
    drop(sandbox.exec("echo mine > /root/mine").ok());
    host::kill9(sandbox.agent().pid);
    becomes(&sandbox, "killed");
    for rest in ["/wake", "/sleep", "/freeze"] {
        let answer = sandbox.post(rest, &json!({}));
        assert!(answer.error(409).contains("start"), "{}", answer.text());
    }
    assert!(sandbox.post_exec(&json!({"command": "true"})).error(409).contains("start"));
    step(&sandbox, "start");
    assert_eq!(sandbox.exec("cat /root/mine").line(), "mine");
}

#[test]
fn a_delete_takes_one_that_sleeps() {
    let server = Server::start();
    let sandbox = server.create();
    step(&sandbox, "pause");
    sandbox.delete();
    server.assert_no_sandbox_left();
}

/// What a tenant filled can be started again, is as bounded as before, and can be emptied.
#[test]
fn a_full_disk_wakes_and_is_bounded_as_before() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"limits": {"diskMiB": 64}}));
    let fill = "for size in 1M 4k 1; do i=0; while head -c $size /dev/zero > /root/$size.$i; do i=$((i+1)); done; \
                done 2>/dev/null; sync; echo x > /root/more";
    assert!(sandbox.exec(fill).stderr.contains("quota"), "the disk is not full");
    for _ in 0..3 {
        step(&sandbox, "sleep");
        step(&sandbox, "wake");
        let run = sandbox.exec("head -c 8M /dev/zero > /root/again");
        assert!(run.code != 0 && run.stderr.contains("quota"), "{run:?}");
    }
    assert_eq!(sandbox.exec("rm /root/1M.* && head -c 8M /dev/zero > /root/again").code, 0);
}
