//! `cmdline.txt`: our settings on it, and what the kernel's command line keeps of it.
#![no_main]

use boot::Settings;
use fuzz::within;
use libfuzzer_sys::fuzz_target;

/// The longest that Linux takes, with its NUL.
const LIMIT: usize = 2048;

fn words(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
    .collect()
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (entry, firmware) = text.split_once('\n').unwrap_or(("", &text));
    let settings = within(64 * 1024 + 32 * data.len(), || Settings::from_bootargs(firmware));
    assert!(settings.url.is_none_or(|url| !url.is_empty()));
    assert_ne!(settings.attempts, Some(0));
    let sent = settings.platform.iter().chain(&settings.user_class);
    for word in sent {
        assert!(word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_graphic()), "{word:?}");
    }

    // Blanks that only Unicode knows, and the vertical tab, are trimmed and separate nothing.
    if text.chars().any(|c| c.is_whitespace() && !c.is_ascii_whitespace()) {
        return;
    }
    let merge = |entry: &str| within(64 * 1024 + 128 * data.len(), || boot::merge(entry, firmware));
    let Ok(merged) = merge(entry) else {
        assert!(entry.contains('\0') || entry.trim().len() >= LIMIT);
        return;
    };
    assert!(merged.len() < LIMIT && !merged.contains('\0'), "{merged:?}");
    // The entry's own is there in its order, and what was added the firmware had.
    let mut left = words(entry.trim()).into_iter().peekable();
    for word in words(&merged) {
        if left.peek() == Some(&word) {
            left.next();
        } else {
            assert!(words(firmware).contains(&word), "{word:?} is nobody's");
            assert!(!word.starts_with("bramble.") && !word.starts_with("root=") && !word.starts_with("init="));
        }
    }
    assert_eq!(left.next(), None, "lost of {entry:?}: {merged:?}");
    // Nothing is added twice.
    assert_eq!(merge(&merged).as_deref().map(words), Ok(words(merged.trim())));
});
