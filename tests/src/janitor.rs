//! Cleans up after a test that was killed before it could do so itself.
//!
//! A shell of its own process group waits for the end of a pipe that only the test holds open. When the test
//! is gone, however it ended, the shell purges the server's instance and deletes its directories. After an
//! orderly end there is nothing left for it to do.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// `$0` is the program, `$1` the directory. `serve` dies with the test, and its halves with it; one that does not
/// holds the lock for which `purge` waits, and is ended here: only our own server names that directory. What
/// `purge` leaves behind stays to be looked at.
const SCRIPT: &str = r#"
cat
[ -d "$1/state" ] || { rm -rf --one-file-system "$1"; exit; }
for attempt in 1 2 3; do
  for process in /proc/[0-9]*; do
    [ "${process#/proc/}" != $$ ] && tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qF -- "--state-dir $1/state " &&
      kill -9 "${process#/proc/}"
  done
  "$0" purge --state-dir "$1/state" && rm -rf --one-file-system "$1" && exit
  sleep 1
done
"#;

/// The waiting shell.
#[derive(Debug)]
pub struct Janitor {
    shell: Child,
}

impl Janitor {
    /// Starts to wait.
    ///
    /// # Panics
    /// When `sh` can't be started.
    #[must_use]
    pub fn start(bulkhead: &Path, dir: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let shell = Command::new("sh")
            .arg("-c")
            .arg(SCRIPT)
            .args([bulkhead, dir])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Self { shell: shell.expect("sh starts") }
    }

    /// Tells it that the test is over, and waits until it is done.
    pub fn finish(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}
