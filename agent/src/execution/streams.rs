//! The standard streams of an execution: the agent's ends, and what the command gets as 0, 1 and 2.

use super::input::Input;
use super::journal::Stream;
use super::pump::{Pump, Scratch, Source};
use super::spawn::{failure_of_call, internal};
use super::terminal::Terminal;
use crate::watch::watch;
use bulkhead_protocol::agent::{StartFailure, Stdin, Stdio};
use bulkhead_sys::Error;
use bulkhead_sys::error::Context;
use bulkhead_sys::op::Op;
use nix::fcntl::{FcntlArg, OFlag};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use tokio::io::Interest;

const STDIN: i32 = 0;
const STDOUT: i32 = 1;
const STDERR: i32 = 2;

/// What the agent keeps.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) pump: Pump,
    pub(crate) input: Input,
}

/// What the command gets. All lie above 2, which the agent keeps occupied.
#[derive(Debug)]
pub(crate) enum Ends {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal(OwnedFd),
}

impl Ends {
    /// Puts them in place; comes after [`Op::NewSession`].
    pub(crate) fn ops(&self) -> Vec<Op<'_>> {
        match self {
            // Without a pipe standard input stays the agent's /dev/null.
            Ends::Pipes { stdin, stdout, stderr } => stdin
                .iter()
                .map(|pipe| Op::Place(pipe.as_fd(), STDIN))
                .chain([Op::Place(stdout.as_fd(), STDOUT), Op::Place(stderr.as_fd(), STDERR)])
                .collect(),
            Ends::Terminal(slave) => std::iter::once(Op::ControlTerminal(slave.as_fd()))
                .chain([STDIN, STDOUT, STDERR].map(|number| Op::Place(slave.as_fd(), number)))
                .collect(),
        }
    }
}

/// Makes both sides of the streams for a command of this user.
pub(crate) fn make(stdio: Stdio, uid: u32, scratch: Scratch) -> Result<(Streams, Ends), StartFailure> {
    match stdio {
        Stdio::Terminal(size) => terminal(Terminal::open(size, uid)?, scratch),
        Stdio::Pipes(stdin) => pipes(stdin, scratch),
    }
}

fn terminal(terminal: Terminal, scratch: Scratch) -> Result<(Streams, Ends), StartFailure> {
    let both = Interest::READABLE | Interest::WRITABLE;
    let master = Rc::new(watch(terminal.master, both).map_err(|error| internal(error.raw_os_error()))?);
    let pump = Pump::new(vec![Source::new(Stream::Stdout, Rc::clone(&master))], scratch);
    Ok((Streams { pump, input: Input::terminal(master) }, Ends::Terminal(terminal.slave)))
}

fn pipes(stdin: Stdin, scratch: Scratch) -> Result<(Streams, Ends), StartFailure> {
    let source = |stream, reader| {
        let watched = watch(reader, Interest::READABLE).map_err(|error| internal(error.raw_os_error()))?;
        Ok(Source::new(stream, Rc::new(watched)))
    };
    let (reader, stdout) = output_pipe().map_err(|error| failure_of_call(&error))?;
    let (error_reader, stderr) = output_pipe().map_err(|error| failure_of_call(&error))?;
    let sources = vec![source(Stream::Stdout, reader)?, source(Stream::Stderr, error_reader)?];
    let (input, stdin) = match stdin {
        Stdin::Null => (Input::null(), None),
        Stdin::Open => {
            let (reader, writer) = input_pipe().map_err(|error| failure_of_call(&error))?;
            let writer = watch(writer, Interest::WRITABLE).map_err(|error| internal(error.raw_os_error()))?;
            (Input::pipe(writer), Some(reader))
        }
    };
    Ok((Streams { pump: Pump::new(sources, scratch), input }, Ends::Pipes { stdin, stdout, stderr }))
}

/// A pipe whose reading end does not block the agent; the writing end blocks the command.
fn output_pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).during("pipe2", String::new)?;
    do_not_block(&reader)?;
    Ok((reader, writer))
}

/// A pipe whose writing end does not block the agent; the reading end blocks the command.
fn input_pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).during("pipe2", String::new)?;
    do_not_block(&writer)?;
    Ok((reader, writer))
}

fn do_not_block(end: &OwnedFd) -> Result<(), Error> {
    nix::fcntl::fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).during("fcntl", || "pipe".into()).map(drop)
}
