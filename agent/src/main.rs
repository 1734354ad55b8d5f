//! The program `bulkhead-agent`: `serve` is PID 1 of a sandbox, `init` is PID 1 of its commands, `files`
//! does one thing to its files.

use std::process::ExitCode;

fn main() -> ExitCode {
    let word = std::env::args_os().nth(1);
    match word.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some("init") => bulkhead_agent::init(),
        Some("serve") => bulkhead_agent::serve(),
        Some("files") => bulkhead_agent::files(),
        _ => {
            eprintln!("usage: bulkhead-agent serve|init|files; it is started by the runtime, not by hand");
            ExitCode::from(2)
        }
    }
}
