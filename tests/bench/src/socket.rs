//! The smallest WebSocket client: short messages to the server, whole frames from it.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Any key does.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Any mask does, but not none: the server has to apply it.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x01, 0xfe];
/// A whole text message, and its mask.
const TEXT: u8 = 0x81;
const MASKED: u8 = 0x80;
/// Kinds of frames from the server.
const BINARY_FRAME: u8 = 2;
const PING_FRAME: u8 = 9;

/// One connection after its upgrade.
pub(crate) struct Socket {
    stream: BufReader<TcpStream>,
}

impl Socket {
    /// Upgrades `path`, which has its query.
    pub(crate) fn connect(port: u16, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let mut socket = Self { stream: BufReader::new(stream) };
        socket.patience(Duration::from_secs(10))?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        socket.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        socket.stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 101 "), "no upgrade: {line}");
        while line.trim_end() != "" {
            line.clear();
            ensure!(socket.stream.read_line(&mut line)? > 0, "the server closed within its answer");
        }
        Ok(socket)
    }

    /// How long a read waits.
    pub(crate) fn patience(&mut self, time: Duration) -> Result<()> {
        Ok(self.stream.get_ref().set_read_timeout(Some(time))?)
    }

    /// Sends up to 125 bytes of text.
    pub(crate) fn send(&mut self, text: &[u8]) -> Result<()> {
        let length =
            u8::try_from(text.len()).ok().filter(|length| *length <= 125).context("a long message")?;
        let mut frame = vec![TEXT, MASKED | length];
        frame.extend_from_slice(&MASK);
        frame.extend(text.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        Ok(self.stream.get_mut().write_all(&frame)?)
    }

    /// The next bytes that the terminal showed.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let length = match head[1] {
                126 => {
                    let mut long = [0; 2];
                    self.stream.read_exact(&mut long)?;
                    usize::from(u16::from_be_bytes(long))
                }
                short @ 0..126 => usize::from(short),
                127.. => bail!("a frame of 64 KiB or more, or a mask"),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload)?;
            match head[0] & 0x0f {
                BINARY_FRAME => return Ok(payload),
                PING_FRAME => {}
                other => bail!("a frame of kind {other}: {}", String::from_utf8_lossy(&payload)),
            }
        }
    }
}
