//! The shipped image `code`, made by its recipe, under the interpreter of the SDK.

use crate::run_sdk;
use bulkhead_tests::{Server, eventually};
use serde_json::json;

/// What clients of the contract find in it.
const PROGRAMS: [&str; 18] = [
    "bash",
    "ls",
    "ps",
    "ip",
    "tar",
    "gzip",
    "bzip2",
    "xz",
    "zip",
    "unzip",
    "git",
    "curl",
    "python3",
    "pip",
    "node",
    "npm",
    "tsx",
    "sha256sum",
];

/// Takes minutes and the network: the long form alone. Afterwards `code` means what was built.
#[test]
fn the_built_image_code_runs_the_code_of_the_sdk() {
    if std::env::var_os("BULKHEAD_TEST_LONG").is_none() {
        return;
    }
    let mut server = Server::start();
    let says = |server: &Server, what: &str| {
        eventually("serve says which image code is", || {
            let log = server.log();
            if log.contains(what) { Ok(()) } else { Err(log) }
        });
    };
    says(&server, "image code: this host's own /usr");
    let built = server.command(&["image", "build", "code"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let list = server.command(&["image", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let id = list[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(list[0]["name"], "code:latest");

    run_sdk(&server, "run_code.py", &[]);
    run_sdk(&server, "typescript.py", &[]);
    let sandbox = server.create_with(json!({"image": "code"}));
    for program in PROGRAMS {
        assert_eq!(sandbox.exec(&format!("command -v {program}")).code, 0, "{program}");
    }
    let made = sandbox.exec("python3 -m venv --without-pip /tmp/v && /tmp/v/bin/python -c 'print(6*7)'");
    assert_eq!(made.ok().stdout, "42\n");
    assert!(sandbox.exec("cat /etc/debian_version").stdout.starts_with("12."), "the suite is pinned");
    let report = server.client().get(&sandbox.path("/isolation")).data();
    assert_eq!(report["holds"], true, "{report}");
    drop(sandbox);

    server.stop();
    server.start_again();
    says(&server, &format!("image code: {id}"));
}
