//! A plain HTTP client: one connection per call, so that no idle connection disturbs a count of descriptors. Each
//! answer is held against the server's OpenAPI document.

use crate::openapi::Description;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use ureq::http::{HeaderMap, Method, Request};

/// Longer than the longest command that a client may ask for (300 s).
const CALL_TIMEOUT: Duration = Duration::from_secs(330);

/// One server, seen with one API key.
#[derive(Debug, Clone)]
pub struct Client {
    agent: ureq::Agent,
    address: String,
    key: String,
    /// Read with the first answer.
    description: Arc<OnceLock<Description>>,
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// HTTP headers.
    pub headers: HeaderMap,
    /// Body, whole.
    pub body: Vec<u8>,
}

impl Client {
    /// A client of the server at `address` (`127.0.0.1:PORT`) that shows `key`.
    #[must_use]
    pub fn new(address: &str, key: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .max_redirects(0)
            .proxy(None)
            .allow_non_standard_methods(true)
            .timeout_global(Some(CALL_TIMEOUT))
            .build();
        let (address, key) = (address.to_owned(), key.to_owned());
        Self { agent: config.into(), address, key, description: Arc::default() }
    }

    /// The same server, seen with another key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The API key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// `GET /api<path>`.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None)
    }

    /// `DELETE /api<path>`.
    #[must_use]
    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None)
    }

    /// `POST /api<path>` with a JSON body.
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, Some(&body.to_string()))
    }

    /// `POST /api<path>` with these bytes.
    ///
    /// # Panics
    /// As [`Self::send`].
    #[must_use]
    pub fn upload(&self, path: &str, body: &[u8]) -> Answer {
        let target = format!("/api{path}");
        let headers = [("X-API-Key", self.key.as_str()), ("Content-Type", "application/octet-stream")];
        let answer = self.unchecked("POST", &target, &headers, Some(body));
        let answer = answer.unwrap_or_else(|e| panic!("POST {target}: {e}"));
        let description = self.description().unwrap_or_else(|e| panic!("the description: {e}"));
        let checked = description.check("POST", &target, &answer);
        checked.unwrap_or_else(|drift| panic!("{drift}; body: {}", answer.text()));
        answer
    }

    /// Any method below `/api`; a body is labelled as JSON.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let mut headers = vec![("X-API-Key", self.key.as_str())];
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        self.send(method, &format!("/api{path}"), &headers, body)
    }

    /// Any method, path, header and body; no key unless it is among the headers.
    ///
    /// # Panics
    /// When no HTTP answer comes, or one that the OpenAPI document does not declare.
    #[must_use]
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
        self.try_send(method, target, headers, body).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    /// [`Self::send`] for a server that may not be there.
    ///
    /// # Errors
    /// What `ureq` says.
    ///
    /// # Panics
    /// When an answer comes that the OpenAPI document does not declare.
    pub fn try_send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Answer, ureq::Error> {
        let answer = self.unchecked(method, target, headers, body.map(str::as_bytes))?;
        if target.trim_start_matches('/').starts_with("api/") {
            let checked = self.description()?.check(method, target, &answer);
            checked.unwrap_or_else(|drift| panic!("{drift}; body: {}", answer.text()));
        }
        Ok(answer)
    }

    /// The document is the same after every start of a server.
    fn description(&self) -> Result<&Description, ureq::Error> {
        if let Some(description) = self.description.get() {
            return Ok(description);
        }
        let document = self.unchecked("GET", "/api/openapi.json", &[], None)?.expect(200).json();
        Ok(self.description.get_or_init(|| Description::new(document)))
    }

    fn unchecked(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, ureq::Error> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method is a token");
        let mut request = Request::builder().method(method).uri(format!("http://{}{target}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = match body {
            Some(bytes) => self.agent.run(request.body(bytes.to_vec())?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("status {}, no JSON ({e}): {}", self.status, self.text()))
    }

    /// Checks the status.
    ///
    /// # Panics
    /// When it is another; the message holds the body.
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "body: {}", self.text());
        self
    }

    /// `data` of the success envelope, which is checked: `status` says `success`, the type is JSON.
    ///
    /// # Panics
    /// When the answer is no such envelope.
    #[must_use]
    pub fn data(&self) -> Value {
        let body = self.json();
        assert!((200..300).contains(&self.status), "status {}: {body}", self.status);
        assert_eq!(body["status"], "success", "{body}");
        assert!(body["message"].is_string(), "{body}");
        self.assert_json_type();
        body["data"].clone()
    }

    /// `error` and `details` of the error envelope in one text; status and shape are checked.
    ///
    /// # Panics
    /// When the answer is another one.
    #[must_use]
    pub fn error(&self, status: u16) -> String {
        let text = self.text();
        assert_eq!(self.status, status, "body: {text}");
        self.assert_json_type();
        let body = self.json();
        let object = body.as_object().unwrap_or_else(|| panic!("no object: {body}"));
        assert!(object["error"].is_string() && !object["error"].as_str().unwrap_or("").is_empty(), "{body}");
        let details = object.get("details").map(|d| d.as_str().unwrap_or_else(|| panic!("details: {body}")));
        for key in object.keys() {
            assert!(key == "error" || key == "details", "unexpected field {key} in {body}");
        }
        let error = object["error"].as_str().unwrap_or_default();
        format!("{error} {}", details.unwrap_or_default())
    }

    fn assert_json_type(&self) {
        let kind = self.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("");
        assert!(kind.starts_with("application/json"), "content type {kind:?}");
    }
}
