//! Every field of an exec, good and bad.

use super::*;
use std::time::Duration;

fn spec(body: &str) -> Result<Job, String> {
    let request = parse(Fields::of_body(body.as_bytes()).unwrap());
    let manner = Manner { hold: Hold::Attached, stdin: Stdin::Null, key: None };
    request.and_then(|request| job(request, Surroundings::default(), manner)).map_err(|error| {
        assert_eq!(error.status, hyper::StatusCode::BAD_REQUEST);
        error.message.into_owned()
    })
}

#[test]
fn a_timeout_is_clamped_and_never_refused() {
    for (text, seconds) in [
        ("0", 30),
        ("-1", 30),
        ("null", 30),
        ("1", 1),
        ("300", 300),
        ("301", 300),
        ("86400", 300),
        ("9223372036854775808", 300),
        ("1e30", 300),
        ("-1e30", 30),
    ] {
        let job = spec(&format!(r#"{{"command":"true","timeout":{text}}}"#)).unwrap();
        assert_eq!(job.time, Some(Duration::from_secs(seconds)), "{text}");
    }
}

#[test]
fn what_runs_on_by_itself_has_no_limit_unless_it_asks_for_one() {
    for (seconds, expected) in [(None, None), (Some(0), None), (Some(-1), None), (Some(900), Some(900_000))] {
        assert_eq!(timeout(seconds, Hold::Detached), expected, "{seconds:?}");
    }
    assert_eq!(timeout(Some(i64::MAX), Hold::Detached), Some(900_000));
}

#[test]
fn words_are_quoted_after_the_trimmed_command() {
    let args = ["it's", "$HOME", ""].map(str::to_owned).to_vec();
    assert_eq!(script(" \n echo \n", args).unwrap(), r"echo 'it'\''s' '$HOME' ''");
}

#[test]
fn each_bad_field_is_named() {
    let long = format!(r#"{{"command":"{}"}}"#, "x".repeat(MAX_SCRIPT + 1));
    let cases = [
        ("{}", "command: is required"),
        (r#"{"command":null}"#, "command: is required"),
        (r#"{"command":7}"#, "command: must be a string"),
        (r#"{"command":" \n "}"#, "command: must not be empty"),
        (r#"{"command":"a\u0000b"}"#, "command: must not contain a NUL character"),
        (&long, "command: is longer than 100000 bytes"),
        (r#"{"command":"a","args":"b"}"#, "args: must be an array"),
        (r#"{"command":"a","args":[1]}"#, "args: every item must be a string"),
        (r#"{"command":"a","args":["\u0000"]}"#, "args: must not contain a NUL character"),
        (r#"{"command":"a","timeout":"5"}"#, "timeout: must be an integer"),
        (r#"{"command":"a","timeout":1.5}"#, "timeout: must be an integer"),
        (r#"{"command":"a","env":[]}"#, "env: must be an object"),
        (r#"{"command":"a","env":{"A":1}}"#, "env: every value must be a string"),
        (r#"{"command":"a","env":{"A=B":"1"}}"#, "env: a name must not contain = or a NUL character"),
        (r#"{"command":"a","env":{"":"1"}}"#, "env: a name must have from 1 to 256 bytes"),
        (r#"{"command":"a","env":{"A":"\u0000"}}"#, "env: a value must not contain a NUL character"),
        (r#"{"command":"a","onDisconnect":"stay"}"#, "onDisconnect: must be kill or detach"),
        (r#"{"command":"a","stdin":"yes"}"#, "stdin: must be true or false"),
        (r#"{"command":"a","background":1}"#, "background: must be true or false"),
        (r#"{"command":"a","user":""}"#, "user: must have from 1 to 65 visible characters"),
        (r#"{"command":"a","user":"a b"}"#, "user: must have from 1 to 65 visible characters"),
        (r#"{"command":"a","cwd":5}"#, "cwd: must be a string"),
        (r#"{"command":"a","cwd":"/\u0000"}"#, "cwd: must not contain a NUL character"),
    ];
    for (body, message) in cases {
        assert_eq!(spec(body).map(drop), Err(message.to_owned()), "{body}");
    }
}
