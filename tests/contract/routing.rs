//! Paths and methods around the routes.

use crate::UNKNOWN_ID;
use bulkhead_tests::{Options, Server};

#[test]
fn repeated_slashes_are_one() {
    let server = Server::start();
    let key = server.client().key();
    for path in ["/api//sandboxes", "//api/sandboxes", "/api///sandboxes", "//api//sandboxes"] {
        let _data = server.client().send("GET", path, &[("X-API-Key", key)], None).expect(200).data();
    }
}

#[test]
fn nothing_is_redirected() {
    let server = Server::start();
    for path in ["/sandboxes/", "", "/", "/sandboxes/.", "/sandboxes/../version", "/nosuch", "/version/"] {
        let answer = server.client().get(path);
        assert!(!(300..400).contains(&answer.status), "{path}: {}", answer.status);
        assert!(answer.status < 500, "{path}: {}", answer.status);
    }
}

#[test]
fn what_is_not_there_is_404_in_the_envelope() {
    let server = Server::start();
    let sandbox = server.create();
    let id = sandbox.id();
    let later = [
        ("POST", format!("/sandboxes/{id}/snapshot")),
        ("POST", format!("/sandboxes/{id}/commands/nosuch")),
        ("POST", format!("/sandboxes/{id}/commands/1/nosuch")),
        ("GET", format!("/sandboxes/{id}/pty/nosuch")),
        ("GET", format!("/sandboxes/{id}/snapshots")),
        ("POST", "/register".to_owned()),
        ("GET", "/nosuch".to_owned()),
        ("GET", format!("/sandboxes/{UNKNOWN_ID}/nosuch")),
    ];
    for (method, path) in later {
        let body = (method == "POST").then_some("{}");
        let _message = server.client().call(method, &path, body).error(404);
    }
    for (method, path) in [("PUT", "/sandboxes"), ("PROPFIND", "/sandboxes"), ("POST", "/version")] {
        let answer = server.client().call(method, path, None);
        assert!(matches!(answer.status, 404 | 405 | 501), "{method} {path}: {}", answer.status);
        let _message = answer.error(answer.status);
    }
}

#[test]
fn head_and_options_do_no_harm() {
    let server = Server::start();
    for path in ["/version", "/sandboxes", "/nosuch"] {
        for method in ["HEAD", "OPTIONS"] {
            let answer = server.client().call(method, path, None);
            assert!(answer.status < 500, "{method} {path}: {}", answer.status);
            assert!(method != "HEAD" || answer.body.is_empty(), "a HEAD has no body");
            let allowed = answer.headers.get("access-control-allow-origin");
            assert!(allowed.is_none_or(|origin| origin != "*"), "{method} {path} lets every page in");
        }
    }
}

#[test]
fn health_and_metrics_are_for_operators() {
    let port = 32_000 + std::process::id() % 700;
    let metrics = format!("127.0.0.1:{port}");
    let args = ["--metrics-listen".to_owned(), metrics.clone()].to_vec();
    let server = Server::start_with(&Options { args, ..Options::default() });
    let _sandbox = server.create();
    let health = server.client().send("GET", "/healthz", &[], None);
    assert_eq!(health.status, 200);
    let outside = bulkhead_tests::Client::new(&metrics, "");
    let answer = outside.send("GET", "/metrics", &[], None).expect(200);
    let text = answer.text();
    assert!(text.lines().any(|line| line.starts_with("bulkhead_")), "{text}");
    assert!(text.contains("# TYPE"), "{text}");
    let on_api = server.client().send("GET", "/metrics", &[], None);
    assert_eq!(on_api.status, 404, "metrics have a listener of their own");
}
