//! Zip archives, written by hand so that their two directories may disagree.

use super::{Field, name};
use crate::files::archive::zip_in::unpack;
use crate::files::failure::{Outcome, failed};
use crate::files::wire::Wire;
use bulkhead_protocol::files::{FileFailure, MAX_ZIP_DIRECTORY};
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::net::UnixStream;

/// A regular file, and a link.
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

#[derive(Debug, Clone)]
struct Member {
    name: Vec<u8>,
    /// The name before the content, where it is another.
    other_name: Option<Vec<u8>>,
    content: Vec<u8>,
    mode: u32,
    flags: u16,
    /// The size in the directory, where it is another.
    other_size: Option<u32>,
    /// Where the directory says it begins, where that is elsewhere.
    other_start: Option<u32>,
}

fn plain(name: &str, mode: u32, content: &str) -> Member {
    Member {
        name: name.into(),
        other_name: None,
        content: content.into(),
        mode,
        flags: 0,
        other_size: None,
        other_start: None,
    }
}

fn member() -> impl Strategy<Value = Member> {
    let content =
        proptest::prop_oneof![name(), select(vec![0_usize, 1, 3000]).prop_map(|length| vec![b'c'; length]),];
    let mode = select(vec![FILE, FILE, LINK, LINK, 0, 0o040_777, 0o104_777, 0o020_666, 0o010_644]);
    let other_size = proptest::option::weighted(0.05, select(vec![0, 1, u32::MAX]));
    let flags = select(vec![0_u16, 0, 0, 0, 0, 0, 0, 1, 8, 0x800]);
    let other_start = proptest::option::weighted(0.1, select(vec![0, 1, 31, 70]));
    (name(), proptest::option::weighted(0.1, name()), content, mode, flags, other_size, other_start).prop_map(
        |(name, other_name, content, mode, flags, other_size, other_start)| Member {
            name,
            other_name,
            content,
            mode,
            flags,
            other_size,
            other_start,
        },
    )
}

fn numbers(out: &mut Vec<u8>, short: &[u16], long: &[u32]) {
    short.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    long.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

fn small(length: usize) -> u16 {
    u16::try_from(length).unwrap()
}

fn large(length: usize) -> u32 {
    u32::try_from(length).unwrap()
}

fn written(members: &[Member]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for member in members {
        let start = member.other_start.unwrap_or(large(out.len()));
        let size = large(member.content.len());
        let sum = crc(&member.content);
        let before = member.other_name.as_ref().unwrap_or(&member.name);
        out.extend_from_slice(b"PK\x03\x04");
        numbers(&mut out, &[20, member.flags, 0, 0, 0x21], &[sum, size, size]);
        numbers(&mut out, &[small(before.len()), 0], &[]);
        out.extend_from_slice(before);
        out.extend_from_slice(&member.content);
        let told = member.other_size.unwrap_or(size);
        directory.extend_from_slice(b"PK\x01\x02");
        // Made by a Unix program, which says bits.
        numbers(&mut directory, &[(3 << 8) | 20, 20, member.flags, 0, 0, 0x21], &[sum, told, told]);
        numbers(&mut directory, &[small(member.name.len()), 0, 0, 0, 0], &[member.mode << 16, start]);
        directory.extend_from_slice(&member.name);
    }
    let (at, size, count) = (large(out.len()), large(directory.len()), small(members.len()));
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06");
    numbers(&mut out, &[0, 0, count, count], &[size, at]);
    numbers(&mut out, &[0], &[]);
    out
}

/// The sum that the format wants.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn unpacked(bytes: &[u8]) -> Outcome {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let mut wire = Wire::new(ours, Vec::new(), None).unwrap();
    Field::new().unpack(|target| unpack(file, target, &mut wire))
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_a_zip_holds_it_stays_inside(members in proptest::collection::vec(member(), 1..7), place in any::<u32>(), byte in any::<u8>()) {
        let mut bytes = written(&members);
        if place % 2 == 0 {
            let place = usize::try_from(place).unwrap() % bytes.len();
            bytes[place] = byte;
        }
        let _typed = unpacked(&bytes);
    }
}

#[test]
fn what_two_readers_see_differently_is_refused() {
    let file = || plain("f", FILE, "content");
    assert_eq!(unpacked(&written(&[file(), plain("l", LINK, "/"), plain("d/e", FILE, "x")])), Ok(()));
    let hostile = failed(FileFailure::Hostile);
    let no_archive = failed(FileFailure::BadArchive);
    let through = [plain("l", LINK, "../out"), plain("l/f", FILE, "x")];
    for (members, expected) in [
        (vec![plain("../out/f", FILE, "x")], hostile),
        (vec![plain("/f", FILE, "x")], hostile),
        (through.to_vec(), hostile),
        (vec![plain("g", FILE, "x"), Member { other_start: Some(0), ..file() }], no_archive),
        (vec![Member { other_name: Some(b"g".to_vec()), ..file() }], no_archive),
        (vec![Member { flags: 1, ..file() }], no_archive),
        (vec![plain("device", 0o020_666, "")], hostile),
        (vec![Member { other_size: Some(3), ..file() }], no_archive),
    ] {
        assert_eq!(unpacked(&written(&members)), expected, "{members:?}");
    }
}

#[test]
fn content_that_is_a_member_as_well_is_refused() {
    let inner = plain("g", FILE, "x");
    let mut outer = plain("f", FILE, "");
    outer.content = written(std::slice::from_ref(&inner));
    // Behind the header and the name of the outer one.
    let members = [outer, Member { other_start: Some(31), ..inner }];
    assert_eq!(unpacked(&written(&members)), failed(FileFailure::Hostile));
}

#[test]
fn a_directory_without_end_is_not_read_to_its_end() {
    let name = "n".repeat(60_000);
    let count = usize::try_from(MAX_ZIP_DIRECTORY).unwrap() / name.len() + 1;
    let members: Vec<_> = (0..count).map(|number| plain(&format!("{number}{name}"), FILE, "")).collect();
    assert_eq!(unpacked(&written(&members)), failed(FileFailure::Bounds));
}
