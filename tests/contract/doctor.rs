//! `bulkhead doctor`, and that every start goes through the same list.

use bulkhead_tests::Server;
use bulkhead_tests::programs::program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

/// `EX_CONFIG` of sysexits(3).
const REFUSED: i32 = 78;

fn bulkhead(args: &[&str], state: &Path, path: &str) -> Output {
    let mut command = Command::new(program("bulkhead"));
    command.args(args).arg("--state-dir").arg(state).env("PATH", path);
    command.output().expect("bulkhead starts")
}

fn rows(output: &Output) -> BTreeMap<String, Value> {
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let named = |row: &Value| (row["what"].as_str().expect("what").to_owned(), row.clone());
    rows.as_array().expect("rows").iter().map(named).collect()
}

#[test]
fn a_host_that_serves_lacks_nothing() {
    let server = Server::start();
    let text = server.command(&["doctor"]);
    assert_eq!(text.status.code(), Some(0), "{text:?}");
    let lines = String::from_utf8(text.stdout).expect("text");
    assert!(
        lines
            .lines()
            .all(|line| line.starts_with("ok ") || line.starts_with("warning ") || line.contains(" to do: ")),
        "{lines}"
    );
    let json = server.command(&["doctor", "--json"]);
    assert_eq!(json.status.code(), Some(0), "{json:?}");
    let rows = rows(&json);
    for what in
        ["kernel", "user namespaces", "seccomp filters", "cgroups", "ids", "directories", "btrfs file system"]
    {
        assert_eq!(rows[what]["state"], "ok", "{what}");
    }
    for row in rows.values() {
        assert_eq!(
            row["state"] == "ok",
            row.get("remedy").is_none(),
            "what to do stands where something is: {row}"
        );
    }
    assert_eq!(rows["mkfs.btrfs"]["found"], "not needed: the volume of disks exists");
}

#[test]
fn what_is_missing_is_said_and_no_server_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    let (state, run) = (dir.path().join("state"), dir.path().join("run"));
    let fine = bulkhead(&["doctor", "--json"], &state, &std::env::var("PATH").expect("PATH"));
    assert_eq!(fine.status.code(), Some(0), "{fine:?}");
    let doctor = bulkhead(&["doctor", "--json"], &state, "/nowhere");
    assert_eq!(doctor.status.code(), Some(REFUSED), "{doctor:?}");
    let row = &rows(&doctor)["mkfs.btrfs"];
    assert_eq!(
        (&row["state"], &row["remedy"]),
        (&Value::from("missing"), &Value::from("apt-get install btrfs-progs"))
    );
    let run = run.to_string_lossy().into_owned();
    let serve = bulkhead(&["serve", "--listen", "127.0.0.1:1", "--run-dir", &run], &state, "/nowhere");
    assert_eq!(serve.status.code(), Some(REFUSED), "{serve:?}");
    assert!(String::from_utf8_lossy(&serve.stderr).contains("mkfs.btrfs: not found"), "{serve:?}");
    assert!(!state.exists(), "a refused start makes nothing");
}

#[test]
fn a_directory_of_somebody_else_is_missing_and_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("state");
    std::fs::create_dir(&state).expect("own directory");
    std::os::unix::fs::chown(&state, Some(12345), None).expect("root may");
    let path = std::env::var("PATH").expect("PATH");
    let doctor = bulkhead(&["doctor"], &state, &path);
    assert_eq!(doctor.status.code(), Some(REFUSED), "{doctor:?}");
    let run = dir.path().join("run").to_string_lossy().into_owned();
    let serve = bulkhead(&["serve", "--listen", "127.0.0.1:1", "--run-dir", &run], &state, &path);
    assert_eq!(serve.status.code(), Some(REFUSED), "{serve:?}");
    for output in [doctor, serve] {
        let said = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&said).contains("belongs to somebody else"));
    }
}
