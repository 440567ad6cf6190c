//! USB: what devices say of themselves, and a search of a bus on which every answer is hostile.
#![no_main]

use fuzz::{pieces, within};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    kernel::usb::describe(data);
    // Random bytes form no function; what the grammar makes of them does.
    within(64 * 1024, || kernel::usb::grown(data));
    let mut answers = pieces(data);
    let took = within(64 * 1024 + 64 * data.len(), || kernel::usb::search(&mut answers));
    assert!(took.as_secs() <= 9, "{took:?}");
});
