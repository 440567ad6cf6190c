//! Why a script led nowhere.

use core::fmt;

use super::errno::Failure;
use crate::text::plain;
use crate::url::Url;

/// The `log` target of failures that a script provides for, and of nothing else: [`Event::Failed`](crate::observe::Event::Failed) has
/// told of each, so that whoever hears events need not hear these lines.
pub const TOLD: &str = module_path!();

/// Why a script led nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It failed; the reason begins with the script and the line.
    Failed(Failure),
    /// It ended without booting anything, which is how servers say "the next boot device".
    Ended(Url),
    /// The same, after something had failed: whether a server meant it nobody knows.
    EndedInTrouble(Url),
    /// It says so: `exit` with a status, `sanboot` of a drive.
    Left(Failure),
}

/// Says that a command failed, and that the script goes on.
pub(super) fn provided_for(line: &str) {
    warn!("script: {}", line);
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) | Self::Left(failure) => write!(f, "script: {}", plain(&failure.reason)),
            Self::EndedInTrouble(url) => write!(
                f,
                "script: {url} ended without booting anything, after something had failed"
            ),
            Self::Ended(url) => {
                write!(
                    f,
                    "script: {url} ended without booting anything, and bramble.local does not say how another device boots"
                )
            }
        }
    }
}
