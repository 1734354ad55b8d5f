//! The shell on a terminal: prompt, echo, size, surroundings.

use bulkhead_tests::terminal::plain;
use bulkhead_tests::{Server, Terminal};
use serde_json::json;
use std::time::{Duration, Instant};

/// Both SDKs sleep this long after the upgrade and expect the prompt then.
const PROMPT_TIME: Duration = Duration::from_millis(500);

fn assert_prompt_in_time(terminal: &mut Terminal) {
    let start = Instant::now();
    let text = terminal.prompt();
    assert!(start.elapsed() < PROMPT_TIME, "the prompt took {:?}", start.elapsed());
    terminal.read(Duration::from_millis(200));
    assert_eq!(plain(&terminal.seen), text, "nothing comes behind the prompt");
}

#[test]
fn the_prompt_is_there_within_half_a_second() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"name": "a-name"}));
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    assert_prompt_in_time(&mut terminal);
    assert!(terminal.text().contains("root@a-name:~# "), "{:?}", terminal.text());
    assert_prompt_in_time(&mut sandbox.ephemeral());
}

#[test]
fn what_is_typed_is_echoed_and_run() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    for mut terminal in [sandbox.terminal(&session, ""), sandbox.ephemeral()] {
        let _prompt = terminal.prompt();
        let output = terminal.command("echo $((6*7))");
        assert!(output.starts_with("echo $((6*7))\r\n"), "the echo: {output:?}");
        assert!(output.contains("\n42\r\n"), "{output:?}");
        let output = terminal.command("cd /tmp && pwd");
        assert!(output.contains("\n/tmp\r\n") && output.ends_with(":/tmp# "), "{output:?}");
        assert!(!terminal.command("exit_code() { return 3; }; exit_code").contains("error"));
        assert!(terminal.command("echo $?").contains("\n3\r\n"));
        assert!(terminal.socket.largest <= 64 << 10);
    }
}

#[test]
fn characters_are_echoed_as_they_are_typed() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    let output = terminal.command("echo -n ä€😀; echo .");
    assert!(output.contains("\nä€😀.\r\n"), "the output: {output:?}");
    assert!(output.starts_with("echo -n ä€😀; echo .\r\n"), "the echo: {output:?}");
}

#[test]
fn the_surroundings_are_those_of_a_terminal() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"envVars": {"GIVEN": "sandbox"}}));
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let mut says = |line: &str, expected: &str| {
        let output = terminal.command(line);
        assert!(output.contains(&format!("\n{expected}\r\n")), "{line}: {output:?}");
    };
    says("echo $TERM | sed 's/-256color//'", "xterm");
    says("tty | sed 's/[0-9]*$/N/'", "/dev/pts/N");
    says("stty size", "24 80");
    says("echo $GIVEN:$HOME:$PWD", "sandbox:/root:/root");
    says("basename $SHELL", "bash");
    says("id -u", "0");
    says("test -t 0 && test -t 1 && test -t 2 && echo all", "all");
    says("echo $(ls /proc/self/fd | wc -l) of 4", "4 of 4");
    says("ps -o tty= -p $$ 2>/dev/null | grep -c pts || cut -d' ' -f7 /proc/$$/stat | grep -vc '^0$'", "1");
    says("[ $(ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat) = $$ ] && echo leader", "leader");
}

#[test]
fn keys_of_a_terminal_work() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let from = terminal.seen.len();
    terminal.send("sleep 60606\n");
    bulkhead_tests::eventually("the sleep runs", || {
        let there = sandbox.processes().iter().any(|p| p.command.contains("60606"));
        if there { Ok(()) } else { Err(String::new()) }
    });
    terminal.send("\u{3}");
    let _prompt =
        terminal.until(from, "a prompt after ctrl-C", |text| text.contains("^C") && text.ends_with("# "));
    crate::assert_gone(&sandbox, "60606");
    let from = terminal.seen.len();
    terminal.send("echo wrong\u{15}echo right\n");
    let output = terminal.until(from, "ctrl-U", |text| text.contains("\nright\r\n"));
    assert!(!output.contains("\nwrong\r\n"), "{output:?}");
}

#[test]
fn a_size_is_what_was_asked_for() {
    let server = Server::start();
    let sandbox = server.create();
    for (body, expected) in [
        (json!({"cols": 100, "rows": 40}), "40 100"),
        (json!({"cols": 1, "rows": 1}), "1 1"),
        (json!({"cols": 500, "rows": 200}), "200 500"),
        (json!({"cols": null, "rows": null}), "24 80"),
    ] {
        let session = sandbox.session(&body);
        let command = format!("stty size > /tmp/{session}");
        let answer = sandbox.post(&format!("/pty/sessions/{session}/execute"), &json!({"command": command}));
        assert!(answer.data().is_null(), "{}", answer.text());
        bulkhead_tests::eventually(expected, || {
            let run = sandbox.exec(&format!("cat /tmp/{session}"));
            if run.line() == expected { Ok(()) } else { Err(run.data.to_string()) }
        });
    }
}

#[test]
fn a_resize_reaches_the_program() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let path = format!("/pty/sessions/{session}/resize");
    assert!(sandbox.post(&path, &json!({"cols": 100, "rows": 40})).data().is_null());
    assert!(terminal.command("stty size").contains("\n40 100\r\n"), "{:?}", terminal.text());
    let from = terminal.seen.len();
    terminal.send("trap 'stty size' WINCH; sleep 0.1; echo trapped\n");
    let _text = terminal.until(from, "the trap", |text| text.contains("\ntrapped\r\n"));
    assert!(sandbox.post(&path, &json!({"cols": 33, "rows": 7})).data().is_null());
    let from = terminal.seen.len();
    terminal.send("\n");
    let _text = terminal.until(from, "SIGWINCH", |text| text.contains("7 33"));
    for n in 0..200 {
        let _answer = sandbox.post(&path, &json!({"cols": 1 + n, "rows": 1 + n % 200})).expect(200);
    }
    assert!(terminal.command("stty size").contains("\n200 200\r\n"), "{:?}", terminal.text());
}
