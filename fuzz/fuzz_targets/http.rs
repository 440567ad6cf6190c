//! Heads of HTTP responses, and their bodies in whatever pieces they come.
#![no_main]

use fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((piece, message)) = data.split_first() else {
        return;
    };
    within(16 * 1024 + 16 * data.len(), || {
        let whole = boot::fetch::parse(message, message.len().max(1));
        let pieces = boot::fetch::parse(message, usize::from(*piece).max(1));
        assert_eq!(whole, pieces, "the body depends on how it was cut");
    });
});
