//! Ethernet function of the LAN9514, the Pi 3B's port (LAN9514 datasheet; facts of Linux smsc95xx and U-Boot).

use smoltcp::time::Instant;

use crate::bits::{Bits as _, bits};
use crate::ether::mdio::{self, Mdio as _};
use crate::ether::mii::{self, Change, Link, Phy};
use crate::usb::dwc2::Dwc2;
use crate::usb::transfer::Device;
use crate::usbnet::burst::{BURST, Framing, HEADER, Piece};
use crate::usbnet::registers::{Error, Register, Registers, address_words};

const INT_STS: Register<IntSts> = Register::at(0x08);
const TX_CFG: Register<TxCfg> = Register::at(0x10);
const HW_CFG: Register<HwCfg> = Register::at(0x14);
const RX_FIFO_INF: Register<u32> = Register::at(0x18);
const PM_CTRL: Register<PmCtrl> = Register::at(0x20);
const LED_GPIO_CFG: Register<LedGpioCfg> = Register::at(0x24);
const AFC_CFG: Register<AfcCfg> = Register::at(0x2c);
const BURST_CAP: Register<u32> = Register::at(0x38);
const BULK_IN_DLY: Register<u32> = Register::at(0x6c);
const MAC_CR: Register<MacCr> = Register::at(0x100);
const ADDRH: Register<u32> = Register::at(0x104);
const ADDRL: Register<u32> = Register::at(0x108);
const MII_ADDR: u16 = 0x114;
const FLOW: Register<Flow> = Register::at(0x11c);
const VLAN1: Register<u32> = Register::at(0x120);
const COE_CR: Register<u32> = Register::at(0x130);

const CHIP: u32 = 0xec00;
bits! {
    /// INT_STS.
    struct IntSts {
        /// A frame was dropped.
        DROPPED = 1 << 11,
        /// Each of them; written as ones they are cleared.
        ALL = u32::MAX,
    }

    /// TX_CFG.
    struct TxCfg {
        /// Transmit.
        ON = 1 << 2,
        /// Stop behind this frame.
        STOP = 1 << 1,
    }

    /// HW_CFG.
    struct HwCfg {
        /// Reset of everything but the PHY.
        LITE_RESET = 1 << 3,
        /// Nothing to send is answered with NAK, not with an empty packet.
        BIR = 1 << 12,
        /// Two bytes before each frame, so that the IP header lies at a multiple of 4.
        OFFSET_2 = 2 << 9,
        /// How many bytes before each frame.
        OFFSETS = 3 << 9,
        /// Several frames a burst, bursts no longer than BURST_CAP.
        BURSTS = 1 << 5 | 1 << 1,
    }

    /// PM_CTRL.
    struct PmCtrl {
        /// Reset of the PHY; set until its end.
        PHY_RESET = 1 << 4,
    }

    /// LED_GPIO_CFG.
    struct LedGpioCfg {
        /// Pins as LEDs for speed, link and duplex.
        LEDS = 0x0111_0000,
    }

    /// AFC_CFG.
    struct AfcCfg {
        /// Pause above 0xf8, go on below 0x30, in units of 64 bytes; back pressure for 50 µs. The low bits turn it on.
        LEVELS = 0x00f8_30a0,
        /// For frames of all kinds.
        ON = 0xf,
    }

    /// MAC_CR.
    struct MacCr {
        /// With half duplex: own frames are not received.
        NO_OWN = 1 << 23,
        /// Full duplex.
        FULL_DUPLEX = 1 << 20,
        /// Transmit.
        TX = 1 << 3,
        /// Receive.
        RX = 1 << 2,
    }

    /// FLOW.
    struct Flow {
        /// Received pause frames are honoured.
        ON = 1 << 1,
        /// In pause frames of ours.
        LONGEST_PAUSE = 0xffff << 16,
    }
}

/// How long the chip collects frames for a burst: 0x2000 times 16.67 ns is 136 µs.
const DELAY: u32 = 0x2000;

/// Mode control and status of its PHY.
const PHY_MODE: mdio::Register<PhyMode> = mdio::Register::at(17);

bits! {
    /// PHY_MODE.
    struct PhyMode {
        /// Energy-detect power down: with it a link comes up a second later.
        ENERGY_DETECT = 1 << 13,
    }
}

/// One frame a transfer goes out; bursts come in.
pub(super) const FRAMING: Framing = Framing {
    burst: BURST,
    next,
    header: Some(header),
    together: false,
};

/// TX command words A and B: the whole frame in one piece. The chip pads it and adds its check sequence.
fn header(len: usize) -> [u8; HEADER] {
    const FIRST_AND_LAST: u32 = 1 << 13 | 1 << 12;
    let len = len as u32 & 0x7ff;
    let words = u64::from(len) << 32 | u64::from(len | FIRST_AND_LAST);
    words.to_le_bytes()
}

/// RX status word, two bytes of offset, the frame.
fn next(burst: &[u8]) -> Piece {
    const ERROR_SUMMARY: u32 = 1 << 15;
    let Some(status) = burst.first_chunk() else {
        return Piece::Rest;
    };
    let status = u32::from_le_bytes(*status);
    let size = (status >> 16 & 0x3fff) as usize;
    Piece::new(burst.len(), 6, size, status & ERROR_SUMMARY != 0)
}

/// The words of MAC_CR, FLOW and AFC_CFG for a link.
fn link_words(link: &Link) -> (MacCr, Flow, AfcCfg) {
    let duplex = if link.full_duplex {
        MacCr::FULL_DUPLEX
    } else {
        MacCr::NO_OWN
    };
    let (mut flow, mut afc) = (Flow::none(), AfcCfg::LEVELS);
    if link.pause_receive {
        flow = Flow::LONGEST_PAUSE | Flow::ON;
    }
    if link.pause_transmit {
        flow = flow | Flow::LONGEST_PAUSE;
    }
    // With half duplex the same levels make back pressure.
    if link.pause_transmit || !link.full_duplex {
        afc = afc | AfcCfg::ON;
    }
    (MacCr::TX | MacCr::RX | duplex, flow, afc)
}

/// A LAN9514 that has been brought up.
pub(super) struct Lan9514 {
    device: Device,
    burst_cap: u32,
    mac: [u8; 6],
    phy: Phy,
}

impl Lan9514 {
    /// Resets the chip and its PHY, and lets frames flow as soon as there is a link. `max_packet` is its bulk IN endpoint's.
    pub(super) fn start(
        usb: &mut Dwc2,
        device: Device,
        max_packet: u16,
        mac: [u8; 6],
    ) -> Result<Self, Error> {
        let mut registers = registers(usb, device);
        registers.expect_chip(CHIP)?;
        let burst_cap = FRAMING.cap(max_packet);
        start_mac(&mut registers, burst_cap, mac)?;
        registers.set(PM_CTRL, PmCtrl::PHY_RESET)?;
        registers.until(
            PM_CTRL,
            (PmCtrl::PHY_RESET, PmCtrl::none()),
            "the reset of its PHY does not end",
        )?;
        let mut phy = Phy::find(&mut registers, Some(1))?.ok_or(Error::NoPhy)?;
        let address = phy.address();
        let mode = mii::settled(|| registers.get(address, PHY_MODE))?;
        registers.put(address, PHY_MODE, mode & !PhyMode::ENERGY_DETECT)?;
        let now = boot::Clock::now(&registers.usb.clock());
        phy.negotiate(&mut registers, false, now)?;
        Ok(Self {
            device,
            burst_cap,
            mac,
            phy,
        })
    }

    /// Brings the MAC up again after trouble. The PHY keeps its link.
    pub(super) fn restart(&mut self, usb: &mut Dwc2) -> Result<(), Error> {
        let mut registers = registers(usb, self.device);
        start_mac(&mut registers, self.burst_cap, self.mac)?;
        self.phy
            .link()
            .map_or(Ok(()), |link| follow(&mut registers, &link))
    }

    /// The link at the last look.
    pub(super) fn link(&self) -> Option<Link> {
        self.phy.link()
    }

    /// Looks at the link, and lets the MAC follow it.
    pub(super) fn look(&mut self, usb: &mut Dwc2, now: Instant) -> Result<(), Error> {
        let mut registers = registers(usb, self.device);
        match self.phy.look(&mut registers, now)? {
            Some(Change::Up(link)) => follow(&mut registers, &link).inspect_err(|_| self.phy.forget_link()),
            Some(Change::Down) | None => Ok(()),
        }
    }

    /// Whether frames wait in the chip.
    pub(super) fn holds_frames(&self, usb: &mut Dwc2) -> Result<bool, Error> {
        Ok(registers(usb, self.device).read(RX_FIFO_INF)? & 0xffff != 0)
    }

    /// Whether frames were dropped for want of room since the last start.
    pub(super) fn overflowed(&self, usb: &mut Dwc2) -> Result<bool, Error> {
        Ok(registers(usb, self.device).read(INT_STS)?.has(IntSts::DROPPED))
    }

    /// Stops both directions. The MAC address stays for the next driver.
    pub(super) fn stop(&self, usb: &mut Dwc2) -> Result<(), Error> {
        let mut registers = registers(usb, self.device);
        registers.clear(MAC_CR, MacCr::RX)?;
        // It ends the frame that is on the wire.
        registers.write(TX_CFG, TxCfg::STOP)?;
        registers.clear(MAC_CR, MacCr::TX)
    }
}

fn registers(usb: &mut Dwc2, device: Device) -> Registers<'_> {
    Registers {
        usb,
        device,
        mii: MII_ADDR,
    }
}

/// Everything but the PHY, from any state.
fn start_mac(registers: &mut Registers<'_>, burst_cap: u32, mac: [u8; 6]) -> Result<(), Error> {
    registers.write(HW_CFG, HwCfg::LITE_RESET)?;
    registers.until(
        HW_CFG,
        (HwCfg::LITE_RESET, HwCfg::none()),
        "its reset does not end",
    )?;
    let (low, high) = address_words(mac);
    registers.write(ADDRL, low)?;
    registers.write(ADDRH, high)?;
    registers.change(
        HW_CFG,
        HwCfg::OFFSETS,
        HwCfg::BIR | HwCfg::OFFSET_2 | HwCfg::BURSTS,
    )?;
    registers.write(BURST_CAP, burst_cap)?;
    registers.write(BULK_IN_DLY, DELAY)?;
    registers.write(INT_STS, IntSts::ALL)?;
    registers.write(LED_GPIO_CFG, LedGpioCfg::LEDS)?;
    registers.write(FLOW, Flow::none())?;
    registers.write(AFC_CFG, AfcCfg::LEVELS)?;
    registers.write(VLAN1, 0x8100)?;
    registers.write(COE_CR, 0)?;
    registers.write(MAC_CR, MacCr::FULL_DUPLEX | MacCr::TX)?;
    registers.write(TX_CFG, TxCfg::ON)?;
    registers.write(MAC_CR, MacCr::FULL_DUPLEX | MacCr::TX | MacCr::RX)
}

fn follow(registers: &mut Registers<'_>, link: &Link) -> Result<(), Error> {
    let (mac_cr, flow, afc) = link_words(link);
    registers.write(MAC_CR, mac_cr)?;
    registers.write(FLOW, flow)?;
    registers.write(AFC_CFG, afc)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(status: u32, len: usize) -> Vec<u8> {
        let mut bytes = status.to_le_bytes().to_vec();
        bytes.resize(len, 0x55);
        bytes
    }

    #[test]
    fn a_frame_stands_behind_its_status_and_two_bytes() {
        let frame = |status, len| next(&burst(status, len));
        let whole = Piece::Frame {
            start: 6,
            len: 60,
            next: 72,
        };
        assert_eq!(frame(64 << 16, 72), whole);
        assert_eq!(
            frame(64 << 16 | 1 << 30 | 1 << 13, 70),
            whole,
            "other bits are no errors"
        );
        assert_eq!(frame(64 << 16 | 1 << 15 | 2, 72), Piece::Spoilt { next: 72 });
        assert_eq!(frame(64 << 16, 69), Piece::Rest);
        assert_eq!(frame(0x3fff << 16, 72), Piece::Rest);
        assert_eq!(next(&[0, 0, 64]), Piece::Rest);
    }

    #[test]
    fn every_status_word_leads_on_or_ends_the_burst() {
        let mut bytes = burst(0, 4096);
        for high in 0..=u16::MAX {
            bytes[2..4].copy_from_slice(&high.to_le_bytes());
            match next(&bytes) {
                Piece::Frame { start, len, next } => assert!(start + len + 4 <= 4096 && next > start),
                Piece::Spoilt { next } => assert!(next > 4 && next.is_multiple_of(4)),
                Piece::Rest => {}
            }
        }
    }

    #[test]
    fn a_frame_leaves_in_one_piece() {
        assert_eq!(header(60), [60, 0x30, 0, 0, 60, 0, 0, 0]);
        assert_eq!(header(1514), [0xea, 0x35, 0, 0, 0xea, 5, 0, 0]);
    }
}
