//! Whoever asked for a launch may go away, or ask for the next one early: what runs is what somebody was told of.

use crate::kept::{id_of, listed, order};
use bulkhead_protocol::runtime::{Call, Disk, Reply};
use bulkhead_tests::{RuntimeLink, Server, host};
use nix::sys::signal::Signal;

/// What `deed` asks for, the runtime hears at once and in this order.
fn at_once<T>(server: &Server, deed: impl FnOnce() -> T) -> T {
    let runtime = server.half("runtime").pid;
    host::signal(runtime, Signal::SIGSTOP);
    let done = deed();
    host::signal(runtime, Signal::SIGCONT);
    done
}

#[test]
fn a_create_right_behind_a_destroy_waits_for_its_end() {
    let server = Server::start();
    let sandbox = server.create();
    let (id, mut first, mut second) = (id_of(&sandbox), RuntimeLink::to(&server), RuntimeLink::to(&server));
    for launch in 2..5 {
        at_once(&server, || {
            first.send(Call::Destroy { id: id.clone() });
            second.send(order(&id, launch, Disk::New));
        });
        assert_eq!(first.answer(), Some(Reply::Destroyed));
        assert_eq!(second.answer(), Some(Reply::Created { launch }));
        assert_eq!(listed(&mut first, &id).map(|row| row.launch), Some(launch));
    }
    assert_eq!(first.call(Call::Destroy { id }), Reply::Destroyed);
}
