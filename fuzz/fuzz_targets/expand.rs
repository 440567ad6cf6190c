//! The expander: bounded expansions and heap, nothing left that could be expanded, plain words as they were.
#![no_main]

use boot::script::line::{self, MAX_EXPANSIONS, MAX_WORD};
use fuzz::within;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // The word, then the values of its settings.
    let mut parts = text.split('\n');
    let word = parts.next().unwrap_or_default();
    let values: Vec<&str> = parts.collect();
    let (mut asked, mut given) = (0, 0);
    let expanded = within(8 * MAX_WORD, || {
        line::expand(word, &mut |name| {
            asked += 1;
            assert!(!name.contains("${") && !name.contains('}'));
            let value = values.get(name.len().checked_rem(values.len()).unwrap_or(0));
            let value = value.copied().unwrap_or_default();
            // A word may go round for as long as it likes, but one that grows to 64 KiB takes the time of thousands.
            given += value.len();
            if given > 256 && value.len() > 4 {
                return String::new();
            }
            value.to_owned()
        })
    });
    assert!(asked <= MAX_EXPANSIONS);
    if !word.contains("${") {
        assert_eq!(expanded.as_deref(), Ok(word));
    }
    let Ok(expanded) = expanded else { return };
    assert!(expanded.len() <= MAX_WORD.max(word.len()));
    let again = line::expand(&expanded, &mut |_| panic!("{expanded:?} is not done"));
    assert_eq!(again.as_deref(), Ok(&*expanded));
});
