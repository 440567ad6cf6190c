//! Is this download what it must be? The only way from fetched bytes to bytes that may be used.

use core::fmt;

/// Why a download is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {}

impl fmt::Display for Error {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
