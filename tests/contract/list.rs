//! `GET /sandboxes`: order, pages, labels.

use bulkhead_tests::Server;
use serde_json::{Value, json};

fn names(data: &Value) -> Vec<&str> {
    data.as_array().expect("data is an array").iter().filter_map(|row| row["name"].as_str()).collect()
}

#[test]
fn an_empty_list_is_a_list() {
    let server = Server::start();
    let answer = server.client().get("/sandboxes").expect(200);
    assert_eq!(answer.data(), json!([]));
    let meta = &answer.json()["meta"];
    assert_eq!(
        (&meta["page"], &meta["total"], &meta["totalPages"]),
        (&json!(1), &json!(0), &json!(0)),
        "{meta}"
    );
    assert!(meta["limit"].is_i64(), "{meta}");
}

#[test]
fn newest_first_page_by_page() {
    let server = Server::start();
    let sandboxes = ["one", "two", "three"].map(|name| server.create_with(json!({"name": name})));
    let client = server.client();
    let pages = [
        ("", vec!["three", "two", "one"]),
        ("?page=1&limit=2", vec!["three", "two"]),
        ("?page=2&limit=2", vec!["one"]),
        ("?page=3&limit=2", vec![]),
    ];
    for (query, expected) in pages {
        let answer = client.get(&format!("/sandboxes{query}")).expect(200);
        assert_eq!(names(&answer.data()), expected, "{query}");
        assert_eq!(answer.json()["meta"]["total"], 3, "{query}");
    }
    let meta = client.get("/sandboxes?page=2&limit=2").expect(200).json()["meta"].clone();
    assert_eq!(meta, json!({"page": 2, "limit": 2, "total": 3, "totalPages": 2}));
    let clamped = client.get("/sandboxes?page=1&limit=5000").expect(200).json()["meta"]["limit"].clone();
    assert_eq!(clamped, 100, "limit is clamped");
    let row = &client.get("/sandboxes?limit=1").expect(200).data()[0];
    assert_eq!(row.as_object(), Some(&sandboxes[2].object()), "a row is the object that GET answers");
    sandboxes[1].delete();
    assert_eq!(names(&client.get("/sandboxes").expect(200).data()), ["three", "one"]);
}

#[test]
fn strange_pages_are_no_accident() {
    let server = Server::start();
    let queries = [
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=1.5",
        "page=99999999999999999999",
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=99999999999999999999",
        "page=9223372036854775807&limit=100",
        "page=1&page=2",
        "%ff=1",
        "labels=%ff",
    ];
    for query in queries {
        let answer = server.client().get(&format!("/sandboxes?{query}"));
        assert!(matches!(answer.status, 200 | 400), "{query}: {} {}", answer.status, answer.text());
        if answer.status == 400 {
            let _message = answer.error(400);
        } else {
            assert!(answer.data().is_array(), "{query}");
        }
    }
}

#[test]
fn labels_choose() {
    let server = Server::start();
    let rows = [
        ("red-1", json!({"colour": "red", "n": "1"})),
        ("red-2", json!({"colour": "red", "n": "2"})),
        ("accent", json!({"colour": "r\u{e9}d", "empty": ""})),
        ("none", json!({})),
    ];
    for (name, labels) in rows {
        let _sandbox = server.create_with(json!({"name": name, "labels": labels}));
    }
    let client = server.client();
    let queries = [
        ("colour=red", vec!["red-2", "red-1"]),
        ("colour%3Dred", vec!["red-2", "red-1"]),
        ("colour%3Dred%2Cn%3D1", vec!["red-1"]),
        ("colour=red,n=3", vec![]),
        ("colour%3Dr%C3%A9d", vec!["accent"]),
        ("empty=", vec!["accent"]),
        ("nosuch=red", vec![]),
        ("", vec!["none", "accent", "red-2", "red-1"]),
    ];
    for (labels, expected) in queries {
        let answer = client.get(&format!("/sandboxes?labels={labels}")).expect(200);
        assert_eq!(names(&answer.data()), expected, "{labels}");
    }
    for bad in ["colour", "colour=red,n", "%3D%27%20OR%201"] {
        let answer = client.get(&format!("/sandboxes?labels={bad}"));
        if bad != "%3D%27%20OR%201" || answer.status != 200 {
            let message = answer.error(400);
            assert!(message.contains("labels"), "{message}");
        }
    }
}
