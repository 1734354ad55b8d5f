//! The wire's [`ExecutionSpec`], checked, as the C strings that a child needs.

use super::terminal;
use super::user::Account;
use bulkhead_protocol::agent::{ExecutionSpec, IdempotencyKey, MAX_SCRIPT, Program, Stdio};
use bulkhead_sys::call::exec::Strings;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

/// What every command finds in its environment. Constant: nothing of the agent's own goes down. No `LANG`: bash
/// opens a dozen files for it, a tenth of what its start costs; Python and Node speak UTF-8 without.
/// `HOME`, `LOGNAME` and `USER` are its user's.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("SHELL", "/bin/bash")];
/// And on a terminal: what every image knows and every client speaks.
const TERMINAL: [(&str, &str); 2] = [("LANG", "C.UTF-8"), ("TERM", "xterm-256color")];
/// Shells in the order they are tried, each with its `argv[0]`. The second is for images without merged `/usr`
/// links, the third for images without bash.
const SHELLS: [(&str, &str); 3] = [("/bin/bash", "bash"), ("/usr/bin/bash", "bash"), ("/bin/sh", "sh")];
/// No timeout is longer; far beyond any sandbox's life, and far from where clocks overflow.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Longest idempotency key, and longest digest, in bytes.
const MAX_KEY: usize = 255;

/// A request that breaks a rule of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("script is longer than {MAX_SCRIPT} bytes or holds a NUL")]
    Script,
    #[error("a variable's name is empty or holds = or NUL, or its value holds NUL")]
    Variable,
    #[error("working directory is empty or holds a NUL")]
    Directory,
    #[error("terminal has no such size")]
    Size,
    #[error("idempotency key or digest is empty or longer than {MAX_KEY} bytes")]
    Key,
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
    /// Whose rights it has.
    pub(crate) account: Account,
    /// Its standard streams.
    pub(crate) stdio: Stdio,
}

impl Command {
    /// Checks what this user is asked to run.
    pub(crate) fn new(spec: &ExecutionSpec, account: Account) -> Result<Self, Invalid> {
        if matches!(spec.stdio, Stdio::Terminal(size) if !terminal::is_valid(size)) {
            return Err(Invalid::Size);
        }
        if spec.key.as_ref().is_some_and(|key| !is_valid(key)) {
            return Err(Invalid::Key);
        }
        let arguments = arguments(&spec.program)?;
        Ok(Self {
            programs: SHELLS.map(|(path, name)| program(path, name, &arguments)).into(),
            environment: Strings::new(environment(&account, spec.stdio, &spec.env)?),
            directory: directory(&account.home, spec.cwd.as_deref())?,
            timeout: spec.timeout_ms.map(|ms| Duration::from_millis(ms).min(LONGEST_TIMEOUT)),
            account,
            stdio: spec.stdio,
        })
    }
}

fn is_valid(key: &IdempotencyKey) -> bool {
    [&key.key, &key.digest].iter().all(|text| (1..=MAX_KEY).contains(&text.len()))
}

/// What follows the shell's name.
fn arguments(program: &Program) -> Result<Vec<CString>, Invalid> {
    match program {
        Program::Shell => Ok(Vec::new()),
        Program::Script(script) if script.len() > MAX_SCRIPT => Err(Invalid::Script),
        Program::Script(script) => {
            let script = CString::new(script.as_str()).map_err(|_| Invalid::Script)?;
            Ok(vec![constant("-c"), script])
        }
    }
}

fn program(path: &str, name: &str, arguments: &[CString]) -> (CString, Strings) {
    let mut all = vec![constant(name)];
    all.extend_from_slice(arguments);
    (constant(path), Strings::new(all))
}

fn constant(text: &str) -> CString {
    CString::new(text).expect("constants of this module hold no NUL")
}

/// `NAME=value`, each name once, the last one given.
fn environment(account: &Account, stdio: Stdio, asked: &[(String, String)]) -> Result<Vec<CString>, Invalid> {
    let mut variables = BTreeMap::from(ENVIRONMENT);
    variables.extend([("HOME", &*account.home), ("LOGNAME", &account.name), ("USER", &account.name)]);
    if matches!(stdio, Stdio::Terminal(_)) {
        variables.extend(TERMINAL);
    }
    for (name, value) in asked {
        if name.is_empty() || name.contains('=') {
            return Err(Invalid::Variable);
        }
        variables.insert(name, value);
    }
    let joined = variables.into_iter().map(|(name, value)| CString::new(format!("{name}={value}")));
    joined.collect::<Result<_, _>>().map_err(|_| Invalid::Variable)
}

/// A relative one is relative to the user's home.
fn directory(home: &str, asked: Option<&str>) -> Result<Directory, Invalid> {
    let Some(asked) = asked else {
        return CString::new(home).map(Directory::Home).map_err(|_| Invalid::Directory);
    };
    if asked.is_empty() {
        return Err(Invalid::Directory);
    }
    let path = if asked.starts_with('/') { asked.to_owned() } else { format!("{home}/{asked}") };
    CString::new(path).map(Directory::Given).map_err(|_| Invalid::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_protocol::agent::{Size, Stdin};

    fn spec(script: &str) -> ExecutionSpec {
        ExecutionSpec::attached(script.to_owned())
    }

    fn checked(spec: &ExecutionSpec) -> Result<Command, Invalid> {
        Command::new(spec, Account::root())
    }

    #[test]
    fn a_size_or_key_out_of_bounds_is_refused() {
        for (cols, rows) in [(0, 24), (80, 0), (501, 24), (80, 201)] {
            let spec = ExecutionSpec { stdio: Stdio::Terminal(Size { cols, rows }), ..spec("true") };
            assert_eq!(checked(&spec).err(), Some(Invalid::Size), "{cols} x {rows}");
        }
        for key in ["".to_owned(), "x".repeat(256)] {
            let key = Some(IdempotencyKey { key, digest: "d".to_owned() });
            assert_eq!(checked(&ExecutionSpec { key, ..spec("true") }).err(), Some(Invalid::Key));
        }
    }

    fn variables(asked: &[(&str, &str)]) -> Result<Vec<String>, Invalid> {
        let asked: Vec<_> = asked.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let strings = environment(&Account::root(), Stdio::Pipes(Stdin::Null), &asked)?;
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
        assert_eq!(checked(&spec("a\0b")).err(), Some(Invalid::Script));
        assert_eq!(checked(&spec(&"x".repeat(MAX_SCRIPT + 1))).err(), Some(Invalid::Script));
        assert!(checked(&spec(&"x".repeat(MAX_SCRIPT))).is_ok());
        assert_eq!(directory("/root", Some("")), Err(Invalid::Directory));
        assert_eq!(directory("/root", Some("/a\0b")), Err(Invalid::Directory));
    }

    #[test]
    fn a_relative_directory_is_relative_to_home() {
        assert_eq!(directory("/root", Some("work")), Ok(Directory::Given(c"/root/work".into())));
        assert_eq!(directory("/root", Some("/work")), Ok(Directory::Given(c"/work".into())));
        assert_eq!(directory("/root", None), Ok(Directory::Home(c"/root".into())));
    }

    #[test]
    fn a_timeout_beyond_all_clocks_is_only_long() {
        let forever = ExecutionSpec { timeout_ms: Some(u64::MAX), ..spec("true") };
        assert_eq!(checked(&forever).unwrap().timeout, Some(LONGEST_TIMEOUT));
    }
}
