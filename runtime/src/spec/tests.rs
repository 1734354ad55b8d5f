use super::*;
use crate::digests::Digests;
use crate::ids::Slot;
use crate::record::{Listed, Phase};
use bulkhead_protocol::image::ImageId;
use bulkhead_protocol::runtime::Disk;
use bulkhead_protocol::{Limits, SandboxId};
use expect_test::expect_file;
use serde_json::Value;

/// Of a host that is written down.
pub(crate) fn template(masks: &Masks) -> Template {
    Template::new(Host {
        instance: "bulkhead-00000001",
        ceilings: Ceilings::for_test(),
        huge_pages: &["2MB".to_owned()],
        masks,
        time_namespaces: TimeNamespaces::There,
    })
    .unwrap()
}

pub(crate) const SMALL: Limits =
    Limits { memory_bytes: 64 << 20, cpu_millis: 1500, pids: 32, open_files: 1024, disk_bytes: 64 << 20 };

pub(crate) fn record() -> Record {
    Record {
        id: SandboxId::parse(&"ab".repeat(15)).unwrap(),
        slot: Slot(1),
        image: ImageId::host(),
        limits: SMALL,
        processors: vec![0, 1],
        filters: Digests { agent: "a".into(), command: "c".into() },
        mounts: vec![
            mounts::mount("/usr", "overlay", "made:root/usr", &["bind", "ro", "nosuid", "nodev"]).unwrap(),
        ],
        listed: Listed::Mounts,
        denied: vec![41],
        launch: 1,
        boot: String::new(),
        phase: Phase::Launching(Disk::New),
    }
}

pub(crate) fn spec() -> Spec {
    template(&Masks { files: vec!["keys"], directories: vec!["acpi"] }).compose(&record(), "box").unwrap()
}

/// As it is printed.
fn whole() -> Spec {
    template(&Masks::default()).with_filter(spec())
}

/// Sets have no order; the golden file has.
fn sorted(value: &mut Value) {
    match value {
        Value::Array(all)
            if all.iter().all(|one| one.as_str().is_some_and(|text| text.starts_with("CAP_"))) =>
        {
            all.sort_by_key(ToString::to_string);
        }
        Value::Array(all) => all.iter_mut().for_each(sorted),
        Value::Object(fields) => fields.values_mut().for_each(sorted),
        _ => {}
    }
}

/// Read it: this is what a sandbox gets. The filter is the table of `sys`, see `seccomp`.
#[test]
fn the_published_spec_is_what_is_composed() {
    let mut value = serde_json::to_value(whole()).unwrap();
    sorted(&mut value);
    value["linux"]["seccomp"]["syscalls"] = Value::from("as runtime/sys/src/seccomp/golden.txt says");
    expect_file!["golden.json"].assert_eq(&format!("{value:#}\n"));
}

#[test]
fn it_is_one_that_others_can_read() {
    let text = serde_json::to_string(&whole()).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), whole());
    assert!(text.len() < 40_000, "fits into one packet, with every quotation mark escaped: {}", text.len());
}
