//! A network interface on USB: one of the chips that Bramble drives, its frames, and what is done when it fails.
//!
//! Trouble is met in steps: a transaction that got no answer is tried again (`usb::transfer`); a transfer that failed starts
//! the chip's MAC and both endpoints anew; a device that goes on failing, or does not answer at all, is given up, and the
//! bus reset and searched again, for as long as the boot lasts. Meanwhile the stack sees a NIC without a link. No buffer
//! belongs to a device, so none is lost with it.

use alloc::rc::Rc;
use core::cell::{RefCell, RefMut};

use boot::patience::NIC_SEARCHED_AGAIN;
use boot::{info, warn};
use smoltcp::time::{Duration, Instant};

use crate::clock::Clock;
use crate::dma::Arena;
use crate::ether::silence::Silence;
use crate::ether::{DRAIN_PATIENCE, RxToken};
use crate::usb;
use crate::usb::bus::Class;
use crate::usb::dwc2::Dwc2;
use crate::usb::host::{Host, Seat};
use crate::usb::pipe::Pipe;
use crate::usb::transfer::Device;

mod burst;
mod cdc_ecm;
mod chip;
#[cfg(test)]
mod fake;
mod lan78xx;
mod lan9514;
mod registers;

pub use burst::TxToken;
use burst::{Dropped, Framing, Receiver, Transmitter};
use chip::{Chip, Known};
pub use registers::Error;

/// Between two looks at the link. A look is three control transfers, a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks in a row that fail until the device is given up. Each of them waits half a second for its answer.
const LOOKS: u32 = 3;
/// Restarts of the chip, without a burst or a transmission that went through in between, until it is given up.
const RESTARTS: u32 = 4;
/// Looks without a burst after which it is checked that the chip holds no frames.
const QUIET_LOOKS: u32 = 4;
/// A chip's start, its restart, and a look at it: a fraction of a second. A device that answers each request, but late, is none that
/// works; with a search of the bus before it, a start is over in twelve seconds, before the watchdog bites.
const CHIP_PATIENCE: Duration = Duration::from_millis(2500);
/// When the last try of the first search begins, at the latest. With the twelve seconds that it may take it ends before the
/// watchdog's sixteen do.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// What the bus is searched for.
static CLASS: Class = Class {
    what: "a network interface",
    driven: registers::DRIVEN,
    knows: |about, configuration| Known::of(about, configuration).is_some(),
};

/// A device on the bus that has been brought up.
struct Present {
    device: Device,
    chip: Chip,
    framing: &'static Framing,
    input: Pipe,
    output: Pipe,
    /// Looks in a row that failed.
    failed_looks: u32,
    /// Restarts since something went through.
    restarts: u32,
    /// Looks in a row without a burst.
    quiet: u32,
    silence: Silence,
}

#[allow(clippy::large_enum_variant, reason = "there is one in a boot")]
enum State {
    Present(Present),
    /// Nothing answers; when to search again, and the pause after that.
    Gone {
        search_at: Instant,
        pause: Duration,
    },
}

/// A network interface on USB.
pub struct UsbNic {
    host: Rc<RefCell<Host>>,
    seat: Seat,
    clock: Clock,
    mac: [u8; 6],
    own_mac: Option<[u8; 6]>,
    receiver: Receiver,
    transmitter: Transmitter,
    state: State,
    next_look: Instant,
    /// Transfers that failed, devices that were lost: since the start.
    failures: u32,
    losses: u32,
    overflowed: bool,
}

impl UsbNic {
    /// Finds a NIC on the bus and brings it up with `mac` as its address.
    pub fn start(host: Rc<RefCell<Host>>, arena: &mut Arena, mac: [u8; 6]) -> Result<Self, Error> {
        let seat = host.borrow_mut().seat(&CLASS);
        let clock = host.borrow_mut().usb().clock();
        let now = boot::Clock::now(&clock);
        let mut nic = Self {
            host,
            seat,
            clock,
            mac,
            own_mac: None,
            receiver: Receiver::new(arena).ok_or(usb::Error::NoMemory)?,
            transmitter: Transmitter::new(arena).ok_or(usb::Error::NoMemory)?,
            state: State::Gone {
                search_at: now,
                pause: NIC_SEARCHED_AGAIN.0,
            },
            next_look: now,
            failures: 0,
            losses: 0,
            overflowed: false,
        };
        loop {
            match nic.find() {
                Ok(present) => nic.state = State::Present(present),
                // Nothing there is nothing to try again; anything else is, as long as the watchdog allows.
                Err(error @ (Error::NothingKnown | Error::Usb(usb::Error::NotConnected))) => {
                    return Err(error);
                }
                Err(error) if boot::Clock::now(&clock) > now + START_PATIENCE => return Err(error),
                Err(error) => {
                    warn!("nic: {}; trying again", error);
                    nic.host.borrow_mut().stop();
                    continue;
                }
            }
            return Ok(nic);
        }
    }

    /// From any state of the bus to a NIC that may have a link soon. Takes twelve seconds at most.
    fn find(&mut self) -> Result<Present, Error> {
        let mut host = self.host.borrow_mut();
        let found = match host.claim(self.seat) {
            // Another driver has searched.
            Some(found) => found,
            None => {
                host.search()?;
                host.claim(self.seat).ok_or(Error::NothingKnown)?
            }
        };
        let known = Known::of(&found.about, &found.configuration).ok_or(Error::NothingKnown)?;
        let (usb, device) = (host.usb(), found.device);
        let chip = usb.within(CHIP_PATIENCE, |usb| {
            if let Known::CdcEcm(function) = &known {
                self.own_mac = cdc_ecm::mac(usb, device, function.mac_string);
            }
            Chip::start(usb, device, &known, self.mac)
        })?;
        info!("nic: {} at USB address {}", chip.name(), device.address);
        self.receiver.clear();
        self.transmitter.clear();
        let [input, output] = known.endpoints();
        Ok(Present {
            device,
            framing: chip.framing(),
            chip,
            input: usb.pipe(device, input)?,
            output: usb.pipe(device, output)?,
            failed_looks: 0,
            restarts: 0,
            quiet: 0,
            silence: Silence::new(boot::Clock::now(&self.clock)),
        })
    }

    /// The next frame, and a place for an answer.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        self.poll(now);
        let State::Present(present) = &mut self.state else {
            return None;
        };
        // An answer must find room: smoltcp would rather have the frame later than not be able to answer it.
        if !self.transmitter.room(present.framing) {
            return None;
        }
        let frame = self.receiver.frame(present.framing)?;
        Some((
            RxToken(frame),
            TxToken {
                usb: RefMut::map(self.host.borrow_mut(), Host::usb),
                to: &mut self.transmitter,
                pipe: &mut present.output,
                framing: present.framing,
                now,
            },
        ))
    }

    /// A place for a frame, when there is a link and room (D-49).
    pub(crate) fn transmit(&mut self, now: Instant) -> Option<TxToken<'_>> {
        self.poll(now);
        let State::Present(present) = &mut self.state else {
            return None;
        };
        if !present.chip.link() || !self.transmitter.room(present.framing) {
            return None;
        }
        Some(TxToken {
            usb: RefMut::map(self.host.borrow_mut(), Host::usb),
            to: &mut self.transmitter,
            pipe: &mut present.output,
            framing: present.framing,
            now,
        })
    }

    /// The MAC address that a device says it has whose address is not set by its driver.
    pub(crate) fn own_mac(&self) -> Option<[u8; 6]> {
        self.own_mac
    }

    /// Lets the transfers go on, and does what is due.
    fn poll(&mut self, now: Instant) {
        match &mut self.state {
            State::Present(present) => {
                let mut host = self.host.borrow_mut();
                let usb = host.usb();
                if !usb.knows(present.device) {
                    drop(host);
                    return self.search();
                }
                let moved = present.transfers(usb, &mut self.receiver, &mut self.transmitter, now);
                drop(host);
                if let Err(error) = moved {
                    self.trouble(error, now);
                } else if now >= self.next_look {
                    self.next_look = now + LOOK_EVERY;
                    self.look(now);
                }
            }
            State::Gone { search_at, .. } if now >= *search_at => self.search(),
            State::Gone { .. } => {}
        }
    }

    /// Looks at the link and whether the device is still there.
    fn look(&mut self, now: Instant) {
        let State::Present(present) = &mut self.state else {
            return;
        };
        let mut host = self.host.borrow_mut();
        if !host.connected() {
            drop(host);
            return self.lose(Error::Usb(usb::Error::NotConnected), now);
        }
        present.quiet += 1;
        let stuck = host
            .usb()
            .within(CHIP_PATIENCE, |usb| match present.chip.look(usb, now) {
                Ok(()) if present.quiet > QUIET_LOOKS && present.chip.link() => {
                    // Frames that wait in the chip and do not come twice in a row: it has wedged.
                    present.chip.holds_frames(usb).map(|holds| {
                        if !holds {
                            present.quiet = 0;
                        }
                        holds && present.quiet > QUIET_LOOKS + 1
                    })
                }
                other => other.map(|()| false),
            });
        drop(host);
        match stuck {
            Ok(stuck) => {
                present.failed_looks = 0;
                if stuck {
                    present.quiet = 0;
                    self.trouble(Error::Stuck("frames do not come"), now);
                } else if let Some((silence, _)) = present.silence.too_long(now) {
                    // Frames leave, so this does not count towards giving the device up.
                    present.restarts = 0;
                    self.trouble(Error::Deaf(silence.secs()), now);
                }
            }
            Err(error) => {
                present.failed_looks += 1;
                if present.failed_looks >= LOOKS {
                    self.lose(error, now);
                }
            }
        }
    }

    /// A transfer failed: starts the chip and both endpoints anew. What was in flight is lost, and asked for again by TCP.
    /// D-42.
    fn trouble(&mut self, error: Error, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        // Each line is for a person; a device that fails without end shows as ever fewer of them.
        if self.failures.is_power_of_two() {
            warn!(
                "nic: {}; restarting the interface (failure {})",
                error, self.failures
            );
        }
        let State::Present(present) = &mut self.state else {
            return;
        };
        present.restarts += 1;
        if present.restarts > RESTARTS {
            return self.lose(error, now);
        }
        let mut host = self.host.borrow_mut();
        let restarted = host.usb().within(CHIP_PATIENCE, |usb| present.restart(usb));
        drop(host);
        match restarted {
            Ok(overflowed) => {
                self.overflowed |= overflowed;
                self.receiver.clear();
                self.transmitter.clear();
            }
            Err(error) => self.lose(error, now),
        }
    }

    /// Gives the device up.
    fn lose(&mut self, error: Error, now: Instant) {
        self.losses = self.losses.saturating_add(1);
        if self.losses.is_power_of_two() {
            warn!("nic: the device is gone ({}): searching the bus", error);
        }
        // Nothing writes into the buffers any more when they are used again.
        self.host.borrow_mut().stop();
        self.receiver.clear();
        self.transmitter.clear();
        self.state = State::Gone {
            search_at: now + NIC_SEARCHED_AGAIN.0,
            pause: NIC_SEARCHED_AGAIN.0,
        };
    }

    /// Searches the bus again.
    fn search(&mut self) {
        let pause = match self.state {
            State::Gone { pause, .. } => pause,
            // Another driver has stopped the bus.
            State::Present(_) => NIC_SEARCHED_AGAIN.0,
        };
        self.state = match self.find() {
            Ok(present) => State::Present(present),
            Err(error) => {
                self.host.borrow_mut().stop();
                let pause = (pause * 2).min(NIC_SEARCHED_AGAIN.1);
                warn!("nic: {}; searching again in {} ms", error, pause.total_millis());
                State::Gone {
                    search_at: boot::Clock::now(&self.clock) + pause,
                    pause,
                }
            }
        };
        self.next_look = boot::Clock::now(&self.clock);
    }

    /// Ends all traffic: no write to memory happens after this.
    pub(crate) fn quiesce(&mut self) {
        let mut host = self.host.borrow_mut();
        if let State::Present(present) = &mut self.state {
            let (usb, transmitter) = (host.usb(), &mut self.transmitter);
            let clock = self.clock;
            // The last acknowledgement tells a server that it may forget the connection.
            clock.poll(DRAIN_PATIENCE, || {
                let now = boot::Clock::now(&clock);
                let went = transmitter.poll(usb, &mut present.output, present.chip.link(), now);
                (went.is_err() || transmitter.empty()).then_some(())
            });
            self.overflowed |= present.chip.overflowed(usb).unwrap_or(false);
            if let Err(error) = present.chip.stop(usb) {
                warn!("nic: {} while stopping", error);
            }
        }
        host.stop();
        let dropped = self.receiver.dropped;
        if dropped != Dropped::default() || self.failures != 0 || self.losses != 0 || self.overflowed {
            info!(
                "nic: {} frames spoilt, {} with a wrong checksum, {} bursts cut short, {} failures, {} losses, receive FIFO overflowed: {}",
                dropped.spoilt, dropped.wrong, dropped.cut, self.failures, self.losses, self.overflowed
            );
        }
    }
}

impl Present {
    /// Ends and starts transfers in both directions.
    fn transfers(
        &mut self,
        usb: &mut Dwc2,
        receiver: &mut Receiver,
        transmitter: &mut Transmitter,
        now: Instant,
    ) -> Result<(), Error> {
        let sent = transmitter.poll(usb, &mut self.output, self.chip.link(), now)?;
        let came = receiver.poll(usb, &mut self.input, self.framing)?;
        if came {
            self.quiet = 0;
            self.silence.ends();
        }
        if sent {
            self.silence.sent(now);
        }
        if came || sent {
            self.restarts = 0;
        }
        Ok(())
    }

    /// The chip and both endpoints anew; whether the chip had overflowed until now.
    fn restart(&mut self, usb: &mut Dwc2) -> Result<bool, Error> {
        usb.clear_halt(&mut self.output)?;
        usb.clear_halt(&mut self.input)?;
        let overflowed = self.chip.overflowed(usb)?;
        self.chip.restart(usb)?;
        Ok(overflowed)
    }
}

/// For the fuzz target: the frames in a burst of one of the three chips, as the stack gets them.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn frames(chip: u8, burst: &[u8], each: &mut dyn FnMut(&[u8])) {
    thread_local! {
        static RECEIVER: RefCell<Receiver> = {
            let memory: &'static mut [u8] = alloc::vec::Vec::leak(alloc::vec![0; 5 * burst::BURST]);
            let range = memory.as_mut_ptr_range();
            let start = range.start.expose_provenance();
            // SAFETY: leaked for this arena alone; no device is here to reach it.
            let mut arena = unsafe { Arena::new(start..range.end.addr()) };
            RefCell::new(Receiver::new(&mut arena).expect("room for four bursts"))
        };
    }
    let framing = [cdc_ecm::FRAMING, lan9514::FRAMING, lan78xx::FRAMING][usize::from(chip % 3)];
    RECEIVER.with_borrow_mut(|receiver| {
        receiver.clear();
        receiver.put(&burst[..burst.len().min(framing.burst)]);
        while let Some(frame) = receiver.frame(&framing) {
            each(frame);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use smoltcp::phy::{RxToken as _, TxToken as _};

    use super::*;
    use crate::ether::FRAME;
    use crate::usb::fake::Fake;
    use crate::usb::host;
    use crate::usb::peripheral::{Faults, Peripheral};
    use crate::usbnet::burst::BURST;
    use crate::usbnet::fake::{self, Model, Wire};
    use crate::{cache, cpu};

    const MAC: [u8; 6] = [0xb8, 0x27, 0xeb, 1, 2, 3];
    const MODELS: [Model; 3] = [Model::CdcEcm, Model::Lan9514, Model::Lan78xx];
    /// ANLPAR of a partner that offers everything, and of one without pause frames.
    const ALL: u16 = 0x0de1;
    const NO_PAUSE: u16 = 0x01e1;

    /// A driver and the chip that it drives.
    struct Rig {
        fake: Fake,
        wire: Rc<RefCell<Wire>>,
        device: Rc<RefCell<Peripheral>>,
        nic: UsbNic,
    }

    impl Rig {
        /// With a link, when there is a partner.
        fn new(model: Model, partner: Option<(u16, u16)>) -> Self {
            Self::on(Fake::plugged(), Wire::new(model), partner)
        }

        fn on((mut fake, usb): (Fake, Dwc2), wire: Rc<RefCell<Wire>>, partner: Option<(u16, u16)>) -> Self {
            if let Some((anlpar, gbsr)) = partner {
                wire.borrow_mut().phy.plug(anlpar, gbsr);
            }
            let chip = Box::new(fake::Chip(wire.clone()));
            let device = Rc::new(RefCell::new(Peripheral::new(chip, Faults::new(1, 0))));
            fake.attach(device.clone());
            let nic = UsbNic::start(Host::new(usb), &mut fake.arena, MAC).unwrap();
            let mut rig = Self {
                fake,
                wire,
                device,
                nic,
            };
            rig.run(4);
            rig
        }

        fn now(&self) -> Instant {
            boot::Clock::now(&self.fake.clock)
        }

        /// Polls so often; the frames that came.
        fn run(&mut self, polls: usize) -> Vec<Vec<u8>> {
            let mut frames = Vec::new();
            for _ in 0..polls {
                let now = self.now();
                if let Some((frame, _)) = self.nic.receive(now) {
                    frames.push(frame.consume(<[u8]>::to_vec));
                }
            }
            frames
        }

        fn run_for(&mut self, time: Duration) -> Vec<Vec<u8>> {
            let until = self.now() + time;
            let mut frames = Vec::new();
            while self.now() < until {
                frames.extend(self.run(1));
                self.pass();
            }
            frames
        }

        /// Between two searches for the device nothing happens.
        fn pass(&self) {
            if matches!(self.nic.state, State::Gone { .. }) {
                cpu::skip(20_000);
            }
        }

        fn send(&mut self, frame: &[u8]) -> bool {
            let now = self.now();
            let token = self.nic.transmit(now);
            token
                .map(|token| token.consume(frame.len(), |bytes| bytes.copy_from_slice(frame)))
                .is_some()
        }

        fn arrive(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
            self.wire.borrow_mut().arriving.extend(frames);
        }

        fn sent(&self) -> Vec<Vec<u8>> {
            let mut wire = self.wire.borrow_mut();
            assert_eq!(wire.nonsense, Vec::<String>::new());
            std::mem::take(&mut wire.sent)
        }
    }

    /// A frame that can be told whole: its number, its length and their sum are in it.
    fn numbered(number: u32, len: usize) -> Vec<u8> {
        let mut frame: Vec<u8> = (0..len)
            .map(|at| (at as u32 ^ number.wrapping_mul(0x9e37)) as u8)
            .collect();
        frame[..4].copy_from_slice(&number.to_le_bytes());
        frame[4..8].copy_from_slice(&(number ^ len as u32 ^ 0x5a5a_5a5a).to_le_bytes());
        frame
    }

    fn number(frame: &[u8]) -> Option<u32> {
        let number = u32::from_le_bytes(*frame.first_chunk()?);
        (frame.len() >= 8 && frame == numbered(number, frame.len())).then_some(number)
    }

    #[test]
    fn every_chip_comes_up_with_the_boards_address_and_both_ways_open() {
        for model in MODELS {
            let rig = Rig::new(model, Some((ALL, 0x3800)));
            let wire = rig.wire.borrow();
            assert_eq!(wire.open(), (true, true), "{model:?}");
            // The address that a device has by itself, where it is the driver's to read.
            let own = (model == Model::CdcEcm).then_some([0, 2, 0xb3, 4, 5, 6]);
            assert_eq!(rig.nic.own_mac(), own, "{model:?}");
            if model != Model::CdcEcm {
                assert_eq!(wire.filter(), MAC, "{model:?}");
            }
            if model == Model::Lan78xx {
                // FCT_RX_FIFO_END and FCT_TX_FIFO_END: 12 KiB in blocks of 512, from zero.
                assert_eq!((wire.register(0xc8), wire.register(0xcc)), (23, 23));
            }
        }
    }

    #[test]
    fn a_chip_is_started_follows_its_link_and_stops_in_the_order_of_its_manual() {
        type Words<'w> = &'w [(u16, u32)];
        let lan9514: [Words<'_>; 3] = [
            &[
                (0x14, 1 << 3), // HW_CFG: the lite reset
                (0x108, 0x01eb_27b8),
                (0x104, 0x0302),
                (0x14, 0x1422), // bursts, two bytes before each frame, NAK
                (0x38, 37),     // packets of a burst
                (0x6c, 0x2000),
                (0x08, u32::MAX),
                (0x24, 0x0111_0000),
                (0x11c, 0),
                (0x2c, 0x00f8_30a0),
                (0x120, 0x8100),
                (0x130, 0),
                (0x100, 0x0010_0008), // MAC_CR: the sender, its FIFO, the receiver
                (0x10, 1 << 2),
                (0x100, 0x0010_000c),
                (0x20, 1 << 4), // PM_CTRL: the PHY's reset
            ],
            // The link's duplex, then what pauses it.
            &[(0x100, 0x0010_000c), (0x11c, 0xffff_0002), (0x2c, 0x00f8_30af)],
            // The receiver, the sender's FIFO, the sender.
            &[(0x100, 0x0010_0008), (0x10, 1 << 1), (0x100, 0x0010_0000)],
        ];
        let lan78xx: [Words<'_>; 3] = [
            &[
                (0x10, 1 << 1), // HW_CFG: the lite reset
                (0x11c, 0x01eb_27b8),
                (0x118, 0x0302),
                (0x404, 0x01eb_27b8), // the filter
                (0x400, 0x8000_0302),
                (0x80, 0x60),
                (0x90, 37),
                (0x94, 0x2000),
                (0x10, 0x0330_0010), // bursts, the PHY's clocks, LEDs
                (0xc8, 23),
                (0xcc, 23),
                (0x98, 0),
                (0x0c, u32::MAX),
                (0x10c, 0),
                (0xd0, 0),
                (0xb0, 0x402),
                (0x100, 0x1800),
                (0x14, 1 << 4),      // PMT_CTL: the PHY's reset
                (0x104, 1522 << 16), // the longest frame, before the receiver is on
                (0x108, 1),          // the sender and its FIFO
                (0xc4, 1 << 31),
                (0xc0, 1 << 31), // the receiver's FIFO and the receiver
                (0x104, 1522 << 16 | 3),
            ],
            // The levels before the pause frames.
            &[(0xd0, 0x211), (0x10c, 0x6000_ffff)],
            // The receiver and its FIFO, then the sender's and the sender.
            &[(0x104, 1522 << 16), (0xc0, 0), (0xc4, 0), (0x108, 0)],
        ];
        for (model, [start, follow, stop], phy) in [
            (Model::Lan9514, lan9514, [0x114, 0x118]),
            (Model::Lan78xx, lan78xx, [0x120, 0x124]),
        ] {
            let mut rig = Rig::new(model, None);
            let written = |rig: &Rig| {
                let mut written = std::mem::take(&mut rig.wire.borrow_mut().written);
                // The way to the PHY is `mii`'s.
                written.retain(|(register, _)| !phy.contains(register));
                written
            };
            assert_eq!(written(&rig), start, "{model:?}");
            rig.wire.borrow_mut().phy.plug(ALL, 0x3800);
            rig.run_for(Duration::from_secs(1));
            assert_eq!(written(&rig), follow, "{model:?}");
            rig.nic.quiesce();
            assert_eq!(written(&rig), stop, "{model:?}");
        }
    }

    #[test]
    fn frames_of_every_length_arrive_whole_and_in_order_several_to_a_burst() {
        for model in MODELS {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            let frames: Vec<_> = (60..=1518).map(|len| numbered(len as u32, len)).collect();
            rig.arrive(frames.clone());
            assert!(rig.run(6000) == frames, "{model:?}");
            let bursts = &rig.wire.borrow().bursts;
            assert!(bursts.iter().all(|len| *len <= BURST), "{bursts:?}");
            if model != Model::CdcEcm {
                assert!(bursts.len() < frames.len() / 10, "{} bursts", bursts.len());
            }
        }
    }

    #[test]
    fn a_burst_costs_cache_maintenance_of_what_came_and_no_more() {
        for model in MODELS {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            rig.arrive((0..200).map(|n| numbered(n, 1000)));
            let before = cache::cleaned();
            assert_eq!(rig.run(1000).len(), 200, "{model:?}");
            let came: usize = rig.wire.borrow().bursts.iter().sum();
            assert_eq!(cache::cleaned() - before, came, "{model:?}");
        }
    }

    #[test]
    fn another_driver_on_the_bus_neither_takes_frames_nor_costs_the_link_when_it_searches() {
        for model in MODELS {
            let (mut fake, usb) = Fake::plugged();
            let wire = Wire::new(model);
            wire.borrow_mut().phy.plug(ALL, 0x3800);
            let chip = Box::new(fake::Chip(wire.clone()));
            let device = Rc::new(RefCell::new(Peripheral::new(chip, Faults::new(1, 0))));
            fake.attach_hub(&[host::tests::letter(b'a'), device.clone()]);
            let host = Host::new(usb);
            let seat = host.borrow_mut().seat(&host::tests::A);
            let nic = UsbNic::start(host.clone(), &mut fake.arena, MAC).unwrap();
            let mut buffer = fake.arena.buffer(512).unwrap();
            let mut rig = Rig {
                fake,
                wire,
                device,
                nic,
            };
            for _ in 0..2 {
                let mut pipe = host::tests::claimed(&mut host.borrow_mut(), seat).unwrap();
                for n in 0..100 {
                    host.borrow_mut().usb().start_bulk(&mut pipe, &mut buffer, 512);
                    rig.arrive([numbered(n, 100 + n as usize)]);
                    assert_eq!(rig.run(30), [numbered(n, 100 + n as usize)], "{model:?}");
                    assert_eq!(host.borrow_mut().usb().poll_bulk(&mut pipe), Some(Ok(3)));
                    assert_eq!(buffer.take(3), *b"aaa");
                }
                // Its search finds for both, and the NIC does not search once more.
                host.borrow_mut().search().unwrap();
                rig.run(100);
                assert_eq!(
                    host.borrow_mut().usb().poll_bulk(&mut pipe),
                    Some(Err(usb::Error::NotConnected))
                );
            }
            assert_eq!((rig.nic.losses, rig.nic.failures), (0, 0));
        }
    }

    #[test]
    fn frames_of_every_length_leave_whole_and_in_order() {
        for model in MODELS {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            let frames: Vec<_> = (14..=FRAME).map(|len| numbered(len as u32, len)).collect();
            for frame in &frames {
                while !rig.send(frame) {}
            }
            rig.run_for(Duration::from_millis(50));
            assert!(rig.sent() == frames, "{model:?}");
        }
    }

    #[test]
    fn a_core_that_counts_less_than_a_burst_loses_nothing() {
        for model in MODELS {
            let core = Fake::plugged();
            core.0.count_to(0); // 2047 bytes, 15 packets: three packets at high speed
            let mut rig = Rig::on(core, Wire::new(model), Some((ALL, 0x3800)));
            rig.device.borrow_mut().faults = Faults::new(3, 400);
            let frames: Vec<_> = (60..=FRAME as u32).map(|n| numbered(n, n as usize)).collect();
            rig.arrive(frames.clone());
            let mut arrived = Vec::new();
            for frame in &frames {
                while !rig.send(frame) {
                    arrived.extend(rig.run(1));
                }
            }
            arrived.extend(rig.run(6000));
            // A fault that costs a restart costs the frames in flight, and nothing else is broken.
            for (way, frames) in [("in", arrived), ("out", rig.sent())] {
                let numbers: Vec<_> = frames.iter().map(|frame| number(frame).unwrap()).collect();
                assert!(numbers.is_sorted(), "{model:?} {way}");
                assert!(numbers.len() > 1000, "{model:?} {way}: {}", numbers.len());
            }
            let long = rig.wire.borrow().bursts.iter().filter(|len| **len > 2047).count();
            assert!(model == Model::CdcEcm || long > 20, "{model:?}: {long} bursts");
        }
    }

    #[test]
    fn frames_wait_for_the_wire_in_every_buffer_and_an_answer_has_room_before_a_frame_is_handed_over() {
        for (model, room) in [
            (Model::CdcEcm, 4),
            (Model::Lan9514, 4),
            (Model::Lan78xx, 1 + 3 * 5),
        ] {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            rig.device.borrow_mut().full = true;
            // Time stands still here: nothing is given up.
            let now = rig.now();
            let mut queued = 0;
            while let Some(token) = rig.nic.transmit(now) {
                token.consume(FRAME, |bytes| bytes.copy_from_slice(&numbered(queued, FRAME)));
                queued += 1;
                assert!(queued < 100);
            }
            assert!(queued >= room - 1 && queued <= room, "{model:?}: {queued}");
            rig.arrive([numbered(7, 60)]);
            assert!(rig.nic.receive(now).is_none());
        }
    }

    #[test]
    fn frames_leave_together_as_far_as_a_transfer_has_room_for_the_longest() {
        // Some of these fill a transfer to a few bytes less than the longest frame needs with its header.
        for len in 540..600 {
            let mut rig = Rig::new(Model::Lan78xx, Some((ALL, 0x3800)));
            rig.device.borrow_mut().full = true;
            let lens = [60, FRAME, FRAME, FRAME, FRAME, len, FRAME, FRAME];
            let frames: Vec<_> = (0..).zip(lens).map(|(n, len)| numbered(n, len)).collect();
            let now = rig.now();
            for frame in &frames {
                let token = rig.nic.transmit(now).unwrap();
                token.consume(frame.len(), |bytes| bytes.copy_from_slice(frame));
            }
            rig.device.borrow_mut().full = false;
            rig.run_for(Duration::from_millis(10));
            assert!(rig.sent() == frames, "{len}");
        }
    }

    #[test]
    fn nothing_leaves_without_a_link_and_the_mac_follows_it() {
        let mut rig = Rig::new(Model::Lan9514, None);
        assert!(!rig.send(&numbered(1, 60)));
        rig.wire.borrow_mut().phy.plug(ALL, 0);
        rig.run_for(LOOK_EVERY * 2);
        assert!(rig.send(&numbered(2, 60)));
        {
            let wire = rig.wire.borrow();
            // Full duplex; pause frames both ways.
            assert_eq!(wire.register(0x100), 1 << 20 | 0xc);
            assert_eq!(
                (wire.register(0x11c), wire.register(0x2c)),
                (0xffff_0002, 0x00f8_30af)
            );
        }
        rig.wire.borrow_mut().phy.unplug();
        rig.run_for(LOOK_EVERY * 2);
        assert!(!rig.send(&numbered(3, 60)));
        rig.wire.borrow_mut().phy.plug(0x0081, 0); // a hub: 100 Mb/s half duplex
        rig.run_for(LOOK_EVERY * 2);
        let wire = rig.wire.borrow();
        assert_eq!(wire.register(0x100), 1 << 23 | 0xc);
        assert_eq!((wire.register(0x11c), wire.register(0x2c)), (0, 0x00f8_30af));
    }

    #[test]
    fn a_gigabit_wants_pause_frames_and_falls_back_without_them() {
        let mut rig = Rig::new(Model::Lan78xx, Some((ALL, 0x3800)));
        {
            let wire = rig.wire.borrow();
            assert_eq!(wire.phy.registers[9], 0x0200, "1000BASE-T is offered");
            assert_eq!((wire.register(0x10c), wire.register(0xd0)), (0x6000_ffff, 0x0211));
        }
        assert!(rig.send(&numbered(1, 60)));

        let mut rig = Rig::new(Model::Lan78xx, Some((NO_PAUSE, 0x3800)));
        rig.run_for(LOOK_EVERY * 4);
        {
            let wire = rig.wire.borrow();
            assert_eq!(wire.phy.registers[9], 0, "1000BASE-T is not offered any more");
            assert_eq!(wire.phy.bmcr.len(), 2, "negotiated twice, not for ever");
            assert_eq!(wire.register(0x10c), 0);
        }
        assert!(rig.send(&numbered(1, 60)), "100 Mb/s need no pause");
    }

    #[test]
    fn another_cable_gets_another_offer_of_a_gigabit_but_not_for_ever() {
        let mut rig = Rig::new(Model::Lan78xx, Some((NO_PAUSE, 0x3800)));
        rig.run_for(LOOK_EVERY * 4);
        let offered = |rig: &Rig| rig.wire.borrow().phy.registers[9] != 0;
        let dark = |rig: &mut Rig, seconds, partner: (u16, u16)| {
            rig.wire.borrow_mut().phy.unplug();
            rig.run_for(Duration::from_secs(seconds));
            let again = offered(rig);
            rig.wire.borrow_mut().phy.plug(partner.0, partner.1);
            rig.run_for(LOOK_EVERY * 4);
            again
        };
        assert!(!offered(&rig));
        assert!(
            !dark(&mut rig, 3, (ALL, 0x3800)),
            "a short loss is the same cable"
        );
        assert!(dark(&mut rig, 7, (ALL, 0x3800)));
        assert!(offered(&rig) && rig.wire.borrow().register(0x10c) == 0x6000_ffff);
        // A switch without pause frames in all the others: three more tries.
        assert!(dark(&mut rig, 1, (NO_PAUSE, 0x3800)) && !offered(&rig));
        let offers: Vec<_> = (0..5).map(|_| dark(&mut rig, 7, (NO_PAUSE, 0x3800))).collect();
        assert_eq!(offers, [true, true, true, false, false]);
        assert!(!offered(&rig), "100 Mb/s in the end");
        assert!(rig.send(&numbered(1, 60)));
        // And no more negotiations: one at first, its fallback, one again, a fallback, three of both.
        assert_eq!(rig.wire.borrow().phy.bmcr.len(), 2 + 1 + 1 + 2 * 3);
    }

    #[test]
    fn a_gigabit_that_comes_and_goes_ends_at_a_hundred() {
        let flap = |rig: &mut Rig, every: Duration| {
            rig.run_for(every);
            rig.wire.borrow_mut().phy.unplug();
            rig.run_for(LOOK_EVERY * 4);
            let offered = rig.wire.borrow().phy.registers[9] != 0;
            rig.wire
                .borrow_mut()
                .phy
                .plug(ALL, if offered { 0x3800 } else { 0 });
            rig.run_for(LOOK_EVERY * 4);
            offered
        };
        let mut rig = Rig::new(Model::Lan78xx, Some((ALL, 0x3800)));
        let seldom = Duration::from_secs(40);
        assert!(
            (0..4).all(|_| flap(&mut rig, seldom)),
            "three in two minutes are a person's"
        );
        rig.run_for(Duration::from_secs(60));
        let often = Duration::from_secs(10);
        let offered: Vec<_> = (0..5).map(|_| flap(&mut rig, often)).collect();
        assert_eq!(offered, [true, true, false, false, false]);
        assert!(rig.send(&numbered(1, 60)), "100 Mb/s");
    }

    #[test]
    fn a_chip_that_holds_frames_back_is_restarted() {
        for model in [Model::Lan9514, Model::Lan78xx] {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            let resets = rig.wire.borrow().resets;
            rig.run_for(Duration::from_secs(5));
            assert_eq!(rig.wire.borrow().resets, resets, "silence alone is no fault");
            rig.wire.borrow_mut().wedged = true;
            rig.arrive([numbered(1, 60)]);
            assert_eq!(rig.run_for(Duration::from_secs(5)), [numbered(1, 60)]);
            assert_eq!(rig.wire.borrow().resets, resets + 1, "{model:?}");
            assert_eq!(rig.wire.borrow().filter(), MAC);
        }
    }

    #[test]
    fn a_restarted_chip_has_all_its_registers_again() {
        for model in [Model::Lan9514, Model::Lan78xx] {
            for partner in [(ALL, 0x3800), (0x0041, 0)] {
                let mut rig = Rig::new(model, Some(partner));
                rig.run_for(Duration::from_secs(1));
                let settings = |rig: &Rig| {
                    let mut registers = rig.wire.borrow().registers.clone();
                    // The way to the PHY, what became of its reset, and what is said of interrupts.
                    registers.retain(|at, _| match model {
                        Model::Lan78xx => !matches!(at, 0 | 0x0c | 0x14 | 0x120 | 0x124),
                        _ => !matches!(at, 0 | 0x08 | 0x20 | 0x114 | 0x118),
                    });
                    registers
                };
                let (before, resets) = (settings(&rig), rig.wire.borrow().resets);
                rig.wire.borrow_mut().wedged = true;
                rig.arrive([numbered(1, 60)]);
                rig.run_for(Duration::from_secs(5));
                assert_eq!(rig.wire.borrow().resets, resets + 1, "{model:?}");
                for (register, value) in before {
                    let after = rig.wire.borrow().register(register);
                    assert_eq!(after, value, "{model:?} {partner:x?}: {register:#x}");
                }
            }
        }
    }

    #[test]
    fn a_chip_that_hears_nothing_is_restarted_ever_more_seldom_and_never_given_up() {
        for model in [Model::Lan9514, Model::Lan78xx] {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            let resets = rig.wire.borrow().resets;
            // Nobody was asked anything, so nobody can have been silent.
            rig.run_for(Duration::from_secs(20));
            for second in 0..4 {
                assert!(rig.send(&numbered(second, 60)));
                rig.run_for(Duration::from_millis(1900));
            }
            assert_eq!(rig.wire.borrow().resets, resets, "{model:?}");
            // Its filter has the wrong address, say.
            for second in 0..120 {
                assert!(rig.send(&numbered(second, 60)));
                rig.run_for(Duration::from_secs(1));
            }
            // After 8, 16, 32 and 64 s.
            let restarts = rig.wire.borrow().resets - resets;
            assert!((3..=4).contains(&restarts), "{model:?}: {restarts}");
            assert_eq!(rig.nic.losses, 0);
        }
    }

    #[test]
    fn a_register_that_reads_wrong_once_is_not_written_back_so() {
        for model in [Model::Lan9514, Model::Lan78xx] {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            let now = rig.now();
            rig.nic.trouble(Error::Stuck("on purpose"), now);
            let right = rig.wire.borrow().registers.clone();
            for reads in 0..40 {
                rig.wire.borrow_mut().misread_in = Some(reads);
                rig.nic.trouble(Error::Stuck("on purpose"), now);
                assert_eq!(rig.wire.borrow().registers, right, "{model:?}: read {reads}");
                // Not given up: that is for what does not go away.
                let State::Present(present) = &mut rig.nic.state else {
                    panic!("{model:?}: read {reads}: gone");
                };
                present.restarts = 0;
            }
        }
    }

    #[test]
    fn no_wait_for_a_reset_or_the_phy_ends_with_one_wrong_read() {
        for model in [Model::Lan9514, Model::Lan78xx] {
            let started = |misread_in: Option<u32>| {
                let wire = Wire::new(model);
                wire.borrow_mut().misread_in = misread_in;
                let rig = Rig::on(Fake::plugged(), wire, Some((ALL, 0x3800)));
                let wire = rig.wire.borrow();
                assert_eq!(
                    wire.nonsense,
                    Vec::<String>::new(),
                    "{model:?}: read {misread_in:?}"
                );
                (wire.resets, wire.misread_in)
            };
            let (resets, _) = started(None);
            let mut reads = 0;
            // Until a start has so few reads that none of them is wrong.
            while let (again, None) = started(Some(reads)) {
                assert_eq!(again, resets, "{model:?}: read {reads}: the search began anew");
                reads += 1;
            }
            assert!(reads > 100, "{model:?}: {reads} reads");
        }
    }

    #[test]
    fn a_link_that_the_chip_could_not_be_told_of_is_told_again() {
        for (model, anlpar) in [
            (Model::Lan9514, ALL),
            (Model::Lan78xx, ALL),
            (Model::Lan78xx, NO_PAUSE),
        ] {
            // What stands in the chip and its PHY when a link has come; three tries of one write were refused.
            let told = |refused: Option<u32>| {
                let mut rig = Rig::new(model, None);
                {
                    let mut wire = rig.wire.borrow_mut();
                    let next = wire.writes;
                    wire.refused = refused.map_or(0..0, |at| next + at..next + at + 3);
                    wire.phy.plug(anlpar, 0x3800);
                }
                rig.run_for(LOOK_EVERY * 8);
                assert_eq!(rig.nic.losses, 0);
                let wire = rig.wire.borrow();
                let mut registers = wire.registers.clone();
                // MII_ADDR and MII_DATA: what was read last.
                registers.retain(|register, _| ![0x114, 0x118, 0x120, 0x124].contains(register));
                (registers, wire.phy.registers)
            };
            let right = told(None);
            for refused in 0..40 {
                assert_eq!(told(Some(refused)), right, "{model:?}: write {refused}");
            }
        }
    }

    #[test]
    fn a_device_that_was_unplugged_is_found_again() {
        for model in MODELS {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            rig.device.borrow_mut().plugged = false;
            rig.run_for(Duration::from_secs(20));
            assert!(!rig.send(&numbered(1, 60)), "{model:?}: there is no link");
            rig.device.borrow_mut().plugged = true;
            rig.run_for(Duration::from_secs(20));
            rig.arrive([numbered(2, 60)]);
            assert_eq!(rig.run(20), [numbered(2, 60)], "{model:?}");
            assert!(rig.send(&numbered(3, 60)));
            rig.run_for(Duration::from_millis(10));
            assert_eq!(rig.sent(), [numbered(3, 60)]);
        }
    }

    #[test]
    fn no_call_takes_as_long_as_the_watchdog_waits() {
        for model in MODELS {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            // Silent, but plugged in: every control transfer takes its half second.
            let mut longest = Duration::ZERO;
            let end = rig.now() + Duration::from_secs(60);
            while rig.now() < end {
                rig.device.borrow_mut().answers = false;
                let before = rig.now();
                rig.run(1);
                longest = longest.max(rig.now() - before);
            }
            assert!(longest < Duration::from_secs(8), "{model:?}: {longest}");
        }
    }

    #[test]
    fn a_device_that_answers_everything_late_does_not_hold_a_call_either() {
        for model in MODELS {
            for late in [20_000, 100_000, 150_000] {
                let mut rig = Rig::new(model, Some((ALL, 0x3800)));
                rig.device.borrow_mut().late = late;
                let mut longest = Duration::ZERO;
                let mut call = |rig: &mut Rig| {
                    let before = rig.now();
                    rig.run(1);
                    longest = longest.max(rig.now() - before);
                };
                // Looks at its link, then it is searched for and started.
                let end = rig.now() + Duration::from_secs(20);
                while rig.now() < end {
                    call(&mut rig);
                }
                rig.device.borrow_mut().plugged = false;
                call(&mut rig);
                rig.device.borrow_mut().plugged = true;
                let end = rig.now() + Duration::from_secs(60);
                while rig.now() < end {
                    call(&mut rig);
                }
                assert!(
                    longest < Duration::from_secs(12),
                    "{model:?}, {late} us: {longest}"
                );
            }
        }
    }

    #[test]
    fn everything_is_still_after_quiesce() {
        for model in MODELS {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            assert!(rig.send(&numbered(1, 1000)));
            rig.nic.quiesce();
            assert_eq!(rig.sent(), [numbered(1, 1000)], "the last frame has left");
            if model != Model::CdcEcm {
                assert_eq!(rig.wire.borrow().open(), (false, false), "{model:?}");
                assert_eq!(rig.wire.borrow().filter(), MAC);
            }
            assert!((0..8).all(|n| rig.fake.register(0x500 + 0x20 * n) >> 31 == 0));
        }
    }

    #[test]
    fn all_that_waits_at_the_end_leaves() {
        for model in MODELS {
            let mut rig = Rig::new(model, Some((ALL, 0x3800)));
            // At one moment: none has left when the next is given.
            let (now, mut frames) = (rig.now(), Vec::new());
            for number in 1..=3 {
                let frame = numbered(number, 1000);
                if let Some(token) = rig.nic.transmit(now) {
                    token.consume(frame.len(), |bytes| bytes.copy_from_slice(&frame));
                    frames.push(frame);
                }
            }
            // More than the transfer that is under way.
            assert!(frames.len() > 1, "{model:?}");
            rig.nic.quiesce();
            assert!(rig.sent() == frames, "{model:?}");
        }
    }

    /// Frames both ways over a wire that loses, through a chip that stalls, babbles, halts without a reason, crashes and is
    /// pulled out; `spoil` flips bits in headers. Returns how many faults it was.
    fn torment(model: Model, seed: u64, of: u64, spoil: u64, enough: u64) -> u64 {
        let mut rig = Rig::new(model, Some((ALL, 0x3800)));
        rig.device.borrow_mut().faults = Faults::new(seed, of);
        rig.wire.borrow_mut().spoil = Faults::new(!seed, spoil);
        let (mut next_in, mut next_out, mut last_in, mut last_out) = (1, 1, 0, 0);
        let (mut whole, mut broken) = (0_u32, 0_u32);
        let mut unplugged = 0;
        let mut check = |rig: &mut Rig, frames: Vec<Vec<u8>>| {
            for frame in frames {
                match number(&frame) {
                    Some(number) => {
                        assert!(number > last_in, "{number} behind {last_in}");
                        last_in = number;
                        whole += 1;
                    }
                    // Only what a spoilt header leads to: TCP's checksum is for that.
                    None => broken += 1,
                }
            }
            for frame in rig.sent() {
                let number = number(&frame).expect("no frame leaves broken");
                assert!(number > last_out, "{number} behind {last_out}");
                last_out = number;
            }
            (whole, broken, last_in, last_out)
        };
        let injected = |rig: &Rig| rig.device.borrow().faults.injected + rig.wire.borrow().spoil.injected;
        let mut round = 0_u32;
        while injected(&rig) < enough {
            round += 1;
            assert!(round < 2_000_000, "{model:?} seed {seed}: nothing moves any more");
            rig.pass();
            if rig.wire.borrow().arriving.len() < 40 {
                rig.arrive((0..20).map(|n| numbered(next_in + n, 60 + ((next_in + n) * 37 % 1400) as usize)));
                next_in += 20;
            }
            if rig.send(&numbered(next_out, 60 + (next_out * 53 % 1400) as usize)) {
                next_out += 1;
            }
            let frames = rig.run(3);
            check(&mut rig, frames);
            if round.is_multiple_of(16) {
                // Now and then somebody plugs it in again.
                unplugged = if rig.device.borrow().plugged {
                    0
                } else {
                    unplugged + 1
                };
                if unplugged == 3 {
                    // It may be gone again before the next look.
                    unplugged = 0;
                    rig.device.borrow_mut().plugged = true;
                }
            }
        }
        // The wire is mended: everything works again, with all buffers.
        rig.device.borrow_mut().faults.of = 0;
        rig.wire.borrow_mut().spoil.of = 0;
        rig.device.borrow_mut().plugged = true;
        let mut frames = Vec::new();
        for _ in 0..2000 {
            frames.extend(rig.run(1));
            rig.pass();
        }
        frames.extend(rig.run_for(Duration::from_millis(600)));
        let (_, _, arrived, _) = check(&mut rig, frames);
        assert!(arrived < next_in);
        rig.arrive((0..500).map(|n| numbered(next_in + n, 1000)));
        let mut frames = Vec::new();
        for n in 0..500 {
            while !rig.send(&numbered(next_out + n, 1000)) {
                frames.extend(rig.run(1));
            }
        }
        frames.extend(rig.run_for(Duration::from_secs(1)));
        let (whole, broken, arrived, left) = check(&mut rig, frames);
        assert_eq!(
            (arrived, left),
            (next_in + 499, next_out + 499),
            "{model:?} seed {seed}"
        );
        assert!(
            whole > 500,
            "{model:?} seed {seed}: {whole} frames whole, {broken} broken"
        );
        if spoil == 0 {
            assert_eq!(broken, 0, "{model:?} seed {seed}");
        }
        injected(&rig)
    }

    /// A million faults, a thread for each chip.
    #[test]
    fn no_fault_costs_a_panic_a_buffer_or_a_byte() {
        let torments = MODELS.map(|model| {
            std::thread::spawn(move || -> u64 {
                (0..70)
                    .map(|seed| torment(model, seed, 12, 0, 4000) + torment(model, seed, 200, 30, 1000))
                    .sum()
            })
        });
        let faults: u64 = torments.map(|torment| torment.join().unwrap()).iter().sum();
        assert!(faults >= 1_000_000, "{faults}");
    }
}
