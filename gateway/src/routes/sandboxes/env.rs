//! Rules of environment variables, the same for a sandbox and for one command.

use super::refuse;
use crate::error::ApiResult;
use crate::limits::{MAX_ENV, MAX_ENV_BYTES, MAX_ENV_NAME};
use std::collections::BTreeMap;

/// Checks the variables of the field `field`. No message repeats a name or a value: they may be secrets.
pub(crate) fn check(field: &str, env: &BTreeMap<String, String>) -> ApiResult<()> {
    if env.len() > MAX_ENV {
        return Err(refuse(field, format_args!("has more than {MAX_ENV} variables")));
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_ENV_BYTES {
        return Err(refuse(field, format_args!("is longer than {MAX_ENV_BYTES} bytes")));
    }
    for (name, value) in env {
        if name.is_empty() || name.len() > MAX_ENV_NAME {
            return Err(refuse(field, format_args!("a name must have from 1 to {MAX_ENV_NAME} bytes")));
        }
        if name.contains(['=', '\0']) {
            return Err(refuse(field, "a name must not contain = or a NUL character"));
        }
        if value.contains('\0') {
            return Err(refuse(field, "a value must not contain a NUL character"));
        }
    }
    Ok(())
}
