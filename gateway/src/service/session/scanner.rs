//! Finds where one command's output ends in a stream that goes on: a mark that only we know, with the exit
//! status behind it. What could be the beginning of a mark is held back.

/// Begins and ends a mark; a program would have to guess what is between.
const EDGE: u8 = 0x1e;
/// Bytes behind the mark's name: a blank, a status of up to three digits and the edge.
const MOST_TRAILER: usize = 5;

/// One stream of one command.
#[derive(Debug)]
pub(crate) struct Scanner {
    needle: Vec<u8>,
    held: Vec<u8>,
    status: Option<u8>,
}

impl Scanner {
    pub(crate) fn new(mark: &str) -> Self {
        let needle = [&[EDGE], mark.as_bytes(), b" "].concat();
        Self { needle, held: Vec::new(), status: None }
    }

    /// The exit status, once the mark was there.
    pub(crate) fn status(&self) -> Option<u8> {
        self.status
    }

    /// Takes the next bytes; gives those that are the command's.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.status.is_some() {
            return Vec::new();
        }
        self.held.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) = self.held[from..].iter().position(|byte| *byte == EDGE).map(|at| from + at) {
            let rest = &self.held[at..];
            let length = rest.len().min(self.needle.len());
            if rest[..length] == self.needle[..length] {
                let trailer = &rest[length..];
                match trailer.iter().position(|byte| *byte == EDGE) {
                    Some(end) => {
                        let status = std::str::from_utf8(&trailer[..end]).ok();
                        self.status = status.and_then(|status| status.parse().ok());
                    }
                    None if trailer.len() < MOST_TRAILER => return self.held.drain(..at).collect(),
                    None => {}
                }
                if self.status.is_some() {
                    self.held.truncate(at);
                    return std::mem::take(&mut self.held);
                }
            }
            from = at + 1;
        }
        std::mem::take(&mut self.held)
    }

    /// What was held back, when nothing more comes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// The line that runs `command` in a shell that reads its input, and marks the end on both streams.
///
/// It is one line, so that the shell has read all of it before the command starts and may read input itself.
/// `command` in front of `eval` keeps a plain sh from ending at a syntax error.
///
/// The line ends with the command's status, which is `$?` of the next one. A function brings it there, since a
/// subshell would be a process; it is named after the mark and removes itself. Behind `&&` a status is no reason to
/// end, whatever the command set.
pub(crate) fn line(command: &str, mark: &str) -> String {
    let quoted = command.replace('\'', r"'\''");
    format!(
        "{{ command eval '{quoted}'; set -- \"$?\" \"$@\"; printf '\\036%s %d\\036' {mark} \"$1\"; \
         printf '\\036%s %d\\036' {mark} \"$1\" >&2; _{mark}() {{ unset -f _{mark}; return \"$1\"; }}; \
         eval \"shift; _{mark} $1\" && :; }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mark_is_found_however_it_comes(
            output in prop::collection::vec(prop_oneof![Just(EDGE), Just(b'm'), any::<u8>()], 0..60),
            status: u8,
            cut in 1usize..9,
        ) {
            let wire = [output.as_slice(), &[EDGE], format!("mark {status}").as_bytes(), &[EDGE], b"later"].concat();
            let mut scanner = Scanner::new("mark");
            let got: Vec<u8> = wire.chunks(cut).flat_map(|piece| scanner.push(piece)).collect();
            prop_assert_eq!(got, output);
            prop_assert_eq!(scanner.status(), Some(status));
        }
    }

    #[test]
    fn what_only_looks_like_a_mark_is_output() {
        let mut scanner = Scanner::new("mark");
        let text = b"\x1emark 300\x1e \x1emarker\x1e \x1emark 12345678";
        let mut got = scanner.push(text);
        got.extend(scanner.push(b"\x1e"));
        got.extend(scanner.rest());
        assert_eq!(got, [&text[..], b"\x1e"].concat());
        assert_eq!(scanner.status(), None);
        assert_eq!(scanner.push(b"\x1emark 3"), b"");
        assert_eq!(scanner.rest(), b"\x1emark 3");
    }

    #[test]
    fn a_status_is_that_of_the_next_lines_beginning() {
        for shell in ["bash", "sh"] {
            let commands =
                ["set -- a b; ! true", "echo $? $1; (exit 9)", "echo $? $#; type _mark || echo none", "true"];
            let script: String = commands.iter().map(|command| line(command, "mark")).collect();
            let output = std::process::Command::new(shell).arg("-c").arg(&script).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let words = ["\x1emark 1\x1e1 a\n", "\x1emark 9\x1e9 2\n", "none\n"];
            assert!(words.iter().all(|word| text.contains(word)), "{shell}: {text:?}");
            assert!(text.ends_with("\x1emark 0\x1e\x1emark 0\x1e"), "{shell}: {text:?}");
        }
    }

    #[test]
    fn a_line_is_what_a_shell_reads() {
        for shell in ["bash", "sh"] {
            let script =
                format!("{}{}", line("printf \"it's\"\n(exit 7)", "mark"), line("echo $#; if", "mark"));
            let mut child = std::process::Command::new(shell)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let (first, second) = text.split_at("it's\x1emark 7\x1e".len());
            assert_eq!(first, "it's\x1emark 7\x1e", "{shell}");
            assert!(["\x1emark 1\x1e", "\x1emark 2\x1e"].contains(&second), "{shell}: {second:?}");
            assert!(String::from_utf8(output.stderr).unwrap().starts_with("\x1emark 7\x1e"), "{shell}");
        }
    }
}
