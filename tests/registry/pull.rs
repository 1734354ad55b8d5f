//! From a registry, a file or a recipe to a sandbox, by the operator's commands.

use bulkhead_tests::Server;
use bulkhead_tests::registry::Registry;
use serde_json::{Value, json};

fn operator(server: &Server, args: &[&str]) -> String {
    let output = server.command(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn what_was_pulled_runs_and_is_removed() {
    let (registry, server) = (Registry::start(), Server::start());
    let reference = registry.push("team/app:1", 3 << 20);
    let pulled = operator(&server, &["image", "pull", &reference]);
    assert!(pulled.starts_with("team/app:1\thost\tsha256:"), "{pulled}");
    let left: Vec<_> = std::fs::read_dir(server.instance().state.join("fetch")).expect("fetch").collect();
    assert!(left.is_empty(), "{left:?}");
    let listed: Value = serde_json::from_str(&operator(&server, &["image", "list", "--json"])).expect("JSON");
    assert!(listed.as_array().expect("rows").iter().any(|row| row["name"] == "team/app:1"), "{listed}");
    let details: Value =
        serde_json::from_str(&operator(&server, &["image", "inspect", "team/app:1"])).expect("JSON");
    assert_eq!(details["diff_ids"].as_array().map(Vec::len), Some(2), "{details}");
    let sandbox = server.create_with(json!({"image": "team/app:1"}));
    let out = sandbox.exec("wc -c </more; busybox | head -n 1").stdout;
    assert!(out.starts_with("3145728\nBusyBox"), "{out}");
    operator(&server, &["image", "rm", "team/app:1"]);
    assert_eq!(sandbox.exec("echo still here").stdout, "still here\n");
    assert!(!server.command(&["image", "inspect", "team/app:1"]).status.success());
    let _collected = operator(&server, &["image", "gc"]);
}

#[test]
fn a_recipe_gives_an_image_and_an_upload_another() {
    let server = Server::start();
    let built = operator(&server, &["image", "build", "minimal"]);
    assert!(built.starts_with("minimal:latest\thost\tsha256:"), "{built}");
    assert_eq!(server.create_with(json!({"image": "minimal"})).exec("id -u").stdout, "0\n");
    let image = server.client().get("/images/name/minimal").expect(200).json();
    assert_eq!((&image["system"], &image["sizeGB"]), (&json!(true), &json!(1)));
}

#[test]
fn without_a_server_the_commands_say_so() {
    let mut server = Server::start();
    server.stop();
    let output = server.command(&["image", "list"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    server.start_again();
}
