//! One file, sent and stored. Reads and writes block: on a thread of its own each of them would cost more than it
//! takes, with the file in memory.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// The file's name.
pub(crate) const NAME: &str = "file";
/// Bytes of one read.
const READ: u64 = 256 << 10;

/// A file that is being sent.
pub(crate) struct Content {
    file: File,
    left: u64,
}

impl Content {
    /// All of this file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let left = file.metadata()?.len();
        Ok(Self { file, left })
    }

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next of them.
    pub(crate) fn next(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        let most = READ.min(self.left);
        if most == 0 {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(most).unwrap_or_default());
        Some((&self.file).take(most).read_to_end(&mut bytes).map(|count| {
            self.left -= u64::try_from(count).unwrap_or(u64::MAX);
            Frame::data(Bytes::from(bytes))
        }))
    }
}

/// Writes a body to a new file.
pub(crate) async fn store(path: &Path, mut body: Incoming) -> io::Result<()> {
    let mut file = File::create(path)?;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            file.write_all(&data)?;
        }
    }
    Ok(())
}
