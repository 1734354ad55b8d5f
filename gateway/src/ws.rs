//! The gateway's side of a WebSocket (RFC 6455): the handshake, one client, and how output is cut for it.
//! Extensions and subprotocols are declined. Must never know what the bytes mean.

mod client;
mod cutter;
mod handshake;
pub(crate) mod line;

pub(crate) use client::{Client, Said};
pub(crate) use cutter::{Cutter, Tail};
pub(crate) use handshake::accept;

/// Why a socket is closed: the code of RFC 6455 and a word for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

impl Farewell {
    /// What was served is over.
    pub(crate) const OVER: Self = Self { code: 1000, reason: "the shell has ended" };
    /// What was watched is no more.
    pub(crate) const UNWATCHED: Self = Self { code: 1000, reason: "what was watched is gone" };
    /// The sandbox of a watch no longer runs: an ordinary end, as one SDK has it.
    pub(crate) const PARTED: Self = Self { code: 1000, reason: "the sandbox no longer runs" };
    /// The sandbox is deleted, dead, or no longer ours to reach.
    pub(crate) const GONE: Self = Self { code: 1001, reason: "the sandbox is gone" };
    /// The sandbox was put to sleep; its shell with it.
    pub(crate) const SLEPT: Self = Self { code: 1001, reason: "the sandbox was put to sleep" };
    /// The gateway closes.
    pub(crate) const CLOSING: Self = Self { code: 1001, reason: "the server is closing" };
    /// The key under which it was opened has ended.
    pub(crate) const REVOKED: Self = Self { code: 1008, reason: "the key is no longer valid" };
    /// The client broke the protocol.
    pub(crate) const PROTOCOL: Self = Self { code: 1002, reason: "this is not RFC 6455" };
    /// A text message was no text.
    pub(crate) const NO_TEXT: Self = Self { code: 1007, reason: "a text message must be UTF-8" };
    /// The client does not read.
    pub(crate) const SLOW: Self = Self { code: 1008, reason: "the client reads too slowly" };
    /// The client does not answer.
    pub(crate) const SILENT: Self = Self { code: 1008, reason: "the client answers no ping" };
    /// The program does not read.
    pub(crate) const DEAF: Self = Self { code: 1008, reason: "the terminal takes no input" };
    /// A message of the client was too long.
    pub(crate) const TOO_LONG: Self = Self { code: 1009, reason: "a message may have 65536 bytes" };
    /// The agent was late or broke the protocol.
    pub(crate) const FAULT: Self = Self { code: 1011, reason: "the sandbox's agent failed" };
}
