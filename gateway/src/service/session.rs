//! Shell sessions (contract §8): a shell that reads commands from a pipe. Its name stands in the first line of
//! its script, so the gateway keeps nothing of it. One command at a time; each ends with a mark of its own.

mod scanner;

use super::exec::{self, Finish, Job, place};
use super::live::reach;
use super::pty::{ask, encode};
use crate::agent_client::{FrameStream, Item, Source};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::limits;
use crate::registry::{Sandbox, Visit};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::agent::{End, ExecutionSpec, ExecutionStatus, Hold, Program, Stdin, Stdio};
use bytes::Bytes;
use hyper::StatusCode;
use scanner::{Scanner, line};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, timeout, timeout_at};

/// The first word of a session's script.
const HEAD: &str = "# session ";

/// Held while a command runs.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// One command at a time in each session: who waits for which.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    by_session: Mutex<HashMap<(SandboxId, u64), Turn>>,
}

impl Turns {
    fn of(&self, sandbox: &Sandbox, handle: u64) -> Turn {
        let mut map = self.by_session.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds or waits for.
        map.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(map.entry((sandbox.facts.id.clone(), handle)).or_default())
    }
}

/// What a command says.
#[derive(Debug)]
pub(crate) enum Word {
    Output(Source, Bytes),
    /// The last word.
    Exit(u8),
    /// Its time was up, and its session was ended with it.
    Timeout,
    /// The last word, where the agent failed or the sandbox is gone.
    Failed(ApiError),
}

/// A new name.
pub(crate) fn name() -> ApiResult<String> {
    Ok(format!("sess-{:016x}", u64::from_be_bytes(ids::random()?)))
}

/// How long the look for a shell may take, in milliseconds.
const LOOK_MS: u64 = 5000;

/// The script of a session; `shell` is a program, `size` what it may believe of its screen.
pub(crate) fn script(name: &str, shell: &str, (cols, rows): (u16, u16)) -> String {
    let shell = shell.replace('\'', r"'\''");
    format!("{HEAD}{name}\nexport COLUMNS={cols} LINES={rows}\nexec '{shell}'\n")
}

/// Whether a sandbox has this program: asked of its own shell, so that a session does not begin and end at once.
pub(crate) async fn is_program(app: &Arc<App>, sandbox: &Visit, path: &str) -> ApiResult<bool> {
    let path = path.replace('\'', r"'\''");
    let look = ExecutionSpec {
        user: sandbox.facts.settings.surroundings().user,
        timeout_ms: Some(LOOK_MS),
        ..ExecutionSpec::attached(format!("command -v -- '{path}' >/dev/null"))
    };
    let outcome = exec::run(Arc::clone(app), sandbox.again(), Job::new(&look)?).await;
    Ok(outcome.map_err(|failure| failure.error)?.finish == Finish::Told(End::Exited { code: 0 }))
}

/// Starts a session.
pub(crate) async fn create(app: &App, sandbox: &Visit, name: &str, script: String) -> ApiResult<()> {
    if find(app, sandbox, name).await.is_ok() {
        return Err(ApiError::new(StatusCode::CONFLICT, "sessionId: is in use"));
    }
    let outer = sandbox.facts.settings.surroundings();
    let spec = ExecutionSpec {
        program: Program::Script(script),
        env: outer.pairs(),
        cwd: outer.cwd,
        user: outer.user,
        stdio: Stdio::Pipes(Stdin::Open),
        hold: Hold::Detached,
        ..ExecutionSpec::attached(String::new())
    };
    let spec = encode(&spec)?;
    let _place = place(sandbox)?;
    app.metrics.executions_started.inc();
    reach(app, sandbox, app.agents.start_detached(&sandbox.facts.id, spec)).await.map(drop)
}

/// The session of this name, if it lives.
pub(crate) async fn find(app: &App, sandbox: &Visit, name: &str) -> ApiResult<ExecutionStatus> {
    let _place = place(sandbox)?;
    let list = reach(app, sandbox, app.agents.executions(&sandbox.facts.id)).await?.executions;
    let named = |status: &ExecutionStatus| {
        status.hold == Hold::Detached
            && status.stdio == Stdio::Pipes(Stdin::Open)
            && status.ended.is_none()
            && status
                .script
                .strip_prefix(HEAD)
                .and_then(|rest| rest.split_once('\n'))
                .is_some_and(|(n, _)| n == name)
    };
    let none = || ApiError::new(StatusCode::NOT_FOUND, "session not found");
    list.into_iter().find(named).ok_or_else(none)
}

/// Gives input to what runs in a session.
pub(crate) async fn input(app: &App, sandbox: &Visit, name: &str, text: String) -> ApiResult<()> {
    let session = find(app, sandbox, name).await?;
    let _place = place(sandbox)?;
    let sent = ask(app, sandbox, app.agents.stdin(&sandbox.facts.id, session.handle, "", Bytes::from(text)));
    let late = |_| Err(ApiError::new(StatusCode::CONFLICT, "the session takes no input now"));
    timeout(limits::TYPING, sent).await.unwrap_or_else(late).map(drop)
}

/// Ends a session and everything that runs in it.
pub(crate) async fn close(app: &App, sandbox: &Visit, name: &str) -> ApiResult<()> {
    let session = find(app, sandbox, name).await?;
    let _place = place(sandbox)?;
    ask(app, sandbox, app.agents.kill(&sandbox.facts.id, session.handle)).await.map(drop)
}

/// Runs `command` in a session. It goes on to its end, or to the end of its time, also when nobody listens.
pub(crate) fn run(
    app: Arc<App>,
    sandbox: Visit,
    session: ExecutionStatus,
    (command, time): (String, Duration),
) -> Receiver<Word> {
    let (words, listener) = channel(limits::SESSION_WORDS);
    tokio::spawn(async move {
        let turns = app.turns.of(&sandbox, session.handle);
        let end = Instant::now() + time;
        let last = match timeout_at(end, turns.lock()).await {
            Err(_) => Word::Failed(ApiError::new(StatusCode::CONFLICT, "the session is busy")),
            Ok(_turn) => {
                match timeout_at(end, converse(&app, &sandbox, session.handle, (&command, &words))).await {
                    Ok(Ok(code)) => Word::Exit(code),
                    Ok(Err(error)) => Word::Failed(error),
                    Err(_) => ended(&app, &sandbox, session.handle).await,
                }
            }
        };
        // An error means that nobody listens any more.
        drop(words.send(last).await);
    });
    listener
}

/// What still runs would take the next command for its input.
async fn ended(app: &App, sandbox: &Visit, handle: u64) -> Word {
    match ask(app, sandbox, app.agents.kill(&sandbox.facts.id, handle)).await {
        Ok(_) => Word::Timeout,
        Err(error) => Word::Failed(error),
    }
}

async fn converse(
    app: &App,
    sandbox: &Visit,
    handle: u64,
    (command, words): (&str, &Sender<Word>),
) -> ApiResult<u8> {
    let mark: String = ids::random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let _places = (place(sandbox)?, place(sandbox)?);
    let list = reach(app, sandbox, app.agents.executions(&sandbox.facts.id)).await?.executions;
    let offset = list.iter().find(|status| status.handle == handle).map_or(0, |status| status.offset);
    let stream = ask(app, sandbox, app.agents.output(&sandbox.facts.id, handle, offset)).await?;
    let line = Bytes::from(line(command, &mark));
    let typed = ask(app, sandbox, app.agents.stdin(&sandbox.facts.id, handle, "", line));
    let mut reading = Reading { stream, scanners: [Scanner::new(&mark), Scanner::new(&mark)], words };
    let read = ask(app, sandbox, reading.read());
    // A shell reads the line as it comes, so both go on at once.
    tokio::try_join!(typed, read).map(|(_, code)| code)
}

/// A command that runs.
struct Reading<'a> {
    stream: FrameStream,
    scanners: [Scanner; 2],
    words: &'a Sender<Word>,
}

impl Reading<'_> {
    /// Passes output on until both streams have their mark; gives the exit status.
    async fn read(&mut self) -> Result<u8, crate::agent_client::AgentError> {
        loop {
            let (output, errors) = (self.scanners[0].status(), self.scanners[1].status());
            if let Some(status) = output.and(errors) {
                return Ok(status);
            }
            let word = match self.stream.frames.next()? {
                Some(Item::Output(source, bytes)) => {
                    let scanner = &mut self.scanners[usize::from(source == Source::Stderr)];
                    Word::Output(source, Bytes::from(scanner.push(bytes)))
                }
                Some(Item::Ended(ended)) => {
                    self.rest().await;
                    return Ok(code(ended.end));
                }
                Some(Item::KeepAlive | Item::Started(_) | Item::Gap(_)) => continue,
                None => {
                    // A command may have closed or moved one of the streams; then only the other is marked.
                    let more = self.stream.more();
                    match output.or(errors) {
                        None => more.await?,
                        Some(status) => match timeout(limits::SESSION_MARK, more).await {
                            Ok(more) => more?,
                            Err(_) => return Ok(status),
                        },
                    }
                    continue;
                }
            };
            self.say(word).await;
        }
    }

    async fn rest(&mut self) {
        for (at, source) in [Source::Stdout, Source::Stderr].into_iter().enumerate() {
            let rest = self.scanners[at].rest();
            self.say(Word::Output(source, Bytes::from(rest))).await;
        }
    }

    async fn say(&self, word: Word) {
        if !matches!(&word, Word::Output(_, bytes) if bytes.is_empty()) {
            // An error means that nobody listens any more; the command goes on.
            drop(self.words.send(word).await);
        }
    }
}

/// What a shell would say of it.
fn code(end: End) -> u8 {
    match end {
        End::Exited { code } => code,
        End::Signaled { signal } => 128_u8.saturating_add(signal),
        End::Timeout => 124,
        End::Oom | End::Killed => 137,
    }
}
