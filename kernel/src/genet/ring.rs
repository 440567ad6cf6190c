//! The arithmetic of GENET's rings: 16-bit indices that run freely, and the words of descriptors.

use super::registers::{DESCRIPTORS, LengthStatus};
use crate::bits::Bits as _;

/// Bytes of a buffer. Whole cache lines; a frame never reaches its end.
pub(super) const BUFFER: usize = 2048;
/// Bytes that hardware puts before a received frame, so that its IP header is aligned.
pub(super) const PAD: usize = 2;
/// Transmit buffers: as many frames may be in flight. Divides `DESCRIPTORS`, so that a descriptor keeps its buffer.
pub(super) const TX_BUFFERS: usize = 32;
/// Received frames that are returned to the hardware in one write, while more wait.
const RETURN_EVERY: u16 = 64;

/// Shortest frame without its check sequence.
pub(super) const SHORTEST: usize = 60;
/// Longest: two tags, and what UMAC_MAX_FRAME lets through besides.
const LONGEST: usize = super::registers::MAX_FRAME as usize;

/// The hardware's index is further than the ring is long: one side has lost count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutOfStep;

/// Descriptor of an index.
fn slot(index: u16) -> usize {
    usize::from(index) % DESCRIPTORS
}

/// A received frame, by its length_status word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes in the buffer, with `PAD`.
    pub(super) len: usize,
    /// The hardware has verified its TCP or UDP checksum.
    pub(super) checksum_ok: bool,
}

/// What a length_status word says of a received frame; `None` for one in error, in pieces, or of an impossible length.
pub(super) fn received(length_status: LengthStatus) -> Option<Received> {
    let len = (length_status.number() >> 16 & 0xfff) as usize;
    let whole = length_status & LengthStatus::WHOLE == LengthStatus::WHOLE;
    let good = !length_status.has(LengthStatus::ERRORS) && (PAD + SHORTEST..=PAD + LONGEST).contains(&len);
    (whole && good).then_some(Received {
        len,
        checksum_ok: length_status.has(LengthStatus::CHECKSUM_OK),
    })
}

/// length_status of a frame of `len` bytes to send in one piece.
pub(super) fn to_send(len: usize) -> LengthStatus {
    let len = LengthStatus::from_number((len as u32 & 0xfff) << 16);
    len | LengthStatus::WHOLE | LengthStatus::APPEND_CRC | LengthStatus::QTAG
}

/// The receive ring, from the software's side.
#[derive(Debug, Default)]
pub(super) struct RxRing {
    /// The next frame's index.
    next: u16,
    /// What the hardware knows of it.
    returned: u16,
    /// Frames known to wait.
    ready: u16,
}

impl RxRing {
    /// An empty ring at the hardware's index, which cannot be set.
    pub(super) fn resume(producer: u32) -> Self {
        let index = producer as u16;
        Self {
            next: index,
            returned: index,
            ready: 0,
        }
    }

    /// Learns from the producer register how many frames wait. Its upper half counts lost frames.
    pub(super) fn learn(&mut self, producer: u32) -> Result<(), OutOfStep> {
        let ready = (producer as u16).wrapping_sub(self.next);
        let held = (producer as u16).wrapping_sub(self.returned);
        if usize::from(held) > DESCRIPTORS || ready > held {
            return Err(OutOfStep);
        }
        self.ready = ready;
        Ok(())
    }

    /// Whether it is time to ask the hardware for more.
    pub(super) fn is_empty(&self) -> bool {
        self.ready == 0
    }

    /// The descriptor of the next frame that waits.
    pub(super) fn take(&mut self) -> Option<usize> {
        self.ready = self.ready.checked_sub(1)?;
        let taken = slot(self.next);
        self.next = self.next.wrapping_add(1);
        Some(taken)
    }

    /// The consumer index to write, when buffers that were taken are to go back: all taken frames must have been read.
    pub(super) fn give_back(&mut self) -> Option<u32> {
        let held = self.next.wrapping_sub(self.returned);
        if held == 0 || self.ready > 0 && held < RETURN_EVERY {
            return None;
        }
        self.returned = self.next;
        Some(u32::from(self.next))
    }

    /// The consumer index as the hardware should know it.
    pub(super) fn consumer(&self) -> u32 {
        u32::from(self.returned)
    }
}

/// The transmit ring, from the software's side.
#[derive(Debug, Default)]
pub(super) struct TxRing {
    produced: u16,
    completed: u16,
}

impl TxRing {
    /// An empty ring at the hardware's index, which cannot be set.
    pub(super) fn resume(consumer: u32) -> Self {
        Self {
            produced: consumer as u16,
            completed: consumer as u16,
        }
    }

    /// Frames that have not left, as far as known.
    pub(super) fn in_flight(&self) -> u16 {
        self.produced.wrapping_sub(self.completed)
    }

    /// Whether a buffer is free.
    pub(super) fn has_room(&self) -> bool {
        usize::from(self.in_flight()) < TX_BUFFERS
    }

    /// Learns from the consumer register what has left.
    pub(super) fn learn(&mut self, consumer: u32) -> Result<(), OutOfStep> {
        let left = (consumer as u16).wrapping_sub(self.completed);
        if left > self.in_flight() {
            return Err(OutOfStep);
        }
        self.completed = consumer as u16;
        Ok(())
    }

    /// The descriptor to fill next, and the buffer that is always its own.
    pub(super) fn next(&self) -> (usize, usize) {
        (slot(self.produced), slot(self.produced) % TX_BUFFERS)
    }

    /// Takes it into the ring: the producer index to write.
    pub(super) fn push(&mut self) -> u32 {
        self.produced = self.produced.wrapping_add(1);
        u32::from(self.produced)
    }

    /// The producer index as the hardware should know it.
    pub(super) fn producer(&self) -> u32 {
        u32::from(self.produced)
    }

    /// How far the hardware has come; equal twice means it stood still.
    pub(super) fn completed(&self) -> u16 {
        self.completed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: u32 = 1 << 13 | 1 << 14;

    fn received(word: u32) -> Option<Received> {
        super::received(LengthStatus::from_number(word))
    }

    #[test]
    fn whole_frames_of_every_length_are_good() {
        for len in 60..=1522_u32 {
            let frame = received((len + 2) << 16 | WHOLE).unwrap();
            assert_eq!((frame.len, frame.checksum_ok), (len as usize + 2, false));
        }
        // Broadcast, multicast, checksum: not errors.
        assert!(received(62 << 16 | WHOLE | 0x8060).unwrap().checksum_ok);
    }

    #[test]
    fn errors_pieces_and_impossible_lengths_are_not() {
        for bit in 0..5 {
            assert_eq!(received(100 << 16 | WHOLE | 1 << bit), None);
        }
        for status in [1 << 13, 1 << 14, 0] {
            assert_eq!(received(100 << 16 | status), None);
        }
        for len in (0..62).chain(1539..4096) {
            assert_eq!(received(len << 16 | WHOLE), None, "{len}");
        }
    }

    #[test]
    fn a_word_to_send_has_length_crc_and_no_tag() {
        assert_eq!(to_send(1514).number(), 0x05ea_7fc0);
    }

    #[test]
    fn receive_indices_wrap_and_discards_above_them_do_not_matter() {
        let mut ring = RxRing::resume(0x0007_fffe);
        assert_eq!(ring.consumer(), 0xfffe);
        ring.learn(0xffff_0001).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| ring.take()).collect();
        assert_eq!(taken, [254, 255, 0]);
        assert_eq!(ring.give_back(), Some(1));
        assert_eq!(ring.give_back(), None);
        ring.learn(0x0001).unwrap();
        assert!(ring.is_empty());
    }

    #[test]
    fn buffers_go_back_in_batches_and_all_at_the_end() {
        let mut ring = RxRing::resume(0);
        ring.learn(256).unwrap();
        let mut written = Vec::new();
        for _ in 0..256 {
            written.extend(ring.give_back());
            ring.take().unwrap();
        }
        written.extend(ring.give_back());
        assert_eq!(written, [64, 128, 192, 256]);
    }

    #[test]
    fn an_index_beyond_the_ring_is_noticed() {
        let mut ring = RxRing::resume(10);
        assert_eq!(ring.learn(10 + 257), Err(OutOfStep));
        assert_eq!(ring.learn(9), Err(OutOfStep));
        ring.learn(10 + 256).unwrap();
        ring.take().unwrap();
        // One is taken but not returned, so the hardware cannot have filled another.
        assert_eq!(ring.learn(10 + 257), Err(OutOfStep));

        let mut ring = TxRing::resume(0xffff);
        ring.push();
        assert_eq!(ring.learn(1), Err(OutOfStep));
        assert_eq!(ring.learn(0xfffe), Err(OutOfStep));
        ring.learn(0).unwrap();
        assert_eq!(ring.in_flight(), 0);
    }

    #[test]
    fn transmit_fills_its_buffers_and_no_more_across_the_wrap() {
        let mut ring = TxRing::resume(0xfff0);
        for n in 0..TX_BUFFERS {
            assert!(ring.has_room());
            let (descriptor, buffer) = ring.next();
            assert_eq!((descriptor, buffer), ((0xf0 + n) % 256, (0x10 + n) % TX_BUFFERS));
            ring.push();
        }
        assert!(!ring.has_room());
        assert_eq!(ring.producer(), 0x0010);
        ring.learn(0xffff).unwrap();
        assert_eq!(ring.in_flight(), 17);
    }
}
