use super::*;
use tar::Builder;

fn members(bytes: &[u8]) -> Outcome<Vec<Member>> {
    let mut all = Members::new(Plain(bytes));
    let mut out = Vec::new();
    while let Some(member) = all.next()? {
        out.push(member);
    }
    Ok(out)
}

fn file(name: &str, size: u64, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(7);
    header.set_uid(1);
    header.set_gid(2);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

#[test]
fn members_come_with_their_long_names_and_content() {
    let mut builder = Builder::new(Vec::new());
    let long = "d/".repeat(100) + "file";
    let mut header = file("x", 3, EntryType::Regular);
    builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
    builder.append(&file("after", 0, EntryType::Directory), &b""[..]).unwrap();
    let bytes = builder.into_inner().unwrap();
    let mut all = Members::new(Plain(&bytes[..]));
    let first = all.next().unwrap().unwrap();
    assert_eq!((first.name.as_slice(), first.size, first.kind), (long.as_bytes(), 3, Kind::File));
    let mut out = [0; 8];
    assert_eq!(all.content(&mut out).unwrap(), 3);
    assert_eq!(all.content(&mut out).unwrap(), 0);
    let second = all.next().unwrap().unwrap();
    assert_eq!(
        (second.name.as_slice(), second.kind, second.modified),
        (&b"after"[..], Kind::Directory, (7, 0))
    );
    assert!(all.next().unwrap().is_none());
}

#[test]
fn what_is_cut_or_ambiguous_is_refused() {
    let mut builder = Builder::new(Vec::new());
    builder.append(&file("a", 600, EntryType::Regular), &[1; 600][..]).unwrap();
    let whole = builder.into_inner().unwrap();
    for length in [1, 511, 513, 1024, 1111] {
        assert!(members(&whole[..length]).is_err(), "{length}");
    }
    // Without the record of zeros at its end, and the padding before it, an archive is whole.
    for length in [1112, 1535, 1536, 2047] {
        assert_eq!(
            members(&whole[..length]).map(|all| all.len()).ok(),
            (length < 1537).then_some(1),
            "{length}"
        );
    }
    let mut wrong = whole.clone();
    wrong[0] ^= 1;
    assert!(members(&wrong).is_err());
    let mut builder = Builder::new(Vec::new());
    builder.append(&file("a", 512, EntryType::Directory), &[0; 512][..]).unwrap();
    assert!(members(&builder.into_inner().unwrap()).is_err());
}
