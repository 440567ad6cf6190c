//! The initramfs that the firmware hands over: a text, or an archive with one.
#![no_main]

use boot::{Board, HandoverError, handed_over};
use fuzz::within;
use libfuzzer_sys::fuzz_target;
use smoltcp::wire::EthernetAddress;

fuzz_target!(|data: &[u8]| {
    let board = Board {
        model: "Raspberry Pi 4 Model B",
        revision: 0x00c0_3130,
        serial: 0x1000_0000_e0ff_06da,
        mac: EthernetAddress([0xdc, 0xa6, 0x32, 0xec, 0xfc, 0x3c]),
        uart: None,
        device_tree: None,
        handed_over: None,
    };
    // A text at most, and names; never the archive.
    match within(16 * 1024 + data.len(), || handed_over(data, &board)) {
        Some(Ok(found)) => {
            assert!(!found.name.is_empty());
            let mut at = data.windows(found.text.len().max(1));
            assert!(found.text.is_empty() || at.any(|bytes| bytes == found.text));
        }
        Some(Err(error)) => assert_ne!(error, HandoverError::Place),
        None => {}
    }
});
