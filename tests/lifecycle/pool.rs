//! Sandboxes made ahead, in the real product.

use bulkhead_tests::{Options, Server, eventually};
use serde_json::json;
use std::collections::BTreeSet;

fn start(size: usize) -> Server {
    Server::start_with(&Options { args: vec!["--pool".to_owned(), size.to_string()], ..Options::default() })
}

/// Waits until so many sandboxes are on the host; gives their names.
fn filled(server: &Server, size: usize) -> BTreeSet<String> {
    eventually("the pool is full", || {
        let all: BTreeSet<String> = agents(server);
        if all.len() == size { Ok(all) } else { Err(format!("{all:?}")) }
    })
}

/// The ids of all that have an agent's socket.
fn agents(server: &Server) -> BTreeSet<String> {
    let entries =
        std::fs::read_dir(server.instance().run.join("gateway/agents")).expect("the agents' sockets");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(".sock").map(str::to_owned)).collect()
}

#[test]
fn one_made_ahead_is_like_one_made_anew() {
    let server = start(2);
    let ahead = filled(&server, 2);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let taken = server.create_with(json!({"name": "my.box", "envVars": {"A": "b"}}));
    assert!(ahead.contains(taken.id()), "{} is none of {ahead:?}", taken.id());
    let look =
        "hostname; cat /etc/hostname; getent hosts my.box | wc -l; echo $A; ls -A /root /tmp | wc -l; id -u";
    let seen = taken.exec(look).ok().stdout;
    let anew = server.create_with(json!({"name": "my.box", "envVars": {"A": "b"}, "mem": 2048}));
    assert!(!ahead.contains(anew.id()));
    assert_eq!(seen, anew.exec(look).ok().stdout);
    let walls = |sandbox: &bulkhead_tests::Sandbox<'_>| {
        sandbox.client().get(&sandbox.path("/isolation")).expect(200).data()["holds"].clone()
    };
    assert_eq!((walls(&taken), walls(&anew)), (json!(true), json!(true)));
    filled(&server, 4);
}

#[test]
fn fifty_creates_drain_it_and_it_fills_again() {
    let server = start(8);
    filled(&server, 8);
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..50).map(|_| scope.spawn(|| server.create().id().to_owned())).collect();
        calls.into_iter().map(|call| call.join().expect("the client")).collect()
    });
    assert_eq!(ids.len(), 50, "no two clients have one");
    filled(&server, 58);
    assert_eq!(server.client().get("/sandboxes?limit=1").expect(200).json()["meta"]["total"], 50);
}

#[test]
fn what_a_crash_leaves_of_it_is_gone_and_made_anew() {
    let mut server = start(3);
    let ahead = filled(&server, 3);
    let mine = server.create().id().to_owned();
    server.kill_everything();
    server.start_again();
    eventually("the old ones are gone and new ones there", || {
        let now = agents(&server);
        let old = now.intersection(&ahead).filter(|id| **id != mine).count();
        if old == 0 && now.len() == 4 { Ok(()) } else { Err(format!("{now:?}")) }
    });
    assert_eq!(bulkhead_tests::Sandbox::of(&server, &mine).exec("echo x").line(), "x");
    assert!(!server.log().contains("LEAK"));
}
