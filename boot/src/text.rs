//! Text that others chose, made fit for people to read: a terminal would obey control characters. Everything of the kind is here.

use alloc::string::String;

/// `text` in ASCII: everything else becomes `?`.
pub(crate) fn ascii(text: &str) -> String {
    text.chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect()
}

/// Bytes that should be text, in ASCII; everything else becomes `?`.
pub(crate) fn ascii_bytes(bytes: &[u8], most: usize) -> String {
    let char_of = |byte: &u8| {
        if matches!(byte, b' '..=b'~') {
            char::from(*byte)
        } else {
            '?'
        }
    };
    bytes.iter().take(most).map(char_of).collect()
}

/// `text` without control characters, which become `?`.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Whether a character may be written to the terminal: printable, one column wide, no effect on its neighbours.
pub(crate) fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{24f}')
}

/// `text` as it may reach a terminal: ASCII and Latin letters, `?` for the rest, in `columns` at most.
pub(crate) fn printable(text: &str, columns: usize) -> String {
    text.chars().take(columns).map(shown).collect()
}

/// `text` as a line holds a name: in 70 columns at most.
pub(crate) fn shortened(text: &str) -> String {
    printable(text, 70)
}

/// A character as it may reach a terminal.
pub(crate) fn shown(c: char) -> char {
    match c {
        c if is_plain(c) => c,
        '\t' => ' ',
        _ => '?',
    }
}
