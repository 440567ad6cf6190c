//! URLs: printed and parsed again, and references against them.
#![no_main]

use boot::url::{MAX_LEN, Url};
use fuzz::within;
use libfuzzer_sys::fuzz_target;

fn check(url: &Url) {
    let whole = url.whole();
    assert_eq!(Url::parse(&whole).as_ref(), Ok(url), "{whole}");
    assert!(url.to_string().len() <= MAX_LEN && url.target().starts_with('/'));
    assert!(url.to_string().is_ascii(), "{url}");
    url.credentials();
    url.file();
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (first, reference) = text.split_once('\n').unwrap_or((&text, ""));
    within(64 * 1024 + 16 * data.len(), || {
        let Ok(url) = Url::parse(first) else { return };
        check(&url);
        if let Ok(joined) = url.join(reference) {
            check(&joined);
        }
    });
});
