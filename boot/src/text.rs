//! Text that others chose, made fit for a line that people read: a terminal would obey control characters.

use alloc::string::String;

/// `text` in ASCII: everything else becomes `?`.
pub(crate) fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect()
}

/// `text` without control characters, which become `?`.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
