//! Group X, as far as it is about archives that a tenant hands to the file API: names that lead out, links, types,
//! bombs, and what two readers see differently. Images are imported by nobody yet.
//!
//! Each archive is made inside, by Python, and unpacked by the API into a directory that has a neighbour. Who unpacks
//! has a tenant's rights, so what could be reached at all is the sandbox's own: that is what is looked at here, beside
//! a file of the host.

mod bombs;
mod formats;
mod names;
mod readings;

use bulkhead_tests::{Answer, Sandbox, Server};
use std::path::PathBuf;

/// What programs that make archives begin with: `tar(members)` and `member(name, type, ...)`.
const MAKERS: &str = r#"
import io, os, sys, tarfile, zipfile, struct, stat
def member(name, kind=tarfile.REGTYPE, link="", data=b"evil", mode=0o644, **more):
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.mode = kind, link, mode
    one.size = len(data) if kind == tarfile.REGTYPE else 0
    for key, value in more.items():
        setattr(one, key, value)
    return one, data
def tar(members, path="/root/x/a.tar", form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as out:
        for one, data in members:
            out.addfile(one, io.BytesIO(data) if one.size else None)
LINK, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
"#;

/// Sandbox, host and what is beside the directory into which everything is unpacked.
struct Field<'a> {
    sandbox: Sandbox<'a>,
    canary: PathBuf,
}

impl<'a> Field<'a> {
    fn new(server: &'a Server) -> Self {
        let name = format!("bh-archive-canary-{}-{:?}", std::process::id(), std::thread::current().id());
        let canary = std::env::temp_dir().join(name);
        std::fs::write(&canary, "untouched").expect("the host's own file");
        let field = Self { sandbox: server.create(), canary };
        field.clear();
        field
    }

    /// The neighbours as they were.
    fn clear(&self) {
        let _made = self
            .sandbox
            .exec(
                "rm -rf /root/x; mkdir -p /root/x/out/dir /root/x/in; echo safe > /root/x/out/file; \
                 chmod 750 /root/x/out/dir; touch -d @7 /root/x/out /root/x/out/dir /root/x/out/file",
            )
            .ok();
    }

    /// Makes an archive by a program, and unpacks it.
    fn unpack(&self, program: &str, archive: &str) -> Answer {
        let script = format!("python3 - <<'END'\n{MAKERS}\n{program}\nEND");
        let _made = self.sandbox.exec_with(&script, serde_json::json!({ "timeout": 120 })).ok();
        self.extract(archive)
    }

    fn extract(&self, archive: &str) -> Answer {
        let call = format!("/files/extract?archive=/root/x/{archive}&dest=/root/x/in");
        self.sandbox.client().call("POST", &self.sandbox.path(&call), None)
    }

    /// What was unpacked, name by name.
    fn inside(&self) -> String {
        self.sandbox.exec("cd /root/x/in && find . -mindepth 1 | LC_ALL=C sort").ok().stdout
    }

    /// Nothing beside the directory has changed, nor has anything that names could have led to.
    fn assert_contained(&self, what: &str) {
        let told = self.sandbox.exec(
            "cd /root/x; ls -A . | grep -v '^a\\.' | tr '\\n' ' '; ls -A out | tr '\\n' ' '; cat out/file; \
             stat -c '%a %Y %h' out/dir out/file; ls -d /evil /etc/evil /root/evil /tmp/evil /root/x/evil 2>/dev/null; \
             stat -c %a /etc",
        );
        assert_eq!(told.stdout, "in out dir file safe\n750 7 1\n644 7 1\n755\n", "{what}");
        let kept = std::fs::read_to_string(&self.canary).expect("it is still there");
        assert_eq!(kept, "untouched", "{what}");
    }

    /// A whole attack: made, refused with this status, contained.
    fn assert_refused(&self, program: &str, archive: &str) {
        self.clear();
        let answer = self.unpack(program, archive);
        assert!([400, 409].contains(&answer.status), "{program}: {} {}", answer.status, answer.text());
        self.assert_contained(program);
    }
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.canary));
    }
}
