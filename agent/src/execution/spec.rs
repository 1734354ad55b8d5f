//! The wire's [`ExecutionSpec`], checked, as the C strings that a child needs.

use bulkhead_protocol::agent::{ExecutionSpec, MAX_SCRIPT, Program};
use bulkhead_sys::call::exec::Strings;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

/// What every command finds in its environment. Constant: nothing of the agent's own goes down. No `LANG`: bash
/// opens a dozen files for it, a tenth of what its start costs; Python and Node speak UTF-8 without.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("HOME", HOME),
    ("LOGNAME", "root"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("SHELL", "/bin/bash"),
    ("USER", "root"),
];
/// Where commands start, and what a relative directory is relative to.
const HOME: &str = "/root";
/// Shells in the order they are tried, each with its `argv[0]`. The second is for images without merged `/usr`
/// links, the third for images without bash.
const SHELLS: [(&str, &str); 3] = [("/bin/bash", "bash"), ("/usr/bin/bash", "bash"), ("/bin/sh", "sh")];
/// No timeout is longer; far beyond any sandbox's life, and far from where clocks overflow.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A request that breaks a rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("script is longer than {MAX_SCRIPT} bytes or holds a NUL")]
    Script,
    #[error("a variable's name is empty or holds = or NUL, or its value holds NUL")]
    Variable,
    #[error("working directory is empty or holds a NUL")]
    Directory,
}

/// Where a command starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Directory {
    /// It must be there.
    Given(CString),
    /// Nobody asked for it: an image without it is fine.
    Home(CString),
}

/// What to run.
#[derive(Debug)]
pub(crate) struct Command {
    /// Shells to try, each with its arguments.
    pub(crate) programs: Vec<(CString, Strings)>,
    /// Environment.
    pub(crate) environment: Strings,
    /// Working directory.
    pub(crate) directory: Directory,
    /// When everything is killed, from the start on.
    pub(crate) timeout: Option<Duration>,
}

impl TryFrom<ExecutionSpec> for Command {
    type Error = Invalid;

    fn try_from(spec: ExecutionSpec) -> Result<Self, Invalid> {
        let Program::Script(script) = spec.program else { return Err(Invalid::Script) };
        if script.len() > MAX_SCRIPT {
            return Err(Invalid::Script);
        }
        let script = CString::new(script).map_err(|_| Invalid::Script)?;
        Ok(Self {
            programs: SHELLS.map(|(path, name)| program(path, name, &script)).into(),
            environment: Strings::new(environment(&spec.env)?),
            directory: directory(spec.cwd.as_deref())?,
            timeout: spec.timeout_ms.map(|ms| Duration::from_millis(ms).min(LONGEST_TIMEOUT)),
        })
    }
}

fn program(path: &str, name: &str, script: &CString) -> (CString, Strings) {
    let arguments = vec![constant(name), constant("-c"), script.clone()];
    (constant(path), Strings::new(arguments))
}

fn constant(text: &str) -> CString {
    CString::new(text).expect("constants of this module hold no NUL")
}

/// `NAME=value`, each name once, the last one given.
fn environment(asked: &[(String, String)]) -> Result<Vec<CString>, Invalid> {
    let mut variables = BTreeMap::from(ENVIRONMENT);
    for (name, value) in asked {
        if name.is_empty() || name.contains('=') {
            return Err(Invalid::Variable);
        }
        variables.insert(name, value);
    }
    let joined = variables.into_iter().map(|(name, value)| CString::new(format!("{name}={value}")));
    joined.collect::<Result<_, _>>().map_err(|_| Invalid::Variable)
}

fn directory(asked: Option<&str>) -> Result<Directory, Invalid> {
    let Some(asked) = asked else { return Ok(Directory::Home(constant(HOME))) };
    if asked.is_empty() {
        return Err(Invalid::Directory);
    }
    let path = if asked.starts_with('/') { asked.to_owned() } else { format!("{HOME}/{asked}") };
    CString::new(path).map(Directory::Given).map_err(|_| Invalid::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(script: &str) -> ExecutionSpec {
        ExecutionSpec::attached(script.to_owned())
    }

    fn variables(asked: &[(&str, &str)]) -> Result<Vec<String>, Invalid> {
        let asked: Vec<_> = asked.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let strings = environment(&asked)?;
        Ok(strings.into_iter().map(|text| text.into_string().unwrap()).collect())
    }

    #[test]
    fn later_variables_win_over_earlier_and_constant_ones() {
        let got = variables(&[("HOME", "/tmp"), ("A", "1"), ("A", "2=3"), ("EMPTY", "")]).unwrap();
        assert_eq!(
            got,
            [
                "A=2=3",
                "EMPTY=",
                "HOME=/tmp",
                "LOGNAME=root",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "SHELL=/bin/bash",
                "USER=root",
            ]
        );
    }

    #[test]
    fn what_execve_could_not_carry_is_refused() {
        for bad in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0")] {
            assert_eq!(variables(&[bad]), Err(Invalid::Variable), "{bad:?}");
        }
        assert_eq!(Command::try_from(spec("a\0b")).err(), Some(Invalid::Script));
        assert_eq!(Command::try_from(spec(&"x".repeat(MAX_SCRIPT + 1))).err(), Some(Invalid::Script));
        assert!(Command::try_from(spec(&"x".repeat(MAX_SCRIPT))).is_ok());
        assert_eq!(directory(Some("")), Err(Invalid::Directory));
        assert_eq!(directory(Some("/a\0b")), Err(Invalid::Directory));
    }

    #[test]
    fn a_relative_directory_is_relative_to_home() {
        assert_eq!(directory(Some("work")), Ok(Directory::Given(c"/root/work".into())));
        assert_eq!(directory(Some("/work")), Ok(Directory::Given(c"/work".into())));
        assert_eq!(directory(None), Ok(Directory::Home(c"/root".into())));
    }

    #[test]
    fn a_timeout_beyond_all_clocks_is_only_long() {
        let forever = ExecutionSpec { timeout_ms: Some(u64::MAX), ..spec("true") };
        assert_eq!(Command::try_from(forever).unwrap().timeout, Some(LONGEST_TIMEOUT));
    }
}
