//! Images over HTTP: who sees which, what an upload becomes, and what an image says of commands.

use crate::client::{Answer, Client};
use crate::keys::tenant;
use crate::world::{World, eventually};
use bulkhead_gateway::admin::{Ceiling, QuotaChange};
use serde_json::{Value, json};
use std::io::{Read, Write};

fn upload(client: &Client, query: &str, archive: &[u8]) -> Answer {
    let client = client.clone().with("Content-Type", "application/x-tar");
    client.send("POST", &format!("/api/images{query}"), archive)
}

fn id(image: &Value) -> &str {
    image["id"].as_str().unwrap()
}

/// What a client sees of names.
fn names(client: &Client) -> Vec<(String, bool)> {
    let images = client.get("/api/images").json;
    let row = |image: &Value| (image["name"].as_str().unwrap().to_owned(), image["system"] == true);
    images.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn an_upload_is_an_image_that_is_shown_and_deleted() {
    let world = World::new();
    let client = world.client();
    let archive = vec![b'x'; 3 << 20];
    let made = upload(&client, "?name=team%2Fapp&version=1.2", &archive);
    assert_eq!(made.status, 201, "{made:?}");
    let me = client.get("/api/users/me").json;
    let expected = json!({
        "id": id(&made.json), "name": "team/app", "tag": "1.2", "sizeGB": 1, "system": false, "active": true,
        "orgId": me["orgs"][0]["id"], "createdAt": "1970-01-01T00:00:02Z", "createdBy": me["id"],
    });
    assert_eq!(made.json, expected);
    assert_eq!(client.get("/api/images").json, json!([expected]));
    assert_eq!(client.get(&format!("/api/images/{}", id(&expected))).json, expected);
    assert_eq!(client.get("/api/images/name/team%2Fapp:1.2").json, expected);
    assert_eq!(client.get("/api/images/name/team%2Fapp").status, 404, "the tag is another one");
    let again = upload(&client, "?name=team/app&version=1.2", b"other");
    assert_eq!((again.status, id(&again.json)), (201, id(&expected)), "a name keeps its id");
    let path = format!("/api/images/{}", id(&expected));
    let key = client.clone().with("Idempotency-Key", "k-1");
    assert_eq!(key.delete(&path).status, 200);
    assert_eq!(key.delete(&path).status, 200, "the same request has the same answer");
    assert_eq!((client.delete(&path).status, client.get(&path).status), (404, 404));
    assert_eq!(client.get("/api/images").json, json!([]));
    let left = std::fs::read_dir(world.state_dir().join("gateway")).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(
        names.iter().all(|name| ["audit", "store", "bulkhead"].iter().any(|own| name.contains(own))),
        "{names:?}"
    );
    let audit = std::fs::read_to_string(world.state_dir().join("gateway/audit.log")).unwrap();
    for action in ["POST /images", "DELETE /images/{id}"] {
        let line = audit.lines().find(|line| line.contains(action)).unwrap();
        assert!(line.contains(id(&expected)), "{line}");
    }
}

#[test]
fn everybody_sees_the_hosts_images_and_nobody_anothers() {
    let world = World::new();
    let (one, two) = (tenant(&world, "one", &[]), tenant(&world, "two", &[]));
    world.runtime.plant_image(None, "code", 1_500_000_000);
    world.runtime.plant_image(Some("stray"), "secret", 1);
    let theirs = upload(&one, "?name=code", b"own").json;
    assert_eq!(names(&one), [("code".to_owned(), true), ("code".to_owned(), false)]);
    assert_eq!(names(&two), [("code".to_owned(), true)]);
    assert_eq!(one.get("/api/images/name/code").json, theirs, "one's own comes first");
    let system = two.get("/api/images/name/code:latest").json;
    let shown =
        json!({"sizeGB": system["sizeGB"], "orgId": system["orgId"], "createdBy": system["createdBy"]});
    assert_eq!(shown, json!({"sizeGB": 2, "orgId": "", "createdBy": ""}));
    assert_eq!(one.get(&format!("/api/images/{}", id(&system))).json, system);
    for method in ["GET", "DELETE"] {
        let send = |id: &str| two.send(method, &format!("/api/images/{id}"), b"");
        let (foreign, unknown) = (send(id(&theirs)), send(&"0".repeat(32)));
        assert_eq!((foreign.status, &foreign.text), (404, &unknown.text), "{method}");
    }
    let refused = two.delete(&format!("/api/images/{}", id(&system)));
    assert_eq!((refused.status, refused.error()), (404, "image not found"), "the host's is not theirs");
    for name in ["secret", "nothing", "..%2Fx", "%ff", "a%"] {
        let answer = two.get(&format!("/api/images/name/{name}"));
        assert_eq!((answer.status, answer.error()), (404, "image not found"), "{name}");
    }
    assert_eq!(names(&one).len(), 2);
}

#[test]
fn a_list_of_many_pages_is_whole() {
    let world = World::new();
    for number in 0..200 {
        world.runtime.plant_image(None, &format!("image-{number}"), 1);
    }
    assert_eq!(names(&world.client()).len(), 200);
    assert_eq!(world.client().get("/api/images/name/image-199").status, 200);
}

#[test]
fn each_upload_that_is_none_is_refused() {
    let world = World::new();
    let client = world.client();
    for (query, archive, status, begins) in [
        ("", &b"x"[..], 400, "name: is required"),
        ("?name=a:b", b"x", 400, "name: must have no tag"),
        ("?name=../etc", b"x", 400, "name: must be name"),
        ("?name=a&version=../b", b"x", 400, "version: must be name"),
        ("?name=a", b"", 400, "body: must be the archive"),
        ("?name=a", b"bad", 400, "body: layer 1: a name[31m with \"..\""),
        ("?name=a", b"busy", 503, "too many images"),
        ("?name=a", b"full", 503, "there is no room for another image"),
    ] {
        let answer = upload(&client, query, archive);
        assert_eq!((answer.status, answer.error().starts_with(begins)), (status, true), "{query} {answer:?}");
    }
    world.runtime.refuse(Some("import_image"));
    let failed = upload(&client, "?name=a", b"x");
    assert_eq!((failed.status, failed.error()), (500, "the runtime failed"));
    for kind in ["application/json", "multipart/form-data; boundary=x", ""] {
        let client = client.clone().with("Content-Type", kind);
        let answer = client.post("/api/images?name=a", &json!({"name": "a", "path": "/etc/shadow"}));
        assert_eq!(
            (answer.status, answer.error().starts_with("body: must be an image")),
            (400, true),
            "{kind}"
        );
    }
    let long = b"POST /api/images?name=a HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-tar\r\n";
    let rest = format!("X-API-Key: {}\r\nContent-Length: 5368709121\r\n\r\n", world.key);
    assert_eq!(client.raw(&[long, rest.as_bytes()].concat()).status, 413);
    assert_eq!(client.get("/api/images").json, json!([]));
}

#[test]
fn images_have_scopes_of_their_own() {
    let world = World::new();
    let (reads, runs) = (tenant(&world, "one", &["images:read"]), tenant(&world, "one", &["exec"]));
    let writes = tenant(&world, "one", &["images:write"]);
    assert_eq!(reads.get("/api/images").status, 200);
    assert_eq!(upload(&reads, "?name=a", b"x").error(), "this key lacks the scope images:write");
    assert_eq!(runs.get("/api/images").error(), "this key lacks the scope images:read");
    let made = upload(&writes, "?name=a", b"x");
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(reads.delete(&format!("/api/images/{}", id(&made.json))).status, 403);
    assert_eq!(writes.delete(&format!("/api/images/{}", id(&made.json))).status, 200);
}

#[test]
fn an_organisation_sends_one_archive_at_a_time() {
    let world = World::new();
    let (one, two) = (tenant(&world, "one", &[]), tenant(&world, "two", &[]));
    let mut slow = one.connect();
    let mut text =
        one.clone().with("Content-Type", "application/x-tar").text("POST", "/api/images?name=a", b"xy");
    let last = text.pop().unwrap();
    slow.write_all(&text).unwrap();
    eventually("the first has a file", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", world.pid())).unwrap();
        let target = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
        open.filter_map(target).any(|path| path.to_string_lossy().contains("gateway/#"))
    });
    assert_eq!(upload(&one, "?name=b", b"x").error(), "quota: one image at a time");
    assert_eq!(upload(&two, "?name=b", b"x").status, 201, "another organisation has its own");
    slow.write_all(&[last]).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(upload(&one, "?name=b", b"x").status, 201);
}

#[test]
fn what_an_image_says_holds_where_a_request_says_nothing() {
    let world = World::new();
    let client = world.client();
    let body = json!({"name": "box", "image": "app", "envVars": {"BOTH": "tenant", "OWN": "tenant"}});
    let made = client.post("/api/sandboxes", &body);
    let sandbox = made.json["data"]["id"].as_str().unwrap().to_owned();
    let spec = |body: Value| -> Value {
        let shown = world.exec(&sandbox, &body);
        serde_json::from_str(shown.json["data"]["stdout"].as_str().unwrap()).unwrap()
    };
    let plain = spec(json!({"command": "show"}));
    assert_eq!((&plain["cwd"], &plain["user"]), (&json!("/srv"), &json!("app:app")));
    assert_eq!(plain["env"], json!([["BOTH", "tenant"], ["FROM", "image"], ["OWN", "tenant"]]));
    let asked = spec(json!({"command": "show", "cwd": "/tmp", "user": "root", "env": {"FROM": "request"}}));
    assert_eq!((&asked["cwd"], &asked["user"]), (&json!("/tmp"), &json!("root")));
    assert_eq!(asked["env"], json!([["BOTH", "tenant"], ["FROM", "request"], ["OWN", "tenant"]]));

    let path = format!("/api/sandboxes/{sandbox}/commands");
    let pid = client.post(&format!("{path}/run"), &json!({"command": "show"})).json["pid"].clone();
    let shown = client.post(&format!("{path}/attach"), &json!({"pid": pid})).text;
    assert!(shown.contains(r#""cwd":"/srv""#) && shown.contains(r#""user":"app:app""#), "{shown}");

    for (image, status) in [(&sandbox, 200), (&world.sandbox("code"), 403)] {
        let read = client.get(&format!("/api/sandboxes/{image}/files/download?path=/srv/of-app"));
        let made = client.send("POST", &format!("/api/sandboxes/{image}/files/mkdir?path=/srv/of-app"), b"");
        assert_eq!((read.status, made.status), (status, status), "{read:?} {made:?}");
    }
}

#[test]
fn an_upload_leaves_what_disks_were_promised() {
    let world = World::new();
    let client = world.client();
    let tries = [
        // What it says to have does not fit, and what fits at first is gone when it has come so far.
        (&[999][..], 1000, 503),
        (&[1001], 1000, 201),
        (&[1 << 30, 0], 70 << 20, 503),
        (&[1 << 30, 1], 70 << 20, 201),
    ];
    for (rooms, length, status) in tries {
        world.runtime.leave_room(rooms);
        let answer = upload(&client, "?name=a", &vec![b'x'; length]);
        assert_eq!(answer.status, status, "{rooms:?} {length} {answer:?}");
        if status == 503 {
            assert_eq!(answer.error(), "there is no room for another image");
        }
    }
}

#[test]
fn an_organisation_has_so_many_images() {
    let world = World::new();
    let client = tenant(&world, "acme", &[]);
    let change = QuotaChange { images: Some(Ceiling::Most(1)), ..QuotaChange::default() };
    assert_eq!(upload(&client, "?name=a", b"x").status, 201);
    bulkhead_gateway::admin::client::quota(&world.run_dir(), "acme", change).unwrap();
    let refused = upload(&client, "?name=b", b"x");
    assert_eq!((refused.status, refused.error()), (429, "quota: at most 1 images"));
    assert_eq!(upload(&client, "?name=a", b"y").status, 201, "another in its place");
    assert_eq!(upload(&client, "?name=a", b"much").error(), "quota: at most 20480 MiB of images");
}
