//! One VLAN under everything (IEEE 802.1Q): frames get its tag on their way out, and lose it on their way in.

use alloc::vec::Vec;

use smoltcp::phy::TxToken;

/// The EtherType of a tag.
const TAGGED: [u8; 2] = [0x81, 0x00];
/// Bytes of a tag.
pub(crate) const LEN: usize = 4;
/// Bytes of the two addresses, which stand before it.
const ADDRESSES: usize = 12;

/// A VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// 1 to 4094.
    pub id: u16,
    /// 0 to 7: how urgent its frames are.
    pub priority: u8,
}

/// The frame without its tag when it is of the VLAN `tag`; none for all other frames. Without a VLAN, the frame itself.
pub(crate) fn untagged<'a>(frame: &'a [u8], tag: Option<Tag>, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let Some(tag) = tag else { return Some(frame) };
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    let (head, rest) = rest.split_first_chunk::<LEN>()?;
    let [a, b, c, d] = *head;
    if [a, b] != TAGGED || u16::from_be_bytes([c, d]) & 0xfff != tag.id {
        return None;
    }
    scratch.clear();
    scratch.extend_from_slice(addresses);
    scratch.extend_from_slice(rest);
    Some(scratch)
}

/// Leave to send a frame, with a tag when there is a VLAN.
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

/// Makes room behind the addresses of the frame, whose last four bytes are free, and puts the tag there.
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
        assert_eq!(untagged(&frame, None, &mut scratch), Some(&*frame));
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
}
