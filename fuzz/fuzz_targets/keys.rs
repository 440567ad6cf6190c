//! What a terminal sends: keys, or noise as a whole.
#![no_main]

use fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(keys) = within(4096 + 32 * data.len(), || boot::keys(data)) else {
        return;
    };
    assert!(keys.len() <= data.len() && keys.is_empty() == data.is_empty());
    // Characters are those that were sent, in their order.
    let text = String::from_utf8_lossy(data);
    let mut sent = text.chars();
    for (character, code) in keys {
        if let Some(character) = character {
            assert!(!character.is_control() && code == Some(character.into()), "{character:?}");
            assert!(sent.any(|one| one == character), "{character:?} was not sent");
        }
        assert!(character.is_some() || code.is_none_or(|code| code < 0x20), "{code:?}");
    }
});
