//! One shell in which the commands of a page follow one another.

use crate::expected::Expected;
use bulkhead_tests::Server;
use bulkhead_tests::programs::program;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The line behind the output of a command, with its exit status.
const END: &str = "-- end of the command --";
/// What differs from the machine of a reader: root needs no sudo, and the directories of the server are a test's own.
const PREAMBLE: &str = r#"exec 2>&1
sudo() { "$@"; }
bulkhead() {
  case $1 in
  org | key | image | doctor | purge) command bulkhead "$@" --state-dir "$STATE" ;;
  *) command bulkhead "$@" ;;
  esac
}"#;

/// The shell, and what stands in the page for what is here.
pub(crate) struct Session {
    shell: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    replaced: Vec<(String, String)>,
}

impl Session {
    /// A shell for `server` that works in `directory`.
    pub(crate) fn start(server: &Server, directory: &Path) -> Self {
        let bulkhead = program("bulkhead");
        let programs = bulkhead.parent().expect("a directory").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let state = server.instance().state.display().to_string();
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-s"]).current_dir(directory);
        command.env("PATH", format!("{programs}:{path}")).env("STATE", &state);
        command.env("KEY", server.client().key()).env("NO_PROXY", "*").env("no_proxy", "*");
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash starts");
        let input = shell.stdin.take().expect("a pipe");
        let output = BufReader::new(shell.stdout.take().expect("a pipe"));
        let mut session = Self { shell, input, output, replaced: Vec::new() };
        session.run(PREAMBLE);
        session.write_as("/var/lib/bulkhead", &state);
        session.write_as("127.0.0.1:33944", server.address());
        session
    }

    /// From here on `here` stands for what the page calls `shown`.
    pub(crate) fn write_as(&mut self, shown: &str, here: &str) {
        self.replaced.push((shown.to_owned(), here.to_owned()));
    }

    /// The ids that the page shows, with those that came out.
    pub(crate) fn learn(&mut self, ids: Vec<(String, String)>) {
        for (shown, real) in ids {
            self.write_as(&shown, &real);
        }
    }

    /// Runs a command of the page, which must end with 0, and gives back what it printed.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let command = self.translate(command);
        writeln!(self.input, "{command}\nprintf '\\n%s %s\\n' '{END}' \"$?\"").expect("the shell reads");
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            let count = self.output.read_line(&mut line).expect("text");
            assert!(count > 0, "the shell ended behind {command}\n{printed}");
            if let Some(status) = line.strip_prefix(END) {
                assert_eq!(status.trim(), "0", "{command}\n{printed}");
                return printed.trim_end_matches('\n').to_owned();
            }
            printed.push_str(&line);
        }
    }

    /// A configuration of the page, which must be one without a mistake.
    pub(crate) fn configure(&mut self, text: &str) {
        let text = text.replace('\'', "'\\''");
        self.run(&format!(
            "printf '%s\\n' '{text}' >bulkhead.toml && bulkhead config check --config \"$PWD/bulkhead.toml\""
        ));
    }

    /// What the page shows, as it should be here.
    pub(crate) fn expect(&self, shown: &str) -> Expected {
        Expected::of(&self.translate(shown))
    }

    fn translate(&self, text: &str) -> String {
        self.replaced.iter().fold(text.to_owned(), |text, (shown, here)| text.replace(shown, here))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shell.kill().expect("it can be ended");
        self.shell.wait().expect("it ends");
    }
}
