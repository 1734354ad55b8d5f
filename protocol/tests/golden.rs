//! What was said with agents of earlier versions, recorded: it is understood today, and said today in the same words. A
//! recording is never changed; a new version adds a file, and one that is no longer spoken is deleted.
#![expect(clippy::unwrap_used, reason = "the helpers of tests: a panic is their report")]

use bulkhead_protocol::agent::{
    AGENT_PROTOCOL, Ended, ExecutionSpec, Executions, Gap, Hello, HelloReply, InputTaken, Killed, Name,
    OLDEST_AGENT_PROTOCOL, SignalFailure, SignalRequest, Size, StartFailure, Started,
};
use bulkhead_protocol::files::{FileCall, FileDone, FileHead};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

fn again<T: Serialize + DeserializeOwned>(message: &Value) -> Value {
    let understood: T =
        serde_json::from_value(message.clone()).unwrap_or_else(|error| panic!("{error}: {message}"));
    serde_json::to_value(understood).unwrap()
}

fn said_today(kind: &str, message: &Value) -> Value {
    match kind {
        "Hello" => again::<Hello>(message),
        "HelloReply" => again::<HelloReply>(message),
        "Name" => again::<Name>(message),
        "Size" => again::<Size>(message),
        "SignalRequest" => again::<SignalRequest>(message),
        "ExecutionSpec" => again::<ExecutionSpec>(message),
        "FileCall" => again::<FileCall>(message),
        "Started" => again::<Started>(message),
        "Gap" => again::<Gap>(message),
        "Ended" => again::<Ended>(message),
        "Executions" => again::<Executions>(message),
        "Killed" => again::<Killed>(message),
        "InputTaken" => again::<InputTaken>(message),
        "StartFailure" => again::<StartFailure>(message),
        "SignalFailure" => again::<SignalFailure>(message),
        "FileHead" => again::<FileHead>(message),
        "FileDone" => again::<FileDone>(message),
        other => panic!("{other}"),
    }
}

fn recording(version: u32) -> Vec<Map<String, Value>> {
    let path = format!("{}/golden/agent-{version}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_version_that_is_spoken_is_understood_and_answered_in_its_words() {
    for version in OLDEST_AGENT_PROTOCOL..AGENT_PROTOCOL {
        let messages = recording(version);
        assert!(messages.len() > 20);
        for (kind, message) in messages.iter().flatten() {
            assert_eq!(&said_today(kind, message), message, "{kind} of version {version}");
        }
    }
}

#[test]
fn what_a_later_version_adds_is_ignored() {
    for (kind, message) in recording(OLDEST_AGENT_PROTOCOL).iter().flatten() {
        let Value::Object(fields) = message else { continue };
        // An enum is one word, not a set of fields.
        if kind == "FileHead" {
            continue;
        }
        let mut later = fields.clone();
        later.insert("later".to_owned(), Value::from(1));
        assert_eq!(&said_today(kind, &Value::Object(later)), message, "{kind}");
    }
}
