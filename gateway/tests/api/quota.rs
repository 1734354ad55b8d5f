//! What an organisation may have at once.

use crate::client::Client;
use crate::keys::tenant;
use crate::pty_socket::Socket;
use crate::world::{World, eventually};
use bulkhead_gateway::admin::Ceiling::{Most, Unbounded};
use bulkhead_gateway::admin::{QuotaChange, client as admin};
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

fn make(client: &Client) -> crate::client::Answer {
    client.post("/api/sandboxes", &json!({"name": "x", "limits": {"cpus": 0.5, "memoryMiB": 64}}))
}

fn set(world: &World, quota: QuotaChange) {
    admin::quota(&world.run_dir(), "acme", quota).unwrap();
}

#[test]
fn never_more_sandboxes_than_allowed_and_every_place_comes_back() {
    let mut world = World::new();
    let client = tenant(&world, "acme", &[]);
    set(&world, QuotaChange { sandboxes: Some(Most(5)), ..QuotaChange::default() });
    let answers: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100).map(|_| scope.spawn(|| make(&client))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((made.len(), world.runtime.ids().len()), (5, 5));
    for answer in refused {
        assert_eq!((answer.status, answer.error()), (429, "quota: at most 5 sandboxes"));
        assert!(!answer.head.to_ascii_lowercase().contains("retry-after"), "{}", answer.head);
    }
    let ids: Vec<_> = made.iter().map(|answer| answer.json["data"]["id"].as_str().unwrap()).collect();
    world.runtime.kill(ids[0]);
    eventually("the death is known", || {
        client.get(&format!("/api/sandboxes/{}", ids[0])).json["data"]["status"] == "killed"
    });
    assert_eq!(make(&client).status, 429, "a dead one has its place");
    world.stop(Signal::SIGKILL);
    world.start();
    assert_eq!(make(&client).status, 429, "counted again at a start");
    for id in ids {
        assert_eq!(client.delete(&format!("/api/sandboxes/{id}")).status, 200);
        assert_eq!(make(&client).status, 201);
        assert_eq!(make(&client).status, 429);
    }
    assert_eq!(world.sandbox("code").len(), 30, "nobody else is concerned");
}

#[test]
fn a_create_that_fails_takes_nothing() {
    let world = World::new();
    let client = tenant(&world, "acme", &[]);
    set(
        &world,
        QuotaChange {
            sandboxes: Some(Most(1)),
            cpu_millis: Some(Most(500)),
            memory_mib: Some(Most(64)),
            ..QuotaChange::default()
        },
    );
    for image in ["full", "liar", "nothing"] {
        let body = json!({"name": "x", "image": image, "limits": {"cpus": 0.5, "memoryMiB": 64}});
        assert_ne!(client.post("/api/sandboxes", &body).status, 429, "{image}");
    }
    assert_eq!(make(&client).status, 201);
}

#[test]
fn a_ceiling_that_was_set_can_be_taken_away_again() {
    let mut world = World::new();
    let client = tenant(&world, "acme", &[]);
    set(&world, QuotaChange { sandboxes: Some(Most(1)), streams: Some(Most(3)), ..QuotaChange::default() });
    assert_eq!((make(&client).status, make(&client).status), (201, 429));
    set(&world, QuotaChange { sandboxes: Some(Unbounded), ..QuotaChange::default() });
    let shown = admin::quota(&world.run_dir(), "acme", QuotaChange::default()).unwrap();
    assert_eq!((shown.sandboxes, shown.streams), (None, Some(3)), "what is not named stays");
    assert_eq!(make(&client).status, 201);
    world.stop(Signal::SIGKILL);
    world.start();
    assert_eq!(make(&client).status, 201, "it is kept");
}

#[test]
fn processors_and_memory_count_while_something_runs() {
    let world = World::new();
    let client = tenant(&world, "acme", &[]);
    set(
        &world,
        QuotaChange {
            cpu_millis: Some(Most(1000)),
            memory_mib: Some(Most(1 << 20)),
            ..QuotaChange::default()
        },
    );
    let first = make(&client).json["data"]["id"].as_str().unwrap().to_owned();
    assert_eq!(make(&client).status, 201);
    assert_eq!(make(&client).error(), "quota: at most 1000 thousandths of processors");
    world.runtime.kill(&first);
    eventually("the place of the dead one", || make(&client).status == 201);
    set(
        &world,
        QuotaChange { cpu_millis: Some(Most(8000)), memory_mib: Some(Most(100)), ..QuotaChange::default() },
    );
    assert_eq!(make(&client).error(), "quota: at most 104857600 bytes of memory");
}

#[test]
fn executions_and_streams_are_counted_while_they_last() {
    let world = World::new();
    let client = tenant(&world, "acme", &[]);
    set(&world, QuotaChange { executions: Some(Most(2)), streams: Some(Most(1)), ..QuotaChange::default() });
    let id = make(&client).json["data"]["id"].as_str().unwrap().to_owned();
    let body = json!({"name": "x", "image": "tty"});
    let tty = client.post("/api/sandboxes", &body).json["data"]["id"].as_str().unwrap().to_owned();
    let path = |tail: &str| format!("/api/sandboxes/{id}/{tail}");
    let hang = || {
        let mut stream = client.connect();
        stream.write_all(&client.text("POST", &path("exec-stream"), br#"{"command":"hang"}"#)).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        stream
    };
    let stream = hang();
    let run = |command: &str| client.post(&path("exec"), &json!({ "command": command }));
    let second = client.post(&path("exec-stream"), &json!({"command": "x"}));
    assert_eq!(second.error(), "quota: at most 1 streams");
    assert_eq!(Socket::open(&client, &path("pty")).err().unwrap().status, 429);
    assert_eq!(run("x").status, 200);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let body = json!({"command": "hang", "timeout": 2});
            client.post(&path("exec"), &body).status
        });
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(run("x").error(), "quota: at most 2 executions");
        assert_ne!(waits.join().unwrap(), 429);
    });
    drop(stream);
    eventually("everything is given back", || {
        let socket = Socket::open(&client, &format!("/api/sandboxes/{tty}/pty"));
        socket.is_ok() && run("x").status == 200
    });
}

#[test]
fn requests_and_bytes_have_a_rate() {
    let world = World::new();
    let client = tenant(&world, "acme", &[]);
    set(&world, QuotaChange { requests_per_second: Some(Most(10)), ..QuotaChange::default() });
    let start = Instant::now();
    let through = (0..200).filter(|_| client.get("/api/users/me").status == 200).count();
    let most = (start.elapsed().as_secs_f64() + 2.0) * 10.0 + 1.0;
    assert!(through >= 20 && f64::from(u32::try_from(through).unwrap()) <= most, "{through} of {most}");
    // One may just have become free.
    let refused = (0..50).map(|_| client.get("/api/users/me")).find(|answer| answer.status != 200).unwrap();
    assert_eq!(refused.error(), "quota: at most 10 requests per second");
    assert_eq!(world.client().get("/api/users/me").status, 200);

    set(
        &world,
        QuotaChange {
            requests_per_second: Some(Most(100_000)),
            bytes_per_second: Some(Most(100_000)),
            ..QuotaChange::default()
        },
    );
    let start = Instant::now();
    let sent: usize = (0..10).map(|_| client.get("/api/openapi.json").text.len()).sum();
    assert!(start.elapsed().as_secs_f64() < 1.0, "what needs no key pays nothing: {sent}");
    let start = Instant::now();
    let sent: usize = (0..600).map(|_| client.get("/api/users/me").head.len() + 250).sum();
    let least = f64::from(u32::try_from(sent).unwrap()) / 100_000.0 - 1.5;
    assert!(start.elapsed().as_secs_f64() > least, "{sent} bytes in {:?}", start.elapsed());
}

#[test]
fn two_hundred_creates_of_one_do_not_hold_up_another() {
    let world = World::new();
    let (many, one) = (tenant(&world, "many", &[]), tenant(&world, "one", &[]));
    let alone = Instant::now();
    assert_eq!(make(&one).status, 201);
    let alone = alone.elapsed();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..200).map(|_| scope.spawn(|| make(&many).status)).collect();
        eventually("they have begun", || world.runtime.ids().len() > 10);
        let beside = Instant::now();
        assert_eq!(make(&one).status, 201);
        let (beside, left) = (beside.elapsed(), calls.iter().filter(|call| !call.is_finished()).count());
        println!("alone {alone:?}, beside {left} others {beside:?}");
        let statuses: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");
    });
}
