//! The HTTP API, field by field: what `contract.md` calls routes 1, 3, 4, 5, 7 and 17, and what surrounds them.

mod auth;
mod bodies;
mod create;
mod create_bounds;
mod doctor;
mod exec_bounds;
mod fuzz;
mod isolation;
mod list;
mod objects;
mod openapi;
mod organisations;
mod policy;
mod routing;
mod spec;
mod stats;
mod tls;
mod transport;

use bulkhead_tests::{Answer, Client};
use serde_json::{Value, json};

/// A well-formed id that names nothing.
const UNKNOWN_ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The body of a create that succeeds, with more fields.
fn create_body(more: &Value) -> Value {
    let mut body = json!({"name": "test", "image": "code", "cpu": 1, "mem": 1024});
    let fields = body.as_object_mut().expect("a literal object");
    fields.extend(more.as_object().expect("an object of more fields").clone());
    body
}

fn try_create(client: &Client, more: &Value) -> Answer {
    client.post("/sandboxes", &create_body(more))
}

/// Every row of `bad` must be refused with 400 and a message that names the field.
fn assert_refused(field: &str, bad: &[Value], send: impl Fn(&Value) -> Answer) {
    for value in bad {
        let shown: String = value.to_string().chars().take(80).collect();
        let answer = send(value);
        assert_eq!(answer.status, 400, "{field} = {shown}: {}", answer.text());
        let message = answer.error(400);
        assert!(message.contains(field), "{field} = {shown}: the message does not name the field: {message}");
        assert!(answer.headers.get("retry-after").is_none(), "{field} = {shown}: retry-after");
    }
}
