//! One client on one terminal: keystrokes one way, output the other. One task; what is under way is in the
//! structs, so that any wait may be given up for another.
//!
//! Must never hold more than a message of output: a client that reads slowly is a cursor in the agent, and one
//! that does not read at all is dropped.

use crate::agent_client::{AgentError, Heard, Listen, Owner, Terminal};
use crate::app::App;
use crate::limits;
use crate::registry::{Departure, Visit};
use crate::service::exec::{departure, fault};
use crate::ws::{Client, Cutter, Farewell, Said, Tail};
use bulkhead_protocol::agent::Gap;
use std::pin::pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

/// Whether a client wants to know what it missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// As a text message, between the binary ones.
    Tell,
    /// It has no way to know: what is no longer kept when it comes is not missing, later it is too slow.
    Close,
}

/// A client and its terminal.
#[derive(Debug)]
pub(crate) struct Bridge<S> {
    client: Client<S>,
    terminal: Terminal,
    owner: Option<Owner>,
    gaps: Gaps,
    output: Cutter,
    /// To be told when the output before it is out.
    gap: Option<Gap>,
    /// When output came last.
    heard: Instant,
    /// When the client was last heard of.
    alive: Instant,
    /// When it gets the next ping.
    ping: Instant,
    /// Whether any output came.
    has_shown: bool,
    ended: bool,
}

/// What a round waited for.
enum Event {
    Client(Said),
    Terminal(Result<Heard, AgentError>),
    Time,
    End(Farewell),
}

/// Why a round is the last.
enum Last {
    /// The client went.
    Left,
    Said(Farewell),
    /// The terminal's agent failed, or its sandbox is gone.
    Broke(AgentError),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bridge<S> {
    pub(crate) fn new(client: Client<S>, terminal: Terminal, owner: Option<Owner>, gaps: Gaps) -> Self {
        let now = Instant::now();
        let (output, ping) = (Cutter::default(), now + limits::SOCKET_PING);
        Self {
            client,
            terminal,
            owner,
            gaps,
            output,
            gap: None,
            heard: now,
            alive: now,
            ping,
            has_shown: false,
            ended: false,
        }
    }

    /// Serves the client until one of the two ends, or `end` says that it is over.
    pub(crate) async fn run(mut self, app: &App, sandbox: &Visit, end: impl Future<Output = Farewell>) {
        let last = self.rounds(sandbox, end).await;
        // An ephemeral terminal ends with its client, not with the client's last word.
        drop(self.owner.take());
        let farewell = match last {
            Last::Left => None,
            Last::Said(farewell) => Some(farewell),
            Last::Broke(error) => Some(match departure(sandbox, &error).await {
                Some(departure) => farewell(departure),
                None => {
                    fault(app, sandbox, &error);
                    Farewell::FAULT
                }
            }),
        };
        self.client.close(farewell).await;
    }

    async fn rounds(&mut self, sandbox: &Visit, end: impl Future<Output = Farewell>) -> Last {
        let mut gone = pin!(sandbox.over());
        let mut ends = pin!(end);
        let mut listened = Listen::Yes;
        loop {
            if let Err(last) = self.send() {
                return last;
            }
            let listen = self.wants_output();
            if (listened, listen) == (Listen::No, Listen::Yes) {
                self.terminal.forgive();
            }
            listened = listen;
            if sandbox.excuses_silence()
                && listen == Listen::Yes
                && Instant::now() >= self.terminal.deadline()
            {
                self.terminal.forgive();
            }
            let deadline = self.deadline(listen);
            let input = if self.terminal.has_room() { Listen::Yes } else { Listen::No };
            let event = tokio::select! {
                said = self.client.event(input) => Event::Client(said),
                heard = self.terminal.event(listen), if !self.ended => Event::Terminal(heard),
                // It says nothing but that it lives, so it is read also while the client is slow.
                () = drain(&mut self.owner) => continue,
                () = sleep_until(deadline) => Event::Time,
                departure = &mut gone => Event::End(farewell(departure)),
                farewell = &mut ends => Event::End(farewell),
            };
            if let Err(last) = self.take(event, listen) {
                return last;
            }
        }
    }

    fn wants_output(&self) -> Listen {
        let room = !self.ended && !self.output.is_full() && self.gap.is_none();
        if room { Listen::Yes } else { Listen::No }
    }

    /// Gives the client its next message, if the last is out.
    fn send(&mut self) -> Result<(), Last> {
        if self.client.sending().is_some() {
            return Ok(());
        }
        let now = Instant::now();
        if now >= self.ping {
            self.ping = now + limits::SOCKET_PING;
            return self.client.ping().map_err(Last::Said);
        }
        let idle = self.ended || self.gap.is_some() || now >= self.heard + limits::SOCKET_TAIL;
        if let Some(message) = self.output.take(if idle { Tail::Release } else { Tail::Hold }) {
            return self.client.send(message).map_err(Last::Said);
        }
        if let Some(Gap { from, to }) = self.gap.take() {
            let note = format!(r#"{{"gap":{{"from":{from},"to":{to}}}}}"#);
            return self.client.note(note).map_err(Last::Said);
        }
        if self.ended { Err(Last::Said(Farewell::OVER)) } else { Ok(()) }
    }

    /// The next moment at which something has to be done.
    fn deadline(&self, listen: Listen) -> Instant {
        let mut next = self.alive + limits::SOCKET_SILENCE;
        match self.client.sending() {
            Some(since) => next = next.min(since + limits::SOCKET_STALL),
            None => {
                next = next.min(self.ping);
                if !self.output.is_empty() {
                    next = next.min(self.heard + limits::SOCKET_TAIL);
                }
            }
        }
        if listen == Listen::Yes { next.min(self.terminal.deadline()) } else { next }
    }

    fn take(&mut self, event: Event, listen: Listen) -> Result<(), Last> {
        match event {
            Event::Client(said) => self.take_said(said),
            Event::Terminal(heard) => self.take_heard(heard),
            Event::Time => self.take_time(listen),
            Event::End(farewell) => Err(Last::Said(farewell)),
        }
    }

    fn take_said(&mut self, said: Said) -> Result<(), Last> {
        match said {
            Said::Input(bytes) => {
                self.alive = Instant::now();
                if !bytes.is_empty() && !self.ended {
                    self.terminal.type_bytes(&bytes);
                }
            }
            Said::Alive => self.alive = Instant::now(),
            Said::Sent => {}
            Said::Left => return Err(Last::Left),
            Said::Wrong(farewell) => return Err(Last::Said(farewell)),
        }
        Ok(())
    }

    fn take_heard(&mut self, heard: Result<Heard, AgentError>) -> Result<(), Last> {
        match heard.map_err(Last::Broke)? {
            Heard::Output(bytes) => {
                self.heard = Instant::now();
                self.has_shown = true;
                self.output.push(&bytes);
            }
            Heard::Gap(gap) => match self.gaps {
                Gaps::Close if self.has_shown => return Err(Last::Said(Farewell::SLOW)),
                Gaps::Close => self.output.tear(),
                Gaps::Tell => {
                    self.output.tear();
                    self.gap = Some(gap);
                }
            },
            Heard::Typed => {}
            Heard::Ended => self.ended = true,
        }
        Ok(())
    }

    fn take_time(&mut self, listen: Listen) -> Result<(), Last> {
        let now = Instant::now();
        if self.client.sending().is_some_and(|since| now >= since + limits::SOCKET_STALL) {
            return Err(Last::Said(Farewell::SLOW));
        }
        if now >= self.alive + limits::SOCKET_SILENCE {
            let deaf = !self.terminal.has_room();
            return Err(Last::Said(if deaf { Farewell::DEAF } else { Farewell::SILENT }));
        }
        if listen == Listen::Yes && now >= self.terminal.deadline() {
            return Err(Last::Broke(AgentError::Late("silence")));
        }
        Ok(())
    }
}

fn farewell(departure: Departure) -> Farewell {
    match departure {
        Departure::Slept => Farewell::SLEPT,
        Departure::Died => Farewell::GONE,
    }
}

async fn drain(owner: &mut Option<Owner>) {
    match owner {
        Some(owner) => owner.drain().await,
        None => std::future::pending().await,
    }
}
