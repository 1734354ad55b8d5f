//! A host that mounts no v2 tree: the runtime has one of its own, for membership and kill; or says what is missing.

use bulkhead_tests::{Options, Server, programs::program};
use std::process::Command;

/// Starts a program in a mount namespace without a v2 tree.
const WITHOUT_V2: [&str; 6] = ["unshare", "--mount", "sh", "-c", "umount -a -t cgroup2 && exec \"$@\"", "sh"];

fn has_v1_limits() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("a mount table");
    mounts.lines().any(|line| line.contains(" cgroup ") && line.contains("memory"))
}

#[test]
fn without_a_v2_tree_the_runtime_mounts_its_own_or_refuses() {
    if !has_v1_limits() {
        // Limits have no place at all then.
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(WITHOUT_V2[0]);
        command.args(&WITHOUT_V2[1..]).arg(program("bulkhead")).args(["doctor", "--state-dir"]);
        let output = command.arg(dir.path()).output().expect("unshare of util-linux starts");
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("missing  cgroups"), "{output:?}");
        return;
    }
    let wrapper = WITHOUT_V2.map(str::to_owned).to_vec();
    let server = Server::start_with(&Options { wrapper, ..Options::default() });
    let sandbox = server.create();
    let report = sandbox.client().get(&sandbox.path("/isolation")).expect(200).data();
    assert_eq!(report["holds"], true, "{report}");
    let run = sandbox.exec_with("(setsid sleep 600 &); sleep 600", serde_json::json!({"timeout": 1}));
    assert_eq!(run.kind, "timeout", "{}", run.data);
    assert!(
        sandbox.processes().iter().all(|process| !process.command.contains("sleep")),
        "a kill missed one"
    );
    server.kill_half("runtime");
    assert_eq!(sandbox.exec("echo adopted").stdout, "adopted\n");
    sandbox.delete();
    assert!(sandbox.processes().is_empty());
}
