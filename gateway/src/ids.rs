//! Random names: sandboxes, organisations, requests. Must never take anything from a client.

use crate::error::Error;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::id::{ALPHABET, NODE_LEN, SANDBOX_ID_LEN};

/// Fills an array from the kernel's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes)
}

/// `N` characters of the id alphabet, 5 random bits each.
pub(crate) fn characters<const N: usize>() -> Result<String, Error> {
    let bytes: [u8; N] = random()?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect())
}

/// The four characters that name this node.
pub(crate) fn node() -> Result<String, Error> {
    characters::<NODE_LEN>()
}

/// A new sandbox's name on the node `node`.
pub(crate) fn sandbox(node: &str) -> Result<SandboxId, Error> {
    let text = format!("{node}{}", characters::<{ SANDBOX_ID_LEN - NODE_LEN }>()?);
    SandboxId::parse(&text).map_err(|_| Error::Node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_id_starts_with_its_node_and_never_repeats() {
        let node = node().unwrap();
        let (a, b) = (sandbox(&node).unwrap(), sandbox(&node).unwrap());
        assert!(a.as_str().starts_with(&node));
        assert_ne!(a, b);
        assert!(sandbox("NODE").is_err());
    }
}
