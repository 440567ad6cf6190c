//! MDIO through GENET's command register (UniMAC MDIO; facts of Linux mdio-bcm-unimac), and the PHY's RGMII delays (D-47).

use core::fmt;

use safe_mmio::{UniqueMmioPointer, field, field_shared};
use smoltcp::time::Duration;

use super::registers::{MdioCmd, Registers};
use crate::bits::Bits as _;
use crate::clock::Clock;
use crate::ether::mii::{self, Mdio};

/// An access takes 30 µs, an emulator's on a busy machine what it takes.
const PATIENCE: Duration = Duration::from_millis(50);
/// The first access after a reset may fail.
const TRIES: u32 = 3;

/// Auxiliary control of Broadcom's PHYs.
const AUXCTL: u8 = 0x18;
/// Its shadow "misc": written with the enable bit, read after it was selected.
const AUXCTL_MISC: u16 = 7;
const AUXCTL_READ_MISC: u16 = AUXCTL_MISC << 12 | 7;
const AUXCTL_WRITE: u16 = 1 << 15;
/// The PHY delays the receive clock.
const MISC_RXC_SKEW: u16 = 1 << 8;

/// Shadowed registers of Broadcom's PHYs.
const SHADOW: u8 = 0x1c;
const SHADOW_WRITE: u16 = 1 << 15;
/// Clock control.
const CLOCK_CONTROL: u16 = 3 << 10;
const SHADOW_DATA: u16 = 0x3ff;
/// The PHY delays the transmit clock.
const GTXCLK_DELAY: u16 = 1 << 9;

/// Why an MDIO access failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The controller stays busy.
    Busy,
    /// No PHY answered.
    NoAnswer,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "MDIO stays busy",
            Self::NoAnswer => "the PHY does not answer",
        })
    }
}

/// MDIO_CMD of a read, before it is started.
fn read_command(phy: u8, register: u8) -> MdioCmd {
    MdioCmd::READ | place(phy, register)
}

/// MDIO_CMD of a write, before it is started.
fn write_command(phy: u8, register: u8, value: u16) -> MdioCmd {
    MdioCmd::WRITE | place(phy, register) | MdioCmd::from_number(value.into())
}

fn place(phy: u8, register: u8) -> MdioCmd {
    MdioCmd::from_number(u32::from(phy & 31) << 21 | u32::from(register & 31) << 16)
}

/// The bus, for as long as the registers are lent.
pub(super) struct Bus<'a> {
    pub(super) registers: &'a mut UniqueMmioPointer<'static, Registers>,
    pub(super) clock: Clock,
}

impl Bus<'_> {
    /// One access: what MDIO_CMD reads in the end.
    fn access(&mut self, command: MdioCmd) -> Result<MdioCmd, Error> {
        field!(*self.registers, mdio_cmd).write(command);
        field!(*self.registers, mdio_cmd).write(command | MdioCmd::START_BUSY);
        let registers = &*self.registers;
        self.clock
            .poll(PATIENCE, || {
                let cmd = field_shared!(*registers, mdio_cmd).read();
                (!cmd.has(MdioCmd::START_BUSY)).then_some(cmd)
            })
            .ok_or(Error::Busy)
    }
}

impl Mdio for Bus<'_> {
    type Error = Error;

    fn read(&mut self, phy: u8, register: u8) -> Result<u16, Error> {
        for _ in 0..TRIES {
            let cmd = self.access(read_command(phy, register))?;
            if !cmd.has(MdioCmd::READ_FAIL) {
                return Ok(cmd.number() as u16);
            }
        }
        Err(Error::NoAnswer)
    }

    fn write(&mut self, phy: u8, register: u8, value: u16) -> Result<(), Error> {
        self.access(write_command(phy, register, value)).map(drop)
    }
}

/// Whether PHYID1 and PHYID2 are of a BCM54213PE or BCM54210E, whose delays `delay_receive_only` knows.
pub(super) fn has_known_delays(id: u32) -> bool {
    id & !0xf == 0x600d_84a0
}

/// Lets the PHY delay the receive clock and not the transmit clock, whatever straps or a former driver said: the MAC
/// delays that one. Linux sets up the same (`rgmii-rxid`).
pub(super) fn delay_receive_only<M: Mdio>(mdio: &mut M, phy: u8) -> Result<(), M::Error> {
    mdio.write(phy, AUXCTL, AUXCTL_READ_MISC)?;
    let misc = mii::settled(|| mdio.read(phy, AUXCTL))?;
    mdio.write(phy, AUXCTL, with_rx_skew(misc))?;
    mdio.write(phy, SHADOW, CLOCK_CONTROL)?;
    let clock = mii::settled(|| mdio.read(phy, SHADOW))?;
    mdio.write(phy, SHADOW, without_tx_delay(clock))
}

fn with_rx_skew(misc: u16) -> u16 {
    misc | MISC_RXC_SKEW | AUXCTL_WRITE | AUXCTL_MISC
}

fn without_tx_delay(clock: u16) -> u16 {
    SHADOW_WRITE | CLOCK_CONTROL | clock & SHADOW_DATA & !GTXCLK_DELAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_their_fields_where_the_hardware_looks() {
        assert_eq!(read_command(1, 2).number(), 0x0822_0000);
        assert_eq!(write_command(1, 0, 0x1200).number(), 0x0420_1200);
        assert_eq!(read_command(31, 31).number(), 0x0bff_0000);
        // What does not fit a field does not spill into the next.
        assert_eq!(read_command(33, 34), read_command(1, 2));
    }

    #[test]
    fn delays_change_and_the_other_bits_stay() {
        assert_eq!(with_rx_skew(0x7007), 0xf107);
        assert_eq!(with_rx_skew(0x71e0), 0xf1e7);
        assert_eq!(without_tx_delay(0x0fff), 0x8dff);
        assert_eq!(without_tx_delay(0x0c00), 0x8c00);
    }

    #[test]
    fn the_board_s_phy_is_known_in_every_revision() {
        assert!(has_known_delays(0x600d_84a2) && has_known_delays(0x600d_84a0));
        assert!(!has_known_delays(0x0007_c132));
    }
}
