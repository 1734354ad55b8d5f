//! `[images.NAME]` of the configuration: what the operator says of an image holds for its sandboxes, and for no others.

use bulkhead_tests::{Options, Sandbox, Server};
use serde_json::json;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A directory that may be shown: not below /tmp of a sandbox's own, readable for everybody.
fn shown() -> TempDir {
    let made =
        tempfile::Builder::new().prefix("bulkhead-shown-").tempdir_in("/srv").expect("a directory in /srv");
    fs::write(made.path().join("model"), "weights").expect("a file");
    open_to_all(made.path());
    made
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("chmod");
}

/// A server with these settings of the image `code`.
fn configured(directory: &TempDir, settings: &str) -> Server {
    let file = directory.path().join("bulkhead.toml");
    fs::write(&file, format!("[images.code]\n{settings}\n")).expect("a configuration");
    Server::start_with(&Options {
        args: vec!["--config".into(), file.to_str().expect("text").into()],
        ..Options::default()
    })
}

fn holds(server: &Server, sandbox: &Sandbox<'_>) {
    let report = server.client().get(&sandbox.path("/isolation")).expect(200).data();
    assert_eq!(report["holds"], true, "{report}");
}

#[test]
fn a_directory_of_the_host_is_there_and_cannot_be_changed() {
    let (directory, config) = (shown(), tempfile::tempdir().unwrap());
    let path = directory.path().display();
    let server = configured(&config, &format!("mounts = {{ '/srv/deep/models' = '{path}' }}"));
    let sandbox = server.create();
    assert_eq!(sandbox.exec("cat /srv/deep/models/model").ok().stdout, "weights");
    for attempt in [
        "echo x > /srv/deep/models/new",
        "echo x > /srv/deep/models/model",
        "rm -f /srv/deep/models/model",
        "touch /srv/deep/models/model",
        "chmod 777 /srv/deep/models/model",
        "mount -o remount,rw /srv/deep/models",
        "umount /srv/deep/models",
        "mv /srv/deep/models /srv/deep/other",
    ] {
        assert_ne!(sandbox.exec(attempt).code, 0, "{attempt}");
    }
    assert_eq!(fs::read_to_string(directory.path().join("model")).unwrap(), "weights");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    let row = sandbox.exec("grep ' /srv/deep/models ' /proc/self/mountinfo").ok().stdout;
    assert!(row.contains(" ro,nosuid,nodev"), "{row}");
    assert!(!row.contains(&path.to_string()), "{row}");
    assert_eq!(sandbox.exec("stat -c %U /srv/deep/models/model").ok().stdout, "nobody\n");
    // A file that appears later is there as well: it is the directory, not a copy.
    fs::write(directory.path().join("later"), "1").unwrap();
    assert_eq!(sandbox.exec("cat /srv/deep/models/later").ok().stdout, "1");
    holds(&server, &sandbox);
    let spec = server.command(&["spec", "--sandbox", sandbox.id()]);
    assert!(String::from_utf8_lossy(&spec.stdout).contains(&path.to_string()), "{spec:?}");

    drop(sandbox.post("/sleep", &json!({})).expect(200));
    assert_eq!(sandbox.exec("cat /srv/deep/models/model").ok().stdout, "weights", "after a sleep");
}

/// Where a tenant has put a link on the way, nothing is made behind it and nothing is mounted.
#[test]
fn a_link_on_the_way_leads_nowhere() {
    let (directory, config) = (shown(), tempfile::tempdir().unwrap());
    let trap = shown();
    let path = directory.path().display();
    let server = configured(&config, &format!("mounts = {{ '/shown/deep/models' = '{path}' }}"));
    let sandbox = server.create();
    let link = format!("mv /shown /elsewhere && ln -s {} /shown", trap.path().display());
    drop(sandbox.exec(&link).ok());
    drop(sandbox.post("/sleep", &json!({})).expect(200));
    let woken = sandbox.post("/wake", &json!({}));
    assert_ne!(woken.status, 200, "{}", woken.text());
    let names: Vec<_> = fs::read_dir(trap.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["model"], "nothing was made where the link leads");
    let told = server.log();
    assert!(told.contains("/shown/deep/models") && told.contains("check images.NAME.mounts"), "{told}");
}

#[test]
fn variables_are_there_and_a_tenant_may_say_otherwise() {
    let config = tempfile::tempdir().unwrap();
    let server = configured(&config, "env = { MODELS = '/srv/models', MODE = 'operator' }");
    let sandbox = server.create();
    assert_eq!(sandbox.exec("echo $MODELS $MODE").ok().stdout, "/srv/models operator\n");
    let other = server.create_with(json!({"envVars": {"MODE": "tenant"}}));
    assert_eq!(other.exec("echo $MODELS $MODE").ok().stdout, "/srv/models tenant\n");
}

#[test]
fn what_is_denied_is_refused_to_everything_that_a_tenant_runs() {
    let config = tempfile::tempdir().unwrap();
    let try_it = "python3 -c 'import os; os.mkdir(\"/root/x\")' 2>&1; python3 -c 'import socket; socket.socket()' 2>&1";
    let without = Server::start();
    let plain = without.create().exec(try_it).stdout;
    assert_eq!(plain, "", "both are allowed where nobody denies them");
    let server = configured(&config, "deny = ['mkdir', 'mkdirat', 'socket']");
    let sandbox = server.create();
    let refused = sandbox.exec(try_it).stdout;
    assert_eq!(refused.matches("PermissionError: [Errno 1]").count(), 2, "{refused}");
    // Everything else works, the agent's own sockets too.
    assert_eq!(sandbox.exec("echo works").ok().stdout, "works\n");
    holds(&server, &sandbox);
}

#[test]
fn nobody_gets_more_than_the_most() {
    let config = tempfile::tempdir().unwrap();
    let server = configured(&config, "limits = { memory-mib = 96, cpus = 0.5, pids = 40, disk-mib = 32 }");
    let sandbox = server.create_with(json!({"cpu": 2, "mem": 2048}));
    let object = sandbox.object();
    let limits = &object["limits"];
    assert_eq!(
        (&limits["memoryMiB"], &limits["cpus"], &limits["pids"], &limits["diskMiB"]),
        (&json!(96), &json!(0.5), &json!(40), &json!(32)),
        "{object:?}"
    );
    assert_eq!(sandbox.exec("cat /sys/fs/cgroup/memory.max").ok().stdout, format!("{}\n", 96 << 20));
    assert_eq!(sandbox.exec("cat /sys/fs/cgroup/pids.max").ok().stdout, "40\n");
    assert_ne!(sandbox.exec("head -c 48M /dev/zero > /root/big").code, 0, "the disk is bounded");
    holds(&server, &sandbox);
    let less = server.create_with(json!({"limits": {"pids": 20}}));
    assert_eq!(less.object()["limits"]["pids"], 20, "who asks for less gets less");
}

#[test]
fn everything_that_is_wrong_is_told_with_its_line() {
    let config = tempfile::tempdir().unwrap();
    let file = config.path().join("bad.toml");
    fs::write(
        &file,
        "[images.code]\nmounts = { '/m' = '/etc' }\ndeny = ['nothing']\nlimits = { pids = 1 }\n",
    )
    .unwrap();
    let output = std::process::Command::new(bulkhead_tests::programs::program("bulkhead"))
        .args(["config", "check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8_lossy(&output.stderr);
    for line in [
        "bad.toml:2: images.code.mounts",
        "bad.toml:3: images.code.deny",
        "bad.toml:4: images.code.limits.pids",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}
