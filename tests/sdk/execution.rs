//! Streams, code, background commands, terminals and files of the SDK.

use crate::run_sdk;
use bulkhead_tests::Server;

#[test]
fn exec_stream() {
    let server = Server::start();
    run_sdk(&server, "streams.py", &[]);
}

#[test]
fn run_code() {
    let server = Server::start();
    run_sdk(&server, "run_code.py", &[]);
}

#[test]
fn background_commands() {
    let server = Server::start();
    run_sdk(&server, "commands.py", &[]);
}

#[test]
fn terminals() {
    let server = Server::start();
    run_sdk(&server, "terminals.py", &[]);
}

#[test]
fn the_asynchronous_client() {
    let server = Server::start();
    run_sdk(&server, "asynchronous.py", &[]);
}

#[test]
fn files() {
    let server = Server::start();
    run_sdk(&server, "files.py", &[]);
}
