//! The directories of an instance, its name and its lock.

use crate::error::{Doing, Error, Result};
use bulkhead_sys::error::Context;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// How long a start waits for the server that had the state directory before.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Where an instance keeps its things, and what they are called outside its directories.
#[derive(Debug)]
pub struct Instance {
    /// `bulkhead-<8 hex>` of the state directory's device and inode: name of cgroups and owner of id claims.
    pub name: String,
    /// State that outlives a reboot.
    pub state_dir: PathBuf,
    /// State of this boot.
    pub run_dir: PathBuf,
    /// Who the gateway runs as.
    pub gateway_uid: u32,
    /// `<run-dir>/gateway/agents`, root's, held open: its parent is the gateway's, who could put another one in
    /// its place, but not into this one.
    pub(crate) agents: OwnedFd,
    _lock: Flock<fs::File>,
}

impl Instance {
    /// Makes and checks the directories and takes the lock.
    ///
    /// # Errors
    /// A directory with another owner or writable by others, [`Error::InUse`], or a failed call.
    pub fn open(state_dir: &Path, run_dir: &Path, gateway_uid: u32) -> Result<Self> {
        for (path, mode, uid) in layout(state_dir, run_dir, gateway_uid) {
            ensure_directory(&path, mode, uid)?;
        }
        let gateway = open_directory(&run_dir.join("gateway"))?;
        let agents = ensure_below(&gateway, &run_dir.join("gateway/agents"), 0o711, 0)?;
        let lock = lock(state_dir, LOCK_PATIENCE)?;
        let instance = Self {
            name: name(state_dir)?,
            state_dir: state_dir.to_owned(),
            run_dir: run_dir.to_owned(),
            gateway_uid,
            agents,
            _lock: lock,
        };
        instance.write_files()?;
        Ok(instance)
    }

    /// Where the other commands and the gateway find things.
    fn write_files(&self) -> Result<()> {
        let run_dir = self.run_dir.to_string_lossy();
        write(&self.state_dir.join("run-dir"), run_dir.as_bytes())?;
        write(&self.run_dir.join("instance"), self.name.as_bytes())?;
        let key = self.state_dir.join("api-key");
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key);
        match made {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            made => made
                .and_then(|_| chown(&key, Some(self.gateway_uid), Some(self.gateway_uid)))
                .during("open", || key.display().to_string())
                .doing("make the file of the first key"),
        }
    }

    pub(crate) fn intents(&self) -> PathBuf {
        self.run_dir.join("intents")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run_dir.join("runtime.sock")
    }
}

/// Every directory with its mode and owner.
fn layout(state_dir: &Path, run_dir: &Path, gateway: u32) -> Vec<(PathBuf, u32, u32)> {
    vec![
        (state_dir.to_owned(), 0o711, 0),
        (state_dir.join("gateway"), 0o700, gateway),
        (state_dir.join("images"), 0o700, 0),
        (run_dir.to_owned(), 0o711, 0),
        (run_dir.join("gateway"), 0o700, gateway),
        (run_dir.join("intents"), 0o700, 0),
        (run_dir.join("mounts"), 0o700, 0),
    ]
}

/// What is wrong with the directories that exist; makes nothing.
pub(crate) fn examine(state_dir: &Path, run_dir: &Path, gateway_uid: u32) -> Vec<Error> {
    let look = |(path, _, uid): (PathBuf, u32, u32)| {
        // The parents of all others are among those that are looked at.
        let outermost = path == state_dir || path == run_dir;
        let has_parent = path.parent().is_some_and(Path::exists);
        let parent = if outermost && has_parent { check_parent(&path) } else { Ok(()) };
        let there = path.symlink_metadata().is_ok();
        parent.and_then(|()| if there { check_directory(&path, uid) } else { Ok(()) }).err()
    };
    // What lies in the gateway's own directory is its owner's to rename; that is why root holds it open.
    layout(state_dir, run_dir, gateway_uid).into_iter().filter_map(look).collect()
}

/// The lock and the name of an instance whose directories exist; makes nothing.
pub(crate) fn claim(state_dir: &Path) -> Result<(Lock, String)> {
    Ok((Lock(lock(state_dir, LOCK_PATIENCE)?), name(state_dir)?))
}

/// While this lives no server of the state directory can start.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<fs::File>);

fn name(state_dir: &Path) -> Result<String> {
    let meta = fs::metadata(state_dir)
        .during("stat", || state_dir.display().to_string())
        .doing("name the instance")?;
    // FNV-1a: the name has to be stable and short, not secret.
    let bytes = meta.dev().to_le_bytes().into_iter().chain(meta.ino().to_le_bytes());
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Ok(format!("bulkhead-{hash:08x}"))
}

fn ensure_directory(path: &Path, mode: u32, uid: u32) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .during("mkdir", || parent.display().to_string())
            .doing("make a directory")?;
    }
    check_parent(path)?;
    let parent = open_directory(path.parent().unwrap_or(Path::new("/")))?;
    ensure_below(&parent, path, mode, uid).map(drop)
}

/// Makes or checks the last directory of `path`, which lies in `parent`. All by descriptor: what was checked is
/// what is changed, whoever renames meanwhile.
fn ensure_below(parent: &OwnedFd, path: &Path, mode: u32, uid: u32) -> Result<OwnedFd> {
    let name = path.file_name().ok_or(Error::Directory { path: path.to_owned(), problem: "has no name" })?;
    let label = || path.display().to_string();
    match nix::sys::stat::mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).during("mkdirat", label).doing("make a directory"),
    }
    let directory = match nix::fcntl::openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            return Err(Error::Directory { path: path.to_owned(), problem: "is not a directory" });
        }
        opened => opened.during("openat", label).doing("open a directory")?,
    };
    check(&directory, path, uid)?;
    nix::sys::stat::fchmod(&directory, Mode::from_bits_truncate(mode))
        .and_then(|()| nix::unistd::fchown(&directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid))))
        .during("fchown", label)
        .doing("give a directory its owner")?;
    Ok(directory)
}

/// Opens a directory; links on the way are the operator's.
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .during("open", || path.display().to_string())
        .doing("open a directory")
}

/// Refuses a directory of another owner, one that others may write to, and a link.
pub(crate) fn check_directory(path: &Path, uid: u32) -> Result<()> {
    let directory = nix::fcntl::open(path, DIRECTORY, Mode::empty());
    let Ok(directory) = directory else {
        return Err(Error::Directory { path: path.to_owned(), problem: "is not a directory" });
    };
    check(&directory, path, uid)
}

fn check(directory: &OwnedFd, path: &Path, uid: u32) -> Result<()> {
    let label = || path.display().to_string();
    let meta = nix::sys::stat::fstat(directory).during("fstat", label).doing("check a directory")?;
    let problem = |problem| Error::Directory { path: path.to_owned(), problem };
    // One that we have made and not yet given away belongs to root.
    if meta.st_uid != uid && meta.st_uid != 0 {
        return Err(problem("belongs to somebody else"));
    }
    if meta.st_mode & 0o022 != 0 {
        return Err(problem("is writable by others"));
    }
    Ok(())
}

/// Refuses a parent in which others can rename what we make.
fn check_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    let meta =
        fs::metadata(parent).during("stat", || parent.display().to_string()).doing("check a directory")?;
    let problem = |problem| Err(Error::Directory { path: parent.to_owned(), problem });
    if meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 {
        return problem("is writable by others and not sticky");
    }
    if meta.uid() != 0 {
        return problem("belongs to somebody who could rename what is in it");
    }
    Ok(())
}

fn lock(state_dir: &Path, patience: Duration) -> Result<Flock<fs::File>> {
    let path = state_dir.join("lock");
    let until = Instant::now() + patience;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .during("open", || path.display().to_string())
        .doing("open the lock")?;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, _)) if Instant::now() < until => file,
            Err(_) => return Err(Error::InUse(state_dir.to_owned())),
        };
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes)
        .during("write", || path.display().to_string())
        .doing("write a file of the instance")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("state");
        fs::create_dir(&path).unwrap();
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&path, everybody).unwrap();
        let error = check_directory(&path, nix::unistd::getuid().as_raw()).unwrap_err();
        assert!(error.to_string().ends_with("is writable by others"), "{error}");
        std::os::unix::fs::symlink("/", home.path().join("link")).unwrap();
        assert!(check_directory(&home.path().join("link"), 0).is_err());
    }

    #[test]
    fn a_second_server_of_a_state_directory_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let _first = lock(home.path(), Duration::ZERO).unwrap();
        assert!(matches!(lock(home.path(), Duration::ZERO), Err(Error::InUse(_))));
    }
}
