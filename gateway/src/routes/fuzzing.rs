//! Bodies of clients: entries of the fuzz targets.

use super::program::{self, Manner};
use super::sandboxes;
use crate::input::Fields;
use crate::sandbox::Surroundings;
use bulkhead_protocol::agent::{Hold, Stdin};

/// The body of a create; whether it is one.
///
/// # Panics
/// When a refusal holds what belongs to no answer, or limits were let through that the runtime refuses.
#[must_use]
pub fn create(bytes: &[u8]) -> bool {
    match sandboxes::checked(bytes) {
        Ok(order) => {
            assert!(order.settings.limits.check().is_ok(), "{order:?}");
            true
        }
        Err(error) => {
            assert!(error.message.len() < 4096, "{} bytes", error.message.len());
            false
        }
    }
}

/// The body of an exec; whether it is one.
#[must_use]
pub fn exec(bytes: &[u8]) -> bool {
    let request = Fields::of_body(bytes).and_then(program::parse);
    let manner = Manner { hold: Hold::Attached, stdin: Stdin::Null, key: None };
    request.and_then(|request| program::job(request, Surroundings::default(), manner)).is_ok()
}
