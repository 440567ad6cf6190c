//! Everything that a boot may touch: a struct of parts, so that fields borrow apart.

use crate::hal::{Board, Clock, Console, Entropy, Platform};
use crate::memory::Region;
use crate::net::Port;
use crate::observe::Observer;

/// Everything `run` may touch. `kernel` builds one from hardware, `tests` from a simulated LAN (D-16).
pub struct Machine<'m> {
    /// The network interface: Ethernet frames, polled.
    pub nic: &'m mut dyn Port,
    /// The only source of time.
    pub clock: &'m dyn Clock,
    /// The serial terminal that a person may hold.
    pub console: &'m mut dyn Console,
    /// Free RAM in one piece: payloads land here, where they will run.
    pub memory: Region<'m>,
    /// True random bytes.
    pub entropy: &'m mut dyn Entropy,
    /// What the board is.
    pub board: &'m Board<'m>,
    /// What only hardware can do.
    pub platform: &'m mut dyn Platform,
    /// Who hears what happens.
    pub observers: &'m mut [&'m mut dyn Observer],
}
