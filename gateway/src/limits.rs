//! Every bound of the gateway, with its unit and its reason. Whatever a client, an agent or a runtime can
//! make grow is held by a number of this file; no other file may type one.

use bulkhead_protocol::image::IMPORT_TIME;
use std::time::Duration;

/// Client connections at once; each costs a descriptor and about 20 KiB.
pub(crate) const MAX_CONNECTIONS: usize = 4096;
/// Bytes of a request line and its headers.
pub(crate) const MAX_HEADER_BYTES: usize = 32 << 10;
/// From the first wait for a request to the end of its headers; also how long a kept connection may idle.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// From the acceptance of a connection to the end of its TLS handshake.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// A whole JSON body must have come by then.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// A client that reads nothing of its answer for so long is cut.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(60);
/// Bytes of a JSON body (contract, head of the page).
pub(crate) const MAX_BODY: usize = 2 << 20;
/// Bytes up to which a body needs no place in the budget: [`MAX_CONNECTIONS`] of them are its size again.
pub(crate) const SMALL_BODY: usize = 64 << 10;
/// Bytes of all larger bodies together that are being read.
pub(crate) const BODY_BUDGET: usize = 256 << 20;
const _: () = assert!(SMALL_BODY * MAX_CONNECTIONS <= BODY_BUDGET);
/// Nesting of a JSON body: ours never go deeper than 3.
pub(crate) const MAX_JSON_DEPTH: usize = 32;
/// Values in one JSON body, so that parsing stays below 50 ms.
pub(crate) const MAX_JSON_VALUES: usize = 50_000;
/// Wait after a failed accept (EMFILE), so that it does not spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// After SIGTERM requests under way have so long.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);
/// After SIGTERM a client that was accepted and not answered has so long to say what it wants; once more for a handshake.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_secs(2);
const _: () = assert!(2 * FIRST_REQUEST.as_secs() < DRAIN.as_secs());
/// An old gateway may still hold the port; a runtime may still be starting.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts of the above.
pub(crate) const START_PAUSE: Duration = Duration::from_millis(50);

/// An answer of `/healthz` is good for so long: anybody may ask, and each asks the runtime.
pub(crate) const HEALTH_AGE: Duration = Duration::from_millis(500);

/// With fewer bytes free the disk of the state directory counts as full: the next requests would fail in the middle.
pub(crate) const DISK_LEAST: u64 = 4 << 20;

/// How often the disk is looked at.
pub(crate) const DISK_LOOK: Duration = Duration::from_secs(1);

/// Sandboxes of an organisation of whom nothing else was said.
pub(crate) const ORG_SANDBOXES: u64 = 1000;
/// The same: thousandths of processors. Limits are ceilings, not promises, so this is far above what a host has.
pub(crate) const ORG_CPU_MILLIS: u64 = 1000 * 8 * 1000;
/// The same: MiB of memory, of ceilings as well.
pub(crate) const ORG_MEMORY_MIB: u64 = 4 << 20;
/// Usual ceiling of the names of its own images.
pub(crate) const ORG_IMAGES: u64 = 100;
/// Usual ceiling of MiB of their files: a few large images, and no disk of a host full of one tenant's.
pub(crate) const ORG_IMAGE_MIB: u64 = 20 << 10;
/// The same: executions that connections hold. Those that nobody holds are bounded by their sandbox.
pub(crate) const ORG_EXECUTIONS: u64 = 1024;
/// The same: streams of events, WebSockets and waits.
pub(crate) const ORG_STREAMS: u64 = 1024;
/// The same: bytes per second, about a port of 10 Gbit/s.
pub(crate) const ORG_BYTES: u64 = 1 << 30;
/// The same: requests per second; one exec costs the host half a millisecond.
pub(crate) const ORG_REQUESTS: u64 = 2000;
/// Connections of one organisation, whatever its quota: one alone cannot hold all places.
pub(crate) const ORG_CONNECTIONS: u64 = MAX_CONNECTIONS as u64 / 4 * 3;
/// Connections on which nobody has shown a good key yet; one more sends the oldest of them away. Beside one organisation
/// that has all of its own there is room for others.
pub(crate) const MAX_UNCLAIMED: usize = MAX_CONNECTIONS / 16 * 3;
const _: () = assert!(ORG_CONNECTIONS + (MAX_UNCLAIMED as u64) < MAX_CONNECTIONS as u64);
/// A connection on which nobody has shown a good key ends so long after it began: it counts for no organisation.
pub(crate) const UNCLAIMED: Duration = Duration::from_secs(60);
/// So many seconds' worth of requests may come at once.
pub(crate) const REQUEST_BURST: Duration = Duration::from_secs(2);
/// So many seconds' worth of bytes may go out at once.
pub(crate) const BYTE_BURST: Duration = Duration::from_secs(1);

/// Lines on their way to the audit log: a second's worth at its fastest.
pub(crate) const AUDIT_QUEUE: usize = 4096;
/// How long lines gather before they are written.
pub(crate) const AUDIT_PAUSE: Duration = Duration::from_millis(2);
/// How long a gateway that closes waits for its last lines.
pub(crate) const AUDIT_CLOSE: Duration = Duration::from_secs(1);
/// Bytes of one file of the audit log.
pub(crate) const AUDIT_BYTES: u64 = 64 << 20;
/// Earlier files of the audit log that are kept.
pub(crate) const AUDIT_FILES: u32 = 4;
/// Characters of an object's name in the audit log: ids of ours are shorter.
pub(crate) const AUDIT_OBJECT: usize = 64;

/// How long the answer to a request with an `Idempotency-Key` is kept.
pub(crate) const ANSWER_AGE: Duration = Duration::from_secs(24 * 3600);
/// Bytes of such an answer.
pub(crate) const ANSWER_BYTES: usize = 64 << 10;
/// Such answers of one organisation; the oldest give way.
pub(crate) const ANSWERS: usize = 10_000;
/// What the store keeps of an organisation is counted after each so many new ones: that costs a millisecond.
pub(crate) const TRIM: usize = 100;
/// Between two looks for such answers that are too old.
pub(crate) const ANSWER_SWEEP: Duration = Duration::from_secs(600);

/// How long a scrape of the metrics waits for the runtime.
pub(crate) const SCRAPE: Duration = Duration::from_secs(2);
/// Events of one organisation that are kept for who comes late; each has about 200 bytes.
pub(crate) const NEWS: usize = 1024;
/// Connections that follow the events of one organisation.
pub(crate) const NEWS_READERS: usize = 64;
/// What a sandbox uses is read at most once in this time, whoever asks.
pub(crate) const STATS_AGE: Duration = Duration::from_millis(250);
/// Looks at once at what a sandbox uses and at what is in force for it: each takes some of the runtime's one thread.
pub(crate) const LOOKS_AT_ONCE: usize = 2;
/// Looks of one organisation that wait for their turn.
pub(crate) const ORG_LOOKS: usize = 256;
/// Looks of all that wait for their turn.
pub(crate) const LOOKS: usize = 1024;
/// How long each waits: behind a runtime that does not answer nobody gets a turn.
pub(crate) const LOOK_PATIENCE: Duration = Duration::from_secs(10);

/// Launches at once. The runtime makes one after the other; a few more keep it busy while gateway and agents do theirs.
pub(crate) const LAUNCHES: usize = 4;
/// Creates of one organisation that wait for their turn.
pub(crate) const ORG_QUEUE: usize = 256;
/// Creates of all that wait for their turn.
pub(crate) const QUEUE: usize = 1024;

/// Jobs after which the store's log is moved into its file once nothing was asked for [`STORE_IDLE`].
pub(crate) const STORE_JOBS_IDLE: u32 = 250;
/// See [`STORE_JOBS_IDLE`].
pub(crate) const STORE_IDLE: Duration = Duration::from_millis(200);
/// Jobs after which it is moved whoever waits: the log has grown to about 50 MiB.
pub(crate) const STORE_JOBS: u32 = 5000;

/// Sandboxes that the gateway keeps at once: as many as a host has id ranges.
pub(crate) const MAX_SANDBOXES: usize = 4093;
/// Connections to one sandbox's agent at once.
pub(crate) const MAX_STREAMS: usize = 160;
/// Bytes of input on their way to one sandbox's programs, which may read it late or never.
pub(crate) const SANDBOX_INPUT: usize = 4 << 20;
const _: () = assert!(SANDBOX_INPUT >= bulkhead_protocol::agent::MAX_JSON);
/// Bytes of output that all executions together may hold in memory.
pub(crate) const OUTPUT_BUDGET: usize = 512 << 20;
/// Bytes of one output stream that are kept whole.
pub(crate) const OUTPUT_WHOLE: usize = 8 << 20;
/// Bytes that are kept at each end of a stream longer than [`OUTPUT_WHOLE`].
pub(crate) const OUTPUT_END: usize = 4 << 20;
const _: () = assert!(2 * OUTPUT_END == OUTPUT_WHOLE);
/// Bytes of one piece of an answer, and answers up to which have a `Content-Length`.
pub(crate) const PIECE: usize = 64 << 10;

/// Connecting to an agent: its socket listens before it runs.
pub(crate) const AGENT_CONNECT: Duration = Duration::from_secs(1);
/// Between two attempts while the agent's backlog is full.
pub(crate) const AGENT_CONNECT_PAUSE: Duration = Duration::from_millis(10);
/// From the request to the head of the answer.
pub(crate) const AGENT_FIRST_BYTE: Duration = Duration::from_secs(10);
/// The same of a kill: the kernel takes its time where much memory has to be given back.
pub(crate) const AGENT_KILL: Duration = Duration::from_secs(30);
/// The same of input, which waits for the program to read it.
pub(crate) const AGENT_INPUT: Duration = Duration::from_secs(60);
/// Silence of a stream; the agent sends a keep-alive each ten seconds.
pub(crate) const AGENT_SILENCE: Duration =
    Duration::from_secs(3 * bulkhead_protocol::agent::KEEP_ALIVE_SECONDS);
/// The first hello of a new sandbox.
pub(crate) const AGENT_HELLO: Duration = Duration::from_secs(5);
/// A whole unary answer.
pub(crate) const AGENT_UNARY: Duration = Duration::from_secs(60);
/// Bytes of an agent's answer head.
pub(crate) const AGENT_HEADER_BYTES: usize = 8 << 10;
/// Headers of an agent's answer.
pub(crate) const AGENT_HEADERS: usize = 32;
/// Read buffer of one agent connection, in bytes: one record of an agent with everything around it. A stream
/// whose client has stopped holds it twice, read and on its way to the frames.
pub(crate) const AGENT_BUFFER: usize = 40 << 10;
/// Bytes of output that are worked on at once: as events they can become seven times as many.
pub(crate) const OUTPUT_ITEM: usize = 32 << 10;
/// Bytes of an agent's JSON frame: ours have below 300.
pub(crate) const AGENT_JSON_FRAME: usize = 4 << 10;
/// Empty frames that a stream may start with, plus one for each second of its life.
pub(crate) const EMPTY_FRAMES: u64 = 64;
/// Largest count that is believed: what a JSON number carries exactly.
pub(crate) const MAX_COUNT: u64 = 1 << 53;
/// A connection that ended early is explained by a death that the runtime reports within this time.
pub(crate) const DEATH_NOTICE: Duration = Duration::from_secs(2);

/// Runtime: making a sandbox.
pub(crate) const RUNTIME_CREATE: Duration = Duration::from_secs(30);
/// Runtime: ending a sandbox.
pub(crate) const RUNTIME_DESTROY: Duration = Duration::from_secs(30);
/// Runtime: making all processes of a sandbox stand still or go on; longer than the runtime itself waits for it.
pub(crate) const RUNTIME_TURN: Duration = Duration::from_secs(10);
/// Runtime: hello, image names, one page of a list, a look at a sandbox.
pub(crate) const RUNTIME_QUICK: Duration = Duration::from_secs(2);
/// Runtime: checking and unpacking an image, when its turn has come; longer than the runtime waits for either.
pub(crate) const RUNTIME_IMPORT: Duration = Duration::from_secs(2 * IMPORT_TIME.as_secs() + 60);
/// Images that are looked at, of the host and of one organisation together.
pub(crate) const IMAGES: usize = 4096;
/// Bytes of an image's archive that a client sends; it waits on our disk until it is unpacked.
pub(crate) const MAX_ARCHIVE: u64 = MAX_UPLOAD;
/// Bytes of an archive between two looks at the room that is left: all that come at once take less between two looks than
/// an import leaves free.
pub(crate) const ARCHIVE_LOOK: u64 = 64 << 20;
/// Archives that clients send or that are being unpacked, at once; each organisation has one.
pub(crate) const ARCHIVES: usize = 4;
/// An archive must have come by then.
pub(crate) const ARCHIVE_TIME: Duration = Duration::from_secs(3600);
/// Characters of what the runtime says of an archive that reach its sender.
pub(crate) const ARCHIVE_FAULT: usize = 500;
/// Runtime: a look over the whole host.
pub(crate) const RUNTIME_LEAKS: Duration = Duration::from_secs(10);
/// A call made while the runtime is away waits so long for it.
pub(crate) const RUNTIME_WAIT: Duration = Duration::from_secs(5);
/// First pause before connecting to the runtime again; it doubles.
pub(crate) const RECONNECT_FIRST: Duration = Duration::from_millis(50);
/// Longest pause before connecting to the runtime again.
pub(crate) const RECONNECT_MOST: Duration = Duration::from_secs(2);
/// First pause before a failed destroy is tried again; it doubles.
pub(crate) const DESTROY_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before a failed destroy is tried again.
pub(crate) const DESTROY_MOST: Duration = Duration::from_secs(60);

/// A request waits so long for a transition of its sandbox that somebody else drives.
pub(crate) const TRANSITION_PATIENCE: Duration = Duration::from_secs(40);
/// Steps and waits of a request on its way to where it wants a sandbox; the longest way alone has three.
pub(crate) const STEPS: u32 = 256;
/// Times that a request wakes a sandbox which others put to sleep again before it gets in.
pub(crate) const WAKES: u32 = 64;
/// A sandbox with `autoSleep` rests after so long without use (contract §3.7).
pub(crate) const AUTO_SLEEP: Duration = Duration::from_secs(60);
/// Between two looks for what is idle or over: a TTL is kept to within 5 s.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);
/// Idle sandboxes whose agents are being asked at once.
pub(crate) const SWEEP_ASKS: usize = 16;
/// How long an Idempotency-Key of a create is kept, in microseconds.
pub(crate) const CREATE_KEY_US: i64 = 24 * 3600 * 1_000_000;
/// Idempotency-Keys of creates of one organisation; the oldest give way, but none whose create goes on.
pub(crate) const CREATE_KEYS: usize = 10_000;
/// Between two removals of older ones.
pub(crate) const CREATE_KEY_SWEEP: Duration = Duration::from_secs(3600);
/// First pause before a create that somebody was told of is tried again; it doubles.
pub(crate) const PROMISE_FIRST: Duration = Duration::from_secs(1);
/// Longest of them: all together they are less than [`TRANSITION_PATIENCE`].
pub(crate) const PROMISE_MOST: Duration = Duration::from_secs(16);
/// Times that a create looks again whether another one with its key has failed.
pub(crate) const CREATE_KEY_LOOKS: u32 = 8;
/// Sandboxes made ahead, at most.
pub(crate) const MAX_POOL: usize = 256;
/// After a create the pool waits so long before it makes another: a burst of creates is served first.
pub(crate) const POOL_PAUSE: Duration = Duration::from_millis(10);
/// First pause after a sandbox could not be made ahead; it doubles.
pub(crate) const POOL_FIRST: Duration = Duration::from_secs(1);
/// Longest pause after that.
pub(crate) const POOL_MOST: Duration = Duration::from_secs(30);
/// A closing gateway destroys what was made ahead within this time; the next start does the rest.
pub(crate) const POOL_DRAIN: Duration = Duration::from_secs(2);

/// Seconds an execution gets where the client says nothing (contract §4.1).
pub(crate) const EXEC_DEFAULT_SECONDS: u64 = 30;
/// Seconds an execution gets at most (contract §4.1).
pub(crate) const EXEC_MOST_SECONDS: u64 = 300;
/// The gateway's own watchdog runs so much longer than the agent's.
pub(crate) const EXEC_WATCHDOG: Duration = Duration::from_secs(10);
/// Headers are sent after this time: a client gives up after 300 s without them.
pub(crate) const EXEC_HEADERS: Duration = Duration::from_secs(60);
/// One space each, from then on.
pub(crate) const EXEC_SPACE: Duration = Duration::from_secs(15);

/// Seconds a command gets at most (contract §5); 0 is no limit.
pub(crate) const COMMAND_MOST_SECONDS: u64 = 900;
/// Bytes of an unfinished line that a stream of events holds back at most (contract §4.3).
pub(crate) const HELD_LINE: usize = 16 << 10;
/// How long it holds one back.
pub(crate) const HELD_TIME: Duration = Duration::from_millis(50);
/// A stream of events that has nothing to say sends a comment so often: a client gives up after 300 s.
pub(crate) const EVENT_COMMENT: Duration = Duration::from_secs(15);
/// Bytes of events after which a stream waits for its client to take them.
pub(crate) const EVENT_PIECE: usize = 64 << 10;
/// Bytes of an `Idempotency-Key`.
pub(crate) const MAX_KEY: usize = 255;
/// Bytes of `user`: two names of 32 characters and a colon.
pub(crate) const MAX_USER: usize = 65;

/// Variables in one `envVars` or `env`.
pub(crate) const MAX_ENV: usize = 1024;
/// Bytes of one `envVars` or `env`, names and values.
pub(crate) const MAX_ENV_BYTES: usize = 64 << 10;
/// Bytes of one name of a variable.
pub(crate) const MAX_ENV_NAME: usize = 256;
/// Bytes of `cwd`: `PATH_MAX` with its NUL.
pub(crate) const MAX_CWD: usize = 4095;
/// Items of `args`.
pub(crate) const MAX_ARGS: usize = 1024;
/// Bytes of a sandbox's name (a DNS name).
pub(crate) const MAX_NAME: usize = 253;
/// Bytes of `region`.
pub(crate) const MAX_REGION: usize = 64;
/// Pairs in `labels`.
pub(crate) const MAX_LABELS: usize = 5;
/// Bytes of a label's key and characters of its value.
pub(crate) const MAX_LABEL: usize = 20;
/// Ports that may be published.
pub(crate) const MAX_PORTS: usize = 4;
/// Whole processors that `cpu` may ask for.
pub(crate) const CPU: std::ops::RangeInclusive<u64> = 1..=8;
/// MiB that `mem` may ask for.
pub(crate) const MEM: std::ops::RangeInclusive<u64> = 1024..=16_384;
/// Seconds of `idleTimeoutSeconds`: less would put a sandbox to sleep between two calls of a slow client.
pub(crate) const IDLE_TIMEOUT: std::ops::RangeInclusive<u64> = 5..=604_800;
/// Seconds of `ttlSeconds`, up to a year.
pub(crate) const TTL: std::ops::RangeInclusive<u64> = 1..=31_536_000;
/// Rows of a page where the client says nothing.
pub(crate) const PAGE_DEFAULT: u64 = 20;
/// Rows of a page at most.
pub(crate) const PAGE_MOST: u64 = 100;
/// Keys of one organisation, revoked ones included.
pub(crate) const MAX_KEYS: usize = 1000;
/// What goes on for a key that has ended is cut so much later: the request that ended its own key is answered.
pub(crate) const KEY_GRACE: Duration = Duration::from_millis(500);
/// How long a stream believes the clock about the end of its key.
pub(crate) const KEY_LOOK: Duration = Duration::from_secs(2);
/// A WebSocket whose key has ended has so long to say goodbye.
pub(crate) const KEY_GOODBYE: Duration = Duration::from_secs(2);
/// Revoked and expired keys are good for nothing within 5 s.
const _: () = assert!(KEY_GRACE.as_millis() + KEY_LOOK.as_millis() + KEY_GOODBYE.as_millis() < 5000);
/// The use of a key is in the store so much later.
pub(crate) const KEY_NOTE: Duration = Duration::from_secs(60);
/// Seconds a key may be asked to be valid: ten years.
pub(crate) const KEY_SECONDS: std::ops::RangeInclusive<u64> = 1..=10 * 366 * 86_400;
/// Bytes of an address of a user (RFC 5321).
pub(crate) const MAX_EMAIL: usize = 254;
/// Registrations in [`REGISTER_WINDOW`]: each makes rows that nobody removes, and anybody may ask.
pub(crate) const REGISTRATIONS: usize = 10;
/// See [`REGISTRATIONS`].
pub(crate) const REGISTER_WINDOW: Duration = Duration::from_secs(60);
/// Characters of the name of an organisation, a user or a key.
pub(crate) const MAX_ADMIN_NAME: usize = 100;
/// Bytes that the admin client reads.
pub(crate) const MAX_ADMIN_REPLY: usize = 8 << 20;
/// How long the admin client waits.
pub(crate) const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of one message to a WebSocket client (contract §6.2: one client refuses more than 1 MiB).
pub(crate) const SOCKET_MESSAGE: usize = 64 << 10;
/// Bytes of one message of a WebSocket client: keystrokes, or a large paste.
pub(crate) const SOCKET_INPUT: usize = 64 << 10;
/// Read buffer of one WebSocket, in bytes; allocated at once.
pub(crate) const SOCKET_READ: usize = 4 << 10;
/// Bytes on their way to a WebSocket client: one message, a pong and a goodbye.
pub(crate) const SOCKET_WRITE: usize = SOCKET_MESSAGE + (4 << 10);
/// A WebSocket that has been silent for so long gets a ping.
pub(crate) const SOCKET_PING: Duration = Duration::from_secs(20);
/// A WebSocket client that has said nothing for so long, not even a pong, is dropped.
pub(crate) const SOCKET_SILENCE: Duration = Duration::from_secs(60);
/// A goodbye is given so long to be answered.
pub(crate) const SOCKET_GRACE: Duration = Duration::from_secs(5);
/// A message must have been taken by a WebSocket client by then.
pub(crate) const SOCKET_STALL: Duration = Duration::from_secs(30);
const _: () = assert!(SOCKET_STALL.as_secs() + SOCKET_GRACE.as_secs() <= WRITE_STALL.as_secs());
/// The beginning of a character waits so long for its rest.
pub(crate) const SOCKET_TAIL: Duration = Duration::from_secs(2);
/// Bytes of input on their way to a terminal, above which its client is not read.
pub(crate) const TERMINAL_INPUT: usize = 64 << 10;
/// Bytes of one read from a terminal.
pub(crate) const TERMINAL_READ: usize = 16 << 10;
/// Columns of a terminal (contract §6.1).
pub(crate) const COLS: std::ops::RangeInclusive<u64> = 1..=500;
/// Rows of a terminal (contract §6.1).
pub(crate) const ROWS: std::ops::RangeInclusive<u64> = 1..=200;
/// Columns of a terminal where the client says nothing.
pub(crate) const COLS_DEFAULT: u16 = 80;
/// Rows of a terminal where the client says nothing.
pub(crate) const ROWS_DEFAULT: u16 = 24;
/// Bytes of a terminal's output that its buffer shows: what an agent keeps of one execution.
pub(crate) const TERMINAL_BUFFER: u64 = 2 << 20;
/// Bytes of the text that `execute` types.
pub(crate) const MAX_TYPED: usize = 64 << 10;
/// A terminal must have taken that text by then.
pub(crate) const TYPING: Duration = Duration::from_secs(5);
/// An agent whose client only typed may answer so long before it is left.
pub(crate) const TYPING_GRACE: Duration = Duration::from_millis(100);
/// Seconds a command of a shell session gets where the client says nothing.
pub(crate) const SESSION_DEFAULT_SECONDS: u64 = 30;
/// Seconds a command of a shell session gets at most: a client gives up after 300 s without an answer.
pub(crate) const SESSION_SECONDS: std::ops::RangeInclusive<u64> = 1..=240;
/// Pieces of a shell session's output on their way to its client, each of up to [`PIECE`] bytes.
pub(crate) const SESSION_WORDS: usize = 4;
/// After the end of one stream that of the other comes within this time, or never.
pub(crate) const SESSION_MARK: Duration = Duration::from_millis(200);
/// Bytes of a shell session's output in one answer; the rest is counted.
pub(crate) const SESSION_OUTPUT: usize = 2 << 20;
/// Bytes of the name of a shell session.
pub(crate) const MAX_SESSION_NAME: usize = 100;
/// Terminal buffers in memory at once: as text in JSON each has up to 14 MiB.
pub(crate) const BUFFER_READERS: usize = 16;

/// Bytes of one read from a worker: what is on its way to a client at least once, and two frames of content.
pub(crate) const FILE_READ: usize = 128 << 10;
/// Bytes of JSON that a worker says at once: two paths of `PATH_MAX` in base64, and numbers.
pub(crate) const FILE_JSON: usize = 16 << 10;
const _: () = assert!(FILE_JSON > bulkhead_protocol::files::MAX_PATH / 3 * 4 * 2 + 1024);
/// Bytes of one upload.
pub(crate) const MAX_UPLOAD: u64 = 5 << 30;
/// The next bytes of an upload must have come by then.
pub(crate) const UPLOAD_STALL: Duration = Duration::from_secs(60);
/// What a client still sends of an upload that was refused is read for so long: one that writes cannot hear.
pub(crate) const UPLOAD_REST: Duration = Duration::from_secs(2);
/// Bytes of the headers of one part of a form.
pub(crate) const FORM_HEAD: usize = 4 << 10;
/// Bytes of the boundary of a form (RFC 2046).
pub(crate) const FORM_BOUNDARY: usize = 70;
/// A watch that no client has connected to ends after this time (contract §7.5).
pub(crate) const WATCH_PATIENCE: Duration = Duration::from_secs(60);
