//! Datagrams of a TFTP server: whatever it says, a file is what came in order, and nothing lands behind its room.
#![no_main]

use fuzz::{pieces, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&room, data)) = data.split_first() else {
        return;
    };
    // Each datagram is told by its first byte: from the server's port, or from another.
    let datagrams: Vec<(u16, &[u8])> = pieces(data)
        .filter_map(|piece| piece.split_first())
        .map(|(port, datagram)| (1000 + u16::from(*port & 1), datagram))
        .collect();
    let room = usize::from(room) * 16;
    let read = |fill| {
        let mut into = vec![fill; room];
        let end = boot::fetch::read_tftp(&datagrams, &mut into);
        (into, end)
    };
    let (one, end) = within(64 * 1024 + 16 * data.len(), || read(0));
    let (other, again) = read(0xff);
    assert_eq!(end, again, "what is in memory decides");
    let (done, port, said) = end;
    assert!(done <= room);
    assert!(one[done..].iter().all(|byte| *byte == 0) && other[done..].iter().all(|byte| *byte == 0xff));
    assert!(said.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{said:?}");
    // What came is the server's blocks, each once and in their order.
    let mut expected = Vec::new();
    let mut next = 1_u16;
    for (from, datagram) in &datagrams {
        let Some((&[0, 3, high, low], block)) = datagram.split_first_chunk() else {
            continue;
        };
        if expected.len() < done && Some(*from) == port && u16::from_be_bytes([high, low]) == next {
            expected.extend(block);
            next += 1;
        }
    }
    assert!(one[..done] == expected && other[..done] == expected);
});
