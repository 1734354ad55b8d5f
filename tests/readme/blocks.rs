//! Blocks of code in a page of Markdown, as commands with what they print.

/// What stands in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Commands alone.
    Shell,
    /// Commands behind a prompt, each with its output.
    Console,
    /// A part of a configuration, as the one command.
    Configuration,
}

/// One block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    pub(crate) steps: Vec<Step>,
}

/// A command, and what is shown of its output; nothing where the page shows nothing.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) output: String,
}

/// The blocks of a page in order.
///
/// # Panics
/// At a block of another language, which nobody would try.
pub(crate) fn of(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let kind = match language {
            "sh" => Kind::Shell,
            "console" => Kind::Console,
            "toml" => Kind::Configuration,
            other => panic!("a block in {other:?} is tried by nobody"),
        };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { kind, steps: steps(kind, &text) });
    }
    blocks
}

fn steps(kind: Kind, lines: &[&str]) -> Vec<Step> {
    if kind == Kind::Configuration {
        return vec![Step { command: lines.join("\n"), output: String::new() }];
    }
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        let open = steps.last().is_some_and(|step| is_open(&step.command));
        let command = match kind {
            Kind::Shell | Kind::Configuration => Some(*line),
            Kind::Console => line.strip_prefix("# ").or_else(|| line.strip_prefix("$ ")),
        };
        match (steps.last_mut(), command) {
            (Some(step), _) if open => step.command.extend(["\n", line]),
            (_, Some(command)) => steps.push(Step { command: command.to_owned(), output: String::new() }),
            (Some(step), None) => {
                if !step.output.is_empty() {
                    step.output.push('\n');
                }
                step.output.push_str(line);
            }
            (None, None) => panic!("output before any command: {line}"),
        }
    }
    steps
}

/// Whether a quote of the command is not closed yet.
fn is_open(command: &str) -> bool {
    command.matches('\'').count() % 2 == 1
}
