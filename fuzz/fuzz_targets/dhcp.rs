//! Answers of DHCP servers.
#![no_main]

use fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    within(16 * 1024 + 64 * data.len(), || boot::lease::parse(data));
});
