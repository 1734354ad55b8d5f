//! T13: the audit log says who did what, and nobody can write a line of it.

use crate::tenant;
use bulkhead_tests::{Server, raw, within};
use serde_json::{Value, json};
use std::time::Duration;

fn lines(server: &Server) -> Vec<Value> {
    let path = server.instance().state.join("gateway/audit.log");
    let text = std::fs::read_to_string(path).expect("the audit log");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"))).collect()
}

#[test]
fn t13_no_client_writes_a_line_of_the_audit_log() {
    let server = Server::start();
    let client = tenant(&server, "acme");
    let me = client.get("/users/me").expect(200).json();
    let mark = r#"{"time":"x","action":"forged"}"#;
    let escape = format!("\u{1b}[2J\r\n{mark}\r\n");
    let made = client.post("/orgs/apikeys", &json!({ "keyName": mark })).expect(200).json();
    let _refused = client.post("/orgs/apikeys", &json!({ "keyName": escape })).error(400);
    let _refused = client.post("/sandboxes", &json!({"name": escape, "image": escape})).error(400);
    let encoded = "%0d%0a%7b%22action%22%3a%22forged%22%7d%1b%5b2J";
    let _refused = client.delete(&format!("/sandboxes/{encoded}")).error(404);
    let head = format!(
        "DELETE /api/sandboxes/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {}\r\nUser-Agent: {mark}\r\n\
         X-Request-Id: {mark}\r\nX-Forwarded-For: {mark}\r\n\r\n",
        client.key()
    );
    assert_eq!(raw::exchange(server.address(), head.as_bytes()).status, 404);
    let found = within(Duration::from_secs(5), "the lines", || {
        let lines = lines(&server);
        let count = lines.iter().filter(|line| line["org"] == me["orgs"][0]["id"]).count();
        if count >= 5 { Ok(lines) } else { Err(format!("{count} lines")) }
    });
    for line in found {
        assert_ne!(line["action"], "forged");
        let text = line.to_string();
        assert!(!text.contains(client.key()) && !text.contains("\"forged\""), "{text}");
        if line["action"] == "POST /orgs/apikeys" && line["status"] == 200 {
            assert_eq!((&line["object"], &line["user"]), (&made["keyId"], &me["id"]));
            assert_eq!(line["key"], client.key()[3..11]);
        }
    }
    assert!(!server.log().contains('\u{1b}'), "a control character reached the log");
}
