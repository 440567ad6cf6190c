//! TFTP's errors: what servers say, in codes and in words, and what they are told (RFC 1350 §5 and its appendix).

use alloc::string::String;
use core::fmt;

use crate::patience;

/// Characters of a server's error that are kept: the reason may stand behind a long path.
pub(super) const MAX_TEXT: usize = 512;

/// See the text.
pub(super) const NOT_DEFINED: u16 = 0;
/// No such file.
const NOT_FOUND: u16 = 1;
/// Access violation: what servers also say of paths outside of what they serve.
const NO_ACCESS: u16 = 2;
pub(super) const DISK_FULL: u16 = 3;
pub(super) const ILLEGAL: u16 = 4;
pub(super) const UNKNOWN_ID: u16 = 5;
pub(super) const BAD_OPTION: u16 = 8;

/// What servers say, in lower case, of a file that is not there, beside the code for "see the text": the words of operating
/// systems, which many servers pass on.
///
/// | Server | Code | Text |
/// |---|---|---|
/// | atftpd, dnsmasq, py3tftp, tftpy, slirp; the BSDs' and HPA's when they look before they open | 1 | any |
/// | servers made with Go's pin/tftp | 1 for everything, trouble too | open …: no such file or directory |
/// | the BSDs', HPA's and their many children when opening fails | 0 | No such file or directory |
/// | dnsmasq, where a directory of the path is a file | 0 | cannot read …: Not a directory |
/// | small ones that know no codes | 0 | File not found |
/// | the same on Windows | 0 | The system cannot find the file (path) specified |
const ABSENT: [&[u8]; 6] = [
    b"file not found",
    b"no such file",
    b"not a directory",
    b"cannot find the file",
    b"cannot find the path",
    b"file does not exist",
];
/// What says the same behind the code for "no such file", where a server goes on about why.
const MISSING: [&[u8]; 3] = [b"not found", b"not exist", b"unknown"];

/// What is wrong with a TFTP server or its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Nobody listens on that port.
    Refused,
    /// Nothing came within 10 s.
    NoAnswer,
    /// The server says no.
    Server {
        /// Its error code.
        code: u16,
        /// Its reason: printable ASCII, at most 512 bytes.
        text: String,
    },
    /// It acknowledged an option with a value that was not asked for.
    Option(
        /// Its name and the value: printable ASCII, at most 512 bytes.
        String,
    ),
    /// It sent another number of bytes than it had announced.
    Size {
        /// Bytes that came.
        came: u64,
        /// Bytes announced.
        announced: u64,
    },
    /// A block is longer than was agreed.
    Block,
}

impl Error {
    /// Whether the server answered that there is no such file.
    pub(super) fn is_absent(&self) -> bool {
        match self {
            Self::Server { code, text } => is_absence(*code, text.as_bytes()),
            _ => false,
        }
    }

    /// Whether the server keeps the file from us.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Server { code: NO_ACCESS, .. })
    }

    /// What to tell the server: code and text.
    pub(super) fn told(&self) -> Option<(u16, &'static str)> {
        match self {
            Self::Option(_) => Some((BAD_OPTION, "not what was asked for")),
            Self::Block => Some((ILLEGAL, "longer than agreed")),
            Self::Size { .. } => Some((NOT_DEFINED, "not as long as announced")),
            Self::Refused | Self::NoAnswer | Self::Server { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("nobody listens on that port"),
            Self::NoAnswer => write!(f, "no answer within {} s", patience::TFTP_ANSWER.secs()),
            Self::Server { code, text } => {
                let gap = if text.is_empty() { "" } else { ": " };
                match *code {
                    // The text says it all.
                    NOT_DEFINED if !text.is_empty() => return f.write_str(text),
                    NOT_FOUND if self.is_absent() => f.write_str("file not found"),
                    NO_ACCESS => f.write_str("access violation"),
                    code => write!(f, "TFTP error {code}"),
                }?;
                write!(f, "{gap}{text}")
            }
            Self::Option(option) => write!(f, "the server acknowledges {option}, which was not asked for"),
            Self::Size { came, announced } => write!(
                f,
                "{came} bytes came of a file of {announced}, as the server had said: was it changed just now?"
            ),
            Self::Block => f.write_str("the server sent a longer block than agreed"),
        }
    }
}

/// Whether a server's error means that there is no such file.
pub(super) fn is_absence(code: u16, text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    let says = |line: &&[u8]| text.windows(line.len()).any(|part| part == *line);
    match code {
        NO_ACCESS => true,
        // Who passes on what his system said (`open …: too many open files`) says so of trouble, too.
        NOT_FOUND => !says(&&b": "[..]) || ABSENT.iter().chain(&MISSING).any(says),
        NOT_DEFINED => ABSENT.iter().any(says),
        _ => false,
    }
}
