//! Terminals over HTTP: every row of the contract's table (§6.1), against an agent that runs nothing.

use crate::client::Answer;
use crate::pty_agent::PROMPT;
use crate::pty_socket::Socket;
use crate::world::{World, eventually};
use serde_json::{Value, json};

/// The path of a sandbox's terminals.
pub(crate) fn ptys(id: &str) -> String {
    format!("/api/sandboxes/{id}/pty/sessions")
}

/// Makes a session and gives its path.
pub(crate) fn session(world: &World, id: &str) -> String {
    let answer = world.client().send("POST", &ptys(id), b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let sid = answer.json["data"]["sessionId"].as_str().unwrap();
    assert!(sid.len() == 21 && sid.starts_with("sess-"), "{sid}");
    assert!(answer.json["data"]["createdAt"].as_str().unwrap().starts_with("20"), "{answer:?}");
    format!("{}/{sid}", ptys(id))
}

fn sessions(world: &World, id: &str) -> Vec<Value> {
    let answer = world.client().get(&ptys(id));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json["data"]["sessions"].as_array().unwrap().clone()
}

#[test]
fn a_session_lives_from_its_creation_to_its_deletion() {
    let mut world = World::new();
    let id = world.sandbox("tty");
    assert!(sessions(&world, &id).is_empty());
    let (first, second) = (session(&world, &id), session(&world, &id));
    assert_ne!(first, second);
    let listed = sessions(&world, &id);
    assert_eq!(listed.len(), 2);
    assert!(first.ends_with(listed[0]["id"].as_str().unwrap()));
    assert_eq!((listed[0]["clients"].clone(), listed[0]["alive"].clone()), (json!(0), json!(true)));
    assert_eq!(listed[0]["createdAt"], "2023-11-14T22:13:20Z");

    world.stop(nix::sys::signal::Signal::SIGTERM);
    world.start();
    assert_eq!(sessions(&world, &id).len(), 2, "sessions outlive the gateway");
    assert_eq!(world.client().delete(&first).status, 200);
    assert_eq!(world.client().delete(&first).status, 404);
    assert_eq!(sessions(&world, &id).len(), 1);
    let client = world.client();
    assert_eq!(client.post(&format!("{second}/execute"), &json!({ "command": "exit" })).status, 200);
    eventually("a shell that ended is not listed", || sessions(&world, &id).is_empty());
    assert_eq!(world.client().get(&format!("{second}/buffer")).status, 404);
}

#[test]
fn text_is_typed_and_the_buffer_shows_what_came_of_it() {
    let world = World::new();
    let id = world.sandbox("tty");
    let (client, session) = (world.client(), session(&world, &id));
    let buffer =
        || client.get(&format!("{session}/buffer")).json["data"]["output"].as_str().unwrap().to_owned();
    assert_eq!(buffer(), PROMPT);
    for command in ["ls", "ls\n"] {
        let answer = client.post(&format!("{session}/execute"), &json!({ "command": command }));
        assert_eq!((answer.status, &answer.json["message"]), (200, &json!("Command sent")), "{answer:?}");
    }
    let expected = format!("{PROMPT}ls\r\n{PROMPT}ls\r\n{PROMPT}");
    eventually("both lines were typed", || buffer() == expected);
    client.post(&format!("{session}/execute"), &json!({ "command": "half" }));
    eventually("no UTF-8 is replaced", || buffer().ends_with("<\u{fffd}"));
    let resize = format!("{session}/resize");
    assert_eq!(client.post(&resize, &json!({ "cols": 500, "rows": 200 })).status, 200);
    client.post(&format!("{session}/execute"), &json!({ "command": "size" }));
    eventually("the size is another", || buffer().contains("200 500\r\n"));
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let world = World::new();
    let id = world.sandbox("tty");
    let (client, session) = (world.client(), session(&world, &id));
    let refused = |answer: Answer, status: u16, text: &str| {
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.error().starts_with(text), "{answer:?}");
    };
    for (body, text) in [
        (json!({ "cols": 0 }), "cols: "),
        (json!({ "cols": 501 }), "cols: "),
        (json!({ "rows": 0 }), "rows: "),
        (json!({ "rows": 65535 }), "rows: "),
        (json!({ "rows": -1 }), "rows: "),
        (json!({ "cols": "80" }), "cols: "),
        (json!({ "user": "x".repeat(100) }), "user: "),
    ] {
        refused(client.post(&ptys(&id), &body), 400, text);
    }
    for (action, body, text) in [
        ("resize", json!({}), "cols: is required"),
        ("resize", json!({ "cols": 80 }), "rows: is required"),
        ("resize", json!({ "cols": 80, "rows": 201 }), "rows: "),
        ("execute", json!({}), "command: is required"),
        ("execute", json!({ "command": "" }), "command: "),
        ("execute", json!({ "command": "x".repeat(65_537) }), "command: "),
    ] {
        refused(client.post(&format!("{session}/{action}"), &body), 400, text);
    }
    for sid in ["sess-0000000000000009", "sess-1", "x", "1048577"] {
        let other = format!("{}/{sid}", ptys(&id));
        refused(client.delete(&other), 404, "session not found");
        refused(client.get(&format!("{other}/buffer")), 404, "session not found");
        refused(
            client.post(&format!("{other}/execute"), &json!({ "command": "x" })),
            404,
            "session not found",
        );
        let size = json!({ "cols": 80, "rows": 24 });
        refused(client.post(&format!("{other}/resize"), &size), 404, "session not found");
        refused(Socket::open(&client, &other).err().unwrap(), 404, "session not found");
    }
    let none = ptys(&"a".repeat(30));
    refused(client.get(&none), 404, "sandbox not found");
    refused(client.send("POST", &none, b""), 404, "sandbox not found");
    world.runtime.kill(&id);
    eventually("it is dead", || world.status(&id) == "killed");
    refused(client.send("POST", &ptys(&id), b""), 409, "the sandbox was killed");
    refused(Socket::open(&client, &session).err().unwrap(), 409, "the sandbox was killed");
}
