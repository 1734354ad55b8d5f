use super::*;
use crate::spec::tests::spec;
use expect_test::expect_file;
use oci_spec::runtime::{Linux, Process};
use std::fs::File;
use std::os::fd::AsFd;

/// The steps of a launch from this spec, in words.
fn steps_of(spec: &Spec) -> std::result::Result<Vec<String>, String> {
    let null = File::open("/dev/null").unwrap();
    let null = || null.as_fd();
    let made = [
        mounts::DEV,
        mounts::SYS,
        mounts::OWN,
        mounts::GROUP,
        mounts::LIMITS,
        "made:root/usr",
        "/srv/models",
    ];
    let inputs = Inputs {
        spec,
        agent: null(),
        filter: &[],
        wait: null(),
        go: null(),
        tasks: vec![null()],
        root: null(),
        handles: made.map(|name| (name.to_owned(), null())).into(),
        descriptors: vec![null(); 8],
    };
    let mut words = Vec::new();
    for op in steps(&inputs).map_err(|error| error.to_string())? {
        words.push(in_words(&op));
        if let Op::ForkInit(ops) = &op {
            words.extend(ops.iter().map(|op| format!("  {}", in_words(op))));
        }
    }
    Ok(words)
}

/// Without numbers of descriptors, which differ from run to run.
fn in_words(op: &Op<'_>) -> String {
    match op {
        Op::Close(_) => "Close".into(),
        Op::Await(_) => "Await".into(),
        Op::Write(_, bytes) => format!("Write {}", String::from_utf8_lossy(bytes)),
        Op::Place(_, number) => format!("Place {number}"),
        Op::Mount { options, attributes, .. } => format!("{} {attributes:#x} {options:?}", op.describe()),
        Op::WriteFile { bytes, .. } => format!("{} {}", op.describe(), String::from_utf8_lossy(bytes)),
        Op::ExecuteFile { argv, envp, .. } => format!("execute {:?} {:?}", argv.texts(), envp.texts()),
        other => other.describe(),
    }
}

/// Read it: this is the order of isolation.
#[test]
fn the_published_order_is_what_is_done() {
    expect_file!["golden.txt"].assert_eq(&format!("{}\n", steps_of(&spec()).unwrap().join("\n")));
}

type Change = dyn Fn(&mut Spec);

fn linux(change: impl Fn(&mut Linux) + 'static) -> Box<Change> {
    Box::new(move |spec| change(spec.linux_mut().as_mut().unwrap()))
}

fn process(change: impl Fn(&mut Process) + 'static) -> Box<Change> {
    Box::new(move |spec| change(spec.process_mut().as_mut().unwrap()))
}

/// What a spec does not say is not left out of a launch: there is none.
#[test]
fn a_spec_without_one_of_its_parts_launches_nothing() {
    let without: Vec<Box<Change>> = vec![
        Box::new(|spec| {
            spec.set_hostname(None);
        }),
        Box::new(|spec| {
            spec.set_mounts(None);
        }),
        Box::new(|spec| {
            spec.set_mounts(Some(Vec::new()));
        }),
        Box::new(|spec| {
            spec.set_process(None);
        }),
        Box::new(|spec| {
            spec.set_linux(None);
        }),
        linux(|linux| {
            linux.set_namespaces(None);
        }),
        linux(|linux| {
            linux.set_masked_paths(None);
        }),
        linux(|linux| {
            linux.set_readonly_paths(None);
        }),
        linux(|linux| {
            linux.set_sysctl(None);
        }),
        linux(|linux| {
            linux.set_rootfs_propagation(None);
        }),
        linux(|linux| {
            linux.set_rootfs_propagation(Some("shared".into()));
        }),
        linux(|linux| {
            linux.set_masked_paths(Some(vec!["/proc/1".into()]));
        }),
        process(|process| {
            process.set_capabilities(None);
        }),
        process(|process| {
            process.set_rlimits(None);
        }),
        process(|process| {
            process.set_no_new_privileges(None);
        }),
        process(|process| {
            process.set_no_new_privileges(Some(false));
        }),
        process(|process| {
            process.set_env(None);
        }),
        process(|process| {
            process.set_args(None);
        }),
    ];
    for (number, change) in without.iter().enumerate() {
        let mut spec = spec();
        change(&mut spec);
        assert!(steps_of(&spec).is_err(), "{number}");
    }
}

/// An image need not have the place; a link on the way is not followed.
#[test]
fn a_directory_of_the_host_gets_its_place_step_by_step() {
    let mut spec = spec();
    let shown =
        mounts::mount("/srv/deep/models", "overlay", "/srv/models", &["bind", "ro", "nosuid", "nodev"]);
    spec.mounts_mut().as_mut().unwrap().push(shown.unwrap());
    let steps = steps_of(&spec).unwrap();
    let at = steps.iter().position(|step| step.starts_with("make directory")).unwrap();
    let wanted = [
        "make directory srv in .",
        "make directory deep in srv",
        "make directory models in srv/deep",
        "attach mount at srv/deep/models",
    ];
    assert_eq!(steps[at..at + 4], wanted);
    let unknown = mounts::mount("/x", "overlay", "/etc", &["bind", "ro"]).unwrap();
    spec.mounts_mut().as_mut().unwrap().push(unknown);
    assert!(steps_of(&spec).is_err(), "what nobody opened is not mounted");
}

/// There is no second description beside the spec: each change of it changes what is done.
#[test]
fn what_a_spec_says_is_what_is_done() {
    let mount = || mounts::mount("/srv", "tmpfs", "tmpfs", &["nosuid", "nodev", "size=4096"]).unwrap();
    let changes: Vec<(&str, Box<Change>)> = vec![
        (
            "SetHostname(\"other\")",
            Box::new(|spec| {
                spec.set_hostname(Some("other".into()));
            }),
        ),
        ("mount tmpfs at srv 0x6", Box::new(move |spec| spec.mounts_mut().as_mut().unwrap().push(mount()))),
        (
            "bind over proc/kcore",
            linux(|linux| linux.masked_paths_mut().as_mut().unwrap().push("/proc/kcore".into())),
        ),
        (
            "bind over proc/irq",
            linux(|linux| linux.masked_paths_mut().as_mut().unwrap().push("/proc/irq".into())),
        ),
        (
            "make read-only proc/bus",
            linux(|linux| {
                linux.set_readonly_paths(Some(vec!["/proc/bus".into()]));
            }),
        ),
        (
            "write proc/sys/kernel/shmmni 7",
            linux(|linux| {
                linux.sysctl_mut().as_mut().unwrap().insert("kernel.shmmni".into(), "7".into());
            }),
        ),
        (
            "X=y",
            process(|process| {
                process.set_env(Some(vec!["X=y".into()]));
            }),
        ),
        (
            "real: 9",
            process(|process| {
                process.user_mut().set_uid(9);
            }),
        ),
        (
            "SetUmask(63)",
            process(|process| {
                process.user_mut().set_umask(Some(0o077));
            }),
        ),
    ];
    let before = steps_of(&spec()).unwrap();
    for (word, change) in changes {
        let mut spec = spec();
        change(&mut spec);
        let after = steps_of(&spec).unwrap_or_else(|error| panic!("{word}: {error}"));
        assert!(after.iter().any(|step| step.contains(word)), "{word}: {after:#?}");
        assert!(!before.iter().any(|step| step.contains(word)), "{word}");
    }
    let mut spec = spec();
    spec.linux_mut()
        .as_mut()
        .unwrap()
        .namespaces_mut()
        .as_mut()
        .unwrap()
        .retain(|one| one.typ() != LinuxNamespaceType::Ipc && one.typ() != LinuxNamespaceType::Cgroup);
    assert_eq!(clone_flags(&spec).unwrap() & namespace::IPC, 0);
    assert!(!steps_of(&spec).unwrap().contains(&format!("unshare {:#x}", namespace::CGROUP)));
}
