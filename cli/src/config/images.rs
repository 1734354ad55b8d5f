//! `[images.NAME]`: what the operator says of sandboxes of one image. Each setting is checked by itself.

use super::Faults;
use bulkhead_protocol::image::{ImageName, MAX_IMAGE_ENV, MostLimits, env_bytes};
use bulkhead_protocol::limits::{
    MAX_CPU_MILLIS, MAX_DISK_BYTES, MAX_MEMORY_BYTES, MAX_PIDS, MIB, MIN_CPU_MILLIS, MIN_DISK_BYTES,
    MIN_MEMORY_BYTES, MIN_PIDS,
};
use bulkhead_runtime::ImagePolicy;
use bulkhead_sys::seccomp::number_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Directories of one image: each is two mounts in every launch.
const MAX_MOUNTS: usize = 16;
/// Variables of one image.
const MAX_ENV: usize = 64;
/// Bytes of one variable.
const MAX_VALUE: usize = 4096;
/// Nothing at, below or above these is shown: kernel interfaces, sockets, secrets.
const SENSITIVE: [&str; 9] =
    ["/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/var/run", "/var/lib/docker"];
/// Where a sandbox has mounts of its own.
const TAKEN: [&str; 5] = ["/dev", "/proc", "/sys", "/tmp", "/etc"];
/// What is a link in almost every image, and none is followed to a place.
const LINKS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
/// The image that has the host's own `/usr`, read-only, as long as no other was made of this name.
const HOSTS: &str = "code:latest";

/// The settings of one image, as the file has them.
#[derive(Debug, Default, Clone, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ImageSettings {
    /// Where in the sandbox, and which directory of the host.
    pub(crate) mounts: BTreeMap<String, PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    /// Names of system calls.
    pub(crate) deny: Vec<String>,
    pub(crate) limits: ImageLimits,
}

/// The most that a sandbox gets.
#[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ImageLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_mib: Option<u64>,
}

/// Directories of this server, which no sandbox may see.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnDirectories<'a> {
    pub(super) state: &'a Path,
    pub(super) run: &'a Path,
}

/// All images; what is wrong is noted and left out.
pub(super) fn policies(
    images: &BTreeMap<String, ImageSettings>,
    own: OwnDirectories<'_>,
    faults: &mut Faults,
) -> BTreeMap<ImageName, ImagePolicy> {
    let mut all = BTreeMap::new();
    for (name, settings) in images {
        let place = format!("images.{name}");
        match ImageName::parse(name) {
            Ok(image) => {
                let policy = policy(&image, settings, own, &place, faults);
                all.insert(image, policy);
            }
            Err(error) => faults.0.push(format!("{place}: {error}")),
        }
    }
    all
}

fn policy(
    image: &ImageName,
    settings: &ImageSettings,
    own: OwnDirectories<'_>,
    place: &str,
    faults: &mut Faults,
) -> ImagePolicy {
    let mut wrong = |key: &str, reason: String| faults.0.push(format!("{place}.{key}: {reason}"));
    if settings.mounts.len() > MAX_MOUNTS {
        wrong("mounts", format!("at most {MAX_MOUNTS}"));
    }
    if settings.env.len() > MAX_ENV {
        wrong("env", format!("at most {MAX_ENV}"));
    }
    if env_bytes(settings.env.iter()) > MAX_IMAGE_ENV {
        wrong("env", format!("at most {MAX_IMAGE_ENV} bytes together"));
    }
    for (at, source) in &settings.mounts {
        let place = target(at, image).and_then(|()| apart(at, source, &settings.mounts));
        if let Err(reason) = place.and_then(|()| directory(source, own)) {
            wrong("mounts", format!("{at} = {}: {reason}", source.display()));
        }
    }
    for (name, value) in &settings.env {
        if let Err(reason) = variable(name, value) {
            wrong("env", format!("{name}: {reason}"));
        }
    }
    let mut denied = Vec::new();
    for name in &settings.deny {
        match number_of(name) {
            Some(number) => denied.push(number),
            None => wrong("deny", format!("{name} is no system call of the table")),
        }
    }
    denied.sort_unstable();
    denied.dedup();
    let most = settings.limits.most(&mut |key, reason| wrong(&format!("limits.{key}"), reason));
    let mounts = settings.mounts.iter().map(|(at, source)| (at.clone(), source.clone())).collect();
    ImagePolicy { mounts, env: settings.env.clone(), denied, most }
}

/// Where a directory is shown: a plain absolute path where nothing else is mounted, and which can be made.
fn target(at: &str, image: &ImageName) -> Result<(), String> {
    let plain = at.len() > 1 && at.split('/').skip(1).all(|step| !matches!(step, "" | "." | ".."));
    if !at.starts_with('/') || !plain || at.contains('\0') {
        return Err("the place in a sandbox must be an absolute path without . and ..".to_owned());
    }
    let above = |all: &[&'static str]| all.iter().copied().find(|one| Path::new(at).starts_with(one));
    if let Some(taken) = above(&TAKEN) {
        return Err(format!("{taken} of a sandbox is its own"));
    }
    if let Some(link) = above(&LINKS) {
        return Err(format!("{link} is a link in most images, and none is followed"));
    }
    if image.as_str() == HOSTS && above(&["/usr"]).is_some() {
        return Err(format!("/usr of the image {HOSTS} is the host's own, read-only"));
    }
    Ok(())
}

/// No place lies below another one, where nothing can be made, and no directory has two: a mount stands at one place.
fn apart(at: &str, source: &Path, all: &BTreeMap<String, PathBuf>) -> Result<(), String> {
    let others = || all.iter().filter(|(other, _)| *other != at);
    if let Some((above, _)) = others().find(|(other, _)| Path::new(at).starts_with(other)) {
        return Err(format!("lies below {above}, where another directory is shown"));
    }
    match others().find(|(other, shown)| *shown == source && other.as_str() < at) {
        Some((other, _)) => Err(format!("is shown at {other} already")),
        None => Ok(()),
    }
}

/// A directory that tenants may read.
fn directory(source: &Path, own: OwnDirectories<'_>) -> Result<(), String> {
    if !source.is_absolute() || source.components().any(|step| step == Component::ParentDir) {
        return Err("the directory must be an absolute path without ..".to_owned());
    }
    if source.to_str().is_none() {
        return Err("the name of the directory must be UTF-8".to_owned());
    }
    let real = source.canonicalize().map_err(|error| error.to_string())?;
    if real != source {
        return Err(format!("leads through a link to {}", real.display()));
    }
    if !real.is_dir() {
        return Err("is no directory".to_owned());
    }
    let sensitive = SENSITIVE.iter().map(Path::new).chain([own.state, own.run]);
    match sensitive.into_iter().find(|path| real.starts_with(path) || path.starts_with(&real)) {
        Some(path) => Err(format!("would show {}, which no sandbox may see", path.display())),
        None => Ok(()),
    }
}

fn variable(name: &str, value: &str) -> Result<(), String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !letters || name.as_bytes()[0].is_ascii_digit() {
        return Err("must be a name of letters, digits and _".to_owned());
    }
    if value.contains('\0') || name.len() + value.len() > MAX_VALUE {
        return Err(format!("must be text without NUL, {MAX_VALUE} bytes at most"));
    }
    Ok(())
}

impl ImageLimits {
    fn most(&self, wrong: &mut dyn FnMut(&str, String)) -> MostLimits {
        let mut within = |key: &str, value: Option<u64>, least: u64, most: u64| {
            let value = value?;
            if (least..=most).contains(&value) {
                return Some(value);
            }
            wrong(key, format!("must be from {least} to {most}"));
            None
        };
        let memory = within("memory-mib", self.memory_mib, MIN_MEMORY_BYTES / MIB, MAX_MEMORY_BYTES / MIB);
        let pids = within("pids", self.pids.map(u64::from), u64::from(MIN_PIDS), u64::from(MAX_PIDS));
        let disk = within("disk-mib", self.disk_mib, MIN_DISK_BYTES / MIB, MAX_DISK_BYTES / MIB);
        MostLimits {
            memory_bytes: memory.map(|mib| mib * MIB),
            cpu_millis: self.cpu_millis(wrong),
            pids: pids.and_then(|pids| u32::try_from(pids).ok()),
            disk_bytes: disk.map(|mib| mib * MIB),
        }
    }

    fn cpu_millis(&self, wrong: &mut dyn FnMut(&str, String)) -> Option<u32> {
        let (least, most) = (f64::from(MIN_CPU_MILLIS) / 1000.0, f64::from(MAX_CPU_MILLIS) / 1000.0);
        let cpus = self.cpus?;
        if !(least..=most).contains(&cpus) {
            wrong("cpus", format!("must be from {least} to {most}"));
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked: 50 to 1,024,000"
        )]
        let millis = (cpus * 1000.0).round() as u32;
        Some(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (ImagePolicy, Vec<String>) {
        let images = BTreeMap::from([("code".to_owned(), toml::from_str(text).unwrap())]);
        let own = OwnDirectories { state: Path::new("/srv/own/state"), run: Path::new("/srv/own/run") };
        let mut faults = Faults::default();
        let policies = policies(&images, own, &mut faults);
        (policies[&ImageName::parse("code").unwrap()].clone(), faults.0)
    }

    #[test]
    fn good_settings_become_a_policy() {
        let (policy, faults) = check(
            "mounts = { '/models' = '/usr' }\nenv = { A = 'b' }\ndeny = ['socket', 'mkdir', 'socket']\n\
             limits = { memory-mib = 256, cpus = 0.5, pids = 40, disk-mib = 64 }",
        );
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(policy.mounts, [("/models".to_owned(), PathBuf::from("/usr"))]);
        assert_eq!(policy.denied, [41, 83]);
        let most = MostLimits {
            memory_bytes: Some(256 * MIB),
            cpu_millis: Some(500),
            pids: Some(40),
            disk_bytes: Some(64 * MIB),
        };
        assert_eq!(policy.most, most);
    }

    #[test]
    fn a_place_that_no_launch_could_use_is_none() {
        let (_, faults) = check(
            "mounts = { '/a' = '/usr/bin', '/a/b' = '/usr/lib', '/ab' = '/usr/bin', '/bin/x' = '/usr/sbin', \
             '/usr/share/x' = '/usr/share', '/library' = '/srv/none' }",
        );
        let wanted = [
            "images.code.mounts: /a/b = /usr/lib: lies below /a, where another directory is shown",
            "images.code.mounts: /ab = /usr/bin: is shown at /a already",
            "images.code.mounts: /bin/x = /usr/sbin: /bin is a link in most images, and none is followed",
            "images.code.mounts: /library = /srv/none: No such file or directory (os error 2)",
            "images.code.mounts: /usr/share/x = /usr/share: /usr of the image code:latest is the host's own, read-only",
        ];
        assert_eq!(faults, wanted);
        let own = ImageName::parse("own").unwrap();
        assert_eq!(target("/usr/local/x", &own), Ok(()));
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let (_, faults) = check(
            "mounts = { 'models' = '/usr', '/a/../b' = '/usr', '/proc/x' = '/usr', '/a' = 'usr', '/b' = '/nowhere', \
             '/c' = '/etc', '/d' = '/', '/e' = '/srv', '/f' = '/bin' }\n\
             env = { '1A' = 'b', 'A-B' = 'c' }\ndeny = ['no_such_call']\n\
             limits = { memory-mib = 1, cpus = 0.01, pids = 1, disk-mib = 1 }",
        );
        let has = |text: &str| faults.iter().any(|fault| fault.contains(text));
        for text in [
            "images.code.mounts: models = /usr: the place",
            "/a/../b = /usr: the place",
            "/proc of a sandbox is its own",
            "/a = usr: the directory must be an absolute path",
            "/b = /nowhere: No such file",
            "/c = /etc: would show /etc",
            "/d = /: would show /boot",
            "/e = /srv: would show /srv/own/state",
            "images.code.env: 1A",
            "images.code.env: A-B",
            "images.code.deny: no_such_call is no system call",
            "images.code.limits.memory-mib: must be from 16",
            "images.code.limits.cpus: must be from 0.05",
            "images.code.limits.pids: must be from 8",
            "images.code.limits.disk-mib: must be from 8",
        ] {
            assert!(has(text), "{text}: {faults:#?}");
        }
    }
}
