//! MDIO through GENET's command register (UniMAC MDIO; facts of Linux mdio-bcm-unimac), and the PHY's RGMII delays (D-47).

use core::fmt;

use safe_mmio::{UniqueMmioPointer, field, field_shared};
use smoltcp::time::Duration;

use super::registers::{MdioCmd, Registers};
use crate::bits::{Bits as _, bits};
use crate::clock::Clock;
use crate::ether::mdio::{Mdio, Register};
use crate::ether::mii;

/// An access takes 30 µs, an emulator's on a busy machine what it takes.
const PATIENCE: Duration = Duration::from_millis(50);
/// The first access after a reset may fail.
const TRIES: u32 = 3;

/// Auxiliary control of Broadcom's PHYs.
const AUXCTL: Register<AuxCtl> = Register::at(0x18);
/// Shadowed registers of Broadcom's PHYs.
const SHADOW: Register<Shadow> = Register::at(0x1c);
/// Expansion registers of Broadcom's PHYs: which one is meant …
const EXPANSION: Register<u32> = Register::at(0x17);
/// … and its content.
const EXPANSION_DATA: Register<Iddq> = Register::at(0x15);
/// Control of IDDQ in the block TOP_MISC.
const IDDQ_CONTROL: u32 = 0x0d06;

bits! {
    /// AUXCTL, with its shadow "misc" selected: written with the enable bit, read after it was selected.
    struct AuxCtl {
        WRITE = 1 << 15,
        MISC = 7,
        READ_MISC = 7 << 12 | 7,
        /// The PHY delays the receive clock.
        RXC_SKEW = 1 << 8,
    }

    /// SHADOW.
    struct Shadow {
        WRITE = 1 << 15,
        CLOCK_CONTROL = 3 << 10,
        DATA = 0x3ff,
        /// Clock control: the PHY delays the transmit clock.
        GTXCLK_DELAY = 1 << 9,
    }

    /// EXPANSION_DATA of IDDQ_CONTROL.
    struct Iddq {
        LOW_POWER = 1 << 0,
        /// With its registers kept.
        SUSPENDED = 1 << 3,
    }
}

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

/// Takes the PHY out of IDDQ, in which Linux's driver leaves it on a board that reboots: it answers, and has no link. Whether a
/// reset would do is not known; Linux does this first, too (`bcm54xx_resume`). To be called ahead of the reset (D-186).
pub(super) fn wake<M: Mdio>(mdio: &mut M, phy: u8) -> Result<(), M::Error> {
    let asleep = Iddq::LOW_POWER | Iddq::SUSPENDED;
    mdio.put(phy, EXPANSION, IDDQ_CONTROL)?;
    let iddq = mii::settled(|| mdio.get(phy, EXPANSION_DATA))?;
    if iddq.has(asleep) {
        mdio.put(phy, EXPANSION_DATA, iddq & !asleep)?;
    }
    mdio.put(phy, EXPANSION, 0)
}

/// The two registers of a PHY that say which clocks it delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delays {
    misc: AuxCtl,
    clock: Shadow,
}

impl Delays {
    pub(super) fn read<M: Mdio>(mdio: &mut M, phy: u8) -> Result<Self, M::Error> {
        mdio.put(phy, AUXCTL, AuxCtl::READ_MISC)?;
        let misc = mii::settled(|| mdio.get(phy, AUXCTL))?;
        mdio.put(phy, SHADOW, Shadow::CLOCK_CONTROL)?;
        let clock = mii::settled(|| mdio.get(phy, SHADOW))?;
        Ok(Self {
            misc,
            clock: clock & Shadow::DATA,
        })
    }

    /// Writes them until they read so: with a write lost, the link is up and no frame passes. Says whether they do.
    pub(super) fn write<M: Mdio>(self, mdio: &mut M, phy: u8) -> Result<bool, M::Error> {
        for _ in 0..TRIES {
            mdio.put(phy, AUXCTL, self.misc | AuxCtl::WRITE | AuxCtl::MISC)?;
            mdio.put(phy, SHADOW, Shadow::WRITE | Shadow::CLOCK_CONTROL | self.clock)?;
            if Self::read(mdio, phy)?.delayed() == self.delayed() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the receive clock is delayed, and the transmit clock.
    fn delayed(self) -> (bool, bool) {
        (
            self.misc.has(AuxCtl::RXC_SKEW),
            self.clock.has(Shadow::GTXCLK_DELAY),
        )
    }

    /// With the receive clock delayed by the PHY and the transmit clock not, whatever straps or a former driver said: the MAC
    /// delays that one. Linux sets up the same (`rgmii-rxid`).
    pub(super) fn receive_only(self) -> Self {
        Self {
            misc: self.misc | AuxCtl::RXC_SKEW,
            clock: self.clock & !Shadow::GTXCLK_DELAY,
        }
    }
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

    const AUXCTL: u8 = 0x18;
    const SHADOW: u8 = 0x1c;
    const EXPANSION: u8 = 0x17;
    const EXPANSION_DATA: u8 = 0x15;

    /// A BCM54213PE's shadowed and expansion registers, which may lose the first writes.
    #[derive(Default)]
    struct Chip {
        misc: u16,
        clock: u16,
        iddq: u16,
        selected: u16,
        lost: u32,
    }

    impl Mdio for Chip {
        type Error = Error;

        fn read(&mut self, _: u8, register: u8) -> Result<u16, Error> {
            Ok(match register {
                AUXCTL => self.misc,
                SHADOW => 0x0c00 | self.clock,
                EXPANSION_DATA if self.selected == 0x0d06 => self.iddq,
                other => panic!("a read of {other:#x}"),
            })
        }

        fn write(&mut self, _: u8, register: u8, value: u16) -> Result<(), Error> {
            let sets = register == EXPANSION_DATA || register != EXPANSION && value & 0x8000 != 0;
            if sets && self.lost > 0 {
                self.lost -= 1;
                return Ok(());
            }
            match register {
                AUXCTL if value & 0x8007 == 0x8007 => self.misc = value & 0x7fff,
                AUXCTL => assert_eq!(value, 0x7007),
                SHADOW if value & 0x8000 != 0 => self.clock = value & 0x3ff,
                SHADOW => assert_eq!(value, 0x0c00),
                EXPANSION => self.selected = value,
                EXPANSION_DATA if self.selected == 0x0d06 => self.iddq = value,
                other => panic!("a write of {other:#x}"),
            }
            Ok(())
        }
    }

    #[test]
    fn delays_change_and_the_other_bits_stay() {
        for lost in 0..5 {
            let mut chip = Chip {
                misc: 0x70e7,
                clock: 0x3ff,
                lost,
                ..Chip::default()
            };
            let strapped = Delays::read(&mut chip, 1).unwrap();
            assert!(strapped.receive_only().write(&mut chip, 1).unwrap(), "{lost}");
            assert_eq!((chip.misc, chip.clock), (0x71e7, 0x1ff), "{lost}");
            assert!(strapped.write(&mut chip, 1).unwrap());
            assert_eq!((chip.misc & 0x100, chip.clock), (0, 0x3ff));
        }
        let mut deaf = Chip {
            lost: u32::MAX,
            ..Chip::default()
        };
        let wanted = Delays::read(&mut deaf, 1).unwrap().receive_only();
        assert!(!wanted.write(&mut deaf, 1).unwrap());
    }

    #[test]
    fn a_phy_in_iddq_is_woken_and_any_other_left_alone() {
        for (iddq, left) in [(0x0009, 0), (0x1008, 0x1000), (0x0001, 0), (0x0004, 0x0004)] {
            let mut chip = Chip {
                iddq,
                ..Chip::default()
            };
            wake(&mut chip, 1).unwrap();
            assert_eq!((chip.iddq, chip.selected), (left, 0), "{iddq:#x}");
        }
    }

    #[test]
    fn the_board_s_phy_is_known_in_every_revision() {
        assert!(has_known_delays(0x600d_84a2) && has_known_delays(0x600d_84a0));
        assert!(!has_known_delays(0x0007_c132));
    }
}
