//! `user` on exec, exec-stream and commands/run: who is asked for, and never root by accident.

use bulkhead_tests::{Sandbox, Server};
use serde_json::{Value, json};

/// Strings that some tool somewhere takes for root or for anybody (P12), and others that are no names.
const ODD: &[&str] = &[
    "0x0",
    "00x",
    "-1",
    "4294967296",
    "4294967295",
    "2147483648",
    "18446744073709551616",
    " 0",
    "0 ",
    "+0",
    "0:0:0",
    "root\n",
    "\nroot",
    "root ",
    "root:",
    ":0",
    ":",
    "",
    "١",
    "０",
    "0.0",
    "1e0",
    "nobody:nosuchgroup",
    "nosuch",
    "root:-1",
    "0:4294967295",
    "0:0x0",
    "root\u{0}",
    "../root",
    "root/0",
    "65536",
    "0:65536",
    "~",
    "*",
    "%s",
];

fn said(sandbox: &Sandbox<'_>, user: &str) -> String {
    sandbox.exec_with("echo $(id -u):$(id -g):$(id -G)", json!({"user": user})).ok().line().to_owned()
}

#[test]
fn the_one_who_is_asked_for() {
    let server = Server::start();
    let sandbox = server.create();
    let rows = [
        ("root", "0:0:0"),
        ("0", "0:0:0"),
        ("0:0", "0:0:0"),
        ("nobody", "65534:65534:65534"),
        ("65534", "65534:65534:65534"),
        ("nobody:nogroup", "65534:65534:65534"),
        ("1000:1000", "1000:1000:1000"),
        ("1000:0", "1000:0:0"),
        ("daemon:4242", "1:4242:4242"),
    ];
    for (user, expected) in rows {
        assert_eq!(said(&sandbox, user), expected, "{user}");
    }
    let by_default = sandbox.exec_with("id -u", json!({"user": null}));
    assert_eq!(by_default.line(), "0");
}

#[test]
fn on_every_route() {
    let server = Server::start();
    let sandbox = server.create();
    let nobody = json!({"user": "nobody"});
    assert_eq!(sandbox.stream_with("", "id -un", nobody.clone()).collect().stdout, "nobody\n");
    let pid = sandbox.run_with("id -un", nobody.clone());
    assert_eq!(sandbox.attach(pid, "").collect().stdout, "nobody\n");
    let run = sandbox.exec_with("touch /etc/x /root/x; cat /etc/shadow; kill -9 1; echo $?", nobody);
    assert_eq!(run.stdout, "1\n", "{}", run.data);
    let inherited = sandbox.exec_with(
        "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | sort -u",
        json!({"user": "nobody"}),
    );
    assert_eq!(inherited.line(), "0000000000000000");
}

#[test]
fn what_is_no_user_is_400_and_runs_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let mut wrong = Vec::new();
    for rest in ["/exec", "/commands/run", "/exec-stream"] {
        for user in ODD {
            let answer = sandbox.post(rest, &json!({"command": "id -u >> /tmp/ran", "user": user}));
            if answer.status != 400 {
                wrong.push(format!("{rest} {user:?}: {} {}", answer.status, answer.text()));
                continue;
            }
            let message = answer.error(400);
            assert!(message.contains("user"), "{user:?}: {message}");
        }
        for user in [json!(0), json!(["root"]), json!({}), json!(true), json!("x".repeat(70_000))] {
            let message =
                sandbox.post(rest, &json!({"command": "id -u >> /tmp/ran", "user": user})).error(400);
            assert!(message.contains("user"), "{message}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(sandbox.exec("cat /tmp/ran 2>&1").line(), "cat: /tmp/ran: No such file or directory");
}

#[test]
fn the_files_of_the_sandbox_decide_and_cannot_lie_about_numbers() {
    let server = Server::start();
    let sandbox = server.create();
    let lines = "evil:x:0:0::/:/bin/sh\\n1234:x:0:0::/:/bin/sh\\nlong:x:4294967296:0::/:/bin/sh\\nminus:x:-1:0::/:/bin/sh\\n";
    let _run = sandbox.exec(&format!("printf '{lines}' >> /etc/passwd")).ok();
    assert_eq!(said(&sandbox, "evil"), "0:0:0", "root inside may name root");
    assert_eq!(said(&sandbox, "1234").split(':').next(), Some("1234"), "digits are a number, not a name");
    for user in ["long", "minus"] {
        let _message = sandbox.post_exec(&json!({"command": "id", "user": user})).error(400);
    }
    let _run = sandbox.exec("rm /etc/passwd; mkfifo /etc/passwd").ok();
    let answer = sandbox.post_exec(&json!({"command": "id -u", "user": "nobody"}));
    assert!(matches!(answer.status, 200 | 400), "{}", answer.text());
    let run: Value = sandbox.post_exec(&json!({"command": "echo goes on"})).expect(200).data();
    assert_eq!(run["stdout"], "goes on\n");
}
