//! One VLAN under everything (IEEE 802.1Q): sent frames get its tag, received frames lose it. Without a VLAN, a received
//! frame loses a tag that carries only a priority.

use alloc::vec::Vec;

use smoltcp::phy::TxToken;

/// The EtherType of a tag.
const TAGGED: [u8; 2] = [0x81, 0x00];
/// Bytes of a tag.
pub(crate) const LEN: usize = 4;
/// Bytes of the two addresses, which stand before it.
const ADDRESSES: usize = 12;

/// A VLAN (D-76).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// 1 to 4094.
    pub id: u16,
    /// The priority of its frames, 0 to 7.
    pub priority: u8,
}

/// Removes the tag of VLAN `tag` from a frame; `None` when the frame belongs to another VLAN. Without a VLAN, takes frames that
/// have no tag or the tag of VLAN 0, which is no VLAN but a priority (D-111).
pub(crate) fn untagged<'a>(frame: &'a [u8], tag: Option<Tag>, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let tagged = frame
        .split_at_checked(ADDRESSES)
        .and_then(|(addresses, rest)| Some((addresses, rest.split_first_chunk::<LEN>()?)))
        .filter(|(_, (head, _))| head.starts_with(&TAGGED));
    let Some((addresses, (&[.., high, low], rest))) = tagged else {
        // Broken ones are the stack's to drop.
        return tag.is_none().then_some(frame);
    };
    if u16::from_be_bytes([high, low]) & 0xfff != tag.map_or(0, |tag| tag.id) {
        return None;
    }
    scratch.clear();
    scratch.extend_from_slice(addresses);
    scratch.extend_from_slice(rest);
    Some(scratch)
}

/// The right to send one frame; it gets the VLAN's tag when there is a VLAN.
pub(crate) struct Tagging<T> {
    pub(crate) token: T,
    pub(crate) tag: Option<Tag>,
}

impl<T: TxToken> TxToken for Tagging<T> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Some(tag) = self.tag else {
            return self.token.consume(len, f);
        };
        self.token.consume(len.saturating_add(LEN), |buffer| {
            let result = f(buffer.get_mut(..len).unwrap_or_default());
            insert(buffer, tag);
            result
        })
    }

    fn set_meta(&mut self, meta: smoltcp::phy::PacketMeta) {
        self.token.set_meta(meta);
    }
}

/// Inserts the tag behind the two addresses; the frame's last four bytes must be free.
fn insert(buffer: &mut [u8], tag: Tag) {
    let end = buffer.len().saturating_sub(LEN);
    if end < ADDRESSES {
        return;
    }
    buffer.copy_within(ADDRESSES..end, ADDRESSES.saturating_add(LEN));
    let word = (u16::from(tag.priority & 7) << 13 | tag.id & 0xfff).to_be_bytes();
    let head = [TAGGED, word].concat();
    if let Some(place) = buffer.get_mut(ADDRESSES..ADDRESSES.saturating_add(LEN)) {
        place.copy_from_slice(&head);
    }
}

/// For the fuzz target: a frame with the tag in it.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn tagged(frame: &[u8], tag: Tag) -> Vec<u8> {
    let mut buffer = [frame, &[0; LEN]].concat();
    insert(&mut buffer, tag);
    buffer
}

/// For the fuzz target: the frame as the stack gets it.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn untagged_copy(frame: &[u8], tag: Option<Tag>) -> Option<Vec<u8>> {
    untagged(frame, tag, &mut Vec::new()).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Tag = Tag { id: 5, priority: 3 };

    #[test]
    fn a_tag_goes_in_and_out_again() {
        let frame: Vec<u8> = (0..60).collect();
        let mut buffer = frame.clone();
        buffer.extend([0xee; LEN]);
        insert(&mut buffer, TAG);
        assert_eq!(buffer[..12], frame[..12]);
        assert_eq!(buffer[12..16], [0x81, 0x00, 0x60, 5]);
        assert_eq!(buffer[16..], frame[12..]);
        assert_eq!(untagged(&buffer, Some(TAG), &mut Vec::new()), Some(&*frame));
    }

    #[test]
    fn other_frames_are_not_of_this_vlan() {
        let mut scratch = Vec::new();
        let frame = [[0; 12].as_slice(), &[0x81, 0, 0x60, 6, 8, 0], &[0; 46]].concat();
        assert_eq!(untagged(&frame, Some(TAG), &mut scratch), None);
        for len in 0..frame.len() {
            let mut cut = frame[..len].to_vec();
            if let Some(id) = cut.get_mut(15) {
                *id = 5;
            }
            let expected = (len >= 16).then(|| len - 4);
            assert_eq!(untagged(&cut, Some(TAG), &mut scratch).map(<[u8]>::len), expected);
        }
        assert_eq!(untagged(&[8; 60], Some(TAG), &mut scratch), None);
    }

    #[test]
    fn without_a_vlan_a_priority_goes_and_every_vlan_stays_away() {
        let mut scratch = Vec::new();
        let tagged = |head: [u8; 4]| [[7; 12].as_slice(), &head, &[8, 0], &[9; 46]].concat();
        let plain = [[7; 12].as_slice(), &[8, 0], &[9; 46]].concat();
        assert_eq!(untagged(&plain, None, &mut scratch), Some(&*plain));
        // Of every priority, with and without the bit for "may be dropped".
        for high in (0..=0xff).step_by(16) {
            let frame = tagged([0x81, 0, high, 0]);
            assert_eq!(untagged(&frame, None, &mut scratch), Some(&*plain));
        }
        for id in [1, 5, 0x100, 4094, 4095_u16] {
            let [high, low] = id.to_be_bytes();
            assert_eq!(untagged(&tagged([0x81, 0, high, low]), None, &mut scratch), None);
        }
        // A VLAN in an outer one is a type that the stack does not know, also when the outer one is none.
        let outer = tagged([0x88, 0xa8, 0, 0]);
        assert_eq!(untagged(&outer, None, &mut scratch), Some(&*outer));
        let double = [&[7; 12], &[0x81, 0, 0, 0, 0x81, 0, 0, 5, 8, 0][..], &[9; 46]].concat();
        let inner = untagged(&double, None, &mut scratch).unwrap();
        assert_eq!(inner[12..16], [0x81, 0, 0, 5]);
        for len in 0..16 {
            assert_eq!(untagged(&double[..len], None, &mut scratch), Some(&double[..len]));
        }
        // VLAN 0 is not the VLAN that was chosen.
        assert_eq!(untagged(&tagged([0x81, 0, 0, 0]), Some(TAG), &mut scratch), None);
    }
}
