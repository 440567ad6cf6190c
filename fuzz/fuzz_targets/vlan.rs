//! Frames of a VLAN: what goes in with a tag comes out as it was, and what is another's does not.
#![no_main]

use boot::vlan::{Tag, tagged, untagged_copy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(([high, low, other], frame)) = data.split_first_chunk() else {
        return;
    };
    let number = u16::from_be_bytes([*high, *low]);
    let tag = Tag {
        id: (number & 0xfff).clamp(1, 4094),
        priority: (number >> 13) as u8,
    };
    if frame.len() >= 14 {
        let sent = tagged(frame, tag);
        assert_eq!(sent.len(), frame.len() + 4);
        assert_eq!(untagged_copy(&sent, Some(tag)).as_deref(), Some(frame));
        let id = u16::from(*other) + 1;
        let stranger = Tag { id, ..tag };
        assert_eq!(untagged_copy(&sent, Some(stranger)).is_some(), id == tag.id);
        assert_eq!(untagged_copy(&sent, None), None, "it is not the native network's");
    }
    // As it came from somebody.
    for tag in [None, Some(tag)] {
        if let Some(frame_out) = untagged_copy(frame, tag) {
            assert!(frame_out == frame && tag.is_none() || frame_out.len() + 4 == frame.len());
        }
    }
});
