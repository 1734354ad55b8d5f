//! The end of a server, which is the leak check of every test.

use super::Server;
use crate::eventually::eventually;
use crate::verdict::{self, Verdict};
use std::collections::BTreeSet;
use std::fs;

impl Server {
    /// Nothing of any sandbox may be on the host, beside what was there when the server had just started.
    ///
    /// # Panics
    /// When something stays; the message names it.
    pub fn assert_no_sandbox_left(&self) {
        eventually("nothing of any sandbox is left", || {
            let now = self.instance().sandboxes();
            nothing(now.difference(&self.baseline).cloned().collect())
        });
    }

    /// `bulkhead purge`, after which nothing of the server may be on the host.
    ///
    /// # Panics
    /// When purge fails or something stays.
    pub fn purge(&mut self) {
        self.stop();
        let output = self.command(&["purge"]);
        assert!(output.status.success(), "purge: {output:?}");
        eventually("nothing is left after purge", || {
            nothing(self.instance().everything().into_iter().collect())
        });
    }

    /// All that the list shows, and what [`Server::create`] made: the list hides those that were killed.
    ///
    /// # Panics
    /// When one cannot be deleted.
    pub fn delete_all(&self) {
        let mut ids = std::mem::take(&mut *self.made.lock().expect("no test panics while it holds this"));
        loop {
            for id in ids.drain(..) {
                let answer = self.client().delete(&format!("/sandboxes/{id}"));
                assert!(
                    matches!(answer.status, 200 | 404),
                    "delete {id}: {} {}",
                    answer.status,
                    answer.text()
                );
            }
            let page = self.client().get("/sandboxes?limit=100").expect(200).data();
            let rows = page.as_array().expect("data of a list is an array");
            if rows.is_empty() {
                return;
            }
            ids.extend(rows.iter().filter_map(|row| row["id"].as_str().map(str::to_owned)));
        }
    }

    /// What a test that failed still owes the host. Its own failure is the message; nothing here adds one.
    fn clean_quietly(&mut self) {
        eprintln!("--- end of the server's log ---\n{}", self.log_tail());
        if let Some(mut serve) = self.serve.take() {
            crate::host::signal(super::pid_of(&serve), nix::sys::signal::Signal::SIGTERM);
            for _ in 0..500 {
                if !matches!(serve.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            drop(serve.kill());
            drop(serve.wait());
        }
        self.janitor.finish();
    }

    fn end(&mut self) {
        if self.serve.is_some() {
            self.delete_all();
            if self.options.args.iter().any(|arg| arg == "--pool") {
                // What was made ahead goes with the server.
                self.stop();
            }
            self.assert_no_sandbox_left();
        }
        self.purge();
        fs::remove_dir_all(self.dir()).expect("the own directory holds no mount any more");
        self.janitor.finish();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            verdict::record(Verdict::Broken);
            self.clean_quietly();
            return;
        }
        // A leak is a failure of the test, but the host has to be clean after it all the same.
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end()));
        verdict::record(if end.is_ok() { self.verdict() } else { Verdict::Broken });
        if let Err(leak) = end {
            self.clean_quietly();
            std::panic::resume_unwind(leak);
        }
    }
}

fn nothing(left: BTreeSet<String>) -> Result<(), String> {
    if left.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = left.into_iter().take(30).collect();
    Err(lines.join("\n  "))
}
