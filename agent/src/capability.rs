//! Capabilities of the agent's own that are in force for one call only.

use bulkhead_sys::Error;
use bulkhead_sys::call::process::{self, CapSets};
use bulkhead_sys::error::Context;

/// Does something with these capabilities in force. It must not wait: the agent has one thread, and whatever ran
/// meanwhile would have them too.
///
/// # Errors
/// As capget(2) and capset(2), or that of the call. If they cannot be given up again, the agent ends: it must not
/// go on with more than it should have.
pub(crate) fn with<T>(wanted: u64, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let before = process::capabilities().during("capget", String::new)?;
    let raised = CapSets { effective: before.effective | (before.permitted & wanted), ..before };
    process::set_capabilities(raised).during("capset", || format!("{raised:x?}"))?;
    let result = call();
    if process::set_capabilities(before).is_err() {
        std::process::abort();
    }
    result
}
