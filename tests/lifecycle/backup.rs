//! What the operating guide says of a backup: the state directory of a server that is stopped is all there is.

use crate::{status, step};
use bulkhead_tests::{Sandbox, Server};
use std::fs;
use std::path::Path;
use std::process::Command;

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Ends what runs; the disks stay, as after a power cut that was announced.
fn end_what_runs(server: &mut Server) {
    server.stop();
    let ended = server.command(&["purge", "--keep-state"]);
    assert!(ended.status.success(), "{ended:?}");
}

fn archive(state: &Path, at: &Path) {
    run(Command::new("tar").args(["-C"]).arg(state).args(["--sparse", "--xattrs", "-cf"]).arg(at).arg("."));
}

/// What ran when everything ended was killed, and starts again on its disk.
fn started<'a>(server: &'a Server, id: &str) -> Sandbox<'a> {
    let sandbox = Sandbox::of(server, id);
    assert_eq!(status(&sandbox), "killed");
    step(&sandbox, "start");
    sandbox
}

#[test]
fn a_state_directory_that_was_put_away_comes_back_with_keys_and_disks() {
    let mut server = Server::start();
    let key = server.client().key().to_owned();
    let id = server.create().id().to_owned();
    let sandbox = Sandbox::of(&server, &id);
    let _made = sandbox.exec("echo kept >/root/note; chown 7:8 /root/note").ok();
    end_what_runs(&mut server);
    let away = tempfile::tempdir().expect("a directory");
    let file = away.path().join("state.tar");
    let state = server.instance().state.clone();
    archive(&state, &file);
    // What happens behind the backup is not in it.
    server.start_again();
    let sandbox = started(&server, &id);
    let _lost = sandbox.exec("echo lost >/root/note").ok();
    end_what_runs(&mut server);
    for entry in fs::read_dir(&state).expect("the state") {
        run(Command::new("rm").arg("-rf").arg(entry.expect("an entry").path()));
    }
    run(Command::new("tar").args(["-C"]).arg(&state).args(["--xattrs", "-xpf"]).arg(&file));
    server.start_again();
    assert_eq!(server.client().key(), key);
    let sandbox = started(&server, &id);
    assert_eq!(sandbox.exec("cat /root/note; stat -c %u:%g /root/note").ok().stdout, "kept\n7:8\n");
}
