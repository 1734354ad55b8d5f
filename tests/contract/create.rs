//! `POST /sandboxes` that succeeds: every field of the answer, every default.

use crate::{create_body, try_create};
use bulkhead_protocol::SandboxId;
use bulkhead_tests::{Server, eventually};
use serde_json::{Map, Value, json};

fn created(server: &Server, body: &Value) -> Map<String, Value> {
    let answer = server.client().post("/sandboxes", body).expect(201);
    answer.data().as_object().expect("data is an object").clone()
}

/// Types as the strict client wants them.
fn assert_shape(object: &Map<String, Value>) {
    SandboxId::parse(object["id"].as_str().expect("id is text")).expect("id is one of ours");
    for field in ["name", "image", "createdAt", "createdBy", "orgId", "status"] {
        assert!(object[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {object:?}");
    }
    for field in ["cpu", "mem"] {
        assert!(object[field].as_i64().is_some_and(|n| n > 0), "{field} in {object:?}");
    }
    assert_eq!(object["status"], "running");
    assert!(object.get("nodeId").is_none_or(|id| id == ""), "nodeId redirects a client: {object:?}");
    for (field, is_right) in [
        ("diskMB", Value::is_i64 as fn(&Value) -> bool),
        ("autoSleep", Value::is_boolean),
        ("region", Value::is_string),
        ("publishPorts", Value::is_array),
        ("ports", Value::is_array),
        ("labels", Value::is_object),
    ] {
        assert!(object.get(field).is_none_or(|v| v.is_null() || is_right(v)), "{field} in {object:?}");
    }
    let created = object["createdAt"].as_str().expect("checked above");
    let bytes = created.as_bytes();
    let is_rfc3339 = bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':';
    assert!(is_rfc3339, "createdAt {created}");
}

#[test]
fn a_name_is_enough() {
    let server = Server::start();
    let object = created(&server, &json!({"name": "only-a-name"}));
    assert_shape(&object);
    assert_eq!(
        (&object["name"], &object["cpu"], &object["mem"]),
        (&json!("only-a-name"), &json!(1), &json!(1024))
    );
    let image = object["image"].as_str().expect("checked");
    assert!(image.starts_with("code:"), "image is echoed as name:tag, not {image}");
}

#[test]
fn every_field_is_echoed_and_get_answers_the_same() {
    let server = Server::start();
    let label = "é".repeat(20);
    let body = json!({
        "name": "all.fields-2", "image": "code", "cpu": 2, "mem": 2048, "orgId": "", "userId": "", "sync": true,
        "envVars": {"GREETING": "good morning"}, "autoSleep": false, "region": "north",
        "labels": {"team": "blue", "a": "", "k-20_characters_long": label},
        "publishPorts": [8080, 3000], "templateId": "ignored", "refId": 7, "unknown": {"deep": [1]},
    });
    let object = created(&server, &body);
    assert_shape(&object);
    for field in ["name", "cpu", "mem", "autoSleep", "region", "labels", "publishPorts"] {
        assert_eq!(object[field], body[field], "{field}");
    }
    assert_eq!(
        object["ports"],
        json!([{"protocol": "http", "port": 8080}, {"protocol": "http", "port": 3000}])
    );
    assert!(
        !Value::from(object.clone()).to_string().contains("good morning"),
        "values of envVars may be secrets"
    );
    let id = object["id"].as_str().expect("checked");
    assert_eq!(bulkhead_tests::Sandbox::of(&server, id).object(), object);
}

#[test]
fn the_other_form_of_ports_is_taken_too() {
    let server = Server::start();
    let ports = json!([{"protocol": "tcp", "port": 1}, {"protocol": "http", "port": 65535}]);
    let object = created(&server, &create_body(&json!({"ports": ports})));
    assert_eq!((&object["ports"], &object["publishPorts"]), (&ports, &json!([1, 65535])));
    let both = json!({"ports": [{"protocol": "http", "port": 80}], "publishPorts": [80]});
    let _data = try_create(server.client(), &both).expect(201).data();
}

#[test]
fn null_is_the_same_as_absent() {
    let server = Server::start();
    let body = json!({
        "name": "nulls", "image": null, "cpu": null, "mem": null, "orgId": null, "userId": null, "sync": null,
        "envVars": null, "autoSleep": null, "region": null, "labels": null, "publishPorts": null, "ports": null,
        "limits": null,
    });
    assert_shape(&created(&server, &body));
}

#[test]
fn names_need_not_differ_and_ids_do() {
    let server = Server::start();
    let ids = [server.create(), server.create()].map(|sandbox| sandbox.id().to_owned());
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0][..4], ids[1][..4], "four characters name the node");
}

#[test]
fn bounds_themselves_are_inside() {
    let server = Server::start();
    let longest = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    for more in [
        json!({"name": longest}),
        json!({"name": "a"}),
        json!({"cpu": 8, "mem": 16384}),
        json!({"labels": {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}}),
        json!({"publishPorts": [1, 2, 3, 65535]}),
        json!({"limits": {"memoryMiB": 16, "cpus": 0.05, "pids": 8, "openFiles": 32}}),
        json!({"limits": {"memoryMiB": 128, "cpus": 1.25, "pids": 16384, "openFiles": 16384}}),
    ] {
        let object = created(&server, &create_body(&more));
        assert_shape(&object);
        bulkhead_tests::Sandbox::of(&server, object["id"].as_str().expect("checked")).delete();
    }
}

#[test]
fn a_create_is_ready_when_it_answers() {
    let server = Server::start();
    for _ in 0..5 {
        assert_eq!(server.create().exec("echo ready").stdout, "ready\n");
    }
}

#[test]
fn a_create_without_sync_becomes_ready() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"sync": false}));
    assert_eq!(sandbox.object()["status"], "running");
    let run = eventually("a command runs", || {
        let answer = sandbox.post_exec(&json!({"command": "echo late"}));
        if answer.status == 200 { Ok(answer.data()) } else { Err(answer.text()) }
    });
    assert_eq!(run["stdout"], "late\n");
}

#[test]
fn variables_of_the_sandbox_reach_every_command() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"envVars": {"WHO": "sandbox", "KEPT": "a b\"c'$d\n"}}));
    assert_eq!(sandbox.exec("printf %s \"$WHO:$KEPT\"").stdout, "sandbox:a b\"c'$d\n");
    let run = sandbox.exec_with("echo $WHO $PATH_TO", json!({"env": {"WHO": "call", "PATH_TO": "x"}}));
    assert_eq!(run.stdout, "call x\n");
    assert_eq!(sandbox.exec("echo $WHO$PATH_TO").stdout, "sandbox\n", "the variable of a call stays in it");
}
