//! Who asks: credentials of a file as `docker login` writes it, and the registry's challenge (RFC 6750, and the token
//! protocol of registries).

use crate::error::Error;
use crate::http::{self, Client};
use crate::limits;
use crate::reference::Reference;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// The name under which `docker login` keeps what is for the registry of who names none.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Who asks. Never shown.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Base64 of `user:password`.
    basic: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.basic.is_some() { "Credentials" } else { "Anonymous" })
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
}

impl Credentials {
    /// Nobody.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// What a file says of the registry of `reference`; nobody, where it says nothing.
    ///
    /// # Errors
    /// [`Error::Credentials`] where the file is not as `docker login` writes it.
    pub fn parse(file: &[u8], reference: &Reference) -> Result<Self, Error> {
        let File { mut auths } = serde_json::from_slice(file).map_err(|_| Error::Credentials)?;
        let hub = reference.registry() == "docker.io";
        let names = [reference.registry(), if hub { HUB_KEY } else { reference.registry() }];
        let Some(basic) = names.iter().find_map(|name| auths.remove(*name)).and_then(|entry| entry.auth)
        else {
            return Ok(Self::anonymous());
        };
        let plain = STANDARD.decode(&basic).map_err(|_| Error::Credentials)?;
        if plain.contains(&b':') { Ok(Self { basic: Some(basic) }) } else { Err(Error::Credentials) }
    }

    fn header(&self) -> Option<String> {
        self.basic.as_ref().map(|basic| format!("Basic {basic}"))
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// What answers a challenge: the value of `Authorization`.
pub(crate) fn answer(
    client: &Client,
    credentials: &Credentials,
    challenge: &str,
    repository: &str,
) -> Result<String, Error> {
    let (scheme, rest) = challenge.split_once(' ').ok_or(Error::Authentication)?;
    if scheme.eq_ignore_ascii_case("basic") {
        return credentials.header().ok_or(Error::Authentication);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::Authentication);
    }
    let parameters = parameters(rest).ok_or(Error::Authentication)?;
    let realm = parameters.get("realm").ok_or(Error::Authentication)?;
    let mut address = format!("{realm}{}", if realm.contains('?') { '&' } else { '?' });
    if let Some(service) = parameters.get("service") {
        address.push_str(&format!("service={}&", encoded(service)));
    }
    // Not what the registry asks for: no more than we need.
    address.push_str(&format!("scope={}", encoded(&format!("repository:{repository}:pull"))));
    let headers: Vec<_> = credentials.header().map(|value| ("authorization", value)).into_iter().collect();
    let response = client.get(&address, &headers)?;
    let status = response.status().as_u16();
    if status != 200 {
        let host = client.address(&address)?.host().unwrap_or_default().to_owned();
        return Err(Error::Status { host, status, what: "a token" });
    }
    let body = http::body(response, "a token", limits::TOKEN)?;
    let Token { token, access_token } = serde_json::from_slice(&body).map_err(|_| Error::Authentication)?;
    let token = token.or(access_token).ok_or(Error::Authentication)?;
    let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(format!("Bearer {token}")) } else { Err(Error::Authentication) }
}

/// `name="value"`, separated by commas.
fn parameters(mut rest: &str) -> Option<HashMap<String, String>> {
    let mut all = HashMap::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if rest.is_empty() {
            return Some(all);
        }
        let (name, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        all.insert(name.trim().to_ascii_lowercase(), value.to_owned());
        rest = after;
    }
}

/// As part of a query.
fn encoded(text: &str) -> String {
    let keep =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/' | b':');
    let one = |byte: u8| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_taken_apart() {
        let all = parameters(r#"realm="https://a.b/t?x=y",service="a, b", Scope=c"#).unwrap();
        assert_eq!((all["realm"].as_str(), all["service"].as_str()), ("https://a.b/t?x=y", "a, b"));
        assert_eq!(all["scope"], "c");
        assert!(parameters(r#"realm="open"#).is_none() && parameters("nothing").is_none());
        assert_eq!(encoded("a b&c=d\r\n"), "a%20b%26c%3Dd%0D%0A");
    }

    #[test]
    fn credentials_are_those_of_the_registry() {
        let file = br#"{"auths":{"x.y":{"auth":"dTpw"},"https://index.docker.io/v1/":{"auth":"aDpw"}}}"#;
        let of = |text: &str| Credentials::parse(file, &Reference::parse(text).unwrap()).unwrap().header();
        assert_eq!(of("x.y/a").as_deref(), Some("Basic dTpw"));
        assert_eq!(of("python").as_deref(), Some("Basic aDpw"));
        assert_eq!(of("other.y/a"), None);
        let reference = Reference::parse("x.y/a").unwrap();
        for bad in [&b"{"[..], br#"{"auths":{"x.y":{"auth":"*"}}}"#, br#"{"auths":{"x.y":{"auth":"dQ=="}}}"#]
        {
            assert!(Credentials::parse(bad, &reference).is_err());
        }
    }
}
