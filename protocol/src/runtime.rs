//! Gateway to runtime: one JSON value per packet of a seqpacket unix socket.
//!
//! The gateway sends [`Request`]s and may have several under way; the runtime answers each with a
//! [`Message::Reply`] that repeats its `seq`, in any order, and tells of sandboxes that died on their own with
//! [`Message::Event`]. Nothing here carries a path: both sides know the directories, and an id is enough to
//! name everything that a sandbox owns.

use crate::isolation::Isolation;
use crate::{Limits, SandboxId};
use serde::{Deserialize, Serialize};

/// Version of this protocol; the runtime refuses another.
pub const RUNTIME_PROTOCOL: u32 = 1;
/// Largest packet in bytes, both ways; a longer one is refused unread.
pub const MAX_PACKET: usize = 64 << 10;
/// Sandboxes in one [`Reply::Sandboxes`], so that it fits into [`MAX_PACKET`].
pub const LIST_PAGE: usize = 128;
/// Longest image name in bytes.
pub const MAX_IMAGE_NAME: usize = 128;
/// Longest host name in bytes (`sethostname(2)`).
pub const MAX_HOSTNAME: usize = 64;

/// One question of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Chosen by the gateway, repeated in the reply.
    pub seq: u64,
    /// What is asked.
    pub call: Call,
}

/// The closed set of what the runtime does for a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// Is anybody there, and of which version? Answered by [`Reply::Hello`].
    Hello {
        /// [`RUNTIME_PROTOCOL`] of the gateway.
        protocol: u32,
    },
    /// Does this image exist? Answered by [`Reply::Image`] or [`RefusalKind::UnknownImage`].
    ResolveImage {
        /// `name` or `name:tag`.
        image: String,
    },
    /// Make and start a sandbox. Answered by [`Reply::Created`] once its agent was executed.
    Create(CreateSandbox),
    /// End a sandbox, dead or alive, and put its disk out of reach. Answered by [`Reply::Destroyed`] when its
    /// cgroup is proven empty.
    Destroy {
        /// Which.
        id: SandboxId,
    },
    /// What exists, in order of id, [`LIST_PAGE`] at a time.
    List {
        /// Only ids greater than this one.
        after: Option<SandboxId>,
    },
    /// What is in force for a running sandbox, read back from the kernel; its agent is not asked. Answered by
    /// [`Reply::Isolation`], or refused as [`RefusalKind::NotRunning`].
    Inspect {
        /// Which.
        id: SandboxId,
    },
}

/// Everything that decides what a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSandbox {
    /// Its name; it must not exist yet.
    pub id: SandboxId,
    /// The image, as [`Reply::Image`] named it.
    pub image: String,
    /// Its ceilings; the runtime checks them again.
    pub limits: Limits,
    /// Its host name, [`MAX_HOSTNAME`] bytes at most, of `[a-z0-9.-]`.
    pub hostname: String,
}

/// What the runtime sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The answer to the request with this number.
    Reply {
        /// [`Request::seq`].
        seq: u64,
        /// The answer.
        reply: Reply,
    },
    /// Something happened that nobody asked for.
    Event(Event),
}

/// The answers, one for each [`Call`], and the refusal of any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To [`Call::Hello`].
    Hello {
        /// [`RUNTIME_PROTOCOL`] of the runtime.
        protocol: u32,
    },
    /// To [`Call::ResolveImage`].
    Image {
        /// The full name, `name:tag`.
        image: String,
    },
    /// To [`Call::Create`]: the agent runs and its socket, `<run-dir>/gateway/agents/<id>.sock`, listens.
    Created {
        /// Counts the launches of this sandbox, from 1.
        launch: u32,
    },
    /// To [`Call::Destroy`].
    Destroyed,
    /// To [`Call::List`]; shorter than [`LIST_PAGE`] means that it was the last page.
    Sandboxes(Vec<SandboxStatus>),
    /// To [`Call::Inspect`].
    Isolation(Isolation),
    /// The call was not carried out, and nothing of it is left.
    Refused {
        /// Why, for the program.
        kind: RefusalKind,
        /// Why, for the log of the gateway; never for a client.
        detail: String,
    },
}

/// Why a call was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The request breaks a rule of this module.
    Invalid,
    /// A sandbox of this id exists.
    Exists,
    /// No sandbox of this id exists.
    Unknown,
    /// The sandbox exists and its agent does not run.
    NotRunning,
    /// No such image.
    UnknownImage,
    /// The host has no room: ids, memory, processes or files.
    NoRoom,
    /// A step failed; the log of the runtime says which.
    Failed,
}

/// One sandbox as the runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Which.
    pub id: SandboxId,
    /// Counts its launches, from 1.
    pub launch: u32,
    /// Whether its agent lives.
    pub life: Life,
}

/// Whether the agent of a sandbox lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// It does.
    Running,
    /// It ended; the disk is kept until the sandbox is destroyed.
    Dead,
}

/// What a runtime tells unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The agent of a sandbox ended though nobody destroyed it; its processes are gone, its disk is kept.
    Died {
        /// Which.
        id: SandboxId,
        /// In which launch.
        launch: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_fits_into_one_packet() {
        let id = SandboxId::parse(&"z".repeat(crate::id::SANDBOX_ID_LEN)).unwrap();
        let row = SandboxStatus { id, launch: u32::MAX, life: Life::Running };
        let page = Message::Reply { seq: u64::MAX, reply: Reply::Sandboxes(vec![row; LIST_PAGE]) };
        assert!(serde_json::to_vec(&page).unwrap().len() < MAX_PACKET);
    }

    #[test]
    fn unknown_calls_and_fields_are_refused() {
        for text in [r#"{"seq":1,"call":{"mount":{}}}"#, r#"{"seq":1,"call":{"hello":{"protocol":1,"x":2}}}"#]
        {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
