//! Names of signals.

use crate::error::{ApiError, ApiResult};
use serde_json::Value;

/// Signals by number, from 1; as every processor of ours numbers them.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal that is given as a name or a number.
pub(super) fn signal_number(signal: &Value) -> ApiResult<u8> {
    let known = |number: &u8| (1..=NAMES.len()).contains(&usize::from(*number));
    let number = match signal {
        Value::String(name) => {
            let name = name.strip_prefix("SIG").unwrap_or(name);
            NAMES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at + 1).ok())
        }
        Value::Number(number) => number.as_u64().and_then(|number| u8::try_from(number).ok()).filter(known),
        _ => None,
    };
    number.ok_or_else(|| ApiError::field("signal", "must be the name of a signal or a number from 1 to 31"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signal_is_a_name_or_a_number() {
        let good =
            [("\"TERM\"", 15), ("\"SIGTERM\"", 15), ("\"KILL\"", 9), ("1", 1), ("31", 31), ("\"SYS\"", 31)];
        for (signal, number) in good {
            assert_eq!(signal_number(&serde_json::from_str(signal).unwrap()).unwrap(), number, "{signal}");
        }
        let names = ["KILL; rm", "term", "9", "SIGSIGHUP", ""].map(|name| json!(name));
        for signal in
            names.into_iter().chain([json!(0), json!(32), json!(-9), json!(1.5), json!([]), json!(300)])
        {
            assert_eq!(signal_number(&signal).unwrap_err().status, 400, "{signal}");
        }
    }
}
