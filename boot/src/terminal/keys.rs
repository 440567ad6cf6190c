//! Keys, told from noise by the silence around them (ECMA-48, with what xterm, VT220 and the Linux console send).
//!
//! Bytes that arrive without a pause are one burst. A burst counts only when every byte belongs to a key; a reader may also
//! demand that every key does something in its place (D-28).

use alloc::vec::Vec;
use core::mem;

use smoltcp::time::{Duration, Instant};

use super::Size;
use crate::text::is_plain;

/// A burst ends after this silence (D-28).
pub(crate) const SILENCE: Duration = Duration::from_millis(20);

/// A key, or a terminal's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A character that is printable and one column wide.
    Character(char),
    /// Any other control character: 1 is Ctrl-A.
    Control(u8),
    Enter,
    Tab,
    /// Shift-Tab.
    BackTab,
    Escape,
    Backspace,
    Delete,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    /// F1 to F12.
    Function(u8),
    /// Not a key but the terminal's answer to a size question; it is no sign of a person.
    Size(Size),
}

impl Key {
    /// Ctrl-C.
    pub(crate) const INTERRUPT: Self = Self::Control(3);
    /// Ctrl-L.
    pub(crate) const REDRAW: Self = Self::Control(0x0c);

    /// The key's number in scripts.
    pub(crate) fn code(self) -> Option<u32> {
        Some(match self {
            Self::Character(c) => c.into(),
            Self::Control(byte) => byte.into(),
            Self::Enter => 0x0d,
            Self::Tab => 0x09,
            Self::Escape => 0x1b,
            Self::Backspace => 0x08,
            _ => return None,
        })
    }
}

/// The bytes since the last silence.
#[derive(Debug)]
pub(crate) struct Burst {
    /// At most `limit` bytes and one more, which says that the burst was too long.
    bytes: Vec<u8>,
    limit: usize,
    last: Instant,
}

impl Burst {
    /// An empty burst; more than `limit` bytes without a pause are not keys.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            last: Instant::ZERO,
        }
    }

    /// Whether bytes wait for the silence that ends them.
    pub(crate) fn waits(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Sets another limit.
    pub(crate) fn limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(crate) fn push(&mut self, byte: u8, now: Instant) {
        if self.bytes.len() <= self.limit {
            self.bytes.push(byte);
        }
        self.last = now;
    }

    /// The keys of the burst, once the line is silent; empty when it held anything but keys, or was too long.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Key> {
        if self.bytes.is_empty() || now < self.last + SILENCE {
            return Vec::new();
        }
        let bytes = mem::take(&mut self.bytes);
        if bytes.len() > self.limit {
            return Vec::new();
        }
        keys(&bytes).unwrap_or_default()
    }
}

/// `bytes` as keys; `None` when any byte belongs to no key.
pub(crate) fn keys(mut bytes: &[u8]) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        let (key, rest) = key(bytes)?;
        keys.push(key);
        bytes = rest;
    }
    Some(keys)
}

/// The key that `bytes` begin with, and what follows it.
fn key(bytes: &[u8]) -> Option<(Key, &[u8])> {
    Some(match bytes {
        [b'\r', b'\n', rest @ ..] | [b'\r' | b'\n', rest @ ..] => (Key::Enter, rest),
        [b'\t', rest @ ..] => (Key::Tab, rest),
        [0x08 | 0x7f, rest @ ..] => (Key::Backspace, rest),
        [0x1b] => (Key::Escape, &[]),
        // The Linux console's F1 to F5.
        [0x1b, b'[', b'[', n @ b'A'..=b'E', rest @ ..] => (Key::Function(n.wrapping_sub(b'@')), rest),
        [0x1b, b'[', rest @ ..] => control_sequence(rest)?,
        [0x1b, b'O', c, rest @ ..] => (cursor_key(*c).or_else(|| keypad_key(*c))?, rest),
        [0x1b, ..] => return None,
        [c @ 0..=0x1f, rest @ ..] => (Key::Control(*c), rest),
        _ => {
            let chunk = bytes.utf8_chunks().next()?;
            let c = chunk.valid().chars().next().filter(|c| is_plain(*c))?;
            (Key::Character(c), bytes.get(c.len_utf8()..)?)
        }
    })
}

/// What follows `ESC [`: numbers, and the byte that says what they mean.
fn control_sequence(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let end = bytes.iter().position(|c| !matches!(c, b'0'..=b'9' | b';'))?;
    let (numbers, rest) = bytes.split_at_checked(end)?;
    let (last, rest) = rest.split_first()?;
    let numbers = core::str::from_utf8(numbers).ok()?;
    let key = match (last, numbers.split_once(';')) {
        (b'R', Some((row, column))) => Key::Size(Size::told(row.parse().ok()?, column.parse().ok()?)),
        (b'~', None) => match numbers.parse::<u8>().ok()? {
            1 | 7 => Key::Home,
            4 | 8 => Key::End,
            3 => Key::Delete,
            5 => Key::PageUp,
            6 => Key::PageDown,
            n @ 11..=15 => Key::Function(n.wrapping_sub(10)),
            n @ 17..=21 => Key::Function(n.wrapping_sub(11)),
            n @ 23..=24 => Key::Function(n.wrapping_sub(12)),
            _ => return None,
        },
        (b'Z', None) if numbers.is_empty() => Key::BackTab,
        (c, None) if numbers.is_empty() => cursor_key(*c)?,
        _ => return None,
    };
    Some((key, rest))
}

fn cursor_key(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        _ => return None,
    })
}

fn keypad_key(last: u8) -> Option<Key> {
    Some(match last {
        b'M' => Key::Enter,
        b'P' => Key::Function(1),
        b'Q' => Key::Function(2),
        b'R' => Key::Function(3),
        b'S' => Key::Function(4),
        _ => return None,
    })
}

/// For the fuzz target: of each key the character that it is, and its number in scripts.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn pressed(bytes: &[u8]) -> Option<Vec<(Option<char>, Option<u32>)>> {
    let character = |key| match key {
        Key::Character(c) => Some(c),
        _ => None,
    };
    Some(
        keys(bytes)?
            .into_iter()
            .map(|key| (character(key), key.code()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_waits_until_the_silence_that_ends_it() {
        let mut burst = Burst::new(8);
        assert!(!burst.waits());
        burst.push(b'x', Instant::ZERO);
        assert!(burst.waits());
        assert_eq!(burst.take(Instant::ZERO), []);
        assert!(burst.waits());
        assert_eq!(burst.take(Instant::ZERO + SILENCE), [Key::Character('x')]);
        assert!(!burst.waits());
    }

    #[test]
    fn what_terminals_send() {
        for (bytes, keys_expected) in [
            (&b"\r\n\r\n\n"[..], &[Key::Enter; 3][..]),
            (
                b"a\xc3\xbc~",
                &[Key::Character('a'), Key::Character('ü'), Key::Character('~')],
            ),
            (b"\x1b", &[Key::Escape]),
            (
                b"\x1b[A\x1bOB\x1b[C\x1b[D",
                &[Key::Up, Key::Down, Key::Right, Key::Left],
            ),
            (
                b"\x1b[1~\x1b[H\x1bOF\x1b[8~",
                &[Key::Home, Key::Home, Key::End, Key::End],
            ),
            (
                b"\x08\x7f\x1b[3~\t\x1b[Z",
                &[
                    Key::Backspace,
                    Key::Backspace,
                    Key::Delete,
                    Key::Tab,
                    Key::BackTab,
                ],
            ),
            (b"\x1bOP\x1b[11~\x1b[[A", &[Key::Function(1); 3]),
            (
                b"\x1b[15~\x1b[17~\x1b[21~\x1b[24~",
                &[
                    Key::Function(5),
                    Key::Function(6),
                    Key::Function(10),
                    Key::Function(12),
                ],
            ),
            (b"\x03\x0c\0", &[Key::INTERRUPT, Key::REDRAW, Key::Control(0)]),
            (
                b"\x1b[40;132R",
                &[Key::Size(Size {
                    rows: 40,
                    columns: 132,
                })],
            ),
        ] {
            assert_eq!(keys(bytes).as_deref(), Some(keys_expected), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_key_spoils_all_around_it() {
        for bytes in [
            &b"a\x80"[..],
            b"\xc3",
            b"\xe4\xb8\xad",
            b"\xc2\x9b",
            b"\x1b\r",
            b"\x1b[",
            b"\x1b[31m",
            b"\x1b[2~",
            b"\x1b[16~",
            b"\x1b[1;5A",
            b"\x1b[R",
            b"\x1b[;R",
            b"\x1b[99999999999999999999999;1R",
            b"\x1bOx",
            b"\x1bO",
            b"a\x1b[",
        ] {
            assert_eq!(keys(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_burst_ends_with_silence_and_is_nothing_when_too_long() {
        let at = |millis| Instant::from_millis(millis);
        let mut burst = Burst::new(3);
        assert!(burst.take(at(1000)).is_empty());
        for (millis, byte) in [(0, 0x1b), (1, b'['), (2, b'A')] {
            burst.push(byte, at(millis));
        }
        assert!(burst.take(at(21)).is_empty());
        assert_eq!(burst.take(at(22)), [Key::Up]);
        (0..1000).for_each(|i| burst.push(b'a', at(100 + i)));
        assert_eq!(burst.bytes.len(), 4);
        assert!(burst.take(at(2000)).is_empty() && burst.bytes.is_empty());
    }
}
