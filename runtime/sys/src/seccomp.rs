//! Filters over system calls: one table with a reason per row, compiled to classic BPF.
//!
//! Three profiles come out of it, one of them for the gateway. The agent's is installed at launch and stays on everything below it; the
//! command's comes on top of it, so the agent's must allow whatever the command's does, and a little more.
//! A number without a row does not exist (`ENOSYS`), so that next year's system calls are refused from birth and
//! programs fall back; what is known and refused answers `EPERM`; another architecture (`int 0x80`) is killed.

mod compile;
mod table;
#[cfg(test)]
mod tests;

pub use compile::{compile, compile_beyond};
pub use table::{ROWS, Row};

use nix::errno::Errno;

/// Whose filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Of the agent and the inner init.
    Agent,
    /// Of everything that a tenant runs.
    Command,
    /// Of the unprivileged half of a server.
    Gateway,
}

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel does it.
    Allow,
    /// It fails with this error, nothing is done.
    Fail(Errno),
}

/// One comparison with the low 32 bits of an argument. The kernel takes these arguments as `int` or
/// `unsigned int`, so the upper half must not decide (CVE-2019-7303: `TIOCSTI | 1 << 32`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Which argument, from 0.
    pub argument: u8,
    /// Bits that count.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
}

/// A row's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Whatever the arguments.
    Always(Verdict),
    /// The first case whose tests all hold, else the last verdict.
    ByArguments(&'static [(&'static [Test], Verdict)], Verdict),
}

impl Rule {
    /// The decision about a call with these arguments: what the compiled filter must say too.
    #[must_use]
    pub fn decide(self, arguments: [u64; 6]) -> Verdict {
        match self {
            Rule::Always(verdict) => verdict,
            Rule::ByArguments(cases, otherwise) => {
                let low = |n: u8| u32::try_from(arguments[usize::from(n)] & 0xffff_ffff).unwrap_or(u32::MAX);
                let holds = |test: &Test| low(test.argument) & test.mask == test.value;
                let case = cases.iter().find(|(tests, _)| tests.iter().all(holds));
                case.map_or(otherwise, |(_, verdict)| *verdict)
            }
        }
    }
}
