//! H14: schemathesis makes requests of every kind from the served OpenAPI document, good ones and bad ones.

use bulkhead_tests::python::schemathesis;
use bulkhead_tests::{Client, Sandbox, Server, programs};
use serde_json::json;
use std::process::Command;
use std::time::Duration;

/// Time of a run, everyday and in the long form.
const TIME: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(300)];
/// Requests per route and phase, which the time may cut short.
const EXAMPLES: [&str; 2] = ["20", "2000"];

/// What an answer is held against. Left out: whether data of the right shape is accepted (an image must exist,
/// a user must be known), and whether what is not declared is refused (unknown fields are ignored).
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
response_headers_conformance,response_schema_conformance,unsupported_method,ignored_auth,nothing_for_a_stranger";

fn fuzz(client: &Client, sandbox: &Sandbox<'_>, more: &[&str], environment: &[(&str, &str)]) {
    let long = usize::from(std::env::var_os("BULKHEAD_TEST_LONG").is_some());
    let (live, ended) = (sandbox.run_with("exec cat", json!({"stdin": true})), sandbox.run("true"));
    assert_eq!(sandbox.wait(ended), 0);
    let session = sandbox.session(&json!({}));
    // It leaves caches where it runs.
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new(schemathesis())
        .args(["run", "--no-color", "--generation-database", "none", "--continue-on-failure", "--no-shrink"])
        .args(["--checks", CHECKS, "--max-examples", EXAMPLES[long], "--request-timeout", "20"])
        .args(["--max-time", &TIME[long].as_secs().to_string(), "--suppress-health-check", "all"])
        .args(["--warnings", "off", "--header", &format!("X-API-Key: {}", client.key())])
        .args(more)
        .arg(format!("http://{}/api/openapi.json", client.address()))
        .env("SCHEMATHESIS_HOOKS", programs::repository().join("tests/src/python/schemathesis_hooks.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "*")
        .env("FUZZ_SANDBOX", sandbox.id())
        .env("FUZZ_PID", live.to_string())
        .env("FUZZ_ENDED_PID", ended.to_string())
        .env("FUZZ_SESSION", session)
        .envs(environment.iter().copied())
        .current_dir(dir.path())
        .output()
        .expect("schemathesis of the virtual environment starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}

/// What ends the sandbox or the key under test is left out, or nothing else would be reached; and events, which have no
/// end.
#[test]
fn h14_no_request_of_the_schema_breaks_a_promise() {
    let server = Server::start();
    let sandbox = server.create();
    let ends = ["deleteSandbox", "revokeApiKey", "activateApiKey", "followEvents"];
    let ends: Vec<_> = ends.iter().flat_map(|operation| ["--exclude-operation-id", operation]).collect();
    fuzz(server.client(), &sandbox, &ends, &[]);
    assert_eq!(sandbox.exec("echo still here").stdout, "still here\n");
}

#[test]
fn h14_no_request_of_a_stranger_gets_to_a_sandbox() {
    let server = Server::start();
    let sandbox = server.create();
    let stranger = crate::organisations::tenant(&server, "other");
    let before = sandbox.object();
    fuzz(&stranger, &sandbox, &["--include-path-regex", "\\{id\\}"], &[("FUZZ_STRANGER", "1")]);
    assert_eq!(sandbox.object(), before);
    assert_eq!(sandbox.exec("echo still here").stdout, "still here\n");
}
