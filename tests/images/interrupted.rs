//! Imports that do not come to their end, and such that go on at once (catalogue X14): no half of a layer is ever
//! used, and nothing is left of it.

use crate::make::{Image, Layer, busybox};
use crate::{create, import, imported, order, try_import};
use bulkhead_protocol::runtime::{Call, RefusalKind, Reply};
use bulkhead_tests::host::{self, Process};
use bulkhead_tests::{RuntimeLink, Server, eventually, within};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Moments at which an importer is killed, spread over its life.
const POINTS: u32 = 20;
/// Files of an image that is imported at each of them.
const FILES: u32 = 600;
/// How long the deletion of all of them may take: it is a process of its own, and in no hurry.
const DELETION: Duration = Duration::from_secs(60);

/// An image whose import takes a while.
fn large(seed: u8) -> Image {
    image(seed, 2000)
}

/// An image of so many files, of which no importer has the layers yet.
fn image(seed: u8, files: u32) -> Image {
    let mut layer = busybox().directory("many");
    for number in 0..files {
        layer = layer.file(&format!("many/{number}"), &[seed; 3000]);
    }
    Image::of([layer, Layer::new().file("last", &[seed])])
}

fn importers(server: &Server) -> Vec<Process> {
    let runtime = server.half("runtime").pid;
    let mut found = host::family(runtime);
    found.retain(|process| process.is_half("importer"));
    found
}

fn assert_clean(server: &Server) {
    let images = server.instance().state.join("images");
    within(DELETION, "nothing is left of an import", || {
        let left: Vec<_> = ["staging", "trash"]
            .iter()
            .flat_map(|name| fs::read_dir(images.join(name)).expect("a directory").flatten())
            .map(|entry| entry.path())
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn x14_an_importer_that_is_killed_leaves_nothing_to_use() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    image(0, FILES).write_layout(directory.path(), |_| {});
    let begun = Instant::now();
    imported(try_import(&server, "measured", directory.path()));
    // The end of it is a flush of the disk, at whose length everybody else on the machine has a say.
    let step = begun.elapsed() / (2 * POINTS);
    let mut killed = 0;
    for point in 0..POINTS {
        let image = image(u8::try_from(point).unwrap() + 1, FILES);
        let directory = tempfile::tempdir().unwrap();
        image.write_layout(directory.path(), |_| {});
        let mut link = RuntimeLink::to(&server);
        order(&mut link, "victim", directory.path());
        sleep(step * point);
        // A stage at some points, the one that waits for it at others.
        let running = importers(&server);
        let victim = if point % 2 == 0 { running.first() } else { running.last() };
        if let Some(victim) = victim {
            host::kill9(victim.pid);
        }
        match link.answer().expect("an answer") {
            Reply::Refused { kind: RefusalKind::Failed, .. } => killed += 1,
            Reply::Imported(_) => {}
            other => panic!("{other:?}"),
        }
        assert!(importers(&server).is_empty());
        imported(try_import(&server, "victim", directory.path()));
        let sandbox = create(&server, "victim");
        let run = sandbox.exec("ls /many | wc -l; cat /many/* /last | wc -c").ok();
        assert_eq!(run.stdout, format!("{FILES}\n{}\n", 3000 * FILES + 1), "point {point}");
        sandbox.delete();
    }
    assert!(killed > POINTS / 4, "{killed} of {POINTS} were killed on their way");
    assert_clean(&server);
    let Reply::Collected(collected) = RuntimeLink::to(&server).call(Call::CollectImages) else { panic!() };
    assert_eq!(u32::try_from(collected.images).unwrap(), POINTS - 1);
    assert_clean(&server);
}

#[test]
fn x14_a_runtime_that_is_killed_takes_its_importers_along() {
    let server = Server::start();
    for point in 1..=5 {
        let directory = tempfile::tempdir().unwrap();
        large(point).write_layout(directory.path(), |_| {});
        let mut link = RuntimeLink::to(&server);
        order(&mut link, "victim", directory.path());
        sleep(Duration::from_millis(60) * u32::from(point));
        server.kill_half("runtime");
        eventually("no importer is left", || match importers(&server).as_slice() {
            [] => Ok(()),
            left => Err(format!("{left:?}")),
        });
        assert_clean(&server);
        imported(try_import(&server, "victim", directory.path()));
        assert_eq!(create(&server, "victim").exec("cat /many/* | wc -c").ok().line(), "6000000");
    }
}

#[test]
fn x14_two_imports_of_one_image_and_a_third() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    large(1).write_layout(directory.path(), |_| {});
    let mut links: Vec<_> = (0..3).map(|_| RuntimeLink::to(&server)).collect();
    for (link, name) in links.iter_mut().zip(["one", "two", "three"]) {
        order(link, name, directory.path());
    }
    // Two at once, and the third when one of them is done.
    let rows: Vec<_> = links.iter_mut().map(|link| imported(link.answer().expect("an answer"))).collect();
    assert!(rows.iter().all(|row| row.id == rows[0].id), "{rows:?}");
    for row in &rows {
        assert_eq!(create(&server, row.name.as_str()).exec("cat /many/* | wc -c").ok().line(), "6000000");
    }
    assert_clean(&server);
}

#[test]
fn whoever_asked_may_go_and_descriptors_belong_to_imports() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    large(9).write_layout(directory.path(), |_| {});
    let mut link = RuntimeLink::to(&server);
    order(&mut link, "orphan", directory.path());
    drop(link);
    eventually("the import goes on", || {
        let found = server.client().post("/sandboxes", &serde_json::json!({"name": "o", "image": "orphan"}));
        if found.status == 201 { Ok(()) } else { Err(found.text()) }
    });
    let mut link = RuntimeLink::to(&server);
    let file = tempfile::tempfile().unwrap();
    use std::os::fd::AsFd;
    link.send_with(Call::Leaks, &[file.as_fd()]);
    let Some(Reply::Refused { kind: RefusalKind::Invalid, .. }) = link.answer() else { panic!() };
    let name = bulkhead_protocol::image::ImageName::parse("x").unwrap();
    let import = bulkhead_protocol::image::ImportImage {
        org: None,
        name,
        created_by: None,
        ceilings: Default::default(),
    };
    let socket = std::os::unix::net::UnixStream::pair().unwrap().0;
    for rights in [vec![], vec![file.as_fd()], vec![file.as_fd(); 3], vec![file.as_fd(), socket.as_fd()]] {
        link.send_with(Call::ImportImage(import.clone()), &rights);
        let Some(Reply::Refused { kind: RefusalKind::Invalid, .. }) = link.answer() else {
            panic!("{}", rights.len())
        };
    }
    let row = import_small(&server);
    assert_eq!(row, "small:latest");
}

fn import_small(server: &Server) -> String {
    import(server, "small", &Image::of([busybox()])).name.to_string()
}
