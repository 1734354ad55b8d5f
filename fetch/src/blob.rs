//! One blob: from where it broke off, checked over all its bytes, and under its name only then.

use crate::digest::Digest;
use crate::error::Error;
use crate::http::Response;
use crate::layout::Layout;
use crate::limits;
use crate::manifest::Descriptor;
use crate::registry::Registry;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use ureq::http::header::CONTENT_RANGE;

const WHAT: &str = "a layer";

/// What of a blob is here.
struct Part {
    file: File,
    hash: Sha256,
    length: u64,
}

/// Fetches a blob, unless it is there; `watch` is told how many bytes are.
pub(crate) fn fetch_one(
    registry: &mut Registry,
    layout: &Layout,
    blob: &Descriptor,
    watch: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let (whole, path) = (layout.blob(&blob.digest), layout.part(&blob.digest));
    if fs::metadata(&whole).is_ok_and(|found| found.is_file() && found.len() == blob.size) {
        watch(blob.size);
        return Ok(());
    }
    let mut part = Part::open(layout, &blob.digest)?;
    if part.length > blob.size {
        part.empty(layout, &blob.digest)?;
    }
    watch(part.length);
    let (mut tries, mut pause) = (0, limits::PAUSE);
    while part.length < blob.size {
        let before = part.length;
        match go_on(registry, layout, blob, &mut part, watch) {
            Ok(()) => break,
            Err(error) if error.passes() => {
                if part.length > before {
                    (tries, pause) = (0, limits::PAUSE);
                }
                tries += 1;
                if tries > limits::RETRIES {
                    return Err(error);
                }
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(error) => return Err(error),
        }
    }
    if Digest::finish(part.hash) != blob.digest {
        // The next attempt must not begin with these bytes.
        fs::remove_file(&path).map_err(Error::file("remove", path))?;
        return Err(Error::Digest { what: WHAT, expected: blob.digest.clone() });
    }
    fs::rename(&path, &whole).map_err(Error::file("name", whole))
}

/// Asks for what is missing and takes it.
fn go_on(
    registry: &mut Registry,
    layout: &Layout,
    blob: &Descriptor,
    part: &mut Part,
    watch: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let response = registry.blob(&blob.digest, part.length)?;
    let status = response.status().as_u16();
    if part.length > 0 && (status != 206 || !continues(&response, part.length)) {
        // It came from the beginning, or not at all.
        part.empty(layout, &blob.digest)?;
    }
    if status == 416 {
        return Err(Error::Cut(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let wrong = Error::Size { what: WHAT, expected: blob.size };
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; limits::READ];
    loop {
        let count = body.read(&mut buffer).map_err(Error::Cut)?;
        if count == 0 {
            break;
        }
        let after = part.length + u64::try_from(count).unwrap_or(u64::MAX);
        if after > blob.size {
            part.empty(layout, &blob.digest)?;
            return Err(wrong);
        }
        part.add(&buffer[..count], layout, &blob.digest)?;
        watch(part.length);
    }
    if part.length < blob.size {
        return Err(Error::Cut(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// Whether an answer begins where we ended.
fn continues(response: &Response, start: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

impl Part {
    /// What an earlier attempt left, hashed; or nothing.
    fn open(layout: &Layout, digest: &Digest) -> Result<Self, Error> {
        let path = layout.part(digest);
        let doing = || Error::file("read", path.clone());
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(doing())?;
        let (mut hash, mut length, mut buffer) = (Sha256::new(), 0, vec![0; limits::READ]);
        loop {
            let count = file.read(&mut buffer).map_err(doing())?;
            if count == 0 {
                return Ok(Self { file, hash, length });
            }
            hash.update(&buffer[..count]);
            length += u64::try_from(count).unwrap_or(u64::MAX);
        }
    }

    fn add(&mut self, bytes: &[u8], layout: &Layout, digest: &Digest) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(Error::file("write", layout.part(digest)))?;
        self.hash.update(bytes);
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn empty(&mut self, layout: &Layout, digest: &Digest) -> Result<(), Error> {
        let doing = || Error::file("empty", layout.part(digest));
        self.file.set_len(0).map_err(doing())?;
        self.file.rewind().map_err(doing())?;
        (self.hash, self.length) = (Sha256::new(), 0);
        Ok(())
    }
}
