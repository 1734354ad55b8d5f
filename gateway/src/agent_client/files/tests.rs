//! The reader of a worker's frames. Whole conversations are in `tests/`.

use super::*;
use bulkhead_protocol::frame::encode;
use std::io::Write;

const BEGUN: &[u8] = br#"{"begun":{"size":5,"modified_us":0}}"#;

/// What a link makes of these bytes: a letter for each word.
async fn read(wire: Vec<u8>) -> (String, Vec<u8>) {
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let writer = std::thread::spawn(move || far.write_all(&wire).unwrap_or_default());
    let mut link = Link::new(UnixStream::from_std(near).unwrap(), &[]);
    let (mut words, mut content) = (String::new(), Vec::new());
    loop {
        match poll_fn(|cx| link.poll_word(cx)).await {
            Ok(Word::Head(_)) => words.push('h'),
            Ok(Word::Piece(Piece::Content(bytes))) => content.extend_from_slice(&bytes),
            Ok(Word::Piece(Piece::Done(_))) => words.push('d'),
            Err(AgentError::Closed) => break,
            Err(_) => {
                words.push('x');
                break;
            }
        }
    }
    drop(link);
    writer.join().unwrap();
    (words, content)
}

fn wire(frames: &[(FrameType, &[u8])]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (kind, payload) in frames {
        encode(*kind, payload, &mut wire);
    }
    wire
}

#[tokio::test]
async fn content_comes_as_it_was_sent() {
    let big = vec![7; MAX_PAYLOAD];
    let mut frames = vec![(FrameType::KeepAlive, &b""[..]), (FrameType::Head, BEGUN)];
    frames.extend(std::iter::repeat_n((FrameType::Stdout, &big[..]), 100));
    frames.push((FrameType::Done, b"{}"));
    let (words, content) = read(wire(&frames)).await;
    assert_eq!((words.as_str(), content.len()), ("hd", 100 * MAX_PAYLOAD));
    assert!(content.iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn whatever_is_out_of_order_or_too_long_is_refused() {
    let long = vec![b' '; limits::FILE_JSON + 1];
    let cases: [&[(FrameType, &[u8])]; 9] = [
        &[(FrameType::Stdout, b"x")],
        &[(FrameType::Done, b"{}")],
        &[(FrameType::Head, b"{}")],
        &[(FrameType::Head, &long)],
        &[(FrameType::Input, b"x")],
        &[(FrameType::KeepAlive, b"x")],
        &[(FrameType::Head, BEGUN), (FrameType::Head, BEGUN)],
        &[(FrameType::Head, BEGUN), (FrameType::Done, b"[")],
        &[(FrameType::Head, BEGUN), (FrameType::Done, b"{}"), (FrameType::KeepAlive, b"")],
    ];
    for frames in cases {
        let (words, _) = read(wire(frames)).await;
        assert!(words.ends_with('x'), "{words} of {frames:?}");
    }
    assert_eq!(read(vec![2, 0xff, 0xff, 0xff, 0xff]).await.0, "x");
    assert_eq!(read(vec![77, 0, 0, 0, 0]).await.0, "x");
    let empty = [wire(&[(FrameType::Head, BEGUN)]), [2, 0, 0, 0, 0].repeat(1000)].concat();
    assert_eq!(read(empty).await.0, "hx");
}

#[test]
fn lines_are_whole_and_bounded() {
    let mut lines = Lines::default();
    lines.push(b"one\ntw");
    assert_eq!(lines.next().unwrap(), Some(&b"one"[..]));
    assert_eq!(lines.next().unwrap(), None);
    lines.push(b"o\n");
    assert_eq!(lines.next().unwrap(), Some(&b"two"[..]));
    assert!(!lines.is_mid_line());
    lines.push(&vec![b'x'; limits::FILE_JSON + 1]);
    assert!(lines.next().is_err());
}

#[test]
fn a_path_is_absolute_and_one_that_the_system_knows() {
    let entry_of = |path: &str| {
        let line = format!(
            r#"{{"path":"{path}","kind":"file","size":18446744073709551615,"mode":33188,"uid":0,"gid":0,"modified_us":0,"target":null}}"#
        );
        entry(line.as_bytes())
    };
    let (path, found) = entry_of("L2Ev/w==").unwrap();
    assert_eq!((path.as_slice(), found.size), (&b"/a/\xff"[..], limits::MAX_COUNT));
    for text in ["", "YQ==", "L2EAYg==", "*", &"L2Fh".repeat(2000)] {
        assert!(entry_of(text).is_err(), "{text}");
    }
}
