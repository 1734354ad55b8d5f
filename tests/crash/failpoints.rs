//! The runtime is killed right behind every single step that it takes (`failpoint/`): what was acknowledged lives,
//! what was not is gone or finished, nothing is left, and the next sandbox works.

use crate::kept::{id_of, on_disk, order, refused};
use bulkhead_failpoint::{ONCE_ENV, POINT_ENV, Point, Runtime};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{Call, Disk, RefusalKind, Reply};
use bulkhead_tests::programs::weakened_programs;
use bulkhead_tests::{Options, RuntimeLink, Sandbox, Server, eventually};
use serde_json::json;

/// What is under way when the runtime dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Destroy,
    Stop,
    Freeze,
    Name,
}

/// The operations on whose way a point lies.
fn operations(point: Runtime) -> &'static [Operation] {
    match point {
        Runtime::LaunchRecorded
        | Runtime::LaunchSocket
        | Runtime::LaunchGroups
        | Runtime::LaunchRoot
        | Runtime::LaunchAway
        | Runtime::LaunchCloned
        | Runtime::LaunchMapped
        | Runtime::LaunchExecuted
        | Runtime::LaunchRunning => &[Operation::Create],
        Runtime::EndRecorded
        | Runtime::EndKilled
        | Runtime::EndEmpty
        | Runtime::EndDisk
        | Runtime::EndSocket
        | Runtime::EndTold
        | Runtime::EndGroups
        | Runtime::EndForgotten => &[Operation::Destroy, Operation::Stop],
        Runtime::TurnAsked | Runtime::TurnDone => &[Operation::Freeze],
        Runtime::Named => &[Operation::Name],
    }
}

/// A server whose runtime dies the `count`-th time that it reaches a point, once.
struct Armed {
    server: Server,
    marker: tempfile::TempDir,
}

impl Armed {
    fn start(point: Runtime, count: u32) -> Self {
        let marker = tempfile::tempdir().expect("a directory");
        let once = marker.path().join("fired").display().to_string();
        let server = Server::start_with(&Options {
            programs: Some(weakened_programs()),
            environment: vec![
                (POINT_ENV.to_owned(), format!("{}:{count}", point.name())),
                (ONCE_ENV.to_owned(), once),
            ],
            ..Options::default()
        });
        Self { server, marker }
    }

    /// Waits until the runtime has died of the point and another one answers.
    fn after_death(&self) -> RuntimeLink {
        eventually("the point is reached", || {
            let fired = self.marker.path().join("fired").exists();
            fired.then_some(()).ok_or_else(|| self.server.log_tail())
        });
        self.server.wait_healthy();
        RuntimeLink::to(&self.server)
    }
}

/// Servers that stand beside each other: most of a run is waiting for one that starts again.
const BESIDE: usize = 4;

fn run_all(wanted: Operation) {
    let points: Vec<_> = Runtime::ALL.iter().filter(|point| operations(**point).contains(&wanted)).collect();
    for some in points.chunks(BESIDE) {
        std::thread::scope(|scope| {
            for point in some {
                scope.spawn(|| run(**point, wanted));
            }
        });
    }
}

fn run(point: Runtime, wanted: Operation) {
    println!("{}: {wanted:?}", point.name());
    // The first launch is the one of a sandbox that has to live on.
    let armed = Armed::start(point, if wanted == Operation::Create { 2 } else { 1 });
    let witness = armed.server.create();
    assert_eq!(witness.exec("echo mine > /root/mine").code, 0);
    match wanted {
        Operation::Create => create(&armed, &id_of(&witness)),
        Operation::Destroy => destroy(&armed),
        Operation::Stop => stop(&armed),
        Operation::Freeze => freeze(&armed),
        Operation::Name => name(&armed),
    }
    assert_eq!(witness.exec("cat /root/mine").stdout, "mine\n", "{}", point.name());
    let late = armed.server.create();
    assert_eq!(late.exec("echo new").stdout, "new\n", "{}", point.name());
}

fn create(armed: &Armed, witness: &SandboxId) {
    let body = json!({"name": "victim", "image": "code", "cpu": 1, "mem": 1024});
    let answer = armed.server.client().post("/sandboxes", &body);
    assert!(answer.status >= 500, "{}", answer.text());
    let mut link = armed.after_death();
    eventually("what nobody was told of is gone", || {
        match (link.call(Call::List { after: None }), link.call(Call::ListDisks { after: None })) {
            (Reply::Sandboxes(rows), Reply::Disks(disks))
                if rows.len() == 1 && disks == [witness.clone()] =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    });
}

fn destroy(armed: &Armed) {
    let victim = armed.server.create();
    let id = id_of(&victim);
    let answer = armed.server.client().delete(&victim.path(""));
    assert!(answer.status == 200 || answer.status >= 500, "{}", answer.text());
    let mut link = armed.after_death();
    eventually("what is deleted is gone", || {
        match (link.call(Call::List { after: None }), link.call(Call::ListDisks { after: None })) {
            (Reply::Sandboxes(rows), Reply::Disks(disks))
                if rows.iter().all(|row| row.id != id) && !disks.contains(&id) =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(armed.server.client().get(&victim.path("")).status, 404);
}

fn with_link(armed: &Armed, victim: &Sandbox<'_>, call: Call) -> RuntimeLink {
    assert_eq!(victim.exec("echo kept > /root/kept").code, 0);
    let mut link = RuntimeLink::to(&armed.server);
    link.send(call);
    // It may be said before the death; where nothing is said, nothing is known.
    let _unknown = link.answer();
    armed.after_death()
}

fn stop(armed: &Armed) {
    let victim = armed.server.create();
    let id = id_of(&victim);
    let mut link = with_link(armed, &victim, Call::Stop { id: id.clone() });
    let reply = link.call(Call::Stop { id: id.clone() });
    assert!(reply == Reply::Stopped || refused(&reply) == Some(RefusalKind::Unknown), "{reply:?}");
    assert_eq!(link.call(order(&id, 2, Disk::Kept)), Reply::Created { launch: 2 });
    assert_eq!(on_disk(&armed.server, &id, "root/kept"), "kept\n");
}

fn freeze(armed: &Armed) {
    let victim = armed.server.create();
    let id = id_of(&victim);
    let mut link = with_link(armed, &victim, Call::Freeze { id: id.clone() });
    assert_eq!(link.call(Call::Freeze { id: id.clone() }), Reply::Frozen);
    assert_eq!(link.call(Call::Thaw { id }), Reply::Thawed);
    assert_eq!(victim.exec("cat /root/kept").stdout, "kept\n");
}

fn name(armed: &Armed) {
    let victim = armed.server.create();
    let id = id_of(&victim);
    let call = || Call::Name { id: id.clone(), hostname: "renamed".into() };
    let mut link = with_link(armed, &victim, call());
    assert_eq!(link.call(call()), Reply::Named);
    assert_eq!(victim.exec("hostname").stdout, "renamed\n");
}

#[test]
fn behind_every_step_of_a_create() {
    run_all(Operation::Create);
}

#[test]
fn behind_every_step_of_a_destroy() {
    run_all(Operation::Destroy);
}

#[test]
fn behind_every_step_of_a_stop() {
    run_all(Operation::Stop);
}

#[test]
fn behind_every_step_of_a_freeze_and_a_name() {
    run_all(Operation::Freeze);
    run_all(Operation::Name);
}
