//! Every block of README is done as it stands there, against a real server, and what it shows must come out.

mod blocks;
mod expected;
mod session;

use blocks::{Block, Kind, Step};
use bulkhead_tests::Server;
use bulkhead_tests::programs::repository;
use bulkhead_tests::registry::{Registry, run};
use expected::Expected;
use session::Session;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What would start a server, or this very run, once more; what the VM's suite does, which has systemd; and what takes
/// minutes, which the long form of the suite `sdk` does.
const ELSEWHERE: [&str; 4] =
    ["scripts/serve", "scripts/test", "scripts/install", "bulkhead image build code"];
/// The image that README pulls.
const PULLED: &str = "library/python:3.12-slim";

#[test]
fn what_readme_shows_is_what_happens() {
    let text = std::fs::read_to_string(repository().join("README.md")).expect("README");
    let blocks = blocks::of(&text);
    assert!(blocks.len() >= 5, "README has {} blocks", blocks.len());
    let (registry, server) = (Registry::start(), Server::start());
    registry.push(PULLED, 1 << 20);
    let directory = tempfile::tempdir().expect("a directory");
    make_archive(&directory.path().join("python.tar"));
    let mut reader = Reader { session: Session::start(&server, directory.path()), server: &server };
    reader.session.write_as("docker.io", &registry.address);
    let shown = directory.path().join("models");
    std::fs::create_dir(&shown).expect("a directory");
    reader.session.write_as("/srv/models", &shown.display().to_string());
    for block in &blocks {
        reader.follow(block);
    }
    server.delete_all();
}

/// The archive that README imports.
fn make_archive(at: &Path) {
    run(Command::new("bash").arg(repository().join("rootfs/recipes/minimal")).arg(at));
}

/// Who does what README says.
struct Reader<'a> {
    session: Session,
    server: &'a Server,
}

impl Reader<'_> {
    fn follow(&mut self, block: &Block) {
        for step in &block.steps {
            if block.kind == Kind::Configuration {
                self.session.configure(&step.command);
                continue;
            }
            match ELSEWHERE.iter().find(|words| step.command.starts_with(**words)) {
                Some(words) => self.done_elsewhere(words, step),
                None => self.perform(block.kind, step),
            }
        }
    }

    /// The server of this test was started in another way; what it printed must be what README shows.
    fn done_elsewhere(&mut self, words: &str, step: &Step) {
        if words.starts_with("scripts/") {
            let mode = std::fs::metadata(repository().join(words)).expect("a script").permissions().mode();
            assert!(mode & 0o111 != 0, "{words} cannot be executed");
        }
        if step.output.is_empty() {
            return;
        }
        let log = self.server.log();
        let expected = self.session.expect(&format!("{}\n…", step.output));
        assert!(
            expected.matches(&log).is_some(),
            "README shows of {words}:\n{}\nit printed:\n{log}",
            step.output
        );
        let try_this =
            step.output.lines().find(|line| line.trim_start().starts_with("curl ")).expect("a line to try");
        let answer = self.session.run(try_this);
        assert!(answer.contains("\"status\":\"success\""), "{try_this}\n{answer}");
    }

    fn perform(&mut self, kind: Kind, step: &Step) {
        let output = self.session.run(&step.command);
        println!("{}\n{output}", step.command);
        if step.command.trim_start().starts_with("curl ") {
            assert!(output.contains("\"status\":\"success\""), "{}\n{output}", step.command);
        }
        if kind == Kind::Console && !step.output.is_empty() {
            let expected = self.session.expect(&step.output);
            let ids = expected.matches(output.trim_end());
            let ids = ids.unwrap_or_else(|| panic!("README shows:\n{}\nit is:\n{output}", step.output));
            self.session.learn(ids);
        }
    }
}

#[test]
fn a_line_that_is_not_what_readme_shows_is_noticed() {
    let id = "b4aoqudj7u62n43s3g6xvlwa75jyql";
    let other = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let shown = Expected::of(&format!("{{\"id\":\"{id}\",…,\"n\":1}}"));
    let found = shown.matches(&format!("{{\"id\":\"{other}\",\"x\":[1],\"n\":1}}")).expect("it fits");
    assert_eq!(found, [(id.to_owned(), other.to_owned())]);
    for wrong in
        [format!("{{\"id\":\"{other}\",\"x\":[1],\"n\":2}}"), "{\"id\":\"short\",…,\"n\":1}".to_owned()]
    {
        assert!(shown.matches(&wrong).is_none(), "{wrong}");
    }
}
