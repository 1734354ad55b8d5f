//! Sets of capabilities, as bits and as the spec writes them.

use crate::error::{Error, Result};
use bulkhead_sys::caps;
use oci_spec::runtime::{Capabilities, Capability};

/// The set with these bits.
pub(super) fn set(bits: u64) -> Result<Capabilities> {
    let named = caps::NAMES.iter().filter(|(_, bit)| bits & bit != 0);
    named
        .map(|(name, _)| name.parse::<Capability>().map_err(|_| Error::Spec("a capability without a name")))
        .collect()
}

/// The bits of a set.
pub(crate) fn bits(set: &Capabilities) -> Result<u64> {
    let bit = |capability: &Capability| {
        let name = capability.to_string();
        caps::NAMES.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit)
    };
    let all =
        set.iter().map(|capability| bit(capability).ok_or(Error::Spec("a capability that no sandbox has")));
    all.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for wanted in [0, caps::TENANT, caps::AGENT] {
            assert_eq!(bits(&set(wanted).unwrap()).unwrap(), wanted);
        }
        assert!(bits(&Capabilities::from([Capability::SysAdmin])).is_err());
    }
}
