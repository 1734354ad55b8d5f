//! The reader of frames and the budget of output. Whole conversations are in `tests/`.

use super::*;
use crate::limits::{OUTPUT_END, OUTPUT_WHOLE};
use bulkhead_protocol::agent::{End, Usage};
use bulkhead_protocol::frame::{FrameType, encode};

fn read(frames: &[(FrameType, &[u8])]) -> (Result<Option<Ended>, AgentError>, Collected) {
    let mut collected = Collected::new(&Budget::default());
    let mut wire = Vec::new();
    for (kind, payload) in frames {
        encode(*kind, payload, &mut wire);
    }
    let mut frames = Frames::new();
    frames.feed(&wire);
    let outcome = collected.take(&mut frames);
    (outcome, collected)
}

fn ended(end: End) -> Vec<u8> {
    let usage = Usage { cpu_ms: Some(1), wall_ms: u64::MAX, peak_memory_bytes: None };
    serde_json::to_vec(&Ended { end, usage, output_open: false }).unwrap()
}

const STARTED: (FrameType, &[u8]) = (FrameType::Started, br#"{"handle":1048577}"#);

#[test]
fn a_good_stream_is_read_and_huge_numbers_are_cut() {
    let end = ended(End::Exited { code: 3 });
    let frames = [STARTED, (FrameType::Stdout, b"a"), (FrameType::Stderr, b"b"), (FrameType::Ended, &end)];
    let (outcome, collected) = read(&frames);
    let ended = outcome.unwrap().unwrap();
    assert_eq!(ended.end, End::Exited { code: 3 });
    assert_eq!(ended.usage.wall_ms, limits::MAX_COUNT);
    assert_eq!(collected.stdout.into_parts().0, b"a");
    assert_eq!(collected.stderr.into_parts().0, b"b");
}

#[test]
fn everything_out_of_order_or_out_of_range_is_malformed() {
    let end = ended(End::Signaled { signal: 65 });
    let good = ended(End::Oom);
    let empty: Vec<(FrameType, &[u8])> =
        [STARTED].into_iter().chain(std::iter::repeat_n((FrameType::Stdout, &b""[..]), 1000)).collect();
    let cases: [&[(FrameType, &[u8])]; 9] = [
        &[(FrameType::Stdout, b"a")],
        &[STARTED, STARTED],
        &[(FrameType::Started, b"{}")],
        &[STARTED, (FrameType::Ended, &end)],
        &[STARTED, (FrameType::Ended, br#"{"end":{"kind":"exited","code":-1}}"#)],
        &[STARTED, (FrameType::Ended, &good), (FrameType::Stdout, b"a")],
        &[STARTED, (FrameType::Gap, br#"{"from":5,"to":5}"#)],
        &[(FrameType::KeepAlive, b"x")],
        &empty,
    ];
    for (index, case) in cases.iter().enumerate() {
        assert!(matches!(read(case).0, Err(AgentError::Malformed(_))), "case {index}");
    }
}

#[test]
fn a_long_stream_keeps_both_ends_and_counts_the_middle() {
    let mut output = Collected::new(&Budget::default()).stdout;
    let total = OUTPUT_WHOLE + 3 * OUTPUT_END + 7;
    let bytes: Vec<u8> = (0..total).map(|n| u8::try_from(n % 251).unwrap()).collect();
    for piece in bytes.chunks(65_536) {
        output.push(piece);
    }
    assert_eq!(output.cut(), u64::try_from(total - OUTPUT_WHOLE).unwrap());
    let (kept, _) = output.into_parts();
    assert_eq!(kept.len(), OUTPUT_WHOLE);
    assert!(kept[..OUTPUT_END] == bytes[..OUTPUT_END] && kept[OUTPUT_END..] == bytes[total - OUTPUT_END..]);
}

#[test]
fn a_spent_budget_leaves_each_stream_its_own_share() {
    let budget = Budget::default();
    let mut hogs = Vec::new();
    for _ in 0..limits::OUTPUT_BUDGET / OUTPUT_WHOLE + 1 {
        let mut hog = Collected::new(&budget).stdout;
        hog.push(&vec![b'x'; OUTPUT_WHOLE]);
        hogs.push(hog);
    }
    let mut late = Collected::new(&budget).stdout;
    late.push(&vec![b'y'; OUTPUT_WHOLE]);
    assert_eq!(late.into_parts().0.len(), limits::PIECE);
    drop(hogs);
    let mut later = Collected::new(&budget).stdout;
    later.push(&vec![b'z'; OUTPUT_WHOLE]);
    assert_eq!(later.cut(), 0);
}
