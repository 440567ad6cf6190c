//! The two SoCs, told apart by their cores before anything is touched (reference: BCM2837, BCM2711 peripherals) (D-11).

/// A system on chip that Bramble runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soc {
    /// Pi 3 family and Zero 2 W: Cortex-A53.
    Bcm2837,
    /// Pi 4 family: Cortex-A72.
    Bcm2711,
}

impl Soc {
    /// By the part number of MIDR_EL1. entry.S makes the same choice.
    pub fn of(part_number: u64) -> Self {
        if part_number == 0xd08 {
            Self::Bcm2711
        } else {
            Self::Bcm2837
        }
    }

    /// Base of the legacy peripheral window.
    pub(crate) fn peripherals(self) -> usize {
        match self {
            Self::Bcm2837 => 0x3f00_0000,
            Self::Bcm2711 => 0xfe00_0000,
        }
    }

    /// The name people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bcm2837 => "BCM2837",
            Self::Bcm2711 => "BCM2711",
        }
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
