//! What drivers are brought up with: the SoC, the firmware's mailbox, memory that devices may write to, the clock.

use boot::board::Soc;

use crate::clock::Clock;
use crate::dma::Arena;
use crate::mailbox::Mailbox;

/// The firmware revision that QEMU reports for ever (D-7).
const QEMU_FIRMWARE: u32 = 346_337;
/// The one of our own emulator (D-183).
const OUR_FIRMWARE: u32 = QEMU_FIRMWARE + 1;

/// What every driver may ask for.
pub struct Hardware {
    /// The SoC.
    pub soc: Soc,
    /// The firmware.
    pub mailbox: Mailbox,
    /// Where buffers come from.
    pub arena: Arena,
    /// The time.
    pub clock: Clock,
    /// This is QEMU, which may lack what every board has.
    pub emulated: bool,
    /// The watchdog counts. A released QEMU resets at once where a board would begin to count.
    pub watchdog_counts: bool,
}

impl Hardware {
    /// Opens the mailbox and asks it whether this is a board. `None` when the arena has no room.
    ///
    /// # Safety
    ///
    /// The SoC is `soc`, its peripherals are mapped, and there is no other `Mailbox`.
    pub unsafe fn new(soc: Soc, mut arena: Arena, clock: Clock) -> Option<Self> {
        // SAFETY: the caller's word.
        let mut mailbox = unsafe { Mailbox::new(soc, &mut arena, clock) }?;
        let revision = mailbox.firmware_revision();
        let released = revision == Some(QEMU_FIRMWARE);
        Some(Self {
            soc,
            mailbox,
            arena,
            clock,
            emulated: released || revision == Some(OUR_FIRMWARE),
            watchdog_counts: !released,
        })
    }
}
