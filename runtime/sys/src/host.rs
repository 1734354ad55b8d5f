//! What a host says of itself, and what somebody thinks of it: the form of all checks of a host, so that those who
//! know of walls and those who know of disks make one list.

use std::collections::BTreeMap;
use std::path::Path;

/// What can be read of a host. Checks are made of nothing else, so that a test can write a host down.
pub trait Facts {
    /// A file; `None` when it is not there or cannot be read.
    fn text(&self, path: &str) -> Option<String>;

    /// Whether something is there.
    fn exists(&self, path: &str) -> bool;

    /// Names of what is in a directory, in order.
    fn names(&self, directory: &str) -> Vec<String>;

    /// A file that holds one number.
    fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }
}

/// The host that this process is on.
#[derive(Debug, Clone, Copy)]
pub struct Here;

impl Facts for Here {
    fn text(&self, path: &str) -> Option<String> {
        std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn exists(&self, path: &str) -> bool {
        Path::new(path).exists()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// A host that is written down: files by path.
impl Facts for BTreeMap<String, String> {
    fn text(&self, path: &str) -> Option<String> {
        self.get(path).cloned()
    }

    fn exists(&self, path: &str) -> bool {
        self.contains_key(path)
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let below = |path: &String| path.strip_prefix(directory)?.strip_prefix('/').map(str::to_owned);
        self.keys().filter_map(below).filter(|name| !name.contains('/')).collect()
    }
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Fine,
    /// It works, and should be mended.
    Warning,
    /// A wall cannot be built: nothing starts on such a host.
    Missing,
}

/// One line of a report about a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it: a command or a setting; empty where there is nothing to do.
    pub remedy: String,
}

impl Finding {
    /// Something that is as it should be.
    #[must_use]
    pub fn fine(what: &str, found: impl Into<String>) -> Self {
        Self { what: what.to_owned(), state: State::Fine, found: found.into(), remedy: String::new() }
    }

    /// Something that should be mended.
    #[must_use]
    pub fn warning(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warning, remedy: remedy.into(), ..Self::fine(what, found) }
    }

    /// Something that has to be mended first.
    #[must_use]
    pub fn missing(what: &str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Missing, remedy: remedy.into(), ..Self::fine(what, found) }
    }
}

/// Major and minor number of the kernel; zeros where it does not say.
#[must_use]
pub fn kernel(facts: &dyn Facts) -> (u32, u32) {
    let release = facts.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether the kernel has a module, loaded or to be loaded, or something of that name built in.
#[must_use]
pub fn has_module(facts: &dyn Facts, name: &str) -> bool {
    let release = facts.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let listed = |list: &str| {
        let text = facts.text(&format!("/lib/modules/{}/{list}", release.trim())).unwrap_or_default();
        text.lines().any(|line| {
            let path = line.split(':').next().unwrap_or_default();
            let file = path.rsplit('/').next().unwrap_or_default();
            file.split(".ko").next().is_some_and(|module| module.replace('-', "_") == name)
        })
    };
    let loaded = facts.text("/proc/modules").unwrap_or_default();
    loaded.lines().any(|line| line.split(' ').next() == Some(name))
        || listed("modules.dep")
        || listed("modules.builtin")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_release_is_two_numbers_and_whatever_follows() {
        let of = |text| kernel(&host(&[("/proc/sys/kernel/osrelease", text)]));
        assert_eq!(of("6.18.44-fc-v782\n"), (6, 18));
        assert_eq!(of("6.1-rc1"), (6, 1));
        assert_eq!(of("rubbish"), (0, 0));
        assert_eq!(kernel(&host(&[])), (0, 0));
    }

    #[test]
    fn a_module_is_found_wherever_it_is_listed() {
        let files = [
            ("/proc/sys/kernel/osrelease", "6.1.0\n"),
            (
                "/lib/modules/6.1.0/modules.dep",
                "kernel/net/ipv4/esp4.ko.xz: kernel/x.ko\nkernel/crypto/algif-hash.ko:\n",
            ),
            ("/lib/modules/6.1.0/modules.builtin", "kernel/fs/btrfs/btrfs.ko\n"),
            ("/proc/modules", "rxrpc 1 0 - Live 0x0\n"),
        ];
        let facts = host(&files);
        for name in ["esp4", "btrfs", "rxrpc", "algif_hash"] {
            assert!(has_module(&facts, name), "{name}");
        }
        assert!(!has_module(&facts, "esp6") && !has_module(&facts, "x"));
        assert_eq!(facts.names("/lib/modules/6.1.0"), ["modules.builtin", "modules.dep"]);
    }
}
