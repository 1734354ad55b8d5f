//! Images by people who mean harm (catalogue X): refused with a sentence, or contained; and what they leave.

use crate::make::{Image, Layer, Packed, busybox, digest, put, write_index};
use crate::{create, import, imported, refusal, try_import};
use bulkhead_tests::Server;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tar::EntryType;

/// The sentence with which an image is refused that is falsified by `change`.
fn refused(server: &Server, image: &Image, change: impl Fn(&mut Value)) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    image.write_layout(directory.path(), change);
    refusal(try_import(server, "hostile", directory.path()))
}

/// The sentence with which a layer is refused.
fn refused_layer(server: &Server, layer: Layer) -> String {
    refused(server, &Image::of([layer]), |_| {})
}

fn assert_nothing_left(server: &Server) {
    let images = server.instance().state.join("images");
    for name in ["staging", "layers", "trees", "records"] {
        let left: Vec<_> = fs::read_dir(images.join(name)).expect("a directory").collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
    assert!(!images.join("names.json").exists());
}

#[test]
fn x01_names_that_lead_out_are_refused() {
    let server = Server::start();
    let long = "a".repeat(64 << 10);
    for name in ["../x", "/tmp/canary-of-x01", "a/../../x", "./../x", "a/.."] {
        let text = refused_layer(&server, Layer::new().file(name, b"x"));
        assert!(text.contains("the name"), "{name}: {text}");
    }
    let text = refused_layer(&server, Layer::new().pax(&[("path", long.as_bytes())]).file("x", b""));
    assert!(text.contains("the name"), "{text}");
    let text = refused_layer(&server, Layer::new().pax(&[("path", b"a\0b")]).file("x", b""));
    assert!(text.contains("the name"), "{text}");
    let text = refused_layer(&server, Layer::new().hard_link("x", "../../../etc/passwd"));
    assert!(text.contains("the name"), "{text}");
    assert!(!Path::new("/tmp/canary-of-x01").exists());
    assert_nothing_left(&server);
}

#[test]
fn x02_x03_x04_links_are_replaced_and_never_followed() {
    let canary = tempfile::tempdir().expect("a directory");
    let before = fs::metadata(canary.path()).unwrap();
    let out = canary.path().to_str().expect("a path").to_owned();
    let up = format!("{}{out}", "../".repeat(20));
    let server = Server::start();
    let layer = busybox()
        .symlink("l", &out)
        .file("l/written", b"x")
        .symlink("up", &up)
        .file("up/a/written", b"x")
        .symlink("dir", &out)
        .member(b"dir", EntryType::Directory, b"", |header| header.set_mode(0o777))
        .symlink("loop", "loop")
        .file("loop/x", b"x")
        .file("swap", b"1")
        .directory("swap")
        .file("swap/inner", b"1")
        .file("swap", b"last")
        .symlink("kept", &out);
    let across =
        Layer::new().file("kept/written", b"x").directory("kept").symlink("tmp", &out).symlink("etc", &out);
    import(&server, "contained", &Image::of([layer, across]));
    let sandbox = create(&server, "contained");
    let run =
        sandbox.exec("cd /; cat l/written up/a/written loop/x kept/written swap; stat -c ' %F %a' dir").ok();
    assert_eq!(run.stdout, "xxxxlast directory 777\n");
    let after = fs::metadata(canary.path()).unwrap();
    assert_eq!(fs::read_dir(canary.path()).unwrap().count(), 0);
    assert_eq!(before.permissions(), after.permissions());
    let text = refused_layer(&server, Layer::new().symlink("l", "/etc").hard_link("x", "l/passwd"));
    assert!(text.contains("hard link"), "{text}");
}

#[test]
fn x06_nodes_bits_and_owners() {
    let server = Server::start();
    let owner = |id: u64| move |header: &mut tar::Header| header.set_uid(id);
    for id in [65_536, u64::from(u32::MAX), u64::MAX >> 1] {
        let text = refused_layer(&server, Layer::new().member(b"x", EntryType::Regular, b"", owner(id)));
        assert!(text.contains("belongs to id"), "{text}");
    }
    let layer = busybox()
        .pax(&[
            ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.system.posix_acl_access", b"x"),
            ("mtime", b"-5.25"),
        ])
        .member(b"odd", EntryType::Regular, b"", |header| header.set_mode(0o7777));
    import(&server, "bits", &Image::of([layer]));
    assert_eq!(create(&server, "bits").exec("stat -c '%a %Y' /odd").ok().stdout, "777 -6\n");
}

#[test]
fn x07_bombs_end_at_a_bound() {
    let server = Server::start();
    let sparse = Layer::new().member(b"x", EntryType::GNUSparse, b"", |header| {
        let gnu = header.as_gnu_mut().expect("a GNU header");
        gnu.realsize[0] = 0x80;
        gnu.realsize[4] = 0x7f;
    });
    let text = refused_layer(&server, sparse);
    assert!(text.contains("bytes"), "{text}");
    let zeros = Image {
        layers: vec![(Layer::new().file("x", &vec![0; 400 << 20]).tar(), Packed::Zstd)],
        execution: json!({}),
    };
    let text = refused(&server, &zeros, |_| {});
    assert!(text.contains("unpacks to more"), "{text}");
    let deep = "d/".repeat(200);
    let text = refused_layer(&server, Layer::new().pax(&[("path", deep.as_bytes())]).directory("x"));
    assert!(text.contains("the name"), "{text}");
    let many = Image::of((0..129).map(|_| Layer::new()));
    let text = refused(&server, &many, |_| {});
    assert!(text.contains("129 layers"), "{text}");
    let labels: serde_json::Map<_, _> = (0..100_000).map(|n| (format!("label-{n}"), json!("x"))).collect();
    let text = refused(&server, &Image::of([Layer::new()]).with(json!({"Labels": labels})), |_| {});
    assert!(text.contains("the configuration has"), "{text}");
    assert_nothing_left(&server);
}

#[test]
fn x08_archives_that_can_be_read_in_two_ways() {
    let server = Server::start();
    let refused_bytes = |tar: Vec<u8>| {
        refused(&server, &Image { layers: vec![(tar, Packed::Tar)], execution: json!({}) }, |_| {})
    };
    let cases = [
        Layer::new().pax(&[("path", b"a")]).pax(&[("path", b"b")]).file("x", b""),
        Layer::new().pax(&[("size", b"-1")]).file("x", b""),
        Layer::new().pax(&[("size", b"99999999")]).file("x", b""),
        Layer::new().pax(&[("GNU.sparse.major", b"1")]).file("x", b""),
        Layer::new().member(b"x", EntryType::Directory, b"content", |_| {}),
        Layer::new().member(b"x", EntryType::new(b'Z'), b"", |_| {}),
    ];
    for case in cases {
        assert!(!refused_layer(&server, case).is_empty());
    }
    let mut cut = Layer::new().file("x", &[1; 2000]).tar();
    cut.truncate(1000);
    assert!(refused_bytes(cut).contains("cut short"));
    assert!(refused_bytes(b"garbage ".repeat(1000)).contains("no tar archive"));
    assert_nothing_left(&server);
}

#[test]
fn x09_digests_types_and_places() {
    let server = Server::start();
    let image = Image::of([busybox()]);
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 11] = [
        (|m| m["layers"][0]["digest"] = json!(digest(b"x")), "lacks"),
        (|m| m["layers"][0]["size"] = json!(7), "7 as it should"),
        (|m| m["config"]["size"] = json!(7), "7 as it should"),
        (|m| m["layers"][0]["digest"] = json!("md5:d41d8cd98f00b204e9800998ecf8427e"), "SHA-256"),
        (|m| m["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd"), "SHA-256"),
        (|m| m["schemaVersion"] = json!(1), "two ways"),
        (|m| m["manifests"] = json!([]), "two ways"),
        (|m| m["layers"][0]["urls"] = json!(["http://127.0.0.1/x"]), "elsewhere"),
        (|m| m["layers"][0]["mediaType"] = json!("application/vnd.erofs"), "not understood"),
        (|m| m["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json"), "none of an image"),
        (|m| m["layers"] = json!([]), "speaks of 1"),
    ];
    for (change, expected) in cases {
        let text = refused(&server, &image, change);
        assert!(text.contains(expected), "{text}");
    }
    // A blob that is not what it is called.
    let directory = tempfile::tempdir().unwrap();
    image.write_layout(directory.path(), |_| {});
    for entry in fs::read_dir(directory.path().join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 9;
        bytes[last] ^= 1;
        let kept = fs::read(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
        assert!(!refusal(try_import(&server, "hostile", directory.path())).is_empty());
        fs::write(&path, &kept).unwrap();
    }
    assert_nothing_left(&server);
    imported(try_import(&server, "whole", directory.path()));
}

#[test]
fn x09_indexes_end_and_say_which() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let index = "application/vnd.oci.image.index.v1+json";
    // An index cannot hold itself, since its digest depends on what it holds; it can lie in many.
    let mut inner = put(at, br#"{"schemaVersion":2,"manifests":[]}"#, index);
    for _ in 0..8 {
        let outer = json!({"schemaVersion": 2, "manifests": [inner]});
        inner = put(at, outer.to_string().as_bytes(), index);
    }
    write_index(at, &[inner]);
    assert!(refusal(try_import(&server, "hostile", at)).contains("without an end"));
    write_index(at, &[]);
    assert!(refusal(try_import(&server, "hostile", at)).contains("holds no image"));
    Image::of([Layer::new().file("a", b"")]).write_layout(at, |_| {});
    let first = serde_json::from_slice::<Value>(&fs::read(at.join("index.json")).unwrap()).unwrap();
    Image::of([Layer::new().file("b", b"")]).write_layout(at, |_| {});
    let second = serde_json::from_slice::<Value>(&fs::read(at.join("index.json")).unwrap()).unwrap();
    let (mut one, mut other) = (first["manifests"][0].clone(), second["manifests"][0].clone());
    write_index(at, &[one.clone(), other.clone()]);
    assert!(refusal(try_import(&server, "hostile", at)).contains("2 images"));
    one["platform"] = json!({"os": "linux", "architecture": "arm64"});
    other["platform"] = json!({"os": "linux", "architecture": "amd64"});
    write_index(at, &[one, other]);
    imported(try_import(&server, "chosen", at));
}

#[test]
fn x09_files_of_a_layout_are_plain_and_their_owners() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    Image::of([busybox()]).write_layout(directory.path(), |_| {});
    let index = directory.path().join("index.json");
    let text = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", &index).unwrap();
    assert!(refusal(try_import(&server, "hostile", directory.path())).contains("regular file"));
    fs::remove_file(&index).unwrap();
    fs::write(&index, text).unwrap();
    // A directory of somebody else with a file of root's in it, as a hard link would give.
    std::os::unix::fs::chown(directory.path(), Some(12345), Some(12345)).unwrap();
    assert!(refusal(try_import(&server, "hostile", directory.path())).contains("regular file"));
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
}

#[test]
fn x10_a_configuration_is_data() {
    let server = Server::start();
    let image = Image::of([busybox()]).with(json!({
        "Entrypoint": ["/bin/rm", "-rf", "/"], "Cmd": ["x"], "Volumes": {"/proc": {}, "/etc/passwd": {}},
        "Labels": {"bulkhead": "x"}, "StopSignal": "99", "Healthcheck": {"Test": ["CMD-SHELL", "rm -rf /"]},
        "OnBuild": ["RUN x"], "Env": ["LD_PRELOAD=/evil.so", "PATH=/bin"],
    }));
    import(&server, "policy", &image);
    assert_eq!(
        create(&server, "policy").exec("echo $LD_PRELOAD $PATH; ls /bin/sh").ok().stdout,
        "/evil.so /bin\n/bin/sh\n"
    );
    for (execution, expected) in [
        (json!({"User": "4294967296"}), "User"),
        (json!({"WorkingDir": "/proc/self/fd/8/../.."}), "WorkingDir"),
        (json!({"Env": ["=x"]}), "Env"),
        // Six bytes each where it travels.
        (json!({"Env": [format!("A={}", "\u{1}".repeat(4000))]}), "Env"),
    ] {
        let text = refused(&server, &Image::of([busybox()]).with(execution), |_| {});
        assert!(text.contains(expected), "{text}");
    }
}
