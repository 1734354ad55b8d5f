//! What to run, from a request's body to the agent's order: the same for exec, exec-stream and commands/run.

mod key;
#[cfg(test)]
mod tests;

pub(crate) use key::{Key, text as key_text};

use super::sandboxes::env;
use crate::api::{ExecRequest, OnDisconnect};
use crate::error::{ApiError, ApiResult};
use crate::input::{Fields, Switch};
use crate::limits;
use crate::sandbox::Surroundings;
use crate::service::exec::Job;
use bulkhead_protocol::agent::{ExecutionSpec, Hold, MAX_SCRIPT, Stdin, Stdio};
use serde_json::Value;

/// What a body asks for; nothing but the types is checked.
pub(crate) fn parse(mut fields: Fields) -> ApiResult<ExecRequest> {
    let command = fields.text("command")?.ok_or_else(|| fields.refuse("command", "is required"))?;
    let args = fields.list("args")?.map(|items| items.into_iter().map(word).collect()).transpose()?;
    let on_disconnect = match fields.text("onDisconnect")?.as_deref() {
        None | Some("kill") => OnDisconnect::Kill,
        Some("detach") => OnDisconnect::Detach,
        Some(_) => return Err(fields.refuse("onDisconnect", "must be kill or detach")),
    };
    Ok(ExecRequest {
        command,
        args,
        timeout: fields.take("timeout").map(|value| seconds(&value)).transpose()?,
        env: fields.texts("env")?,
        cwd: fields.text("cwd")?,
        user: fields.text("user")?,
        stdin: fields.switch("stdin", Switch::Off)?,
        background: fields.switch("background", Switch::Off)?,
        on_disconnect,
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

/// How it shall run: what a body does not say.
#[derive(Debug)]
pub(crate) struct Manner {
    pub(crate) hold: Hold,
    pub(crate) stdin: Stdin,
    pub(crate) key: Option<Key>,
}

/// The order for the agent; `outer` is what holds where the request says nothing.
pub(crate) fn job(request: ExecRequest, outer: Surroundings, manner: Manner) -> ApiResult<Job> {
    let timeout_ms = timeout(request.timeout, manner.hold);
    let script = script(&request.command, request.args.unwrap_or_default())?;
    let inner = request.env.unwrap_or_default();
    env::check("env", &inner)?;
    let mut merged = outer.env;
    merged.extend(inner);
    let cwd = request.cwd.filter(|cwd| !cwd.is_empty());
    if let Some(cwd) = &cwd {
        no_nul("cwd", cwd)?;
        if cwd.len() > limits::MAX_CWD {
            return Err(ApiError::field("cwd", format_args!("is longer than {} bytes", limits::MAX_CWD)));
        }
    }
    let mut spec = ExecutionSpec {
        env: merged.into_iter().collect(),
        cwd: cwd.or(outer.cwd),
        timeout_ms,
        user: request.user.map(user).transpose()?.or(outer.user),
        stdio: Stdio::Pipes(manner.stdin),
        hold: manner.hold,
        ..ExecutionSpec::attached(script)
    };
    spec.key = manner.key.map(|key| key.of(&spec)).transpose()?;
    Job::new(&spec)
}

/// Milliseconds that it gets (contract §4.1 and §5); out of bounds is clamped, never refused.
fn timeout(seconds: Option<i64>, hold: Hold) -> Option<u64> {
    let wanted = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    let seconds = match hold {
        Hold::Attached => Some(wanted.unwrap_or(limits::EXEC_DEFAULT_SECONDS).min(limits::EXEC_MOST_SECONDS)),
        Hold::Detached => wanted.map(|seconds| seconds.min(limits::COMMAND_MOST_SECONDS)),
    };
    seconds.map(|seconds| seconds * 1000)
}

/// The agent looks it up in the sandbox; what cannot be there is refused here.
pub(crate) fn user(user: String) -> ApiResult<String> {
    if user.is_empty() || user.len() > limits::MAX_USER || !user.bytes().all(|byte| byte.is_ascii_graphic()) {
        let rule = format_args!("must have from 1 to {} visible characters", limits::MAX_USER);
        return Err(ApiError::field("user", rule));
    }
    Ok(user)
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
