//! Walls that break programs would be switched off by the first user (P14, and the other half of P08).

use crate::{outcome, sandbox_of};
use bulkhead_tests::python::with_prelude;
use bulkhead_tests::{Server, Watch};
use serde_json::json;
use std::path::Path;

/// Shuts itself in with Landlock: nothing but `/usr` may be read from then on. Prints the version of Landlock, and
/// what became of two files.
const LANDLOCK: &str = r#"
version = libc.syscall(444, None, 0, 1)
out = {"version": version}
if version > 0:
    libc.prctl(38, 1, 0, 0, 0)
    READ = 1 << 2 | 1 << 3
    rules = libc.syscall(444, (ctypes.c_uint64 * 1)(READ), 8, 0)
    allowed = os.open("/usr", os.O_PATH)
    rule = ctypes.create_string_buffer(struct.pack("=Qi", READ, allowed))
    out["rule"] = call(445, rules, 1, rule, 0)
    out["restricted"] = call(446, rules, 0)
    out["inside"] = attempt(open, "/usr/bin/env", "rb")
    out["outside"] = attempt(open, "/etc/passwd", "rb")
print(json.dumps(out))"#;

#[test]
fn p14_tenants_may_shut_themselves_in() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let inside = outcome(&sandbox_of(&server), LANDLOCK);
    // What the host's kernel can do, a sandbox can do.
    let host = std::process::Command::new("/usr/bin/python3").arg("-c").arg(with_prelude(LANDLOCK)).output();
    let host: serde_json::Value = serde_json::from_slice(&host.expect("python3").stdout).expect("JSON");
    assert_eq!(inside, host);
    if inside["version"].as_i64().is_some_and(|version| version > 0) {
        assert_eq!((&inside["restricted"], &inside["inside"]), (&json!("ok"), &json!("ok")));
        assert_eq!(inside["outside"], "EACCES");
    }
    watch.end();
}

/// What a program of the image prints when it is asked for little; whichever of them the image has.
#[test]
fn p14_the_programs_of_the_image_run() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    let rows = [
        ("/usr/bin/python3", "python3 -c 'import ssl, sqlite3, asyncio, ctypes; print(6 * 7)'", "42"),
        // libuv asks for rings at its start, whatever the program is.
        (
            "/usr/bin/node",
            "node -e 'require(\"fs\").readFile(\"/etc/passwd\", () => setTimeout(() => console.log(42), 5))'",
            "42",
        ),
        ("/usr/bin/perl", "perl -e 'print fork ? wait && 42 : exit'", "42"),
        (
            "/usr/bin/git",
            "cd /tmp && git init -q r && cd r && git -c user.name=a -c user.email=a commit -q --allow-empty -m 42 && git log --format=%s",
            "42",
        ),
        (
            "/usr/bin/tar",
            "cd /tmp && tar cf t.tar /etc 2>/dev/null; tar tf t.tar | grep -c '^etc/passwd$'",
            "1",
        ),
        (
            "/usr/bin/gcc",
            "cd /tmp && echo 'int main(){return 42;}' > x.c && gcc x.c -o x && ./x; echo $?",
            "42",
        ),
    ];
    let there = rows.iter().filter(|(program, ..)| Path::new(program).exists());
    let mut ran = Vec::new();
    for (program, script, expected) in there {
        assert_eq!(sandbox.exec(script).ok().line(), *expected, "{program}");
        ran.push(*program);
    }
    println!("ran {ran:?}");
    assert!(ran.contains(&"/usr/bin/python3"), "{ran:?}");
    watch.end();
}
