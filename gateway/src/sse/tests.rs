//! Every row of the contract's table of frames, and any cut of any bytes.

use super::*;
use proptest::prelude::*;

fn encoded(encoder: &mut Encoder) -> String {
    encoder.take().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).unwrap_or_default()
}

/// Events of one piece of standard output, as at the end of a stream.
fn events(text: &[u8]) -> String {
    let mut encoder = Encoder::new(Encoding::Text, 0);
    encoder.output(Source::Stdout, text);
    encoder.finish();
    encoded(&mut encoder)
}

/// What a client makes of a stream: event, data, id.
fn parse(stream: &str) -> Vec<(String, String, u64)> {
    assert!(!stream.contains('\r'));
    let mut all = Vec::new();
    for event in stream.split_terminator("\n\n").filter(|event| *event != ":") {
        let (mut name, mut data, mut id) = ("", Vec::new(), 0);
        for line in event.split('\n') {
            match line.split_once(':').unwrap() {
                ("event", value) => name = value,
                ("data", value) => data.push(value),
                ("id", value) => id = value.parse().unwrap(),
                other => panic!("{other:?}"),
            }
        }
        all.push((name.to_owned(), data.join("\n"), id));
    }
    all
}

/// The text with every kind of line end as LF.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let end = ['\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    text.replace(end, "\n")
}

#[test]
fn lines_become_data_as_the_contract_says() {
    for (text, expected) in [
        ("hello\n", "event:stdout\ndata:hello\ndata:\nid:6\n\n"),
        ("hello", "event:stdout\ndata:hello\nid:5\n\n"),
        ("a\nb\n", "event:stdout\ndata:a\ndata:b\ndata:\nid:4\n\n"),
        ("\n", "event:stdout\ndata:\ndata:\nid:1\n\n"),
        ("", ""),
        (" a \n", "event:stdout\ndata: a \ndata:\nid:4\n\n"),
        ("a\r\nb\rc\n", "event:stdout\ndata:a\ndata:b\ndata:c\ndata:\nid:7\n\n"),
        (
            "data:x\nid:9\n\nevent:exit\n",
            "event:stdout\ndata:data:x\ndata:id:9\ndata:\ndata:event:exit\ndata:\nid:24\n\n",
        ),
        (
            "a\u{b}b\u{c}c\u{1c}d\u{1d}e\u{1e}f\n",
            "event:stdout\ndata:a\ndata:b\ndata:c\ndata:d\ndata:e\ndata:f\ndata:\nid:12\n\n",
        ),
        ("a\u{85}b\u{2028}c\u{2029}d\n", "event:stdout\ndata:a\ndata:b\ndata:c\ndata:d\ndata:\nid:13\n\n"),
        (
            "\u{a0}\u{2022}\t\u{1b}[0m\0\u{1f}\u{7f}\n",
            "event:stdout\ndata:\u{a0}\u{2022}\t\u{1b}[0m\0\u{1f}\u{7f}\ndata:\nid:14\n\n",
        ),
    ] {
        assert_eq!(events(text.as_bytes()), expected, "{text:?}");
    }
    assert_eq!(
        events(b"a\xff\xe2\x82\n\xf0\x9f\x98"),
        "event:stdout\ndata:a\u{fffd}\u{fffd}\ndata:\nid:5\n\nevent:stdout\ndata:\u{fffd}\nid:8\n\n"
    );
}

#[test]
fn an_unfinished_line_waits_and_is_cut_between_characters() {
    let mut encoder = Encoder::new(Encoding::Text, 10);
    encoder.output(Source::Stdout, b"whole\npart \xe2\x82");
    assert_eq!(encoded(&mut encoder), "event:stdout\ndata:whole\ndata:\nid:16\n\n");
    assert!(encoder.holds());
    encoder.flush();
    assert_eq!(encoded(&mut encoder), "event:stdout\ndata:part \nid:21\n\n");
    encoder.flush();
    assert_eq!(encoder.take(), None, "the beginning of a character waits");
    encoder.output(Source::Stdout, b"\xac\nx");
    assert_eq!(encoded(&mut encoder), "event:stdout\ndata:\u{20ac}\ndata:\nid:25\n\n");
    let long = "\u{20ac}".repeat(HELD_LINE);
    encoder.output(Source::Stdout, &long.as_bytes()[..HELD_LINE + 1]);
    let sent = parse(&encoded(&mut encoder));
    assert_eq!((sent[0].1.len(), sent.len()), (1 + HELD_LINE / 3 * 3, 1));
}

#[test]
fn a_line_end_that_is_cut_in_two_is_one() {
    let mut encoder = Encoder::new(Encoding::Text, 0);
    encoder.output(Source::Stdout, b"50%\r");
    encoder.flush();
    encoder.output(Source::Stdout, b"\n");
    encoder.output(Source::Stdout, b"next\n");
    encoder.exit("{}");
    let expected = "event:stdout\ndata:50%\ndata:\nid:4\n\nevent:stdout\ndata:next\ndata:\nid:10\n\nevent:exit\ndata:{}\nid:10\n\n";
    assert_eq!(encoded(&mut encoder), expected);
}

#[test]
fn the_id_stays_behind_a_line_of_the_other_stream_that_is_held_back() {
    let mut encoder = Encoder::new(Encoding::Text, 0);
    encoder.output(Source::Stdout, b"abc ");
    encoder.output(Source::Stderr, b"warning\n");
    assert_eq!(encoded(&mut encoder), "event:stderr\ndata:warning\ndata:\nid:0\n\n");
    encoder.output(Source::Stdout, b"def\n");
    assert_eq!(encoded(&mut encoder), "event:stdout\ndata:abc def\ndata:\nid:16\n\n");
    encoder.output(Source::Stdout, b"x");
    encoder.gap(Gap { from: 17, to: 40 });
    let expected = "event:stdout\ndata:x\nid:17\n\nevent:gap\ndata:{\"from\":17,\"to\":40}\nid:40\n\n";
    assert_eq!(encoded(&mut encoder), expected);
    encoder.comment();
    assert_eq!(encoded(&mut encoder), ":\n\n");
}

#[test]
fn base64_holds_nothing_back() {
    let mut encoder = Encoder::new(Encoding::Base64, 0);
    encoder.output(Source::Stderr, b"\xff\r\n ");
    assert_eq!(encoded(&mut encoder), "event:stderr\ndata:/w0KIA==\nid:4\n\n");
    assert!(!encoder.holds());
}

/// Text of many line ends and characters of every length, or any bytes.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::collection::vec(
        prop::sample::select(vec![
            "\n",
            "\r",
            "\r\n",
            "\u{b}",
            "\u{85}",
            "\u{2028}",
            "\u{20ac}",
            "\u{1f600}",
            "\u{e9}",
            "a",
            "word ",
            "\u{fffd}",
        ]),
        0..200,
    );
    prop_oneof![
        text.prop_map(|words| words.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..600)
    ]
}

proptest! {
    #[test]
    fn any_cut_of_any_bytes_reads_the_same(
        out in output(), err in output(), cut in 1usize..40, flushes in prop::collection::vec(any::<bool>(), 1..50),
    ) {
        let mut encoder = Encoder::new(Encoding::Text, 0);
        let (mut outs, mut errs) = (out.chunks(cut), err.chunks(cut + 1));
        let mut flushes = flushes.iter().cycle();
        let mut before = 0;
        loop {
            let (a, b) = (outs.next(), errs.next());
            if a.is_none() && b.is_none() {
                break;
            }
            encoder.output(Source::Stdout, a.unwrap_or_default());
            encoder.output(Source::Stderr, b.unwrap_or_default());
            prop_assert!(encoder.resume() >= before);
            before = encoder.resume();
            if *flushes.next().unwrap() {
                encoder.flush();
            }
        }
        encoder.exit("{}");
        let events = parse(&encoded(&mut encoder));
        for (name, written) in [("stdout", &out), ("stderr", &err)] {
            let read: String = events.iter().filter(|event| event.0 == name).map(|event| event.1.as_str()).collect();
            prop_assert_eq!(read, plain(written));
        }
        prop_assert!(events.iter().all(|event| event.0 == "exit" || !event.1.is_empty()));
        let total = u64::try_from(out.len() + err.len()).unwrap();
        prop_assert_eq!(events.last().map(|event| event.2), Some(total));
    }

    #[test]
    fn one_stream_can_be_resumed_from_any_id(out in output(), cut in 1usize..40) {
        let mut encoder = Encoder::new(Encoding::Text, 0);
        for piece in out.chunks(cut) {
            encoder.output(Source::Stdout, piece);
        }
        let mut read = String::new();
        for (_, data, id) in parse(&encoded(&mut encoder)) {
            read.push_str(&data);
            prop_assert_eq!(&read, &plain(&out[..usize::try_from(id).unwrap()]));
        }
    }
}
