//! Tenants: what belongs to another organisation does not exist. Keys and organisations are made by the
//! operator's commands.

use crate::{UNKNOWN_ID, try_create};
use bulkhead_tests::{Client, Server};
use serde_json::json;

/// A client of an organisation of its own.
pub(crate) fn tenant(server: &Server, name: &str) -> Client {
    let output = server.command(&["org", "create", name]);
    assert!(output.status.success(), "org create: {output:?}");
    server.client().with_key(&new_key(server, name))
}

/// `key create` prints the key alone.
fn new_key(server: &Server, org: &str) -> String {
    let output = server.command(&["key", "create", "--org", org]);
    assert!(output.status.success(), "key create: {output:?}");
    let text = String::from_utf8(output.stdout).expect("a key is ASCII");
    let key = text.trim_end_matches('\n');
    assert_eq!(key.len(), 54, "the key alone: {text:?}");
    key.to_owned()
}

#[test]
fn another_organisations_sandbox_does_not_exist() {
    let server = Server::start();
    let other = tenant(&server, "other");
    let sandbox = server.create();
    let foreign = format!("/sandboxes/{}", sandbox.id());
    let unknown = format!("/sandboxes/{UNKNOWN_ID}");
    let command = json!({"command": "true"});
    let pairs = [
        (other.get(&foreign), other.get(&unknown)),
        (other.delete(&foreign), other.delete(&unknown)),
        (other.post(&format!("{foreign}/exec"), &command), other.post(&format!("{unknown}/exec"), &command)),
    ];
    for (of_another, of_nobody) in pairs {
        let _message = of_another.error(404);
        let hide = |text: String| text.replace(sandbox.id(), "ID").replace(UNKNOWN_ID, "ID");
        assert_eq!(hide(of_another.text()), hide(of_nobody.text()), "the two differ for a client");
    }
    let list = other.get("/sandboxes").expect(200);
    assert_eq!(list.data(), json!([]));
    assert_eq!(list.json()["meta"]["total"], 0);
    assert_eq!(sandbox.exec("echo here").stdout, "here\n");
}

#[test]
fn org_and_user_of_a_create_must_be_the_callers() {
    let server = Server::start();
    let other = tenant(&server, "other");
    let mine = server.create().object();
    let (org, user) = (&mine["orgId"], &mine["createdBy"]);
    let own = json!({"orgId": org, "userId": user});
    let _data = try_create(server.client(), &own).expect(201).data();
    let _data = try_create(server.client(), &json!({"orgId": "", "userId": ""})).expect(201).data();
    for stranger in [json!({"orgId": org}), json!({"userId": user}), own] {
        let _message = try_create(&other, &stranger).error(403);
    }
    let _message = try_create(server.client(), &json!({"orgId": "nobody"})).error(403);
    let _message = try_create(server.client(), &json!({"userId": "nobody"})).error(403);
}

#[test]
fn a_revoked_key_opens_nothing_and_others_go_on() {
    let server = Server::start();
    let client = tenant(&server, "other");
    let second = server.client().with_key(&new_key(&server, "other"));
    let _list = client.get("/sandboxes").expect(200);
    let listed = server.command(&["key", "list"]);
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let id = &client.key()[3..11];
    assert!(listed.contains(id), "{id} is not in {listed}");
    assert!(!listed.contains(&client.key()[11..]), "key list shows a secret");
    let revoked = server.command(&["key", "revoke", id]);
    assert!(revoked.status.success(), "{revoked:?}");
    let _message = client.get("/sandboxes").error(401);
    let _list = second.get("/sandboxes").expect(200);
    let _list = server.client().get("/sandboxes").expect(200);
}

#[test]
fn the_stores_files_hold_no_key() {
    let server = Server::start();
    let secret = server.client().key().as_bytes()[11..].to_vec();
    let mut todo = vec![server.instance().state.join("gateway")];
    let mut files = 0;
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).expect("<state-dir>/gateway").flatten() {
            if entry.path().is_dir() {
                todo.push(entry.path());
                continue;
            }
            files += 1;
            let content = std::fs::read(entry.path()).unwrap_or_default();
            let found = content.windows(secret.len()).any(|window| window == secret);
            assert!(!found, "{} holds the key", entry.path().display());
        }
    }
    assert!(files > 0, "the store has no file");
}

#[test]
fn an_operators_command_without_a_server_ends_with_3() {
    let mut server = Server::start();
    server.stop();
    for args in [&["key", "list"][..], &["org", "create", "late"]] {
        let output = server.command(args);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{args:?} says nothing");
    }
    server.start_again();
}

#[test]
fn wrong_names_of_organisations_are_refused() {
    let server = Server::start();
    let _other = tenant(&server, "other");
    for name in ["other", ""] {
        let output = server.command(&["org", "create", name]);
        assert!(!output.status.success(), "org create {name:?} succeeded");
    }
    let output = server.command(&["key", "create", "--org", "nobody"]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
}
