//! The hand-made text against what serde makes of the same type.

use super::*;
use crate::agent_client::{Budget, Collected};
use crate::api::{Envelope, ExecData};
use proptest::prelude::*;

fn outcome(stdout: &[u8], stderr: &[u8], finish: Finish) -> Outcome {
    let mut collected = Collected::new(&Budget::default());
    collected.stdout.push(stdout);
    collected.stderr.push(stderr);
    Outcome {
        stdout: collected.stdout,
        stderr: collected.stderr,
        finish,
        usage: agent::Usage { cpu_ms: Some(1), wall_ms: 2, peak_memory_bytes: None },
        output_open: false,
    }
}

fn text(pieces: Pieces) -> serde_json::Value {
    let all: Vec<u8> = pieces.flatten().collect();
    serde_json::from_slice(&all).unwrap()
}

proptest! {
    #[test]
    fn the_pieces_are_the_json_of_the_type(
        stdout in prop::collection::vec(any::<u8>(), 0..300),
        stderr in ".{0,300}",
    ) {
        let made = outcome(&stdout, stderr.as_bytes(), Finish::Told(agent::End::Exited { code: 7 }));
        let data = ExecData {
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr,
            tail: tail(&made),
        };
        let expected = serde_json::to_value(Envelope::new("ok", data)).unwrap();
        prop_assert_eq!(text(Pieces::new(made)), expected);
    }
}

#[test]
fn long_output_is_cut_between_characters() {
    let long = format!("x{}", "é€😀\n\u{1}".repeat(20_000));
    let finish = Finish::Told(agent::End::Exited { code: 0 });
    let pieces: Vec<Bytes> = Pieces::new(outcome(long.as_bytes(), b"", finish)).collect();
    assert!(pieces.len() > 5 && pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= 2 * PIECE));
    let value = text(Pieces::new(outcome(long.as_bytes(), b"", finish)));
    assert_eq!(value["data"]["stdout"], long);
    let garbage = vec![0x80; 3 * PIECE];
    let value = text(Pieces::new(outcome(&garbage, b"", finish)));
    assert_eq!(value["data"]["stdout"].as_str().unwrap().chars().count(), garbage.len());
}

#[test]
fn each_end_has_its_exit_code() {
    let cases = [
        (Finish::Told(agent::End::Signaled { signal: 9 }), 137, "signaled"),
        (Finish::Told(agent::End::Timeout), 124, "timeout"),
        (Finish::Told(agent::End::Oom), 137, "oom"),
        (Finish::Told(agent::End::Killed), 137, "killed"),
        (Finish::Slept, 137, "sleep"),
        (Finish::Gone, 137, "gone"),
    ];
    for (finish, code, kind) in cases {
        let data = &text(Pieces::new(outcome(b"a", b"b", finish)))["data"];
        assert_eq!((data["exitCode"].clone(), data["end"]["kind"].clone()), (code.into(), kind.into()));
        let note = if kind == "timeout" { format!("b\n{TIMEOUT_NOTE}") } else { "b".to_owned() };
        assert_eq!(data["stderr"], note);
    }
}
