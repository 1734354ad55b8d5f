//! Orderly ends: sandboxes stay unless `--on-stop destroy` says otherwise; `purge` removes everything.

use crate::{assert_all_there, crowd, delete_all, ids};
use bulkhead_tests::{Options, Server, host};
use serde_json::json;

#[test]
fn sigterm_keeps_sandboxes_and_the_next_start_adopts_them() {
    let mut server = Server::start();
    let ids = ids(&crowd(&server));
    let agents: Vec<i32> =
        ids.iter().map(|id| bulkhead_tests::Sandbox::of(&server, id).agent().pid).collect();
    server.stop();
    let still = host::processes().into_iter().filter(|p| agents.contains(&p.pid) && p.state != 'Z').count();
    assert_eq!(still, agents.len(), "agents ended with the server");
    server.start_again();
    assert_all_there(&ids, &server);
    delete_all(&ids, &server);
}

#[test]
fn on_stop_destroy_destroys() {
    let mut server = Server::start_with(&Options {
        args: ["--on-stop", "destroy"].map(str::to_owned).to_vec(),
        ..Options::default()
    });
    let ids: Vec<String> = (0..5).map(|_| server.create().id().to_owned()).collect();
    server.stop();
    server.assert_no_sandbox_left();
    server.start_again();
    for id in ids {
        let answer = server.client().get(&format!("/sandboxes/{id}"));
        let gone = answer.status == 404 || answer.data()["status"] == "killed";
        assert!(gone, "{}", answer.text());
    }
}

#[test]
fn purge_removes_running_sandboxes() {
    let mut server = Server::start();
    let sandboxes = [server.create(), server.create(), server.create()];
    for sandbox in &sandboxes {
        let _run =
            sandbox.exec("(setsid sleep 600 >/dev/null 2>&1 &); head -c 1M /dev/zero > /root/file").ok();
    }
    drop(sandboxes);
    let refused = server.command(&["purge"]);
    assert!(!refused.status.success(), "purge removed what a running server owns");
    server.purge();
    server.start_again();
    let list = server.client().send("GET", "/healthz", &[], None);
    assert_eq!(list.status, 200);
}

#[test]
fn a_second_server_on_the_same_directories_is_refused() {
    let server = Server::start();
    let sandbox = server.create();
    let mut second = std::process::Command::new("timeout");
    second.args(["30"]).arg(bulkhead_tests::programs::program("bulkhead"));
    second.args(["serve", "--listen", "127.0.0.1:0"]).arg("--state-dir").arg(&server.instance().state);
    second.arg("--run-dir").arg(&server.instance().run);
    let output = second.output().expect("timeout of coreutils starts");
    assert!(!output.status.success(), "two servers share one state");
    assert_ne!(output.status.code(), Some(124), "it waited for ever: {output:?}");
    assert_eq!(sandbox.exec("echo unharmed").stdout, "unharmed\n");
}

/// A command of the operator finds the server again after it was restarted.
#[test]
fn commands_of_the_operator_work_after_a_restart() {
    let mut server = Server::start();
    assert!(server.command(&["org", "create", "kept"]).status.success());
    server.kill_serve();
    server.start_again();
    let output = server.command(&["key", "create", "--org", "kept"]);
    assert!(output.status.success(), "{output:?}");
    let key = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(server.client().with_key(&key).get("/sandboxes").data(), json!([]));
}
