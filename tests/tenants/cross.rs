//! T01: every route and method of the served description × the ids of somebody else, of nobody, and no ids at all. The
//! answers about another organisation's object are those about one that does not exist, byte for byte.

use crate::{UNKNOWN_ID, tenant};
use bulkhead_tests::programs::repository;
use bulkhead_tests::websocket::WebSocket;
use bulkhead_tests::{Answer, Client, Sandbox, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

/// One method of one path.
struct Route {
    method: String,
    path: String,
    operation: String,
}

fn routes(client: &Client) -> Vec<Route> {
    let document = client.send("GET", "/api/openapi.json", &[], None).expect(200).json();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let operation = operation["operationId"].as_str().expect("an operation has a name").to_owned();
            routes.push(Route { method: method.to_uppercase(), path: path.clone(), operation });
        }
    }
    assert!(routes.len() > 40, "{} routes", routes.len());
    routes
}

/// What a path can name, all of one organisation.
#[derive(Clone)]
struct Names {
    id: String,
    sid: String,
    live: u64,
    ended: u64,
    shell: String,
    key: String,
    image: String,
    image_name: &'static str,
}

impl Names {
    /// A sandbox with a terminal, a command that lives, one that has ended, and a shell session; a key and an image.
    fn make(sandbox: &Sandbox<'_>) -> Self {
        let (live, ended) = (sandbox.run_with("exec cat", json!({"stdin": true})), sandbox.run("true"));
        assert_eq!(sandbox.wait(ended), 0);
        let path = sandbox.path("/session-exec");
        let shell = sandbox.client().post(&path, &json!({"action": "create"})).expect(200).json();
        let key = sandbox.client().post("/orgs/apikeys", &json!({"keyName": "x"})).expect(200).json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (id, sid) = (sandbox.id().to_owned(), sandbox.session(&json!({})));
        let image = sandbox.client().upload("/images?name=own", minimal()).expect(201).json();
        let (shell, key, image) = (text(&shell["sessionId"]), text(&key["keyId"]), text(&image["id"]));
        Self { id, sid, live, ended, shell, key, image, image_name: "own" }
    }

    /// The same names where nothing has them.
    fn of_nobody(&self) -> Self {
        let (id, key) = (UNKNOWN_ID.to_owned(), "aaaaaaaa".to_owned());
        Self { id, key, image: "0".repeat(32), image_name: "nobodys", ..self.clone() }
    }

    fn path(&self, route: &Route) -> String {
        let id = if route.path.starts_with("/images") { &self.image } else { &self.id };
        let path =
            route.path.replace("{id}", id).replace("{sid}", &self.sid).replace("{name}", self.image_name);
        let path = path.replace("{pid}", &self.live.to_string()).replace("{keyId}", &self.key);
        path + query(&route.operation)
    }

    /// A body with which the owner succeeds.
    fn body(&self, route: &Route) -> Option<Value> {
        if matches!(route.method.as_str(), "GET" | "DELETE") {
            return None;
        }
        Some(match route.operation.as_str() {
            "exec" | "execStream" | "runCommand" => json!({"command": "true"}),
            "killCommand" | "attachCommand" | "waitCommand" => json!({"pid": self.ended}),
            "signalCommand" => json!({"signal": "SIGTERM"}),
            "sessionExec" => json!({"action": "exec", "sessionId": self.shell, "command": "true"}),
            "sessionExecStream" => json!({"sessionId": self.shell, "command": "true"}),
            "resizePtySession" => json!({"cols": 80, "rows": 24}),
            "executePtySessionCommand" => json!({"command": "true"}),
            "startWatch" => json!({"path": "/root"}),
            "patchSandbox" | "updateSandbox" => json!({"autoSleep": false}),
            _ => json!({}),
        })
    }

    fn send(&self, client: &Client, route: &Route) -> Answer {
        let body = self.body(route).map(|body| body.to_string());
        client.call(&route.method, &self.path(route), body.as_deref())
    }
}

/// The archive of the smallest image that there is a recipe for.
fn minimal() -> &'static [u8] {
    static ARCHIVE: OnceLock<Vec<u8>> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let (recipe, archive) = (repository().join("rootfs/recipes/minimal"), dir.path().join("image.tar"));
        let made = Command::new("bash").arg(recipe).arg(&archive).status().expect("bash starts");
        assert!(made.success(), "{made}");
        std::fs::read(archive).expect("the archive")
    })
}

/// The parameters with which the owner succeeds.
fn query(operation: &str) -> &'static str {
    match operation {
        "deleteFile" | "statFile" | "downloadFile" | "headTail" => "?path=/etc/passwd",
        "createFile" | "createDirectory" | "uploadFile" => "?path=/root/new",
        "compressFile" => "?path=/root",
        "changePermissions" => "?path=/etc/passwd&mode=644",
        "copyFile" | "moveFile" => "?from=/etc/passwd&to=/root/new",
        "extractArchive" => "?archive=/etc/passwd",
        "searchFiles" => "?pattern=x",
        _ => "",
    }
}

/// Everything of an answer but what differs between any two.
fn whole(answer: &Answer) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "x-request-id" && *name != "date");
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
    (answer.status, headers, answer.body.clone())
}

/// All that an owner sees of what is theirs.
fn seen(client: &Client, names: &Names) -> Vec<Value> {
    let sandbox = |rest: &str| client.get(&format!("/sandboxes/{}{rest}", names.id)).expect(200).json();
    let mut keys = client.get("/orgs/apikeys").expect(200).json();
    for key in keys.as_array_mut().expect("an array") {
        key["lastUsedAt"] = Value::Null;
    }
    vec![sandbox(""), sandbox("/commands/list"), sandbox("/pty/sessions"), keys]
}

#[test]
fn t01_what_belongs_to_another_organisation_does_not_exist() {
    let server = Server::start();
    let (victim, attacker) = (server.create(), tenant(&server, "attacker"));
    let _run = victim.exec("echo mine > /root/mark").ok();
    let theirs = Names::make(&victim);
    let nobodys = theirs.of_nobody();
    let before = seen(victim.client(), &theirs);
    let mut asked = 0;
    for route in routes(&attacker).iter().filter(|route| route.path.contains('{')) {
        let (foreign, unknown) = (theirs.send(&attacker, route), nobodys.send(&attacker, route));
        assert_eq!(foreign.status, 404, "{} {}: {}", route.method, route.path, foreign.text());
        assert_eq!(whole(&foreign), whole(&unknown), "{} {}", route.method, route.path);
        asked += 1;
    }
    assert!(asked > 30, "{asked} routes name an object");
    assert_eq!(seen(victim.client(), &theirs), before, "something has changed");
    assert_eq!(victim.exec("cat /root/mark").stdout, "mine\n");
    assert_eq!(attacker.get("/sandboxes").expect(200).data(), json!([]));
}

#[test]
fn t01_parts_of_another_sandbox_are_not_reached_through_ones_own() {
    let server = Server::start();
    let (victim, attacker) = (server.create(), tenant(&server, "attacker"));
    let theirs = Names::make(&victim);
    let made = attacker.post("/sandboxes", &json!({"name": "own", "image": "code", "cpu": 1, "mem": 1024}));
    let own = made.expect(201).data()["id"].as_str().expect("an id").to_owned();
    let before = seen(victim.client(), &theirs);
    let mixed = Names { id: own.clone(), ..theirs.clone() };
    for route in routes(&attacker).iter().filter(|route| route.path.contains("{sid}")) {
        let answer = mixed.send(&attacker, route);
        // Asked without a handshake it says what it speaks before it looks.
        let socket = matches!(route.operation.as_str(), "connectPtySession" | "streamWatchEvents");
        let expected = if socket { 426 } else { 404 };
        assert_eq!(answer.status, expected, "{} {}: {}", route.method, route.path, answer.text());
    }
    let watch =
        victim.client().post(&victim.path("/files/watch"), &json!({"path": "/root"})).expect(200).data();
    let watch = watch["sessionId"].as_str().expect("an id");
    for rest in [format!("pty/sessions/{}", theirs.sid), format!("files/watch/{watch}/stream")] {
        let target = format!("/api/sandboxes/{own}/{rest}?apiKey={}", attacker.key());
        let refused = WebSocket::connect(server.address(), &target, &[]).expect_err("no upgrade");
        assert_eq!(refused.status, 404, "{rest}");
    }
    assert_eq!(seen(victim.client(), &theirs), before);
    let _done = attacker.delete(&format!("/sandboxes/{own}")).expect(200);
}

#[test]
fn t01_the_owner_reaches_all_of_it() {
    let server = Server::start();
    for route in routes(server.client()).iter().filter(|route| route.path.contains('{')) {
        let sandbox = server.create();
        let names = Names::make(&sandbox);
        if route.operation == "startSandbox" || route.operation == "wakeSandbox" {
            let _done = server.client().call("POST", &sandbox.path("/sleep"), None).expect(200);
        }
        let answer = names.send(server.client(), route);
        let reached = !matches!(answer.status, 401 | 403 | 404 | 500..);
        assert!(reached, "{} {}: {} {}", route.method, route.path, answer.status, answer.text());
        assert!(matches!(server.client().delete(&sandbox.path("")).status, 200 | 404));
    }
}

#[test]
fn t01_mangled_ids_name_nothing() {
    let server = Server::start();
    let (victim, attacker) = (server.create(), tenant(&server, "attacker"));
    let id = victim.id();
    let first = id.as_bytes()[0];
    let mangled = [
        id.to_uppercase(),
        format!("{id}x"),
        id[..29].to_owned(),
        format!("%{first:02x}{}", &id[1..]),
        format!("{id}%00"),
        format!("{id};a=b"),
        format!("{id}%20"),
        format!("x%2f..%2f{id}"),
        "..".to_owned(),
        "%2e%2e".to_owned(),
    ];
    for text in mangled {
        for client in [&attacker, victim.client()] {
            for (method, rest) in [("GET", ""), ("DELETE", ""), ("POST", "/exec"), ("POST", "/sleep")] {
                let body = (method == "POST").then_some(r#"{"command":"true"}"#);
                let answer = client.call(method, &format!("/sandboxes/{text}{rest}"), body);
                assert!(matches!(answer.status, 404 | 405), "{method} {text}{rest}: {}", answer.status);
            }
        }
    }
    assert_eq!(victim.object()["status"], "running");
}
