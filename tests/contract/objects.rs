//! `GET` and `DELETE /sandboxes/{id}`.

use crate::UNKNOWN_ID;
use bulkhead_tests::Server;
use serde_json::json;

#[test]
fn what_does_not_exist_is_404_and_the_text_does_not_echo_it() {
    let server = Server::start();
    let strange = [
        UNKNOWN_ID,
        "x",
        "..",
        "%2e%2e",
        "..%2f..%2fetc",
        "%00",
        "%ff",
        "A",
        "<script>alert(1)",
        &"a".repeat(5000),
        "0",
        "-1",
        "null",
        "%27%20OR%201=1",
    ];
    for id in strange {
        let path = format!("/sandboxes/{}", id.replace(['<', '>', '(', ')'], "%3c"));
        for method in ["GET", "DELETE"] {
            let answer = server.client().call(method, &path, None);
            assert!(matches!(answer.status, 404 | 414 | 400), "{method} {id}: {}", answer.status);
            let message = answer.error(answer.status);
            assert!(!message.contains("script"), "{message}");
        }
    }
    let _message = server.client().get(&format!("/sandboxes/{UNKNOWN_ID}")).error(404);
}

#[test]
fn delete_ends_everything_at_once() {
    let server = Server::start();
    let sandbox = server.create();
    let _run = sandbox.exec("setsid sleep 1000 >/dev/null 2>&1 & echo started").ok();
    assert!(!sandbox.processes().is_empty());
    sandbox.delete();
    assert!(sandbox.processes().is_empty(), "{:?}", sandbox.processes());
    let path = format!("/sandboxes/{}", sandbox.id());
    let _message = server.client().get(&path).error(404);
    let _message = server.client().delete(&path).error(404);
    let _message = sandbox.post_exec(&json!({"command": "true"})).error(404);
    assert_eq!(server.client().get("/sandboxes").expect(200).data(), json!([]));
    server.assert_no_sandbox_left();
}

#[test]
fn delete_ends_a_command_under_way() {
    let server = Server::start();
    let sandbox = server.create();
    std::thread::scope(|scope| {
        let command = scope.spawn(|| sandbox.post_exec(&json!({"command": "echo begun >/tmp/f; sleep 100"})));
        bulkhead_tests::eventually("the command runs", || {
            let run = sandbox.exec("cat /tmp/f 2>/dev/null");
            if run.stdout == "begun\n" { Ok(()) } else { Err(run.data.to_string()) }
        });
        sandbox.delete();
        let answer = command.join().expect("the caller gets an answer");
        // It was under way: its own end, or the sandbox that is not there any more; never a hang.
        if answer.status == 200 {
            assert!(
                matches!(answer.data()["end"]["kind"].as_str(), Some("gone" | "killed")),
                "{}",
                answer.text()
            );
        } else {
            let _message = answer.error(answer.status);
        }
    });
}

#[test]
fn many_deletes_of_one_sandbox_give_one_success() {
    let server = Server::start();
    let sandbox = server.create();
    let path = format!("/sandboxes/{}", sandbox.id());
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| server.client().delete(&path).status)).collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    });
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 404)), "{statuses:?}");
}
