//! Why a download failed, and the line that a person reads.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use smoltcp::time::Duration;
use smoltcp::wire::Ipv4Address;

use super::body::Error as BodyError;
use super::bounds::MAX_REDIRECTS;
use super::challenge::Challenge;
use super::head::Error as HeadError;
use super::request::Method;
use super::tftp_error::Error as TftpError;
use crate::patience;
use crate::resolve;
use crate::url::{self, Scheme, Url};

/// A download that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// How it was asked for.
    pub method: Method,
    /// What was asked for at that moment, after redirects.
    pub url: Url,
    /// Why it did not come.
    pub reason: Reason,
}

/// Why a download failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The host's name has no address.
    Resolve(resolve::Error),
    /// The host cannot be reached at this address.
    Connect(Ipv4Address, ConnectError),
    /// The connection ended before the answer began, or its head was not complete within `patience::HTTP_ANSWER`.
    NoAnswer(Lost),
    /// The answer's head cannot be used.
    Head(HeadError),
    /// The server says no.
    Status {
        /// The status code, outside 200 to 299 or one that we did not ask for.
        code: u16,
        /// Its reason phrase: printable ASCII, at most 64 bytes.
        phrase: String,
    },
    /// The server wants to know who asks.
    Unauthorized(Box<Challenge>),
    /// A redirect to something that cannot be fetched.
    Redirect(url::Error),
    /// A redirect to nowhere: no `Location`.
    NoLocation,
    /// More than ten redirects, the last to where we have been.
    RedirectLoop,
    /// More than ten redirects.
    TooManyRedirects,
    /// It does not fit: refused at the head when the server tells the length.
    TooLarge {
        /// The length in bytes, when known.
        len: Option<u64>,
        /// The size of the destination in bytes.
        space: usize,
    },
    /// The body is malformed.
    Body(BodyError),
    /// What only a TFTP server can do wrong.
    Tftp(TftpError),
    /// The rest was asked for, and another part of the file came.
    WrongPart,
    /// It was not asked for: the files before it have taken this long, and that was all the time for them together.
    Overdue(Duration),
    /// The body ended early, and asking for the rest did not help.
    Interrupted {
        /// How.
        how: Lost,
        /// Bytes that had come.
        got: u64,
        /// Bytes in all, when known.
        of: Option<u64>,
    },
}

impl Reason {
    /// Whether asking for the rest of a file later may help.
    pub(super) fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted { .. } | Self::NoAnswer(_) | Self::Connect(..) | Self::Resolve(_) => true,
            Self::Head(error) => *error == HeadError::Truncated,
            // A server that is being started again, or one in front of it.
            Self::Status { code, .. } => matches!(code, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

impl Error {
    /// The HTTP status, when that is the reason.
    pub fn status(&self) -> Option<u16> {
        match self.reason {
            Reason::Status { code, .. } => Some(code),
            Reason::Unauthorized(_) => Some(401),
            _ => None,
        }
    }

    /// Whether the server answered that there is no such file.
    pub fn is_absent(&self) -> bool {
        self.may_be_absent() && !self.is_forbidden()
    }

    /// The same, or a refusal that may mean it: object stores answer 403 for what does not exist, when listing is not allowed.
    /// D-143.
    pub fn may_be_absent(&self) -> bool {
        let absent = matches!(self.status(), Some(403 | 404 | 410));
        absent || matches!(&self.reason, Reason::Tftp(error) if error.is_absent())
    }

    /// Whether the server keeps the file from us, or says so of what it does not have.
    pub fn is_forbidden(&self) -> bool {
        self.status() == Some(403) || matches!(&self.reason, Reason::Tftp(error) if error.is_forbidden())
    }

    /// Whether this is what a web server says that has other business than boot files: a login, its own idea of a
    /// request, or HTTPS for everything.
    pub fn is_foreign(&self) -> bool {
        matches!(self.status(), Some(400 | 401 | 421 | 426)) || matches!(self.reason, Reason::Redirect(_))
    }

    /// Whether nobody is there to ask, so that asking for another file is in vain.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.reason,
            Reason::Resolve(_) | Reason::Connect(..) | Reason::Tftp(TftpError::Refused | TftpError::NoAnswer)
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fetch: {} {}: {}", self.method, self.url, self.reason)?;
        match self.reason {
            Reason::Interrupted { .. } if self.url.scheme() == Scheme::Tftp => {
                f.write_str("; TFTP cannot go on where it broke off")
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => error.fmt(f),
            Self::Connect(address, error) => write!(f, "{address}: {error}"),
            Self::NoAnswer(Lost::Closed) => f.write_str("connection closed without an answer"),
            Self::NoAnswer(Lost::Reset) => f.write_str("connection lost without an answer"),
            Self::NoAnswer(Lost::Stalled) => write!(f, "no answer within {} s", patience::HTTP_ANSWER.secs()),
            Self::Head(error) => error.fmt(f),
            Self::Status { code, phrase } => {
                let gap = if phrase.is_empty() { "" } else { " " };
                write!(f, "{code}{gap}{phrase}")
            }
            Self::Unauthorized(challenge) => challenge.fmt(f),
            Self::Redirect(error) => write!(f, "redirected to {error}"),
            Self::NoLocation => f.write_str("redirected without a Location"),
            Self::RedirectLoop => f.write_str("redirected in a loop"),
            Self::TooManyRedirects => write!(f, "more than {MAX_REDIRECTS} redirects"),
            Self::TooLarge {
                len: Some(len),
                space,
            } => {
                write!(f, "{len} bytes do not fit into the {space} bytes free for it")
            }
            Self::TooLarge { len: None, space } => {
                write!(f, "longer than the {space} bytes free for it")
            }
            Self::Body(error) => error.fmt(f),
            Self::Tftp(error) => error.fmt(f),
            Self::WrongPart => f.write_str("the server sent another part than asked for"),
            Self::Overdue(spent) => write!(
                f,
                "not asked for: the files before it took {} min",
                spent.secs() / 60
            ),
            Self::Interrupted { how, got, of } => {
                f.write_str(match how {
                    Lost::Closed => "truncated",
                    Lost::Reset => "connection lost",
                    Lost::Stalled => "stalled",
                })?;
                match of {
                    Some(of) => write!(f, " after {got} of {of} bytes"),
                    None => write!(f, " after {got} bytes"),
                }
            }
        }
    }
}

/// How a connection ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The server closed it (FIN).
    Closed,
    /// The server reset it (RST), or is gone: no segment for 20 s.
    Reset,
    /// Nothing came in the time allowed.
    Stalled,
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectError {
    /// The server answered with a reset.
    Refused,
    /// No answer within 10 s.
    Timeout,
    /// No address of ours, or 0.0.0.0.
    Unaddressable,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Timeout => write!(f, "no connection within {} s", patience::CONNECT.secs()),
            Self::Unaddressable => f.write_str("not an address to connect to"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interrupted() -> Reason {
        Reason::Interrupted {
            how: Lost::Stalled,
            got: 4,
            of: Some(10),
        }
    }

    #[test]
    fn what_breaks_off_is_resumed_and_what_is_wrong_is_not() {
        let status = |code| Reason::Status {
            code,
            phrase: String::new(),
        };
        assert!(interrupted().is_interruption());
        assert!(Reason::NoAnswer(Lost::Reset).is_interruption());
        assert!(status(503).is_interruption() && status(502).is_interruption());
        assert!(!status(404).is_interruption() && !status(403).is_interruption());
        assert!(!Reason::Body(BodyError::Chunk).is_interruption());
        assert!(!Reason::WrongPart.is_interruption());
    }

    #[test]
    fn the_line_a_person_reads() {
        let line = |reason| {
            let url = Url::parse("http://me:secret@10.0.2.2:8000/vmlinuz").unwrap();
            let method = Method::Get;
            let line = Error { method, url, reason }.to_string();
            let reason = line.strip_prefix("fetch: GET http://***@10.0.2.2:8000/vmlinuz: ");
            reason.unwrap().to_owned()
        };
        let status = |code, phrase: &str| Reason::Status {
            code,
            phrase: phrase.into(),
        };
        assert_eq!(line(status(404, "Not Found")), "404 Not Found");
        assert_eq!(line(status(503, "")), "503");
        assert_eq!(line(interrupted()), "stalled after 4 of 10 bytes");
        assert_eq!(
            line(Reason::Interrupted {
                how: Lost::Closed,
                got: 4,
                of: None
            }),
            "truncated after 4 bytes"
        );
        assert_eq!(
            line(Reason::Redirect(Url::parse("https://b/x").unwrap_err())),
            "redirected to https://b/x: scheme not supported, only http and tftp"
        );
        assert_eq!(
            line(Reason::TooLarge {
                len: Some(13),
                space: 12
            }),
            "13 bytes do not fit into the 12 bytes free for it"
        );
        assert_eq!(
            line(Reason::Connect(
                Ipv4Address::new(10, 0, 2, 2),
                ConnectError::Refused
            )),
            "10.0.2.2: connection refused"
        );
    }
}
