//! `Idempotency-Key` on the routes that have no memory of their own.

use crate::client::{Answer, Client};
use crate::keys::tenant;
use crate::world::World;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn keyed(client: &Client, key: &str) -> Client {
    client.clone().with("Idempotency-Key", key)
}

fn session(client: &Client, key: &str, id: &str, body: &Value) -> Answer {
    keyed(client, key).post(&format!("/api/sandboxes/{id}/pty/sessions"), body)
}

fn sessions(client: &Client, id: &str) -> usize {
    let listed = client.get(&format!("/api/sandboxes/{id}/pty/sessions"));
    listed.json["data"]["sessions"].as_array().unwrap().len()
}

#[test]
fn the_same_request_is_done_once_and_answered_alike() {
    let mut world = World::new();
    let (id, other) = (world.sandbox("tty"), world.sandbox("tty"));
    let client = world.client();
    let first = session(&client, "k", &id, &json!({"cols": 90}));
    assert_eq!(first.status, 200, "{first:?}");
    let again = session(&client, "k", &id, &json!({"cols": 90}));
    assert_eq!((again.status, &again.text), (200, &first.text));
    assert_eq!(sessions(&client, &id), 1);
    let another = session(&client, "k", &id, &json!({"cols": 91}));
    assert_eq!((another.status, another.error()), (409, "Idempotency-Key: was used with another request"));
    assert_eq!(session(&client, "k", &other, &json!({"cols": 91})).status, 200, "another object");
    assert_eq!(session(&client, "l", &id, &json!({"cols": 90})).status, 200, "another key");
    assert_eq!(sessions(&client, &id), 2);
    world.stop(Signal::SIGKILL);
    world.start();
    assert_eq!(session(&client, "k", &id, &json!({"cols": 90})).text, first.text, "it is remembered");
    let delete = || keyed(&client, "k").delete(&format!("/api/sandboxes/{id}"));
    let (gone, again) = (delete(), delete());
    assert_eq!((gone.status, again.status, gone.text), (200, 200, again.text));
    assert_eq!(client.delete(&format!("/api/sandboxes/{id}")).status, 404);
    let missing = || keyed(&client, "m").delete(&format!("/api/sandboxes/{id}"));
    assert_eq!((missing().status, missing().status), (404, 404));
}

#[test]
fn many_at_once_are_one() {
    let world = World::new();
    let id = world.sandbox("tty");
    let client = world.client();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..16).map(|_| scope.spawn(|| session(&client, "k", &id, &json!({})).text)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|text| text == &answers[0] && text.contains("success")), "{answers:?}");
    assert_eq!(sessions(&client, &id), 1);
}

#[test]
fn no_secret_and_no_failure_is_kept_and_no_other_organisation_sees_any() {
    let world = World::new();
    let (one, two) = (tenant(&world, "one", &[]), tenant(&world, "two", &[]));
    let make = |client: &Client| keyed(client, "k").post("/api/orgs/apikeys", &json!({"keyName": "x"}));
    let made = make(&one);
    assert_eq!(made.status, 200);
    let again = make(&one);
    let text = "Idempotency-Key: the request was carried out, its answer was not kept";
    assert_eq!((again.status, again.error()), (409, text));
    assert_eq!(make(&two).status, 200);
    let plain = made.json["plainKey"].as_str().unwrap().as_bytes();
    for file in std::fs::read_dir(world.state_dir().join("gateway")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(plain.len()).any(|window| window == plain));
    }
    let bad = || keyed(&one, "b").post("/api/orgs/apikeys", &json!({"keyName": ""}));
    assert_eq!((bad().error().to_owned(), bad().status), (bad().error().to_owned(), 400));
    for key in ["a b", &"x".repeat(256), "\u{e9}"] {
        let refused = keyed(&one, key).post("/api/orgs/apikeys", &json!({"keyName": "x"}));
        assert!(refused.status == 400 && refused.error().starts_with("Idempotency-Key: "), "{refused:?}");
    }
}
