//! Requests that may be sent twice.

use crate::agent::{Agent, Streaming};
use crate::calls::detached;
use bulkhead_protocol::agent::{End, ExecutionSpec, IdempotencyKey, StartFailureKind};
use bulkhead_protocol::frame::FrameType;

fn keyed(spec: ExecutionSpec, key: &str, digest: &str) -> ExecutionSpec {
    ExecutionSpec { key: Some(IdempotencyKey { key: key.into(), digest: digest.into() }), ..spec }
}

#[test]
fn the_same_key_is_the_same_execution_and_another_body_a_conflict() {
    let agent = Agent::start();
    let spec = detached("echo once; sleep 0.2; exit 5");
    let handle = agent.detach(&keyed(spec.clone(), "k", "d"));
    assert_eq!(agent.detach(&keyed(spec.clone(), "k", "d")), handle);
    assert_eq!(agent.refusal(&keyed(spec.clone(), "k", "other")), StartFailureKind::KeyConflict);
    assert_eq!(agent.end_of(handle).end, End::Exited { code: 5 });
    assert_eq!(agent.detach(&keyed(spec.clone(), "k", "d")), handle, "after its end too");
    assert_ne!(agent.detach(&keyed(spec, "k2", "d")), handle);
}

#[test]
fn an_attached_one_with_a_key_goes_on_without_its_connection() {
    let agent = Agent::start();
    let spec = keyed(ExecutionSpec::attached("echo once; sleep 0.3; echo done; exit 6".into()), "k", "d");
    let open = || {
        let (status, body) = agent.post(&spec);
        assert_eq!(status, 200);
        Streaming::new(body)
    };
    let mut first = open();
    let started = first.next_frame().unwrap();
    assert_eq!(started.0, FrameType::Started);
    drop(first);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ran = open().collect();
                assert_eq!((ran.stdout(), ran.end()), ("once\ndone\n", End::Exited { code: 6 }));
            });
        }
    });
    assert_eq!(open().next_frame().unwrap(), started);
    assert_eq!(agent.list().len(), 1);
}

#[test]
fn two_at_once_start_one() {
    let agent = Agent::start();
    let spec = keyed(detached("sleep 0.2"), "k", "d");
    let handles: Vec<u64> = std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..8).map(|_| scope.spawn(|| agent.detach(&spec))).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    assert!(handles.iter().all(|handle| *handle == handles[0]));
    assert_eq!(agent.list().len(), 1);
    // A start that failed is no execution: the next one tries anew.
    let nowhere = ExecutionSpec { cwd: Some("/nowhere".into()), ..keyed(detached("true"), "f", "d") };
    for _ in 0..2 {
        assert_eq!(agent.refusal(&nowhere), StartFailureKind::NoSuchDirectory);
    }
}
