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

/// The first characters of `text`, `most` at most, with control characters as Rust writes them (`\r`), so that a reader sees which it holds.
pub(crate) fn escaped(text: &str, most: usize) -> String {
    let mut escaped = String::new();
    for c in text.chars().take(most) {
        if c.is_control() {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Something that is shown in a line of the log. Control characters, which a terminal would obey or a line end with, become `?`, and secrets
/// `***`: whoever prints need not think of either (D-178).
#[doc(hidden)]
pub struct Clean<'a>(pub &'a dyn fmt::Display);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mask = Mask::new(f);
        let mut deaf = Deaf {
            mask: &mut mask,
            room: LONGEST_SHOWN,
        };
        write!(deaf, "{}", self.0)?;
        if deaf.room > 0 {
            return mask.release();
        }
        // What is held may be half a secret.
        f.write_str("...")
    }
}

/// Characters of one thing that a line of the log shows. A kernel's command line has no more; a line of a serial terminal that does not end
/// would be time that a boot has not.
const LONGEST_SHOWN: usize = 4096;

/// Passes on what no terminal obeys, and not too much of it.
struct Deaf<'m, 'o> {
    mask: &'m mut Mask<'o>,
    room: usize,
}

impl fmt::Write for Deaf<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let Some(room) = self.room.checked_sub(1) else {
                break;
            };
            self.room = room;
            self.mask.push(if is_obeyed(c) { '?' } else { c })?;
        }
        Ok(())
    }
}

/// Whether a terminal obeys a character, be it set to UTF-8 or to eight bits: there a byte from 80 to 9F is a control character
/// (`Ý…Ü` would be an order to the operating system; ECMA-48).
fn is_obeyed(c: char) -> bool {
    let mut bytes = [0; 4];
    let mut bytes = c.encode_utf8(&mut bytes).bytes();
    c.is_control() || bytes.any(|byte| matches!(byte, 0x80..=0x9f))
}

/// `text` with its secrets as `***`.
#[doc(hidden)]
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut mask = Mask::new(&mut out);
    // Writing to a string cannot fail.
    let _ = text
        .chars()
        .try_for_each(|c| mask.push(c))
        .and_then(|()| mask.release());
    out
}

/// The longest word that is looked at, in characters; of a longer authority of a URL nothing is shown.
const LONGEST_WORD: usize = 320;

/// What names of secrets have in them.
const SECRETS: [&str; 3] = ["passw", "secret", "token"];

/// Whether a name, whose characters these are, says that it is a secret's.
fn names_a_secret(at: &dyn Fn(usize) -> Option<char>) -> bool {
    SECRETS.iter().any(|secret| {
        let mut starts = (0_usize..).take_while(|start| at(*start).is_some());
        starts.any(|start| {
            let mut letters = secret.chars().enumerate();
            letters.all(|(n, letter)| {
                let there = at(start.saturating_add(n));
                there.is_some_and(|c| c.to_ascii_lowercase() == letter)
            })
        })
    })
}

/// Whether a setting of this name is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    names_a_secret(&|at| name.as_bytes().get(at).copied().map(char::from))
}

/// Makes `***` of secrets in what is pushed, as it comes: of user information in URLs, be they right or not quite, and of values whose
/// names say that they are secret (D-194).
struct Mask<'o> {
    out: &'o mut dyn fmt::Write,
    within: Within,
    /// What may be a secret, until it is known: a word so far, or an authority.
    held: [char; LONGEST_WORD],
    len: usize,
    /// The character before it.
    last: char,
}

/// Where in a text a mask is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// In a word, which is held. Each part of a path is one.
    Word,
    /// In a word that is too long for a secret without a slash.
    Rest,
    /// In an authority, which is held.
    Authority,
    /// In an authority that is too long; whether its `@` has come.
    Long(bool),
    /// Behind an authority that ended at a blank, which may stand in a password: what follows is held up to its `@`.
    Torn,
    /// In the value of a secret.
    Secret,
    /// In one between quotes.
    Quoted(char),
    /// In an order to the terminal, which stays whole.
    Order,
}

impl<'o> Mask<'o> {
    fn new(out: &'o mut dyn fmt::Write) -> Self {
        Self {
            out,
            within: Within::Word,
            held: [' '; LONGEST_WORD],
            len: 0,
            last: ' ',
        }
    }

    fn push(&mut self, c: char) -> fmt::Result {
        let breaks = matches!(c, ' ' | '\t' | '\r' | '\n' | '"' | '\'' | '<' | '>');
        let parts = breaks || matches!(c, '/' | '=' | ',' | ';' | '(' | ')' | '?' | '#' | '&' | '|');
        let next = match self.within {
            // One slash is enough behind a colon: it may be a typing error.
            Within::Word
                if c == '/' && (self.held().ends_with(&[':']) || self.len == 0 && self.last == '/') =>
            {
                Within::Authority
            }
            Within::Word | Within::Torn if c == '=' && self.names_a_secret() => Within::Secret,
            Within::Torn if breaks && !matches!(c, ' ' | '\t') => Within::Word,
            Within::Torn if c == '@' => {
                self.within = Within::Authority;
                return self.hold(c);
            }
            Within::Word | Within::Rest if c == '\x1b' => Within::Order,
            Within::Order if c != '[' && matches!(c, '@'..='~') => Within::Word,
            Within::Order => Within::Order,
            Within::Word | Within::Rest if parts => Within::Word,
            Within::Authority if matches!(c, ' ' | '\t') && self.is_odd() => Within::Torn,
            Within::Authority if breaks => Within::Word,
            Within::Authority if c == '/' && self.len == 0 => Within::Authority,
            Within::Authority if matches!(c, '/' | '?' | '#' | ',' | ';' | ')') && !self.is_odd() => {
                Within::Word
            }
            Within::Word | Within::Authority | Within::Torn => return self.hold(c),
            Within::Rest => Within::Rest,
            Within::Long(true) if parts => Within::Word,
            Within::Long(_) if breaks => Within::Word,
            Within::Long(at) => {
                self.within = Within::Long(at || c == '@');
                return Ok(());
            }
            Within::Secret if matches!(c, '"' | '\'') && self.last == '=' => {
                (self.within, self.last) = (Within::Quoted(c), c);
                return Ok(());
            }
            Within::Secret if breaks || c == '&' => Within::Word,
            Within::Quoted(quote) if c == quote => {
                self.within = Within::Word;
                return Ok(());
            }
            Within::Secret | Within::Quoted(_) => {
                self.last = c;
                return Ok(());
            }
        };
        if next == Within::Torn {
            self.len = 0;
            self.out.write_str("***")?;
        } else {
            self.release()?;
        }
        self.within = next;
        self.last = c;
        self.out.write_char(c)?;
        self.out
            .write_str(if next == Within::Secret { "***" } else { "" })
    }

    fn held(&self) -> &[char] {
        self.held.get(..self.len).unwrap_or_default()
    }

    fn hold(&mut self, c: char) -> fmt::Result {
        if let Some(place) = self.held.get_mut(self.len) {
            *place = c;
            self.len = self.len.saturating_add(1);
            return Ok(());
        }
        if self.within == Within::Authority {
            self.within = Within::Long(c == '@' || self.held.contains(&'@'));
            self.len = 0;
            return self.out.write_str("***");
        }
        self.release()?;
        self.within = Within::Rest;
        self.out.write_char(c)
    }

    /// Whether an authority is none yet, for it has a port that is none: a password with a slash in it goes on.
    fn is_odd(&self) -> bool {
        let held = self.held();
        let port = held.iter().rposition(|c| *c == ':');
        let port = port.and_then(|colon| held.get(colon.saturating_add(1)..));
        // The last colon of an address in brackets is none of a port.
        !held.contains(&'@')
            && !held.ends_with(&[']'])
            && port.is_some_and(|port| !port.iter().all(char::is_ascii_digit))
    }

    fn names_a_secret(&self) -> bool {
        names_a_secret(&|at| self.held().get(at).copied())
    }

    /// Writes what is held, without what is in front of its last `@`. In a word that is a secret if there is a colon in it.
    fn release(&mut self) -> fmt::Result {
        let held = self.held.get(..self.len).unwrap_or_default();
        let at = held
            .iter()
            .rposition(|c| *c == '@')
            .filter(|at| self.within == Within::Authority || held.iter().take(*at).any(|c| *c == ':'));
        self.len = 0;
        self.out.write_str(at.map_or("", |_| "***"))?;
        let mut shown = held.iter().skip(at.unwrap_or(0));
        shown.try_for_each(|c| self.out.write_char(*c))
    }
}

/// Whether a character is text, as far as a terminal can have it: printable, one column wide, no effect on its neighbours.
pub(crate) fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{24f}')
}

/// `text` as it may reach a terminal: ASCII and Latin letters, `?` for the rest, in `columns` at most, without secrets.
pub(crate) fn printable(text: &str, columns: usize) -> String {
    masked(text).chars().take(columns).map(shown).collect()
}

/// `text` as a line holds a name: in 70 columns at most.
pub(crate) fn shortened(text: &str) -> String {
    printable(text, 70)
}

/// A character as it may reach a terminal.
pub(crate) fn shown(c: char) -> char {
    match c {
        c if is_plain(c) && !is_obeyed(c) => c,
        '\t' => ' ',
        _ => '?',
    }
}

/// What a script prints, as it may reach a terminal: colours and the cursor are the script's to use. Everything else that a terminal
/// obeys is left out with all that belongs to it: titles, clipboards, printers, questions that it would answer as if typed, resets. What
/// must not be told is made `***`.
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
    masked(&out)
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
            ("from http:/\x1b]x\x07/u:SECRET@h/", "from http://***@h/"),
            (
                "\x1b[6;6Hu:SECRET@h \x1b[0mhttp://u:\x1b[1mSECRET@h/",
                "\x1b[6;6H***@h \x1b[0mhttp://***@h/",
            ),
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
            ("http:///u:p@h", "http:///***@h"),
            // Not quite URLs.
            ("http:/u:SECRET@host/x", "http:/***@host/x"),
            ("http://u:SE/CRET@host/x", "http://***@host/x"),
            ("http://u:SE?C#R,E;T)@host/x", "http://***@host/x"),
            ("htp://u:SECRET@ho st", "htp://***@ho st"),
            ("http://u:SE CRET@host/x y@z", "http://*** ***@host/x y@z"),
            (
                "http://h:80 y@z http://h:o no port",
                "http://h:80 y@z http://*** no port",
            ),
            ("http://u:SE CRET/x@host/y z@z", "http://*** ***@host/y z@z"),
            ("http://u:SE CR ET,S@ECRET@host/y", "http://*** ***@host/y"),
            ("http://u:SE no /path, \"x@y\"", "http://*** no /path, \"x@y\""),
            ("http://u:SE a token=SECRET/ b", "http://*** a token=*** b"),
            ("'http://u:SE' y@z", "'http://u:SE' y@z"),
            ("//SECRET@host/x a/b@c", "//***@host/x a/b@c"),
            ("url=u:SECRET@host/x", "url=***@host/x"),
            ("netroot=iscsi:u:SECRET@host::3260", "netroot=***@host::3260"),
            (
                "http://[::1]/p:q/x@y http://h:80/x@z",
                "http://[::1]/p:q/x@y http://h:80/x@z",
            ),
            // Taken for a path.
            ("http://h/boot/http:/u:SECRET@i/x", "http://h/boot/http:/***@i/x"),
            ("http://h/boot/u:SECRET@i/x", "http://h/boot/***@i/x"),
            ("http://h/boot/password=SECRET", "http://h/boot/password=***"),
            ("http://h:boot/x: no port", "http://h:boot/x: no port"),
            // Values whose names say what they are.
            (
                "http://h/x?a=1&Token=SECRET&b=2 y",
                "http://h/x?a=1&Token=***&b=2 y",
            ),
            ("my_password=a/b:c@d quiet", "my_password=*** quiet"),
            ("key=1 token", "key=1 token"),
            ("password=\"SEC'RET SECRET\" quiet", "password=*** quiet"),
            ("password='SECRET SECRET' quiet", "password=*** quiet"),
            ("password=\"SECRET SECRET", "password=***"),
            ("\"password=SECRET\" quiet", "\"password=***\" quiet"),
            ("Ý52;c;xÜ", "?52;c;x?"),
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
        // As long as nothing says where it ends.
        let long = alloc::format!("http://{}/SECRET@h/x y", "p".repeat(400));
        assert_eq!(clean(&long), "http://***/x y");
        let long = "x".repeat(400);
        assert_eq!(clean(&long), long);
        let line = "word ".repeat(820);
        let most: String = line.chars().take(4095).collect();
        assert_eq!(clean(&most), most);
        assert_eq!(clean(&line), alloc::format!("{most}..."));
        // What is cut is no secret that is half shown.
        let line = alloc::format!("{}http://u:SECRET@h/", "x ".repeat(2041));
        assert!(!clean(&line).contains("SEC"), "{}", clean(&line));
    }
}
