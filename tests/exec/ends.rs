//! How a command ends, what it used, and programs that never ran.

use bulkhead_tests::Server;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn codes_are_those_of_the_script() {
    let server = Server::start();
    let sandbox = server.create();
    for code in [0, 1, 2, 42, 127, 255] {
        let run = sandbox.exec(&format!("exit {code}"));
        assert_eq!((run.code, &run.data["end"]), (code, &json!({"kind": "exited", "code": code})));
    }
    let missing = sandbox.exec("nosuchcommand");
    assert_eq!(missing.code, 127);
    assert!(missing.stderr.contains("nosuchcommand"), "{}", missing.data);
    assert_eq!(sandbox.exec("/etc/passwd").code, 126);
    assert_eq!(sandbox.exec("if then").code, 2, "a syntax error is the shell's");
}

#[test]
fn a_signal_is_128_and_its_number() {
    let server = Server::start();
    let sandbox = server.create();
    for signal in [1, 2, 6, 9, 11, 13, 15] {
        let run = sandbox.exec(&format!("kill -{signal} $$; sleep 10"));
        assert_eq!(
            (run.code, &run.data["end"]),
            (128 + signal, &json!({"kind": "signaled", "signal": signal}))
        );
    }
    assert_eq!(sandbox.exec("echo alive").stdout, "alive\n");
}

#[test]
fn a_grandchild_in_the_background_does_not_hold_the_answer() {
    let server = Server::start();
    let sandbox = server.create();
    for script in ["echo now; sleep 20 &", "echo now; setsid sleep 20 & disown", "echo now; (sleep 20 & ) &"]
    {
        let start = Instant::now();
        let run = sandbox.exec(script);
        assert_eq!((run.stdout.as_str(), run.code), ("now\n", 0), "{script}");
        assert!(start.elapsed() < Duration::from_secs(5), "{script} took {:?}", start.elapsed());
        assert_eq!(run.data["outputOpen"], true, "{script}: {}", run.data);
    }
    let run = sandbox.exec("sleep 0.3 >/dev/null 2>&1 & echo closed");
    assert_ne!(run.data["outputOpen"], true, "{}", run.data);
}

#[test]
fn usage_is_measured() {
    let server = Server::start();
    let sandbox = server.create();
    // SECONDS turns with the second of the clock: between one and two seconds.
    let busy = "end=$((SECONDS+2)); while [ $SECONDS -lt $end ]; do :; done; bash -c 'for i in {1..100000}; do :; done'";
    let run = sandbox.exec(busy).ok();
    let usage = &run.data["usage"];
    let wall = usage["wallMs"].as_u64().expect("wallMs is a number");
    assert!((300..5000).contains(&wall), "{usage}");
    let cpu = usage["cpuMs"].as_u64().expect("this host counts cpu time");
    assert!(cpu > wall / 4 && cpu < wall * 2, "{usage}");
    assert!(
        usage["peakMemoryBytes"].is_null() || usage["peakMemoryBytes"].as_u64() > Some(100_000),
        "{usage}"
    );
    let idle = sandbox.exec("sleep 0.5").ok().data["usage"].clone();
    assert!(idle["cpuMs"].as_u64() < Some(200) && idle["wallMs"].as_u64() >= Some(500), "{idle}");
}

#[test]
fn a_program_that_cannot_start_is_told_from_one_that_failed() {
    let server = Server::start();
    let sandbox = server.create();
    let _run = sandbox.exec("mkdir /root/locked; touch /root/file").ok();
    for cwd in ["/no/such", "/root/file"] {
        let message = sandbox.post_exec(&json!({"command": "echo ran", "cwd": cwd})).error(400);
        assert!(message.contains("cwd"), "{message}");
    }
    let huge: serde_json::Map<_, _> =
        (0..20).map(|n| (format!("V{n}"), json!("x".repeat(100_000)))).collect();
    let answer = sandbox.post_exec(&json!({"command": "echo ran", "env": huge}));
    let message = answer.error(400);
    assert!(message.contains("env") || message.contains("long"), "{message}");
    assert_eq!(sandbox.exec("echo fine").stdout, "fine\n");
}

#[test]
fn orphans_are_reaped() {
    let server = Server::start();
    let sandbox = server.create();
    let _run = sandbox.exec("for i in $(seq 50); do (sleep 0.0$i & ) ; done").ok();
    bulkhead_tests::eventually("no zombie is left", || {
        let zombies = sandbox.exec("grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l");
        if zombies.line() == "0" { Ok(()) } else { Err(zombies.stdout) }
    });
}

/// What a tenant does to its own root is its own doing, and no failure of the server.
#[test]
fn who_locks_the_root_directory_is_told_so() {
    let server = Server::start();
    let sandbox = server.create();
    assert_eq!(sandbox.exec("chmod 0 /").code, 0);
    let body = json!({"command": "true"});
    let told = server.client().post(&sandbox.path("/exec"), &body).error(409);
    assert!(told.contains("root directory"), "{told}");
    let told = server.client().post(&sandbox.path("/commands/run"), &body).error(409);
    assert!(told.contains("root directory"), "{told}");
    let _told = server.client().get(&sandbox.path("/files/stat?path=/tmp")).error(403);
    sandbox.delete();
}
