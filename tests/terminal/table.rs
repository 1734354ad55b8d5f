//! The HTTP part: the table of contract §6.1.

use bulkhead_tests::terminal::plain;
use bulkhead_tests::{Server, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn sessions_are_made_listed_and_deleted() {
    let server = Server::start();
    let sandbox = server.create();
    assert_eq!(sandbox.get("/pty/sessions").data(), json!({"sessions": []}));
    let empty = server.client().call("POST", &sandbox.path("/pty/sessions"), Some(""));
    let first = empty.data()["sessionId"].as_str().expect("an id after an empty body").to_owned();
    let second = sandbox.session(&json!({"cols": 80, "rows": 24, "unknown": true}));
    let rows = sandbox.sessions();
    let ids: BTreeSet<_> = rows.iter().filter_map(|row| row["id"].as_str()).collect();
    assert_eq!(ids, BTreeSet::from([first.as_str(), second.as_str()]));
    for row in &rows {
        assert_eq!((&row["alive"], &row["clients"]), (&json!(true), &json!(0)), "{row}");
        assert!(row["createdAt"].as_str().is_some_and(|t| t.len() >= 20 && t.ends_with('Z')), "{row}");
    }
    assert_eq!(sandbox.running(), Vec::<Value>::new(), "a session is no background command");
    for session in [&first, &second] {
        let path = sandbox.path(&format!("/pty/sessions/{session}"));
        assert!(server.client().delete(&path).data().is_null());
        let _message = server.client().delete(&path).error(404);
    }
    assert_eq!(sandbox.sessions().len(), 0);
}

#[test]
fn sizes_have_bounds() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let resize = format!("/pty/sessions/{session}/resize");
    for (field, bad) in [
        ("cols", json!(0)),
        ("cols", json!(501)),
        ("cols", json!(-1)),
        ("cols", json!(65536)),
        ("cols", json!("80")),
        ("cols", json!(1.5)),
        ("rows", json!(0)),
        ("rows", json!(201)),
        ("rows", json!(-1)),
        ("rows", json!(4_294_967_297_u64)),
    ] {
        let mut body = json!({"cols": 80, "rows": 24});
        body[field] = bad;
        for path in ["/pty/sessions", &resize] {
            let message = sandbox.post(path, &body).error(400);
            assert!(message.contains(field), "{path} {body}: {message}");
        }
    }
    for body in [json!({}), json!({"cols": 80}), json!({"rows": 24}), json!({"cols": 80, "rows": null})] {
        let _message = sandbox.post(&resize, &body).error(400);
    }
    assert_eq!(sandbox.sessions().len(), 1);
}

#[test]
fn what_is_executed_is_in_the_buffer() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let execute = format!("/pty/sessions/{session}/execute");
    let buffer = || -> String {
        let data = sandbox.get(&format!("/pty/sessions/{session}/buffer")).data();
        plain(data["output"].as_str().unwrap_or_else(|| panic!("output in {data}")).as_bytes())
    };
    for command in ["echo $((6*7))", "echo $((8*8))\n"] {
        let answer = sandbox.post(&execute, &json!({"command": command}));
        assert!(answer.data().is_null(), "{}", answer.text());
        assert_eq!(answer.json()["message"], "Command sent");
    }
    eventually("both results", || {
        let text = buffer();
        if text.contains("\n42\r\n") && text.contains("\n64\r\n") && text.ends_with("# ") {
            Ok(())
        } else {
            Err(text)
        }
    });
    for bad in
        [json!({}), json!({"command": ""}), json!({"command": 1}), json!({"command": "x".repeat(100_001)})]
    {
        let message = sandbox.post(&execute, &bad).error(400);
        assert!(message.contains("command"), "{message}");
    }
    let _answer = sandbox.post(
        &execute,
        &json!({"command": "printf '\\xff\\xfe'; head -c 9000000 /dev/zero | tr '\\0' z; echo; echo last"}),
    );
    eventually("the end of a long output", || {
        let text = buffer();
        if text.contains("\nlast\r\n") || text.contains("\r\nlast\r\n") {
            Ok(())
        } else {
            Err(format!("{} bytes", text.len()))
        }
    });
    assert!(buffer().len() <= 4 << 20, "the buffer has a bound");
}

#[test]
fn unknown_sessions_are_404() {
    let server = Server::start();
    let sandbox = server.create();
    let other = server.create();
    let others = other.session(&json!({}));
    let pid = sandbox.run("sleep 60").to_string();
    for id in ["sess-0000000000000000", "1048577", "x", others.as_str(), pid.as_str()] {
        let base = format!("/pty/sessions/{id}");
        let _message = sandbox.post(&format!("{base}/execute"), &json!({"command": "true"})).error(404);
        let _message = sandbox.post(&format!("{base}/resize"), &json!({"cols": 80, "rows": 24})).error(404);
        let _message = sandbox.get(&format!("{base}/buffer")).error(404);
        let _message = server.client().delete(&sandbox.path(&base)).error(404);
    }
    assert_eq!(other.sessions().len(), 1, "a neighbour's session is untouched");
}

#[test]
fn an_exited_session_is_not_alive() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let _answer =
        sandbox.post(&format!("/pty/sessions/{session}/execute"), &json!({"command": "exit 3"})).expect(200);
    eventually("it has left or is not alive", || {
        let rows = sandbox.sessions();
        let alive = rows.iter().any(|row| row["id"] == session.as_str() && row["alive"] == true);
        if alive { Err(format!("{rows:?}")) } else { Ok(()) }
    });
    let late = sandbox.post(&format!("/pty/sessions/{session}/execute"), &json!({"command": "true"}));
    assert!(matches!(late.status, 404 | 409), "{}", late.text());
}

#[test]
fn users_have_terminals_too() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({"user": "nobody"}));
    let execute = format!("/pty/sessions/{session}/execute");
    let _answer = sandbox
        .post(&execute, &json!({"command": "id -un > /tmp/who; test -w $(tty) && echo w >> /tmp/who"}))
        .expect(200);
    eventually("the user", || {
        let run = sandbox.exec("cat /tmp/who");
        if run.stdout == "nobody\nw\n" { Ok(()) } else { Err(run.data.to_string()) }
    });
    for bad in ["0x0", "-1", "4294967296", "4294967295", " 0", "+0", "0:0:0", "root\n", "", "nosuch", "١"] {
        let message = sandbox.post("/pty/sessions", &json!({"user": bad})).error(400);
        assert!(message.contains("user"), "{bad:?}: {message}");
    }
    assert_eq!(sandbox.sessions().len(), 1);
}

#[test]
fn too_many_sessions_are_told_so() {
    let server = Server::start();
    let sandbox = server.create();
    let mut made = Vec::new();
    let refusal = loop {
        assert!(made.len() <= 72, "there is no limit");
        let answer = sandbox.post("/pty/sessions", &json!({}));
        if answer.status != 200 {
            break answer;
        }
        made.push(answer.data()["sessionId"].as_str().expect("an id").to_owned());
    };
    assert!(
        made.len() >= 32 && matches!(refusal.status, 409 | 429 | 503),
        "{}: {}",
        made.len(),
        refusal.text()
    );
    let _message = refusal.error(refusal.status);
    for session in made {
        let _data = server.client().delete(&sandbox.path(&format!("/pty/sessions/{session}"))).data();
    }
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
}
