//! How a child says which step failed: one packet of fixed size over a close-on-exec pipe. The end of the pipe
//! without a packet means that every process of the child executed its program.

use nix::errno::Errno;
use std::io::Read;
use std::os::fd::OwnedFd;

/// Bytes of a packet; far below `PIPE_BUF`, so that two writers do not mix.
pub(crate) const PACKET: usize = 12;

/// Index of what a child does before its ops.
pub(crate) const BEFORE_OPS: usize = u32::MAX as usize;

/// Which list of ops a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The child that was cloned.
    Child,
    /// The first process of the inner pid namespace, [`crate::op::Op::ForkInit`].
    Init,
}

/// The step of a child that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// In which list of ops.
    pub process: Process,
    /// Which op of that list, from 0; past its end when the child came to none.
    pub index: usize,
    /// Why.
    pub errno: Errno,
}

impl Failure {
    pub(crate) fn encode(self) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        packet[0] = u8::from(self.process == Process::Init);
        packet[4..8].copy_from_slice(&u32::try_from(self.index).unwrap_or(u32::MAX).to_ne_bytes());
        packet[8..12].copy_from_slice(&(self.errno as i32).to_ne_bytes());
        packet
    }

    fn decode(packet: [u8; PACKET]) -> Self {
        let word = |at: usize| [packet[at], packet[at + 1], packet[at + 2], packet[at + 3]];
        Self {
            process: if packet[0] == 0 { Process::Child } else { Process::Init },
            index: usize::try_from(u32::from_ne_bytes(word(4))).unwrap_or(usize::MAX),
            errno: Errno::from_raw(i32::from_ne_bytes(word(8))),
        }
    }
}

/// Waits until every process of the child executed its program, or one of them failed.
///
/// # Errors
/// The I/O error of the pipe itself.
pub fn wait(pipe: OwnedFd) -> std::io::Result<Option<Failure>> {
    let mut packet = [0; PACKET];
    let mut pipe = std::fs::File::from(pipe);
    let mut filled = 0;
    while filled < PACKET {
        match pipe.read(&mut packet[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok((filled == PACKET).then(|| Failure::decode(packet)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_pipe() {
        let failure = Failure { process: Process::Init, index: 17, errno: Errno::EROFS };
        assert_eq!(Failure::decode(failure.encode()), failure);
    }
}
