//! GENET v5, the BCM2711's gigabit MAC, polled (facts of Linux bcmgenet, U-Boot bcmgenet and FreeBSD if_genet).
//!
//! Life of a received frame: each descriptor has one buffer for ever; the hardware fills it and counts up; the driver
//! reads the count once for all frames that wait, hands each to smoltcp where it landed, and gives them back in batches.
//! Whatever state a firmware's netboot or an operating system left: `start` stops it first, and takes the ring indices, which
//! nothing resets, as they are. The link comes when it comes: `receive` and `transmit` look at the PHY ten times a second.
//! D-46.

use core::fmt;
use core::ptr::NonNull;

use alloc::boxed::Box;
use alloc::vec::Vec;

use boot::Address;
use boot::{Clock as _, info, warn};
use embedded_hal::delay::DelayNs;
use safe_mmio::{UniqueMmioPointer, field};
use smoltcp::phy;
use smoltcp::time::{Duration, Instant};

use crate::bits::Bits as _;
use crate::clock::Clock;
use crate::cpu;
use crate::dma::{Arena, Buffer};
use crate::ether::mii::{Change, Link, Phy};
use crate::ether::silence::Silence;
use crate::ether::{DRAIN_PATIENCE, RxToken};

mod checksum;
mod engine;
#[cfg(test)]
mod fake;
mod mac;
mod mdio;
mod registers;
mod ring;
mod standstill;
#[cfg(test)]
mod tests;

use checksum::Trust;
use mdio::{Bus, Delays};
use registers::*;
use ring::{BUFFER, OutOfStep, PAD, RxRing, SHORTEST, TX_BUFFERS, TxRing};
use standstill::Standstill;

/// Where the BCM2711 has it.
pub const ADDRESS: usize = 0xfd58_0000;
/// The PHY of a Pi 4B, where no device tree says more.
const USUAL_PHY: u8 = 1;
/// Of so many restarts for silence one negotiates anew, the second, or the fourth where somebody has answered before: that takes seconds, and half a minute behind a switch that looks for loops.
const NEGOTIATE_EACH: u32 = 8;
/// Between two tries to have a PHY negotiate.
const AGAIN: Duration = Duration::from_secs(1);
/// MDIO failures in a row, a tenth of a second apart, before a person is told.
const WORTH_A_LINE: u32 = 10;

/// Why GENET cannot be brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// Another revision, or nothing; SYS_REV_CTRL.
    NotV5(u32),
    /// No DMA memory left.
    NoMemory,
    /// No PHY at any address.
    NoPhy,
    /// The PHY at this address does not leave its reset.
    PhyStuck(u8),
    /// MDIO failed.
    Mdio(mdio::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotV5(revision) => write!(f, "no GENET v5 (SYS_REV_CTRL {revision:#010x})"),
            Self::NoMemory => f.write_str("no DMA memory left"),
            Self::NoPhy => f.write_str("no PHY answers on MDIO"),
            Self::PhyStuck(address) => write!(f, "the PHY at MDIO address {address} stays in reset"),
            Self::Mdio(error) => write!(f, "{error}"),
        }
    }
}

impl From<mdio::Error> for Error {
    fn from(error: mdio::Error) -> Self {
        Self::Mdio(error)
    }
}

/// The MAC, its PHY and its rings.
pub struct Genet {
    registers: UniqueMmioPointer<'static, Registers>,
    phy: Phy,
    /// The MAC's delay is off, because the PHY's are not known.
    id_mode_disable: OobCtrl,
    /// The delays that the PHY had of its straps, where they are known.
    strapped: Option<Delays>,
    mac: [u8; 6],
    receiver: Receiver,
    transmitter: Transmitter,
    standstill: Standstill,
    silence: Silence,
    /// When the PHY is to be made ready once more.
    ready_at: Option<Instant>,
    mdio_failures: u32,
    clock: Clock,
}

struct Receiver {
    ring: RxRing,
    /// One for each descriptor, in its order.
    buffers: Box<[Buffer]>,
    trust: Trust,
    /// Frames that were not handed over: in error, or with a wrong checksum.
    dropped: u32,
}

struct Transmitter {
    ring: TxRing,
    /// What had left at the last look.
    left: u16,
    /// Each belongs to every 32nd descriptor.
    buffers: Box<[Buffer]>,
}

impl Genet {
    /// Brings up the MAC and its PHY, whatever state they are in, and begins to negotiate; does not wait for a link. The PHY
    /// is looked for at the address that the device tree has for it, then at every other.
    ///
    /// # Safety
    ///
    /// The SoC is a BCM2711 that has a GENET, its registers are mapped, and this is the only `Genet`.
    pub unsafe fn new(arena: &mut Arena, clock: Clock, mac: [u8; 6], phy: Option<u8>) -> Result<Self, Error> {
        // SAFETY: mapped by the caller's word, not null, and no other pointer to it exists.
        let registers = unsafe { UniqueMmioPointer::new(NonNull::new_unchecked(ADDRESS as *mut Registers)) };
        Self::start(registers, arena, clock, mac, phy)
    }

    fn start(
        mut registers: UniqueMmioPointer<'static, Registers>,
        arena: &mut Arena,
        mut clock: Clock,
        mac: [u8; 6],
        phy: Option<u8>,
    ) -> Result<Self, Error> {
        let revision = field!(registers, sys_rev_ctrl).read();
        if revision >> 24 & 0xf != MAJOR_V5 {
            return Err(Error::NotV5(revision));
        }
        let mut buffers = |count| -> Option<Box<[Buffer]>> {
            let buffers: Option<Vec<_>> = (0..count).map(|_| arena.buffer(BUFFER)).collect();
            buffers.map(Vec::into_boxed_slice)
        };
        let receive = buffers(DESCRIPTORS).ok_or(Error::NoMemory)?;
        let transmit = buffers(TX_BUFFERS).ok_or(Error::NoMemory)?;

        let found = mac::found_running(&registers);
        mac::stop(&mut registers, &mut clock);
        mac::reset(&mut registers, &mut clock);
        let mut bus = Bus {
            registers: &mut registers,
            clock,
        };
        let mut phy = Phy::find(&mut bus, phy.or(Some(USUAL_PHY)))?.ok_or(Error::NoPhy)?;
        let strapped = make_ready(&mut phy, &mut bus)?;
        info!(
            "nic: GENET v5{}, PHY {} at MDIO address {}",
            if found { ", found running" } else { "" },
            Address(phy.id().into()),
            phy.address()
        );
        let id_mode_disable = match strapped {
            Some(_) => OobCtrl::none(),
            None => OobCtrl::ID_MODE_DISABLE,
        };
        if strapped.is_none() {
            warn!("nic: this PHY's RGMII delays are not known: left as they are");
        }
        let mut genet = Self {
            registers,
            phy,
            id_mode_disable,
            strapped,
            mac,
            receiver: Receiver {
                ring: RxRing::default(),
                buffers: receive,
                trust: Trust::default(),
                dropped: 0,
            },
            transmitter: Transmitter {
                ring: TxRing::default(),
                left: 0,
                buffers: transmit,
            },
            standstill: Standstill::default(),
            silence: Silence::new(clock.now()),
            ready_at: None,
            mdio_failures: 0,
            clock,
        };
        genet.start_dma();
        Ok(genet)
    }

    /// Rings over all descriptors, in step with indices that nothing resets; then both engines.
    fn start_dma(&mut self) {
        let mut rdma = field!(self.registers, rdma);
        // The index cannot be written; the count of lost frames above it is cleared by this.
        engine::clear_lost(&mut rdma);
        let producer = engine::hardware_index(&mut rdma);
        self.receiver.ring = RxRing::resume(producer);
        for (descriptor, buffer) in self.receiver.buffers.iter_mut().enumerate() {
            // No dirty line may land on a frame later.
            buffer.give(BUFFER);
            engine::point(&mut rdma, descriptor, buffer.physical_address());
        }
        // A pause begins when 5 descriptors are free and ends at 16 (Linux).
        engine::start_ring(&mut rdma, self.receiver.ring.consumer(), 5 << 16 | 16);

        let mut tdma = field!(self.registers, tdma);
        let consumer = engine::hardware_index(&mut tdma);
        self.transmitter.ring = TxRing::resume(consumer);
        self.transmitter.left = self.transmitter.ring.completed();
        for descriptor in 0..DESCRIPTORS {
            let buffer = &self.transmitter.buffers[descriptor % TX_BUFFERS];
            engine::point(&mut tdma, descriptor, buffer.physical_address());
        }
        engine::start_ring(&mut tdma, self.transmitter.ring.producer(), 0);
        self.standstill.ends();

        cpu::barrier();
        field!(tdma, ctrl).write(DmaCtrl::RUNNING);
        let mut rdma = field!(self.registers, rdma);
        field!(rdma, ctrl).write(DmaCtrl::RUNNING);
    }

    /// Follows a link that came up: RGMII, speed, duplex and pause, out of reset, and on.
    ///
    /// The UniMAC stays in its reset until here. Released without the PHY's clock it may receive and never send (Linux
    /// 88f6c8bf1aae).
    fn start_mac(&mut self, link: Link) {
        let registers = &mut self.registers;
        let oob = field!(*registers, ext_rgmii_oob_ctrl).read();
        let oob = oob & !(OobCtrl::DISABLE | OobCtrl::ID_MODE_DISABLE)
            | OobCtrl::LINK
            | OobCtrl::RGMII_MODE
            | self.id_mode_disable;
        field!(*registers, ext_rgmii_oob_ctrl).write(oob);
        let command = mac::command(link);
        field!(*registers, umac_cmd).write(command);
        self.clock.delay_us(2);
        // The reset loses them.
        mac::identify(registers, self.mac);
        field!(*registers, umac_cmd).write(command | UmacCmd::TX_EN | UmacCmd::RX_EN);
    }

    /// Follows a link that went down.
    fn stop_mac(&mut self) {
        let cmd = field!(self.registers, umac_cmd).read();
        field!(self.registers, umac_cmd).write(cmd & !(UmacCmd::TX_EN | UmacCmd::RX_EN));
        let oob = field!(self.registers, ext_rgmii_oob_ctrl).read();
        field!(self.registers, ext_rgmii_oob_ctrl).write(oob & !OobCtrl::LINK);
    }

    /// Everything but the PHY anew, after something that should not happen.
    fn restart(&mut self, reason: &str) {
        warn!("nic: {}: starting the MAC again", reason);
        self.start_over();
    }

    fn start_over(&mut self) {
        mac::stop(&mut self.registers, &mut self.clock);
        mac::reset(&mut self.registers, &mut self.clock);
        self.start_dma();
        if let Some(link) = self.phy.link() {
            self.start_mac(link);
        }
    }

    /// The same with the PHY: the link comes up anew.
    fn restart_link(&mut self, reason: &str, now: Instant) {
        warn!("nic: {}: starting the MAC and the link again", reason);
        // The PHY's clock stops: the UniMAC waits in its reset.
        self.phy.forget_link();
        self.start_over();
        self.stop_mac();
        self.ready_at = Some(now);
        self.watch_phy(now);
    }

    /// Resets the PHY and has it negotiate, where that is due: what fails is tried again.
    fn watch_phy(&mut self, now: Instant) {
        if self.ready_at.is_none_or(|at| now < at) {
            return;
        }
        let mut bus = Bus {
            registers: &mut self.registers,
            clock: self.clock,
        };
        self.ready_at = match make_ready(&mut self.phy, &mut bus) {
            Ok(_) => None,
            Err(error) => {
                warn!("nic: {}", error);
                Some(now + AGAIN)
            }
        };
    }

    /// Looks after the link and the transmitter, when that is due.
    fn watch(&mut self, now: Instant) {
        if !self.phy.due(now) {
            return;
        }
        self.watch_phy(now);
        let mut bus = Bus {
            registers: &mut self.registers,
            clock: self.clock,
        };
        match self.phy.look(&mut bus, now) {
            Ok(change) => {
                self.mdio_failures = 0;
                match change {
                    Some(Change::Up(link)) => self.start_mac(link),
                    Some(Change::Down) => self.stop_mac(),
                    None => {}
                }
            }
            Err(error) => {
                self.mdio_failures = self.mdio_failures.saturating_add(1);
                if self.mdio_failures == WORTH_A_LINE {
                    warn!("nic: {}: the link is taken for what it was", error);
                }
            }
        }
        self.watch_transmitter(now);
    }

    /// Starts over when frames do not leave over a link.
    fn watch_transmitter(&mut self, now: Instant) {
        if self.transmitter.learn(&mut self.registers).is_err() {
            return self.restart("the transmit ring lost count");
        }
        self.watch_silence(now);
        let ring = &self.transmitter.ring;
        if ring.in_flight() == 0 || self.phy.link().is_none() {
            self.standstill.ends();
            return;
        }
        if self.standstill.too_long(ring.completed(), now) {
            self.restart("frames do not leave");
        }
    }

    /// Starts over when frames leave, as the hardware says, and nobody answers: boards have been seen that receive and never send
    /// (raspberrypi/linux#3195). What is heard of others is no answer (D-204).
    fn watch_silence(&mut self, now: Instant) {
        if self.transmitter.has_sent() {
            self.silence.sent(now);
        }
        if self.phy.link().is_none() {
            return;
        }
        let Some((_, times)) = self.silence.too_long(now) else {
            return;
        };
        // Behind a link that has worked a server is more likely gone than the wire.
        let negotiates = if self.silence.has_ended() { 4 } else { 2 };
        if times % NEGOTIATE_EACH == negotiates {
            self.restart_link("nothing answers", now);
        } else {
            self.restart("nothing answers");
        }
    }

    /// Whether a frame can be sent: without a link it would be lost, and the sender would not try again for long.
    fn can_send(&mut self) -> bool {
        if self.phy.link().is_none() {
            return false;
        }
        if self.transmitter.ring.has_room() {
            return true;
        }
        match self.transmitter.learn(&mut self.registers) {
            Ok(()) => self.transmitter.ring.has_room(),
            Err(OutOfStep) => {
                self.restart("the transmit ring lost count");
                false
            }
        }
    }

    /// The next frame, and a place for an answer.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        self.watch(now);
        // An answer must find room: smoltcp would rather have the frame later than not be able to answer it.
        if !self.can_send() {
            return None;
        }
        let (descriptor, len) = match self.receiver.next(&mut self.registers) {
            Ok(frame) => frame?,
            Err(OutOfStep) => {
                self.restart("the receive ring lost count");
                return None;
            }
        };
        let bytes = self.receiver.buffers[descriptor].bytes(len);
        // To us, and not to a group.
        if bytes.get(PAD).is_some_and(|first| first & 1 == 0) {
            self.silence.ends();
        }
        Some((
            RxToken(&bytes[PAD..]),
            TxToken {
                registers: &mut self.registers,
                to: &mut self.transmitter,
            },
        ))
    }

    /// A place for a frame.
    pub(crate) fn transmit(&mut self, now: Instant) -> Option<TxToken<'_>> {
        self.watch(now);
        self.can_send().then_some(TxToken {
            registers: &mut self.registers,
            to: &mut self.transmitter,
        })
    }

    /// Lets the last frames leave, then ends all traffic: no write to memory happens after this. Linux finds a PHY with a link,
    /// no engine running, no interrupt pending, and the MAC's own transmit delay.
    pub(crate) fn quiesce(&mut self) {
        if self.phy.link().is_some() {
            let Self {
                registers,
                transmitter,
                clock,
                ..
            } = self;
            clock.poll(DRAIN_PATIENCE, || match transmitter.learn(registers) {
                Ok(()) => (transmitter.ring.in_flight() == 0).then_some(()),
                Err(OutOfStep) => Some(()),
            });
        }
        mac::stop(&mut self.registers, &mut self.clock);
        mac::silence(&mut self.registers);
        mac::identify(&mut self.registers, self.mac);
        let oob = field!(self.registers, ext_rgmii_oob_ctrl).read();
        field!(self.registers, ext_rgmii_oob_ctrl).write(oob & !OobCtrl::ID_MODE_DISABLE);
        let mut bus = Bus {
            registers: &mut self.registers,
            clock: self.clock,
        };
        // A payload that expects what the straps say finds that again; one that fails has lost only this.
        if let Some(strapped) = self.strapped
            && !strapped.write(&mut bus, self.phy.address()).unwrap_or(false)
        {
            warn!("nic: the PHY keeps our RGMII delays");
        }
        let lost = engine::hardware_index(&mut field!(self.registers, rdma)) >> 16;
        let overflows = field!(self.registers, rbuf_ovfl_cnt).read();
        if self.receiver.dropped != 0 || lost != 0 || overflows != 0 {
            info!(
                "nic: {} frames in error, {} without a buffer, {} overflows",
                self.receiver.dropped, lost, overflows
            );
        }
    }
}

/// From any state to a PHY that negotiates. The delays that it had of its straps, where they are known.
fn make_ready(phy: &mut Phy, bus: &mut Bus<'_>) -> Result<Option<Delays>, Error> {
    let known = mdio::has_known_delays(phy.id());
    if known {
        mdio::wake(bus, phy.address())?;
    }
    let clock = bus.clock;
    if !phy.reset(bus, clock)? {
        return Err(Error::PhyStuck(phy.address()));
    }
    let mut strapped = None;
    if known {
        let delays = Delays::read(bus, phy.address())?;
        if !delays.receive_only().write(bus, phy.address())? {
            warn!("nic: the PHY does not keep its RGMII delays");
        }
        strapped = Some(delays);
    }
    phy.negotiate(bus, true, clock.now())?;
    Ok(strapped)
}

impl Receiver {
    /// The descriptor and length, with `PAD`, of the next good frame. Called when the one before has been read.
    fn next(
        &mut self,
        registers: &mut UniqueMmioPointer<'static, Registers>,
    ) -> Result<Option<(usize, usize)>, OutOfStep> {
        let mut rdma = field!(*registers, rdma);
        // A flood of broken frames cannot keep the stack from its timers.
        for _ in 0..DESCRIPTORS {
            if let Some(consumer) = self.ring.give_back() {
                engine::set_software_index(&mut rdma, consumer);
            }
            if self.ring.is_empty() {
                self.ring.learn(engine::hardware_index(&mut rdma))?;
            }
            let Some(descriptor) = self.ring.take() else {
                return Ok(None);
            };
            let status = field!(rdma, descriptors)
                .get(descriptor)
                .map_or(LengthStatus::none(), |mut descriptor| {
                    field!(descriptor, length_status).read()
                });
            if let Some(frame) = ring::received(status) {
                let bytes = self.buffers[descriptor].take(frame.len);
                if self.trust.passes(&bytes[PAD..], frame.checksum_ok) {
                    return Ok(Some((descriptor, frame.len)));
                }
            }
            self.dropped = self.dropped.saturating_add(1);
        }
        Ok(None)
    }
}

impl Transmitter {
    /// Asks the hardware what has left.
    fn learn(&mut self, registers: &mut UniqueMmioPointer<'static, Registers>) -> Result<(), OutOfStep> {
        self.ring
            .learn(engine::hardware_index(&mut field!(*registers, tdma)))
    }

    /// Whether anything has left since this was asked last, as far as is known.
    fn has_sent(&mut self) -> bool {
        core::mem::replace(&mut self.left, self.ring.completed()) != self.left
    }
}

/// A place for one frame.
pub struct TxToken<'a> {
    registers: &'a mut UniqueMmioPointer<'static, Registers>,
    to: &'a mut Transmitter,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Transmitter { ring, buffers, .. } = self.to;
        let (descriptor, buffer) = ring.next();
        let buffer = &mut buffers[buffer];
        // smoltcp keeps to the capabilities: never more than FRAME, which is less than the buffer.
        let bytes = buffer.bytes_mut();
        let result = f(&mut bytes[..len]);
        let padded = len.max(SHORTEST);
        bytes[len..padded].fill(0);
        buffer.give(padded);
        let mut tdma = field!(*self.registers, tdma);
        if let Some(mut descriptor) = field!(tdma, descriptors).get(descriptor) {
            field!(descriptor, length_status).write(ring::to_send(padded));
        }
        engine::set_software_index(&mut tdma, ring.push());
        result
    }
}
