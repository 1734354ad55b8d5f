//! `bulkhead spec`: the OCI runtime spec that a launch is made from, against what is in force.

use bulkhead_tests::{Sandbox, Server};
use nix::unistd::Uid;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

/// `EX_CONFIG`'s neighbour: no server runs.
const NO_SERVER: i32 = 3;

fn parsed(output: &Output) -> Spec {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn spec_of(sandbox: &Sandbox<'_>, server: &Server) -> Spec {
    parsed(&server.command(&["spec", "--sandbox", sandbox.id()]))
}

/// What `/isolation` says must be, by wall and name.
fn wanted(server: &Server, sandbox: &Sandbox<'_>) -> BTreeMap<(String, String), String> {
    let data = server.client().get(&sandbox.path("/isolation")).expect(200).data();
    assert_eq!(data["holds"], true, "{data}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let walls = data["walls"].as_array().expect("walls").iter();
    walls
        .flat_map(|wall| wall["items"].as_array().expect("items").iter().map(move |item| (wall, item)))
        .map(|(wall, item)| ((text(&wall["wall"]), text(&item["name"])), text(&item["wanted"])))
        .collect()
}

#[test]
fn it_says_what_isolation_finds() {
    let server = Server::start();
    let limits = json!({"memoryMiB": 128, "cpus": 0.5, "pids": 40, "openFiles": 300});
    let sandbox = server.create_with(json!({"name": "box-1", "limits": limits}));
    let (spec, wanted) = (spec_of(&sandbox, &server), wanted(&server, &sandbox));
    let item = |wall: &str, name: &str| wanted[&(wall.to_owned(), name.to_owned())].clone();
    let linux = spec.linux().as_ref().expect("linux");
    let process = spec.process().as_ref().expect("process");

    assert_eq!(spec.hostname().as_deref(), Some("box-1"));
    let mapping = linux.uid_mappings().as_ref().expect("uidMappings")[0];
    assert_eq!(item("ids", "uid map"), format!("0 {} {}", mapping.host_id(), mapping.size()));
    let agent = mapping.host_id() + process.user().uid();
    assert_eq!(item("ids", "uid of the agent"), [agent; 4].map(|id| id.to_string()).join(" "));
    for namespace in linux.namespaces().as_ref().expect("namespaces") {
        assert_eq!(item("namespaces", &namespace.typ().to_string()), "not the host's");
    }
    let files = process.rlimits().as_ref().expect("rlimits").iter().map(|limit| (limit.soft(), limit.hard()));
    let of_processes =
        wanted.iter().filter(|((wall, _), _)| wall == "processLimits").map(|(_, text)| text.clone());
    let word = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
    let files: BTreeSet<_> = files.map(|(soft, hard)| format!("{} {}", word(soft), word(hard))).collect();
    assert_eq!(files, of_processes.collect());
    let resources = linux.resources().as_ref().expect("resources");
    assert_eq!(item("groupLimits", "pids.max"), resources.pids().as_ref().expect("pids").limit().to_string());
    let memory = resources.memory().as_ref().and_then(|memory| memory.limit()).expect("memory");
    let file = |wanted: &BTreeMap<(String, String), String>, name: &str| {
        wanted.get(&("groupLimits".to_owned(), name.to_owned())).cloned()
    };
    let of_group = file(&wanted, "memory.max").or_else(|| file(&wanted, "memory.limit_in_bytes"));
    assert_eq!(of_group, Some(memory.to_string()));
    let path = linux.cgroups_path().as_ref().expect("cgroupsPath").to_string_lossy();
    assert_eq!(item("groupLimits", "member of v2"), path);
    for path in linux.masked_paths().as_ref().expect("maskedPaths") {
        assert!(wanted.contains_key(&("masks".to_owned(), path.clone())), "{path}");
    }
    for row in ["agent", "commands"] {
        let digest =
            &spec.annotations().as_ref().expect("annotations")[&format!("bulkhead.seccomp.{row}.sha256")];
        assert_eq!(
            item("filter", &format!("sha256 for {}", if row == "agent" { "the agent" } else { row })),
            *digest
        );
    }
}

/// Beside what the spec has, a sandbox has its root and the nodes of `/dev`, which come as one.
#[test]
fn its_mounts_are_the_mounts_and_its_knobs_are_set() {
    let server = Server::start();
    let sandbox = server.create();
    let spec = spec_of(&sandbox, &server);
    let linux = spec.linux().as_ref().expect("linux");
    let mut said: BTreeSet<String> = ["/".to_owned()].into();
    said.extend(["null", "zero", "full", "random", "urandom", "tty"].map(|node| format!("/dev/{node}")));
    said.extend(
        spec.mounts().iter().flatten().map(|mount| mount.destination().to_string_lossy().into_owned()),
    );
    said.extend(linux.masked_paths().iter().flatten().cloned());
    said.extend(linux.readonly_paths().iter().flatten().cloned());
    let table = sandbox.exec("cut -d' ' -f5 /proc/self/mountinfo").ok().stdout;
    let there: BTreeSet<_> = table.lines().map(str::to_owned).collect();
    assert_eq!(said, there);

    let knobs = linux.sysctl().as_ref().expect("sysctl");
    let user = knobs.iter().filter(|(name, _)| name.starts_with("user."));
    for (name, value) in user {
        let read = sandbox.exec(&format!("cat /proc/sys/{}", name.replace('.', "/")));
        assert_eq!(read.stdout.trim(), value, "{name}");
    }
}

#[test]
fn of_an_image_and_of_nothing() {
    let server = Server::start();
    let spec = parsed(&server.command(&["spec"]));
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().clone()).expect("namespaces");
    assert!(namespaces.iter().any(|one| one.typ() == LinuxNamespaceType::User), "{namespaces:?}");
    let unknown = server.command(&["spec", "--image", "nothing"]);
    assert!(!unknown.status.success() && unknown.stdout.is_empty(), "{unknown:?}");
    let strange = server.command(&["spec", "--sandbox", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]);
    assert!(!strange.status.success() && strange.stdout.is_empty(), "{strange:?}");
}

#[test]
fn without_a_server_it_ends_with_three() {
    let mut server = Server::start();
    server.stop();
    let output = server.command(&["spec"]);
    assert_eq!(output.status.code(), Some(NO_SERVER), "{output:?}");
    server.start_again();
}

/// Whoever has the gateway gets no spec, and cannot hand one in: there is no such call.
#[test]
fn a_gateway_is_told_none() {
    let server = Server::start();
    let ask = r#"{"seq":1,"call":{"spec":{"of":{"image":{"image":"code:latest","limits":{"memory_bytes":1073741824,"cpu_millis":1000,"pids":512,"open_files":4096,"disk_bytes":5368709120}}}}}}"#;
    let program = format!(
        "import socket, sys\ns = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
         s.connect(sys.argv[1])\ns.send({ask:?}.encode())\nprint(s.recv(65536).decode())"
    );
    let socket = server.instance().run.join("runtime.sock");
    let answer = |uid: Uid| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &uid.to_string(), "--clear-groups", "/usr/bin/python3", "-c", &program])
            .arg(&socket);
        let output = command.output().expect("setpriv");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let of_gateway = answer(gateway(&socket));
    assert!(of_gateway.contains(r#""kind":"invalid""#) && !of_gateway.contains("mounts"), "{of_gateway}");
    assert!(answer(Uid::from_raw(0)).contains("mounts"), "root is told");
}

fn gateway(socket: &Path) -> Uid {
    use std::os::unix::fs::MetadataExt;
    Uid::from_raw(std::fs::metadata(socket).expect("the socket").uid())
}
