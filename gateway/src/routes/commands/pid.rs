//! Which command a request means, and from where.

use crate::api::{AttachRequest, PidRequest};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::input::{Fields, RequestBody, read as read_body};
use crate::limits::MAX_COUNT;
use hyper::StatusCode;
use serde_json::Value;

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "command not found")
}

fn rule() -> ApiError {
    ApiError::field("pid", "must be an integer above 0")
}

/// Every positive integer names a command or none; anything else is a mistake.
fn pid(fields: &mut Fields) -> ApiResult<u64> {
    match fields.take("pid") {
        None => Err(ApiError::field("pid", "is required")),
        Some(Value::Number(number)) => match number.as_u64() {
            Some(0) => Err(rule()),
            Some(pid) => Ok(pid),
            // Beyond every integer type, and so beyond every command.
            None if number.as_f64().is_some_and(|number| number >= 1.0 && number.fract() == 0.0) => {
                Err(not_found())
            }
            None => Err(rule()),
        },
        Some(_) => Err(rule()),
    }
}

/// The command that a path names.
pub(super) fn of_path(text: &str) -> ApiResult<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(rule());
    }
    match text.parse() {
        Ok(0) => Err(rule()),
        Ok(pid) => Ok(pid),
        Err(_) => Err(not_found()),
    }
}

/// The command that a body names.
pub(super) async fn read(body: RequestBody, app: &App) -> ApiResult<PidRequest> {
    let mut fields = Fields::of_body(&read_body(body, &app.bodies).await?)?;
    Ok(PidRequest { pid: pid(&mut fields)? })
}

/// The command that a body names, and where to begin.
pub(super) async fn read_attach(body: RequestBody, app: &App) -> ApiResult<AttachRequest> {
    let mut fields = Fields::of_body(&read_body(body, &app.bodies).await?)?;
    let from = fields.whole("from", &(0..=MAX_COUNT))?;
    Ok(AttachRequest { pid: pid(&mut fields)?, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_a_positive_integer() {
        let status = |text: &str| {
            let body = format!(r#"{{"pid":{text}}}"#);
            pid(&mut Fields::of_body(body.as_bytes()).unwrap()).map_err(|error| error.status.as_u16())
        };
        assert_eq!(status("1048577"), Ok(1_048_577));
        for text in ["null", "0", "-1", "1.5", r#""1""#, "true", "[]", "-1e30"] {
            assert_eq!(status(text), Err(400), "{text}");
        }
        assert_eq!(status("1e30"), Err(404));
        let status = |text| of_path(text).map_err(|error| error.status.as_u16());
        assert_eq!(status("1048577"), Ok(1_048_577));
        for (text, expected) in
            [("0", 400), ("-1", 400), ("+1", 400), ("x", 400), ("99999999999999999999", 404)]
        {
            assert_eq!(status(text), Err(expected), "{text}");
        }
    }
}
