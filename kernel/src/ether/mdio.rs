//! The registers of an Ethernet PHY, by MDIO (IEEE 802.3 clauses 22, 28, 40, annex 28B).

use core::fmt;
use core::marker::PhantomData;

use crate::bits::{Bits, bits};

/// A register of a PHY: its number (0 to 31), and whose bits it takes; `u32` for one that holds a number.
#[derive(Clone, Copy)]
pub(crate) struct Register<B>(u8, PhantomData<B>);

impl<B> Register<B> {
    /// The register of this number.
    pub(crate) const fn at(number: u8) -> Self {
        Self(number, PhantomData)
    }

    /// Its number.
    #[cfg(test)]
    pub(crate) fn number(&self) -> u8 {
        self.0
    }
}

/// Access to the registers of the PHYs on one MDIO bus.
pub(crate) trait Mdio {
    /// Why an access failed.
    type Error: fmt::Display;
    /// Register `register` (0 to 31) of the PHY at `phy` (0 to 31). A PHY that is not there may read as all ones.
    fn read(&mut self, phy: u8, register: u8) -> Result<u16, Self::Error>;
    /// Writes it.
    fn write(&mut self, phy: u8, register: u8, value: u16) -> Result<(), Self::Error>;

    /// The bits of a register.
    fn get<B: Bits>(&mut self, phy: u8, register: Register<B>) -> Result<B, Self::Error> {
        Ok(B::from_number(self.read(phy, register.0)?.into()))
    }

    /// Writes them.
    fn put<B: Bits>(&mut self, phy: u8, register: Register<B>, value: B) -> Result<(), Self::Error> {
        self.write(phy, register.0, value.number() as u16)
    }
}

/// Basic mode control register.
pub(crate) const BMCR: Register<Bmcr> = Register::at(0);
/// Basic mode status register.
pub(crate) const BMSR: Register<Bmsr> = Register::at(1);
/// PHY identifier, high half.
pub(crate) const PHYID1: Register<u32> = Register::at(2);
/// PHY identifier, low half.
pub(crate) const PHYID2: Register<u32> = Register::at(3);
/// What we advertise for 10 and 100 Mb/s.
pub(crate) const ANAR: Register<Abilities> = Register::at(4);
/// What the link partner advertised for 10 and 100 Mb/s.
pub(crate) const ANLPAR: Register<Abilities> = Register::at(5);
/// What we advertise for 1000BASE-T.
pub(crate) const GBCR: Register<Gbcr> = Register::at(9);
/// What the link partner advertised for 1000BASE-T.
pub(crate) const GBSR: Register<Gbsr> = Register::at(10);
/// MMD access: function and device.
pub(crate) const MMD_CONTROL: Register<MmdControl> = Register::at(13);
/// MMD access: register number or data.
pub(crate) const MMD_DATA: Register<u32> = Register::at(14);
/// Extended status: 1000BASE-T abilities.
pub(crate) const ESTATUS: Register<Estatus> = Register::at(15);

bits! {
    /// BMCR.
    pub(crate) struct Bmcr {
        RESET = 1 << 15,
        NEGOTIATE = 1 << 12,
        RESTART = 1 << 9,
    }

    /// BMSR.
    pub(crate) struct Bmsr {
        EXTENDED_STATUS = 1 << 8,
        NEGOTIATED = 1 << 5,
        /// Latched: reads 0 once after every loss of the link.
        LINK = 1 << 2,
    }

    /// ANAR and ANLPAR.
    pub(crate) struct Abilities {
        TEN_FULL = 1 << 6,
        HUNDRED_HALF = 1 << 7,
        HUNDRED_FULL = 1 << 8,
        PAUSE = 1 << 10,
        ASYMMETRIC = 1 << 11,
        /// IEEE 802.3's selector, 10 and 100 Mb/s at half and full duplex, and both kinds of pause: the MACs here send and honour it.
        ALL = 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11,
    }

    /// GBCR.
    pub(crate) struct Gbcr {
        /// 1000BASE-T full duplex. Half duplex is not offered: no switch has it.
        FULL = 1 << 9,
    }

    /// GBSR.
    pub(crate) struct Gbsr {
        /// The same of the link partner.
        FULL = 1 << 11,
    }

    /// MMD_CONTROL. Bits 4:0 are the device.
    pub(crate) struct MmdControl {
        /// MMD_DATA is data, not a register's number.
        DATA = 1 << 14,
    }

    /// ESTATUS.
    pub(crate) struct Estatus {
        GIGABIT_FULL = 1 << 13,
    }
}
