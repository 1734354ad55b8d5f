//! Many sandboxes, many clients, for long: nothing grows.

mod client;
mod measure;
mod resume;
mod stalled;
mod terminals;

use bulkhead_tests::residue::{descriptors, host_wide};
use bulkhead_tests::{Server, eventually};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Whether this is the long form (`scripts/test all`).
fn is_long() -> bool {
    std::env::var_os("BULKHEAD_TEST_LONG").is_some()
}

/// Rounds of the everyday form; the long form has twenty times as many.
fn rounds(everyday: usize) -> usize {
    if is_long() { everyday * 20 } else { everyday }
}

/// Numbers that are the same in each run.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 31
}

/// Create, exec, delete by four clients until `count` are done.
fn churn(server: &Server, count: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let sandbox = server.create();
                    assert_eq!(
                        sandbox.exec("echo x > /root/f; sleep 100 >/dev/null 2>&1 & echo ok").stdout,
                        "ok\n"
                    );
                    sandbox.delete();
                }
            });
        }
    });
    server.assert_no_sandbox_left();
}

/// What the two halves hold: descriptors by kind, and resident memory in KiB.
fn held(server: &Server) -> BTreeMap<String, usize> {
    let mut held = BTreeMap::new();
    for word in ["runtime", "gateway"] {
        for (kind, count) in descriptors(server.half(word).pid) {
            held.insert(format!("{word}: {kind}"), count);
        }
    }
    held
}

#[test]
fn churn_leaves_no_descriptor_no_memory_and_nothing_on_the_host() {
    let server = Server::start();
    churn(&server, 40);
    let (before, host_before) = (held(&server), host_wide());
    let memory_before: Vec<u64> =
        ["runtime", "gateway"].map(|word| server.half(word).resident_kib()).to_vec();
    let start = Instant::now();
    let count = rounds(200);
    churn(&server, count);
    println!("{count} sandboxes in {:.1} s", start.elapsed().as_secs_f64());
    eventually("no descriptor more than before", || {
        let now = held(&server);
        // Two id maps are kept for each range ever used; how many depends on how many sandboxes overlapped.
        let maps = now.get("runtime: user").copied().unwrap_or_default();
        assert!(maps <= 2 * 64, "{maps} id maps");
        let more: Vec<_> = now
            .iter()
            .filter(|(kind, _)| *kind != "runtime: user")
            .filter(|(kind, n)| before.get(*kind).unwrap_or(&0) < *n)
            .collect();
        if more.is_empty() { Ok(()) } else { Err(format!("{more:?}, before: {before:?}")) }
    });
    eventually("the host has what it had", || {
        let now = host_wide();
        let more: Vec<_> = now.iter().filter(|(what, n)| host_before[*what] < **n).collect();
        if more.is_empty() { Ok(()) } else { Err(format!("{more:?}, before: {host_before:?}")) }
    });
    for (word, before) in ["runtime", "gateway"].into_iter().zip(memory_before) {
        let now = server.half(word).resident_kib();
        assert!(now < before + (8 << 10), "{word} grew from {before} to {now} KiB");
    }
}

#[test]
fn a_hundred_sandboxes_live_beside_each_other() {
    let server = Server::start();
    let sandboxes: Vec<_> = (0..rounds(100).min(400)).map(|_| server.create()).collect();
    for (n, sandbox) in sandboxes.iter().enumerate() {
        let _run = sandbox.exec(&format!("echo {n} > /root/mine")).ok();
    }
    for (n, sandbox) in sandboxes.iter().enumerate() {
        assert_eq!(sandbox.exec("cat /root/mine").line(), n.to_string());
    }
    let total = server.client().get("/sandboxes?limit=1").expect(200).json()["meta"]["total"].clone();
    assert_eq!(total, sandboxes.len());
}

#[test]
fn thousands_of_commands_in_one_sandbox() {
    let server = Server::start();
    let sandbox = server.create();
    let total = rounds(2000);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for n in 0..total / 16 {
                    let run = sandbox.exec(&format!("echo {client}.{n}"));
                    assert_eq!((run.line(), run.code), (format!("{client}.{n}").as_str(), 0));
                }
            });
        }
    });
    println!("{total} commands in {:.1} s", start.elapsed().as_secs_f64());
    let agent = sandbox.agent();
    let open = descriptors(agent.pid).values().sum::<usize>();
    assert!(open < 40, "the agent holds {open} descriptors");
    assert!(agent.resident_kib() < 16 << 10, "the agent holds {} KiB", agent.resident_kib());
    let leaves = bulkhead_tests::host::directories(std::path::Path::new("/sys/fs/cgroup"), &|path| {
        path.split_once(sandbox.id()).is_some_and(|(_, below)| below.len() > 1)
    });
    assert!(leaves.len() < 4, "leaves are left: {leaves:?}");
}
