//! Commands that run on by themselves: `/sandboxes/{id}/commands/…`, contract §5, without an envelope.

mod pid;
mod signals;
pub(crate) mod talk;

use super::exec::{encoding, stdin};
use super::program::{self, Key, Manner};
use super::{Call, Command};
use crate::api::{
    AttachRequest, Commands, ExecRequest, Killed, PidRequest, Process, Started, StreamEvent, Waited, instant,
    refusals,
};
use crate::error::ApiResult;
use crate::input::{self, Fields, read};
use crate::limits;
use crate::reply::{self, Reply, ReplyBody};
use crate::service::exec::Finish;
use crate::service::life::ready;
use crate::service::live::Ending;
use crate::service::{commands as service, live};
use bulkhead_protocol::agent::{ExecutionStatus, Hold, Stdin, Stdio};
use hyper::StatusCode;

/// Answers one call.
pub(crate) async fn answer(call: Call, id: &str, command: Command<'_>) -> ApiResult<Reply> {
    match command {
        Command::Run => run(call, id).await,
        Command::List => list(call, id).await,
        Command::Kill => kill(call, id).await,
        Command::Attach => attach(call, id).await,
        Command::Wait => wait(call, id).await,
        Command::Stdin(pid) => talk::stdin(call, id, pid).await,
        Command::Signal(pid) => talk::signal(call, id, pid).await,
    }
}

/// Starts a command and answers at once.
#[utoipa::path(
    post, path = "/sandboxes/{id}/commands/run", operation_id = "runCommand", tag = "commands",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request with the same key runs once.", min_length = 1, max_length = 255)
    ),
    request_body = ExecRequest,
    responses(
        (status = 200, body = Started),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn run(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let Call { app, body, headers, .. } = call;
    let key = Key::read(&headers, &sandbox, "commands/run")?;
    let request = program::parse(Fields::of_body(&read(body, &app.bodies).await?)?)?;
    let command = request.command.clone();
    let manner = Manner { hold: Hold::Detached, stdin: stdin(request.stdin), key };
    let job = program::job(request, sandbox.facts.settings.surroundings(), manner)?;
    let visit = ready(&app, &sandbox).await?;
    let pid = service::start(&app, &visit, job).await?;
    Ok(reply::json(StatusCode::OK, &Started { success: true, pid, command }))
}

/// Commands that run now.
#[utoipa::path(
    get, path = "/sandboxes/{id}/commands/list", operation_id = "listCommands", tag = "commands",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Commands),
        refusals::Keyed, refusals::Reached
    )
)]
pub(crate) async fn list(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let visit = ready(&call.app, &sandbox).await?;
    let running = service::running(&call.app, &visit).await?;
    let processes = running.into_iter().map(process).collect();
    Ok(reply::json(StatusCode::OK, &Commands { success: true, processes }))
}

fn process(status: ExecutionStatus) -> Process {
    let us = i64::try_from(status.started_ms).unwrap_or(0).saturating_mul(1000);
    let stdin = status.stdio == Stdio::Pipes(Stdin::Open);
    let (pid, offset) = (status.handle, status.offset);
    Process { pid, command: status.script, start_time: instant(us), running: true, stdin, offset }
}

/// Ends everything that belongs to a command. When this answers nothing of it lives.
#[utoipa::path(
    post, path = "/sandboxes/{id}/commands/kill", operation_id = "killCommand", tag = "commands",
    params(("id" = String, Path)), request_body = PidRequest,
    responses(
        (status = 200, body = Killed),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn kill(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let Call { app, body, .. } = call;
    let PidRequest { pid } = pid::read(body, &app).await?;
    let visit = ready(&app, &sandbox).await?;
    let killed = service::kill(&app, &visit, pid).await?.processes;
    let message = if killed == 0 { "the command had ended" } else { "the command was killed" };
    Ok(reply::json(StatusCode::OK, &Killed { success: true, message, killed, confirmed: "cgroup-empty" }))
}

/// Streams what a command wrote and goes on to write; events as those of exec-stream.
#[utoipa::path(
    post, path = "/sandboxes/{id}/commands/attach", operation_id = "attachCommand", tag = "commands",
    params(
        ("id" = String, Path),
        ("from" = Option<u64>, Query, description = "The same as in the body, which counts more."),
        ("Last-Event-ID" = Option<u64>, Header, description = "Counts where `from` is absent."),
        ("encoding" = Option<String>, Query, description = "`base64`: data is the exact bytes.", pattern = "^(text|base64)$")
    ),
    request_body = AttachRequest,
    responses(
        (status = 200, body = StreamEvent, content_type = "text/event-stream",
         headers(("X-Execution-Pid" = u64, description = "Names the command within its sandbox."))),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn attach(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let Call { app, body, query, headers, .. } = call;
    let encoding = encoding(&query)?;
    let otherwise = input::offset(&query, &headers)?;
    let AttachRequest { pid, from } = pid::read_attach(body, &app).await?;
    let visit = ready(&app, &sandbox).await?;
    let live = live::follow(app, visit, pid, from.or(otherwise).unwrap_or(0)).await?;
    Ok(reply::events(live, pid, encoding))
}

/// Waits for the end of a command, however long that takes.
#[utoipa::path(
    post, path = "/sandboxes/{id}/commands/wait", operation_id = "waitCommand", tag = "commands",
    params(("id" = String, Path)), request_body = PidRequest,
    responses(
        (status = 200, body = Waited),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn wait(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let Call { app, body, .. } = call;
    let PidRequest { pid } = pid::read(body, &app).await?;
    let visit = ready(&app, &sandbox).await?;
    let live = live::end(app, visit, pid).await?;
    let mut work = Box::pin(live.finish());
    match tokio::time::timeout(limits::EXEC_HEADERS, &mut work).await {
        Ok(ending) => Ok(reply::json(StatusCode::OK, &waited(ending))),
        // A client gives up when it hears nothing for 300 s (contract §13).
        Err(_) => Ok(reply::stream(ReplyBody::waiting(async {
            reply::body(&waited(work.await)).unwrap_or_else(|refusal| refusal)
        }))),
    }
}

fn waited(ending: Ending) -> Waited {
    Waited { success: matches!(ending.finish, Finish::Told(_)), exit: reply::exit(ending) }
}
