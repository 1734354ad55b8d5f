//! Filters over system calls: one table with a reason per row, compiled to classic BPF.
//!
//! Three profiles come out of it, one of them for the gateway, and with a list of its own another for the importer. The agent's is installed at launch and stays on everything below it; the
//! command's comes on top of it, so the agent's must allow whatever the command's does, and a little more.
//! A number without a row does not exist (`ENOSYS`), so that next year's system calls are refused from birth and
//! programs fall back; what is known and refused answers `EPERM`; another architecture (`int 0x80`) is killed.

mod compile;
mod decision;
mod importer;
#[cfg(any(test, feature = "fuzzing"))]
pub mod interpret;
mod table;
#[cfg(test)]
mod tests;

pub use compile::{compile, compile_beyond, compile_decisions};
pub use decision::{Decision, WITHOUT_ROW, decisions, name_of, number_named, number_of};
pub use importer::{STAGES, Stages};
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
    /// The same where agents are in virtual machines.
    GatewayOfMachines,
    /// Of the stages of an import, which read what strangers wrote.
    Importer,
}

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel does it.
    Allow,
    /// It fails with this error, nothing is done.
    Fail(Errno),
    /// It succeeds, and nothing is done.
    Pretend,
}

/// Which 32 bits of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// All there is of an `int`: the kernel ignores the other half, so it must not decide either
    /// (CVE-2019-7303: `TIOCSTI | 1 << 32`).
    Low,
    /// The other half of a pointer.
    High,
}

/// One comparison with half of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Which argument, from 0.
    pub argument: u8,
    /// Which half of it.
    pub half: Half,
    /// Bits that count.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
}

impl Test {
    fn word(&self, arguments: [u64; 6]) -> u32 {
        let argument = arguments[usize::from(self.argument)];
        let half = match self.half {
            Half::Low => argument & 0xffff_ffff,
            Half::High => argument >> 32,
        };
        u32::try_from(half).unwrap_or(u32::MAX)
    }
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
                let holds = |test: &Test| test.word(arguments) & test.mask == test.value;
                let case = cases.iter().find(|(tests, _)| tests.iter().all(holds));
                case.map_or(otherwise, |(_, verdict)| *verdict)
            }
        }
    }
}
