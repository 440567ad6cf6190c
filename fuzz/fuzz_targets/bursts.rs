//! Bursts of the three chips on USB: frames lie inside them, whatever their headers say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&chip, burst)) = data.split_first() else {
        return;
    };
    let mut bytes = 0;
    kernel::usbnet::frames(chip, burst, &mut |frame| {
        bytes += frame.len();
        // Without a header, a frame is as long as its transfer.
        if chip % 3 != 0 {
            assert!((14..=1518).contains(&frame.len()), "{}", frame.len());
        }
        // Where it landed, byte by byte.
        assert!(burst.windows(frame.len()).any(|part| part == frame));
    });
    assert!(bytes <= burst.len());
});
