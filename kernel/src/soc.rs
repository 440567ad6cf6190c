//! Where the two SoCs have their blocks (reference: BCM2837, BCM2711 peripherals) (D-11).

use boot::board::Soc;

/// Base of the legacy peripheral window. entry.S maps it, and tells the SoCs apart as [`Soc::of`] does.
pub(crate) fn peripherals(soc: Soc) -> usize {
    match soc {
        Soc::Bcm2837 => 0x3f00_0000,
        Soc::Bcm2711 => 0xfe00_0000,
    }
}

/// Offsets of the blocks from the peripheral base.
pub(crate) mod offset {
    /// VideoCore mailboxes.
    pub(crate) const MAILBOX: usize = 0x00_b880;
    /// Power management: reset and watchdog.
    pub(crate) const PM: usize = 0x10_0000;
    /// Random number generator: BCM2835's on BCM2837, RNG200 on BCM2711.
    pub(crate) const RNG: usize = 0x10_4000;
    /// Pin functions.
    pub(crate) const GPIO: usize = 0x20_0000;
    /// PL011 UART.
    pub(crate) const PL011: usize = 0x20_1000;
    /// Auxiliary block with the mini-UART.
    pub(crate) const AUX: usize = 0x21_5000;
    /// DWC2 USB controller.
    pub(crate) const USB: usize = 0x98_0000;
}
