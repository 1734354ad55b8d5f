//! The volume of disks on a real loop device: needs root, as every suite does.

use bulkhead_protocol::image::ImageId;
use bulkhead_rootfs::disk::{self, Disks};
use bulkhead_rootfs::volume::{self, Growth};
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const MIB: u64 = 1 << 20;

/// A volume that is unmounted at the end, whatever happened.
struct Volume {
    home: tempfile::TempDir,
    at: PathBuf,
}

impl Volume {
    fn open() -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let at = volume::open(home.path(), home.path()).expect("a volume (as root, with btrfs-progs)");
        Self { home, at }
    }

    fn disks(&self) -> Disks {
        Disks::open(&self.at, 0).expect("a mounted volume")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        volume::close(self.home.path()).expect("nobody uses it");
    }
}

/// Writes until it is refused; how many bytes that took, and the refusal.
fn fill(file: &Path) -> (u64, std::io::Error) {
    let mut made = fs::File::create(file).expect("a new file");
    let block = vec![7u8; 1 << 20];
    loop {
        if let Err(error) = made.write_all(&block) {
            return (made.metadata().map_or(0, |meta| meta.len()), error);
        }
    }
}

#[test]
fn a_disk_ends_where_its_limit_is_and_its_neighbour_does_not_notice() {
    let volume = Volume::open();
    let disks = volume.disks();
    for (id, bytes) in [("small", 32 * MIB), ("large", 64 * MIB)] {
        disks.create(id, bytes, &ImageId::host()).unwrap();
        assert_eq!(disks.limit(id).unwrap(), Some(bytes), "as the file system has it written down");
    }
    let (written, error) = fill(&volume.at.join("small/upper/f"));
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert!((24 * MIB..=32 * MIB).contains(&written), "{written}");
    assert!(disks.limit("nobody").is_err());
    // What is full can be emptied.
    fs::remove_file(volume.at.join("small/upper/f")).unwrap();
    let (written, _) = fill(&volume.at.join("large/upper/f"));
    assert!((48 * MIB..=64 * MIB).contains(&written), "{written}");
}

#[test]
fn files_without_a_byte_count_too() {
    let volume = Volume::open();
    volume.disks().create("many", 8 * MIB, &ImageId::host()).unwrap();
    let upper = volume.at.join("many/upper");
    let made = (0..200_000).take_while(|n| fs::write(upper.join(format!("{n:0>200}")), "").is_ok()).count();
    assert!((1000..50_000).contains(&made), "{made} empty files in 8 MiB");
}

#[test]
fn a_disk_is_never_made_twice_and_the_trash_is_emptied_with_what_is_in_it() {
    let volume = Volume::open();
    let disks = volume.disks();
    disks.create("b", 32 * MIB, &ImageId::host()).unwrap();
    assert!(disks.create("b", 32 * MIB, &ImageId::host()).is_err());
    let mut deep = volume.at.join("b/upper");
    for _ in 0..200 {
        deep = deep.join("deeper");
        fs::create_dir(&deep).unwrap();
    }
    assert_eq!(disks.list().unwrap(), ["b"]);
    disks.discard("b").unwrap();
    disks.discard("b").unwrap();
    assert!(disks.list().unwrap().is_empty() && !disks.is_empty().unwrap());
    disk::empty_trash(&volume.at).unwrap();
    assert!(disks.is_empty().unwrap());
}

#[test]
fn a_volume_that_stands_is_used_again_and_never_attached_twice() {
    let volume = Volume::open();
    volume.disks().create("kept", 32 * MIB, &ImageId::host()).unwrap();
    let again = volume::open(volume.home.path(), volume.home.path()).unwrap();
    assert_eq!(Disks::open(&again, 0).unwrap().list().unwrap(), ["kept"]);
    let file = volume.home.path().join(volume::FILE);
    let behind = |device: &fs::DirEntry| {
        let backing = fs::read_to_string(device.path().join("loop/backing_file"));
        backing.is_ok_and(|path| Path::new(path.trim_end()) == file)
    };
    let attached = || fs::read_dir("/sys/block").unwrap().flatten().filter(behind).count();
    assert_eq!(attached(), 1);
    // After a reboot, so to say.
    volume::close(volume.home.path()).unwrap();
    assert_eq!(attached(), 0);
    let again = volume::open(volume.home.path(), volume.home.path()).unwrap();
    assert_eq!(Disks::open(&again, 0).unwrap().list().unwrap(), ["kept"]);
}

#[test]
fn a_volume_has_what_it_shows_and_takes_more_before_it_is_full() {
    const PIECE: usize = 64 << 20;
    let volume = Volume::open();
    let file = volume.home.path().join(volume::FILE);
    let sizes = || {
        let meta = fs::metadata(&file).unwrap();
        let inside = nix::sys::statvfs::statvfs(&volume.at).unwrap();
        (meta.len(), meta.blocks() * 512, inside.blocks() * inside.fragment_size())
    };
    let (length, taken, inside) = sizes();
    assert!(taken >= length && inside <= length, "{taken} of {length} are taken, {inside} are shown");
    let room = volume::Room::of(volume.home.path(), &volume.at).unwrap();
    assert_eq!(room.grow().unwrap(), Growth::Enough);
    // Not written back yet, which counts all the same.
    let mut large = fs::File::create(volume.at.join("large")).unwrap();
    // In pieces, as programs write: a whole of gibibytes may find no place for all that is booked for it at once.
    let fill = |from: u64, to: u64| {
        for at in (from..to).step_by(PIECE) {
            let [at, piece] = [at, u64::try_from(PIECE).unwrap()].map(|n| i64::try_from(n).unwrap());
            fallocate(&large, FallocateFlags::empty(), at, piece).unwrap();
        }
    };
    fill(0, length * 5 / 8);
    assert_eq!(room.grow().unwrap(), Growth::Grown(length * 2), "a step, on a disk with room for some");
    let (now, taken, shown) = sizes();
    assert!(now == length * 2 && taken >= now && shown > inside, "{now}, {taken}, {shown}");
    // A step that was cut in half: the file was made longer and nobody was told.
    let longer = fs::OpenOptions::new().write(true).open(&file).unwrap();
    let [at, more] = [length * 2, length].map(|n| i64::try_from(n).unwrap());
    fallocate(&longer, FallocateFlags::empty(), at, more).unwrap();
    fill(length * 5 / 8, length * 3 / 2);
    assert_eq!(room.grow().unwrap(), Growth::Grown(length * 3));
    assert!(sizes().2 > shown);
    large.write_all(b"and so on").unwrap();
    assert_eq!(room.grow().unwrap(), Growth::Enough);
}
