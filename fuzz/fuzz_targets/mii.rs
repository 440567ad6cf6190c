//! A PHY that reads as anything: the MAC follows each link once, and hears of each loss once.
#![no_main]

use fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut up = false;
    within(16 * 1024, || {
        kernel::ether::follow(data, &mut |now_up| {
            assert_ne!(now_up, up, "told twice");
            up = now_up;
        });
    });
});
