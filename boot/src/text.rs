//! Text that others chose, made fit for people to read: a terminal would obey control characters. What a reader of menus makes of them is
//! its own (`menu/pxelinux.rs`).

use alloc::string::String;
use core::fmt::{self, Write as _};

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

/// Something that is shown in a line of the log. Control characters, which a terminal would obey or a line end with, become `?`, and of URLs in
/// it user information becomes `***`: whoever prints need not think of either (D-178).
#[doc(hidden)]
pub struct Clean<'a>(pub &'a dyn fmt::Display);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cleaner = Cleaner {
            out: f,
            slashes: 0,
            held: [' '; LONGEST_AUTHORITY],
            len: None,
        };
        write!(cleaner, "{}", self.0)?;
        cleaner.release()
    }
}

/// The longest authority of a URL that is looked at, in characters; of a longer one nothing is shown.
const LONGEST_AUTHORITY: usize = 320;

/// Cleans what is written, piece by piece, as it comes.
struct Cleaner<'c, 'f> {
    out: &'c mut fmt::Formatter<'f>,
    /// Slashes in a row so far.
    slashes: u32,
    /// What may be user information, until it is known; none outside of an authority.
    held: [char; LONGEST_AUTHORITY],
    len: Option<usize>,
}

impl Cleaner<'_, '_> {
    /// The end of an authority: it is shown from its last `@` on.
    fn release(&mut self) -> fmt::Result {
        let Some(len) = self.len.take() else {
            return Ok(());
        };
        let Some(held) = self.held.get(..len) else {
            return self.out.write_str("***");
        };
        let host = held.iter().rposition(|c| *c == '@');
        if host.is_some() {
            self.out.write_str("***")?;
        }
        let shown = held.get(host.unwrap_or(0)..).unwrap_or_default();
        shown.iter().try_for_each(|c| self.out.write_char(*c))
    }
}

impl fmt::Write for Cleaner<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let c = if c.is_control() { '?' } else { c };
            let ends = matches!(
                c,
                '/' | '?' | '#' | ' ' | '"' | '\'' | '<' | '>' | ',' | ';' | ')'
            );
            match self.len {
                Some(len) if !ends => {
                    if let Some(place) = self.held.get_mut(len) {
                        *place = c;
                    }
                    self.len = Some(len.saturating_add(1));
                    continue;
                }
                _ => self.release()?,
            }
            self.out.write_char(c)?;
            self.slashes = if c == '/' {
                self.slashes.saturating_add(1)
            } else {
                0
            };
            if self.slashes == 2 {
                self.len = Some(0);
            }
        }
        Ok(())
    }
}

/// Whether a character is text, as far as a terminal can have it: printable, one column wide, no effect on its neighbours.
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

/// A character as it may reach a terminal, be that set to UTF-8 or to eight bits: there a byte from 80 to 9F is a control character, so
/// letters that have one are none (`Ý…Ü` would be an order to the operating system; ECMA-48).
pub(crate) fn shown(c: char) -> char {
    let mut bytes = [0; 4];
    let is_control = |byte: u8| matches!(byte, 0x80..=0x9f);
    match c {
        c if is_plain(c) && !c.encode_utf8(&mut bytes).bytes().any(is_control) => c,
        '\t' => ' ',
        _ => '?',
    }
}

/// What a script prints, as it may reach a terminal: colours and the cursor are the script's to use. Everything else that a terminal
/// obeys is left out with all that belongs to it: titles, clipboards, printers, questions that it would answer as if typed, resets.
pub(crate) fn of_a_script(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\n' => out.push_str("\r\n"),
            '\x08' | '\r' | '\t' => out.push(c),
            '\x1b' => {
                let sequence = sequence(&mut rest);
                if !sequence.is_empty() {
                    out.push(c);
                    out.push_str(sequence);
                }
            }
            c if c.is_control() => {}
            c => out.push(shown(c)),
        }
    }
    out
}

/// The longest sequence of a terminal that is passed on, in bytes.
const LONGEST_SEQUENCE: usize = 32;

/// Takes what follows an escape character. Returns the sequence without it, when that is one for colours or the cursor.
fn sequence<'t>(rest: &mut core::str::Chars<'t>) -> &'t str {
    let text = rest.as_str();
    match rest.next() {
        Some('[') => {
            let len = text.bytes().skip(1).position(|byte| matches!(byte, b'@'..=b'~'));
            // Without an end it would swallow what comes next.
            let Some(len) = len
                .map(|len| len.saturating_add(2))
                .filter(|len| *len <= LONGEST_SEQUENCE)
            else {
                return "";
            };
            let (sequence, after) = text.split_at_checked(len).unwrap_or_default();
            *rest = after.chars();
            let (numbers, last) = sequence
                .split_at_checked(len.saturating_sub(1))
                .unwrap_or_default();
            let is_plain = numbers
                .bytes()
                .skip(1)
                .all(|byte| byte.is_ascii_digit() || byte == b';');
            let moves = matches!(
                last,
                "m" | "A" | "B" | "C" | "D" | "E" | "F" | "G" | "H" | "J" | "K" | "d" | "f" | "s" | "u"
            );
            if is_plain && moves { sequence } else { "" }
        }
        // Strings, which end with BEL or ST.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let end = text.find(['\x07', '\x1b', '\u{9c}']).unwrap_or(text.len());
            let after = text.get(end..).unwrap_or_default();
            *rest = after
                .strip_prefix("\x1b\\")
                .or_else(|| after.strip_prefix('\x07'))
                .unwrap_or(after)
                .chars();
            ""
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn letters_whose_bytes_an_old_terminal_would_obey_are_not_shown() {
        assert_eq!(
            printable("für Ýö;c;…ÜÛ\u{100}\u{120}", 80),
            "für ?ö;c;????\u{120}"
        );
        for c in (' '..='\u{3000}').map(shown) {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            assert!(
                bytes
                    .into_iter()
                    .all(|byte| byte >= 0x20 && !matches!(byte, 0x7f..=0x9f)),
                "{c:?}"
            );
        }
    }

    #[test]
    fn a_script_moves_the_cursor_and_colours_and_nothing_else() {
        let kept = "a\x1b[31;1mred\x1b[0m\x1b[2J\x1b[H\x1b[10;20Hx\x1b[K\x08\r\t";
        assert_eq!(of_a_script(kept), kept);
        for (hostile, left) in [
            ("a\x1b]0;title\x07b", "ab"),
            ("a\x1b]52;c;cm0gLXJm\x1b\\b", "ab"),
            ("a\x1bPq#0\x1b\\b", "ab"),
            ("a\x1b_x\x1b\\b\x1b^y\x1b\\c\x1bXz\x1b\\d", "abcd"),
            ("a\x1b]no end", "a"),
            ("a\x1b[5ib\x1b[4i", "ab"),
            ("a\x1b[6nb\x1b[cb\x1b[?1049hb\x1b[>0qb", "abbbb"),
            ("a\x1bcb\x1b7c\x1b#8", "abc8"),
            ("a\x1b[1\x1b[31mb", "a31mb"),
            ("a\u{9b}31mb\u{9d}52;x\u{9c}", "a31mb52;x"),
            ("a\x1b", "a"),
            ("a\x1b[", "a"),
            ("Ý52;c;xÜ", "?52;c;x?"),
            ("\n\u{7f}\0b", "\r\nb"),
        ] {
            assert_eq!(of_a_script(hostile), left, "{hostile:?}");
        }
        let long = alloc::format!("a\x1b[{}mb", "1;".repeat(40));
        assert!(!of_a_script(&long).contains('\x1b'));
    }

    #[test]
    fn a_line_of_the_log_has_no_passwords_and_obeys_nobody() {
        let clean = |text: &str| alloc::format!("{}", Clean(&text));
        for (text, shown) in [
            ("http://u:SECRET@host/x", "http://***@host/x"),
            (
                "ks=http://u:SEC@RET@host:80/ quiet",
                "ks=http://***@host:80/ quiet",
            ),
            ("a \"tftp://u@h\" b", "a \"tftp://***@h\" b"),
            ("http://host/p@th http://u:p@h", "http://host/p@th http://***@h"),
            ("//u:p@h?x=//v:w@i#", "//***@h?x=//***@i#"),
            ("root=nfs:h:/a user@host", "root=nfs:h:/a user@host"),
            ("http://", "http://"),
            ("http:///u:p@h", "http:///u:p@h"),
            ("x\x1b[2J\n\r\t\u{9b}31m\u{7f}y", "x?[2J????31m?y"),
        ] {
            assert_eq!(clean(text), shown);
        }
        // In pieces, too.
        let pieces = format_args!("{}{}{}{}", "htt", "p:/", "/u:SE", "CRET@h/").to_string();
        assert_eq!(clean(&pieces), "http://***@h/");
        struct Pieces;
        impl fmt::Display for Pieces {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                "http://u:SECRET@h/".chars().try_for_each(|c| write!(f, "{c}"))
            }
        }
        assert_eq!(alloc::format!("{}", Clean(&Pieces)), "http://***@h/");
        let long = alloc::format!("http://{}@h/x", "p".repeat(400));
        assert_eq!(clean(&long), "http://***/x");
    }
}
