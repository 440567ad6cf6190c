//! Why a command failed: a reason for the person, and the number that iPXE would give, for scripts that test `${errno}`.
//!
//! iPXE's numbers say what happened (POSIX), in which of its source files, which of that file's cases, and the
//! platform's own code; these are the EFI platform's, because `${platform}` says `efi`. <https://ipxe.org/err>

use alloc::borrow::Cow;
use core::fmt;

use crate::fetch;
use crate::fetch::Reason;
use crate::resolve;

/// Bytes of a reason: what it repeats of a script may be as long as a command.
const MAX_REASON: usize = 4096;

/// A reason of a length that may be kept.
pub(super) fn bounded(reason: Cow<'static, str>) -> Cow<'static, str> {
    match reason.get(..reason.floor_char_boundary(MAX_REASON)) {
        Some(start) if start.len() < reason.len() => alloc::format!("{start}…").into(),
        _ => reason,
    }
}

/// An error number. Zero would be success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub u32);

impl Errno {
    /// A comparison or a test that did not hold.
    pub const NOT_SET: Self = Self(0x2d02_208e);
    /// `iseq` of two texts that differ.
    pub const NOT_EQUAL: Self = Self(0x4602_2085);
    /// No such command.
    pub const NO_COMMAND: Self = Self(0x2e02_2081);
    /// A sleep that a person ended.
    pub const INTERRUPTED: Self = Self(0x0b02_2095);
    /// Not a number.
    pub const NUMBER: Self = Self(0x1c16_2182);
    /// An option that the command does not have.
    pub const OPTION: Self = Self(0x1c16_2282);
    /// An option without its argument.
    pub const OPTION_ARGUMENT: Self = Self(0x1c16_2382);
    /// Too few or too many arguments.
    pub const ARGUMENTS: Self = Self(0x4616_2085);
    /// `--help`: nothing was done.
    pub const HELP: Self = Self(0x0b16_2195);
    /// A menu, form or parameter list that does not exist.
    pub const NO_LIST: Self = Self(0x2d16_208e);
    /// A network interface that does not exist.
    pub const NO_INTERFACE: Self = Self(0x2c16_2087);
    /// A way to configure an interface that does not exist.
    pub const NO_CONFIGURATOR: Self = Self(0x3c16_2083);
    /// A settings block that does not exist.
    pub const NO_BLOCK: Self = Self(0x2c0c_2087);
    /// A setting type that does not exist, or cannot do this.
    pub const TYPE: Self = Self(0x3c0c_2083);
    /// A value that is not of its setting's type.
    pub const VALUE: Self = Self(0x1c0c_2082);
    /// Not the bytes in hexadecimal that a setting's type wants.
    pub const HEX: Self = Self(0x1c11_2082);
    /// Not base64.
    pub const BASE64: Self = Self(0x1c10_2082);
    /// Not as long as a UUID.
    pub const UUID: Self = Self(0x1c2a_2082);
    /// Not an IPv6 address.
    pub const IPV6: Self = Self(0x1c06_6082);
    /// A setting that its block does not have.
    pub const NOT_THERE: Self = Self(0x3d0c_2083);
    /// A setting without a value.
    pub const NO_SETTING: Self = Self(0x2d0c_208e);
    /// Not an IPv4 address.
    pub const IPV4: Self = Self(0x1c05_6082);
    /// Not something that can be executed.
    pub const NOT_EXECUTABLE: Self = Self(0x2e00_8081);
    /// Not trusted, and trust is required.
    pub const UNTRUSTED: Self = Self(0x0200_818f);
    /// The demand for trust cannot be taken back.
    pub const PERMANENT: Self = Self(0x0200_828f);
    /// No image of that name.
    pub const NO_IMAGE: Self = Self(0x2d0a_e08e);
    /// A label that the script does not have.
    pub const NO_LABEL: Self = Self(0x2d02_808e);
    /// A script whose last line ends in a backslash.
    pub const CONTINUATION: Self = Self(0x1c02_8082);
    /// `goto` or `--replace` where no script runs.
    pub const NO_SCRIPT: Self = Self(0x3d02_8083);
    /// No key in time.
    pub const NO_KEY: Self = Self(0x4c22_e092);
    /// Another key than asked for.
    pub const OTHER_KEY: Self = Self(0x0b22_e095);
    /// A menu left with Esc or Ctrl-C.
    pub const MENU_LEFT: Self = Self(0x0b2c_e095);
    /// A menu in which nothing can be chosen.
    pub const MENU_EMPTY: Self = Self(0x2d2c_e08e);
    /// A line that was not finished: Ctrl-C.
    pub const LINE_LEFT: Self = Self(0x0b32_e095);
    /// A line that nobody typed in time.
    pub const LINE_TIMEOUT: Self = Self(0x4c32_e092);
    /// No memory, or a bound of this implementation.
    pub const NO_MEMORY: Self = Self(0x3100_8089);
    /// A URI that cannot be opened.
    pub const SCHEME: Self = Self(0x3c09_2083);
    /// Something that is not supported here.
    pub const UNSUPPORTED: Self = Self(0x3c0a_e083);
    /// No disk.
    pub const NO_DISK: Self = Self(0x7f22_208e);
    /// No device for it.
    pub const NO_DEVICE: Self = Self(0x2c23_2087);
    /// A transfer that took too long, or a peer that does not answer.
    pub const TIMEOUT: Self = Self(0x4c0a_6092);
    /// A peer whose answer cannot be used.
    pub const PEER: Self = Self(0x1d0a_6098);
    /// A host name without an address.
    pub const NO_NAME: Self = Self(0x3e11_618e);
    /// Nobody to ask for a host name.
    pub const NO_NAMESERVER: Self = Self(0x3e11_628e);
    /// A file that should be unpacked and cannot be.
    pub const ARCHIVE: Self = Self(0x1c0c_8082);
    /// Bounds on scripts: nesting, expansion, loops without progress.
    pub const BOUND: Self = Self(0x2002_808a);

    /// The number for a download that failed.
    pub fn of_fetch(error: &fetch::Error) -> Self {
        Self(match &error.reason {
            Reason::Resolve(error) => return Self::of_resolve(error),
            Reason::Connect(_, fetch::ConnectError::Refused) => 0x0e0a_6090,
            Reason::Connect(..) => return Self::TIMEOUT,
            Reason::NoAnswer(fetch::Lost::Stalled) => return Self::TIMEOUT,
            Reason::Interrupted {
                how: fetch::Lost::Stalled,
                ..
            } => return Self::TIMEOUT,
            Reason::NoAnswer(_) | Reason::Interrupted { .. } => 0x0f0a_6095,
            Reason::Head(fetch::HeadError::ContentLength) => 0x1c0c_6382,
            Reason::Head(fetch::HeadError::TransferEncoding) => 0x3c0c_6283,
            Reason::Head(fetch::HeadError::Malformed) => 0x1c0c_6182,
            Reason::Head(_) => 0x1c0c_6282,
            Reason::Body(_) => 0x1c0c_6482,
            Reason::Tftp(fetch::TftpError::Server { code: 1, .. }) => 0x2d12_608e,
            Reason::Tftp(fetch::TftpError::Server { code: 2, .. }) => 0x0212_608f,
            Reason::Tftp(fetch::TftpError::Server { code: 4, .. }) => 0x3d12_6083,
            Reason::Tftp(fetch::TftpError::Server { .. }) => 0x3c12_6083,
            Reason::Tftp(fetch::TftpError::NoAnswer | fetch::TftpError::Refused) => 0x4c12_6092,
            Reason::Tftp(_) => 0x1c12_6082,
            Reason::WrongPart => 0x1d0c_6298,
            Reason::Overdue(_) => return Self::TIMEOUT,
            Reason::Status { code: 404, .. } => 0x2d0c_618e,
            Reason::Status { code: 401, .. } | Reason::Unauthorized(_) => 0x020c_618f,
            Reason::Status { code: 403, .. } => 0x410c_618f,
            Reason::Status { code: 400..=499, .. } => 0x1d0c_6498,
            Reason::Status { code: 500..=599, .. } => 0x1d0c_6598,
            Reason::Status { .. } => 0x1d0c_6198,
            Reason::Redirect(_) => return Self::SCHEME,
            Reason::NoLocation | Reason::RedirectLoop | Reason::TooManyRedirects => 0x1d0c_6198,
            Reason::TooLarge { .. } => return Self::NO_MEMORY,
        })
    }

    /// Whether a server says by it that there is no such file: 404, TFTP's "file not found".
    pub fn is_absent(self) -> bool {
        matches!(self.0, 0x2d0c_618e | 0x2d12_608e)
    }

    /// The number for a name that was not resolved.
    pub fn of_resolve(error: &resolve::Error) -> Self {
        match error {
            resolve::Error::NoServer(_) | resolve::Error::NoLease(_) => Self::NO_NAMESERVER,
            resolve::Error::NotFound(_) | resolve::Error::Nobody(_) => Self::NO_NAME,
            resolve::Error::Timeout(_) => Self(0x4c11_6092),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A command that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What `${errno}` will be.
    pub errno: Errno,
    /// Why, for a person.
    pub reason: Cow<'static, str>,
    /// Whether a script that provides for failure expects it: a test that did not hold, a key that was not pressed.
    pub expected: bool,
    /// Whether it ends the script whatever stands behind it: iPXE would have gone where this implementation cannot, to a disk
    /// or a program, and never come to what the script has for the case that it fails (D-145).
    pub ends: bool,
}

impl Failure {
    /// A failure that is worth a line on the console, whatever the script does about it.
    pub fn new(errno: Errno, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            errno,
            reason: bounded(reason.into()),
            expected: false,
            ends: false,
        }
    }

    /// The same, as the end of the script.
    pub fn at_the_end(self) -> Self {
        Self { ends: true, ..self }
    }

    /// A failure that is part of the script's plan when the script goes on.
    pub fn expected(errno: Errno, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            expected: true,
            ..Self::new(errno, reason)
        }
    }
}

/// A bound on a number was met.
pub(super) fn too_many(most: usize, what: &str) -> Failure {
    Failure::new(Errno::NO_MEMORY, alloc::format!("more than {most} {what}"))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
