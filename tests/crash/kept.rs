//! Stop, launch again, freeze and name, asked of the runtime directly: what is kept is kept, over a crash too.

use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::{ImageId, ImageName};
use bulkhead_protocol::limits::{DEFAULT_OPEN_FILES, DEFAULT_PIDS, Limits, MIB};
use bulkhead_protocol::runtime::{Call, CreateSandbox, Disk, Life, RefusalKind, Reply, SandboxStatus};
use bulkhead_tests::{RuntimeLink, Sandbox, Server, eventually, host};
use nix::sys::signal::Signal;
use std::process::Command;

pub(crate) fn id_of(sandbox: &Sandbox<'_>) -> SandboxId {
    SandboxId::parse(sandbox.id()).expect("an id")
}

pub(crate) fn order(id: &SandboxId, launch: u32, disk: Disk) -> Call {
    let limits = Limits {
        memory_bytes: 256 * MIB,
        cpu_millis: 1000,
        pids: DEFAULT_PIDS,
        open_files: DEFAULT_OPEN_FILES,
        disk_bytes: 64 * MIB,
    };
    let (image, hostname) = (ImageId::host(), format!("launch-{launch}"));
    Call::Create(CreateSandbox {
        id: id.clone(),
        launch,
        disk,
        image,
        named: ImageName::parse("code").expect("a name"),
        limits,
        hostname,
    })
}

pub(crate) fn refused(reply: &Reply) -> Option<RefusalKind> {
    match reply {
        Reply::Refused { kind, .. } => Some(*kind),
        _ => None,
    }
}

pub(crate) fn listed(link: &mut RuntimeLink, id: &SandboxId) -> Option<SandboxStatus> {
    match link.call(Call::List { after: None }) {
        Reply::Sandboxes(rows) => rows.into_iter().find(|row| row.id == *id),
        other => panic!("{other:?}"),
    }
}

/// A file of a disk, as it lies there: the gateway, which had no part in a stop, may call the sandbox killed.
pub(crate) fn on_disk(server: &Server, id: &SandboxId, file: &str) -> String {
    let path = server.instance().run.join(format!("store/{id}/upper/{file}"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The host name that a process sees.
fn hostname(pid: i32) -> String {
    let mut command = Command::new("nsenter");
    let seen =
        command.args(["-u", "-t", &pid.to_string(), "hostname"]).output().expect("nsenter of util-linux");
    String::from_utf8_lossy(&seen.stdout).trim().to_owned()
}

#[test]
fn a_stopped_sandbox_is_a_disk_and_starts_again_on_it() {
    let server = Server::start();
    let sandbox = server.create();
    let (id, mut link) = (id_of(&sandbox), RuntimeLink::to(&server));
    assert_eq!(sandbox.exec("echo mine > /root/mine; rm -r /opt; setsid sleep 600 & sleep 0.1").code, 0);
    for launch in 2..5 {
        assert_eq!(link.call(Call::Stop { id: id.clone() }), Reply::Stopped);
        assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
        assert_eq!(listed(&mut link, &id), None);
        assert_eq!(link.call(Call::ListDisks { after: None }), Reply::Disks(vec![id.clone()]));
        // At once: what is left of the launch before is waited for.
        assert_eq!(link.call(order(&id, launch, Disk::Kept)), Reply::Created { launch });
        assert_eq!(
            sandbox.exec("cat /root/mine; ls /opt 2>&1 | grep -c .; hostname; cat /etc/hostname").stdout,
            { format!("mine\n1\nlaunch-{launch}\nlaunch-{launch}\n") }
        );
        assert_eq!(
            listed(&mut link, &id),
            Some(SandboxStatus { id: id.clone(), launch, life: Life::Running })
        );
        assert_eq!(refused(&link.call(order(&id, 9, Disk::Kept))), Some(RefusalKind::Exists));
    }
    // The limit that the last launch asked for is in force.
    assert_ne!(sandbox.exec("head -c 100M /dev/zero > /root/large").code, 0);
}

#[test]
fn a_disk_is_neither_invented_nor_overwritten() {
    let server = Server::start();
    let sandbox = server.create();
    let (id, mut link) = (id_of(&sandbox), RuntimeLink::to(&server));
    assert_eq!(link.call(Call::Stop { id: id.clone() }), Reply::Stopped);
    eventually("its end is complete", || match refused(&link.call(Call::Stop { id: id.clone() })) {
        Some(RefusalKind::Unknown) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(refused(&link.call(order(&id, 2, Disk::New))), Some(RefusalKind::Exists));
    assert_eq!(link.call(Call::Destroy { id: id.clone() }), Reply::Destroyed);
    assert_eq!(refused(&link.call(order(&id, 2, Disk::Kept))), Some(RefusalKind::Unknown));
    assert_eq!(link.call(Call::ListDisks { after: None }), Reply::Disks(Vec::new()));
    // A second disk of the same name, and a third, while the first may lie in the trash.
    for launch in 2..4 {
        assert_eq!(link.call(order(&id, launch, Disk::New)), Reply::Created { launch });
        assert_eq!(link.call(Call::Destroy { id: id.clone() }), Reply::Destroyed);
    }
}

/// Whatever a tenant does to the places where files of ours are mounted, its sandbox starts again.
#[test]
fn a_hostile_disk_starts_again() {
    let server = Server::start();
    let sandbox = server.create();
    let (id, mut link) = (id_of(&sandbox), RuntimeLink::to(&server));
    let tricks = [
        "chown 5:5 /etc; rm -f /etc/hostname; mkfifo /etc/pipe; true",
        "mv /etc /elsewhere; ln -s /proc /etc; true",
        "rm -rf /etc /bin /lib /root /work /upper; true",
    ];
    for (launch, trick) in (2..).zip(tricks) {
        assert_eq!(sandbox.exec(trick).code, 0, "{trick}");
        assert_eq!(link.call(Call::Stop { id: id.clone() }), Reply::Stopped);
        assert_eq!(link.call(order(&id, launch, Disk::Kept)), Reply::Created { launch }, "{trick}");
    }
}

#[test]
fn a_frozen_sandbox_stands_still_over_a_crash_and_can_be_ended() {
    let server = Server::start();
    let (sandbox, other) = (server.create(), server.create());
    let (id, mut link) = (id_of(&sandbox), RuntimeLink::to(&server));
    assert_eq!(sandbox.exec("(while :; do :; done) >/dev/null 2>&1 & sleep 0.2").code, 0);
    let ticks = || sandbox.processes().iter().map(host::Process::cpu_ticks).sum::<u64>();
    let works = |link: &mut RuntimeLink, wanted: bool| {
        let before = ticks();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(ticks() > before + 2, wanted, "{before} {}", ticks());
        let life = if wanted { Life::Running } else { Life::Frozen };
        assert_eq!(listed(link, &id).map(|row| row.life), Some(life));
    };
    works(&mut link, true);
    for _ in 0..2 {
        assert_eq!(link.call(Call::Freeze { id: id.clone() }), Reply::Frozen);
        works(&mut link, false);
    }
    server.kill_half("runtime");
    let mut link = RuntimeLink::to(&server);
    works(&mut link, false);
    assert_eq!(other.exec("echo unharmed").stdout, "unharmed\n");
    assert_eq!(link.call(Call::Thaw { id: id.clone() }), Reply::Thawed);
    works(&mut link, true);
    assert_eq!(link.call(Call::Freeze { id: id.clone() }), Reply::Frozen);
    assert_eq!(link.call(Call::Stop { id: id.clone() }), Reply::Stopped);
    assert!(sandbox.processes().is_empty());
    assert_eq!(refused(&link.call(Call::Freeze { id: id.clone() })), Some(RefusalKind::Unknown));
    assert_eq!(link.call(order(&id, 2, Disk::Kept)), Reply::Created { launch: 2 });
    assert_eq!(link.call(Call::Freeze { id: id.clone() }), Reply::Frozen);
    assert_eq!(link.call(Call::Destroy { id }), Reply::Destroyed);
}

#[test]
fn a_sandbox_gets_another_name_and_the_host_keeps_its_own() {
    let server = Server::start();
    let (sandbox, other) = (server.create(), server.create());
    let (id, mut link) = (id_of(&sandbox), RuntimeLink::to(&server));
    let (hosts, others) = (hostname(1), hostname(other.agent().pid));
    assert_eq!(link.call(Call::Name { id: id.clone(), hostname: "renamed.example".into() }), Reply::Named);
    assert_eq!(sandbox.exec("hostname").stdout, "renamed.example\n");
    assert_eq!((hostname(1), hostname(other.agent().pid)), (hosts, others));
    for hostname in ["", "UPPER", "a b"] {
        let call = Call::Name { id: id.clone(), hostname: hostname.into() };
        assert_eq!(refused(&link.call(call)), Some(RefusalKind::Invalid));
    }
}

/// The runtime dies right after it was asked: the disk is kept, and nothing else.
#[test]
fn a_stop_that_a_crash_cuts_is_finished() {
    let server = Server::start();
    let sandbox = server.create();
    let (id, mut link) = (id_of(&sandbox), RuntimeLink::to(&server));
    assert_eq!(sandbox.exec("echo mine > /root/mine").code, 0);
    let runtime = server.half("runtime").pid;
    host::signal(runtime, Signal::SIGSTOP);
    link.send(Call::Stop { id: id.clone() });
    host::signal(runtime, Signal::SIGCONT);
    host::kill9(runtime);
    server.wait_healthy();
    let mut link = RuntimeLink::to(&server);
    // The crash may have come first.
    let reply = link.call(Call::Stop { id: id.clone() });
    assert!(reply == Reply::Stopped || refused(&reply) == Some(RefusalKind::Unknown), "{reply:?}");
    assert_eq!(link.call(order(&id, 2, Disk::Kept)), Reply::Created { launch: 2 });
    assert_eq!(on_disk(&server, &id, "root/mine"), "mine\n");
}
