//! The OCI runtime spec of a sandbox: the one description from which a launch is made (`launch/order.rs`, `cgroup/knobs.rs`),
//! with which `inspect` compares what is in force, and which `bulkhead spec` prints.
//!
//! It is composed here, from the typed request and from what this release, this host and its operator say; nobody can hand
//! one in. What is the same for all sandboxes is made once ([`Template`]). Where the runtime-spec leaves room:
//!
//! | part | what it means here |
//! | --- | --- |
//! | `process` | the agent, which a sandbox is launched with; a command gets `bounding` at most, and a stricter filter |
//! | `root.path` | a word: the root is a mount that no path leads to |
//! | `mounts[].source` | `made:NAME` is a mount that the runtime made, `inside:/PATH` a file of a mount before it; any other path is a directory of the host's, which the operator shows |
//! | `mounts[].type` | also of what is bound: what its file system is |
//! | `namespaces` | `network` and `time` are owned by the initial user namespace; commands get one more `pid` |
//! | `seccomp` | of several entries with one name the first whose arguments all hold decides |
//! | `sysctl` | one that this kernel lacks is passed over |
//! | `resources` | on hosts with v1 hierarchies `unified` counts for `cgroup.*` alone |

mod capabilities;
pub(crate) mod mounts;
mod process;
mod resources;
pub(crate) mod seccomp;
#[cfg(test)]
pub(crate) mod tests;

use crate::error::{Error, Result};
use crate::masks::Masks;
use crate::record::Record;
use crate::rlimits::{self, Ceilings};
use crate::sysctls;
pub(crate) use capabilities::bits;
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType,
    LinuxSeccomp, Process, RootBuilder, Spec, SpecBuilder,
};
pub(crate) use resources::of as resources;
use std::collections::HashMap;

/// Of the runtime-spec that this follows.
const VERSION: &str = "1.2.0";
/// What stands for the path of a root.
const ROOT: &str = "made:root";
/// Namespaces of a sandbox, `time` where the kernel has it.
const NAMESPACES: [LinuxNamespaceType; 7] = [
    LinuxNamespaceType::User,
    LinuxNamespaceType::Pid,
    LinuxNamespaceType::Mount,
    LinuxNamespaceType::Network,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Uts,
    LinuxNamespaceType::Cgroup,
];

/// What all specs of this runtime share.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    spec: Spec,
    /// By far the largest part, and the same for all: launches take it compiled.
    seccomp: LinuxSeccomp,
    instance: String,
    ceilings: Ceilings,
    huge_pages: Vec<String>,
}

/// What this host has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host<'a> {
    /// Name of the instance, which its groups lie below.
    pub(crate) instance: &'a str,
    pub(crate) ceilings: Ceilings,
    /// Sizes of huge pages that can be bounded.
    pub(crate) huge_pages: &'a [String],
    pub(crate) masks: &'a Masks,
    pub(crate) time_namespaces: TimeNamespaces,
}

/// Whether the kernel has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeNamespaces {
    There,
    Missing,
}

impl Template {
    pub(crate) fn new(host: Host<'_>) -> Result<Self> {
        let mut kinds = NAMESPACES.to_vec();
        if host.time_namespaces == TimeNamespaces::There {
            kinds.push(LinuxNamespaceType::Time);
        }
        let namespaces: Vec<_> = kinds
            .into_iter()
            .map(|kind| built(LinuxNamespaceBuilder::default().typ(kind).build()))
            .collect::<Result<_>>()?;
        let linux = LinuxBuilder::default()
            .namespaces(namespaces)
            .rootfs_propagation("private")
            .masked_paths(host.masks.paths())
            .readonly_paths(vec!["/proc/sys".to_owned()]);
        let spec = SpecBuilder::default()
            .version(VERSION)
            .root(built(RootBuilder::default().path(ROOT).readonly(false).build())?)
            .process(process::constant()?)
            .linux(built(linux.build())?);
        Ok(Self {
            spec: built(spec.build())?,
            seccomp: seccomp::of_agent()?,
            instance: host.instance.to_owned(),
            ceilings: host.ceilings,
            huge_pages: host.huge_pages.to_vec(),
        })
    }

    /// The filter of agents, compiled.
    pub(crate) fn filter(&self) -> Result<Vec<libc::sock_filter>> {
        seccomp::compile(&self.seccomp)
    }

    /// The spec with that filter, for who reads it.
    pub(crate) fn with_filter(&self, mut spec: Spec) -> Spec {
        if let Some(linux) = spec.linux_mut() {
            linux.set_seccomp(Some(self.seccomp.clone()));
        }
        spec
    }

    /// The spec of a sandbox but for the filter. Its record has everything but the name, which can change while it runs.
    pub(crate) fn compose(&self, record: &Record, hostname: &str) -> Result<Spec> {
        let mut spec = self.spec.clone();
        spec.set_hostname(Some(hostname.to_owned()));
        spec.set_annotations(Some(annotations(record)));
        spec.set_mounts(Some(mounts::of(record)?));
        if let Some(process) = spec.process_mut() {
            process.set_env(Some(process::environment(record, self.ceilings)));
            process.set_rlimits(Some(rlimits::of(&record.limits, self.ceilings)?));
        }
        if let Some(linux) = spec.linux_mut() {
            let mappings = vec![mapping(record)?];
            linux.set_uid_mappings(Some(mappings.clone()));
            linux.set_gid_mappings(Some(mappings));
            linux.set_cgroups_path(Some(format!("/{}/{}", self.instance, record.id).into()));
            linux.set_resources(Some(resources(&record.limits, &self.huge_pages)?));
            linux.set_sysctl(Some(sysctls::of(&record.limits)));
        }
        Ok(spec)
    }
}

/// For who reads it; no launch looks at these.
fn annotations(record: &Record) -> HashMap<String, String> {
    let rows = [
        ("bulkhead.image", record.image.to_string()),
        ("bulkhead.launch", record.launch.to_string()),
        ("bulkhead.disk.bytes", record.limits.disk_bytes.to_string()),
        ("bulkhead.seccomp.agent.sha256", record.filters.agent.clone()),
        ("bulkhead.seccomp.commands.sha256", record.filters.command.clone()),
    ];
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn mapping(record: &Record) -> Result<LinuxIdMapping> {
    let range = record.slot.range();
    let mapping = LinuxIdMappingBuilder::default().container_id(0_u32).host_id(range.base).size(range.count);
    built(mapping.build())
}

fn built<T>(made: oci_spec::Result<T>) -> Result<T> {
    made.map_err(|_| Error::Spec("cannot be composed"))
}

/// A part that must be there: what a spec does not say is not left out of a launch, it stops it.
pub(crate) fn part<'a, T>(value: &'a Option<T>, name: &'static str) -> Result<&'a T> {
    value.as_ref().ok_or(Error::Spec(name))
}

pub(crate) fn process(spec: &Spec) -> Result<&Process> {
    part(spec.process(), "process")
}

pub(crate) fn linux(spec: &Spec) -> Result<&Linux> {
    part(spec.linux(), "linux")
}

/// The kinds of namespaces that it asks for.
pub(crate) fn namespaces(spec: &Spec) -> Result<Vec<LinuxNamespaceType>> {
    let all = part(linux(spec)?.namespaces(), "linux.namespaces")?;
    all.iter()
        .map(
            |one| {
                if one.path().is_none() { Ok(one.typ()) } else { Err(Error::Spec("a namespace with a path")) }
            },
        )
        .collect()
}

/// The one range of ids that it maps, alike for users and groups.
pub(crate) fn id_mapping(spec: &Spec) -> Result<LinuxIdMapping> {
    let users = part(linux(spec)?.uid_mappings(), "linux.uidMappings")?;
    let groups = part(linux(spec)?.gid_mappings(), "linux.gidMappings")?;
    match users[..] {
        [one] if users == groups => Ok(one),
        _ => Err(Error::Spec("not one range of ids")),
    }
}
