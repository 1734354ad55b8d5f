//! What one owner and one import may take: bytes, names, places, time that nothing needs it, and room on the disk.

use crate::make::{Image, Layer, busybox};
use crate::{create, import, imported, order_for, try_import};
use bulkhead_protocol::image::{ImageCeilings, ImageExcess, ImageName};
use bulkhead_protocol::runtime::{Call, RefusalKind, Reply, Scarce};
use bulkhead_tests::eventually::{eventually, within};
use bulkhead_tests::{Options, RuntimeLink, Server, host};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the store holds of images, by the names of its directories.
fn stored(server: &Server, directories: &[&str]) -> Vec<PathBuf> {
    let images = server.instance().state.join("images");
    let entries = directories.iter().flat_map(|name| fs::read_dir(images.join(name)).expect("a directory"));
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn assert_nothing_half(server: &Server) {
    within(Duration::from_secs(30), "nothing is left of an import", || {
        match stored(server, &["staging", "trash"]).as_slice() {
            [] => Ok(()),
            left => Err(format!("{left:?}")),
        }
    });
}

fn layout(image: &Image) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    image.write_layout(directory.path(), |_| {});
    directory
}

fn of_bytes(seed: u8, bytes: usize) -> Image {
    Image::of([busybox(), Layer::new().file("large", &vec![seed; bytes])])
}

#[test]
fn an_owner_has_so_many_bytes_and_names() {
    const MIB: usize = 1 << 20;
    let server = Server::start();
    let mut link = RuntimeLink::to(&server);
    let (small, large) = (layout(&of_bytes(1, MIB)), layout(&of_bytes(2, 8 * MIB)));
    let mut order = |name, ceilings, source: &Path| {
        order_for(&mut link, Some("acme"), ceilings, name, source);
        link.answer().expect("an answer")
    };
    let over = |reply, excess| match reply {
        Reply::Refused { kind: RefusalKind::OverQuota(which), .. } => assert_eq!(which, excess),
        other => panic!("{other:?}"),
    };
    let bytes = |mib: usize| ImageCeilings { bytes: Some((mib * MIB) as u64), names: None };
    over(order("a", bytes(4), large.path()), ImageExcess::Bytes);
    assert_nothing_half(&server);
    assert_eq!(stored(&server, &["layers", "trees", "records"]), Vec::<PathBuf>::new());
    let row = imported(order("a", bytes(4), small.path()));
    assert!(row.bytes > MIB as u64, "{row:?}");
    over(order("b", ImageCeilings { bytes: Some(row.bytes), names: None }, small.path()), ImageExcess::Bytes);
    over(order("b", bytes(8), large.path()), ImageExcess::Bytes);
    over(order("b", ImageCeilings { bytes: None, names: Some(1) }, small.path()), ImageExcess::Names);
    // What is replaced does not count, and neither does what others have.
    imported(order("a", bytes(11), large.path()));
    imported(order("a", ImageCeilings { names: Some(1), ..bytes(4) }, small.path()));
    order_for(&mut link, Some("other"), bytes(11), "b", large.path());
    imported(link.answer().expect("an answer"));
}

#[test]
fn an_organisation_has_one_place_and_one_that_waits() {
    let server = Server::start();
    let mut files = busybox();
    for number in 0..300 {
        files = files.file(&format!("f{number}"), &[7; 2000]);
    }
    let large = layout(&Image::of([files]));
    let mut links: Vec<_> = (0..4).map(|_| RuntimeLink::to(&server)).collect();
    // The runtime stands still while they are sent: no import ends before the last of them has come.
    let runtime = server.half("runtime").pid;
    host::signal(runtime, Signal::SIGSTOP);
    let orders = [("acme", "one"), ("acme", "two"), ("acme", "three"), ("other", "four")];
    for (link, (org, name)) in links.iter_mut().zip(orders) {
        order_for(link, Some(org), ImageCeilings::default(), name, large.path());
    }
    host::signal(runtime, Signal::SIGCONT);
    // In whichever order it reads them: of one organisation one goes on, one waits and one is too many.
    let replies: Vec<_> = links.iter_mut().map(|link| link.answer().expect("an answer")).collect();
    let is_refused = |reply: &&Reply| matches!(reply, Reply::Refused { kind: RefusalKind::Busy, .. });
    assert_eq!(replies[..3].iter().filter(is_refused).count(), 1, "{replies:?}");
    let made: Vec<_> = replies.into_iter().filter(|reply| !is_refused(&reply)).map(imported).collect();
    assert_eq!(made.len(), 3, "{made:?}");
}

#[test]
fn what_nothing_needs_goes_by_itself() {
    let arguments = ["--image-sweep", "1"].map(str::to_owned).to_vec();
    let server = Server::start_with(&Options { args: arguments, ..Options::default() });
    let used = import(&server, "used", &Image::of([busybox(), Layer::new().file("version", b"1")]));
    import(&server, "kept", &Image::of([busybox()]));
    import(&server, "unneeded", &Image::of([Layer::new().file("alone", b"x"), busybox()]));
    let sandbox = create(&server, "used");
    let mut link = RuntimeLink::to(&server);
    for name in ["used", "unneeded"] {
        let image = ImageName::parse(name).expect("a name");
        assert_eq!(link.call(Call::RemoveImage { org: None, image }), Reply::ImageRemoved);
    }
    let digits = used.id.as_str().trim_start_matches("sha256:").to_owned();
    let trees = |wanted: usize| {
        eventually("what nothing needs is gone", || match stored(&server, &["trees"]) {
            trees if trees.len() == wanted => Ok(trees),
            trees => Err(format!("{trees:?}")),
        })
    };
    assert!(trees(2).iter().any(|tree| tree.ends_with(&digits)), "a sandbox keeps its image");
    assert_eq!(stored(&server, &["layers"]).len(), 2, "busybox, and what only the sandbox has");
    assert_eq!(sandbox.exec("cat /version").ok().stdout, "1");
    sandbox.delete();
    assert!(!trees(1)[0].ends_with(&digits));
    assert_nothing_half(&server);
}

/// A file system of its own, unmounted and removed at the end.
struct Small(tempfile::TempDir);

impl Small {
    fn new(options: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        mount(Some("small"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some(options))
            .expect("root may mount");
        Self(directory)
    }

    fn server(&self) -> Server {
        Server::start_with(&Options { below: Some(self.0.path().to_owned()), ..Options::default() })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = umount(self.0.path()) {
            eprintln!("umount: {error}");
        }
    }
}

fn no_room(reply: Reply) {
    match reply {
        Reply::Refused { kind: RefusalKind::NoRoom(Scarce::Disk), .. } => {}
        other => panic!("{other:?}"),
    }
}

/// Three quarters of what is free go to the volume of disks, half a GiB is left in any case: some 40 MiB are images' here.
#[test]
fn an_import_leaves_what_disks_were_promised() {
    let small = Small::new("size=2208m");
    let server = small.server();
    let state = server.instance().state.clone();
    import(&server, "fits", &of_bytes(1, 5 << 20));
    let large = layout(&of_bytes(2, 80 << 20));
    no_room(try_import(&server, "large", large.path()));
    assert_nothing_half(&server);
    let volume = fs::metadata(state.join("store.btrfs")).expect("the volume");
    let promised = volume.len() - volume.blocks() * 512;
    let room = statvfs(&state).expect("the file system");
    let free = room.blocks_available() * room.fragment_size();
    assert!(free > promised + (512 << 20), "{free} are free, {promised} are promised");
    // Neither is an archive of a tenant taken that does not fit.
    let refused = server.client().upload("/images?name=a", &vec![0; 80 << 20]).error(503);
    assert_eq!(refused.trim_end(), "there is no room for another image");
    assert_eq!(create(&server, "fits").exec("cat /large | wc -c").ok().line(), (5 << 20).to_string());
}

/// Without inodes the disk is full in the middle of a layer.
#[test]
fn x14_a_disk_that_is_full_gets_no_half_of_a_layer() {
    let small = Small::new("size=4g,nr_inodes=3000");
    let server = small.server();
    let many = |files: u32| {
        let layers = (0..2).map(|layer| {
            let one = |all: Layer, number| all.file(&format!("f{layer}-{number}"), b"x");
            (0..files).fold(busybox(), one)
        });
        layout(&Image::of(layers))
    };
    let (large, fits) = (many(3000), many(300));
    no_room(try_import(&server, "large", large.path()));
    assert_nothing_half(&server);
    assert_eq!(stored(&server, &["layers", "trees", "records"]), Vec::<PathBuf>::new());
    imported(try_import(&server, "fits", fits.path()));
    let sandbox = create(&server, "fits");
    assert_eq!(sandbox.exec("ls / | grep -c ^f").ok().line(), "600");
}
