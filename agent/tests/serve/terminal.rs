//! Terminals.

#![expect(clippy::unwrap_used, reason = "helpers of tests too: what fails here fails the test")]

use crate::agent::{Agent, Streaming};
use crate::calls::{detached, eventually};
use bulkhead_protocol::agent::{End, ExecutionSpec, Program, Size, StartFailureKind, Stdio};
use bulkhead_protocol::frame::FrameType;
use std::time::{Duration, Instant};

const SIZE: Size = Size { cols: 80, rows: 24 };

fn shell() -> ExecutionSpec {
    let env = vec![("HISTFILE".to_owned(), String::new())];
    ExecutionSpec { program: Program::Shell, stdio: Stdio::Terminal(SIZE), env, ..detached("") }
}

fn on_terminal(script: &str) -> ExecutionSpec {
    ExecutionSpec { stdio: Stdio::Terminal(SIZE), ..detached(script) }
}

#[test]
fn a_shell_prompts_echoes_and_ends() {
    let agent = Agent::start();
    let handle = agent.detach(&shell());
    let mut seat = agent.sit_down(handle, 0);
    seat.wait_for("# ");
    seat.type_in(
        "echo $((6*7)) $TERM; tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo is-a-tty\n",
    );
    let screen = seat.wait_for("is-a-tty\r\n");
    assert!(screen.contains("echo $((6*7))"), "echo: {screen}");
    seat.wait_for("# ");
    let whole = String::from_utf8(agent_output(&agent, handle)).unwrap();
    for expected in ["42 xterm-256color\r\n", "/dev/pts/", "24 80\r\n"] {
        assert!(whole.contains(expected), "{expected:?} in {whole}");
    }
    assert_eq!(agent.status_of(handle).unwrap().clients, 1);
    seat.type_in("exit 3\n");
    assert_eq!(seat.read_to_end().end, End::Exited { code: 3 });
    assert_eq!(agent.call("GET", handle, "terminal", b"").0, 409);
    agent.wait_until_empty();
}

/// What the journal holds now.
fn agent_output(agent: &Agent, handle: u64) -> Vec<u8> {
    let total = usize::try_from(agent.status_of(handle).unwrap().offset).unwrap();
    let mut stream = agent.follow(handle, "output?from=0");
    let mut bytes = Vec::new();
    while bytes.len() < total {
        if let Some((FrameType::Stdout, payload)) = stream.next_frame() {
            bytes.extend(payload);
        }
    }
    bytes
}

#[test]
fn it_controls_jobs_is_resized_and_belongs_to_its_user() {
    let agent = Agent::start();
    let spec = ExecutionSpec {
        user: Some("4242".into()),
        ..on_terminal(
            "stat -c '%u %g %a' $(tty); trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.02; done",
        )
    };
    let handle = agent.detach(&spec);
    let mut seat = agent.sit_down(handle, 0);
    assert!(seat.wait_for("up\r\n").starts_with("4242 5 620\r\n"));
    assert_eq!(agent.resize(handle, Size { cols: 0, rows: 1 }), 400);
    assert_eq!(agent.resize(handle, Size { cols: 132, rows: 50 }), 200);
    seat.wait_for("50 132\r\n");
    assert_eq!(seat.read_to_end().end, End::Exited { code: 0 });
    // Ctrl-C reaches the foreground: the terminal is the controlling one.
    let handle = agent.detach(&on_terminal("echo up; sleep 1000"));
    let mut seat = agent.sit_down(handle, 0);
    seat.wait_for("up\r\n");
    seat.type_in("\x03");
    assert_eq!(seat.read_to_end().end, End::Signaled { signal: 2 });
}

#[test]
fn many_clients_see_the_same_and_come_back_where_they_were() {
    let agent = Agent::start();
    let handle =
        agent.detach(&on_terminal("stty -echo; echo up; while read -r line; do echo \"got $line\"; done"));
    let mut seats: Vec<_> = (0..10).map(|_| agent.sit_down(handle, 0)).collect();
    for seat in &mut seats {
        seat.wait_for("up\r\n");
    }
    for number in 0..10 {
        seats[number].type_in(&format!("{number}\n"));
        for seat in &mut seats {
            seat.wait_for(&format!("got {number}\r\n"));
        }
    }
    assert_eq!(agent.status_of(handle).unwrap().clients, 10);
    let offset = agent.status_of(handle).unwrap().offset;
    drop(seats);
    eventually("they are gone", || agent.status_of(handle).unwrap().clients == 0);
    // Types and hangs up at once: nothing typed is lost.
    agent.sit_down(handle, 0).type_in("last words\n");
    let mut back = agent.sit_down(handle, offset);
    assert_eq!(back.wait_for("words\r\n"), "got last words\r\n");
    agent.kill(handle);
    assert_eq!(back.read_to_end().end, End::Killed);
    agent.wait_until_empty();
}

#[test]
fn a_client_that_does_not_read_or_types_too_much_slows_nobody() {
    let agent = Agent::start();
    let flood = agent.detach(&on_terminal("yes $(seq 100)"));
    let stuck: Vec<_> = (0..20).map(|_| agent.sit_down(flood, 0)).collect();
    let deaf = agent.detach(&on_terminal("stty raw -echo; sleep 1000"));
    let mut typist = agent.sit_down(deaf, 0);
    let echo = agent.detach(&on_terminal("cat"));
    let typing = std::thread::spawn(move || {
        // More than any queue takes: this thread blocks until the execution is killed.
        (0..64).take_while(|_| typist.try_type(&"x".repeat(60 << 10)).is_ok()).count()
    });
    let mut seat = agent.sit_down(echo, 0);
    let mut slowest = Duration::ZERO;
    for number in 0..50 {
        let begun = Instant::now();
        seat.type_in(&format!("n{number}\n"));
        seat.wait_for(&format!("n{number}\r\nn{number}\r\n"));
        slowest = slowest.max(begun.elapsed());
    }
    println!("slowest echo beside a flood {slowest:?}, peak {} KiB", agent.peak_memory_kib());
    assert!(slowest < Duration::from_secs(1) && agent.peak_memory_kib() < 24 << 10);
    assert!(!typing.is_finished());
    for handle in [deaf, flood, echo] {
        agent.kill(handle);
    }
    assert!(typing.join().unwrap() < 64, "its connection broke under it");
    drop(stuck);
    agent.wait_until_empty();
}

#[test]
fn typing_into_a_full_terminal_that_everybody_left_stops_nobody() {
    let agent = Agent::start();
    // The program goes on without any terminal, and what was typed is never read.
    let script = "stty raw -echo; echo up; sleep 0.3; exec </dev/null >/dev/null 2>&1; sleep 1000";
    let handle = agent.detach(&on_terminal(script));
    let mut seat = agent.sit_down(handle, 0);
    seat.wait_for("up");
    for _ in 0..3 {
        seat.type_in(&"x".repeat(60 << 10));
    }
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(agent.run("echo served").stdout(), "served\n");
    assert!(agent.kill(handle) > 0);
    assert_eq!(agent.end_of(handle).end, End::Killed);
    agent.wait_until_empty();
}

#[test]
fn an_attached_terminal_dies_with_its_connection_and_has_one_client() {
    let agent = Agent::start();
    let spec = ExecutionSpec { hold: bulkhead_protocol::agent::Hold::Attached, ..shell() };
    let (status, body) = agent.post(&spec);
    assert_eq!(status, 200);
    let mut holder = Streaming::new(body);
    assert_eq!(holder.next_frame().unwrap().0, FrameType::Started);
    let handle = agent.list()[0].handle;
    let mut seat = agent.sit_down(handle, 0);
    seat.wait_for("# ");
    assert_eq!(agent.call("GET", handle, "terminal", b"").0, 409, "somebody sits there");
    assert_eq!(agent.call("GET", handle, "output", b"").0, 409);
    drop(holder);
    assert_eq!(seat.read_to_end().end, End::Killed);
    agent.wait_until_empty();
}

#[test]
fn an_attached_terminals_program_waits_for_its_client() {
    let agent = Agent::start();
    // More than every buffer on the way holds.
    let script = "stty -onlcr; seq 400000; sleep 1000";
    let spec = ExecutionSpec { hold: bulkhead_protocol::agent::Hold::Attached, ..on_terminal(script) };
    let (status, body) = agent.post(&spec);
    assert_eq!(status, 200);
    let handle = agent.list()[0].handle;
    let mut seat = agent.sit_down(handle, 0);
    std::thread::sleep(Duration::from_secs(1));
    let waiting = agent.status_of(handle).unwrap().offset;
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(agent.status_of(handle).unwrap().offset, waiting, "it goes on without its reader");
    let text = seat.wait_for("\n400000\n");
    assert!((1..=400_000).eq(text.lines().map(|line| line.parse::<u32>().unwrap())), "something is missing");
    seat.type_in("\x03");
    assert_eq!(seat.read_to_end().end, End::Signaled { signal: 2 });
    drop(body);
    agent.wait_until_empty();
}

#[test]
fn a_terminal_of_no_size_is_refused() {
    let agent = Agent::start();
    for (cols, rows) in [(0, 24), (80, 0), (501, 24), (80, 201)] {
        let spec = ExecutionSpec { stdio: Stdio::Terminal(Size { cols, rows }), ..shell() };
        assert_eq!(agent.refusal(&spec), StartFailureKind::Invalid);
    }
}
