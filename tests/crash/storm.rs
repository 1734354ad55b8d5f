//! `kill -9` at random moments under load: whatever a client was told stays true, nothing is left, and no counter is
//! wrong. The everyday form kills 30 times, the long one 500 times.

mod client;

use bulkhead_tests::eventually::within;
use bulkhead_tests::{Sandbox, Server, host};
use client::{Book, work};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Kills of one run.
const KILLS: usize = 30;
const KILLS_LONG: usize = 500;
/// Clients that create, use and delete without pause.
const CLIENTS: u64 = 4;
/// Sandboxes that the organisation may have: what the clients hold at most, and those they do not know of.
const QUOTA: usize = 60;
/// Longest time between two kills, in milliseconds, from healthy on.
const LONGEST_PAUSE: u64 = 400;
/// What was cut in half is settled by then.
const SETTLED: Duration = Duration::from_secs(30);

/// Numbers of a seed that a failing run names.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Of one among so many; 0 where there are none.
    fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.below(u64::try_from(count).unwrap_or(1).max(1))).unwrap_or(0)
    }
}

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Gateway,
    Runtime,
    Both,
    All,
}

impl Victim {
    const ALL: [Self; 4] = [Self::Gateway, Self::Runtime, Self::Both, Self::All];

    fn choose(random: &mut Random) -> Self {
        // A supervisor waits longer for each half that dies early; a new one begins at the first pause.
        match random.below(10) {
            0..3 => Self::Gateway,
            3..5 => Self::Runtime,
            5..7 => Self::Both,
            _ => Self::All,
        }
    }

    fn kill(self, server: &mut Server) {
        match self {
            Self::Gateway => host::kill9(server.half("gateway").pid),
            Self::Runtime => host::kill9(server.half("runtime").pid),
            Self::Both => {
                ["gateway", "runtime"].map(|word| server.half(word).pid).into_iter().for_each(host::kill9)
            }
            Self::All => {
                server.kill_everything();
                server.start_again();
            }
        }
    }
}

#[test]
fn kills_at_random_lose_nothing_and_leave_nothing() {
    let seed = std::env::var("BULKHEAD_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    let kills = if std::env::var_os("BULKHEAD_TEST_LONG").is_some() { KILLS_LONG } else { KILLS };
    println!("BULKHEAD_TEST_SEED={seed}");
    let mut server = Server::start();
    let key = organisation(&server);
    let client = server.client().with_key(&key);
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    let (books, died) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (client, stop) = (client.clone(), &stop);
                scope.spawn(move || work(&client, number, Random(seed ^ (number << 40)), stop))
            })
            .collect();
        let died = storm(&mut server, kills, Random(seed));
        stop.store(true, Ordering::Relaxed);
        let books: Vec<Book> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        (books, died)
    });
    let book = Book::sum(books);
    for (victim, count) in Victim::ALL.iter().zip(died) {
        println!("killed {victim:?}: {count}");
    }
    println!("{book}, in {:?}", start.elapsed());
    assert!(
        usize::try_from(book.created).is_ok_and(|created| created > kills),
        "the clients did next to nothing: {book}"
    );
    assert_all_kept(&server, &key, &book);
    assert_counters(&server, &key);
}

/// An organisation of its own, with a quota, so that its counters can be told from outside.
fn organisation(server: &Server) -> String {
    let made = server.command(&["org", "create", "storm"]);
    assert!(made.status.success(), "{made:?}");
    let quota = server.command(&["org", "quota", "storm", "--sandboxes", &QUOTA.to_string()]);
    assert!(quota.status.success(), "{quota:?}");
    let key = server.command(&["key", "create", "--org", "storm"]);
    assert!(key.status.success(), "{key:?}");
    String::from_utf8(key.stdout).expect("a key is text").trim().to_owned()
}

/// Kills, waits until all is well, lets it be well for a moment, and again.
fn storm(server: &mut Server, kills: usize, mut random: Random) -> [usize; 4] {
    let mut died = [0; 4];
    for number in 1..=kills {
        std::thread::sleep(Duration::from_millis(random.below(LONGEST_PAUSE)));
        let victim = Victim::choose(&mut random);
        victim.kill(server);
        if let Some(count) =
            Victim::ALL.iter().position(|other| *other == victim).and_then(|at| died.get_mut(at))
        {
            *count += 1;
        }
        // Sometimes the next one dies while it starts.
        if random.below(4) > 0 {
            server.wait_healthy();
        }
        if number % 50 == 0 {
            println!("{number} kills");
        }
    }
    server.wait_healthy();
    died
}

/// Every sandbox that a client was told of and did not delete answers with its file; none is there that nobody knows.
fn assert_all_kept(server: &Server, key: &str, book: &Book) {
    let client = server.client().with_key(key);
    for (id, mark) in &book.kept {
        let kept = within(SETTLED, &format!("{id} answers"), || {
            let body = json!({"command": "cat /root/mark"});
            let answer = client.post(&format!("/sandboxes/{id}/exec"), &body);
            if answer.status == 200 { Ok(answer.data()["stdout"].clone()) } else { Err(answer.text()) }
        });
        assert_eq!(kept, *mark, "{id}");
    }
    within(SETTLED, "nothing is listed that no client was told of", || {
        let strange: Vec<_> =
            listed(server, key).into_iter().filter(|id| !book.kept.contains_key(id)).collect();
        if strange.is_empty() { Ok(()) } else { Err(format!("{strange:?}")) }
    });
    let leaks = within(SETTLED, "no leak is reported", || {
        let leaks = server.client().get("/admin/leaks").expect(200).data()["leaks"].clone();
        if leaks.as_array().is_some_and(Vec::is_empty) { Ok(leaks) } else { Err(leaks.to_string()) }
    });
    println!("leaks reported: {leaks}");
}

fn listed(server: &Server, key: &str) -> Vec<String> {
    let client = server.client().with_key(key);
    let rows = client.get("/sandboxes?limit=100").expect(200).data();
    let rows = rows.as_array().expect("data of a list is an array");
    rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
}

/// With nothing left the organisation may have as many as its quota says, and not one more.
fn assert_counters(server: &Server, key: &str) {
    let client = server.client().with_key(key);
    for id in listed(server, key) {
        let _deleted = client.delete(&format!("/sandboxes/{id}")).expect(200);
    }
    server.assert_no_sandbox_left();
    let body = json!({"name": "counted", "sync": false});
    let made: Vec<_> = (0..QUOTA).map(|_| client.post("/sandboxes", &body).expect(201).data()).collect();
    let over = client.post("/sandboxes", &body);
    assert!(over.error(429).contains("sandboxes"), "{}", over.text());
    for row in made {
        let id = row["id"].as_str().expect("an id");
        let _deleted = client.delete(&format!("/sandboxes/{id}")).expect(200);
    }
    let _again = Sandbox::of(server, &client.post("/sandboxes", &body).expect(201).data()["id"].to_string());
    for id in listed(server, key) {
        let _deleted = client.delete(&format!("/sandboxes/{id}")).expect(200);
    }
}
