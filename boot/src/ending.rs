//! How a boot ends: never without a next step for the board.

use core::fmt;

use crate::settings::{Local, Watchdog};
use crate::{Error, Handoff};

/// What the board is to do when [`run`](crate::run) has returned (D-137).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Jump to a kernel that is ready to run, with this wish for the watchdog.
    Boot(Handoff, Watchdog),
    /// Reset, which starts everything over.
    Reset(Cause),
    /// Reset so that the firmware boots the board's own disk in this way: a server says that it is not for this node.
    Local(Local),
    /// Switch itself off: a script asked for that.
    PowerOff,
}

/// Why the board is to reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A script asked for it.
    Script,
    /// So many attempts failed, as many as `bramble.attempts` allows; the last one like this.
    GaveUp(u32, Error),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script => f.write_str("a script asks for a reset"),
            Self::GaveUp(attempts, _) => write!(f, "giving up after {attempts} attempts: resetting"),
        }
    }
}
