//! One transfer in the words of a host channel: HCCHAR, HCTSIZ, HCINT, and where it goes on after an error (Synopsys
//! databook's rules, as EDK2 DwUsbHostDxe and Linux dwc2 apply them) (D-43).

use core::fmt;

use crate::bits::{Bits as _, bits};

/// Tries of one transaction that gets no answer at all (USB 2.0 §8.5: three).
const TRIES: u32 = 3;
/// Halts of one transfer without progress, when the device did show signs of life between them.
const RESTARTS: u32 = 64;

/// HCTSIZ: bytes still to move.
const BYTES: u32 = 0x7_ffff;
/// HCTSIZ: packets still to move, above those.
const PACKETS: u32 = 0x3ff;
/// HCTSIZ: identifier of the next packet.
const PID: u32 = 3 << 29;

bits! {
    /// HCINT: what happened to a channel.
    pub(super) struct Hcint {
        /// Everything that was asked for has moved.
        COMPLETE = 1 << 0,
        /// The channel has stopped; the other bits say why.
        HALTED = 1 << 1,
        /// Memory was not reached.
        AHB_ERROR = 1 << 2,
        /// The device refused.
        STALL = 1 << 3,
        /// NAK, ACK, NYET: the device has answered something.
        SIGN_OF_LIFE = 1 << 4 | 1 << 5 | 1 << 6,
        /// The device sent too much.
        BABBLE = 1 << 8,
        /// Each of them.
        ALL = u32::MAX,
    }

    /// HCCHAR: the endpoint that a channel speaks to. Bits 10:0 are its largest packet, 14:11 its number, 19:18 its kind, 28:22
    /// the device's address.
    pub(super) struct Hcchar {
        /// From the device.
        IN = 1 << 15,
        /// The device is a low speed one.
        LOW_SPEED = 1 << 17,
        /// The kind of an interrupt endpoint.
        INTERRUPT = 3 << 18,
        /// One packet a microframe, which everything but isochronous endpoints says.
        ONE_PACKET = 1 << 20,
        /// Stops the channel.
        DISABLE = 1 << 30,
        /// Starts it; set until it halts.
        ENABLE = 1 << 31,
    }
}

impl Hcchar {
    /// The endpoint's largest packet.
    fn max_packet(self) -> u32 {
        self.number() & 0x7ff
    }
}

/// Why a transfer or the controller failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// No Synopsys core behind the registers; what was read instead.
    NotDwc2(u32),
    /// The core did not do in time what it was told: reset, enter host mode, stop a channel.
    CoreStuck,
    /// Nothing is plugged in.
    NotConnected,
    /// A device is plugged in but its port does not come up.
    PortNotEnabled,
    /// No DMA memory left.
    NoMemory,
    /// Every channel of the controller is given away.
    NoChannel,
    /// The device refused the request.
    Stall,
    /// The device sent more than was asked for.
    Babble,
    /// No valid answer on the wire.
    Transaction,
    /// The controller could not reach memory.
    Bus,
    /// No answer in time.
    TimedOut,
    /// The request is longer than the driver's buffer.
    TooLong,
    /// No address is left for a device.
    TooMany,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDwc2(id) => write!(f, "no DWC2 core (GSNPSID {id:#010x})"),
            Self::CoreStuck => f.write_str("the controller is stuck"),
            Self::NotConnected => f.write_str("nothing is connected"),
            Self::PortNotEnabled => f.write_str("something is plugged in, but its port does not come up"),
            Self::NoMemory => f.write_str("no DMA memory left"),
            Self::NoChannel => f.write_str("no channel of the controller is left"),
            Self::Stall => f.write_str("the device refused (stall)"),
            Self::Babble => f.write_str("the device sent too much (babble)"),
            Self::Transaction => f.write_str("no valid answer on the wire"),
            Self::Bus => f.write_str("DMA failed (AHB error)"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::TooLong => f.write_str("the transfer is longer than the driver's buffer"),
            Self::TooMany => f.write_str("more devices than a bus has addresses for"),
        }
    }
}

/// Speed of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speed {
    /// 480 Mb/s.
    High,
    /// 12 Mb/s.
    Full,
    /// 1.5 Mb/s.
    Low,
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::High => "high speed",
            Self::Full => "full speed",
            Self::Low => "low speed",
        })
    }
}

/// A device's default control pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    /// Bus address; 0 until it has one.
    pub(crate) address: u8,
    /// Its speed.
    pub(crate) speed: Speed,
    /// Largest packet of endpoint 0.
    pub(crate) max_packet: u16,
    /// Which start of the bus it was found in: a later one may give its address to another.
    pub(super) era: u32,
}

/// How an endpoint is spoken to, as HCCHAR numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Control = 0,
    Bulk = 2,
}

/// One direction of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) device: Device,
    pub(super) number: u8,
    pub(super) input: bool,
    pub(super) kind: Kind,
    pub(super) max_packet: u16,
}

impl Endpoint {
    /// HCCHAR without its enable bit.
    fn hcchar(&self) -> Hcchar {
        let when = |condition, bits| if condition { bits } else { Hcchar::none() };
        let fields = u32::from(self.max_packet & 0x7ff)
            | u32::from(self.number) << 11
            | (self.kind as u32) << 18
            | u32::from(self.device.address) << 22;
        Hcchar::from_number(fields)
            | when(self.input, Hcchar::IN)
            | when(self.device.speed == Speed::Low, Hcchar::LOW_SPEED)
            | Hcchar::ONE_PACKET
    }
}

/// Packet identifier of the next data packet, as HCTSIZ holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pid(u32);

pub(super) const DATA0: Pid = Pid(0);
pub(super) const DATA1: Pid = Pid(2);
pub(super) const SETUP: Pid = Pid(3);

/// What a core can count at a time; a longer transfer is told to it in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    bytes: u32,
    packets: u32,
}

impl Limits {
    /// Of the narrowest core there is.
    pub(super) const LEAST: Self = Self::of(0);

    /// Of GHWCFG3: how much wider than 11 bits the counter of bytes is (bits 3:0), than 4 that of packets (bits 6:4).
    pub(super) const fn of(ghwcfg3: u32) -> Self {
        let bytes = (1 << (11 + (ghwcfg3 & 0xf))) - 1;
        let packets = (1 << (4 + (ghwcfg3 >> 4 & 7))) - 1;
        // HCTSIZ's fields end at 19 and 10 bits, whatever else is said.
        Self {
            bytes: if bytes < BYTES { bytes } else { BYTES },
            packets: if packets < PACKETS { packets } else { PACKETS },
        }
    }

    /// The most bytes of a piece: whole packets, so that the next one begins with one.
    fn piece(self, max_packet: u32) -> u32 {
        self.packets.min(self.bytes / max_packet) * max_packet
    }
}

/// A transfer under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transfer {
    /// HCCHAR without its enable bit.
    pub(super) hcchar: Hcchar,
    /// HCTSIZ for the piece under way, as far as it is still to move.
    pub(super) hctsiz: u32,
    /// Where in memory that is.
    pub(super) hcdma: u32,
    /// Bytes that have moved before, in whole packets.
    moved: u32,
    /// Bytes of the pieces that come after this one.
    later: u32,
    /// The most bytes of a piece.
    piece: u32,
    tries: u32,
    restarts: u32,
}

/// What a halted channel means for its transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes have moved, and that was all.
    Done(usize),
    /// The channel is to be started again with what is left: the wire was to blame, or a piece has ended.
    Again,
    Failed(Error),
}

impl Transfer {
    /// `len` bytes (less than 1 GiB: they are in memory) between `bus_address` and an endpoint. An IN transfer asks for whole
    /// packets, and even nothing is one packet.
    pub(super) fn new(endpoint: &Endpoint, len: usize, pid: Pid, bus_address: u32, limits: Limits) -> Self {
        let max_packet = u32::from(endpoint.max_packet.max(1));
        let len = len as u32;
        let mut transfer = Self {
            hcchar: endpoint.hcchar(),
            hctsiz: 0,
            hcdma: bus_address,
            moved: 0,
            later: if endpoint.input {
                len.next_multiple_of(max_packet).max(max_packet)
            } else {
                len
            },
            piece: limits.piece(max_packet),
            tries: 0,
            restarts: 0,
        };
        transfer.next_piece(pid.0 << 29);
        transfer
    }

    /// Puts into HCTSIZ what the core can count of the rest, from the packet with this identifier.
    fn next_piece(&mut self, pid: u32) {
        let bytes = self.later.min(self.piece);
        self.later -= bytes;
        let packets = bytes.div_ceil(self.hcchar.max_packet().max(1)).max(1);
        self.hctsiz = bytes | packets << 19 | pid;
        (self.tries, self.restarts) = (0, 0);
    }

    /// Judges a halt by HCINT and what HCTSIZ says is left.
    pub(super) fn halted(&mut self, hcint: Hcint, left: u32) -> Step {
        if hcint.has(Hcint::AHB_ERROR) {
            return Step::Failed(Error::Bus);
        }
        if hcint.has(Hcint::STALL) {
            return Step::Failed(Error::Stall);
        }
        if hcint.has(Hcint::BABBLE) {
            return Step::Failed(Error::Babble);
        }
        if hcint.has(Hcint::COMPLETE) {
            let asked = self.hctsiz & BYTES;
            // The device has all of an OUT piece, whatever this counter of what was fetched says.
            let left_over = if self.hcchar.has(Hcchar::IN) {
                left & BYTES
            } else {
                0
            };
            let last = asked.saturating_sub(left_over);
            self.moved += last;
            // A short packet ends a transfer, whatever else was asked for.
            if self.later == 0 || left_over != 0 {
                return Step::Done(self.moved as usize);
            }
            self.hcdma = self.hcdma.wrapping_add(last);
            self.next_piece(left & PID);
            return Step::Again;
        }
        // A transaction error, a toggle error, or no reason at all. The packets tell what the device has taken; the bytes
        // of an OUT transfer only what was fetched from memory.
        let done = packets(self.hctsiz).saturating_sub(packets(left));
        if done != 0 {
            let bytes = (done * self.hcchar.max_packet()).min(self.hctsiz & BYTES);
            self.moved += bytes;
            self.hcdma = self.hcdma.wrapping_add(bytes);
            self.hctsiz = ((self.hctsiz & BYTES) - bytes) | packets(left) << 19 | left & PID;
            (self.tries, self.restarts) = (0, 0);
        }
        self.tries = if hcint.has(Hcint::SIGN_OF_LIFE) {
            1
        } else {
            self.tries + 1
        };
        self.restarts += 1;
        if self.tries >= TRIES || self.restarts >= RESTARTS || packets(left) == 0 {
            return Step::Failed(Error::Transaction);
        }
        Step::Again
    }
}

/// Packets still to move, of HCTSIZ.
fn packets(hctsiz: u32) -> u32 {
    hctsiz >> 19 & PACKETS
}

/// Where the data toggle stands at a halt: the core leaves the identifier of the next packet in HCTSIZ. Models that leave
/// it alone ignore it too.
pub(super) fn next_pid(hctsiz: u32) -> Pid {
    if hctsiz & PID == DATA1.0 << 29 {
        DATA1
    } else {
        DATA0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Device = Device {
        address: 5,
        speed: Speed::Full,
        max_packet: 64,
        era: 0,
    };
    const IN: Endpoint = Endpoint {
        device: FULL,
        number: 2,
        input: true,
        kind: Kind::Bulk,
        max_packet: 64,
    };
    const OUT: Endpoint = Endpoint { input: false, ..IN };
    const TRANSACTION_ERROR: Hcint = Hcint(1 << 7);
    /// What the BCM2835's GHWCFG3 says, and QEMU's.
    const PI: Limits = Limits::of(0x0ff0_00e8);
    const QEMU: Limits = Limits::of(0x1000_0044);

    #[test]
    fn hcchar_names_the_endpoint() {
        assert_eq!(
            IN.hcchar().number(),
            64 | 2 << 11 | 1 << 15 | 2 << 18 | 1 << 20 | 5 << 22
        );
        let slow = Endpoint {
            device: Device {
                speed: Speed::Low,
                ..FULL
            },
            number: 0,
            input: false,
            kind: Kind::Control,
            max_packet: 8,
        };
        assert_eq!(slow.hcchar().number(), 8 | 1 << 17 | 1 << 20 | 5 << 22);
    }

    fn hctsiz(endpoint: &Endpoint, len: usize, pid: Pid) -> u32 {
        Transfer::new(endpoint, len, pid, 0, PI).hctsiz
    }

    #[test]
    fn an_in_transfer_asks_for_whole_packets_and_nothing_is_one_packet() {
        assert_eq!(hctsiz(&IN, 100, DATA0), 128 | 2 << 19);
        assert_eq!(hctsiz(&OUT, 100, DATA1), 100 | 2 << 19 | 2 << 29);
        assert_eq!(hctsiz(&OUT, 0, DATA1), 1 << 19 | 2 << 29);
        let high = Endpoint {
            max_packet: 512,
            ..IN
        };
        assert_eq!(hctsiz(&high, 18_944, DATA0), 18_944 | 37 << 19);
    }

    #[test]
    fn the_core_says_how_far_it_counts() {
        let counts = |limits: Limits| (limits.bytes, limits.packets);
        assert_eq!(counts(PI), (524_287, 1023));
        assert_eq!(counts(QEMU), (32_767, 255));
        assert_eq!(counts(Limits::LEAST), (2047, 15));
        assert_eq!(
            counts(Limits::of(0x7f)),
            (524_287, 1023),
            "no more than HCTSIZ holds"
        );
        assert_eq!((PI.piece(512), PI.piece(64)), (1023 * 512, 1023 * 64));
        assert_eq!((QEMU.piece(512), QEMU.piece(64)), (63 * 512, 255 * 64));
        assert_eq!(
            (Limits::LEAST.piece(512), Limits::LEAST.piece(8)),
            (3 * 512, 15 * 8)
        );
    }

    #[test]
    fn a_transfer_longer_than_the_core_counts_goes_in_pieces_of_whole_packets() {
        for limits in [PI, QEMU, Limits::LEAST] {
            for (max_packet, len) in [(512, 18_944), (512, 600_000), (64, 600_001), (8, 1), (1024, 0)] {
                for input in [true, false] {
                    let endpoint = Endpoint {
                        max_packet,
                        input,
                        ..OUT
                    };
                    let mut transfer = Transfer::new(&endpoint, len, DATA0, 0x1000, limits);
                    let (mut asked, mut pid) = (0, 0);
                    let end = loop {
                        let word = transfer.hctsiz;
                        assert!(word & BYTES <= limits.bytes && packets(word) <= limits.packets);
                        assert_eq!((word & PID, transfer.hcdma), (pid, 0x1000 + asked));
                        asked += word & BYTES;
                        // The core leaves the toggle of the packet behind these.
                        pid ^= (packets(word) % 2) << 30;
                        match transfer.halted(Hcint::COMPLETE, pid) {
                            Step::Again => assert_eq!(asked % u32::from(max_packet), 0),
                            end => break end,
                        }
                    };
                    let whole = len.next_multiple_of(max_packet.into()).max(max_packet.into());
                    assert_eq!(end, Step::Done(if input { whole } else { len }));
                }
            }
        }
    }

    #[test]
    fn a_short_packet_ends_a_transfer_in_the_middle_of_its_pieces() {
        let mut transfer = Transfer::new(&IN, 4000, DATA0, 0, Limits::LEAST);
        assert_eq!(transfer.halted(Hcint::COMPLETE, 2 << 29), Step::Again);
        assert_eq!(transfer.hctsiz, 960 | 15 << 19 | 2 << 29);
        // Fourteen packets of the second piece, the last of them with 10 bytes.
        let left = (15 * 64 - 13 * 64 - 10) | 1 << 19;
        assert_eq!(transfer.halted(Hcint::COMPLETE, left), Step::Done(28 * 64 + 10));
    }

    #[test]
    fn halts_are_told_apart() {
        let halted =
            |hcint: Hcint| Transfer::new(&IN, 100, DATA0, 0, PI).halted(hcint | Hcint::HALTED, 78 | 1 << 19);
        assert_eq!(halted(Hcint::COMPLETE), Step::Done(50));
        assert_eq!(halted(Hcint::STALL), Step::Failed(Error::Stall));
        assert_eq!(halted(Hcint::BABBLE), Step::Failed(Error::Babble));
        assert_eq!(halted(Hcint::AHB_ERROR), Step::Failed(Error::Bus));
        assert_eq!(halted(TRANSACTION_ERROR), Step::Again);
        assert_eq!(halted(Hcint::none()), Step::Again);
    }

    #[test]
    fn a_broken_transfer_goes_on_behind_the_packets_that_went_through() {
        let mut transfer = Transfer::new(&OUT, 200, DATA0, 0x1000, PI);
        // Everything was fetched, one of four packets was taken; the next one is DATA1.
        assert_eq!(transfer.halted(TRANSACTION_ERROR, 3 << 19 | 2 << 29), Step::Again);
        assert_eq!(
            (transfer.hctsiz, transfer.hcdma),
            (136 | 3 << 19 | 2 << 29, 0x1040)
        );
        assert_eq!(transfer.halted(Hcint::COMPLETE, 0), Step::Done(200));
    }

    #[test]
    fn three_tries_without_an_answer_are_enough_and_a_device_that_lives_gets_more() {
        let ends_after = |hcint| {
            let mut transfer = Transfer::new(&IN, 64, DATA0, 0, PI);
            let left = transfer.hctsiz;
            let mut halts = 1;
            while transfer.halted(hcint, left) == Step::Again {
                halts += 1;
            }
            halts
        };
        assert_eq!(ends_after(TRANSACTION_ERROR), 3);
        assert_eq!(ends_after(TRANSACTION_ERROR | Hcint::SIGN_OF_LIFE), 64);
    }

    #[test]
    fn tries_are_counted_anew_behind_each_packet_that_went_through() {
        for (hcint, halts_a_packet) in [
            (TRANSACTION_ERROR, 2),
            (TRANSACTION_ERROR | Hcint::SIGN_OF_LIFE, 63),
        ] {
            let mut transfer = Transfer::new(&OUT, 200 * 64, DATA0, 0x1000, PI);
            for left in (1..200).rev() {
                for _ in 0..halts_a_packet {
                    assert_eq!(transfer.halted(hcint, left << 19), Step::Again, "{left} left");
                }
                assert_eq!(transfer.hcdma, 0x1000 + (200 - left) * 64);
            }
            assert_eq!(transfer.halted(Hcint::COMPLETE, 0), Step::Done(200 * 64));
        }
    }

    #[test]
    fn residues_that_make_no_sense_move_nothing_and_never_leave_the_buffer() {
        for (endpoint, room) in [(&IN, 128), (&OUT, 100)] {
            for left in [0, u32::MAX, 5 << 19, 0x7_ffff, 1 << 19 | 0x7_ffff] {
                for hcint in [Hcint::COMPLETE, TRANSACTION_ERROR] {
                    let mut transfer = Transfer::new(endpoint, 100, DATA0, 0x1000, PI);
                    let step = transfer.halted(hcint, left);
                    assert!(
                        !matches!(step, Step::Done(len) if len > room as usize),
                        "{left:x}"
                    );
                    let end = transfer.hcdma + (transfer.hctsiz & BYTES);
                    assert!(end <= 0x1000 + room, "{left:x}");
                }
            }
        }
    }

    #[test]
    fn the_toggle_is_what_the_core_left() {
        assert_eq!(next_pid(2 << 29 | 5), DATA1);
        assert_eq!(next_pid(5), DATA0);
    }
}
