//! Images that other people's tools make.

use crate::make::{Image, Layer, Packed, busybox};
use crate::{create, imported, try_import};
use bulkhead_tests::Server;
use serde_json::json;
use std::path::Path;
use std::process::Command;

fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (package {program}): {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn skopeo_copies_into_archives_and_layouts() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let from = directory.path().join("from");
    std::fs::create_dir(&from).unwrap();
    let mut image =
        Image::of([busybox(), Layer::new().file("made-by", b"skopeo")]).with(json!({"Env": ["A=b"]}));
    // Docker's form knows no zstd.
    image.layers.iter_mut().for_each(|(_, packed)| *packed = Packed::Gzip);
    image.write_layout(&from, |_| {});
    for (form, name) in [("docker-archive", "saved.tar"), ("oci-archive", "packed.tar"), ("oci", "layout")] {
        let to = directory.path().join(name);
        let target = format!("{form}:{}:x:1", text(&to));
        tool("skopeo", &["copy", "--insecure-policy", &format!("oci:{}", text(&from)), &target]);
        imported(try_import(&server, form, &to));
        assert_eq!(create(&server, form).exec("cat /made-by; echo $A").ok().stdout, "skopeob\n", "{form}");
    }
}

#[test]
fn umoci_builds_layers_with_whiteouts() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let (layout, bundle) = (directory.path().join("layout"), directory.path().join("bundle"));
    let (layer, image) = (directory.path().join("layer.tar"), format!("{}:x", text(&layout)));
    let files = busybox().directory("d").file("d/gone", b"1").file("d/stays", b"1").directory("emptied");
    std::fs::write(&layer, files.file("emptied/x", b"1").tar()).unwrap();
    tool("umoci", &["init", "--layout", text(&layout)]);
    tool("umoci", &["new", "--image", &image]);
    tool("umoci", &["raw", "add-layer", "--image", &image, text(&layer)]);
    tool("umoci", &["unpack", "--image", &image, text(&bundle)]);
    let root = bundle.join("rootfs");
    std::fs::remove_file(root.join("d/gone")).unwrap();
    std::fs::remove_dir_all(root.join("emptied")).unwrap();
    std::fs::write(root.join("d/new"), "2").unwrap();
    tool("umoci", &["repack", "--image", &image, text(&bundle)]);
    tool("umoci", &["config", "--image", &image, "--config.env", "MADE=umoci"]);
    imported(try_import(&server, "umoci", &layout));
    let run = create(&server, "umoci").exec("ls -d /emptied; ls /d; echo $MADE").stdout;
    assert_eq!(run, "new\nstays\numoci\n");
}

/// The archive of such a layer has a member `/`, the root itself.
#[test]
fn umoci_inserts_a_directory_as_the_root() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let (layout, root) = (directory.path().join("layout"), directory.path().join("root"));
    let image = format!("{}:x", text(&layout));
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/sh")).unwrap();
    std::fs::write(root.join("inserted"), "by umoci").unwrap();
    tool("umoci", &["init", "--layout", text(&layout)]);
    tool("umoci", &["new", "--image", &image]);
    tool("umoci", &["insert", "--image", &image, text(&root), "/"]);
    imported(try_import(&server, "inserted", &layout));
    assert_eq!(
        create(&server, "inserted").exec("read line </inserted; echo $line").ok().stdout,
        "by umoci\n"
    );
}

/// Buildah commits a container as an OCI layout, and as docker would save it.
#[test]
fn buildah_commits() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("f"), "by buildah").unwrap();
    std::fs::copy("/bin/busybox", at("sh")).unwrap();
    let store = ["--root", text(&at("store")), "--runroot", text(&at("run")), "--storage-driver", "vfs"]
        .map(str::to_owned);
    let buildah = |arguments: &[&str]| {
        let all: Vec<_> = store.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        tool("buildah", &all);
    };
    buildah(&["from", "--name", "made", "scratch"]);
    buildah(&["copy", "--chmod", "755", "made", text(&at("sh")), "/bin/sh"]);
    buildah(&["copy", "made", text(&at("f")), "/made"]);
    buildah(&["config", "--env", "MADE=buildah", "made"]);
    for form in ["oci", "docker-archive"] {
        buildah(&["commit", "--disable-compression", "made", &format!("{form}:{}:x:1", text(&at(form)))]);
        imported(try_import(&server, form, &at(form)));
        let run = create(&server, form).exec("read line </made; echo $line $MADE").ok();
        assert_eq!(run.stdout, "by buildah buildah\n", "{form}");
    }
    buildah(&["rm", "made"]);
}
