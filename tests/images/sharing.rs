//! Who has the files of an image that two organisations import: the setting `layers`, in both of its values, and when it is
//! changed. `shared` is the control of everything that `per-tenant` keeps apart.

use crate::make::{Image, Layer, busybox};
use crate::{import, order_for, order_with_progress};
use bulkhead_protocol::image::{ImageName, ImportProgress};
use bulkhead_protocol::runtime::{Call, Reply};
use bulkhead_tests::sandbox::Run;
use bulkhead_tests::{Client, Options, RuntimeLink, Sandbox, Server, groups, host};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const MODES: [&str; 2] = ["shared", "per-tenant"];
/// Bytes of the file that is looked for on the disk and in the page cache.
const LARGE: u64 = 16 << 20;
/// A command that reads it brings in other pages too, a few MiB at the most, and the kernel counts in batches.
const MOST_OF_IT: u64 = LARGE / 2;

fn server(layers: &str) -> Server {
    let args = ["--layers", layers].map(str::to_owned).to_vec();
    Server::start_with(&Options { args, ..Options::default() })
}

fn image() -> Image {
    Image::of([busybox(), Layer::new().file("large", &vec![7; usize::try_from(LARGE).expect("it fits")])])
}

/// Another one with the same layers, and one that tells which it is.
fn image_like(seed: u8) -> Image {
    let mut image = image();
    image.layers.push((Layer::new().file("seed", &[seed]).tar(), crate::make::Packed::Gzip));
    image
}

/// An organisation with a key.
struct Tenant<'a> {
    server: &'a Server,
    client: Client,
    org: String,
}

impl<'a> Tenant<'a> {
    fn new(server: &'a Server, name: &str) -> Self {
        let said = |args: &[&str]| {
            let output = server.command(args);
            assert!(output.status.success(), "{args:?}: {output:?}");
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        };
        let org = said(&["org", "create", name]);
        let key = said(&["key", "create", "--org", name]);
        Self { server, client: server.client().with_key(&key), org }
    }

    fn upload(&self, name: &str, image: &Image) -> Value {
        let archive = image.docker_archive();
        self.client.upload(&format!("/images?name={name}"), &archive).expect(201).json()
    }

    fn create(&self, image: &str) -> Sandbox<'a> {
        let body = json!({"name": "test", "image": image, "cpu": 1, "mem": 1024});
        let data = self.client.post("/sandboxes", &body).expect(201).data();
        Sandbox::of(self.server, data["id"].as_str().expect("an id"))
    }

    fn run(&self, sandbox: &Sandbox<'_>, command: &str) -> Run {
        let answer = self.client.post(&sandbox.path("/exec"), &json!({"command": command}));
        Run::from_data(answer.expect(200).data()).ok()
    }

    /// What a file says of itself to whoever may look at it: how many names it has, and when that changed.
    fn look(&self, sandbox: &Sandbox<'_>) -> String {
        self.run(sandbox, "stat -c '%h %Z' /large").line().to_owned()
    }

    /// Bytes that reading the large file brought into the page cache, on account of this sandbox.
    fn charge_of_reading(&self, sandbox: &Sandbox<'_>) -> u64 {
        let before = groups::page_cache(sandbox);
        assert_eq!(self.run(sandbox, "cat /large | wc -c").line(), LARGE.to_string());
        groups::page_cache(sandbox).saturating_sub(before)
    }

    fn delete(&self, sandbox: &Sandbox<'_>) {
        let _gone = self.client.delete(&sandbox.path("")).expect(200);
    }

    /// Every sandbox and image of it.
    fn delete_all(&self) {
        let rows = |path: &str| self.client.get(path).expect(200);
        for sandbox in rows("/sandboxes?limit=100").data().as_array().expect("rows") {
            let id = sandbox["id"].as_str().expect("an id");
            let _gone = self.client.delete(&format!("/sandboxes/{id}")).expect(200);
        }
        for image in rows("/images").json().as_array().expect("rows") {
            if image["system"] == false {
                let id = image["id"].as_str().expect("an id");
                let _gone = self.client.delete(&format!("/images/{id}"));
            }
        }
    }
}

fn names(server: &Server, directory: &str) -> BTreeSet<String> {
    let path = server.instance().state.join("images").join(directory);
    let entries = fs::read_dir(path).expect("a directory of the store");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("plain")).collect()
}

/// Every name of the large file in the store; what is in its trash is about to go.
fn large_files(server: &Server) -> Vec<PathBuf> {
    let places = ["layers", "trees"].map(|name| server.instance().state.join("images").join(name));
    let output = Command::new("find").args(places).args(["-name", "large"]).output().expect("find");
    let text = String::from_utf8(output.stdout).expect("plain paths");
    text.lines().map(PathBuf::from).collect()
}

fn inodes(server: &Server) -> BTreeSet<u64> {
    large_files(server).iter().map(|path| fs::metadata(path).expect("a file").ino()).collect()
}

fn collect(server: &Server) {
    let output = server.command(&["image", "gc"]);
    assert!(output.status.success(), "{output:?}");
}

fn assert_nothing_stored(server: &Server) {
    collect(server);
    for directory in ["layers", "trees", "records", "staging"] {
        assert_eq!(names(server, directory), BTreeSet::new(), "{directory}");
    }
}

#[test]
fn the_same_image_of_two_is_stored_once_or_once_for_each() {
    for (mode, copies) in MODES.into_iter().zip([1, 2]) {
        let server = server(mode);
        let (one, two) = (Tenant::new(&server, "one"), Tenant::new(&server, "two"));
        let first = one.upload("own", &image());
        let after_one = names(&server, "layers");
        assert_eq!((after_one.len(), inodes(&server).len()), (2, 1), "{mode}");
        let second = two.upload("own", &image());
        // Unpacked once more, or not at all.
        assert_eq!(names(&server, "layers").len(), 2 * copies, "{mode}");
        assert_eq!(inodes(&server).len(), copies, "{mode}");
        // An owner who imports it again adds nothing in either mode.
        assert_eq!(one.upload("again", &image())["sizeGB"], first["sizeGB"]);
        assert_eq!((names(&server, "layers").len(), inodes(&server).len()), (2 * copies, copies), "{mode}");
        assert_eq!(first["sizeGB"], second["sizeGB"]);
        for path in large_files(&server) {
            host::forget_cached(&path);
        }
        let (of_one, of_two) = (one.create("own"), two.create("own"));
        let charged = one.charge_of_reading(&of_one);
        assert!(charged > MOST_OF_IT, "{mode}: who reads first is charged, {charged}");
        let charged = two.charge_of_reading(&of_two);
        match copies {
            1 => assert!(charged < MOST_OF_IT, "{mode}: the other finds it in the page cache, {charged}"),
            _ => assert!(charged > MOST_OF_IT, "{mode}: the other has files of its own, {charged}"),
        }
        one.delete_all();
        two.delete_all();
        assert_nothing_stored(&server);
    }
}

/// Neither by what is said on the way nor in the answer, in either mode: an organisation hears the same whoever has been
/// there before. What files say of themselves is kept apart by `per-tenant` alone.
#[test]
fn an_import_tells_nothing_of_what_others_have() {
    for mode in MODES {
        let server = server(mode);
        let (one, two) = (Tenant::new(&server, "one"), Tenant::new(&server, "two"));
        let directory = tempfile::tempdir().expect("a directory");
        image().write_layout(directory.path(), |_| {});
        let told = [&one, &two].map(|tenant| {
            let mut link = RuntimeLink::to(&server);
            let mut progress = order_with_progress(
                &mut link,
                Some(&tenant.org),
                Default::default(),
                "own",
                directory.path(),
            );
            let Some(Reply::Imported(row)) = link.answer() else { panic!("{mode}: no image") };
            let mut lines = String::new();
            progress.rewind().expect("a file");
            progress.read_to_string(&mut lines).expect("text");
            (row.id, row.bytes, row.layers, row.name, steps(&lines))
        });
        assert_eq!(told[0], told[1], "{mode}");
        assert_eq!(
            told[0].4.len(),
            2 * 2 + 1,
            "{mode}: each layer begins and ends, and one step is the tree"
        );
        let sandbox = one.create("own");
        let before = one.look(&sandbox);
        two.upload("other", &image_like(1));
        let same = one.look(&sandbox) == before;
        assert_eq!(same, mode == "per-tenant", "{mode}: {before}, then {}", one.look(&sandbox));
        one.delete(&sandbox);
    }
}

/// Begin and end of each layer, and the other steps: lines between come with time.
fn steps(lines: &str) -> Vec<ImportProgress> {
    let all = lines.lines().map(|line| serde_json::from_str(line).expect("a step"));
    let mut steps: Vec<_> = all
        .filter(|step| match step {
            ImportProgress::Layer { done, total, .. } => *done == 0 || done == total,
            ImportProgress::Assembling | ImportProgress::Refused(_) => true,
        })
        .collect();
    // The last of a layer may have come with its time as well.
    steps.dedup();
    steps
}

#[test]
fn what_one_removes_the_other_keeps() {
    for mode in MODES {
        let server = server(mode);
        let (one, two) = (Tenant::new(&server, "one"), Tenant::new(&server, "two"));
        let image_of_one = one.upload("own", &image());
        two.upload("own", &image_like(2));
        let of_two = two.create("own");
        // The digest says what is in an image, whoever it is stored for.
        let details = |tenant: &Tenant<'_>| {
            let (org, image) = (Some(tenant.org.clone()), ImageName::parse("own").expect("a name"));
            match RuntimeLink::to(&server).call(Call::InspectImage { org, image }) {
                Reply::ImageDetails(details) => *details,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(details(&one).diff_ids, details(&two).diff_ids[..2], "{mode}");
        assert_eq!((details(&one).sandboxes, details(&two).sandboxes), (0, 1), "{mode}");
        let id = image_of_one["id"].as_str().expect("an id");
        let _gone = one.client.delete(&format!("/images/{id}")).expect(200);
        collect(&server);
        assert_eq!((names(&server, "trees").len(), names(&server, "layers").len()), (1, 3), "{mode}");
        assert_eq!(two.run(&of_two, "cat /large | wc -c").line(), LARGE.to_string(), "{mode}");
        assert_eq!(two.run(&two.create("own"), "cat /seed | wc -c").line(), "1", "{mode}");
        // Without a name it is there as long as somebody has a disk on it.
        let asleep = two.client.post(&of_two.path("/sleep"), &json!({}));
        let _asleep = asleep.expect(200);
        for image in two.client.get("/images").expect(200).json().as_array().expect("rows") {
            let _gone = two.client.delete(&format!("/images/{}", image["id"].as_str().expect("an id")));
        }
        collect(&server);
        assert_eq!(two.run(&of_two, "cat /large | wc -c").line(), LARGE.to_string(), "{mode}");
        two.delete_all();
        assert_nothing_stored(&server);
    }
}

/// An organisation's own files are for its own images; those of the host are everybody's.
#[test]
fn images_of_the_host_are_shared_in_either_mode() {
    let server = server("per-tenant");
    let (one, two) = (Tenant::new(&server, "one"), Tenant::new(&server, "two"));
    import(&server, "hosts", &image());
    assert_eq!(inodes(&server).len(), 1);
    host::forget_cached(&large_files(&server)[0]);
    let (of_one, of_two) = (one.create("hosts"), two.create("hosts"));
    assert!(one.charge_of_reading(&of_one) > MOST_OF_IT);
    assert!(two.charge_of_reading(&of_two) < MOST_OF_IT);
    // Not even with those does an organisation share what it imports: it may not learn what the host has.
    one.upload("own", &image());
    assert_eq!(inodes(&server).len(), 2);
    one.delete_all();
    two.delete_all();
}

#[test]
fn a_store_goes_on_when_the_setting_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bulkhead.toml");
    let set = |mode: &str| fs::write(&file, format!("layers = '{mode}'\n")).expect("a file");
    set("shared");
    let args = vec!["--config".to_owned(), file.to_str().expect("a plain path").to_owned()];
    let mut server = Server::start_with(&Options { args, ..Options::default() });
    let one = Tenant::new(&server, "one");
    let (key, org) = (one.client.key().to_owned(), one.org.clone());
    one.upload("own", &image());
    let old = one.create("own").id().to_owned();
    let restart = |server: &mut Server, mode: &str| {
        set(mode);
        server.stop();
        server.start_again();
    };
    restart(&mut server, "per-tenant");
    let one = Tenant { client: server.client().with_key(&key), org: org.clone(), server: &server };
    let two = Tenant::new(&server, "two");
    let two_key = two.client.key().to_owned();
    let old_one = Sandbox::of(&server, &old);
    // What is there is used as it was.
    assert_eq!(one.run(&old_one, "cat /large | wc -c").line(), LARGE.to_string());
    assert_eq!(one.run(&one.create("own"), "cat /large | wc -c").line(), LARGE.to_string());
    assert_eq!(inodes(&server).len(), 1);
    two.upload("own", &image());
    assert_eq!((inodes(&server).len(), names(&server, "layers").len()), (2, 4));
    // The name goes to files of its own, and what had it is kept by the disks.
    one.upload("own", &image());
    assert_eq!((inodes(&server).len(), names(&server, "trees").len()), (3, 3));
    collect(&server);
    assert_eq!(names(&server, "trees").len(), 3);
    let new = one.create("own").id().to_owned();
    restart(&mut server, "shared");
    let one = Tenant { client: server.client().with_key(&key), org, server: &server };
    let two = Tenant { client: server.client().with_key(&two_key), org: String::new(), server: &server };
    for id in [&old, &new] {
        assert_eq!(one.run(&Sandbox::of(&server, id), "cat /large | wc -c").line(), LARGE.to_string());
    }
    assert_eq!(two.run(&two.create("own"), "cat /large | wc -c").line(), LARGE.to_string());
    // What is shared is found again by whoever imports it now.
    two.upload("shared", &image());
    assert_eq!((inodes(&server).len(), names(&server, "trees").len()), (3, 3));
    one.delete_all();
    collect(&server);
    assert_eq!((inodes(&server).len(), names(&server, "trees").len()), (2, 2));
    two.delete_all();
    assert_nothing_stored(&server);
}

/// As in X14, where the parts of an image are called otherwise: nothing of an import that was cut stays.
#[test]
fn x14_an_import_of_ones_own_that_is_cut_leaves_nothing() {
    let server = server("per-tenant");
    let one = Tenant::new(&server, "one");
    let mut files = busybox().directory("many");
    for number in 0..1500 {
        files = files.file(&format!("many/{number}"), &[1; 3000]);
    }
    let directory = tempfile::tempdir().expect("a directory");
    Image::of([files, Layer::new().file("last", b"1")]).write_layout(directory.path(), |_| {});
    let order = |link: &mut RuntimeLink| {
        order_for(link, Some(&one.org), Default::default(), "own", directory.path());
    };
    for point in 0..4 {
        let mut link = RuntimeLink::to(&server);
        order(&mut link);
        std::thread::sleep(Duration::from_millis(100) * point);
        server.kill_half("runtime");
        let image = ImageName::parse("own").expect("a name");
        // It may have come to its end.
        let gone = RuntimeLink::to(&server).call(Call::RemoveImage { org: Some(one.org.clone()), image });
        assert!(matches!(gone, Reply::ImageRemoved | Reply::Refused { .. }), "{gone:?}");
        assert_nothing_stored(&server);
        let mut link = RuntimeLink::to(&server);
        order(&mut link);
        assert!(matches!(link.answer(), Some(Reply::Imported(_))), "point {point}");
        let sandbox = one.create("own");
        assert_eq!(one.run(&sandbox, "cat /many/* /last | wc -c").line(), "4500001", "point {point}");
        one.delete_all();
        assert_nothing_stored(&server);
    }
}
