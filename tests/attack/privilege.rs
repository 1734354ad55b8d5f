//! More rights than one was given (P01, P02, P03, P07, P12), each with the wall away where there is one.

use crate::{assert_all, outcome, sandbox_of};
use bulkhead_tests::{Sandbox, Server, Switch, Terminal, Watch};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETUID, SETGID, NET_BIND_SERVICE, SYS_CHROOT, SETFCAP`.
const TENANT: &str = "00000000800404db";
const NONE: &str = "0000000000000000";
/// A file of the layer that all sandboxes share.
const SHARED_FILE: &str = "/usr/bin/env";

/// The capabilities of `/proc/self/status`, as a program printed it.
fn table(text: &str) -> BTreeMap<&str, &str> {
    let rows = text.lines().filter_map(|line| line.split_once(":\t"));
    rows.map(|(name, value)| (name, value.trim())).collect()
}

fn assert_table(text: &str, permitted: &str) {
    let table = table(text);
    for (set, expected) in
        [("CapInh", NONE), ("CapPrm", permitted), ("CapEff", permitted), ("CapAmb", NONE), ("CapBnd", TENANT)]
    {
        assert_eq!(table.get(set), Some(&expected), "{set} in {text}");
    }
    assert_eq!((table.get("NoNewPrivs"), table.get("Seccomp")), (Some(&"1"), Some(&"2")), "{text}");
}

const LOOK: &str = "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status";

#[test]
fn p01_the_table_is_the_same_for_commands_users_and_terminals() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    assert_table(&sandbox.exec(LOOK).ok().stdout, TENANT);
    assert_table(&sandbox.exec_with(LOOK, json!({"user": "nobody"})).ok().stdout, NONE);
    let mut terminal = Terminal::open(sandbox.client(), &sandbox.path("/pty"), "");
    let _first = terminal.prompt();
    assert_table(&terminal.command(LOOK).replace('\r', ""), TENANT);
    drop(terminal);
    watch.end();
}

#[test]
fn p01_control_root_has_everything() {
    let server = Server::weakened(&[Switch::CapabilityDrop]);
    let run = sandbox_of(&server).exec(LOOK).ok();
    let table = table(&run.stdout);
    // CAP_SYS_ADMIN is bit 21.
    let effective = u64::from_str_radix(table["CapEff"], 16).expect("bits");
    assert_ne!(effective & 1 << 21, 0, "{}", run.stdout);
}

/// Makes a copy of `id` that belongs to root, with the set-uid bit, and one of `grep` with file capabilities; then
/// asks both as another user.
fn ask_as_another(sandbox: &Sandbox<'_>, place: &str) -> (String, String) {
    // `struct vfs_cap_data` of revision 2: effective at once, all capabilities of the first word.
    let mark = r#"import os, struct, sys
os.setxattr(sys.argv[1], "security.capability", struct.pack("<IIIII", 0x02000001, 0x800404db, 0, 0, 0))"#;
    let script = format!(
        "cp /usr/bin/id /usr/bin/grep {place}/ && chmod 4755 {place}/id && chmod 755 {place}/grep && chmod 711 {place}
python3 -c '{mark}' {place}/grep"
    );
    let _run = sandbox.exec(&script).ok();
    let user = json!({"user": "1000"});
    let id = sandbox.exec_with(&format!("{place}/id"), user.clone()).ok().stdout;
    let grep = sandbox.exec_with(&format!("{place}/grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status"), user);
    (id, grep.ok().stdout)
}

#[test]
fn p02_set_uid_and_file_capabilities_are_inert() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    for place in ["/root", "/tmp"] {
        let (id, grep) = ask_as_another(&sandbox, place);
        assert!(id.starts_with("uid=1000") && !id.contains("euid"), "{place}: {id}");
        assert_table(&grep, NONE);
    }
    watch.end();
}

#[test]
fn p02_control_set_uid_and_file_capabilities_work() {
    let server = Server::weakened(&[Switch::NoNewPrivileges, Switch::NoSuid]);
    let (id, grep) = ask_as_another(&sandbox_of(&server), "/tmp");
    assert!(id.contains("euid=0"), "{id}");
    assert_eq!(table(&grep)["CapEff"], TENANT, "{grep}");
}

/// Tries to get back what was dropped: capset(2), the ambient set, the securebits.
const GROW: &str = r#"
header = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0))
data = ctypes.create_string_buffer(24)
call(125, header, data)
sets = list(struct.unpack("6I", data.raw))
def capset(*places):
    more = [value | (1 << 21 if place in places else 0) for place, value in enumerate(sets)]
    return call(126, header, ctypes.create_string_buffer(struct.pack("6I", *more)))
print(json.dumps({
    "effective and permitted": capset(0, 1), "permitted": capset(1), "inheritable": capset(2),
    "ambient": call("prctl", 47, 2, 21, 0, 0), "securebits": call("prctl", 28, 0x2f),
}))"#;

#[test]
fn p03_what_was_dropped_does_not_come_back() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    assert_all(&outcome(&sandbox, GROW), &["EPERM"]);
    // Root again by every way that changes ids: an exec gives what is permitted and bounded, and no more.
    let again = format!("setpriv --reuid 1000 --clear-groups --inh-caps=-all {LOOK}");
    assert_table(&sandbox.exec(&again).ok().stdout, NONE);
    assert_table(&sandbox.exec(LOOK).ok().stdout, TENANT);
    watch.end();
}

#[test]
fn p03_control_sets_grow_where_nothing_was_dropped() {
    let server = Server::weakened(&[Switch::CapabilityDrop, Switch::CommandFilter]);
    let results = outcome(&sandbox_of(&server), GROW);
    for what in ["effective and permitted", "inheritable", "securebits"] {
        assert_eq!(results[what], "ok", "{results}");
    }
}

/// The ways in which pages of a file that may only be read were written before; here they are only begun.
#[test]
fn p07_pages_of_shared_files_stay_what_they_are() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let before = std::fs::read(SHARED_FILE).expect("coreutils");
    let (one, two) = (server.create(), server.create());
    let hash = |sandbox: &Sandbox<'_>| sandbox.exec(&format!("sha256sum < {SHARED_FILE}")).ok().stdout;
    let first = hash(&two);
    let results = outcome(
        &one,
        &format!(
            r#"
import mmap
file = os.open("{SHARED_FILE}", os.O_RDONLY)
out_pipe, in_pipe = os.pipe()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.1", 9))
def splice_out():
    os.splice(file, in_pipe, 4096)
    os.splice(out_pipe, udp.fileno(), 4096)
print(json.dumps({{
    "cipher socket": call("socket", 38, 5, 0), "rxrpc": call("socket", 33, 2, 0), "xfrm": call("socket", 16, 3, 6),
    "pages by vmsplice": call("vmsplice", in_pipe, None, 0, 8),
    "splice into the file": call(275, out_pipe, None, file, None, 1, 2),
    "writable map": attempt(mmap.mmap, file, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
    "again for writing": open_for_write("/proc/self/fd/%d" % file), "by its name": open_for_write("{SHARED_FILE}"),
    "sent": "EPERM" if attempt(splice_out) in ("ok", "ECONNREFUSED", "EINVAL") else "?",
}}))"#
        ),
    );
    assert_all(&results, &["EPERM", "EAFNOSUPPORT", "EBADF", "EACCES", "EROFS"]);
    assert_eq!(hash(&two), first);
    assert_eq!(std::fs::read(SHARED_FILE).expect("coreutils"), before);
    watch.end();
}

/// Strings that some tool somewhere takes for root. All forms and all routes are in the suite `streams`.
#[test]
fn p12_nobody_is_root_by_accident() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    let sandbox = sandbox_of(&server);
    // A name that looks like a number, and is root's.
    let _run = sandbox.exec("cp /etc/passwd /root/p && echo '4294967296:x:0:0::/:/bin/sh' >> /root/p").ok();
    let _maybe = sandbox.exec("cat /root/p > /etc/passwd");
    let odd = [
        "0x0",
        "-1",
        "4294967296",
        "4294967295",
        "2147483648",
        " 0",
        "+0",
        "0:0:0",
        "root\n",
        "١",
        "0\u{0}",
        "",
    ];
    for user in odd {
        let answer = sandbox.post_exec(&json!({"command": "id -u >> /tmp/ran", "user": user}));
        let _message = answer.error(400);
    }
    assert_eq!(sandbox.exec("cat /tmp/ran 2>/dev/null").stdout, "", "a command ran");
    let asked: Vec<Value> = ["0", "root", "0:0"].into_iter().map(Value::from).collect();
    for user in asked {
        assert_eq!(sandbox.exec_with("id -u", json!({"user": user})).ok().line(), "0");
    }
    watch.end();
}
