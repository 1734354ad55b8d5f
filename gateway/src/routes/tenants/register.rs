//! `POST /register`: an organisation for whoever asks. Off unless the operator says otherwise; it is then as if the
//! route were not there.

use crate::api::{Envelope, KeyGiven, OrgShown, PersonShown, RegisterRequest, Registered, instant, refusals};
use crate::app::App;
use crate::auth::{Order, Scopes};
use crate::config::Registration;
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::input::{self, Fields, RequestBody};
use crate::limits;
use crate::reply::{self, Reply};
use crate::routes::Miss;
use crate::service::keys;
use crate::store::Owner;
use hyper::StatusCode;
use secrecy::ExposeSecret;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// What the first key of somebody who registered is for.
const KEY_NAME: &str = "register";

/// When the last registrations were.
#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<VecDeque<Instant>>);

impl Desk {
    fn admit(&self) -> ApiResult<()> {
        let (mut last, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        while last.front().is_some_and(|then| now.duration_since(*then) >= limits::REGISTER_WINDOW) {
            last.pop_front();
        }
        if last.len() >= limits::REGISTRATIONS {
            let text = "too many registrations at the moment";
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, text));
        }
        last.push_back(now);
        Ok(())
    }
}

/// Makes an organisation with one user and one key.
#[utoipa::path(
    post, path = "/register", operation_id = "register", tag = "organisations", security(()),
    request_body = RegisterRequest,
    responses((status = 201, body = Envelope<Registered>), refusals::Public, refusals::Bodied)
)]
pub(crate) async fn register(app: &Arc<App>, body: RequestBody) -> ApiResult<Reply> {
    if app.settings.borrow().registration == Registration::Off {
        return Err(Miss::Path.into());
    }
    let body = input::read(body, &app.bodies).await?;
    let (name, email) = person(Fields::of_body(&body)?)?;
    app.desk.admit()?;
    let mut owner = Owner::new(
        format!("org_{}", ids::characters::<16>()?),
        // Names of organisations are unique, and who registers shall not learn which there are.
        format!("{name} {}", ids::characters::<8>()?),
        format!("user_{}", ids::characters::<16>()?),
    );
    (owner.user_name, owner.email) = (name, Some(email));
    let order = Order { name: KEY_NAME.to_owned(), scopes: Scopes::STAR, expires_us: None };
    let (row, plain) = app.keys.mint(&owner, order)?;
    let key = KeyGiven {
        plain_key: plain.expose_secret().to_owned(),
        key_id: row.id.clone(),
        key_name: row.name.clone(),
        org_id: row.org.clone(),
        created_at: instant(row.created_us),
        expires_in: "never".to_owned(),
    };
    keys::insert_owner(app, owner.clone(), row).await?;
    let user = PersonShown { id: owner.user, name: owner.user_name, email: owner.email };
    let org = OrgShown { id: owner.org, name: owner.org_name };
    let data = Registered { user, org, api_key: key };
    Ok(reply::json(StatusCode::CREATED, &Envelope::new("registered", data)))
}

/// Name and address of who registers; the name may follow from the address.
fn person(mut fields: Fields) -> ApiResult<(String, String)> {
    let email = fields.text("email")?.ok_or_else(|| fields.refuse("email", "is required"))?;
    let parts = email.split_once('@').filter(|(local, host)| !local.is_empty() && !host.is_empty());
    let plain = email.bytes().all(|byte| byte.is_ascii_graphic());
    let rule = format_args!("must be an address of at most {} characters", limits::MAX_EMAIL);
    let (local, _) = parts
        .filter(|(_, host)| plain && !host.contains('@') && email.len() <= limits::MAX_EMAIL)
        .ok_or_else(|| fields.refuse("email", rule))?;
    let name = fields.text("name")?.filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| local.chars().take(limits::MAX_ADMIN_NAME).collect());
    if name.chars().count() > limits::MAX_ADMIN_NAME || name.chars().any(char::is_control) {
        let rule = format_args!("must have at most {} characters, none of control", limits::MAX_ADMIN_NAME);
        return Err(fields.refuse("name", rule));
    }
    Ok((name, email))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Result<(String, String), String> {
        person(Fields::of_body(body.as_bytes()).unwrap()).map_err(|error| error.message.into_owned())
    }

    #[test]
    fn a_person_has_an_address_and_perhaps_a_name() {
        let both = |name: &str, email: &str| Ok((name.to_owned(), email.to_owned()));
        assert_eq!(of(r#"{"name":"Ada","email":"ada@x"}"#), both("Ada", "ada@x"));
        assert_eq!(of(r#"{"name":"","email":"ada@x"}"#), both("ada", "ada@x"));
        for email in [
            "",
            "ada",
            "@x",
            "ada@",
            "a@b@c",
            "a b@c",
            "a\u{e9}@c",
            "a\n@c",
            &format!("a@{}", "x".repeat(300)),
        ] {
            let body = serde_json::json!({ "email": email }).to_string();
            assert!(of(&body).unwrap_err().starts_with("email: "), "{email:?}");
        }
        assert!(of(r#"{"email":"a@b","name":"x\u0007"}"#).unwrap_err().starts_with("name: "));
        assert!(of("{}").unwrap_err().starts_with("email: "));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_register_at_once() {
        let desk = Desk::default();
        let many = |desk: &Desk| (0..100).filter(|_| desk.admit().is_ok()).count();
        assert_eq!((many(&desk), many(&desk)), (limits::REGISTRATIONS, 0));
        tokio::time::advance(limits::REGISTER_WINDOW).await;
        assert_eq!(many(&desk), limits::REGISTRATIONS);
    }
}
