//! The seam of the negative controls is not in the programs that are shipped, and refuses what it does not know.

use crate::{assert_all, outcome};
use bulkhead_tests::programs::{program, weakened_programs};
use bulkhead_tests::weakened::{WEAKEN_ENV, names};
use bulkhead_tests::{Options, Server, Switch};
use std::path::Path;
use std::process::Command;

/// The status of a program that cannot work as it was started.
const REFUSED: i32 = 78;

fn holds(program: &Path, word: &str) -> bool {
    let found = Command::new("grep").args(["-q", "-a", "-F", "-e", word]).arg(program).status();
    found.expect("grep starts").success()
}

#[test]
fn shipped_programs_know_no_switch_and_no_failpoint() {
    let seams = [WEAKEN_ENV, bulkhead_failpoint::POINT_ENV];
    let words = Switch::ALL.map(Switch::name).into_iter().chain(seams);
    for word in words {
        for name in ["bulkhead", "bulkhead-agent"] {
            assert!(!holds(&program(name), word), "{name} holds {word}");
        }
        // Else the first half would prove nothing.
        assert!(
            holds(&weakened_programs().join("bulkhead"), word),
            "the weakened program does not hold {word}"
        );
    }
}

#[test]
fn shipped_programs_ignore_the_variable() {
    let server = Server::start_with(&Options {
        environment: vec![(WEAKEN_ENV.to_owned(), names(&Switch::ALL))],
        ..Options::default()
    });
    let sandbox = server.create();
    let results = outcome(
        &sandbox,
        r#"
status = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines() if ":\t" in line)
print(json.dumps({
    "unshare": call("unshare", 0x10000000), "keyctl": call("keyctl", 0, -3, 0),
    "a setting": "EPERM" if open_for_write("/proc/sys/kernel/shmmax") == "EROFS" else "open",
    "capabilities": "EPERM" if int(status["CapEff"], 16) == 0x800404db else status["CapEff"],
    "no new privileges": "EPERM" if status["NoNewPrivs"] == "1" else "open",
}))"#,
    );
    assert_all(&results, &["EPERM"]);
}

#[test]
fn a_weakened_runtime_refuses_what_it_does_not_know() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(weakened_programs().join("bulkhead"));
    command.arg("runtime").env(WEAKEN_ENV, "command-filter,comand-filter");
    command.arg("--state-dir").arg(dir.path().join("state")).arg("--run-dir").arg(dir.path().join("run"));
    let output = command.output().expect("it starts");
    assert_eq!(output.status.code(), Some(REFUSED), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("comand-filter"), "{output:?}");
    assert!(!dir.path().join("state").exists(), "it made something before it refused");
}
