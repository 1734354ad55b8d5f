use super::*;
use crate::cgroup::knobs::Knob;
use crate::ids::Slot;
use crate::masks::Masks;
use crate::record::{Fate, Listed, Phase};
use crate::spec::mounts::mount;
use crate::spec::tests::template;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::isolation::Verdict;
use oci_spec::runtime::Mount;
use std::collections::BTreeMap;

/// A process that is written down.
#[derive(Clone, Default)]
struct Paper(BTreeMap<String, String>);

impl Readings for Paper {
    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn link(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

impl Paper {
    fn set(&mut self, name: &str, text: &str) -> &mut Self {
        self.0.insert(name.to_owned(), text.to_owned());
        self
    }

    /// Replaces a part of a file, which must be there.
    fn change(&mut self, name: &str, from: &str, to: &str) -> &mut Self {
        let text = self.0[name].clone();
        assert!(text.contains(from), "{from} is not in {name}");
        self.set(name, &text.replacen(from, to, 1))
    }
}

const STATUS: &str = "Name:\tbulkhead-agent\nUid:\t1879179261\t1879179261\t1879179261\t1879179261\n\
    Gid:\t1879179261\t1879179261\t1879179261\t1879179261\nGroups:\t \n\
    CapInh:\t0000000000000000\nCapPrm:\t00000000800405fb\nCapEff:\t00000000000000c0\n\
    CapBnd:\t00000000800404db\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
const MOUNTS: &str = "80 94 0:46 / / rw,nosuid,nodev,relatime - overlay none rw\n\
    75 80 0:45 /hosts /etc/hosts rw,nosuid,nodev,noexec - tmpfs none rw\n\
    83 80 0:49 / /usr ro,nosuid,nodev,relatime - overlay none ro\n\
    87 80 0:41 / /dev ro,nosuid,noexec,relatime - tmpfs none rw\n\
    88 87 0:6 /null /dev/null ro,nosuid,noexec,relatime - devtmpfs devtmpfs rw\n\
    126 87 0:54 / /dev/pts rw,nosuid,noexec,relatime - devpts none rw,max=72\n\
    127 87 0:55 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    128 87 0:53 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue none rw\n\
    129 80 0:56 / /tmp rw,nosuid,nodev,relatime - tmpfs none rw\n\
    77 80 0:42 / /sys ro,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    74 77 0:52 / /sys/sandbox rw,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    85 77 0:38 /b/x /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw\n\
    84 85 0:43 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    130 80 0:57 / /proc rw,nosuid,nodev,noexec,relatime - proc none rw\n\
    131 130 0:52 /meminfo /proc/meminfo rw,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    95 130 0:52 /cpuinfo /proc/cpuinfo rw,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    96 130 0:52 /stat /proc/stat rw,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    97 130 0:42 /host/loadavg /proc/loadavg ro,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    98 130 0:42 /host/cgroups /proc/cgroups ro,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    113 130 0:6 /null /proc/keys ro,nosuid,noexec,relatime - devtmpfs devtmpfs rw\n\
    122 130 0:42 /host/empty /proc/acpi ro,nosuid,nodev,noexec,relatime - tmpfs none rw\n\
    136 130 0:57 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc none rw\n";
const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units\n\
    Max stack size            8388608              unlimited            bytes\n\
    Max core file size        1                    1                    bytes\n\
    Max processes             64                   64                   processes\n\
    Max open files            1024   1024   files\n\
    Max locked memory         65536                65536                bytes\n\
    Max pending signals       4096                 4096                 signals\n\
    Max msgqueue size         819200               819200               bytes\n\
    Max nice priority         0                    0\n\
    Max realtime priority     0                    0\n";
const GROUP: &str = "/bulkhead-00000001/ababababababababababababababab";

fn agent() -> Paper {
    let mut paper = Paper::default();
    paper
        .set("status", STATUS)
        .set("mountinfo", MOUNTS)
        .set("uid_map", "         0 1879113728      65536\n")
        .set("gid_map", "         0 1879113728      65536\n")
        .set("oom_score_adj", "300\n")
        .set("limits", LIMITS)
        .set("cgroup", &format!("4:memory:{GROUP}\n0::{GROUP}\n"));
    for (number, kind) in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"].iter().enumerate() {
        paper.set(&format!("ns/{kind}"), &format!("{kind}:[20{number}]"));
    }
    paper.set("ns/pid_for_children", "pid:[300]");
    paper
}

fn host() -> Paper {
    let mut paper = Paper::default();
    for (number, kind) in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"].iter().enumerate() {
        paper.set(&format!("ns/{kind}"), &format!("{kind}:[10{number}]"));
    }
    paper
}

/// What the image of the record has over its root.
fn parts() -> Vec<Mount> {
    let usr = mount("/usr", "overlay", "made:root/usr", &["bind", "ro", "nosuid", "nodev"]);
    let hosts = mount("/etc/hosts", "tmpfs", "made:root/etc/hosts", &["bind", "nosuid", "nodev", "noexec"]);
    vec![usr.unwrap(), hosts.unwrap()]
}

fn record() -> Record {
    Record {
        id: SandboxId::parse(&"ab".repeat(15)).unwrap(),
        slot: Slot(1),
        image: bulkhead_protocol::image::ImageId::host(),
        limits: crate::spec::tests::SMALL,
        processors: vec![0, 1],
        filters: Digests::of_this_release(&[]),
        mounts: parts(),
        listed: Listed::Mounts,
        denied: Vec::new(),
        launch: 1,
        boot: String::new(),
        phase: Phase::Ending(Fate::Keep),
    }
}

fn knob(text: Option<&str>) -> (Knob, Option<String>) {
    (Knob::for_test("pids", "pids.max", "64"), text.map(str::to_owned))
}

struct World {
    agent: Paper,
    host: Paper,
    record: Record,
    spec: Spec,
    owner: Option<u64>,
    knobs: Vec<(Knob, Option<String>)>,
    disk: Option<u64>,
}

impl World {
    fn sound() -> Self {
        let (agent, host, record) = (agent(), host(), record());
        let masks = Masks { files: vec!["keys"], directories: vec!["acpi"] };
        let spec = template(&masks).compose(&record, "sound").unwrap();
        Self {
            agent,
            host,
            record,
            spec,
            owner: Some(100),
            knobs: vec![knob(Some("64"))],
            disk: Some(64 << 20),
        }
    }

    fn report(&self) -> Isolation {
        let filters = Digests::of_this_release(&[]);
        let hierarchies = vec!["", "memory"];
        let wanted = Wanted { record: &self.record, spec: &self.spec, hierarchies, filters: &filters };
        let seen = Seen {
            agent: &self.agent,
            host: [&self.host, &self.host],
            network_owner: self.owner,
            knobs: self.knobs.clone(),
            disk: self.disk,
        };
        Isolation { items: compare(&wanted, &seen).unwrap(), modules: Vec::new() }
    }

    /// The items that do not hold.
    fn broken(&self) -> Vec<String> {
        let report = self.report();
        let fails = |item: &&Item| item.verdict == Verdict::Fails;
        report.items.iter().filter(fails).map(|item| item.name.clone()).collect()
    }
}

#[test]
fn a_sound_sandbox_holds() {
    let world = World::sound();
    assert_eq!(world.broken(), Vec::<String>::new());
    assert!(world.report().all_hold());
}

#[test]
fn each_single_gap_is_named() {
    let gaps: &[(&str, &str, &str, &str)] = &[
        ("mountinfo", "/proc/keys ro", "/proc/kex ro", "/proc/keys"),
        ("mountinfo", "0:6 /null /proc/keys", "0:9 /null /proc/keys", "/proc/keys"),
        ("mountinfo", "113 130 0:6", "113 99 0:6", "/proc/keys"),
        ("mountinfo", "/proc/acpi ro", "/proc/acpi rw", "/proc/acpi"),
        ("mountinfo", "/host/empty /proc/acpi", "/host /proc/acpi", "/proc/acpi"),
        ("mountinfo", "/proc/sys ro", "/proc/sys rw", "/proc/sys"),
        ("mountinfo", "/proc/meminfo rw", "/proc/memory rw", "/proc/meminfo"),
        ("mountinfo", "/dev ro,", "/dev rw,", "/dev"),
        ("mountinfo", "/tmp rw,nosuid", "/tmp rw", "/tmp"),
        ("mountinfo", "/etc/hosts rw", "/mnt rw", "unknown"),
        ("status", "CapBnd:\t00000000800404db", "CapBnd:\t00000000802404db", "bounding, of commands"),
        ("status", "CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", "ambient"),
        ("status", "CapEff:\t00000000000000c0", "CapEff:\t0000000000200000", "effective"),
        ("status", "NoNewPrivs:\t1", "NoNewPrivs:\t0", "no new privileges"),
        ("status", "Seccomp:\t2", "Seccomp:\t0", "mode"),
        ("status", "Seccomp_filters:\t1", "Seccomp_filters:\t0", "filters of the agent"),
        ("status", "Groups:\t \n", "Groups:\t0 \n", "groups of the agent"),
        ("uid_map", "1879113728", "0", "uid map"),
        ("gid_map", "65536", "65537", "gid map"),
        ("oom_score_adj", "300", "0", "oom score"),
        ("limits", "1024   1024", "1024   unlimited", "Max open files"),
        ("cgroup", "4:memory:/bulkhead", "4:memory:/x", "memory"),
        ("cgroup", "0::/bulkhead", "0::/x", "member of v2"),
        ("ns/net", "[203]", "[103]", "net"),
        ("ns/pid_for_children", "[300]", "[201]", "pid of commands"),
    ];
    for (file, from, to, name) in gaps {
        let mut world = World::sound();
        world.agent.change(file, from, to);
        let broken = world.broken();
        assert!(broken.contains(&(*name).to_owned()), "{file}: {from} -> {to}: {broken:?}");
        assert!(!world.report().all_hold(), "{name}");
    }
}

#[test]
fn a_mount_over_the_whole_of_proc_uncovers_it() {
    let mut world = World::sound();
    world.agent.change(
        "mountinfo",
        "136 130",
        "200 130 0:99 / /proc rw,nosuid,nodev,noexec - proc none rw\n136 130",
    );
    assert!(world.broken().contains(&"/proc/keys".to_owned()), "{:?}", world.broken());
}

#[test]
fn what_cannot_be_read_does_not_hold() {
    let files: Vec<String> = World::sound().agent.0.keys().cloned().collect();
    for file in files {
        let mut world = World::sound();
        world.agent.0.remove(&file);
        assert!(!world.broken().is_empty(), "{file} is missing and everything holds");
    }
    for kind in ["user", "net", "mnt"] {
        let mut world = World::sound();
        world.host.0.remove(&format!("ns/{kind}"));
        assert!(world.broken().contains(&kind.to_owned()), "nothing to compare {kind} with");
    }
    let no_disk = World { disk: None, ..World::sound() };
    assert_eq!(no_disk.broken(), ["bytes"]);
    let no_owner = World { owner: None, ..World::sound() };
    assert_eq!(no_owner.broken(), ["owner of net"]);
    let no_file = World { knobs: vec![knob(None)], ..World::sound() };
    assert_eq!(no_file.broken(), ["pids.max"]);
    let no_group = World { knobs: Vec::new(), ..World::sound() };
    assert_eq!(no_group.broken(), ["files"]);
    let mut garbled = World::sound();
    garbled.agent.set("mountinfo", &format!("{MOUNTS}nonsense\n"));
    assert!(garbled.broken().contains(&"/".to_owned()));
}

#[test]
fn a_limit_that_is_higher_and_a_network_of_its_own_do_not_hold() {
    let higher = World { knobs: vec![knob(Some("max"))], ..World::sound() };
    assert_eq!(higher.broken(), ["pids.max"]);
    let larger = World { disk: Some(65 << 20), ..World::sound() };
    assert_eq!(larger.broken(), ["bytes"]);
    let own_network = World { owner: Some(200), ..World::sound() };
    assert_eq!(own_network.broken(), ["owner of net"]);
}

#[test]
fn a_sandbox_of_another_release_has_another_filter() {
    let mut world = World::sound();
    world.record.filters = Digests::default();
    assert_eq!(world.broken(), ["sha256 for the agent", "sha256 for commands"]);
    assert!(!world.report().holds(WallKind::Filter));
}

/// What the release before did not write down is no gap; everything else is compared as ever.
#[test]
fn a_sandbox_of_a_release_that_listed_no_mounts_is_no_false_alarm() {
    let old = || {
        let record = Record { listed: Listed::Nothing, mounts: Vec::new(), ..record() };
        let masks = Masks { files: vec!["keys"], directories: vec!["acpi"] };
        World { spec: template(&masks).compose(&record, "old").unwrap(), record, ..World::sound() }
    };
    assert!(old().report().all_hold(), "{:?}", old().broken());
    let mut uncovered = old();
    uncovered.agent.change("mountinfo", "/proc/keys ro", "/proc/kex ro");
    assert_eq!(uncovered.broken(), ["/proc/keys"]);
    let known = World { record: Record { listed: Listed::Mounts, ..old().record }, ..old() };
    assert_eq!(known.broken(), ["unknown"]);
}

#[test]
fn no_comparison_depends_on_the_name_inside() {
    let world = World::sound();
    let masks = Masks { files: vec!["keys"], directories: vec!["acpi"] };
    let other = World { spec: template(&masks).compose(&record(), "other").unwrap(), ..World::sound() };
    assert_ne!(world.spec, other.spec);
    assert_eq!(world.report(), other.report());
}

#[test]
fn this_process_is_read_and_another_start_time_is_not_it() {
    let pid = i32::try_from(std::process::id()).unwrap();
    let identity = Identity::of(pid).unwrap();
    let process = Process::open(identity).unwrap();
    assert!(process.lives() && process.text("status").is_some());
    assert!(process.owner_of_network().is_some());
    assert!(Process::open(Identity { start_time: identity.start_time + 1, ..identity }).is_none());
}
