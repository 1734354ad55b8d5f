//! `POST /sandboxes/{id}/exec`: one script, its whole output, its end.

use super::Call;
use crate::api::{Envelope, ExecData, ExecRequest, Refusal};
use crate::error::{ApiError, ApiResult};
use crate::input::Switch;
use crate::input::{self, Fields};
use crate::limits;
use crate::reply::{self, Pieces, Reply, ReplyBody};
use crate::routes::sandboxes::env;
use crate::service::exec::{self as service, Job};
use bulkhead_protocol::agent::{ExecutionSpec, MAX_SCRIPT};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Runs a command and waits for its end. Any exit status is a success.
#[utoipa::path(
    post, path = "/sandboxes/{id}/exec", operation_id = "exec", tag = "exec",
    params(("id" = String, Path)),
    request_body = ExecRequest,
    responses(
        (status = 200, body = Envelope<ExecData>),
        (status = 400, body = Refusal), (status = 401, body = Refusal), (status = 404, body = Refusal),
        (status = 408, body = Refusal), (status = 409, body = Refusal), (status = 413, body = Refusal),
        (status = 429, body = Refusal), (status = 500, body = Refusal), (status = 502, body = Refusal),
        (status = 504, body = Refusal)
    )
)]
pub(crate) async fn exec(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let Call { app, body, .. } = call;
    let body = input::read(body, &app.bodies).await?;
    let request = parse(Fields::of_body(&body)?)?;
    drop(body);
    let job = job(request, &sandbox.facts.settings.env)?;
    service::ready(&sandbox).await?;
    let mut work = Box::pin(service::run(app, Arc::clone(&sandbox), job));
    match tokio::time::timeout(limits::EXEC_HEADERS, &mut work).await {
        Ok(Ok(outcome)) => Ok(Pieces::new(outcome).reply()),
        Ok(Err(failure)) => Err(failure.error),
        // A client gives up when it hears nothing for 300 s (contract §13).
        Err(_) => Ok(reply::stream(ReplyBody::waiting(async {
            match work.await {
                Ok(outcome) => Pieces::new(outcome),
                Err(failure) => Pieces::failed(failure),
            }
        }))),
    }
}

fn parse(mut fields: Fields) -> ApiResult<ExecRequest> {
    let command = fields.text("command")?.ok_or_else(|| fields.refuse("command", "is required"))?;
    // Nobody sends it any more (contract §4.1), and it has no effect; what is no switch is a mistake all the same.
    fields.switch("background", Switch::Off)?;
    let args = fields.list("args")?.map(|items| items.into_iter().map(word).collect()).transpose()?;
    Ok(ExecRequest {
        command,
        args,
        timeout: fields.take("timeout").map(|value| seconds(&value)).transpose()?,
        env: fields.texts("env")?,
        cwd: fields.text("cwd")?,
    })
}

fn word(item: Value) -> ApiResult<String> {
    match item {
        Value::String(text) => Ok(text),
        _ => Err(ApiError::field("args", "every item must be a string")),
    }
}

/// A number of seconds; one that no integer type holds is as good as the greatest.
fn seconds(value: &Value) -> ApiResult<i64> {
    let whole = value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX));
    let huge = || value.as_f64().filter(|number| number.fract() == 0.0);
    whole
        .or_else(|| huge().map(|number| if number > 0.0 { i64::MAX } else { i64::MIN }))
        .ok_or_else(|| ApiError::field("timeout", "must be an integer"))
}

fn job(request: ExecRequest, outer: &BTreeMap<String, String>) -> ApiResult<Job> {
    let script = script(&request.command, request.args.unwrap_or_default())?;
    let inner = request.env.unwrap_or_default();
    env::check("env", &inner)?;
    let mut merged = outer.clone();
    merged.extend(inner);
    let cwd = request.cwd.filter(|cwd| !cwd.is_empty());
    if let Some(cwd) = &cwd {
        no_nul("cwd", cwd)?;
        if cwd.len() > limits::MAX_CWD {
            return Err(ApiError::field("cwd", format_args!("is longer than {} bytes", limits::MAX_CWD)));
        }
    }
    let seconds = u64::try_from(request.timeout.unwrap_or(0)).unwrap_or(0);
    let seconds = if seconds == 0 { limits::EXEC_DEFAULT_SECONDS } else { seconds };
    let time = Duration::from_secs(seconds.min(limits::EXEC_MOST_SECONDS));
    let timeout_ms = u64::try_from(time.as_millis()).ok();
    let spec = ExecutionSpec {
        env: merged.into_iter().collect(),
        cwd,
        timeout_ms,
        ..ExecutionSpec::attached(script)
    };
    Job::new(&spec, time)
}

fn no_nul(field: &'static str, text: &str) -> ApiResult<()> {
    if text.contains('\0') { Err(ApiError::field(field, "must not contain a NUL character")) } else { Ok(()) }
}

/// The command and its further words as one script.
fn script(command: &str, args: Vec<String>) -> ApiResult<String> {
    let mut script = command.trim().to_owned();
    if script.is_empty() {
        return Err(ApiError::field("command", "must not be empty"));
    }
    no_nul("command", &script)?;
    if args.len() > limits::MAX_ARGS {
        return Err(ApiError::field("args", format_args!("has more than {} items", limits::MAX_ARGS)));
    }
    for arg in args {
        no_nul("args", &arg)?;
        script.push_str(" '");
        script.push_str(&arg.replace('\'', r"'\''"));
        script.push('\'');
    }
    if script.len() > MAX_SCRIPT {
        return Err(ApiError::field("command", format_args!("is longer than {MAX_SCRIPT} bytes")));
    }
    Ok(script)
}

#[cfg(test)]
mod tests;
