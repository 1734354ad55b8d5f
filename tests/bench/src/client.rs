//! The smallest HTTP/1.1 client that keeps its connection: it adds the time of one write and a few reads.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Memory of a sandbox where a benchmark does not care.
const MEMORY_MIB: u64 = 1024;
/// Largest answer in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// One connection to the product, with the key of one tenant.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Client {
    /// Connects; no request is sent yet.
    pub(crate) fn connect(port: u16, key: &str) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("connect to the product")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), key: key.to_owned() })
    }

    /// Creates a sandbox and returns its id.
    pub(crate) fn create(&mut self, cpus: usize) -> Result<String> {
        self.create_with(cpus, MEMORY_MIB)
    }

    /// Creates one with so many MiB of memory, which bounds what it may have of files in memory too.
    pub(crate) fn create_with(&mut self, cpus: usize, memory_mib: u64) -> Result<String> {
        self.post(&json!({ "name": "bench", "image": "code", "cpu": cpus, "mem": memory_mib }))
    }

    /// Creates one of an image.
    pub(crate) fn create_of(&mut self, image: &str, cpus: usize) -> Result<String> {
        self.post(&json!({ "name": "bench", "image": image, "cpu": cpus, "mem": MEMORY_MIB }))
    }

    fn post(&mut self, body: &Value) -> Result<String> {
        let answer = self.call("POST", "/api/sandboxes", Some(body), 201)?;
        let id = answer.pointer("/data/id").and_then(Value::as_str);
        Ok(id.with_context(|| format!("no id in {answer}"))?.to_owned())
    }

    /// Runs a command that must end with 0.
    pub(crate) fn exec(&mut self, sandbox: &str, command: &str) -> Result<()> {
        let path = format!("/api/sandboxes/{sandbox}/exec");
        let answer = self.call("POST", &path, Some(&json!({ "command": command })), 200)?;
        ensure!(answer.pointer("/data/exitCode") == Some(&json!(0)), "exec answered {answer}");
        Ok(())
    }

    /// Removes a sandbox.
    pub(crate) fn remove(&mut self, sandbox: &str) -> Result<()> {
        self.call("DELETE", &format!("/api/sandboxes/{sandbox}"), None, 200).map(drop)
    }

    /// Sends a sandbox to another state: `sleep`, `wake`, `freeze`, `thaw`.
    pub(crate) fn turn(&mut self, sandbox: &str, word: &str) -> Result<()> {
        self.call("POST", &format!("/api/sandboxes/{sandbox}/{word}"), None, 200).map(drop)
    }

    /// Lists the newest sandboxes.
    pub(crate) fn list(&mut self) -> Result<()> {
        self.call("GET", "/api/sandboxes", None, 200).map(drop)
    }

    /// Opens a session with a terminal and returns its id.
    pub(crate) fn session(&mut self, sandbox: &str) -> Result<String> {
        let path = format!("/api/sandboxes/{sandbox}/pty/sessions");
        let answer = self.call("POST", &path, Some(&json!({})), 200)?;
        let id = answer.pointer("/data/sessionId").and_then(Value::as_str);
        Ok(id.with_context(|| format!("no sessionId in {answer}"))?.to_owned())
    }

    /// True when the product says that all of it works.
    pub(crate) fn healthy(&mut self) -> Result<()> {
        let (status, _) = self.exchange("GET", "/healthz", None)?;
        ensure!(status == 200, "GET /healthz answered {status}");
        Ok(())
    }

    fn call(&mut self, method: &str, path: &str, body: Option<&Value>, expected: u16) -> Result<Value> {
        let answer = self.exchange(method, path, body);
        let (status, text) = answer.with_context(|| format!("{method} {path}"))?;
        if status != expected {
            bail!("{method} {path} answered {status}: {}", String::from_utf8_lossy(&text));
        }
        serde_json::from_slice(&text).with_context(|| format!("answer of {method} {path}"))
    }

    fn exchange(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Vec<u8>)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).context("status line without status")?.parse()?;
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        let length = length.context("an answer without content-length")?;
        ensure!(length <= MAX_ANSWER, "an answer of {length} bytes");
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text)?;
        Ok((status, text))
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "the product closed the connection");
        Ok(line.trim_end().to_owned())
    }
}
