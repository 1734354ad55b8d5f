//! What the host must have for roots and disks, and which way round something missing is taken.

use crate::import::ROOM_KEPT;
use crate::volume;
use bulkhead_sys::host::{Facts, Finding, has_module, kernel};
use nix::sys::statvfs::statvfs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of a block in `st_blocks`.
const BLOCK: u64 = 512;

/// The room for disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes free where the state directory is or will be.
    pub free: Option<u64>,
    /// The volume, where it exists.
    pub volume: Option<Volume>,
}

/// The file that all disks lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// Bytes that it may hold.
    pub length: u64,
    /// Bytes that it takes already.
    pub allocated: u64,
}

impl Volume {
    /// Bytes that it may still take from the disk that it lies on.
    #[must_use]
    pub fn promised(self) -> u64 {
        self.length.saturating_sub(self.allocated)
    }
}

impl Room {
    /// Bytes that belong to the volume though it does not have them: what it promises, and what it takes next as it fills.
    #[must_use]
    pub fn for_disks(self) -> u64 {
        let Self { free: Some(free), volume: Some(volume) } = self else { return 0 };
        volume.promised() + volume::next_step(volume.length, free)
    }

    /// Bytes that may be put beside the images: what is left neither belongs to the volume nor is the host's last.
    #[must_use]
    pub(crate) fn for_images(self) -> u64 {
        self.free.unwrap_or(0).saturating_sub(self.for_disks()).saturating_sub(ROOM_KEPT)
    }

    /// Looks at a state directory, which need not exist.
    #[must_use]
    pub fn of(state_dir: &Path) -> Self {
        let nearest = state_dir.ancestors().find(|path| path.exists());
        let free = nearest.and_then(|path| statvfs(path).ok());
        let file = state_dir.join(volume::FILE).symlink_metadata().ok();
        Self {
            free: free.map(|room| room.blocks_available() * room.fragment_size()),
            volume: file.map(|meta| Volume { length: meta.len(), allocated: meta.blocks() * BLOCK }),
        }
    }
}

/// Everything without which no sandbox has a root or a disk with a limit. `path` holds the directories of programs.
#[must_use]
pub fn walls(facts: &dyn Facts, path: &str, room: Room) -> Vec<Finding> {
    vec![
        file_system(facts, "overlay", "CONFIG_OVERLAY_FS"),
        file_system(facts, "btrfs", "CONFIG_BTRFS_FS"),
        loop_devices(facts),
        make_volume(facts, path, room),
        enough_room(room),
    ]
}

/// What is worth a word about disks and roots.
#[must_use]
pub fn advice(facts: &dyn Facts, room: Room) -> Vec<Finding> {
    let newer =
        |version, new: &'static str, old: &'static str| if kernel(facts) >= version { new } else { old };
    let quotas = newer(
        (6, 7),
        "btrfs subvolumes, simple quotas",
        "btrfs subvolumes, full quotas (simple ones, which cost less, from Linux 6.7 on)",
    );
    let layers = newer(
        (6, 13),
        "by descriptor",
        "by /proc/self/fd paths in the runtime's own mount namespace (by descriptor from Linux 6.13 on)",
    );
    vec![
        overcommitted(room),
        Finding::fine("limits of disks", quotas),
        Finding::fine("layers of overlays", layers),
    ]
}

fn file_system(facts: &dyn Facts, name: &str, option: &str) -> Finding {
    let what = format!("{name} file system");
    let known = facts.text("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) {
        return Finding::fine(&what, "yes");
    }
    if has_module(facts, name) {
        return Finding::fine(&what, "as a module");
    }
    Finding::missing(&what, "no", format!("modprobe {name}, or use a kernel with {option}"))
}

fn loop_devices(facts: &dyn Facts) -> Finding {
    if facts.exists("/dev/loop-control") {
        return Finding::fine("loop devices", "yes");
    }
    Finding::missing("loop devices", "no /dev/loop-control", "modprobe loop")
}

fn make_volume(facts: &dyn Facts, path: &str, room: Room) -> Finding {
    if room.volume.is_some() {
        return Finding::fine(volume::MKFS, "not needed: the volume of disks exists");
    }
    let place = path.split(':').filter(|directory| directory.starts_with('/')).find_map(|directory| {
        let program = format!("{directory}/{}", volume::MKFS);
        facts.exists(&program).then_some(program)
    });
    match place {
        Some(program) => Finding::fine(volume::MKFS, program),
        None => Finding::missing(volume::MKFS, "not found", "apt-get install btrfs-progs"),
    }
}

fn enough_room(room: Room) -> Finding {
    let what = "room for disks";
    let (free, needed) = match room {
        Room { volume: Some(volume), .. } => {
            return Finding::fine(what, format!("a volume of {} MiB exists", volume.length >> 20));
        }
        Room { free: None, .. } => {
            return Finding::missing(what, "not readable", "make the directory above the state directory");
        }
        Room { free: Some(free), .. } => (free, volume::least_free()),
    };
    if free < needed {
        let found = format!("{} MiB free, {} needed", free >> 20, needed.div_ceil(1 << 20));
        return Finding::missing(what, found, "free some, or choose another --state-dir");
    }
    Finding::fine(what, format!("{} MiB free", free >> 20))
}

/// A volume of an earlier version is sparse: what it promises may have gone to somebody else since it was made.
fn overcommitted(room: Room) -> Finding {
    let what = "room for what the volume promises";
    let (Some(free), Some(volume)) = (room.free, room.volume) else {
        return Finding::fine(what, "no volume yet");
    };
    let promised = volume.promised();
    let found = format!("{} MiB promised, {} MiB free", promised >> 20, free >> 20);
    if promised > free {
        let remedy = "free some: disks of sandboxes fail with I/O errors when the host's is full";
        return Finding::warning(what, found, remedy);
    }
    Finding::fine(what, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_sys::host::State;
    use std::collections::BTreeMap;

    const PATH: &str = "relative:/usr/bin:/usr/sbin";
    const PLENTY: Room = Room { free: Some(100 << 30), volume: None };

    fn good() -> BTreeMap<String, String> {
        let files = [
            ("/proc/filesystems", "nodev\toverlay\n\tbtrfs\n"),
            ("/proc/sys/kernel/osrelease", "6.18.1\n"),
            ("/dev/loop-control", ""),
            ("/usr/sbin/mkfs.btrfs", ""),
        ];
        files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()
    }

    fn missing(facts: &BTreeMap<String, String>, room: Room) -> Vec<String> {
        let findings = walls(facts, PATH, room).into_iter();
        findings.filter(|finding| finding.state == State::Missing).map(|finding| finding.what).collect()
    }

    #[test]
    fn each_thing_that_disks_need_is_named() {
        assert_eq!(missing(&good(), PLENTY), Vec::<String>::new());
        let without = |path: &str| {
            let mut facts = good();
            facts.remove(path).unwrap();
            facts
        };
        assert_eq!(missing(&without("/dev/loop-control"), PLENTY), ["loop devices"]);
        assert_eq!(missing(&without("/usr/sbin/mkfs.btrfs"), PLENTY), ["mkfs.btrfs"]);
        assert_eq!(
            missing(&without("/proc/filesystems"), PLENTY),
            ["overlay file system", "btrfs file system"]
        );
        let mut as_modules = without("/proc/filesystems");
        as_modules
            .insert("/lib/modules/6.18.1/modules.dep".into(), "k/btrfs.ko.zst:\nk/overlay.ko:\n".into());
        assert_eq!(missing(&as_modules, PLENTY), Vec::<String>::new());
    }

    #[test]
    fn room_is_needed_until_the_volume_exists() {
        let little = Room { free: Some(1 << 30), volume: None };
        assert_eq!(missing(&good(), little), ["room for disks"]);
        assert_eq!(missing(&good(), Room { free: None, volume: None }), ["room for disks"]);
        let volume = Some(Volume { length: 40 << 30, allocated: 10 << 30 });
        assert_eq!(missing(&good(), Room { volume, ..little }), Vec::<String>::new());
        let state = |free| advice(&good(), Room { free: Some(free), volume })[0].state;
        assert_eq!(state(29 << 30), State::Warning, "30 GiB are promised");
        assert_eq!(state(30 << 30), State::Fine);
    }

    #[test]
    fn an_import_leaves_what_a_volume_promises_and_takes_next() {
        let room = |length, allocated, free| {
            let volume = Some(Volume { length, allocated });
            Room { free: Some(free), volume }.for_disks()
        };
        let gib = 1 << 30;
        assert_eq!(room(40 * gib, 10 * gib, 100 * gib), 34 * gib, "30 promised, 4 to come");
        assert_eq!(room(4 * gib, 4 * gib, gib), 0, "it has its share");
        assert_eq!(PLENTY.for_disks(), 0);
        // An upload comes before an import and leaves the same, though all that the volume has is its own.
        let volume = Some(Volume { length: 40 * gib, allocated: 40 * gib });
        assert_eq!(Room { free: Some(20 * gib), volume }.for_images(), 16 * gib - ROOM_KEPT);
        assert_eq!(Room { free: Some(gib / 4), volume }.for_images(), 0);
    }

    #[test]
    fn this_machine_has_room_somewhere() {
        let room = Room::of(Path::new("/nowhere/at/all"));
        assert!(room.free.is_some() && room.volume.is_none());
    }
}
