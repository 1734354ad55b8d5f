//! What many sandboxes of one image have together: its files are on the disk once, and in the page cache once.

use crate::cost::of_mebibytes;
use crate::create;
use bulkhead_tests::host::{cached_bytes, forget_cached, used_bytes};
use bulkhead_tests::{Sandbox, Server, groups};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How many there are, and of how much.
struct Size {
    sandboxes: usize,
    mebibytes: u64,
}

const USUAL: Size = Size { sandboxes: 20, mebibytes: 100 };
const LONG: Size = Size { sandboxes: 200, mebibytes: 500 };
/// What the disk of a sandbox takes that writes nothing, in bytes.
const EMPTY_DISK: u64 = 1 << 20;

/// Reads every large file.
const READ_ALL: &str = "for file in /file-*; do dd if=$file of=/dev/null bs=1M || exit; done";

/// The large files of the only image.
fn files_of_the_image(server: &Server) -> Vec<PathBuf> {
    let trees = server.instance().state.join("images/trees");
    let list = |path: &Path| {
        let entries = fs::read_dir(path).expect("a directory");
        entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    let [tree] = list(&trees).try_into().expect("one tree");
    let is_large = |path: &PathBuf| path.to_string_lossy().contains("/file-");
    list(&tree).into_iter().filter(is_large).collect()
}

/// The bytes that this command brings into the page cache on account of the sandbox.
fn charged(sandbox: &Sandbox<'_>, command: &str) -> u64 {
    let before = groups::page_cache(sandbox);
    let _done = sandbox.exec(command).ok();
    groups::page_cache(sandbox).saturating_sub(before)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The kernel charges a page to who brings it in: the first who reads has all of them, and whoever comes later none. One
/// that makes a copy is charged as much: it is seen when there is another page.
#[test]
fn many_of_one_image_have_its_disk_and_page_cache_once() {
    let long = std::env::var_os("BULKHEAD_TEST_LONG").is_some();
    let Size { sandboxes: count, mebibytes: size } = if long { LONG } else { USUAL };
    let server = Server::start();
    let layout = of_mebibytes(size);
    let path = layout.path().to_str().expect("a path");
    let output = server.command(&["image", "import", path, "--name", "large"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = files_of_the_image(&server);
    let bytes: u64 = files.iter().map(|file| fs::metadata(file).expect("a file").len()).sum();
    assert_eq!(bytes, size << 20);
    files.iter().for_each(|file| forget_cached(file));
    let (volume, images) = (server.instance().run.join("store"), server.instance().state.join("images"));
    let (disks_before, images_before) = (written(&volume), on_disk(&images));
    let sandboxes: Vec<_> = (0..count).map(|_| create(&server, "large")).collect();
    let begun = Instant::now();
    let charges: Vec<_> = sandboxes.iter().map(|sandbox| charged(sandbox, READ_ALL)).collect();
    let took = begun.elapsed();
    let cached: u64 = files.iter().map(|file| cached_bytes(file)).sum();
    let disks = written(&volume).saturating_sub(disks_before);
    let (first, others) = charges.split_first().expect("some sandboxes");
    let (all, most) = (others.iter().sum::<u64>(), others.iter().max().copied().unwrap_or_default());
    println!(
        "{count} sandboxes of {size} MiB, all of it read by each ({:.1} s): disk {:.1} MiB of images, {:.1} MiB of disks; \
         in the page cache {:.1} MiB, charged to the first reader {:.1} MiB, to the others together {:.2} MiB",
        took.as_secs_f64(),
        mebibytes(on_disk(&images)),
        mebibytes(disks),
        mebibytes(cached),
        mebibytes(*first),
        mebibytes(all),
    );
    assert_eq!(on_disk(&images), images_before);
    assert!(images_before < bytes + bytes / 10, "{images_before} bytes of images");
    assert!(disks < count as u64 * EMPTY_DISK, "{disks} bytes of disks");
    assert_eq!(cached, bytes, "all of it is in the page cache");
    // The kernel counts in batches, and a command brings in other pages too, a few MiB at the most.
    assert!(first.abs_diff(bytes) < bytes / 10, "{first} bytes are charged to the first");
    assert!(most < bytes / 10 && all < bytes / 2, "{most} and {all} bytes are charged to the others");
    let last = sandboxes.last().expect("some sandboxes");
    let copy = charged(last, "cat /file-0 > /copy");
    let size = fs::metadata(&files[0]).expect("a file").len();
    assert!(copy > size - size / 10, "{copy} bytes are charged for a copy of {size}");
}

/// Bytes that all disks take, when everything is written that waits for it.
fn written(volume: &Path) -> u64 {
    nix::unistd::syncfs(fs::File::open(volume).expect("the volume")).expect("a file system");
    used_bytes(volume)
}

/// Bytes that a directory takes, a file of many names once.
fn on_disk(path: &Path) -> u64 {
    let output = std::process::Command::new("du").args(["-s", "-B1"]).arg(path).output().expect("du");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number of bytes")
}
