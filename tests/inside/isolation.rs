//! What the API says is in force, compared with what was asked for and with what a program inside sees.

use crate::look;
use bulkhead_tests::groups::set;
use bulkhead_tests::{Sandbox, Server};
use serde_json::{Value, json};

/// Rows of `walls`, which must all be there.
const WALLS: usize = 9;

fn report(sandbox: &Sandbox<'_>) -> Value {
    sandbox.client().get(&sandbox.path("/isolation")).expect(200).data()
}

fn wall<'a>(report: &'a Value, name: &str) -> &'a Value {
    let walls = report["walls"].as_array().expect("walls");
    walls.iter().find(|wall| wall["wall"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

fn item<'a>(report: &'a Value, of: &str, name: &str) -> &'a Value {
    let items = wall(report, of)["items"].as_array().expect("items");
    items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name} in {of}: {items:?}"))
}

fn found<'a>(report: &'a Value, of: &str, name: &str) -> &'a str {
    item(report, of, name)["found"].as_str().unwrap_or_else(|| panic!("{of}/{name} was not found: {report}"))
}

/// Everything that does not hold.
fn gaps(report: &Value) -> Vec<String> {
    let walls = report["walls"].as_array().expect("walls").iter();
    let items = walls.flat_map(|wall| wall["items"].as_array().expect("items"));
    items.filter(|item| item["holds"] != true).map(ToString::to_string).collect()
}

fn assert_holds(report: &Value) {
    assert_eq!(gaps(report), Vec::<String>::new());
    assert_eq!((&report["holds"], report["walls"].as_array().map(Vec::len)), (&json!(true), Some(WALLS)));
}

#[test]
fn everything_holds_with_the_limits_that_were_asked_for() {
    let server = Server::start();
    let sandbox = server.create_with(json!({
        "limits": {"memoryMiB": 256, "pids": 100, "openFiles": 2000, "cpus": 0.5, "diskMiB": 96},
    }));
    let report = report(&sandbox);
    assert_holds(&report);
    let memory = ((256 + 24) << 20).to_string();
    let limits = wall(&report, "groupLimits")["items"].as_array().expect("items");
    let of = |names: &[&str]| {
        let item = limits.iter().find(|item| names.contains(&item["name"].as_str().unwrap_or("")));
        item.unwrap_or_else(|| panic!("none of {names:?} in {limits:?}"))["found"].clone()
    };
    assert_eq!(of(&["memory.max", "memory.limit_in_bytes"]), memory);
    assert_eq!(of(&["pids.max"]), "132");
    let quota = of(&["cpu.max", "cpu.cfs_quota_us"]);
    assert!(quota == "50000 100000" || quota == "50000", "{quota}");
    assert_eq!(found(&report, "disk", "bytes"), (96 << 20).to_string());
    assert_eq!(found(&report, "processLimits", "Max open files"), "2000 2000");
    assert_eq!(found(&report, "processLimits", "Max core file size"), "1 1");
}

/// The runtime did not ask anybody inside: whoever looks from there must see the same.
#[test]
fn what_a_program_inside_sees_is_what_is_said() {
    let server = Server::start();
    let (sandbox, inside) = look(&server);
    let report = report(&sandbox);
    assert_holds(&report);
    let inode = |kind: &str| format!("{kind}:[{}]", found(&report, "namespaces", kind));
    for kind in ["user", "mnt", "net", "ipc", "uts", "cgroup"] {
        assert_eq!(inside.namespaces[kind], inode(kind), "{kind}");
    }
    let commands = found(&report, "namespaces", "pid of commands");
    assert_eq!(inside.namespaces["pid"], format!("pid:[{commands}]"));
    assert_ne!(commands, found(&report, "namespaces", "pid"), "the agent is in another");
    assert_eq!(inside.uid_map, found(&report, "ids", "uid map"));
    let bounding = found(&report, "privileges", "bounding, of commands");
    assert_eq!(format!("{:016x}", inside.capabilities["CapBnd"]), bounding);
    let covered: Vec<&str> = wall(&report, "masks")["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter_map(|item| item["name"].as_str()?.strip_prefix("/proc/"))
        .collect();
    assert!(covered.contains(&"sys") && covered.contains(&"meminfo"), "{covered:?}");
    // Whatever of the list a program inside can open at all is among the covers.
    for name in inside.readable.keys() {
        let open_to_others = std::fs::metadata(format!("/proc/{name}"))
            .is_ok_and(|meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o077 != 0);
        assert!(!open_to_others || covered.contains(&name.as_str()), "{name} is not covered: {covered:?}");
    }
}

#[test]
fn a_runtime_that_starts_again_says_the_same() {
    let server = Server::start();
    let sandbox = server.create();
    let before = report(&sandbox);
    assert_holds(&before);
    server.kill_half("runtime");
    assert_eq!(report(&sandbox), before);
}

/// The report reads the files: a limit that somebody raised on the host shows.
#[test]
fn a_limit_that_was_raised_behind_our_back_does_not_hold() {
    let server = Server::start();
    let sandbox = server.create();
    assert_holds(&report(&sandbox));
    set(&sandbox, "pids.max", "max");
    let raised = report(&sandbox);
    assert_eq!((&raised["holds"], &wall(&raised, "groupLimits")["holds"]), (&json!(false), &json!(false)));
    assert_eq!(item(&raised, "groupLimits", "pids.max")["found"], "max");
    assert_eq!(gaps(&raised).len(), 1, "{:?}", gaps(&raised));
}

#[test]
fn what_a_tenant_does_changes_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let before = report(&sandbox);
    let _run = sandbox.exec(
        "echo 1000 > /proc/self/oom_score_adj; ulimit -n 64; mkdir -p /proc/x; mount -t tmpfs none /mnt; \
         setpriv --reuid 65533 kill -9 -1; sleep 0.1",
    );
    assert_eq!(sandbox.exec("echo here").stdout, "here\n");
    let after = report(&sandbox);
    assert_holds(&after);
    assert_eq!(after, before);
}
