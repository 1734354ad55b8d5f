//! The built-in image `code`: the host's own /usr, read-only, under a skeleton that we write.
//!
//! Meant for development: a sandbox sees every program of the host, and nothing else of it. The skeleton is made
//! in a staging directory and renamed, so that it is there whole or not at all, and never changed afterwards.

use crate::accounts;
use crate::error::{Doing, Result};
use bulkhead_sys::error::Context;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Counts changes of what this module writes, so that an old skeleton is not taken for a current one.
const FORMAT: u32 = 2;
/// Files of the host whose change makes a new skeleton.
const SOURCES: [&str; 4] =
    ["/etc/ld.so.cache", "/etc/alternatives", "/etc/ssl/certs/ca-certificates.crt", "/usr/bin"];
/// Directories and their modes; all of them are empty but /etc.
const DIRECTORIES: [(&str, u32); 19] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/ssl", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/cache", 0o755),
    ("var/tmp", 0o1777),
];
/// What merged-usr systems have at the top, and where 32-bit and other loaders look.
const USR_LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Files of the host's /etc that programs in its /usr need, and that hold nothing of the host's own.
const COPIED: [&str; 11] = [
    "alternatives",
    "ca-certificates.conf",
    "debian_version",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "mime.types",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];
/// Beginnings of names in /etc that interpreters in /usr link to.
const COPIED_PREFIXES: [&str; 2] = ["java-", "python3"];

const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
protocols: files\nservices: files\n";
const PROFILE: &str = "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
[ -n \"$BASH_VERSION\" ] && [ -f /etc/bash.bashrc ] && . /etc/bash.bashrc\n";
const BASHRC: &str =
    "[ -z \"$PS1\" ] && return\nPS1='\\u@\\h:\\w# '\n[ \"$(id -u)\" -ne 0 ] && PS1='\\u@\\h:\\w$ '\n";

/// The skeleton's directory below `images`, made if this host's is not there yet; everything in it belongs to
/// `owner`.
///
/// # Errors
/// The first file that could not be read or written.
pub(crate) fn ensure(images: &Path, owner: u32) -> Result<PathBuf> {
    let finished = images.join(format!("code-{}", fingerprint()));
    if finished.is_dir() {
        return Ok(finished);
    }
    let staging = images.join(".code-staging");
    remove(&staging).doing("remove an unfinished image")?;
    fill(&staging).doing("write the built-in image")?;
    own(&staging, owner).doing("give the built-in image its owner")?;
    fs::rename(&staging, &finished)
        .during("rename", || finished.display().to_string())
        .doing("finish the built-in image")?;
    Ok(finished)
}

/// Names the state of the host's files that the skeleton is made of.
fn fingerprint() -> String {
    use std::os::unix::fs::MetadataExt;
    let mut text = format!("{FORMAT}");
    for path in SOURCES {
        let times = fs::metadata(path).map_or((0, 0), |meta| (meta.mtime(), meta.size()));
        write!(text, "-{:x}.{:x}", times.0, times.1).expect("a String takes all text");
    }
    text
}

fn remove(path: &Path) -> bulkhead_sys::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.during("rmdir", || path.display().to_string()),
    }
}

fn fill(root: &Path) -> bulkhead_sys::Result<()> {
    make_directory(root, 0o755)?;
    for (name, mode) in DIRECTORIES {
        make_directory(&root.join(name), mode)?;
    }
    for name in USR_LINKS {
        if Path::new("/usr").join(name).exists() {
            link(&format!("usr/{name}"), &root.join(name))?;
        }
    }
    let etc = root.join("etc");
    let passwd = accounts::passwd("/bin/bash");
    for (name, text) in [
        ("passwd", passwd.as_str()),
        ("group", accounts::GROUP),
        ("nsswitch.conf", NSSWITCH),
        ("profile", PROFILE),
        ("bash.bashrc", BASHRC),
        // Each sandbox has its own over these two.
        ("hostname", ""),
        ("hosts", ""),
        ("resolv.conf", ""),
        ("environment", ""),
    ] {
        write_file(&etc.join(name), text.as_bytes(), 0o644)?;
    }
    write_file(&etc.join("shadow"), b"root:*:19000:0:99999:7:::\n", 0o600)?;
    link("../usr/lib/os-release", &etc.join("os-release"))?;
    link("/usr/share/zoneinfo/Etc/UTC", &etc.join("localtime"))?;
    link("../proc/self/mounts", &etc.join("mtab"))?;
    for name in copied_names()? {
        copy(&Path::new("/etc").join(&name), &etc.join(&name))?;
    }
    Ok(())
}

fn copied_names() -> bulkhead_sys::Result<Vec<String>> {
    let mut names: Vec<String> = COPIED.map(str::to_owned).to_vec();
    for entry in fs::read_dir("/etc").during("getdents", || "/etc".into())? {
        let entry = entry.during("getdents", || "/etc".into())?;
        if let Ok(name) = entry.file_name().into_string()
            && COPIED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Copies a file, a link or a tree of them; what is missing or not for everybody to read is left out.
fn copy(from: &Path, to: &Path) -> bulkhead_sys::Result<()> {
    let Ok(meta) = fs::symlink_metadata(from) else { return Ok(()) };
    if meta.is_symlink() {
        let target = fs::read_link(from).during("readlink", || from.display().to_string())?;
        return symlink(target, to).during("symlink", || to.display().to_string());
    }
    if meta.permissions().mode() & 0o004 == 0 {
        return Ok(());
    }
    if !meta.is_dir() {
        let bytes = fs::read(from).during("read", || from.display().to_string())?;
        return write_file(to, &bytes, meta.permissions().mode() & 0o755);
    }
    make_directory(to, 0o755)?;
    for entry in fs::read_dir(from).during("getdents", || from.display().to_string())? {
        let name = entry.during("getdents", || from.display().to_string())?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

fn make_directory(path: &Path, mode: u32) -> bulkhead_sys::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path).during("mkdir", || path.display().to_string())?;
    // The mode of a new directory is cut by the umask, which is not ours to change.
    set_mode(path, mode)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> bulkhead_sys::Result<()> {
    fs::write(path, bytes).during("write", || path.display().to_string())?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> bulkhead_sys::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).during("chmod", || path.display().to_string())
}

fn link(target: &str, path: &Path) -> bulkhead_sys::Result<()> {
    symlink(target, path).during("symlink", || path.display().to_string())
}

/// Gives everything at and below `path` to `owner`, links themselves and not their targets.
fn own(path: &Path, owner: u32) -> bulkhead_sys::Result<()> {
    lchown(path, Some(owner), Some(owner)).during("lchown", || path.display().to_string())?;
    // A symbolic link is no directory here: `file_type` does not follow.
    if !fs::symlink_metadata(path).during("lstat", || path.display().to_string())?.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(path).during("getdents", || path.display().to_string())? {
        own(&entry.during("getdents", || path.display().to_string())?.path(), owner)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_skeleton_is_made_once_and_holds_no_file_of_roots_home() {
        let images = tempfile::tempdir().unwrap();
        let owner = nix::unistd::getuid().as_raw();
        let first = ensure(images.path(), owner).unwrap();
        assert_eq!(ensure(images.path(), owner).unwrap(), first);
        assert_eq!(fs::read_dir(images.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(first.join("root")).unwrap().count(), 0);
        assert_eq!(fs::metadata(first.join("root")).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(first.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert!(fs::read_to_string(first.join("etc/passwd")).unwrap().starts_with("root:x:0:0:"));
    }
}
