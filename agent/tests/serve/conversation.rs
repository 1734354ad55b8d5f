//! Conversations with workers, for tests.

#![expect(clippy::unwrap_used, reason = "a helper of tests: what fails here fails the test")]

use crate::agent::Agent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::agent::{StartFailure, StartFailureKind};
use bulkhead_protocol::files::{
    Entry, FILES_PATH, FileCall, FileDone, FileFailure, FileHead, FileOperation as Op, PathText,
};
use bulkhead_protocol::frame::{Decoder, FrameType, encode};
use std::io::{BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// One operation under way.
pub(crate) struct Conversation {
    body: BufReader<UnixStream>,
    decoder: Decoder,
}

/// How it went.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) head: FileHead,
    pub(crate) content: Vec<u8>,
    pub(crate) done: Option<FileDone>,
}

impl Told {
    pub(crate) fn failure(&self) -> Option<FileFailure> {
        match (&self.head, &self.done) {
            (FileHead::Failed(failure), None) => Some(*failure),
            (FileHead::Begun { .. }, Some(done)) => done.failure,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let lines = self.content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

pub(crate) fn wire(path: &Path) -> PathText {
    PathText(STANDARD.encode(path.as_os_str().as_encoded_bytes()))
}

const UPGRADE: &str = "connection: upgrade\r\nupgrade: bulkhead-frames";

impl Agent {
    pub(crate) fn begin(&self, user: Option<&str>, operation: Op) -> Conversation {
        let call = FileCall { user: user.map(str::to_owned), operation };
        let json = serde_json::to_vec(&call).unwrap();
        let (status, body) = self.send("POST", FILES_PATH, UPGRADE, &json);
        assert_eq!(status, 101);
        Conversation { body, decoder: Decoder::default() }
    }

    pub(crate) fn file(&self, operation: Op) -> Told {
        self.begin(None, operation).finish()
    }

    /// Why no worker starts.
    pub(crate) fn refused(&self, user: Option<&str>, operation: Op) -> StartFailureKind {
        let call = FileCall { user: user.map(str::to_owned), operation };
        let json = serde_json::to_vec(&call).unwrap();
        let (status, body) = self.send("POST", FILES_PATH, UPGRADE, &json);
        assert_eq!(status, 422);
        let mut answers = serde_json::Deserializer::from_reader(body).into_iter::<StartFailure>();
        answers.next().unwrap().unwrap().kind
    }

    pub(crate) fn upload(&self, path: &Path, content: &[u8], limit: u64) -> Told {
        let mut upload = self.begin(None, Op::Upload { path: wire(path), mode: 0o640, limit });
        upload.give(content);
        upload.end();
        upload.finish()
    }
}

impl Conversation {
    pub(crate) fn give(&mut self, content: &[u8]) {
        for piece in content.chunks(50_000) {
            let mut frame = Vec::new();
            encode(FrameType::Input, piece, &mut frame);
            // A worker that refuses does not read to the end.
            drop(self.body.get_mut().write_all(&frame));
        }
    }

    pub(crate) fn end(&mut self) {
        let mut frame = Vec::new();
        encode(FrameType::InputEnd, &[], &mut frame);
        drop(self.body.get_mut().write_all(&frame));
    }

    pub(crate) fn next(&mut self) -> Option<(FrameType, Vec<u8>)> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some((frame.kind, frame.payload.to_vec()));
            }
            let count = self.body.read(&mut buffer).unwrap();
            if count == 0 {
                return None;
            }
            self.decoder.feed(&buffer[..count]);
        }
    }

    pub(crate) fn finish(mut self) -> Told {
        let (kind, head) = self.next().unwrap();
        assert_eq!(kind, FrameType::Head);
        let head = serde_json::from_slice(&head).unwrap();
        let (mut content, mut done) = (Vec::new(), None);
        while let Some((kind, payload)) = self.next() {
            assert!(done.is_none(), "a frame after the last one");
            match kind {
                FrameType::Stdout => content.extend(payload),
                FrameType::Done => done = Some(serde_json::from_slice(&payload).unwrap()),
                FrameType::KeepAlive => {}
                _ => panic!("{kind:?}"),
            }
        }
        Told { head, content, done }
    }
}

/// A small tree with what archives find hard.
pub(crate) fn plant(tree: &Path) {
    std::fs::create_dir_all(tree.join("deep/er")).unwrap();
    std::fs::create_dir(tree.join("empty")).unwrap();
    std::fs::write(tree.join("deep/er").join("n".repeat(200)), vec![7; 300_000]).unwrap();
    std::fs::write(tree.join("deep/\"q\" \n\u{1f980}"), "quoted").unwrap();
    std::fs::write(tree.join("nothing"), "").unwrap();
    std::os::unix::fs::symlink("deep/er", tree.join("link")).unwrap();
    std::os::unix::fs::symlink("../nothing", tree.join("deep/up")).unwrap();
}

/// Whether two trees have the same names, contents and links.
pub(crate) fn same(left: &Path, right: &Path) -> bool {
    std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([left, right])
        .status()
        .unwrap()
        .success()
}
