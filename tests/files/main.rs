//! Files of a sandbox over HTTP (contract §7), through the real product.

mod changes;
mod looks;
mod race;
mod transfers;
mod tree;
mod watches;

use bulkhead_tests::{Answer, Sandbox};
use std::fmt::Write;

/// Names that break who builds shell commands, headers or JSON by hand.
const NAMES: &[&[u8]] = &[
    b"plain.txt",
    b"with space",
    b" leading and trailing ",
    b"quote\"s and 'apostrophes'",
    b"back\\slash",
    b"new\nline\r\n",
    b"$(touch owned); `touch owned` & | > <",
    b"-rf",
    b"--",
    b"*?[a]",
    b"percent%20+plus",
    "caf\u{e9} \u{1f980} \u{202e}".as_bytes(),
    b"invalid \xff\xfe utf-8",
    b"control \x01\x1b[31m",
];

/// Bytes for a query.
fn encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02X}").expect("a string takes everything");
        text
    })
}

/// `/sandboxes/{id}/files` and what follows.
fn path(sandbox: &Sandbox<'_>, rest: &str) -> String {
    sandbox.path(&format!("/files{rest}"))
}

fn get(sandbox: &Sandbox<'_>, rest: &str) -> Answer {
    sandbox.client().get(&path(sandbox, rest))
}

fn post(sandbox: &Sandbox<'_>, rest: &str) -> Answer {
    sandbox.client().call("POST", &path(sandbox, rest), None)
}

/// The `stdout` of an answer that succeeded.
fn stdout(answer: &Answer) -> String {
    let data = answer.clone().expect(200).data();
    assert_eq!((&data["stderr"], &data["exitCode"]), (&"".into(), &0.into()), "{data}");
    data["stdout"].as_str().expect("text").to_owned()
}

fn upload(sandbox: &Sandbox<'_>, at: &[u8], content: &[u8]) {
    let answer = sandbox.client().upload(&path(sandbox, &format!("/upload?path={}", encoded(at))), content);
    assert_eq!(answer.expect(200).data()["size"], content.len());
}

fn download(sandbox: &Sandbox<'_>, at: &[u8]) -> Vec<u8> {
    get(sandbox, &format!("/download?path={}", encoded(at))).expect(200).body
}
