//! Tar streams.

use super::{Field, MOST, name};
use crate::files::archive::tar_in::{Source, unpack};
use crate::files::failure::{Outcome, Stop, failed};
use ::tar::{EntryType, Header};
use bulkhead_protocol::files::FileFailure;
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use std::io::Read;

/// A member as its maker wants it.
#[derive(Debug, Clone)]
struct Member {
    kind: u8,
    name: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    content: usize,
    /// What an extension says instead: name, link, size.
    extensions: Extensions,
}

#[derive(Debug, Clone, Default)]
struct Extensions {
    gnu_name: Option<Vec<u8>>,
    pax_path: Option<Vec<u8>>,
    pax_link: Option<Vec<u8>>,
    pax_size: Option<u64>,
}

struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn read(&mut self, out: &mut [u8]) -> Outcome<usize> {
        Ok(self.0.read(out)?)
    }

    fn beat(&mut self) -> Outcome {
        Ok(())
    }
}

fn member() -> impl Strategy<Value = Member> {
    let some_name = || proptest::option::weighted(0.1, name());
    let size = proptest::option::weighted(0.05, select(vec![0, 1, 511, 512, 513, u64::MAX, 1 << 40]));
    let extensions =
        (some_name(), some_name(), some_name(), size).prop_map(|(gnu_name, pax_path, pax_link, pax_size)| {
            Extensions { gnu_name, pax_path, pax_link, pax_size }
        });
    // Files, links of both kinds and directories; now and then a device, a pipe, a sparse file or an unknown one.
    let kind = select(b"000000555555222222111111\x003467SZ".to_vec());
    let content = select(vec![0_usize, 1, 512, 700, 3000]);
    (kind, name(), name(), any::<u32>(), content, extensions).prop_map(
        |(kind, name, link, mode, content, extensions)| Member {
            kind,
            name,
            link,
            mode,
            content,
            extensions,
        },
    )
}

fn record(out: &mut Vec<u8>, kind: u8, name: &[u8], link: &[u8], mode: u32, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::new(kind));
    header.set_mode(mode & 0o7777);
    header.set_size(u64::try_from(content.len()).unwrap());
    header.set_mtime(7);
    let raw = header.as_mut_bytes();
    let fill = |field: &mut [u8], text: &[u8]| {
        let length = text.len().min(field.len());
        field[..length].copy_from_slice(&text[..length]);
    };
    fill(&mut raw[..100], name);
    fill(&mut raw[157..257], link);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn pax(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn written(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        if let Some(name) = &member.extensions.gnu_name {
            record(&mut out, b'L', b"././@LongLink", b"", 0, &[name, b"\0".as_slice()].concat());
        }
        let mut records = Vec::new();
        for (key, value) in [("path", &member.extensions.pax_path), ("linkpath", &member.extensions.pax_link)]
        {
            value.iter().for_each(|value| pax(&mut records, key, value));
        }
        member
            .extensions
            .pax_size
            .iter()
            .for_each(|size| pax(&mut records, "size", size.to_string().as_bytes()));
        if !records.is_empty() {
            record(&mut out, b'x', b"pax", b"", 0, &records);
        }
        let content = if matches!(member.kind, b'0' | b'7') { member.content } else { 0 };
        record(&mut out, member.kind, &member.name, &member.link, member.mode, &vec![b'c'; content]);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn plain(kind: u8, name: &str, link: &str) -> Member {
    let (name, link) = (name.as_bytes().to_vec(), link.as_bytes().to_vec());
    Member { kind, name, link, mode: 0o644, content: 10, extensions: Extensions::default() }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_a_tar_holds_it_stays_inside(members in proptest::collection::vec(member(), 1..9), cut in any::<u16>()) {
        let mut bytes = written(&members);
        if cut % 8 == 0 {
            bytes.truncate(usize::from(cut));
        }
        let _typed = Field::new().unpack(|target| unpack(&mut Bytes(&bytes), target));
    }

    #[test]
    fn whatever_bytes_a_tar_has_it_stays_inside(members in proptest::collection::vec(member(), 1..5), place in any::<u32>(), byte in any::<u8>()) {
        let mut bytes = written(&members);
        let place = usize::try_from(place).unwrap() % bytes.len();
        bytes[place] = byte;
        let _typed = Field::new().unpack(|target| unpack(&mut Bytes(&bytes), target));
    }
}

#[test]
fn links_lead_anywhere_and_nothing_goes_through_them() {
    let hostile = Err(Stop::Failed(FileFailure::Hostile));
    for (first, second, expected) in [
        (plain(b'2', "l", "/"), plain(b'0', "f", ""), Ok(())),
        (plain(b'2', "a/l", "../../../x"), plain(b'0', "a/l", ""), Ok(())),
        (plain(b'2', "l", "../out"), plain(b'0', "l/f", ""), hostile),
        (plain(b'2', "l", "../out"), plain(b'5', "l", ""), hostile),
        (plain(b'2', "l", "../out/secret"), plain(b'1', "h", "l"), hostile),
        (plain(b'0', "f", ""), plain(b'1', "h", "planted/secret"), hostile),
        (plain(b'0', "f", ""), plain(b'1', "h", "../out/secret"), hostile),
        (plain(b'0', "f", ""), plain(b'3', "device", ""), hostile),
        (plain(b'0', "f", ""), plain(b'S', "sparse", ""), failed(FileFailure::BadArchive)),
    ] {
        let bytes = written(&[first.clone(), second.clone()]);
        let outcome = Field::new().unpack(|target| unpack(&mut Bytes(&bytes), target));
        assert_eq!(outcome, expected, "{first:?} {second:?}");
    }
}

#[test]
fn content_ends_at_its_bound() {
    let mut large = plain(b'0', "f", "");
    large.content = usize::try_from(MOST).unwrap() + 1;
    let bytes = written(&[large]);
    let outcome = Field::new().unpack(|target| unpack(&mut Bytes(&bytes), target));
    assert_eq!(outcome, failed(FileFailure::Bounds));
}
