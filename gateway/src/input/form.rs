//! The file of a form (RFC 7578): the part with the name `file`, as it comes. Parts with other names are skipped.

use crate::error::{ApiError, ApiResult};
use crate::limits;
use bytes::{Bytes, BytesMut};

/// The name of the part that is the file.
const FIELD: &str = "file";

/// A form that is being read.
#[derive(Debug)]
pub(super) struct Form {
    /// What stands before each part: an end of line, two dashes and the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    place: Place,
    seen: Seen,
}

/// Where the start of the buffer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the content of a part that is skipped, or before the first one.
    Other,
    File,
    /// Behind a delimiter.
    Head,
    /// Behind the last one.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    NoFile,
    File,
}

/// What a form has at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next bytes of the file.
    Content(Bytes),
    /// Nothing, until more is pushed.
    More,
}

fn malformed() -> ApiError {
    ApiError::bad_request("body: is not a well-formed multipart/form-data")
}

impl Form {
    /// A reader for a body of this type, if that is a form.
    pub(super) fn of(content_type: &str) -> ApiResult<Option<Self>> {
        let mut parts = content_type.split(';').map(str::trim);
        if !parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/form-data")) {
            return Ok(None);
        }
        let boundary = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
        });
        let boundary = boundary.filter(|text| (1..=limits::FORM_BOUNDARY).contains(&text.len()));
        let boundary = boundary.ok_or_else(|| ApiError::field("Content-Type", "needs a boundary"))?;
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first delimiter may have no end of line before it.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        Ok(Some(Self { delimiter, buffer, place: Place::Other, seen: Seen::NoFile }))
    }

    /// Takes bytes, once [`Self::next`] wants more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.place != Place::Over {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next bytes of the file that are there.
    pub(super) fn next(&mut self) -> ApiResult<Step> {
        loop {
            match self.place {
                Place::Over => return Ok(Step::More),
                Place::Head => {
                    if !self.head()? {
                        return Ok(Step::More);
                    }
                }
                Place::Other | Place::File => {
                    let place = self.place;
                    let (length, found) = self.until_delimiter();
                    let content = self.buffer.split_to(length).freeze();
                    if found {
                        drop(self.buffer.split_to(self.delimiter.len()));
                        self.place = Place::Head;
                    }
                    if place == Place::File && !content.is_empty() {
                        return Ok(Step::Content(content));
                    }
                    if !found {
                        return Ok(Step::More);
                    }
                }
            }
        }
    }

    /// How many bytes are content for certain, and whether the delimiter is what follows them.
    fn until_delimiter(&self) -> (usize, bool) {
        let mut from = 0;
        while let Some(at) = self.buffer[from..].iter().position(|byte| *byte == b'\r') {
            let rest = &self.buffer[from + at..];
            if rest.starts_with(&self.delimiter) {
                return (from + at, true);
            }
            if self.delimiter.starts_with(rest) {
                return (from + at, false);
            }
            from += at + 1;
        }
        (self.buffer.len(), false)
    }

    /// Reads the rest of a delimiter's line and the headers of its part; whether they are here.
    fn head(&mut self) -> ApiResult<bool> {
        if self.buffer.starts_with(b"--") {
            self.place = Place::Over;
            return Ok(true);
        }
        let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return if self.buffer.len() > limits::FORM_HEAD { Err(malformed()) } else { Ok(false) };
        };
        let head = self.buffer.split_to(end + 4);
        self.place = match (is_file(&head), self.seen) {
            (false, _) => Place::Other,
            (true, Seen::File) => return Err(ApiError::field(FIELD, "appears twice")),
            (true, Seen::NoFile) => Place::File,
        };
        if self.place == Place::File {
            self.seen = Seen::File;
        }
        Ok(true)
    }

    /// The body is over: whether the form is.
    pub(super) fn ended(&self) -> ApiResult<()> {
        match (self.place, self.seen) {
            (Place::Over, Seen::File) => Ok(()),
            (Place::Over, Seen::NoFile) => Err(ApiError::field(FIELD, "is required")),
            (Place::Other | Place::File | Place::Head, _) => Err(malformed()),
        }
    }
}

/// Whether these headers are those of the file.
fn is_file(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let disposition = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    disposition.is_some_and(|(_, value)| {
        let mut parts = value.split(';').filter_map(|part| part.split_once('='));
        parts.any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("name") && value.trim().trim_matches('"') == FIELD
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "preamble\r\n--b-1\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nx\r\n\
        --b-1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;b\"\r\nContent-Type: text/plain\r\n\r\n\
        one\r\n--b-\r\r\n--b-\n\r\n--b-1--\r\nepilogue";

    fn read(body: &[u8], cut: usize) -> ApiResult<Vec<u8>> {
        let mut form = Form::of("Multipart/Form-Data; charset=x; boundary=\"b-1\"").unwrap().unwrap();
        let mut file = Vec::new();
        for piece in body.chunks(cut) {
            form.push(piece);
            while let Step::Content(bytes) = form.next()? {
                file.extend_from_slice(&bytes);
            }
        }
        form.ended().map(|()| file)
    }

    #[test]
    fn the_file_is_found_however_the_body_is_cut() {
        for cut in 1..=BODY.len() {
            let file = read(BODY.as_bytes(), cut).unwrap();
            assert_eq!(file, b"one\r\n--b-\r\r\n--b-\n", "cut at {cut}");
        }
        let empty = BODY.replace("one\r\n--b-\r\r\n--b-\n", "");
        assert!(read(empty.as_bytes(), 7).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_form_with_one_file_is_refused() {
        let text = |body: &str| read(body.as_bytes(), 5).unwrap_err().message.into_owned();
        assert_eq!(text(&BODY.replace("\"note\"", "\"file\"")), "file: appears twice");
        assert_eq!(text(&BODY.replace("\"file\"", "\"other\"")), "file: is required");
        assert!(text(&BODY[..BODY.len() - 20]).starts_with("body: "));
        assert!(text("--b-1\r\nno headers").starts_with("body: "));
        assert!(text(&format!("--b-1\r\n{}", "x".repeat(5000))).starts_with("body: "));
        assert!(Form::of("multipart/form-data").is_err());
        assert!(Form::of("multipart/form-data; boundary=").is_err());
        assert!(Form::of("application/json").unwrap().is_none());
        assert!(Form::of("").unwrap().is_none());
    }
}
