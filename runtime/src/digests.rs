//! Names of filter programs: what was installed at a launch can be told from what this release would install.

use bulkhead_sys::seccomp::{Profile, compile, compile_beyond};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// SHA-256, in hex, of the two programs of a sandbox, instruction by instruction as the kernel gets them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Digests {
    /// Of the agent, the init, and everything below.
    pub(crate) agent: String,
    /// Of what this release's agent puts on top for every command.
    pub(crate) command: String,
}

impl Digests {
    /// Where commands are refused `denied` on top of their profile.
    pub(crate) fn of_this_release(denied: &[u32]) -> Self {
        Self {
            agent: digest(&compile(Profile::Agent)),
            command: digest(&compile_beyond(Profile::Command, Profile::Agent, denied)),
        }
    }
}

pub(crate) fn digest(program: &[libc::sock_filter]) -> String {
    let mut hash = Sha256::new();
    for step in program {
        hash.update(step.code.to_le_bytes());
        hash.update([step.jt, step.jf]);
        hash.update(step.k.to_le_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_change_of_a_program_changes_its_name() {
        let mut program = compile(Profile::Agent);
        let before = digest(&program);
        assert_eq!(before.len(), 64);
        program.last_mut().unwrap().k ^= 1;
        assert_ne!(digest(&program), before);
        let digests = Digests::of_this_release(&[]);
        assert_eq!(digests.agent, before);
        assert_ne!(digests.agent, digests.command);
        let stricter = Digests::of_this_release(&[41]);
        assert!(stricter.agent == digests.agent && stricter.command != digests.command);
    }
}
