//! epoll(7) with names for what becomes ready.

use crate::error::{Doing, Result};
use bulkhead_sys::error::Context;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Events of one wait.
const BATCH: usize = 64;

/// Who becomes ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Listener,
    Signals,
    Reaper,
    /// An import, by its number.
    Import(u64),
    /// Who keeps room for disks.
    Grower,
    /// A connection, by its number.
    Connection(u64),
    /// The launch report of the sandbox in a slot.
    Report(u32),
    /// The agent of the sandbox in a slot.
    Agent(u32),
    /// The cgroup events of the sandbox in a slot.
    Events(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, number) = match self {
            Token::Listener => (0, 0),
            Token::Signals => (1, 0),
            Token::Reaper => (2, 0),
            Token::Connection(number) => (3, number),
            Token::Report(slot) => (4, u64::from(slot)),
            Token::Agent(slot) => (5, u64::from(slot)),
            Token::Events(slot) => (6, u64::from(slot)),
            Token::Import(number) => (7, number),
            Token::Grower => (8, 0),
        };
        (kind << 56) | number
    }

    fn decode(data: u64) -> Option<Self> {
        let number = data & ((1 << 56) - 1);
        let slot = u32::try_from(number).ok();
        Some(match data >> 56 {
            0 => Token::Listener,
            1 => Token::Signals,
            2 => Token::Reaper,
            3 => Token::Connection(number),
            4 => Token::Report(slot?),
            5 => Token::Agent(slot?),
            6 => Token::Events(slot?),
            7 => Token::Import(number),
            8 => Token::Grower,
            _ => return None,
        })
    }
}

/// What the loop waits for.
#[derive(Debug)]
pub(super) struct Poll(Epoll);

impl Poll {
    pub(super) fn new() -> Result<Self> {
        Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map(Self)
            .during("epoll_create1", String::new)
            .doing("make a poll")
    }

    /// Waits for data, an end or a new connection.
    pub(super) fn add(&self, fd: BorrowedFd<'_>, token: Token) -> Result<()> {
        self.register(fd, token, EpollFlags::EPOLLIN)
    }

    /// Waits for a change of a cgroup file.
    pub(super) fn add_urgent(&self, fd: BorrowedFd<'_>, token: Token) -> Result<()> {
        self.register(fd, token, EpollFlags::EPOLLPRI)
    }

    fn register(&self, fd: BorrowedFd<'_>, token: Token, flags: EpollFlags) -> Result<()> {
        self.0
            .add(fd, EpollEvent::new(flags, token.encode()))
            .during("epoll_ctl", || format!("{token:?}"))
            .doing("wait for something")
    }

    /// Stops waiting; what is closed afterwards would be forgotten anyway unless a child still holds it.
    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        if let Err(errno) = self.0.delete(fd) {
            tracing::debug!(%errno, "was not waited for");
        }
    }

    /// What is ready, after at most `patience`.
    pub(super) fn wait(&self, patience: Option<Duration>) -> Result<Vec<Token>> {
        let timeout = match patience {
            Some(time) => EpollTimeout::try_from(time).unwrap_or(EpollTimeout::MAX),
            None => EpollTimeout::NONE,
        };
        let mut events = [EpollEvent::empty(); BATCH];
        match self.0.wait(&mut events, timeout) {
            Ok(count) => Ok(events[..count].iter().filter_map(|event| Token::decode(event.data())).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno).during("epoll_wait", String::new).doing("wait for something"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_survives_its_number() {
        let slots = [Token::Report(4093), Token::Agent(1), Token::Events(u32::MAX)];
        let others =
            [Token::Listener, Token::Signals, Token::Reaper, Token::Grower, Token::Connection((1 << 56) - 1)];
        for token in slots.into_iter().chain(others).chain([Token::Import(7)]) {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }
}
