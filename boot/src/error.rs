//! Why an attempt failed: one enum per step; `Display` is the line a person reads.

use core::fmt;

use crate::text::Clean;
use crate::{fetch, load, menu, script, verify};

/// A failed attempt, by the step that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No menu, or one that cannot be read.
    Menu(menu::Error),
    /// A download that failed.
    Fetch(fetch::Error),
    /// A download that is not what it must be.
    Verify(verify::Error),
    /// A payload that cannot be placed or understood.
    Load(load::Error),
    /// A script that failed, or that ended without booting anything.
    Script(script::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error: &dyn fmt::Display = match self {
            Self::Menu(e) => e,
            Self::Fetch(e) => e,
            Self::Verify(e) => e,
            Self::Load(e) => e,
            Self::Script(e) => e,
        };
        // Whoever shows it, and where (D-178).
        Clean(error).fmt(f)
    }
}

impl core::error::Error for Error {}

macro_rules! from_step {
    ($($variant:ident($step:ty)),*) => {
        $(impl From<$step> for Error {
            fn from(e: $step) -> Self {
                Self::$variant(e)
            }
        })*
    };
}
from_step!(
    Menu(menu::Error),
    Fetch(fetch::Error),
    Verify(verify::Error),
    Load(load::Error),
    Script(script::Error)
);
