//! The files of /etc that hold the sandbox's own name, which may come after its launch.

use crate::capability;
use bulkhead_protocol::runtime::is_hostname;
use bulkhead_sys::caps;
use bulkhead_sys::error::Context;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::ftruncate;
use std::fs::File;
use std::io::Write;

/// Why a name was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// It is no host name.
    Invalid,
    /// A system call failed.
    Call,
}

/// Writes `/etc/hostname` and `/etc/hosts`.
///
/// # Errors
/// See [`Error`]; the first file may be written then.
pub(crate) fn write(hostname: &str) -> Result<(), Error> {
    if !is_hostname(hostname) {
        return Err(Error::Invalid);
    }
    for (path, text) in texts(hostname) {
        replace(path, &text).map_err(|_| Error::Call)?;
    }
    Ok(())
}

/// As the launch writes them.
fn texts(hostname: &str) -> [(&'static str, String); 2] {
    let hosts = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    [("/etc/hostname", format!("{hostname}\n")), ("/etc/hosts", hosts)]
}

/// They belong to the tenant's root, so the right to pass over permissions is in force for the open.
fn replace(path: &str, text: &str) -> Result<(), bulkhead_sys::Error> {
    let label = || path.to_owned();
    // Not blocking, no links, and cut only once it is known to be a file: a tenant may have put anything there.
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    let open = || openat2(AT_FDCWD, path, how).during("openat2", label);
    let file = capability::with(caps::DAC_OVERRIDE, open)?;
    let kind = SFlag::from_bits_truncate(fstat(&file).during("fstat", label)?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFREG {
        return Err(Errno::EINVAL).during("openat2", label);
    }
    ftruncate(&file, 0).during("ftruncate", label)?;
    File::from(file).write_all(text.as_bytes()).during("write", label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_host_names_are_written() {
        for text in ["", "a\nb", "a/b"] {
            assert_eq!(write(text), Err(Error::Invalid), "{text:?}");
        }
    }

    #[test]
    fn both_files_hold_the_name() {
        let [hostname, hosts] = texts("box");
        assert_eq!(hostname, ("/etc/hostname", "box\n".to_owned()));
        assert!(hosts.1.starts_with("127.0.0.1\tlocalhost box\n"), "{}", hosts.1);
    }
}
