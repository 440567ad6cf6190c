//! Frames in USB transfers: bursts that arrive in a ring of buffers and are read where they landed, and a ring of transfers
//! that wait to leave.
//!
//! Life of a received frame: the controller writes a burst of them into one buffer of the ring; at its end the next
//! buffer is armed at once, and the frames are handed to smoltcp one after another out of the first. An endpoint has one
//! transfer at the controller at a time (its data toggle allows no more), so a ring is as good as several transfers.

use core::cell::RefMut;

use smoltcp::phy;
use smoltcp::time::{Duration, Instant};

use crate::dma::{Arena, Buffer};
use crate::ether::{FRAME, checksum};
use crate::usb::dwc2::Dwc2;
use crate::usb::pipe::Pipe;
use crate::usb::transfer::Error;

/// Frame check sequence.
pub(super) const FCS: usize = 4;
/// Shortest and longest frame that arrives, with its frame check sequence: a bare header, and one with a VLAN tag.
const RECEIVED: core::ops::RangeInclusive<usize> = 14 + FCS..=FRAME + 4 + FCS;
/// Room for one burst: 37 packets at high speed, which is what Linux lets these chips send at a time.
pub(super) const BURST: usize = 37 * 512;
/// Bursts that arrive, wait or are read.
const BURSTS: usize = 4;
/// Room for frames that leave together.
const BATCH: usize = 8 * 1024;
/// Transfers that leave or wait to.
const BATCHES: usize = 4;
/// Longest transmission: a partner's pause frame stops the chip for 335 ms at 100 Mb/s, and may be repeated.
const TRANSMIT_PATIENCE: Duration = Duration::from_secs(1);

/// How a device packs frames into transfers (D-41).
#[derive(Debug, Clone, Copy)]
pub(super) struct Framing {
    /// Bytes asked for at a time, at most `BURST`.
    pub(super) burst: usize,
    /// What comes first in the rest of a burst, which is not empty.
    pub(super) next: fn(&[u8]) -> Piece,
    /// What a device wants to read before a frame of so many bytes, at most `FRAME`; nothing for some.
    pub(super) header: Option<fn(usize) -> [u8; HEADER]>,
    /// Whether several frames may leave in one transfer, each at a multiple of 4.
    pub(super) together: bool,
}

impl Framing {
    /// BURST_CAP: how many packets of the bulk IN endpoint, of at most `max_packet` bytes each, a burst may have.
    pub(super) fn cap(&self, max_packet: u16) -> u32 {
        (self.burst / usize::from(max_packet.max(1))).min(0xff) as u32
    }
}

/// Bytes before a frame on its way out.
pub(super) const HEADER: usize = 8;

/// A piece of a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// A frame without its check sequence, from `start`; behind it the next piece.
    Frame { start: usize, len: usize, next: usize },
    /// A frame that the device calls spoilt, or of a length that Ethernet does not have; behind it the next piece.
    Spoilt { next: usize },
    /// What cannot be a frame: nothing behind it can be found.
    Rest,
}

impl Piece {
    /// A frame of `size` bytes with its check sequence, from `start` of `room` bytes; the next piece is at a multiple of 4.
    pub(super) fn new(room: usize, start: usize, size: usize, spoilt: bool) -> Self {
        let end = start + size;
        let next = end.next_multiple_of(4);
        if end > room || size == 0 {
            Self::Rest
        } else if spoilt || !RECEIVED.contains(&size) {
            Self::Spoilt { next }
        } else {
            Self::Frame {
                start,
                len: size - FCS,
                next,
            }
        }
    }
}

/// What went wrong and was not handed on, since the device was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// Frames received with errors.
    pub(super) spoilt: u32,
    /// Frames received with a wrong checksum of TCP.
    pub(super) wrong: u32,
    /// Bursts whose rest made no sense.
    pub(super) cut: u32,
}

/// Bursts on their way in.
pub(super) struct Receiver {
    buffers: [Buffer; BURSTS],
    /// How many bytes have arrived in each.
    lens: [usize; BURSTS],
    /// The burst that is being read, or would be next, and how much of it has been.
    reading: usize,
    at: usize,
    /// How many have arrived, that one counted. The controller fills the one behind them.
    arrived: usize,
    pub(super) dropped: Dropped,
}

impl Receiver {
    /// `None` without memory.
    pub(super) fn new(arena: &mut Arena) -> Option<Self> {
        let mut buffer = || {
            let mut buffer = arena.buffer(BURST)?;
            // All of it, once: only the controller writes to it.
            buffer.give(BURST);
            Some(buffer)
        };
        Some(Self {
            buffers: [buffer()?, buffer()?, buffer()?, buffer()?],
            lens: [0; BURSTS],
            reading: 0,
            at: 0,
            arrived: 0,
            dropped: Dropped::default(),
        })
    }

    /// Forgets what has arrived. Nothing may be under way.
    pub(super) fn clear(&mut self) {
        (self.at, self.arrived) = (0, 0);
    }

    /// Takes a burst that has ended, and arms the next buffer before any frame is looked at. True when one came.
    pub(super) fn poll(&mut self, usb: &mut Dwc2, pipe: &mut Pipe, framing: &Framing) -> Result<bool, Error> {
        let mut came = false;
        match usb.poll_bulk(pipe) {
            // Some devices answer with nothing where others would say that there is nothing.
            None | Some(Ok(0)) => {}
            Some(Ok(len)) => {
                self.lens[(self.reading + self.arrived) % BURSTS] = len;
                self.arrived += 1;
                came = true;
            }
            Some(Err(error)) => return Err(error),
        }
        if !pipe.busy() && self.arrived < BURSTS {
            let buffer = &mut self.buffers[(self.reading + self.arrived) % BURSTS];
            usb.start_bulk(pipe, buffer, framing.burst);
        }
        Ok(came)
    }

    /// For tests: a burst has arrived.
    #[cfg(any(test, fuzzing))]
    pub(super) fn put(&mut self, burst: &[u8]) {
        self.buffers[self.reading].bytes_mut()[..burst.len()].copy_from_slice(burst);
        self.lens[self.reading] = burst.len();
        self.arrived = 1;
    }

    /// The next frame, where it landed.
    pub(super) fn frame(&mut self, framing: &Framing) -> Option<&[u8]> {
        while self.arrived > 0 {
            let (buffer, len) = (&self.buffers[self.reading], self.lens[self.reading]);
            // Made ours once, when its first byte is looked at.
            let burst = if self.at == 0 {
                buffer.take(len)
            } else {
                buffer.bytes(len)
            };
            let rest = burst.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                self.reading = (self.reading + 1) % BURSTS;
                self.arrived -= 1;
                self.at = 0;
                continue;
            }
            match (framing.next)(rest) {
                Piece::Frame { start, len, next } => {
                    let from = self.at + start;
                    self.at += next;
                    let frame = self.buffers[self.reading].bytes(BURST).get(from..from + len)?;
                    if checksum::right(frame) {
                        return self.buffers[self.reading].bytes(BURST).get(from..from + len);
                    }
                    self.dropped.wrong = self.dropped.wrong.saturating_add(1);
                }
                Piece::Spoilt { next } => {
                    self.dropped.spoilt = self.dropped.spoilt.saturating_add(1);
                    self.at += next;
                }
                Piece::Rest => {
                    self.dropped.cut = self.dropped.cut.saturating_add(1);
                    self.at = len;
                }
            }
        }
        None
    }
}

/// Transfers on their way out.
pub(super) struct Transmitter {
    buffers: [Buffer; BATCHES],
    /// How many bytes wait in each.
    lens: [usize; BATCHES],
    /// The one that leaves next, or is leaving.
    leaving: usize,
    /// The one that takes the next frame: another than `leaving` while that is under way.
    filling: usize,
    /// When the transfer under way began.
    since: Instant,
    /// The transfer under way still needs an empty packet to end it.
    owes_empty_packet: bool,
}

impl Transmitter {
    /// `None` without memory.
    pub(super) fn new(arena: &mut Arena) -> Option<Self> {
        let mut buffer = || arena.buffer(BATCH);
        Some(Self {
            buffers: [buffer()?, buffer()?, buffer()?, buffer()?],
            lens: [0; BATCHES],
            leaving: 0,
            filling: 0,
            since: Instant::ZERO,
            owes_empty_packet: false,
        })
    }

    /// Forgets what was to leave. Nothing may be under way.
    pub(super) fn clear(&mut self) {
        self.lens = [0; BATCHES];
        self.filling = self.leaving;
        self.owes_empty_packet = false;
    }

    /// Whether nothing waits.
    pub(super) fn empty(&self) -> bool {
        self.lens[self.leaving] == 0
    }

    /// Ends a transfer that has gone through, and starts the next one. A device that takes nothing while the link is up is
    /// an error. True when a transfer has gone through.
    pub(super) fn poll(
        &mut self,
        usb: &mut Dwc2,
        pipe: &mut Pipe,
        link: bool,
        now: Instant,
    ) -> Result<bool, Error> {
        if !pipe.busy() {
            self.start(usb, pipe, now);
            return Ok(false);
        }
        match usb.poll_bulk(pipe) {
            Some(Ok(_)) if self.owes_empty_packet => {
                self.owes_empty_packet = false;
                usb.start_bulk(pipe, &mut self.buffers[self.leaving], 0);
                Ok(false)
            }
            Some(Ok(_)) => {
                self.lens[self.leaving] = 0;
                self.leaving = (self.leaving + 1) % BATCHES;
                self.start(usb, pipe, now);
                Ok(true)
            }
            Some(Err(error)) => Err(error),
            None if !link => {
                self.since = now;
                Ok(false)
            }
            None if now < self.since + TRANSMIT_PATIENCE => Ok(false),
            None => Err(Error::TimedOut),
        }
    }

    fn start(&mut self, usb: &mut Dwc2, pipe: &mut Pipe, now: Instant) {
        let len = self.lens[self.leaving];
        if len == 0 {
            return;
        }
        if self.filling == self.leaving {
            // All others are empty: they leave in turn.
            self.filling = (self.filling + 1) % BATCHES;
        }
        self.owes_empty_packet = len.is_multiple_of(pipe.max_packet());
        self.since = now;
        usb.start_bulk(pipe, &mut self.buffers[self.leaving], len);
    }

    /// Whether one more frame finds room.
    pub(super) fn room(&mut self, framing: &Framing) -> bool {
        let len = self.lens[self.filling];
        if len == 0 || framing.together && len.next_multiple_of(4) + HEADER + FRAME <= BATCH {
            return true;
        }
        let next = (self.filling + 1) % BATCHES;
        if next == self.leaving {
            return false;
        }
        self.filling = next;
        true
    }
}

/// A place for one frame: `room` was true.
pub struct TxToken<'a> {
    pub(super) usb: RefMut<'a, Dwc2>,
    pub(super) to: &'a mut Transmitter,
    pub(super) pipe: &'a mut Pipe,
    pub(super) framing: &'a Framing,
    pub(super) now: Instant,
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        let Transmitter {
            buffers,
            lens,
            filling,
            ..
        } = &mut *self.to;
        let (buffer, used) = (&mut buffers[*filling], &mut lens[*filling]);
        let mut at = used.next_multiple_of(4);
        if let Some(header) = self.framing.header {
            buffer.bytes_mut()[at..at + HEADER].copy_from_slice(&header(len));
            at += HEADER;
        }
        // smoltcp keeps to the capabilities: never more than FRAME, for which `room` has looked.
        let result = f(&mut buffer.bytes_mut()[at..at + len]);
        *used = at + len;
        if !self.pipe.busy() {
            self.to.start(&mut self.usb, self.pipe, self.now);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma;

    #[test]
    fn what_is_left_out_of_a_burst_hides_nothing_behind_it() {
        // Eight bytes each, of which a letter says what they are.
        let framing = Framing {
            burst: BURST,
            next: |rest| match rest[0] {
                b's' => Piece::Spoilt { next: 8 },
                b'.' => Piece::Rest,
                _ => Piece::Frame {
                    start: 1,
                    len: 3,
                    next: 8,
                },
            },
            header: None,
            together: false,
        };
        let mut receiver = Receiver::new(&mut dma::tests::arena(BURSTS * BURST + 128).0).unwrap();
        for (burst, frames, dropped) in [
            (
                &b"fabc....s.......fdef....ss......fghi...."[..],
                &[b"abc", b"def", b"ghi"][..],
                (2, 0),
            ),
            (b"s.......fabc....", &[b"abc"], (3, 0)),
            // Nothing tells where the next would begin.
            (b"fabc............fdef....", &[b"abc"], (3, 1)),
            (b"fabc", &[b"abc"], (3, 1)),
        ] {
            receiver.put(burst);
            for frame in frames {
                assert_eq!(receiver.frame(&framing), Some(&frame[..]));
            }
            assert_eq!(receiver.frame(&framing), None);
            assert_eq!((receiver.dropped.spoilt, receiver.dropped.cut), dropped);
        }
    }

    #[test]
    fn a_piece_lies_inside_its_burst() {
        let frame = |room, size| Piece::new(room, 6, size, false);
        assert_eq!(
            frame(100, 64),
            Piece::Frame {
                start: 6,
                len: 60,
                next: 72
            }
        );
        assert_eq!(frame(70, 64), frame(100, 64), "the last one need not be padded");
        assert_eq!(frame(69, 64), Piece::Rest);
        assert_eq!(frame(100, 0), Piece::Rest);
        assert_eq!(frame(100, 17), Piece::Spoilt { next: 24 });
        assert_eq!(Piece::new(100, 6, 64, true), Piece::Spoilt { next: 72 });
        assert!(matches!(frame(BURST, 1522), Piece::Frame { len: 1518, .. }));
        assert_eq!(frame(BURST, 1523), Piece::Spoilt { next: 1532 });
    }
}
