//! The VideoCore's answers to property messages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let word = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
    for len in 0..=12 {
        let mut words = vec![0x5a5a_5a5a; len];
        let answered = kernel::mailbox::answer(data, &mut words).is_some();
        if answered {
            assert_eq!(word(4), Some(0x8000_0000));
            assert!(word(16).is_some_and(|word| word > 0x8000_0000));
            assert!((0..len).all(|i| word(20 + 4 * i) == Some(words[i])));
        }
    }
});
