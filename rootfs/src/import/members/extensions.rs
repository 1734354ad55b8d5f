//! What extended headers say of the member that follows them: pax records and long names of GNU tar.

use super::super::failure::{Failure, Outcome, refused};
use super::super::limits;

/// Prefix of extended attributes in pax records.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// What extensions say of the next member.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) modified: Option<(i64, u32)>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    seen: bool,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        !self.seen
    }

    pub(super) fn long_name(&mut self, text: &[u8]) -> Outcome {
        self.seen = true;
        set(&mut self.name, text.strip_suffix(b"\0").unwrap_or(text).to_vec())
    }

    pub(super) fn long_link(&mut self, text: &[u8]) -> Outcome {
        self.seen = true;
        set(&mut self.link, text.strip_suffix(b"\0").unwrap_or(text).to_vec())
    }

    /// Takes the records of one extended header.
    pub(super) fn read(&mut self, records: &[u8]) -> Outcome {
        self.seen = true;
        each_record(records, &mut |key, value| self.take(key, value))
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Outcome {
        let number = || {
            let text = std::str::from_utf8(value).ok()?;
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?
        };
        let wanted = || number().ok_or_else(broken);
        match key {
            b"path" => set(&mut self.name, value.to_vec()),
            b"linkpath" => set(&mut self.link, value.to_vec()),
            b"size" => set(&mut self.size, wanted()?),
            b"uid" => set(&mut self.uid, wanted()?),
            b"gid" => set(&mut self.gid, wanted()?),
            b"mtime" => set(&mut self.modified, moment(value).ok_or_else(broken)?),
            key if key.starts_with(b"GNU.sparse.") => refused(
                "a layer has a sparse file in the form of pax; write it with the GNU format, or whole",
            ),
            key => match key.strip_prefix(XATTR) {
                Some(name) => self.xattr(name, value),
                None => Ok(()),
            },
        }
    }

    fn xattr(&mut self, name: &[u8], value: &[u8]) -> Outcome {
        let bytes: usize = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.xattrs.len() >= limits::XATTRS || bytes + name.len() + value.len() > limits::XATTR_BYTES {
            return refused("a layer has a file with too many extended attributes");
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// Global headers hold comments in practice; one that changes members would change all that follow.
pub(super) fn check_global(records: &[u8]) -> Outcome {
    let plain = |key: &[u8], _: &[u8]| {
        let harmless = !matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid")
            && !key.starts_with(b"GNU.sparse.")
            && !key.starts_with(XATTR);
        if harmless { Ok(()) } else { refused("a layer has a global header that changes its members") }
    };
    each_record(records, &mut { plain })
}

/// Records are `LENGTH KEY=VALUE\n`; the length counts all of it, so a value may hold anything.
fn each_record(records: &[u8], take: &mut dyn FnMut(&[u8], &[u8]) -> Outcome) -> Outcome {
    let mut rest = records;
    while !rest.is_empty() {
        let (key, value, after) = record(rest).ok_or_else(broken)?;
        take(key, value)?;
        rest = after;
    }
    Ok(())
}

fn record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(8).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

/// `-12.345`: seconds and what comes behind the point.
fn moment(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{:0<9.9}", part).parse().ok()?;
    // Before 1970 the part counts backwards.
    Some(match (whole.starts_with('-'), nanos) {
        (true, 1..) => (seconds.checked_sub(1)?, 1_000_000_000 - nanos),
        _ => (seconds, nanos),
    })
}

fn broken() -> Failure {
    Failure::Refused("a layer has an extended header that is none".to_owned())
}

/// Two answers to one question are one too many.
fn set<T>(slot: &mut Option<T>, value: T) -> Outcome {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => refused("a layer has a member that is described twice"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_a_sign_and_parts() {
        assert_eq!(moment(b"12"), Some((12, 0)));
        assert_eq!(moment(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(moment(b"-0.25"), Some((-1, 750_000_000)));
        assert_eq!(moment(b"-3.000000001"), Some((-4, 999_999_999)));
        assert_eq!(moment(b"1.0123456789"), Some((1, 12_345_678)));
        for text in [b"".as_slice(), b"x", b"1.x", b"1e9", b"99999999999999999999"] {
            assert_eq!(moment(text), None);
        }
    }

    #[test]
    fn lengths_of_records_are_exact() {
        let mut all = Extensions::default();
        all.read(b"12 path=a\nb\n21 SCHILY.xattr.user.x=\n").unwrap_err();
        let mut all = Extensions::default();
        all.read(b"12 path=a\nb\n24 SCHILY.xattr.user.x=\n").unwrap();
        assert_eq!(all.name.unwrap(), b"a\nb");
        assert_eq!(all.xattrs, [(b"user.x".to_vec(), Vec::new())]);
        for text in [b"".as_slice(), b"9 path=a\n"] {
            Extensions::default().read(text).unwrap();
        }
        let bad: [&[u8]; 6] =
            [b"99 path=a\n", b"8 path=a\n", b"x path=a\n", b"11 path=a\n", b"8 pathab\n", b"10 size=-1\n"];
        for text in bad {
            assert!(Extensions::default().read(text).is_err(), "{}", text.escape_ascii());
        }
        assert!(Extensions::default().read(b"9 path=a\n9 path=b\n").is_err());
        assert!(check_global(b"9 path=a\n").is_err());
        check_global(b"13 comment=x\n").unwrap();
    }
}
