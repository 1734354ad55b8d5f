//! What an image becomes: files, layers over layers, and what a sandbox has of it.

use crate::make::{Image, Layer, busybox, digest};
use crate::{create, import, imported, try_import};
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::runtime::{Call, ImagesOf, RefusalKind, Reply};
use bulkhead_tests::{RuntimeLink, Server};
use serde_json::json;
use tar::EntryType;

#[test]
fn a_layout_and_an_archive_become_sandboxes() {
    let server = Server::start();
    let image = Image::of([busybox(), Layer::new().file("hello", b"hello")])
        .with(json!({"Env": ["GREETING=hi there"], "WorkingDir": "/srv/app", "User": "65534"}));
    let row = import(&server, "small", &image);
    assert_eq!((row.layers, row.name.as_str(), row.org), (2, "small:latest", None));
    let sandbox = create(&server, "small");
    let run = sandbox.exec("cat /hello; echo; echo $GREETING; stat -c '%F %a' /srv/app").ok();
    assert_eq!(run.stdout, "hello\nhi there\ndirectory 755\n");
    let name = ImageName::parse("small").unwrap();
    let Reply::ImageDetails(details) =
        RuntimeLink::to(&server).call(Call::InspectImage { org: None, image: name })
    else {
        panic!()
    };
    assert_eq!(details.defaults.working_dir.as_deref(), Some("/srv/app"));
    assert_eq!((details.defaults.user.as_deref(), details.sandboxes), (Some("65534"), 1));
    let archive = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(archive.path(), image.docker_archive()).unwrap();
    let again = imported(try_import(&server, "again:2", archive.path()));
    assert_eq!(again.id, row.id);
    assert_eq!(create(&server, "again:2").exec("cat /hello").ok().stdout, "hello");
}

#[test]
fn an_image_without_anything_gets_what_a_sandbox_needs() {
    let server = Server::start();
    // Links in the place of every mount lead nowhere.
    let mut odd = Layer::new();
    for name in ["dev", "proc", "sys", "tmp", "etc", "root"] {
        odd = odd.symlink(name, "/bin");
    }
    let image = Image::of([busybox(), odd]);
    import(&server, "bare", &image);
    let sandbox = create(&server, "bare");
    let run = sandbox.exec("stat -c '%n %F %a %u' /tmp /etc /root /etc/hosts; cat /etc/passwd").ok();
    let expected = "/tmp directory 1777 0\n/etc directory 755 0\n/root directory 700 0\n/etc/hosts regular file 644 0\n\
                    root:x:0:0:root:/root:/bin/sh\n";
    assert!(run.stdout.starts_with(expected), "{}", run.stdout);
    assert_eq!(sandbox.exec("pwd; echo $SHELL; echo $0").ok().stdout.lines().next(), Some("/root"));
}

#[test]
fn upper_layers_change_lower_ones() {
    let server = Server::start();
    let lower = Layer::new()
        .directory("d")
        .file("d/a", b"1")
        .file("d/b", b"1")
        .directory("o")
        .file("o/hidden", b"1")
        .file("file-then-directory", b"1")
        .directory("directory-then-file")
        .file("directory-then-file/x", b"1")
        .directory("moded")
        .symlink("link", "d");
    let upper = Layer::new()
        .file("d/.wh.a", b"")
        .file("d/b", b"2")
        // An opaque mark hides what is below and nothing of its own layer, wherever it stands.
        .file("o/new", b"2")
        .file("o/.wh..wh..opq", b"")
        .file("file-then-directory/y", b"2")
        .file("directory-then-file", b"2")
        .member(b"moded", EntryType::Directory, b"", |header| header.set_mode(0o700))
        .file("link/z", b"2");
    import(&server, "changed", &Image::of([busybox(), lower, upper]));
    let sandbox = create(&server, "changed");
    let run = sandbox.exec(
        "cd /; ls d o file-then-directory link; cat d/b directory-then-file link/z; stat -c ' %a' moded",
    );
    let expected = "d:\nb\n\nfile-then-directory:\ny\n\nlink:\nz\n\no:\nnew\n222 700\n";
    assert_eq!(run.ok().stdout, expected);
}

#[test]
fn files_are_what_their_members_say() {
    let server = Server::start();
    let layer = Layer::new()
        .member(b"owned", EntryType::Regular, b"x", |header| {
            header.set_mode(0o6751);
            header.set_uid(1234);
            header.set_gid(65535);
        })
        .hard_link("second", "owned")
        .member(b"device", EntryType::Char, b"", |_| {})
        .member(b"fifo", EntryType::Fifo, b"", |_| {})
        .pax(&[
            ("SCHILY.xattr.user.note", b"kept"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("mtime", b"12.5"),
        ])
        .file("noted", b"")
        .member(b"odd \xff name", EntryType::Regular, b"", |_| {});
    import(&server, "files", &Image::of([busybox(), layer]));
    let sandbox = create(&server, "files");
    let run = sandbox.exec("cd /; stat -c '%a %u %g %s %Y' owned second noted; stat -c %i owned second | uniq | wc -l; ls device fifo").stdout;
    let files = "751 1234 65535 1 1000000000\n751 1234 65535 1 1000000000\n644 0 0 0 12\n";
    // Both names are of one file; devices and fifos are not there.
    assert_eq!(run, format!("{files}1\n"));
}

#[test]
fn a_name_is_given_taken_and_forgotten_and_a_sandbox_keeps_its_image() {
    let server = Server::start();
    let one = import(&server, "kept:1", &Image::of([busybox(), Layer::new().file("version", b"1")]));
    let sandbox = create(&server, "kept:1");
    let two = import(&server, "kept:1", &Image::of([busybox(), Layer::new().file("version", b"2")]));
    assert_ne!(one.id, two.id);
    assert_eq!(create(&server, "kept:1").exec("cat /version").ok().stdout, "2");
    let mut link = RuntimeLink::to(&server);
    let name = ImageName::parse("kept:1").unwrap();
    let Reply::Images(rows) = link.call(Call::ListImages { of: ImagesOf::All, skip: 0 }) else { panic!() };
    assert_eq!(rows.len(), 1);
    let Reply::ImageDetails(details) = link.call(Call::InspectImage { org: None, image: name.clone() })
    else {
        panic!()
    };
    assert_eq!((details.sandboxes, details.diff_ids.len()), (1, 2));
    assert_eq!(link.call(Call::RemoveImage { org: None, image: name.clone() }), Reply::ImageRemoved);
    let Reply::Refused { kind: RefusalKind::UnknownImage, .. } =
        link.call(Call::RemoveImage { org: None, image: name })
    else {
        panic!()
    };
    // Both have a disk: nothing goes.
    let Reply::Collected(collected) = link.call(Call::CollectImages) else { panic!() };
    assert_eq!((collected.images, collected.layers), (0, 0));
    let _asleep = sandbox.client().post(&sandbox.path("/sleep"), &json!({})).expect(200);
    assert_eq!(sandbox.exec("cat /version").ok().stdout, "1");
    server.delete_all();
    let Reply::Collected(collected) = link.call(Call::CollectImages) else { panic!() };
    assert_eq!((collected.images, collected.layers), (2, 3));
    assert!(digest(b"").starts_with("sha256:e3b0"));
}

/// As in `bulkhead image list | head -1`, when head has gone.
#[test]
fn a_list_that_nobody_reads_to_its_end_is_no_failure() {
    let server = Server::start();
    import(&server, "one", &Image::of([busybox()]));
    for words in [
        &["image", "list"][..],
        &["image", "inspect", "one"],
        &["key", "list"],
        &["org", "list"],
        &["doctor"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(bulkhead_tests::programs::program("bulkhead"));
        let output = command
            .args(words)
            .arg("--state-dir")
            .arg(&server.instance().state)
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{words:?}: {} {said}", output.status);
    }
}
