//! The bytes of a stream: every row of the table of contract §4.3.

use crate::write_once;
use bulkhead_tests::Server;
use serde_json::json;

#[test]
fn the_frame_is_that_of_the_contract_byte_for_byte() {
    let server = Server::start();
    let sandbox = server.create();
    let rows: &[(&str, &str)] = &[
        ("hello", "event:stdout\ndata:hello\nid:5\n\n"),
        ("a\n", "event:stdout\ndata:a\ndata:\nid:2\n\n"),
        ("a\nb\n", "event:stdout\ndata:a\ndata:b\ndata:\nid:4\n\n"),
        ("\n", "event:stdout\ndata:\ndata:\nid:1\n\n"),
        ("  in and out  \n", "event:stdout\ndata:  in and out  \ndata:\nid:15\n\n"),
        ("\"quoted\" \\n\n", "event:stdout\ndata:\"quoted\" \\n\ndata:\nid:12\n\n"),
    ];
    for (text, frame) in rows {
        let mut stream =
            sandbox.open("/exec-stream", &[], &json!({"command": write_once(1, text.as_bytes())}));
        let body = String::from_utf8(stream.read_to_end()).expect("UTF-8");
        assert!(body.starts_with(frame), "{text:?} came as {body:?}");
        let end = &body[frame.len()..];
        assert!(
            end.starts_with("event:exit\ndata:{") && end.ends_with("\n\n"),
            "{text:?}: the end is {end:?}"
        );
    }
}

#[test]
fn every_line_break_of_a_parser_starts_a_new_line() {
    let server = Server::start();
    let sandbox = server.create();
    let breaks = [
        "\n", "\r", "\r\n", "\u{b}", "\u{c}", "\u{1c}", "\u{1d}", "\u{1e}", "\u{85}", "\u{2028}", "\u{2029}",
    ];
    for separator in breaks {
        let text = format!("one{separator}two{separator}{separator}three\n");
        let got = sandbox.stream(&write_once(1, text.as_bytes())).collect();
        assert_eq!(got.stdout, "one\ntwo\n\nthree\n", "{separator:?}");
        let last = got.named("stdout").last().map(|event| event.id);
        assert_eq!(last, Some(Some(text.len() as u64)), "{separator:?}: the offset counts what was written");
    }
}

#[test]
fn a_line_break_at_the_cut_of_two_writes_is_one() {
    let server = Server::start();
    let sandbox = server.create();
    let got = sandbox.stream(r"printf 'a\r'; sleep 0.5; printf '\nb\n'").collect();
    assert_eq!(got.stdout, "a\nb\n", "{:?}", got.events);
    let got =
        sandbox.stream(r"printf 'progress 1\r'; sleep 0.5; printf 'progress 2\r'; sleep 0.5; echo").collect();
    assert!(got.stdout.starts_with("progress 1\nprogress 2\n"), "{:?}", got.events);
}

#[test]
fn output_cannot_forge_events() {
    let server = Server::start();
    let sandbox = server.create();
    let forged = "event:exit\ndata:{\"exitCode\":0}\n\nid:7\n: comment\n\n\nevent:stderr\rdata:x\r\r";
    let got = sandbox.stream(&format!("{}; exit 9", write_once(1, forged.as_bytes()))).collect();
    assert_eq!(got.stdout, forged.replace('\r', "\n"));
    assert_eq!((got.code(), got.stderr.as_str(), got.named("exit").len()), (9, "", 1));
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_the_offset_stays() {
    let server = Server::start();
    let sandbox = server.create();
    let got = sandbox.stream(&write_once(1, b"a\xff\xfeb\xc3\n")).collect();
    assert_eq!(got.stdout, "a\u{fffd}\u{fffd}b\u{fffd}\n");
    assert_eq!(got.named("stdout").last().and_then(|event| event.id), Some(6));
    let got = sandbox.stream(r"printf '\xe2\x82'; sleep 0.5; printf '\xac\n'").collect();
    assert_eq!(got.stdout, "€\n", "a character that comes in two writes stays one");
}

#[test]
fn the_streams_are_apart_and_the_exit_is_last() {
    let server = Server::start();
    let sandbox = server.create();
    let got = sandbox.stream("echo out; sleep 0.3; echo err >&2; sleep 0.3; printf more; exit 3").collect();
    assert_eq!((got.stdout.as_str(), got.stderr.as_str(), got.code()), ("out\nmore", "err\n", 3));
    let names: Vec<_> = got.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["stdout", "stderr", "stdout", "exit"], "in the order in which they were written");
    let ids: Vec<_> = got.events.iter().filter(|e| e.is_output()).map(|event| event.id).collect();
    assert_eq!(ids, [Some(4), Some(8), Some(12)], "one offset counts both streams");
    let silent = sandbox.stream("true").collect();
    assert_eq!((silent.events.len(), silent.code()), (1, 0), "{:?}", silent.events);
}

#[test]
fn many_lines_come_whole() {
    let server = Server::start();
    let sandbox = server.create();
    let got = sandbox.stream("seq 200000; seq 3 >&2").collect();
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(got.stdout == expected, "{} of {} bytes", got.stdout.len(), expected.len());
    assert_eq!(got.stderr, "1\n2\n3\n");
    let cut: Vec<_> = got.named("stdout").into_iter().filter(|event| !event.data.ends_with('\n')).collect();
    assert!(cut.is_empty(), "events end where lines end: {:?}", cut.first());
    let one_line = sandbox.stream("head -c 300000 /dev/zero | tr '\\0' x; echo").collect();
    assert_eq!(one_line.stdout.len(), 300_001);
    let long = sandbox.stream("head -c 100000 /dev/zero | sed 's/\\x0/é/g'").collect();
    assert!(long.stdout.chars().all(|c| c == 'é') && long.stdout.len() == 200_000, "a character was cut");
}
