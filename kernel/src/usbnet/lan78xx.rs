//! LAN7800, and the LAN7515's function that equals it, the Pi 3B+'s port (facts of Linux lan78xx, U-Boot, Circle).

use boot::patience::LINK_FLAPS;
use boot::{info, warn};
use smoltcp::time::{Duration, Instant};

use crate::bits::{Bits, bits};
use crate::ether::FRAME;
use crate::ether::mdio::{self, Mdio as _};
use crate::ether::mii::{self, Change, Link, Phy, Speed};
use crate::usb::dwc2::Dwc2;
use crate::usb::transfer::Device;
use crate::usbnet::burst::{BURST, FCS, Framing, HEADER, Piece};
use crate::usbnet::registers::{Error, Register, Registers, address_words};

const INT_STS: Register<u32> = Register::at(0x00c);
const HW_CFG: Register<HwCfg> = Register::at(0x010);
const PMT_CTL: Register<PmtCtl> = Register::at(0x014);
const USB_CFG0: Register<UsbCfg0> = Register::at(0x080);
const BURST_CAP: Register<u32> = Register::at(0x090);
const BULK_IN_DLY: Register<u32> = Register::at(0x094);
const INT_EP_CTL: Register<u32> = Register::at(0x098);
const RFE_CTL: Register<RfeCtl> = Register::at(0x0b0);
const FCT_RX_CTL: Register<FctCtl> = Register::at(0x0c0);
const FCT_TX_CTL: Register<FctCtl> = Register::at(0x0c4);
const FCT_RX_FIFO_END: Register<u32> = Register::at(0x0c8);
const FCT_TX_FIFO_END: Register<u32> = Register::at(0x0cc);
const FCT_FLOW: Register<u32> = Register::at(0x0d0);
const MAC_CR: Register<MacCr> = Register::at(0x100);
const MAC_RX: Register<MacSide> = Register::at(0x104);
const MAC_TX: Register<MacSide> = Register::at(0x108);
const FLOW: Register<Flow> = Register::at(0x10c);
const RX_ADDRH: Register<u32> = Register::at(0x118);
const RX_ADDRL: Register<u32> = Register::at(0x11c);
const MII_ACC: u16 = 0x120;
const MAF_HI0: Register<MafHi> = Register::at(0x400);
const MAF_LO0: Register<u32> = Register::at(0x404);

const CHIP: u32 = 0x7800;
/// 12 KiB each, in units of 512 bytes, the last one named.
const FIFO_END: u32 = 12 * 1024 / 512 - 1;
/// Pause above 8704 of 12,288 bytes, go on below 1024 (Linux's levels at high speed), in units of 512.
const FLOW_LEVELS: u32 = ((1024 / 512) << 8) | (8704 / 512);

bits! {
    /// HW_CFG.
    struct HwCfg {
        /// Reset of everything but the PHY.
        LITE_RESET = 1 << 1,
        /// Several frames a burst, both clocks of the PHY, LED0 and LED1.
        ON = 1 << 4 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 20,
    }

    /// PMT_CTL.
    struct PmtCtl {
        /// Reset of the PHY; set until its end.
        PHY_RESET = 1 << 4,
        /// The chip is ready.
        READY = 1 << 7,
    }

    /// USB_CFG0.
    struct UsbCfg0 {
        /// Nothing to send is answered with NAK; bursts no longer than BURST_CAP.
        BURSTS = 1 << 6 | 1 << 5,
    }

    /// RFE_CTL: which frames come in.
    struct RfeCtl {
        /// Those for all.
        BROADCAST = 1 << 10,
        /// Those for an address of the filters.
        PERFECT = 1 << 1,
    }

    /// FCT_RX_CTL and FCT_TX_CTL. Bits 15:0 count what waits.
    struct FctCtl {
        /// The FIFO works.
        ENABLE = 1 << 31,
        /// It had no room for a frame.
        OVERFLOW = 1 << 24,
        /// It has stopped.
        DISABLED = 1 << 20,
    }

    /// MAC_CR.
    struct MacCr {
        /// Energy-efficient Ethernet.
        EEE = 1 << 17,
        /// Speed and duplex follow the PHY.
        AUTO = 1 << 12 | 1 << 11,
    }

    /// MAC_RX and MAC_TX.
    struct MacSide {
        /// The MAC works.
        ENABLE = 1 << 0,
        /// It has stopped.
        DISABLED = 1 << 1,
        /// MAC_RX: longest frame with a VLAN tag and its check sequence.
        LONGEST = ((FRAME + 4 + FCS) as u32) << 16,
    }

    /// FLOW.
    struct Flow {
        /// Pause frames are sent.
        TX_PAUSE = 1 << 30,
        /// Received ones are honoured.
        RX_PAUSE = 1 << 29,
        /// In pause frames of ours.
        LONGEST_PAUSE = 0xffff,
    }

    /// MAF_HI0. Bits 15:0 are the end of the address.
    struct MafHi {
        /// The filter is on.
        VALID = 1 << 31,
    }
}

/// How long the chip collects frames for a burst: 0x2000 times 16.67 ns is 136 µs.
const DELAY: u32 = 0x2000;

/// What the LEDs of its PHY show.
const PHY_LEDS: mdio::Register<PhyLeds> = mdio::Register::at(29);

bits! {
    /// PHY_LEDS.
    struct PhyLeds {
        /// Those of two LEDs.
        TWO = 0xff,
        /// 1000 Mb/s and activity, 10 or 100 Mb/s and activity.
        OF_A_3B_PLUS = 0x61,
    }
}

/// Bursts in both directions.
pub(super) const FRAMING: Framing = Framing {
    burst: BURST,
    next,
    header: Some(header),
    together: true,
};

/// TX command words A and B: the chip adds the check sequence.
fn header(len: usize) -> [u8; HEADER] {
    const INSERT_FCS: u32 = 1 << 22;
    u64::from(len as u32 & 0xf_ffff | INSERT_FCS).to_le_bytes()
}

/// RX command words A, B and C (10 bytes), then the frame with its check sequence.
fn next(burst: &[u8]) -> Piece {
    const ERROR_DETECTED: u32 = 1 << 22;
    /// Watchdog, runt, too long, PHY error, dribble, check sequence.
    const ERRORS: u32 = 0x3f << 16;
    let Some(command) = burst.first_chunk() else {
        return Piece::Rest;
    };
    let command = u32::from_le_bytes(*command);
    let size = (command & 0x3fff) as usize;
    Piece::new(burst.len(), 10, size, command & (ERROR_DETECTED | ERRORS) != 0)
}

/// The word of FLOW for a link.
fn flow(link: &Link) -> Flow {
    let mut flow = Flow::none();
    if link.pause_transmit {
        flow = Flow::TX_PAUSE | Flow::LONGEST_PAUSE;
    }
    if link.pause_receive {
        flow = flow | Flow::RX_PAUSE;
    }
    flow
}

/// Whether a link brings more than the chip can pass on: at 1000 Mb/s its 12 KiB overflow within 100 µs, USB drains 300 Mb/s
/// at best, and a partner that takes no pause frames goes on. TCP falls to a tenth then (D-44).
fn too_fast(link: &Link) -> bool {
    link.speed == Speed::Thousand && !link.pause_transmit
}

/// Without a link for so long the cable may be another, or its other end: at 100 Mb/s a negotiation takes 2 to 3 s.
const REPLUGGED: Duration = Duration::from_secs(5);
/// How often 1000 Mb/s are offered again before a link keeps them: a switch that takes no pause frames costs a
/// negotiation more each time, and a bad cable must not do that for ever.
const SECOND_OFFERS: u32 = 3;

/// Whether 1000 Mb/s are offered: not after a partner that takes no pause frames, nor over a cable that cannot bear them, and again to
/// whatever comes next.
///
/// Linux tunes this PHY's receiver, by words that no document explains (`lan88xx_config_TR_regs`); we leave it as it is, as U-Boot
/// does, and fall back when a link of 1000 Mb/s flaps (D-204).
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    gigabit: bool,
    /// When links of 1000 Mb/s were lost, the last one first.
    losses: [Option<Instant>; LINK_FLAPS.0],
    /// How often 1000 Mb/s may be offered again.
    left: u32,
    /// Since when there is no link.
    dark_since: Instant,
}

impl Offer {
    /// Everything, to begin with.
    fn new(now: Instant) -> Self {
        Self {
            gigabit: true,
            losses: [None; LINK_FLAPS.0],
            left: SECOND_OFFERS,
            dark_since: now,
        }
    }

    /// No more 1000 Mb/s for a partner at which they were too fast.
    fn withdraw(&mut self, now: Instant) {
        (self.gigabit, self.dark_since) = (false, now);
    }

    /// A link came up that can stay.
    fn settle(&mut self, link: &Link) {
        if link.speed == Speed::Thousand {
            self.left = SECOND_OFFERS;
        }
    }

    /// A link is lost. Whether 1000 Mb/s went so often that they are no more to be offered.
    fn lose(&mut self, link: Option<Link>, now: Instant) -> bool {
        self.dark_since = now;
        if link.is_none_or(|link| link.speed != Speed::Thousand) {
            return false;
        }
        self.losses.rotate_right(1);
        self.losses[0] = Some(now);
        let flaps = self.losses[LINK_FLAPS.0 - 1].is_some_and(|first| now < first + LINK_FLAPS.1);
        if flaps {
            self.losses = [None; LINK_FLAPS.0];
            self.gigabit = false;
        }
        flaps
    }

    /// Whether 1000 Mb/s are to be offered again, while there is no link.
    fn is_due(&self, now: Instant) -> bool {
        !self.gigabit && self.left > 0 && now >= self.dark_since + REPLUGGED
    }

    /// They are offered again.
    fn renew(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.gigabit = true;
    }
}

/// A LAN78xx that has been brought up.
pub(super) struct Lan78xx {
    device: Device,
    burst_cap: u32,
    mac: [u8; 6],
    phy: Phy,
    offer: Offer,
}

impl Lan78xx {
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
        registers.set(PMT_CTL, PmtCtl::PHY_RESET)?;
        let done = (PmtCtl::PHY_RESET | PmtCtl::READY, PmtCtl::READY);
        registers.until(PMT_CTL, done, "the reset of its PHY does not end")?;
        let mut phy = Phy::find(&mut registers, Some(1))?.ok_or(Error::NoPhy)?;
        let address = phy.address();
        let leds = mii::settled(|| registers.get(address, PHY_LEDS))?;
        registers.put(address, PHY_LEDS, leds & !PhyLeds::TWO | PhyLeds::OF_A_3B_PLUS)?;
        let now = boot::Clock::now(&registers.usb.clock());
        phy.negotiate(&mut registers, true, now)?;
        start_traffic(&mut registers)?;
        Ok(Self {
            device,
            burst_cap,
            mac,
            phy,
            offer: Offer::new(now),
        })
    }

    /// Brings the MAC up again after trouble. The PHY keeps its link.
    pub(super) fn restart(&mut self, usb: &mut Dwc2) -> Result<(), Error> {
        let mut registers = registers(usb, self.device);
        start_mac(&mut registers, self.burst_cap, self.mac)?;
        if let Some(link) = self.phy.link() {
            follow(&mut registers, &link)?;
        }
        start_traffic(&mut registers)
    }

    /// The link at the last look.
    pub(super) fn link(&self) -> Option<Link> {
        self.phy.link()
    }

    /// Looks at the link, and lets the MAC follow it. Negotiates anew when it is too fast, or may have become another.
    pub(super) fn look(&mut self, usb: &mut Dwc2, now: Instant) -> Result<(), Error> {
        let mut registers = registers(usb, self.device);
        let before = self.phy.link();
        match self.phy.look(&mut registers, now)? {
            Some(Change::Up(link)) if too_fast(&link) => {
                warn!("nic: the other end takes no pause frames: negotiating 100 Mb/s instead");
                self.offer.withdraw(now);
                self.phy.negotiate(&mut registers, false, now)
            }
            Some(Change::Up(link)) => {
                self.offer.settle(&link);
                follow(&mut registers, &link).inspect_err(|_| self.phy.forget_link())
            }
            Some(Change::Down) if self.offer.lose(before, now) => {
                warn!("nic: a link of 1000 Mb/s goes again and again: negotiating 100 Mb/s instead");
                self.phy.negotiate(&mut registers, false, now)
            }
            Some(Change::Down) => Ok(()),
            None if self.phy.link().is_none() && self.offer.is_due(now) => {
                info!("nic: the cable may be in another switch now: offering 1000 Mb/s again");
                self.offer.renew();
                self.phy.negotiate(&mut registers, true, now)
            }
            None => Ok(()),
        }
    }

    /// Whether frames wait in the chip.
    pub(super) fn holds_frames(&self, usb: &mut Dwc2) -> Result<bool, Error> {
        Ok(registers(usb, self.device).read(FCT_RX_CTL)?.number() & 0xffff != 0)
    }

    /// Whether frames were dropped for want of room since the last start.
    pub(super) fn overflowed(&self, usb: &mut Dwc2) -> Result<bool, Error> {
        Ok(registers(usb, self.device)
            .read(FCT_RX_CTL)?
            .has(FctCtl::OVERFLOW))
    }

    /// Stops both directions. The MAC address stays for the next driver.
    pub(super) fn stop(&self, usb: &mut Dwc2) -> Result<(), Error> {
        let mut registers = registers(usb, self.device);
        end(&mut registers, MAC_RX, MacSide::ENABLE, MacSide::DISABLED)?;
        end(&mut registers, FCT_RX_CTL, FctCtl::ENABLE, FctCtl::DISABLED)?;
        end(&mut registers, FCT_TX_CTL, FctCtl::ENABLE, FctCtl::DISABLED)?;
        end(&mut registers, MAC_TX, MacSide::ENABLE, MacSide::DISABLED)
    }
}

/// Stops a part of the chip. Only what was on tells that it has stopped; one wrong read must not leave it on.
fn end<B: Bits>(
    registers: &mut Registers<'_>,
    register: Register<B>,
    enable: B,
    disabled: B,
) -> Result<(), Error> {
    if registers.steady(register)?.has(enable) {
        registers.clear(register, enable)?;
        registers.until(register, (disabled, disabled), "it does not stop")?;
    }
    Ok(())
}

fn registers(usb: &mut Dwc2, device: Device) -> Registers<'_> {
    Registers {
        usb,
        device,
        mii: MII_ACC,
    }
}

/// Everything but the PHY and the traffic, from any state. No access to the PHY is under way: the chip would lock up.
fn start_mac(registers: &mut Registers<'_>, burst_cap: u32, mac: [u8; 6]) -> Result<(), Error> {
    registers.set(HW_CFG, HwCfg::LITE_RESET)?;
    registers.until(
        HW_CFG,
        (HwCfg::LITE_RESET, HwCfg::none()),
        "its reset does not end",
    )?;
    let (low, high) = address_words(mac);
    registers.write(RX_ADDRL, low)?;
    registers.write(RX_ADDRH, high)?;
    // These are the ones that frames are filtered by.
    registers.write(MAF_LO0, low)?;
    registers.write(MAF_HI0, MafHi::from_number(high) | MafHi::VALID)?;
    registers.set(USB_CFG0, UsbCfg0::BURSTS)?;
    registers.write(BURST_CAP, burst_cap)?;
    registers.write(BULK_IN_DLY, DELAY)?;
    registers.set(HW_CFG, HwCfg::ON)?;
    registers.write(FCT_RX_FIFO_END, FIFO_END)?;
    registers.write(FCT_TX_FIFO_END, FIFO_END)?;
    registers.write(INT_EP_CTL, 0)?;
    registers.write(INT_STS, u32::MAX)?;
    registers.write(FLOW, Flow::none())?;
    registers.write(FCT_FLOW, 0)?;
    registers.write(RFE_CTL, RfeCtl::BROADCAST | RfeCtl::PERFECT)?;
    registers.change(MAC_CR, MacCr::EEE, MacCr::AUTO)
}

/// The longest frame may be set only while reception is off. Behind each MAC its FIFO; the sender's MAC first.
fn start_traffic(registers: &mut Registers<'_>) -> Result<(), Error> {
    registers.write(MAC_RX, MacSide::LONGEST)?;
    registers.set(MAC_TX, MacSide::ENABLE)?;
    registers.set(FCT_TX_CTL, FctCtl::ENABLE)?;
    registers.set(FCT_RX_CTL, FctCtl::ENABLE)?;
    registers.set(MAC_RX, MacSide::ENABLE)
}

/// The levels must be there before pause frames are allowed.
fn follow(registers: &mut Registers<'_>, link: &Link) -> Result<(), Error> {
    registers.write(FCT_FLOW, FLOW_LEVELS)?;
    registers.write(FLOW, flow(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(command: u32, len: usize) -> Vec<u8> {
        let mut bytes = command.to_le_bytes().to_vec();
        bytes.resize(len, 0x55);
        bytes
    }

    #[test]
    fn a_frame_stands_behind_ten_bytes_of_commands() {
        let frame = |command, len| next(&burst(command, len));
        let whole = Piece::Frame {
            start: 10,
            len: 61,
            next: 76,
        };
        assert_eq!(frame(65, 76), whole);
        assert_eq!(frame(65 | 1 << 25 | 1 << 30, 75), whole, "broadcast, no checksum");
        for error in [16, 18, 19, 20, 22] {
            assert_eq!(frame(65 | 1 << error, 76), Piece::Spoilt { next: 76 }, "{error}");
        }
        assert_eq!(frame(65, 74), Piece::Rest);
        assert_eq!(frame(0x3fff, 76), Piece::Rest);
        assert_eq!(frame(0, 76), Piece::Rest);
        assert_eq!(next(&[65, 0]), Piece::Rest);
    }

    #[test]
    fn the_chip_adds_the_check_sequence() {
        assert_eq!(header(1514), [0xea, 5, 0x40, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_gigabit_is_withdrawn_by_the_last_of_losses_that_come_soon_and_by_no_other() {
        let link = |speed| Link {
            speed,
            full_duplex: true,
            pause_receive: true,
            pause_transmit: true,
        };
        let (gigabit, slower) = (Some(link(Speed::Thousand)), Some(link(Speed::Hundred)));
        let (count, within) = LINK_FLAPS;
        let at = |n: usize, between: Duration| Instant::ZERO + between * n as u32;
        let soon = within / count as u32;
        for (link, between, last) in [
            (gigabit, soon, true),
            (gigabit, within, false),
            (slower, soon, false),
            (None, soon, false),
        ] {
            let mut offer = Offer::new(Instant::ZERO);
            for n in 0..count {
                assert!(offer.gigabit && !offer.is_due(at(n, between) + REPLUGGED), "{n}");
                assert_eq!(offer.lose(link, at(n, between)), last && n + 1 == count, "{n}");
                assert_eq!(offer.dark_since, at(n, between));
            }
            assert_eq!(offer.gigabit, !last);
            // And it begins to count anew.
            assert!(
                !last
                    || offer
                        == Offer {
                            gigabit: false,
                            dark_since: offer.dark_since,
                            ..Offer::new(Instant::ZERO)
                        }
            );
        }
    }

    #[test]
    fn pause_is_what_was_negotiated() {
        let link = |pause_receive, pause_transmit| Link {
            speed: Speed::Thousand,
            full_duplex: true,
            pause_receive,
            pause_transmit,
        };
        assert_eq!(flow(&link(false, false)).number(), 0);
        assert_eq!(flow(&link(true, false)).number(), 0x2000_0000);
        assert_eq!(flow(&link(true, true)).number(), 0x6000_ffff);
        assert!(too_fast(&link(true, false)) && !too_fast(&link(false, true)));
        assert_eq!(FLOW_LEVELS, 0x0211);
    }
}
