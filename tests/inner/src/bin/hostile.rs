//! An agent that is somebody else's: started by `serve --agent` in the place of ours, with all that the launch hands
//! over, it gives its place to a Python of the image, in which every system call is one line. What that one does
//! wrong is in `hostile.py`.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// What it serves with.
const PROGRAM: &str = concat!(include_str!("../../../src/python/prelude.py"), include_str!("../hostile.py"));

fn main() {
    match std::env::args().nth(1).as_deref() {
        // Nobody's orphans are reaped: that too is this sandbox's own trouble.
        Some("init") => loop {
            std::thread::park();
        },
        _ => {
            // Comes back only when it fails, and then the launch fails with it.
            let error = Command::new("/usr/bin/python3").args(["-c", PROGRAM]).exec();
            eprintln!("python3: {error}");
        }
    }
}
