//! Where agents listen: entries of the directory of agents, `<run-dir>/gateway/agents`. It belongs to root; the privileged
//! side writes the entries before it says that a sandbox runs and removes them with it, the gateway only reads.
//!
//! An agent in namespaces of this kernel has a unix socket there, `<id>` and [`UNIX_SUFFIX`]. One in a virtual machine
//! has instead a file, `<id>` and [`VSOCK_SUFFIX`], that the gateway can read and that holds a [`VsockAddress`] as text and
//! nothing else. Such a file appears whole: it is written under another name and renamed.

use std::fmt;

/// End of the name of an agent's unix socket.
pub const UNIX_SUFFIX: &str = ".sock";
/// End of the name of a file with an agent's [`VsockAddress`].
pub const VSOCK_SUFFIX: &str = ".vsock";

/// A context id that stands for any machine (vsock(7)).
const ANY_CID: u32 = u32::MAX;
/// The hypervisor.
const HYPERVISOR_CID: u32 = 0;
/// The machine that this one runs in.
const HOST_CID: u32 = 2;
/// A port that stands for any.
const ANY_PORT: u32 = u32::MAX;

/// An address of AF_VSOCK (vsock(7)): `CID:PORT`, both decimal. Never one of the machine around this one or of its
/// hypervisor, where no agent can be; this machine itself (1) is one, by its loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VsockAddress {
    cid: u32,
    port: u32,
}

/// A text that is not a [`VsockAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidAddress;

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the CID:PORT of an agent in a virtual machine")
    }
}

impl std::error::Error for InvalidAddress {}

impl VsockAddress {
    /// Bytes of the longest text of one.
    pub const MAX_TEXT: usize = "4294967295:4294967295".len();

    /// The only way in: exactly what [`fmt::Display`] writes, without a sign, a zero in front, a space or a line's end.
    ///
    /// # Errors
    /// [`InvalidAddress`] for any other text.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidAddress> {
        let pair = std::str::from_utf8(text).ok().and_then(|text| text.split_once(':'));
        let (cid, port) = pair.ok_or(InvalidAddress)?;
        let (cid, port) = (number(cid)?, number(port)?);
        if [ANY_CID, HYPERVISOR_CID, HOST_CID].contains(&cid) || port == ANY_PORT {
            return Err(InvalidAddress);
        }
        Ok(Self { cid, port })
    }

    /// The number of the machine.
    #[must_use]
    pub fn cid(self) -> u32 {
        self.cid
    }

    /// The port in it.
    #[must_use]
    pub fn port(self) -> u32 {
        self.port
    }
}

impl fmt::Display for VsockAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.cid, self.port)
    }
}

/// A number as it is written down.
fn number(text: &str) -> Result<u32, InvalidAddress> {
    let number: u32 = text.parse().map_err(|_| InvalidAddress)?;
    if number.to_string() == text { Ok(number) } else { Err(InvalidAddress) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_it_is_written_as() {
        for (text, cid, port) in
            [("1:0", 1, 0), ("3:1024", 3, 1024), ("4294967294:4294967294", u32::MAX - 1, u32::MAX - 1)]
        {
            let address = VsockAddress::parse(text.as_bytes()).unwrap();
            assert_eq!((address.cid(), address.port(), &*address.to_string()), (cid, port, text));
            assert!(text.len() <= VsockAddress::MAX_TEXT);
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        for text in [
            "",
            ":",
            "3",
            "3:",
            ":3",
            "3:1:2",
            "3:1\n",
            " 3:1",
            "3 :1",
            "3:1 ",
            "+3:1",
            "-3:1",
            "03:1",
            "3:01",
            "0x3:1",
            "4294967296:1",
            "3:4294967296",
            "3:1.5",
            "3;1",
            "\u{0663}:1",
            "3:1\0",
        ] {
            assert_eq!(VsockAddress::parse(text.as_bytes()), Err(InvalidAddress), "{text:?}");
        }
        assert_eq!(VsockAddress::parse(b"3:\xff"), Err(InvalidAddress));
    }

    #[test]
    fn no_agent_is_everywhere_or_around_this_machine() {
        for text in ["4294967295:1", "0:1", "2:1", "3:4294967295"] {
            assert_eq!(VsockAddress::parse(text.as_bytes()), Err(InvalidAddress), "{text}");
        }
    }
}
