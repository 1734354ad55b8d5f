//! Terminals over WebSocket: every row of the contract's table (§6.2), clients that misbehave (security H05,
//! H07, H11) and agents that lie (M02, M10).

use crate::pty::{ptys, session};
use crate::pty_agent::PROMPT;
use crate::pty_socket::{BINARY, CLOSE, HANDSHAKE, PING, PONG, Socket, TEXT, frame};
use crate::world::{World, descriptors, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn who_may_not_is_refused_before_the_upgrade() {
    let world = World::new();
    let id = world.sandbox("tty");
    let session = session(&world, &id);
    let ephemeral = format!("/api/sandboxes/{id}/pty");
    let key = &world.key;
    let bad = format!("{}x", &key[..key.len() - 1]);
    for path in [&session, &ephemeral] {
        let refused = |client, path: &str| Socket::open(&client, path).err().unwrap();
        for query in
            [String::new(), "?apiKey=".to_owned(), format!("?apiKey={bad}"), format!("?apikey={key}")]
        {
            let answer = refused(world.stranger(), &format!("{path}{query}"));
            assert_eq!(answer.status, 401, "{query}: {answer:?}");
        }
        let both = world.stranger().with("X-API-Key", &bad);
        assert_eq!(refused(both, &format!("{path}?apiKey={key}")).status, 401, "the header counts");
        let other = path.replace(&id, &"a".repeat(30));
        assert_eq!(refused(world.client(), &other).status, 404);
        assert_eq!(refused(world.client().with("Origin", "http://evil.example"), path).status, 403);
        let plain = world.client().get(path);
        assert_eq!(plain.status, 426, "{plain:?}");
        assert!(plain.head.to_ascii_lowercase().contains("sec-websocket-version: 13"), "{plain:?}");
        let old = HANDSHAKE.iter().fold(world.client(), |client, (name, value)| {
            client.with(name, if *value == "13" { "8" } else { value })
        });
        assert_eq!(Socket::with(&old, path).err().unwrap().status, 426);
        // `%5F` is an underscore: a key as one of the clients sends it, and as the other could.
        let encoded = key.replace('_', "%5F");
        for query in [format!("?apiKey={key}"), format!("?x=y&apiKey={encoded}")] {
            let client = world.stranger().with("Origin", "http://t");
            Socket::open(&client, &format!("{path}{query}")).ok().unwrap().until(PROMPT);
        }
    }
    let answer = world.stranger().get(&format!("{}?apiKey={key}", ptys(&id)));
    assert_eq!(answer.status, 401, "only a WebSocket has its key in the query");
    assert!(!world.log().contains(key.as_str()));
}

#[test]
fn a_session_goes_on_without_its_clients_and_tells_every_one_of_them() {
    let world = World::new();
    let id = world.sandbox("tty");
    let path = session(&world, &id);
    let client = world.client();
    let open = |query: &str| Socket::open(&client, &format!("{path}{query}")).ok().unwrap();
    let (mut first, mut second) = (open(""), open(""));
    first.until(PROMPT);
    second.until(PROMPT);
    let clients = || client.get(&ptys(&id)).json["data"]["sessions"][0]["clients"].clone();
    eventually("two clients", || clients() == json!(2));
    first.type_text("ls\n");
    let told = format!("ls\r\n{PROMPT}");
    assert_eq!(first.until(PROMPT), told);
    assert_eq!(second.until(PROMPT), told);
    second.send(BINARY, b"pwd\n");
    first.until(&format!("pwd\r\n{PROMPT}"));
    assert!(world.scrape().contains("bulkhead_gateway_sockets 2\n"));
    first.send(CLOSE, b"");
    assert_eq!(first.closed().0, 1005);
    drop(second);
    eventually("no client", || clients() == json!(0));
    let whole = format!("{PROMPT}ls\r\n{PROMPT}pwd\r\n{PROMPT}");
    let mut third = open("");
    assert_eq!(third.until(&format!("pwd\r\n{PROMPT}")), whole, "what was written is sent again");
    let from = whole.len() - PROMPT.len();
    assert_eq!(open(&format!("?from={from}")).until(PROMPT), PROMPT, "or what follows an offset");
    assert_eq!(Socket::open(&client, &format!("{path}?from=99999")).err().unwrap().status, 400);
    assert_eq!(Socket::open(&client, &format!("{path}?from=x")).err().unwrap().status, 400);
    third.type_text("exit\n");
    assert_eq!(third.closed(), (1000, "the shell has ended".to_owned()));
    eventually("every socket is closed", || world.scrape().contains("bulkhead_gateway_sockets 0\n"));
}

#[test]
fn no_character_is_split_and_none_is_held_for_long() {
    let world = World::new();
    let id = world.sandbox("tty");
    let mut socket = Socket::open(&world.client(), &session(&world, &id)).ok().unwrap();
    socket.until(PROMPT);
    socket.type_text("split\n");
    assert!(socket.until(PROMPT).contains("<\u{20ac}>"));
    socket.type_text("half\n");
    let mut last = Vec::new();
    while !last.ends_with(b"\xe2\x82") {
        last = socket.next().unwrap().1;
    }
    assert_eq!(last, b"\xe2\x82", "half a character goes out alone, after a moment");
}

#[test]
fn an_ephemeral_terminal_ends_with_its_client() {
    let world = World::new();
    let id = world.sandbox("tty");
    let before = descriptors(world.pid());
    let start = Instant::now();
    let mut socket = Socket::open(&world.client(), &format!("/api/sandboxes/{id}/pty")).ok().unwrap();
    assert_eq!(socket.until(PROMPT), PROMPT);
    assert!(start.elapsed() < Duration::from_millis(500));
    socket.type_text("size\n");
    assert!(socket.until(PROMPT).contains("24 80\r\n"));
    assert_eq!(world.client().get(&ptys(&id)).json["data"]["sessions"], json!([]));
    drop(socket);
    eventually("its connections are closed", || descriptors(world.pid()) <= before);
    let mut socket = Socket::open(&world.client(), &format!("/api/sandboxes/{id}/pty")).ok().unwrap();
    socket.until(PROMPT);
    socket.type_text("exit\n");
    assert_eq!(socket.closed().0, 1000);
}

#[test]
fn what_the_protocol_forbids_closes_with_its_code() {
    let world = World::new();
    let id = world.sandbox("tty");
    let path = session(&world, &id);
    let unmasked = [&[0x82, 3][..], b"abc"].concat();
    let long = frame(0x82, &vec![b'x'; 65_537]);
    let huge = [&[0x82, 0xff, 0x7f][..], &[0xff; 7], &[0; 4]].concat();
    let endless: Vec<u8> =
        [frame(0x02, b"x")].into_iter().chain((0..20).map(|_| frame(0, &[b'x'; 4096]))).flatten().collect();
    for (what, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("a reserved bit", frame(0xc2, b"x"), 1002),
        ("an unknown opcode", frame(0x83, b"x"), 1002),
        ("a ping in fragments", frame(PING, b"x"), 1002),
        ("a long ping", frame(0x80 | PING, &[b'x'; 126]), 1002),
        ("a lonely continuation", frame(0x80, b"x"), 1002),
        ("no UTF-8", frame(0x80 | TEXT, b"\xff"), 1007),
        ("a long message", long, 1009),
        ("a length of 2^63 - 1", huge, 1009),
        ("a long message in fragments", endless, 1009),
    ] {
        let mut socket = Socket::open(&world.client(), &path).ok().unwrap();
        socket.until(PROMPT);
        socket.raw(&bytes);
        assert_eq!(socket.closed().0, code, "{what}");
    }
    let mut socket = Socket::open(&world.client(), &path).ok().unwrap();
    socket.until(PROMPT);
    socket.send(BINARY, &vec![b'\r'; 65_536]);
    socket.send(PING, b"still there");
    while socket.next().unwrap() != (PONG, b"still there".to_vec()) {}
}

#[test]
fn pings_are_answered_while_output_waits_and_while_none_is_taken() {
    let world = World::new();
    let id = world.sandbox("tty");
    let mut socket = Socket::open(&world.client(), &session(&world, &id)).ok().unwrap();
    socket.until(PROMPT);
    socket.type_text("flood\n");
    socket.send(PING, b"1");
    while socket.next().unwrap() != (PONG, b"1".to_vec()) {}
    let mut deaf = Socket::open(&world.client(), &session(&world, &id)).ok().unwrap();
    deaf.until(PROMPT);
    deaf.type_text("stall\n");
    deaf.send(BINARY, &[b'x'; 60_000]);
    deaf.send(PING, b"2");
    while deaf.next().unwrap() != (PONG, b"2".to_vec()) {}
}

#[test]
fn a_client_that_does_not_read_is_dropped_with_a_reason() {
    let world = World::new();
    let id = world.sandbox("tty");
    let path = session(&world, &id);
    let mut slow = Socket::open(&world.client(), &path).ok().unwrap();
    // One that can be told of a gap: no client keeps up with a flood for ever.
    let mut quick = Socket::open(&world.client(), &format!("{path}?from=0")).ok().unwrap();
    slow.until(PROMPT);
    quick.until(PROMPT);
    let resident = || {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", world.pid())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = resident();
    slow.type_text("flood\n");
    let end = Instant::now() + Duration::from_secs(33);
    let mut bytes = 0;
    while Instant::now() < end {
        bytes += quick.next().unwrap().1.len();
    }
    assert!(bytes > 64 << 20, "another client got only {bytes} bytes meanwhile");
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 << 20, "the gateway grew by {grown} bytes");
    slow.patience(Duration::from_secs(5));
    assert_eq!(slow.closed(), (1008, "the client reads too slowly".to_owned()));
    quick.type_text("exit\n");
    assert_eq!(quick.closed().0, 1000);
}

#[test]
fn a_client_that_answers_no_ping_is_dropped_and_so_is_one_whose_input_nobody_takes() {
    let world = World::new();
    let id = world.sandbox("tty");
    let open = || Socket::open(&world.client(), &session(&world, &id)).ok().unwrap();
    let (mut silent, mut deaf, mut living) = (open(), open(), open());
    let start = Instant::now();
    for socket in [&mut silent, &mut deaf, &mut living] {
        socket.until(PROMPT);
        socket.patience(Duration::from_secs(70));
    }
    deaf.type_text("stall\n");
    deaf.stream.set_nonblocking(true).unwrap();
    let flood = frame(0x80 | BINARY, &[b'x'; 4096]);
    // Until nobody takes any more; the last frame may be cut, which nobody will read.
    while std::io::Write::write_all(&mut deaf.stream, &flood).is_ok()
        || start.elapsed() < Duration::from_secs(2)
    {}
    deaf.stream.set_nonblocking(false).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while start.elapsed() < Duration::from_secs(65) {
                let (opcode, _) = living.next().unwrap();
                assert_eq!(opcode, PING, "only pings come");
                living.send(PONG, b"");
                if start.elapsed() > Duration::from_secs(55) {
                    break;
                }
            }
        });
        scope.spawn(|| assert_eq!(deaf.closed(), (1008, "the terminal takes no input".to_owned())));
        assert_eq!(silent.next().unwrap().0, PING);
        assert!((19..=22).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(silent.closed(), (1008, "the client answers no ping".to_owned()));
        assert!((59..=63).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    });
    living.type_text("ls\n");
    assert!(living.until(PROMPT).contains("ls\r\n"), "one that answers stays");
}

#[test]
fn an_agent_that_lies_costs_its_own_terminal() {
    let world = World::new();
    for lie in ["echo input", "stderr", "started twice", "gap", "unknown", "giant"] {
        let id = world.sandbox("tty");
        let mut socket = Socket::open(&world.client(), &session(&world, &id)).ok().unwrap();
        socket.until(PROMPT);
        socket.type_text(&format!("{lie}\n"));
        assert_eq!(socket.closed(), (1011, "the sandbox's agent failed".to_owned()), "{lie}");
        eventually("the sandbox is marked", || world.status(&id) == "error");
        assert_eq!(world.client().delete(&format!("/api/sandboxes/{id}")).status, 200);
    }
    assert!(world.scrape().contains("agent_faults_total{kind=\"malformed\"} 6"));
}

#[test]
fn a_sandbox_or_a_gateway_that_goes_says_so() {
    let mut world = World::new();
    for end in ["delete", "kill"] {
        let id = world.sandbox("tty");
        let mut socket = Socket::open(&world.client(), &session(&world, &id)).ok().unwrap();
        socket.until(PROMPT);
        match end {
            "delete" => assert_eq!(world.client().delete(&format!("/api/sandboxes/{id}")).status, 200),
            _ => world.runtime.kill(&id),
        }
        assert_eq!(socket.closed(), (1001, "the sandbox is gone".to_owned()), "{end}");
    }
    let id = world.sandbox("tty");
    let path = session(&world, &id);
    let mut socket = Socket::open(&world.client(), &path).ok().unwrap();
    socket.until(PROMPT);
    world.stop(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(socket.closed(), (1001, "the server is closing".to_owned()));
    world.start();
    let mut socket = Socket::open(&world.client(), &path).ok().unwrap();
    assert_eq!(socket.until(PROMPT), PROMPT);
}

#[test]
fn clients_that_come_and_go_leave_nothing() {
    let world = World::new();
    let id = world.sandbox("tty");
    let path = session(&world, &id);
    Socket::open(&world.client(), &path).ok().unwrap().until(PROMPT);
    let before = descriptors(world.pid());
    for round in 0..200 {
        let path = if round % 2 == 0 { path.clone() } else { format!("/api/sandboxes/{id}/pty") };
        let mut socket = Socket::open(&world.client(), &path).ok().unwrap();
        if round % 3 == 0 {
            socket.until(PROMPT);
        }
    }
    eventually("every socket is closed", || world.scrape().contains("bulkhead_gateway_sockets 0\n"));
    eventually("every descriptor is closed", || descriptors(world.pid()) <= before + 1);
}
