//! Gateway to runtime: one JSON value per packet of a seqpacket unix socket.
//!
//! The gateway sends [`Request`]s and may have several under way; the runtime answers each with a
//! [`Message::Reply`] that repeats its `seq`, in any order, and tells of sandboxes that died on their own with
//! [`Message::Event`]. Nothing here carries a path: both sides know the directories, and an id is enough to
//! name everything that a sandbox owns.

use crate::image::{
    Collected, FoundImage, ImageDetails, ImageExcess, ImageId, ImageName, ImageRow, ImportImage,
};
use crate::isolation::Isolation;
use crate::stats::{Counters, Stats};
use crate::{Limits, SandboxId};
use serde::{Deserialize, Serialize};

/// Version of this protocol; the runtime refuses another, and says so: both halves are of one release, and a gateway waits
/// for a runtime of its own. Unlike an agent's, requests with fields that are not known are refused.
pub const RUNTIME_PROTOCOL: u32 = 4;
/// Largest packet in bytes, both ways; a longer one is refused unread.
pub const MAX_PACKET: usize = 64 << 10;
/// Rows of one [`Reply::Sandboxes`], [`Reply::Disks`] or [`Reply::Leaks`], so that it fits into [`MAX_PACKET`].
pub const LIST_PAGE: usize = 128;
/// Longest host name in bytes (`sethostname(2)`).
pub const MAX_HOSTNAME: usize = 64;

/// Whether a text may become a host name: 1 to [`MAX_HOSTNAME`] bytes of `[a-z0-9.-]`.
#[must_use]
pub fn is_hostname(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    !text.is_empty() && text.len() <= MAX_HOSTNAME && text.bytes().all(allowed)
}

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
        /// Whose images are looked at before those of the host.
        org: Option<String>,
        /// The name.
        image: ImageName,
    },
    /// The names in the store, in order, [`IMAGE_PAGE`](crate::image::IMAGE_PAGE) at a time. Answered by
    /// [`Reply::Images`].
    ListImages {
        /// Whose.
        of: ImagesOf,
        /// So many rows are left out.
        skip: u64,
    },
    /// Everything about one image, of exactly this owner. Answered by [`Reply::ImageDetails`].
    InspectImage {
        /// Its owner.
        org: Option<String>,
        /// Its name.
        image: ImageName,
    },
    /// Unpack an image and give it a name. Answered by [`Reply::Imported`], or refused as
    /// [`RefusalKind::InvalidImage`], with what is wrong as the detail, [`RefusalKind::OverQuota`], or
    /// [`RefusalKind::Busy`].
    ImportImage(ImportImage),
    /// How many bytes may still be put beside the images. Answered by [`Reply::ImageRoom`].
    ImageRoom,
    /// Take a name away, of exactly this owner. Sandboxes that have the image keep it. Answered by
    /// [`Reply::ImageRemoved`].
    RemoveImage {
        /// Its owner.
        org: Option<String>,
        /// Its name.
        image: ImageName,
    },
    /// Delete what no name and no disk needs. Answered by [`Reply::Collected`] when all of it is out of reach.
    CollectImages,
    /// Start a sandbox, on a new disk or on the one that a stop kept. Answered by [`Reply::Created`] once its agent
    /// was executed.
    Create(CreateSandbox),
    /// End everything that runs in a sandbox and keep its disk; afterwards the runtime knows nothing of it but the
    /// disk. Answered by [`Reply::Stopped`] when its cgroup is proven empty; refused as [`RefusalKind::Unknown`]
    /// where nothing runs.
    Stop {
        /// Which.
        id: SandboxId,
    },
    /// Give no process of a running sandbox any time, its agent included. Answered by [`Reply::Frozen`] when the
    /// kernel says that all stand still; also where they did already.
    Freeze {
        /// Which.
        id: SandboxId,
    },
    /// The opposite of [`Call::Freeze`]. Answered by [`Reply::Thawed`].
    Thaw {
        /// Which.
        id: SandboxId,
    },
    /// Give a running sandbox another host name: one that was prepared ahead gets the name of who takes it. Answered
    /// by [`Reply::Named`].
    Name {
        /// Which.
        id: SandboxId,
        /// As [`CreateSandbox::hostname`].
        hostname: String,
    },
    /// End a sandbox, dead or alive, and put its disk out of reach. Answered by [`Reply::Destroyed`] when its
    /// cgroup is proven empty.
    Destroy {
        /// Which.
        id: SandboxId,
    },
    /// The OCI runtime spec from which a sandbox is launched. For root alone, never for a gateway. Answered by
    /// [`Reply::Spec`].
    Spec {
        /// Of what.
        of: SpecOf,
    },
    /// What runs, in order of id, [`LIST_PAGE`] at a time.
    List {
        /// Only ids greater than this one.
        after: Option<SandboxId>,
    },
    /// Which ids have a disk, in order, [`LIST_PAGE`] at a time. Answered by [`Reply::Disks`].
    ListDisks {
        /// Only ids greater than this one.
        after: Option<SandboxId>,
    },
    /// What exists on the host under the name of this instance and no record claims. Answered by [`Reply::Leaks`].
    Leaks,
    /// What is in force for a running sandbox, read back from the kernel; its agent is not asked. Answered by
    /// [`Reply::Isolation`], or refused as [`RefusalKind::NotRunning`].
    Inspect {
        /// Which.
        id: SandboxId,
    },
    /// What a sandbox uses. One that is asleep uses its disk. Answered by [`Reply::Stats`].
    Stats {
        /// Which.
        id: SandboxId,
    },
    /// What the runtime has done so far. Answered by [`Reply::Counters`].
    Counters,
    /// The text of a file of the operator that only root may have to read. Answered by [`Reply::File`], or refused as
    /// [`RefusalKind::Failed`], with what is wrong as the detail, for the operator.
    ReadFile {
        /// Which.
        file: OperatorFile,
    },
}

/// The closed set of files that the runtime reads for a gateway. Where they lie says the runtime's own configuration, as
/// it is at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatorFile {
    /// The configuration itself.
    Configuration,
    /// The certificate of the API and those between it and its root (PEM).
    TlsCertificate,
    /// Its private key (PEM).
    TlsKey,
}

/// Longest file that is read for a gateway, in bytes: with every line end written as two characters it fits into
/// [`MAX_PACKET`]. A certificate has about 2 KiB.
pub const MAX_OPERATOR_FILE: usize = 24 << 10;

/// Everything that decides what a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSandbox {
    /// Its name; it must not run yet.
    pub id: SandboxId,
    /// Counts the launches of this sandbox, from 1; the agent's handles depend on it.
    pub launch: u32,
    /// Which disk it gets.
    pub disk: Disk,
    /// The image of a new disk; a kept one stays on that it was made on.
    pub image: ImageId,
    /// The name by which it was asked for: what the operator says of images of this name holds.
    pub named: ImageName,
    /// Its ceilings; the runtime checks them again.
    pub limits: Limits,
    /// Its host name, [`MAX_HOSTNAME`] bytes at most, of `[a-z0-9.-]`.
    pub hostname: String,
}

/// What a spec is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SpecOf {
    /// A sandbox that a request would make of the host's image of this name.
    Image {
        /// Its name.
        image: ImageName,
        /// Its ceilings.
        limits: Limits,
    },
    /// A sandbox that runs.
    Sandbox {
        /// Which.
        id: SandboxId,
    },
}

/// Whose names a list has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImagesOf {
    /// Everybody's.
    All,
    /// Those of the host, and of this organisation.
    Org(String),
}

/// Which disk a launch uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// A new, empty one; destroyed again if the launch fails.
    New,
    /// The one that an earlier launch left; kept if the launch fails.
    Kept,
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
        /// Its release, for people.
        #[serde(default)]
        release: String,
    },
    /// To [`Call::ResolveImage`].
    Image(FoundImage),
    /// To [`Call::ListImages`]; shorter than a page means that it was the last.
    Images(Vec<ImageRow>),
    /// To [`Call::InspectImage`].
    ImageDetails(Box<ImageDetails>),
    /// To [`Call::ImportImage`].
    Imported(ImageRow),
    /// To [`Call::ImageRoom`]: what is free of the disk that images lie on, without what others were promised of it.
    ImageRoom {
        /// Bytes.
        bytes: u64,
    },
    /// To [`Call::RemoveImage`].
    ImageRemoved,
    /// To [`Call::CollectImages`].
    Collected(Collected),
    /// To [`Call::Create`]: the agent runs and listens, and [`crate::address`] leads to it.
    Created {
        /// Counts the launches of this sandbox, from 1.
        launch: u32,
    },
    /// To [`Call::Destroy`].
    Destroyed,
    /// To [`Call::Stop`].
    Stopped,
    /// To [`Call::Freeze`].
    Frozen,
    /// To [`Call::Thaw`].
    Thawed,
    /// To [`Call::Name`].
    Named,
    /// To [`Call::ListDisks`]; shorter than [`LIST_PAGE`] means that it was the last page.
    Disks(Vec<SandboxId>),
    /// To [`Call::Leaks`]: the first [`LIST_PAGE`].
    Leaks(Vec<Leak>),
    /// To [`Call::List`]; shorter than [`LIST_PAGE`] means that it was the last page.
    Sandboxes(Vec<SandboxStatus>),
    /// To [`Call::Inspect`].
    Isolation(Isolation),
    /// To [`Call::Stats`].
    Stats(Box<Stats>),
    /// To [`Call::Counters`].
    Counters(Box<Counters>),
    /// To [`Call::ReadFile`].
    File {
        /// At most [`MAX_OPERATOR_FILE`] bytes.
        text: String,
    },
    /// To [`Call::Spec`].
    Spec {
        /// The spec as JSON, some 20 KiB.
        json: String,
    },
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
    /// What shall be imported breaks a rule; the detail says which and may be shown to who gave it.
    InvalidImage,
    /// As many imports as there may be are under way or wait.
    Busy,
    /// The owner of an image would have more than it may.
    OverQuota(ImageExcess),
    /// The host has no room.
    NoRoom(Scarce),
    /// A step failed; the log of the runtime says which.
    Failed,
}

/// What a host has too little of for another sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scarce {
    /// Ranges of ids.
    Ids,
    /// Memory that is available, or that is not promised where promises are bounded.
    Memory,
    /// Process numbers.
    Processes,
    /// Entries of the host's table of open files.
    Files,
    /// Bytes on the disks.
    Disk,
    /// Time: tasks wait for memory or processors for too much of it.
    Pressure,
    /// The runtime is stopping.
    Stopping,
}

/// Something of the host that bears the name of this instance and belongs to no sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leak {
    /// What it is.
    pub kind: LeakKind,
    /// What it is called; at most [`MAX_LEAK_NAME`] bytes of printable ASCII.
    pub name: String,
}

/// Longest [`Leak::name`] in bytes.
pub const MAX_LEAK_NAME: usize = 255;

/// Kinds of things that a sandbox owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakKind {
    /// A cgroup.
    Cgroup,
    /// A process that runs as an id of a range that no sandbox has.
    Process,
    /// A claim on a range of ids.
    Ids,
    /// The socket of an agent.
    Socket,
    /// A mount below the run directory.
    Mount,
    /// A record that could not be read and was set aside.
    Record,
}

/// One sandbox as the runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// Which.
    pub id: SandboxId,
    /// Counts its launches, from 1.
    pub launch: u32,
    /// Whether its processes get any time.
    pub life: Life,
}

/// Whether the processes of a sandbox get any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// They do.
    Running,
    /// They stand still until a thaw.
    Frozen,
}

/// What a runtime tells unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The agent of a sandbox ended though nobody asked for it; its processes are gone, its disk is kept, and the
    /// runtime knows nothing else of it any more.
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
    fn a_full_page_of_leaks_fits_into_one_packet() {
        let leak = Leak { kind: LeakKind::Process, name: "x".repeat(MAX_LEAK_NAME) };
        let page = Message::Reply { seq: u64::MAX, reply: Reply::Leaks(vec![leak; LIST_PAGE]) };
        assert!(serde_json::to_vec(&page).unwrap().len() < MAX_PACKET);
    }

    #[test]
    fn the_longest_file_fits_into_one_packet() {
        let text = "\n".repeat(MAX_OPERATOR_FILE);
        let reply = Message::Reply { seq: u64::MAX, reply: Reply::File { text } };
        assert!(serde_json::to_vec(&reply).unwrap().len() < MAX_PACKET);
    }

    #[test]
    fn a_host_name_is_short_and_plain() {
        let long = "a".repeat(MAX_HOSTNAME + 1);
        assert!(["", "Upper", "a b", "a\nb", "a/b", "ä", &long].iter().all(|text| !is_hostname(text)));
        assert!(is_hostname("box-1.example") && is_hostname(&long[1..]));
    }

    #[test]
    fn unknown_calls_and_fields_are_refused() {
        for text in [r#"{"seq":1,"call":{"mount":{}}}"#, r#"{"seq":1,"call":{"hello":{"protocol":1,"x":2}}}"#]
        {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
