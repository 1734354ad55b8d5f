//! Many organisations on one server: what is another's does not exist, keys do what they say and end when they shall,
//! and nobody has more than their share. Group T of the attack catalogue.

mod audit;
mod cross;
mod edges;
mod keys;
mod quota;
mod revoked;

use bulkhead_tests::{Client, Server};

/// A well-formed id that names nothing.
const UNKNOWN_ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Runs an operator's command that must succeed; gives what it prints.
fn operator(server: &Server, args: &[&str]) -> String {
    let output = server.command(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

/// A client of a new organisation.
fn tenant(server: &Server, name: &str) -> Client {
    let _id = operator(server, &["org", "create", name]);
    server.client().with_key(&operator(server, &["key", "create", "--org", name]))
}
