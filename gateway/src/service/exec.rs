//! Running one program to its end and collecting what it wrote. Never touches the store or the runtime.
//!
//! The future of [`run`] owns the connection to the agent: dropping it ends the program.

use super::life::departed;
use crate::agent_client::{AgentError, Collected, Output};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::rate::Limiter;
use crate::registry::{Departure, Event, Health, Run, Sandbox, State, Visit};
use bulkhead_protocol::agent::{
    End, Ended, ExecutionSpec, MAX_JSON, SignalFailureKind, StartFailureKind, Usage,
};
use hyper::StatusCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

static FAULTS: Limiter = Limiter::new();

/// How an execution ended, as far as we can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The agent said so.
    Told(End),
    /// The sandbox was put to sleep.
    Slept,
    /// The sandbox ended, or its agent failed.
    Gone,
}

impl From<Departure> for Finish {
    fn from(departure: Departure) -> Self {
        match departure {
            Departure::Slept => Self::Slept,
            Departure::Died => Self::Gone,
        }
    }
}

/// An execution that is over.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) finish: Finish,
    pub(crate) usage: Usage,
    pub(crate) output_open: bool,
}

/// An execution that cannot be told of as over, and what it wrote until then.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: ApiError,
    pub(crate) so_far: Outcome,
}

/// The time an execution gets, if that is bounded, and its encoded order.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) time: Option<Duration>,
    pub(super) spec: Vec<u8>,
}

impl Job {
    pub(crate) fn new(spec: &ExecutionSpec) -> ApiResult<Self> {
        let time = spec.timeout_ms.map(Duration::from_millis);
        let spec = serde_json::to_vec(spec).map_err(ApiError::internal)?;
        if spec.len() > MAX_JSON {
            return Err(ApiError::field("command", "is too long together with env"));
        }
        Ok(Self { time, spec })
    }
}

/// Our own watchdog: ends when an execution that gets `time` should long be over.
pub(super) async fn overdue(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time + limits::EXEC_WATCHDOG).await,
        None => std::future::pending().await,
    }
}

/// A place for one connection to the sandbox's agent.
pub(crate) fn place(sandbox: &Sandbox) -> ApiResult<OwnedSemaphorePermit> {
    sandbox.stream().ok_or_else(|| {
        let text = format!("{} connections to this sandbox are open", limits::MAX_STREAMS);
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).of_limit("connections to an agent")
    })
}

/// Runs `job` in `sandbox`.
pub(crate) async fn run(app: Arc<App>, sandbox: Visit, job: Job) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let mut collected = Collected::new(&app.output);
    let _place = match place(&sandbox) {
        Ok(place) => place,
        Err(error) => return Err(Failure { error, so_far: outcome(collected, Finish::Gone, start) }),
    };
    app.metrics.executions_started.inc();
    let end = converse(&app, &sandbox, job, &mut collected).await;
    let end = match end {
        Talk::Broke(error) => match departure(&sandbox, &error).await {
            Some(departure) => Talk::Departed(departure),
            None => Talk::Broke(error),
        },
        other => other,
    };
    let result = match end {
        Talk::Ended(Ended { end, usage, output_open }) => {
            let so_far = outcome(collected, Finish::Told(end), start);
            Ok(Outcome { usage, output_open, ..so_far })
        }
        Talk::Overdue => {
            fault(&app, &sandbox, &AgentError::Late("end of an execution"));
            Ok(outcome(collected, Finish::Told(End::Timeout), start))
        }
        Talk::Departed(departure) if collected.started => Ok(outcome(collected, departure.into(), start)),
        Talk::Departed(departure) => {
            let error = departed(&sandbox, departure);
            Err(Failure { error, so_far: outcome(collected, departure.into(), start) })
        }
        Talk::Broke(error) => {
            let error = explain(&app, &sandbox, error);
            Err(Failure { error, so_far: outcome(collected, Finish::Gone, start) })
        }
    };
    ended(
        &app,
        &sandbox,
        match &result {
            Ok(outcome) => word(outcome.finish),
            Err(_) => "failed",
        },
    );
    result
}

/// Counts an execution that a connection held, and tells its organisation.
pub(super) fn ended(app: &App, sandbox: &Sandbox, end: &'static str) {
    app.metrics.execution_ended(end);
    sandbox.tell_execution(end);
}

/// How the conversation with the agent ended.
enum Talk {
    Ended(Ended),
    /// Our own watchdog: the connection is closed, which ends the program.
    Overdue,
    /// The sandbox was deleted, died or was put to sleep.
    Departed(Departure),
    Broke(AgentError),
}

async fn converse(app: &App, sandbox: &Visit, job: Job, collected: &mut Collected) -> Talk {
    let time = job.time;
    let excused = || sandbox.excuses_silence();
    let execute = app.agents.execute(&sandbox.facts.id, job.spec, collected, excused);
    tokio::select! {
        biased;
        end = execute => end.map_or_else(Talk::Broke, Talk::Ended),
        departure = sandbox.over() => Talk::Departed(departure),
        () = overdue(time) => Talk::Overdue,
    }
}

/// A connection that broke may be the first sign of a death that the runtime is about to report.
pub(super) async fn departure(sandbox: &Visit, error: &AgentError) -> Option<Departure> {
    match error {
        AgentError::Closed | AgentError::Unreachable(_) => {
            tokio::time::timeout(limits::DEATH_NOTICE, sandbox.over()).await.ok()
        }
        AgentError::Late(_)
        | AgentError::Malformed(_)
        | AgentError::Refused(_)
        | AgentError::Undelivered(_)
        | AgentError::NotFound
        | AgentError::Conflict
        | AgentError::Stranger
        | AgentError::Version(_) => None,
    }
}

fn outcome(collected: Collected, finish: Finish, start: Instant) -> Outcome {
    let wall_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(limits::MAX_COUNT);
    Outcome {
        stdout: collected.stdout,
        stderr: collected.stderr,
        finish,
        usage: Usage { cpu_ms: None, wall_ms, peak_memory_bytes: None },
        output_open: false,
    }
}

/// The word of an end, the same in answers and metrics.
pub(crate) fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::Told(End::Exited { .. }) => "exited",
        Finish::Told(End::Signaled { .. }) => "signaled",
        Finish::Told(End::Timeout) => "timeout",
        Finish::Told(End::Oom) => "oom",
        Finish::Told(End::Killed) => "killed",
        Finish::Slept => "sleep",
        Finish::Gone => "gone",
    }
}

/// What a client learns of a call that the agent did not carry out; faults are counted and noted.
pub(crate) fn explain(app: &App, sandbox: &Sandbox, error: AgentError) -> ApiError {
    fault(app, sandbox, &error);
    let failed = (StatusCode::BAD_GATEWAY, "the sandbox's agent failed");
    let (status, text) = match &error {
        AgentError::Refused(failure) => refusal(failure.kind),
        AgentError::Undelivered(failure) => undelivered(failure.kind),
        AgentError::NotFound => (StatusCode::NOT_FOUND, "command not found"),
        AgentError::Conflict => (StatusCode::CONFLICT, "this command cannot do that (any more)"),
        AgentError::Late(_) => (StatusCode::GATEWAY_TIMEOUT, "the sandbox's agent did not answer in time"),
        AgentError::Version(_) => (StatusCode::CONFLICT, OTHER_RELEASE),
        AgentError::Unreachable(_) | AgentError::Malformed(_) | AgentError::Closed | AgentError::Stranger => {
            failed
        }
    };
    ApiError::new(status, text).because(error)
}

/// What a client learns of an agent that runs since a release that is no longer spoken.
const OTHER_RELEASE: &str =
    "the sandbox runs since a release that this server no longer speaks with: let it sleep and wake";

/// Why a program never ran.
fn refusal(kind: StartFailureKind) -> (StatusCode, &'static str) {
    match kind {
        StartFailureKind::NoSuchDirectory => (StatusCode::BAD_REQUEST, "cwd: there is no such directory"),
        StartFailureKind::DirectoryDenied => {
            (StatusCode::BAD_REQUEST, "cwd: the directory may not be entered")
        }
        StartFailureKind::RootDenied => (
            StatusCode::CONFLICT,
            "nothing can be started: the mode of the sandbox's root directory keeps out what would run in it",
        ),
        StartFailureKind::NoShell => (StatusCode::BAD_REQUEST, "command: there is no shell in this image"),
        StartFailureKind::TooLong => (StatusCode::BAD_REQUEST, "command: is too long together with env"),
        StartFailureKind::ProcessLimit => (StatusCode::TOO_MANY_REQUESTS, "process limit reached"),
        StartFailureKind::MemoryLimit => (StatusCode::TOO_MANY_REQUESTS, "memory limit reached"),
        StartFailureKind::ExecutionLimit => (StatusCode::TOO_MANY_REQUESTS, "execution limit reached"),
        StartFailureKind::NoSuchUser => (StatusCode::BAD_REQUEST, "user: there is no such user"),
        StartFailureKind::TerminalLimit => (StatusCode::TOO_MANY_REQUESTS, "terminal limit reached"),
        StartFailureKind::KeyConflict => {
            (StatusCode::CONFLICT, "Idempotency-Key: was used with another request")
        }
        StartFailureKind::Invalid | StartFailureKind::Internal => {
            (StatusCode::BAD_GATEWAY, "the sandbox's agent failed")
        }
    }
}

/// Why a signal did not arrive.
fn undelivered(kind: SignalFailureKind) -> (StatusCode, &'static str) {
    let text = match kind {
        SignalFailureKind::Ending => "the command is ending: there is nothing left to signal",
        SignalFailureKind::Denied => "the system refuses this signal for a process of the command",
        SignalFailureKind::NoResources => "the sandbox is at its limits: the signal was not sent to all",
        SignalFailureKind::Internal => "the signal could not be sent to all processes of the command",
    };
    (StatusCode::CONFLICT, text)
}

/// Counts and notes what an agent did wrong. Breaking the protocol marks the sandbox.
pub(crate) fn fault(app: &App, sandbox: &Sandbox, error: &AgentError) {
    let kind = match error {
        AgentError::Late(_) => "late",
        AgentError::Malformed(_) | AgentError::Stranger => "malformed",
        AgentError::Unreachable(_) => "unreachable",
        AgentError::Closed => "closed",
        // Answers, not faults.
        AgentError::Refused(_)
        | AgentError::Undelivered(_)
        | AgentError::NotFound
        | AgentError::Conflict
        | AgentError::Version(_) => return,
    };
    app.metrics.agent_fault(kind);
    let marked = kind == "malformed" && sandbox.apply(Event::Faulted).is_ok_and(is_faulty);
    if let Some(held_back) = FAULTS.permit() {
        tracing::warn!(sandbox = %sandbox.facts.id, %error, marked, held_back, "an agent is at fault");
    }
}

fn is_faulty(state: State) -> bool {
    matches!(state, State::Running(Run { health: Health::Faulty, .. }))
}
