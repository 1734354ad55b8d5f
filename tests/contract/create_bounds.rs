//! `POST /sandboxes` that is refused: every field, every bound, with the field's name in the message.

use crate::{assert_refused, try_create};
use bulkhead_tests::Server;
use serde_json::{Value, json};

/// Refuses `{field: value}` for each value, on top of a good request, and leaves nothing behind.
fn refused(server: &Server, field: &str, bad: &[Value]) {
    assert_refused(field, bad, |value| try_create(server.client(), &json!({field: value})));
    assert_eq!(
        server.client().get("/sandboxes").expect(200).data(),
        json!([]),
        "a refused create left a row"
    );
}

#[test]
fn name() {
    let server = Server::start();
    let too_long = "a".repeat(254);
    let bad = [
        "",
        "A",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a.",
        "a_b",
        "a b",
        "ä",
        "a/b",
        "..",
        "a\n",
        "a\u{0}",
        too_long.as_str(),
    ];
    refused(&server, "name", &bad.map(Value::from));
    refused(&server, "name", &[json!(1), json!(true), json!([]), json!({}), Value::Null]);
    let message = server.client().post("/sandboxes", &json!({"image": "code"})).error(400);
    assert!(message.contains("name"), "{message}");
}

#[test]
fn image() {
    let server = Server::start();
    refused(&server, "image", &[json!(1), json!([]), json!({"name": "code"})]);
    for unknown in ["nosuch", "code:nosuch", "nosuch:1.0"] {
        let message = try_create(server.client(), &json!({"image": unknown})).error(404);
        assert!(message.contains("image"), "{message}");
    }
    for strange in ["../../etc", "code:../x", "/", "a b", "code@sha256:00", &"a".repeat(1000), "code\u{0}"] {
        let answer = try_create(server.client(), &json!({"image": strange}));
        assert!(matches!(answer.status, 400 | 404), "{strange}: {} {}", answer.status, answer.text());
        let _message = answer.error(answer.status);
    }
}

#[test]
fn cpu_and_mem() {
    let server = Server::start();
    let types = [json!("1"), json!(true), json!([1]), json!({}), json!(1.5)];
    refused(&server, "cpu", &types);
    refused(&server, "mem", &types);
    refused(&server, "cpu", &[json!(0), json!(9), json!(-1), json!(i64::MAX), json!(u64::MAX)]);
    refused(&server, "mem", &[json!(0), json!(1023), json!(16385), json!(-1024), json!(u64::MAX)]);
}

#[test]
fn flags_and_texts() {
    let server = Server::start();
    for field in ["sync", "autoSleep"] {
        refused(&server, field, &[json!("true"), json!(1), json!([])]);
    }
    for field in ["region", "orgId", "userId"] {
        refused(&server, field, &[json!(1), json!(true), json!([]), json!({})]);
    }
}

#[test]
fn env_vars() {
    let server = Server::start();
    refused(
        &server,
        "envVars",
        &[
            json!([]),
            json!("A=b"),
            json!({"A": 1}),
            json!({"A": ["b"]}),
            json!({"": "x"}),
            json!({"A=B": "x"}),
            json!({"A\u{0}": "x"}),
            json!({"A": "x\u{0}y"}),
        ],
    );
}

#[test]
fn labels() {
    let server = Server::start();
    let six: Value =
        ["a", "b", "c", "d", "e", "f"].map(|key| (key.to_owned(), json!("v"))).into_iter().collect();
    let bad_keys = ["", "A", "-a", "a-", "a,b", "a=b", "a b", "ä", "a23456789012345678901"];
    let bad_values = ["a,b", "a=b", "ééééééééééééééééééééé"];
    refused(&server, "labels", &[json!([]), json!("a=b"), json!({"a": 1}), six]);
    for key in bad_keys {
        refused(&server, "labels", &[json!({key: "v"})]);
    }
    for value in bad_values {
        refused(&server, "labels", &[json!({"a": value})]);
    }
}

#[test]
fn ports() {
    let server = Server::start();
    refused(
        &server,
        "publishPorts",
        &[
            json!(80),
            json!(["80"]),
            json!([0]),
            json!([65536]),
            json!([-1]),
            json!([80.5]),
            json!([80, 80]),
            json!([1, 2, 3, 4, 5]),
        ],
    );
    let port = |protocol: &str, port: i64| json!({"protocol": protocol, "port": port});
    refused(
        &server,
        "ports",
        &[
            json!([80]),
            json!({}),
            json!([port("udp", 80)]),
            json!([port("http", 0)]),
            json!([port("http", 65536)]),
            json!([port("http", 80), port("tcp", 80)]),
            json!([{"protocol": "http"}]),
            json!([port("tcp", 1), port("tcp", 2), port("tcp", 3), port("tcp", 4), port("tcp", 5)]),
        ],
    );
    let disagree = json!({"ports": [port("http", 80)], "publishPorts": [81]});
    let message = try_create(server.client(), &disagree).error(400);
    assert!(message.contains("orts"), "{message}");
}

#[test]
fn limits() {
    let server = Server::start();
    refused(&server, "limits", &[json!(1), json!([]), json!("64")]);
    let rows = [
        ("memoryMiB", [json!(15), json!(0), json!(-1), json!("64"), json!(64.5), json!(u64::MAX)]),
        ("cpus", [json!(0.049), json!(0), json!(-1), json!("1"), json!(1e9), json!([1])]),
        ("pids", [json!(7), json!(0), json!(-1), json!("32"), json!(32.5), json!(16385)]),
        ("openFiles", [json!(31), json!(0), json!(-1), json!("64"), json!(64.5), json!(16385)]),
    ];
    for (field, bad) in rows {
        assert_refused(field, &bad, |value| try_create(server.client(), &json!({"limits": {field: value}})));
    }
    assert_eq!(server.client().get("/sandboxes").expect(200).data(), json!([]));
}
