//! `GET /sandboxes/{id}/stats`, an extension: numbers of the host's, tenants, and that nobody wakes for it.

use crate::UNKNOWN_ID;
use crate::organisations::tenant;
use bulkhead_tests::{Server, eventually};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

#[test]
fn what_a_sandbox_does_shows_in_its_numbers() {
    let server = Server::start();
    let sandbox = server.create();
    let stats = || server.client().get(&sandbox.path("/stats")).expect(200).data();
    let number = |stats: &Value, group: &str, name: &str| stats[group][name].as_u64();
    let before = stats();
    assert_eq!(before["executions"], 0, "{before}");
    assert_eq!(before["oomKills"], 0, "{before}");
    let script = "head -c 40M /dev/zero >/dev/shm/x; for i in $(seq 300000); do :; done; exec sleep 1000";
    let pid = sandbox.run(script);
    eventually("it shows", || {
        let now = stats();
        let more = |group, name| number(&now, group, name)?.checked_sub(number(&before, group, name)?);
        let shows = now["executions"] == 1
            && more("memory", "currentBytes").is_some_and(|bytes| bytes >= 40 * MIB)
            && more("cpu", "usageUsec").is_some_and(|time| time >= 50_000)
            && more("pids", "current").is_some_and(|tasks| tasks >= 1);
        if shows { Ok(()) } else { Err(now.to_string()) }
    });
    let now = stats();
    let limits = sandbox.object()["limits"].clone();
    let limit = number(&now, "memory", "limitBytes").expect("a limit");
    assert_eq!(limit / MIB, limits["memoryMiB"].as_u64().expect("MiB") + 24);
    assert_eq!(number(&now, "disk", "limitBytes"), limits["diskMiB"].as_u64().map(|mib| mib * MIB));
    assert!(number(&now, "disk", "usedBytes").is_some(), "{now}");
    let killed = server.client().post(&sandbox.path("/commands/kill"), &json!({"pid": pid}));
    let _answer = killed.expect(200);
    eventually("it is over", || match stats() {
        now if now["executions"] == 0 => Ok(()),
        now => Err(now.to_string()),
    });
}

#[test]
fn a_sandbox_that_sleeps_goes_on_sleeping() {
    let server = Server::start();
    let sandbox = server.create();
    let _answer = server.client().post(&sandbox.path("/sleep"), &json!({})).expect(200);
    let asleep = server.client().get(&sandbox.path("/stats")).expect(200).data();
    assert_eq!((&asleep["memory"]["currentBytes"], &asleep["executions"]), (&Value::Null, &Value::Null));
    assert!(asleep["disk"]["usedBytes"].is_u64(), "{asleep}");
    assert_eq!(sandbox.object()["status"], "snapshotted");
}

#[test]
fn of_another_organisation_it_does_not_exist() {
    let server = Server::start();
    let other = tenant(&server, "other");
    let sandbox = server.create();
    let of_another = other.get(&sandbox.path("/stats"));
    let of_nobody = other.get(&format!("/sandboxes/{UNKNOWN_ID}/stats"));
    let _message = of_another.error(404);
    assert_eq!(of_another.text(), of_nobody.text());
    let _message = server.client().call("POST", &sandbox.path("/stats"), Some("{}")).error(405);
    let _message = server.client().with_key("").get(&sandbox.path("/stats")).error(401);
}
