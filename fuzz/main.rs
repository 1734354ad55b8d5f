//! Every fuzz target in one program, so that the engine and the product are linked once: the environment variable
//! `BULKHEAD_FUZZ` names the one that runs. A target panics where the product would, and where an answer breaks a rule
//! that the product relies on.
//!
//! ```text
//! scripts/test fuzz                                        # a minute over all of them
//! BULKHEAD_FUZZ=frames target/fuzz/.../fuzz fuzz/corpus/frames fuzz/seeds/frames
//! ```
#![no_main]

use bulkhead_protocol::meminfo::Memory;
use bulkhead_runtime::Planner;
use bulkhead_sys::seccomp::interpret::{expected, interpret};
use bulkhead_sys::seccomp::{Profile, compile};
use libfuzzer_sys::fuzz_target;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::hint::black_box;
use std::sync::OnceLock;

/// `AUDIT_ARCH_X86_64`.
const X86_64: u32 = 0xc000_003e;

type Target = fn(&[u8]);

/// Every target by its name.
const TARGETS: [(&str, Target); 11] = [
    ("frames", frames),
    ("answers", answers),
    ("create", create),
    ("exec", exec),
    ("plan", plan),
    ("users", users),
    ("meminfo", meminfo),
    ("filter", filter),
    ("layer", layer),
    ("unpack", unpack),
    ("image", image),
];

fuzz_target!(|data: &[u8]| chosen()(data));

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("BULKHEAD_FUZZ").unwrap_or_default();
        let found = TARGETS.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("BULKHEAD_FUZZ is {name:?}, not one of {TARGETS:?}")).1
    })
}

/// The frames of an agent: the same items and the same end however they are cut.
fn frames(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let whole = bulkhead_gateway::fuzzing::frames(bytes, bytes.len());
    let cut = bulkhead_gateway::fuzzing::frames(bytes, usize::from(*cut));
    assert_eq!(whole, cut, "the cut of the bytes changes what they say");
    black_box(bulkhead_gateway::fuzzing::collected(bytes));
}

/// The JSON of an agent.
fn answers(data: &[u8]) {
    black_box(bulkhead_gateway::fuzzing::answers(data));
}

/// The body of `POST /sandboxes`.
fn create(data: &[u8]) {
    black_box(bulkhead_gateway::fuzzing::create(data));
}

/// The body of `POST …/exec`, and the same as an order to the agent, with its working directory.
fn exec(data: &[u8]) {
    black_box(bulkhead_gateway::fuzzing::exec(data));
    black_box(bulkhead_agent::fuzzing::spec(data));
}

/// A create of the gateway, up to the steps that the first process of a sandbox would take.
fn plan(data: &[u8]) {
    static PLANNER: OnceLock<Planner> = OnceLock::new();
    let planner = PLANNER.get_or_init(|| {
        unshare(CloneFlags::CLONE_NEWNS).expect("root may have mounts of its own");
        let all = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, all, None::<&str>).expect("mounts are private");
        let dir = tempfile::tempdir().expect("a directory");
        // Nothing but mount points, which have to be gone before it can be: they end with this process.
        let path = dir.keep();
        mount(Some("fuzz"), &path, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .expect("a place for mounts");
        Planner::new(&path).expect("the templates of a launch")
    });
    let steps = planner.plan(data).expect("the kernel gives what a launch needs");
    if let Some(steps) = steps {
        let last = steps.last().expect("a launch has steps");
        assert!(last.contains("exec"), "{last}");
        assert!(steps.iter().all(|step| !step.contains('\0')), "{steps:?}");
    }
}

/// A user string, looked up in files that a tenant wrote; the three are separated by 0xff.
fn users(data: &[u8]) {
    let texts: Vec<_> = data.splitn(3, |byte| *byte == 0xff).map(String::from_utf8_lossy).collect();
    if let [asked, passwd, groups] = texts.as_slice() {
        black_box(bulkhead_agent::fuzzing::user(asked, passwd, groups));
    }
}

/// The counters of a cgroup, as any kernel might write them: the text keeps its length, and memory its bound.
fn meminfo(data: &[u8]) {
    let Some((head, rest)) = data.split_first_chunk::<8>() else { return };
    let total = u64::from_le_bytes(*head) >> 8;
    let text = String::from_utf8_lossy(rest);
    let (usage, stat) = text.split_once('\n').unwrap_or((&text, ""));
    let memory = Memory::parse(total, usage, stat);
    assert_eq!(memory.total, total);
    let empty = Memory { total, ..Memory::default() };
    assert_eq!(memory.text().len(), empty.text().len(), "it is written over the last one");
}

/// One system call through every compiled filter, against the table.
fn filter(data: &[u8]) {
    static PROGRAMS: OnceLock<Vec<(Profile, Vec<nix::libc::sock_filter>)>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| {
        let all = [Profile::Agent, Profile::Command, Profile::Gateway, Profile::Importer];
        all.map(|profile| (profile, compile(profile))).into()
    });
    let Some((number, rest)) = data.split_first_chunk::<4>() else { return };
    let number = u32::from_le_bytes(*number);
    let mut arguments = [0; 6];
    for (argument, bytes) in arguments.iter_mut().zip(rest.chunks_exact(8)) {
        *argument = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    for (profile, program) in programs {
        let got = interpret(program, X86_64, number, arguments);
        assert_eq!(got, expected(*profile, number, arguments), "{profile:?} {number} {arguments:x?}");
    }
}

/// A layer of an image: headers, extensions, names and what they mean.
fn layer(data: &[u8]) {
    black_box(bulkhead_rootfs::import::fuzzing::layer(data));
}

/// The same, unpacked: beside the directory it is unpacked into nothing comes and nothing goes.
fn unpack(data: &[u8]) {
    static PLACE: OnceLock<std::path::PathBuf> = OnceLock::new();
    let place = PLACE.get_or_init(|| {
        unshare(CloneFlags::CLONE_NEWNS).expect("root may have mounts of its own");
        let all = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, all, None::<&str>).expect("mounts are private");
        let path = tempfile::tempdir().expect("a directory").keep();
        // It ends with this process.
        mount(Some("fuzz"), &path, Some("tmpfs"), MsFlags::empty(), Some("size=64m")).expect("a place");
        std::fs::write(path.join("canary"), "canary").expect("a canary");
        path
    });
    let root = place.join("root");
    std::fs::create_dir(&root).expect("an empty place");
    let opened = std::fs::File::open(&root).expect("a directory");
    // A fault may come at any member; what was unpacked before is looked at all the same.
    black_box(bulkhead_rootfs::import::fuzzing::unpack(data, opened.into()).is_ok());
    let beside = std::fs::read_dir(place).expect("the place").count();
    let canary = std::fs::read_to_string(place.join("canary")).expect("the canary");
    assert_eq!((beside, canary.as_str()), (2, "canary"));
    std::fs::remove_dir_all(&root).expect("what was unpacked can go");
}

/// The JSON of an image: index, manifest, configuration.
fn image(data: &[u8]) {
    bulkhead_rootfs::import::fuzzing::image(data);
}
