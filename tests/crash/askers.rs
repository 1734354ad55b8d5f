//! Whoever asked for a launch may go away, or ask for the next one early: what runs is what somebody was told of.

use crate::kept::{id_of, listed, order};
use bulkhead_protocol::runtime::{Call, Disk, Reply};
use bulkhead_tests::{RuntimeLink, Server, eventually, host};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// How long a launch that should not be is waited for.
const LOOK: Duration = Duration::from_secs(2);

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

#[test]
fn a_launch_whose_asker_is_gone_is_not_made() {
    let server = Server::start();
    let sandbox = server.create();
    let (id, mut link) = (id_of(&sandbox), RuntimeLink::to(&server));
    assert_eq!(link.call(Call::Stop { id: id.clone() }), Reply::Stopped);
    eventually("nothing of it is left", || match link.call(Call::Stop { id: id.clone() }) {
        Reply::Refused { .. } => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let mut asker = RuntimeLink::to(&server);
    at_once(&server, || {
        asker.send(order(&id, 2, Disk::Kept));
        drop(asker);
    });
    never_listed(&mut link, &sandbox);
    // One that waits for the end of the launch before.
    assert_eq!(link.call(order(&id, 3, Disk::Kept)), Reply::Created { launch: 3 });
    let mut asker = RuntimeLink::to(&server);
    at_once(&server, || {
        link.send(Call::Stop { id: id.clone() });
        asker.send(order(&id, 4, Disk::Kept));
        drop(asker);
    });
    assert_eq!(link.answer(), Some(Reply::Stopped));
    never_listed(&mut link, &sandbox);
    assert_eq!(link.call(order(&id, 5, Disk::Kept)), Reply::Created { launch: 5 });
}

fn never_listed(link: &mut RuntimeLink, sandbox: &bulkhead_tests::Sandbox<'_>) {
    let until = Instant::now() + LOOK;
    while Instant::now() < until {
        assert_eq!(listed(link, &id_of(sandbox)), None, "nobody was told of it");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
}
