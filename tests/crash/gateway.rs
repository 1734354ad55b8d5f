//! The gateway is killed right behind every single step that it takes: what was acknowledged is there, what was not is
//! gone or finished, and every sandbox can be used.

use bulkhead_failpoint::{Gateway, ONCE_ENV, POINT_ENV, Point};
use bulkhead_tests::eventually::patience;
use bulkhead_tests::programs::weakened_programs;
use bulkhead_tests::sse::Events;
use bulkhead_tests::streaming::Streaming;
use bulkhead_tests::{Options, Sandbox, Server, eventually};
use serde_json::json;

/// What is under way when the gateway dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    /// With a key, so that it is finished and not removed.
    Promise,
    Wake,
    Sleep,
    Freeze,
    Thaw,
    Delete,
    /// A create that fails, for which there is no room on the host; with a key.
    Withdraw,
    /// A create from a pool, or the filling of one.
    Take,
}

fn operations(point: Gateway) -> &'static [Operation] {
    match point {
        Gateway::CreateRow => &[Operation::Create, Operation::Promise],
        Gateway::CreateWithdrawn => &[Operation::Withdraw],
        Gateway::LaunchAnswered | Gateway::LaunchRow => {
            &[Operation::Create, Operation::Promise, Operation::Wake]
        }
        Gateway::WakeRow => &[Operation::Wake],
        Gateway::SleepRow | Gateway::SleepStopped | Gateway::SleepDone => &[Operation::Sleep],
        Gateway::FreezeDone => &[Operation::Freeze],
        Gateway::ThawDone => &[Operation::Thaw],
        Gateway::DeleteRow | Gateway::DeleteGone => &[Operation::Delete],
        Gateway::SpareRow | Gateway::SpareNamed | Gateway::SpareTaken => &[Operation::Take],
    }
}

/// Servers that stand beside each other: most of a run is waiting for one that starts again.
const BESIDE: usize = 4;

fn run_all(wanted: &[Operation]) {
    let all =
        Gateway::ALL.iter().flat_map(|point| operations(*point).iter().map(move |what| (*point, *what)));
    let all: Vec<_> = all.filter(|(_, what)| wanted.contains(what)).collect();
    assert!(!all.is_empty());
    for some in all.chunks(BESIDE) {
        std::thread::scope(|scope| {
            for (point, what) in some {
                scope.spawn(|| run(*point, *what));
            }
        });
    }
}

/// How often the point is passed before: by the sandbox that the operation is about.
fn count(point: Gateway, what: Operation) -> u32 {
    match (point, what) {
        (Gateway::LaunchAnswered | Gateway::LaunchRow | Gateway::CreateRow, _) => 2,
        _ => 1,
    }
}

fn run(point: Gateway, what: Operation) {
    println!("{}: {what:?}", point.name());
    let marker = tempfile::tempdir().expect("a directory");
    // The gateway, which makes the file, is nobody.
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(marker.path(), all).expect("own directory");
    let fired = marker.path().join("fired");
    let server = Server::start_with(&Options {
        programs: Some(weakened_programs()),
        environment: vec![
            (POINT_ENV.to_owned(), format!("{}:{}", point.name(), count(point, what))),
            (ONCE_ENV.to_owned(), fired.display().to_string()),
        ],
        args: match what {
            Operation::Take => vec!["--pool".to_owned(), "1".to_owned()],
            Operation::Withdraw => vec!["--memory-overcommit".to_owned(), room_for(2.5)],
            _ => Vec::new(),
        },
        ..Options::default()
    });
    // With a pool the first create is the one that dies.
    let victim = (what != Operation::Take).then(|| server.create());
    if let Some(victim) = &victim {
        assert_eq!(victim.exec("echo mine > /root/mine").code, 0);
    }
    let path = victim.as_ref().map(|victim| victim.path("")).unwrap_or_default();
    let steps: &[(&str, &str)] = match what {
        Operation::Create | Operation::Promise | Operation::Withdraw | Operation::Take => {
            &[("POST", "/sandboxes")]
        }
        Operation::Wake => &[("POST", "/sleep"), ("POST", "/wake")],
        Operation::Sleep => &[("POST", "/sleep")],
        Operation::Freeze => &[("POST", "/freeze")],
        Operation::Thaw => &[("POST", "/freeze"), ("POST", "/thaw")],
        Operation::Delete => &[("DELETE", "")],
    };
    let mut answered = 0;
    for (method, step) in steps {
        let target =
            if *step == "/sandboxes" { "/api/sandboxes".to_owned() } else { format!("/api{path}{step}") };
        answered += u64::from(send(&server, method, &target, what).is_some());
    }
    eventually(point.name(), || {
        if fired.exists() {
            return Ok(());
        }
        if what == Operation::Take {
            // The first create may have come before there was a spare to take.
            answered += u64::from(send(&server, "POST", "/api/sandboxes", what).is_some());
        }
        Err("the point is not reached".to_owned())
    });
    server.wait_healthy();
    check(&server, what, victim.as_ref(), answered);
    let late = server.create();
    assert_eq!(late.exec("echo new").stdout, "new\n", "{}", point.name());
}

/// Sends what the gateway may not live to answer.
fn send(server: &Server, method: &str, target: &str, what: Operation) -> Option<String> {
    let mut headers = vec![("X-API-Key", server.client().key())];
    if matches!(what, Operation::Promise | Operation::Withdraw) {
        headers.push(("Idempotency-Key", "promised"));
    }
    let mem = if what == Operation::Withdraw { 2048 } else { 1024 };
    let body = (method == "POST").then(|| json!({"name": "second", "cpu": 1, "mem": mem}).to_string());
    let answer = server.client().try_send(method, target, &headers, body.as_deref()).ok()?;
    (answer.status == 201).then(|| answer.data()["id"].as_str().expect("an id").to_owned())
}

/// The factor of overcommitted memory with which the host has room for so many GiB.
fn room_for(gib: f64) -> String {
    let meminfo = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let total = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("MemTotal");
    format!("{:.4}", gib * f64::from(1 << 20) / total)
}

/// After the kill, before which so many creates were answered.
fn check(server: &Server, what: Operation, victim: Option<&Sandbox<'_>>, answered: u64) {
    let total = || server.client().get("/sandboxes").expect(200).json()["meta"]["total"].as_u64();
    match what {
        Operation::Create => {
            // Its row may have been ready for the answer that was not given.
            assert!(total() <= Some(2), "{:?}", total());
        }
        Operation::Promise => {
            let id = send(server, "POST", "/api/sandboxes", what).expect("the same request is answered");
            let again = send(server, "POST", "/api/sandboxes", what).expect("and again");
            assert_eq!((total(), &id), (Some(2), &again));
            assert_eq!(Sandbox::of(server, &id).exec("echo x").stdout, "x\n");
        }
        Operation::Withdraw => {
            // Its sandbox goes, and its key makes another once there is room.
            eventually("nothing of it is left", || {
                let total = total();
                if total == Some(1) { Ok(()) } else { Err(format!("{total:?}")) }
            });
            assert_eq!(send(server, "POST", "/api/sandboxes", what), None, "there is no room");
            let small = send(server, "POST", "/api/sandboxes", Operation::Promise).expect("the key is free");
            let _gone = server.client().delete(&format!("/sandboxes/{small}")).expect(200);
        }
        Operation::Take => {
            // None that was answered is lost; the one that was not may be there.
            let total = total().expect("a total");
            assert!((answered..=answered + 1).contains(&total), "{total} of {answered}");
        }
        Operation::Delete => {
            let victim = victim.expect("there is one");
            assert_told_once(server, victim.id());
            assert_eq!(server.client().get(&victim.path("")).status, 404);
            server.assert_no_sandbox_left();
        }
        Operation::Wake | Operation::Sleep | Operation::Freeze | Operation::Thaw => {}
    }
    if let Some(victim) = victim.filter(|_| what != Operation::Delete) {
        assert_eq!(victim.exec("cat /root/mine").stdout, "mine\n", "{what:?}");
        assert_eq!(victim.object()["status"], "running");
    }
    assert!(!server.log().contains("LEAK"), "{what:?}");
}

/// Who follows the organisation hears from the next gateway that a sandbox is gone, behind the gap and once.
fn assert_told_once(server: &Server, id: &str) {
    let mut events = Events::of(Streaming::get(server.client(), "/events?from=0"));
    assert_eq!(events.within(patience()).name, "gap");
    let told = events.within(patience());
    assert_eq!((told.name.as_str(), &told.json()["sandboxId"]), ("sandbox.deleted", &json!(id)));
    let late = server.create();
    let next = events.within(patience());
    assert_eq!((next.name.as_str(), &next.json()["sandboxId"]), ("sandbox.created", &json!(late.id())));
    late.delete();
}

#[test]
fn behind_every_step_of_a_create() {
    run_all(&[Operation::Create, Operation::Promise, Operation::Withdraw]);
}

#[test]
fn behind_every_step_of_sleep_and_wake() {
    run_all(&[Operation::Sleep, Operation::Wake]);
}

#[test]
fn behind_every_step_of_freeze_thaw_and_delete() {
    run_all(&[Operation::Freeze, Operation::Thaw, Operation::Delete]);
}

#[test]
fn behind_every_step_of_the_pool() {
    run_all(&[Operation::Take]);
}
