//! T02, T03, T04, T08, T09: lists, names, keys, labels and bodies at their edges.

use crate::{UNKNOWN_ID, tenant};
use bulkhead_tests::{Client, Server, raw};
use serde_json::{Value, json};

fn create(client: &Client, more: &Value) -> bulkhead_tests::Answer {
    let mut body = json!({"name": "x", "image": "code", "cpu": 1, "mem": 1024});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    client.post("/sandboxes", &body)
}

#[test]
fn t02_no_parameter_widens_a_list_and_no_field_gives_ownership() {
    let server = Server::start();
    let victim = server.create_with(json!({"labels": {"a": "b"}}));
    let other = tenant(&server, "other");
    let (org, user) = (victim.object()["orgId"].clone(), victim.object()["createdBy"].clone());
    let org = org.as_str().expect("an id");
    for query in [
        "labels=a%3Db".to_owned(),
        format!("orgId={org}"),
        format!("tenant={org}&org={org}&tenant_id={org}"),
        "limit=100&page=1&sort=-createdAt".to_owned(),
        "labels=orgId%3D*".to_owned(),
        "page=0".to_owned(),
        "page=99999999999999999999".to_owned(),
        "page[$ne]=1".replace('[', "%5b").replace(']', "%5d"),
    ] {
        let answer = other.get(&format!("/sandboxes?{query}"));
        match answer.status {
            200 => assert_eq!(
                (answer.data(), &answer.json()["meta"]["total"]),
                (json!([]), &json!(0)),
                "{query}"
            ),
            400 => {}
            status => panic!("{query}: {status} {}", answer.text()),
        }
    }
    let _message = create(&other, &json!({"orgId": org})).error(403);
    let _message = create(&other, &json!({"userId": user})).error(403);
    let more = json!({
        "tenant_id": org, "owner": user, "org": org, "createdBy": user, "status": "killed", "state": "killed",
        "id": victim.id(), "createdAt": "1970-01-01T00:00:00Z", "nodeId": "x"
    });
    let made = create(&other, &more).expect(201).data();
    let me = other.get("/users/me").expect(200).json();
    assert_eq!((&made["orgId"], &made["createdBy"]), (&me["orgs"][0]["id"], &me["id"]));
    assert!(
        made["id"] != victim.id() && made["status"] == "running" && made.get("nodeId").is_none(),
        "{made}"
    );
    let id = made["id"].as_str().expect("an id");
    let _done = other.delete(&format!("/sandboxes/{id}")).expect(200);
}

#[test]
fn t03_names_lead_nowhere() {
    let server = Server::start();
    let client = server.client();
    let long = "a".repeat(10 << 10);
    let hostile = [
        "..",
        "%2e%2e%2f",
        "..%5c",
        "%00",
        "%2fetc",
        &long,
        "%ef%bc%8e%ef%bc%8e",
        "-rf",
        "cgroup.procs",
        "%f0%9f%92%a9",
        ".hidden",
        "a%0ab",
        "~root",
        "$(id)",
        "%c0%ae",
        "AUX",
    ];
    for name in hostile {
        for path in [
            format!("/sandboxes/{name}"),
            format!("/sandboxes/{name}/exec"),
            format!("/sandboxes/{UNKNOWN_ID}/pty/sessions/{name}"),
            format!("/orgs/apikeys/{name}"),
        ] {
            for method in ["GET", "POST", "DELETE"] {
                let answer = client.call(method, &path, None);
                assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
            }
        }
    }
    let strings =
        ["..", "../x", "a/b", "/etc", "a\0b", "-rf", ".a", "a.", "\u{ff0e}\u{ff0e}", "\u{1f4a9}", &long];
    for text in strings {
        for field in ["name", "image"] {
            let answer = create(client, &json!({field: text}));
            assert!(matches!(answer.status, 400 | 404), "{field} {text:?}: {}", answer.status);
        }
    }
    server.assert_no_sandbox_left();
}

#[test]
fn t04_only_the_exact_key_in_its_place_opens() {
    let server = Server::start();
    let (client, key) = (server.client(), server.client().key().to_owned());
    let send = |headers: &[(&str, &str)], path: &str| client.send("GET", path, headers, None).status;
    let list = "/api/sandboxes";
    let (padded, bearer, lower) = (format!("{key}x"), format!("Bearer {key}"), format!("bearer {key}"));
    for headers in [
        vec![],
        vec![("X-API-Key", "")],
        vec![("X-API-Key", padded.as_str())],
        vec![("X-API-Key", &key[..53])],
        vec![("Authorization", bearer.as_str())],
        vec![("Authorization", lower.as_str()), ("Authorization", bearer.as_str())],
        vec![("X-API-Key", "bh_wrong"), ("X-API-Key", key.as_str())],
        vec![("X-API-Key", key.as_str()), ("X-API-Key", key.as_str())],
        vec![("Cookie", key.as_str())],
    ] {
        assert_eq!(send(&headers, list), 401, "{headers:?}");
    }
    assert_eq!(send(&[], &format!("{list}?apiKey={key}")), 401);
    let right = [("X-API-Key", key.as_str())];
    assert_eq!(send(&right, list), 200);
    for path in [
        "/api/v1/../sandboxes",
        "/api/./sandboxes",
        "/api/sandboxes;x=y",
        "/v1/sandboxes",
        "/api/%73andboxes",
    ] {
        assert_eq!(send(&right, path), 404, "{path}");
    }
    assert_eq!(send(&right, "//api//sandboxes"), 200, "slashes collapse");
    for method in ["HEAD", "OPTIONS", "TRACE", "PUT", "LINK"] {
        let answer = client.send(method, list, &right, None);
        assert_eq!(answer.status, 405, "{method}");
    }
    let sandbox = server.create();
    let path = format!("/api{}", sandbox.path(""));
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let answer = client.send("GET", &path, &[("X-API-Key", &key), (name, "DELETE")], None);
        assert_eq!(answer.status, 200);
    }
    assert_eq!(sandbox.object()["status"], "running");
}

#[test]
fn t08_labels_are_the_tenants_own_and_steer_nothing() {
    let server = Server::start();
    let client = server.client();
    let many: Value =
        (0..1000).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    for labels in [
        json!({"system/x": "y"}),
        json!({"bulkhead.io/org": "x"}),
        json!({"__proto__\u{0}": "x"}),
        json!({"": "x"}),
        json!({"k": "x".repeat(1000)}),
        json!({"k\n": "v"}),
        many,
    ] {
        let answer = create(client, &json!({ "labels": labels }));
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.error(400).contains("labels"));
    }
    let before = server.create().object();
    let odd = json!({"labels": {"__proto__": "x", "orgId": "y", "id": "z", "status": "killed"}});
    let data = create(client, &odd);
    if data.status == 201 {
        let data = data.data();
        assert_eq!((&data["orgId"], &data["status"]), (&before["orgId"], &json!("running")));
        let path = format!("/sandboxes/{}", data["id"].as_str().expect("an id"));
        let _done = client.delete(&path).expect(200);
    } else {
        let _message = data.error(400);
    }
}

#[test]
fn t09_odd_bodies_are_refused_before_any_effect() {
    let server = Server::start();
    let (client, key) = (server.client(), server.client().key());
    let good = json!({"name": "x", "image": "code", "cpu": 1, "mem": 1024}).to_string();
    let send = |headers: &str, body: &[u8]| {
        let head = format!(
            "POST /api/sandboxes HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {key}\r\n{headers}\r\n"
        );
        raw::exchange(client.address(), &[head.as_bytes(), body].concat()).status
    };
    let length = |body: &[u8]| format!("Content-Length: {}\r\n", body.len());
    let padded = format!("{good}{}", " ".repeat((2 << 20) + 1));
    assert_eq!(send(&length(padded.as_bytes()), padded.as_bytes()), 413);
    let chunked = format!("{:x}\r\n{padded}\r\n0\r\n\r\n", padded.len());
    assert_eq!(send("Transfer-Encoding: chunked\r\n", chunked.as_bytes()), 413);
    let both = format!("{}Transfer-Encoding: chunked\r\n", length(good.as_bytes()));
    assert_eq!(send(&both, good.as_bytes()), 400);
    let gzip = [0x1f_u8, 0x8b, 8, 0, 0, 0, 0, 0];
    let bom = [b"\xef\xbb\xbf".as_slice(), good.as_bytes()].concat();
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = good.replace("\"name\"", "\"image\":\"code\",\"name\"");
    for body in [&gzip[..], &bom, &wide, deep.as_bytes(), twice.as_bytes(), b"[1]", b"nul"] {
        let headers = format!("{}Content-Encoding: gzip\r\n", length(body));
        assert_eq!(send(&headers, body), 400, "{:?}", String::from_utf8_lossy(&body[..body.len().min(40)]));
    }
    assert_eq!(client.get("/sandboxes").expect(200).data(), json!([]), "something was made");
    let _list = tenant(&server, "other").get("/sandboxes").expect(200);
}
