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

/// The decimal number that a text begins with, 0 without one, as C's `atoi` has it: in the menu's numbers that decide.
pub(crate) fn leading(text: &str) -> i64 {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, _) = digits.split_at_checked(end).unwrap_or((digits, ""));
    let number = match digits {
        "" => 0,
        digits => digits.parse().unwrap_or(i64::MAX),
    };
    if text.starts_with('-') {
        number.saturating_neg()
    } else {
        number
    }
}
