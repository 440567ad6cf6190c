//! Whose word counts for TCP's checksum of a received frame: GENET's where it gives one, else a sum in software (D-48).

use crate::ether::checksum;

/// Whether descriptors' checksum bit can be believed.
///
/// Nobody publishes what the bit means to the last detail, and in a transmit descriptor the same place is an ownership
/// flag. ARP frames have no such checksum: one that comes without the bit proves that the bit is not always set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Trust {
    /// No ARP frame was seen yet: the bit counts for nothing.
    #[default]
    Untested,
    /// The bit is set for frames that were verified.
    Proven,
    /// The bit means something else.
    Never,
}

impl Trust {
    /// Whether `frame` may go to the stack, which does not check TCP again. Other protocols it checks itself.
    pub(super) fn passes(&mut self, frame: &[u8], bit: bool) -> bool {
        if frame.get(12..14) == Some(&[0x08, 0x06]) {
            self.learn(bit);
        }
        bit && *self == Self::Proven && is_whole(frame) || checksum::right(frame)
    }

    /// From an ARP frame's bit.
    fn learn(&mut self, bit: bool) {
        match self {
            Self::Untested if !bit => *self = Self::Proven,
            Self::Untested | Self::Proven if bit => {
                boot::warn!("nic: the checksum bit is set for ARP: checksums in software");
                *self = Self::Never;
            }
            _ => {}
        }
    }
}

/// Whether this is a whole packet of IPv4 without a tag before it. A fragment has no checksum of its own, and the stack takes
/// it for a packet: only the sum stops it. What the bit says of frames with a tag, no board was there to tell.
fn is_whole(frame: &[u8]) -> bool {
    const MORE_OR_OFFSET: u16 = 0x3fff;
    let field = frame.get(20..22).and_then(|field| field.try_into().ok());
    frame.get(12..14) == Some(&[0x08, 0x00])
        && field.is_some_and(|field| u16::from_be_bytes(field) & MORE_OR_OFFSET == 0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A segment in a frame of `len` bytes, at least 60, with everything right.
    pub(in super::super) fn segment(len: usize, fill: u8) -> Vec<u8> {
        checksum::tests::frame(&vec![fill; len - 54])
    }

    /// An ARP frame, as far as its type says.
    pub(in super::super) fn arp() -> Vec<u8> {
        let mut bytes = vec![0; 60];
        bytes[12..14].copy_from_slice(&[0x08, 0x06]);
        bytes
    }

    #[test]
    fn the_bit_counts_once_an_arp_frame_came_without() {
        let mut trust = Trust::default();
        let good = segment(100, 1);
        let mut bad = good.clone();
        bad[99] ^= 1;
        assert!(trust.passes(&good, false) && !trust.passes(&bad, false));
        assert!(!trust.passes(&bad, true), "nothing is proven yet");
        assert!(trust.passes(&arp(), false));
        assert_eq!(trust, Trust::Proven);
        assert!(trust.passes(&bad, true), "the hardware's word");
        assert!(!trust.passes(&bad, false) && trust.passes(&good, false));
    }

    #[test]
    fn a_bit_that_is_always_set_counts_for_nothing() {
        let mut bad = segment(100, 1);
        bad[99] ^= 1;
        for first in [true, false] {
            let mut trust = Trust::default();
            trust.passes(&arp(), first);
            trust.passes(&arp(), true);
            trust.passes(&arp(), false);
            assert_eq!(trust, Trust::Never);
            assert!(!trust.passes(&bad, true));
        }
    }

    #[test]
    fn fragments_are_summed_and_so_dropped_whatever_the_bit_says() {
        let mut trust = Trust::Proven;
        let whole = segment(100, 1);
        for flags in [[0x20, 0], [0, 1]] {
            let mut fragment = whole.clone();
            fragment[20..22].copy_from_slice(&flags);
            fragment[60] ^= 1;
            assert!(!trust.passes(&fragment, true));
        }
        let mut whole_and_not_to_be_cut = whole;
        whole_and_not_to_be_cut[20] = 0x40;
        whole_and_not_to_be_cut[60] ^= 1;
        assert!(trust.passes(&whole_and_not_to_be_cut, true));
    }

    #[test]
    fn a_tagged_frame_is_summed_whatever_the_bit_says() {
        let mut trust = Trust::Proven;
        let mut tagged = segment(100, 1);
        tagged.splice(12..12, [0x81, 0, 0xe0, 0]);
        assert!(trust.passes(&tagged, true) && trust.passes(&tagged, false));
        tagged[90] ^= 1;
        assert!(!trust.passes(&tagged, true) && !trust.passes(&tagged, false));
    }

    #[test]
    fn anything_else_is_the_stack_s_to_judge() {
        let mut trust = Trust::Proven;
        for (at, value) in [(12, 0x86), (23, 1), (23, 17)] {
            let mut other = segment(100, 1);
            other[at] = value;
            other[99] ^= 1;
            assert!(trust.passes(&other, false));
        }
        for len in 0..34 {
            assert!(trust.passes(&segment(100, 1)[..len], false), "{len}");
        }
    }
}
