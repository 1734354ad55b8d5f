//! A client of the storm: it writes down what it was told.

use super::Random;
use bulkhead_tests::client::{Answer, Client};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sandboxes that one client keeps at once.
const MOST: usize = 5;
/// After an answer that was none.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a call is made again at most: a server is back within seconds.
const TRIES: usize = 1500;

/// What a client was told.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Sandboxes that exist, with what lies in their file.
    pub(super) kept: BTreeMap<String, String>,
    pub(super) created: u64,
    deleted: u64,
    slept: u64,
    woken: u64,
    /// Calls without an answer, and answers that ask for patience.
    cut: u64,
}

impl Book {
    pub(super) fn sum(books: Vec<Self>) -> Self {
        let mut sum = Self::default();
        for book in books {
            sum.kept.extend(book.kept);
            sum.created += book.created;
            sum.deleted += book.deleted;
            sum.slept += book.slept;
            sum.woken += book.woken;
            sum.cut += book.cut;
        }
        sum
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, created, deleted, slept, woken, cut } = self;
        write!(
            f,
            "created {created}, deleted {deleted}, slept {slept}, woken {woken}, cut calls {cut}; kept {}",
            kept.len()
        )
    }
}

/// Creates, uses and deletes until `stop`.
pub(super) fn work(client: &Client, number: u64, mut random: Random, stop: &AtomicBool) -> Book {
    let mut book = Book::default();
    while !stop.load(Ordering::Relaxed) {
        let chosen = book.kept.keys().nth(random.index(book.kept.len())).cloned();
        match (random.below(10), chosen) {
            (0..4, _) | (_, None) if book.kept.len() < MOST => {
                let key = format!("{number}-{}", book.created);
                create(client, &mut book, &key);
            }
            (4..6, Some(id)) => sleep(client, &mut book, &id),
            (6..8, Some(id)) => check(client, &mut book, &id),
            (_, Some(id)) => delete(client, &mut book, &id),
            (_, None) => {}
        }
    }
    book
}

/// The answer, if it is one: a server that is killed gives none, one that starts asks for patience.
fn told(
    client: &Client,
    book: &mut Book,
    method: &str,
    path: &str,
    body: Option<&Value>,
    key: &str,
) -> Option<Answer> {
    let text = body.map(ToString::to_string);
    let mut headers = vec![("X-API-Key", client.key())];
    if body.is_some() {
        headers.push(("Content-Type", "application/json"));
    }
    if !key.is_empty() {
        headers.push(("Idempotency-Key", key));
    }
    match client.try_send(method, &format!("/api{path}"), &headers, text.as_deref()) {
        Ok(answer) if !matches!(answer.status, 500 | 502..=504) => Some(answer),
        _ => {
            book.cut += 1;
            std::thread::sleep(PAUSE);
            None
        }
    }
}

/// Makes the same call until there is an answer.
fn insist(
    client: &Client,
    book: &mut Book,
    method: &str,
    path: &str,
    body: Option<&Value>,
    key: &str,
) -> Answer {
    let answer = (0..TRIES).find_map(|_| told(client, book, method, path, body, key));
    answer.unwrap_or_else(|| panic!("{method} {path} was never answered"))
}

/// The key makes it one sandbox, however often the answer is lost.
fn create(client: &Client, book: &mut Book, key: &str) {
    let answer = insist(client, book, "POST", "/sandboxes", Some(&json!({"name": "storm"})), key);
    let id = answer.expect(201).data()["id"].as_str().expect("an id").to_owned();
    assert!(!book.kept.contains_key(&id), "{key} gave a sandbox that was there: {id}");
    book.created += 1;
    let script = json!({"command": format!("echo -n {id} > /root/mark")});
    loop {
        let answer = insist(client, book, "POST", &format!("/sandboxes/{id}/exec"), Some(&script), "");
        if answer.expect(200).data()["exitCode"] == 0 {
            book.kept.insert(id.clone(), id);
            return;
        }
    }
}

fn sleep(client: &Client, book: &mut Book, id: &str) {
    let _done = insist(client, book, "POST", &format!("/sandboxes/{id}/sleep"), None, "").expect(200);
    book.slept += 1;
}

/// A sleeping sandbox wakes by itself.
fn check(client: &Client, book: &mut Book, id: &str) {
    let script = json!({"command": "cat /root/mark"});
    let data =
        insist(client, book, "POST", &format!("/sandboxes/{id}/exec"), Some(&script), "").expect(200).data();
    // One that was cut says so.
    if data["end"]["kind"] == "exited" {
        assert_eq!(data["stdout"], *id, "{data}");
        book.woken += 1;
    }
}

/// What was deleted by a call whose answer was lost is not found by the next.
fn delete(client: &Client, book: &mut Book, id: &str) {
    let cut = book.cut;
    let answer = insist(client, book, "DELETE", &format!("/sandboxes/{id}"), None, "");
    assert!(answer.status == 200 || (answer.status == 404 && book.cut > cut), "{}", answer.text());
    book.kept.remove(id);
    book.deleted += 1;
}
