//! The unmodified Python SDK against the real server, by the programs beside this file.

mod execution;
mod image;

use bulkhead_tests::python::sdk_python;
use bulkhead_tests::residue::host_wide;
use bulkhead_tests::{Server, eventually, programs};
use std::process::Command;

fn run_sdk(server: &Server, program: &str, args: &[&str]) {
    let path = programs::repository().join("tests/sdk").join(program);
    let output = Command::new(sdk_python())
        .arg(path)
        .args(args)
        .env("VR_API_URL", format!("http://{}/api", server.address()))
        .env("VR_API_KEY", server.client().key())
        .env("NO_PROXY", "*")
        .output()
        .expect("python of the virtual environment starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program}: {}\n{out}\n{err}", output.status);
    println!("{out}");
}

#[test]
fn create_exec_get_list_remove() {
    let server = Server::start();
    run_sdk(&server, "basics.py", &[]);
}

#[test]
fn errors_are_the_sdks_exceptions() {
    let server = Server::start();
    run_sdk(&server, "errors.py", &[]);
}

#[test]
fn organisations_users_and_keys() {
    let server = Server::start();
    run_sdk(&server, "organisations.py", &[]);
}

/// The bar of the first step: two hundred times create, exec, remove, and nothing is left of any of them.
#[test]
fn two_hundred_rounds_leave_nothing() {
    let server = Server::start();
    run_sdk(&server, "rounds.py", &["5"]);
    server.assert_no_sandbox_left();
    let before = host_wide();
    run_sdk(&server, "rounds.py", &["200"]);
    server.assert_no_sandbox_left();
    eventually("the host has what it had before", || {
        let after = host_wide();
        let more: Vec<_> = after.iter().filter(|(what, count)| before[*what] < **count).collect();
        if more.is_empty() { Ok(()) } else { Err(format!("{more:?}, before {before:?}")) }
    });
}
