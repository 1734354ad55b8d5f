//! T05 and the keys of organisations, as operators and tenants see them.

use crate::{operator, tenant};
use bulkhead_tests::Server;
use serde_json::json;
use std::time::Instant;

/// Bytes of every file below a directory that hold the secret half of a key.
fn holding(dir: &std::path::Path, secret: &[u8]) -> Vec<String> {
    let (mut todo, mut found) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory of the server").flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(path);
            } else if std::fs::read(&path)
                .unwrap_or_default()
                .windows(secret.len())
                .any(|part| part == secret)
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[test]
fn t05_a_key_is_nowhere_but_with_its_owner() {
    let server = Server::start_with(&bulkhead_tests::Options {
        environment: vec![("BULKHEAD_LOG".to_owned(), "debug".to_owned())],
        ..bulkhead_tests::Options::default()
    });
    let client = tenant(&server, "acme");
    let made = client.post("/orgs/apikeys", &json!({"keyName": "x"})).expect(200).json();
    let third = client.with_key(made["plainKey"].as_str().expect("a key"));
    let keyed = [("Idempotency-Key", "k"), ("X-API-Key", client.key())];
    let _made = client.send("POST", "/api/orgs/apikeys", &keyed, Some(r#"{"keyName":"y"}"#)).expect(200);
    let sandbox = server.create();
    let wrong = third.with_key(&format!("{}x", third.key()));
    for client in [&client, &third, &wrong] {
        let _any = client.get("/sandboxes");
        let _any = client.post(&sandbox.path("/exec"), &json!({"command": "true"}));
        let _any = client.call("GET", &format!("/sandboxes/x/pty?apiKey={}", client.key()), None);
    }
    let state = server.instance().state.join("gateway");
    for client in [server.client(), &client, &third] {
        let secret = client.key().as_bytes()[11..54].to_vec();
        assert_eq!(holding(&state, &secret), Vec::<String>::new());
        let text = String::from_utf8(secret.clone()).expect("ASCII");
        assert!(!server.log().contains(&text), "a key is in the log");
        for process in server.processes() {
            let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            let command = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
            for bytes in [environment, command] {
                assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{process:?}");
            }
        }
    }
    let listed = operator(&server, &["key", "list"]);
    assert!(!listed.contains(&client.key()[11..]) && listed.contains(&client.key()[3..11]));
}

/// Wrong keys that share more and more of a right one take the same time. Rounds begin with another key each, and the
/// quick answers count: what slows others down says nothing about keys.
#[test]
fn t05_the_time_of_a_refusal_does_not_tell_how_much_is_right() {
    let server = Server::start();
    let key = server.client().key().to_owned();
    let flip = |at: usize| {
        let other = if key.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &key[..at], &key[at + 1..])
    };
    let candidates = [flip(11), flip(30), flip(53)];
    let mut times = vec![Vec::new(); candidates.len()];
    for round in 0..400 {
        for step in 0..candidates.len() {
            let which = (round + step) % candidates.len();
            let start = Instant::now();
            let answer = server.client().with_key(&candidates[which]).get("/users/me");
            times[which].push(start.elapsed());
            assert_eq!(answer.status, 401);
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    let quick: Vec<_> = times.iter().map(|times| times[times.len() / 10]).collect();
    let (least, most) = (quick.iter().min().expect("three"), quick.iter().max().expect("three"));
    // A compare that ends at the first wrong byte differs by nanoseconds; this only shows that nothing large does.
    assert!(most.as_secs_f64() < 1.3 * least.as_secs_f64(), "{quick:?}");
}

#[test]
fn an_operators_keys_have_scopes_and_an_end() {
    let server = Server::start();
    let _org = tenant(&server, "acme");
    let key = |args: &[&str]| {
        server.client().with_key(&operator(&server, &[&["key", "create", "--org", "acme"], args].concat()))
    };
    let (reads, admin) = (key(&["--scope", "sandboxes:read"]), key(&["--admin"]));
    let _list = reads.get("/sandboxes").expect(200);
    assert_eq!(
        reads.post("/sandboxes", &json!({"name": "x"})).error(403).trim(),
        "this key lacks the scope sandboxes:write"
    );
    let _message = reads.get("/orgs/apikeys").error(403);
    assert_eq!(admin.get("/admin/leaks").expect(200).data()["leaks"], json!([]));
    let _message = key(&[]).get("/admin/leaks").error(403);
    let short = key(&["--expires-in", "1"]);
    bulkhead_tests::eventually("the key ends", || match short.get("/users/me").status {
        401 => Ok(()),
        status => Err(status.to_string()),
    });
    assert!(operator(&server, &["org", "list"]).contains("\tacme\t"));
    assert_eq!(operator(&server, &["doctor", "--leaks"]), "");
    let refused = server.command(&["key", "create", "--org", "acme", "--scope", "root"]);
    assert!(!refused.status.success(), "{refused:?}");
}

#[test]
fn what_nobody_claims_is_told() {
    let server = Server::start();
    let socket = server.instance().run.join("gateway/agents").join(format!("{}.sock", "b".repeat(30)));
    let listener =
        std::os::unix::net::UnixListener::bind(&socket).expect("a socket in the directory of agents");
    let output = server.command(&["doctor", "--leaks"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.starts_with("socket\t"), "{output:?}");
    drop(listener);
    std::fs::remove_file(&socket).expect("it is there");
    assert_eq!(operator(&server, &["doctor", "--leaks"]), "");
}

#[test]
fn who_registers_has_an_organisation_where_that_is_on() {
    let body = json!({"name": "Ada", "email": "ada@example.com"});
    let shut = Server::start();
    let _message = shut.client().post("/register", &body).error(404);
    drop(shut);
    let args = ["--register", "on"].map(str::to_owned).to_vec();
    let server = Server::start_with(&bulkhead_tests::Options { args, ..bulkhead_tests::Options::default() });
    let made = server.client().send("POST", "/api/register", &[], Some(&body.to_string())).expect(201).data();
    let ada = server.client().with_key(made["apiKey"]["plainKey"].as_str().expect("a key"));
    assert_eq!(ada.get("/users/me").expect(200).json()["orgs"][0]["id"], made["org"]["id"]);
    assert_eq!(ada.get("/sandboxes").expect(200).data(), json!([]));
    let many = (0..20).filter(|_| server.client().post("/register", &body).status == 429).count();
    assert!(many > 5, "{many} of 20 were held back");
}
