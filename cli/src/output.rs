//! Standard output, which whoever reads it may close: `bulkhead image list | head -1`.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes one line. That nobody reads any more is no failure: what had to be done is done.
///
/// # Errors
/// As write(2), except `EPIPE`.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    write(&mut io::stdout(), text)
}

fn write(out: &mut dyn Write, text: impl Display) -> io::Result<()> {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_closed_the_pipe_is_not_written_to_and_a_full_disk_is_told() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        write(&mut writer, "x").unwrap();
        let mut full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(write(&mut full, "x").is_err());
    }
}
