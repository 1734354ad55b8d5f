//! Quotas with the real product: exact under a rush, and nobody else is concerned.

use crate::{operator, tenant};
use bulkhead_tests::{Answer, Client, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn make(client: &Client) -> Answer {
    client
        .post("/sandboxes", &json!({"name": "x", "image": "code", "limits": {"cpus": 0.5, "memoryMiB": 64}}))
}

fn id(answer: &Answer) -> String {
    answer.data()["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_hundred_creates_at_once_get_five() {
    let mut server = Server::start();
    let client = tenant(&server, "acme");
    let quota: Value =
        serde_json::from_str(&operator(&server, &["org", "quota", "acme", "--sandboxes", "5"]))
            .expect("JSON");
    assert_eq!(quota["sandboxes"], 5);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100).map(|_| scope.spawn(|| make(&client))).collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    });
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).map(id).collect();
    assert_eq!(made.len(), 5);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.error(429).trim(), "quota: at most 5 sandboxes");
        assert!(answer.headers.get("retry-after").is_none());
    }
    assert_eq!(client.get("/sandboxes").expect(200).json()["meta"]["total"], 5);
    let _mine = server.create();
    server.kill_everything();
    server.start_again();
    assert_eq!(make(&client).error(429).trim(), "quota: at most 5 sandboxes", "counted again");
    let mut others = Vec::new();
    for id in made {
        let _done = client.delete(&format!("/sandboxes/{id}")).expect(200);
        others.push(self::id(&make(&client)));
        let _message = make(&client).error(429);
    }
    let quota = operator(&server, &["org", "quota", "acme", "--sandboxes", "none"]);
    assert!(!quota.contains("sandboxes"), "{quota}");
    others.push(id(&make(&client)));
    for id in others {
        let _done = client.delete(&format!("/sandboxes/{id}")).expect(200);
    }
}

#[test]
fn what_sleeps_has_its_place_and_no_processors() {
    let server = Server::start();
    let client = tenant(&server, "acme");
    let _quota = operator(&server, &["org", "quota", "acme", "--cpus", "1", "--memory-mib", "128"]);
    let (first, second) = (id(&make(&client)), id(&make(&client)));
    assert_eq!(make(&client).error(429).trim(), "quota: at most 1000 thousandths of processors");
    let sleep = |id: &str| client.call("POST", &format!("/sandboxes/{id}/sleep"), None).expect(200);
    let _done = sleep(&first);
    let third = id(&make(&client));
    let wake = format!("/sandboxes/{first}/wake");
    assert_eq!(
        client.call("POST", &wake, None).error(429).trim(),
        "quota: at most 1000 thousandths of processors"
    );
    let exec = client.post(&format!("/sandboxes/{first}/exec"), &json!({"command": "true"}));
    let _message = exec.error(429);
    let _done = sleep(&second);
    let _done = client.call("POST", &wake, None).expect(200);
    for id in [first, second, third] {
        let _done = client.delete(&format!("/sandboxes/{id}")).expect(200);
    }
}

/// N10: while one organisation rushes, the create of another takes its turn.
#[test]
fn n10_a_rush_of_one_organisation_delays_another_by_a_turn() {
    let server = Server::start();
    let (many, one) = (tenant(&server, "many"), tenant(&server, "one"));
    let timed = |client: &Client| {
        let start = Instant::now();
        let id = id(&make(client));
        let time = start.elapsed();
        let _done = client.delete(&format!("/sandboxes/{id}")).expect(200);
        time
    };
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let alone = median((0..15).map(|_| timed(&one)).collect());
    let beside = std::thread::scope(|scope| {
        let rush: Vec<_> = (0..200).map(|_| scope.spawn(|| make(&many))).collect();
        let beside: Vec<_> = (0..15).map(|_| timed(&one)).collect();
        let still = rush.iter().filter(|call| !call.is_finished()).count();
        println!("the rush had {still} of 200 left");
        for call in rush {
            let answer = call.join().expect("an answer");
            let _done = many.delete(&format!("/sandboxes/{}", id(&answer))).expect(200);
        }
        median(beside)
    });
    println!("alone {alone:?}, beside 200 creates {beside:?}");
    // The deletes of the harness are among the load; first come, first served would be hundreds of milliseconds.
    assert!(beside < alone * 20, "alone {alone:?}, beside {beside:?}");
}
