//! Names of filter programs: what was installed at a launch can be told from what this release would install.

use bulkhead_sys::seccomp::{Profile, compile, compile_beyond};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Sets of denied calls whose names are kept: an operator has few, and sandboxes may be older than the configuration.
const KEPT: usize = 64;

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

/// Those of this release, made once for each set of denied calls: anybody may ask for reports, and one thread compiles.
#[derive(Debug, Default)]
pub(crate) struct OfThisRelease(BTreeMap<Vec<u32>, Digests>);

impl OfThisRelease {
    /// See [`Digests::of_this_release`].
    pub(crate) fn with(&mut self, denied: &[u32]) -> &Digests {
        if self.0.len() >= KEPT && !self.0.contains_key(denied) {
            self.0.clear();
        }
        self.0.entry(denied.to_vec()).or_insert_with(|| Digests::of_this_release(denied))
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

    #[test]
    fn what_is_kept_is_what_would_be_made_and_has_a_bound() {
        let mut kept = OfThisRelease::default();
        let digests = [kept.with(&[41]).clone(), kept.with(&[]).clone(), kept.with(&[41]).clone()];
        assert_eq!(digests, [&[41][..], &[], &[41]].map(Digests::of_this_release));
        assert_eq!(kept.0.len(), 2);
        for number in 0..u32::try_from(KEPT).unwrap() {
            kept.0.insert(vec![1000 + number], Digests::default());
        }
        assert_eq!(kept.with(&[42]), &Digests::of_this_release(&[42]));
        assert!(kept.0.len() <= KEPT);
    }
}
