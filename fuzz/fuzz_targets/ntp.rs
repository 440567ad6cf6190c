//! Answers of NTP servers: the time, a refusal, or nothing of ours.
#![no_main]

use boot::ntp::{Error, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let stamp: [u8; 8] = data
        .get(24..32)
        .map_or([0; 8], |stamp| stamp.try_into().expect("eight bytes"));
    let answer = parse(data, &stamp);
    match &answer {
        None => {}
        // Era 0 begins with its second half, in 1968; era 1 ends its first in 2104.
        Some(Ok(seconds)) => {
            assert!(*seconds <= 0x1_7fff_ffff - 2_208_988_800 && data[40..44] != [0; 4]);
        }
        Some(Err(Error::Kiss(code))) => {
            assert!(code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_graphic()), "{code:?}");
        }
        Some(Err(Error::Unsynchronised)) => assert!(data[0] >> 6 == 3 || data[1] > 15 || data[40..44] == [0; 4]),
        Some(Err(error)) => panic!("{error} cannot be said"),
    }
    // Only who repeats all of the question is believed.
    for byte in 0..8 {
        let mut other = stamp;
        other[byte] ^= 1;
        assert_eq!(parse(data, &other), None);
    }
});
