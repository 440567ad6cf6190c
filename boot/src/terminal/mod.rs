//! The serial terminal as a person has it: keys, a line to type, a form, progress (ECMA-48, 80×24 when it does not say).

pub(crate) mod editor;
pub(crate) mod form;
pub(crate) mod keys;
pub(crate) mod progress;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::mem;

use smoltcp::time::Duration;

use crate::hal::Console;
use crate::text::{masked, printable, shown};

/// Asks the terminal for its size, and leaves the cursor where it was. It sends the cursor far beyond the last row and column
/// and asks for its position; the answer is a [`keys::Key::Size`].
pub(crate) const ASK_SIZE: &str = "\x1b7\x1b[999;999H\x1b[6n\x1b8";

/// How big a terminal is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Size {
    /// What every terminal can show.
    pub(crate) const DEFAULT: Self = Self {
        rows: 24,
        columns: 80,
    };

    /// The size that a terminal answered, kept within bounds, because noise can look like an answer.
    pub(crate) fn told(rows: usize, columns: usize) -> Self {
        Self {
            rows: rows.clamp(12, 100),
            columns: columns.clamp(20, 200),
        }
    }
}

/// `text` in lines of `columns` at most, without secrets, broken between words; only a word that is longer than a line is broken itself.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut width: usize = 0;
    for word in masked(text).split(' ') {
        let len = word.chars().count();
        let joined = width.saturating_add(1).saturating_add(len);
        if width > 0 && joined > columns {
            lines.push(mem::take(&mut line));
            width = 0;
        } else if width > 0 {
            line.push(' ');
            width = width.saturating_add(1);
        }
        for c in word.chars() {
            if width >= columns.max(1) {
                lines.push(mem::take(&mut line));
                width = 0;
            }
            line.push(shown(c));
            width = width.saturating_add(1);
        }
    }
    lines.push(line);
    lines
}

/// Names in columns of equal width, as many as `columns` hold.
pub(crate) fn in_columns(names: &[&str], columns: usize) -> String {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let width = longest.saturating_add(2);
    let per_row = columns.saturating_sub(1).checked_div(width).unwrap_or(1).max(1);
    let mut text = String::new();
    for row in names.chunks(per_row) {
        let mut line = String::new();
        for name in row {
            put(&mut line, format_args!("  {name:<longest$}"));
        }
        put(&mut text, format_args!("{}\n", line.trim_end()));
    }
    text
}

/// The sign for `count` lines out of view, `indent` columns from the left if `columns` has room; empty when `count` is 0.
pub(crate) fn more(count: usize, place: &str, indent: usize, columns: usize) -> String {
    if count == 0 {
        return String::new();
    }
    let sign = format!("({count} more {place})");
    let indent = indent.min(columns.saturating_sub(sign.len()));
    printable(&format!("{:indent$}{sign}", ""), columns)
}

/// The column that the cursor is in, from 0, when `text` was written from column `from`. Control sequences that move it
/// are not followed.
pub(crate) fn column_after(from: usize, text: &str) -> usize {
    let mut column = from;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\r' => column = 0,
            '\x08' => column = column.saturating_sub(1),
            '\x1b' => {
                if chars.as_str().starts_with('[') {
                    chars.next();
                    chars.find(|c| matches!(c, '@'..='~'));
                } else {
                    chars.next();
                }
            }
            c if c.is_control() => {}
            _ => column = column.saturating_add(1),
        }
    }
    column
}

/// Adds text.
pub(crate) fn put(out: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

/// Enough of a VT102 for what is drawn here: CR, LF with a scroll region, BS, CSI H, J, K, m, n, r, ESC 7, ESC 8.
#[cfg(test)]
pub(crate) mod screen {
    use super::Size;

    pub(crate) struct Terminal {
        rows: Vec<Vec<char>>,
        pub(crate) size: Size,
        pub(crate) row: usize,
        pub(crate) column: usize,
        saved: (usize, usize),
        pub(crate) region: (usize, usize),
        /// How often it was asked for its size.
        pub(crate) asked: usize,
    }

    impl Terminal {
        pub(crate) fn new() -> Self {
            Self::of(Size::DEFAULT)
        }

        pub(crate) fn of(size: Size) -> Self {
            Self {
                rows: vec![vec![' '; size.columns]; size.rows],
                size,
                row: 0,
                column: 0,
                saved: (0, 0),
                region: (0, size.rows - 1),
                asked: 0,
            }
        }

        /// Shows what was written, and takes it away.
        pub(crate) fn show(&mut self, out: &mut String) {
            let text = std::mem::take(out);
            let mut chars = text.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\r' => self.column = 0,
                    '\x08' => self.column = self.column.checked_sub(1).expect("BS in the first column"),
                    '\n' if self.row == self.region.1 => {
                        self.rows.remove(self.region.0);
                        self.rows.insert(self.region.1, vec![' '; self.size.columns]);
                    }
                    '\n' => self.row = (self.row + 1).min(self.size.rows - 1),
                    '\x1b' => match chars.next().unwrap() {
                        '7' => self.saved = (self.row, self.column),
                        '8' => (self.row, self.column) = self.saved,
                        '[' => {
                            let mut numbers = String::new();
                            let end = loop {
                                match chars.next().unwrap() {
                                    c if c.is_ascii_digit() || c == ';' => numbers.push(c),
                                    c => break c,
                                }
                            };
                            self.control(end, numbers.split(';').filter_map(|n| n.parse().ok()).collect());
                        }
                        other => panic!("ESC {other}"),
                    },
                    c if c.is_control() => panic!("{c:?} reached the terminal"),
                    c => {
                        assert!(
                            self.column < self.size.columns,
                            "line wraps: {}",
                            self.line(self.row)
                        );
                        self.rows[self.row][self.column] = c;
                        self.column += 1;
                    }
                }
            }
        }

        fn control(&mut self, end: char, numbers: Vec<usize>) {
            match (end, numbers.as_slice()) {
                ('H', []) => (self.row, self.column) = (0, 0),
                ('H', &[row, column]) => {
                    let last = (self.size.rows - 1, self.size.columns - 1);
                    (self.row, self.column) = ((row - 1).min(last.0), (column - 1).min(last.1));
                }
                ('J', [2]) => self.rows.fill(vec![' '; self.size.columns]),
                ('K', []) => self.rows[self.row][self.column..].fill(' '),
                ('m', [] | [7]) => {}
                ('n', [6]) => self.asked += 1,
                ('r', []) => (self.region, self.row, self.column) = ((0, self.size.rows - 1), 0, 0),
                ('r', &[top, bottom]) => {
                    assert!(top < bottom && bottom <= self.size.rows);
                    (self.region, self.row, self.column) = ((top - 1, bottom - 1), 0, 0);
                }
                other => panic!("CSI {other:?}"),
            }
        }

        pub(crate) fn line(&self, row: usize) -> String {
            self.rows[row].iter().collect::<String>().trim_end().to_string()
        }

        pub(crate) fn lines(&self) -> Vec<String> {
            let mut lines: Vec<_> = (0..self.size.rows).map(|row| self.line(row)).collect();
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            lines
        }
    }
}

/// How long the console is left alone while a menu waits; the network is polled meanwhile.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// Hands over what the console has now; a bounded amount, for a line that never falls silent.
pub(crate) fn read(console: &mut dyn Console, mut take: impl FnMut(u8)) {
    for _ in 0..64 {
        let Ok(ready) = console.read_ready();
        let mut byte = [0];
        if !ready || console.read(&mut byte) != Ok(1) {
            return;
        }
        let [byte] = byte;
        take(byte);
    }
}

pub(crate) fn write(console: &mut dyn Console, output: &mut String) {
    let mut rest = output.as_bytes();
    while let Ok(written @ 1..) = console.write(rest) {
        rest = rest.get(written..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
    }
    output.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_characters_reach_the_terminal() {
        let text = "F\u{fc}r \x1b[2J\u{202e}\u{9b}31m\u{4e2d}\t\u{ad}x";
        assert_eq!(printable(text, 80), "F\u{fc}r ?[2J??31m? ?x");
        assert_eq!(printable(text, 3), "F\u{fc}r");
    }

    #[test]
    fn lines_are_broken_between_words() {
        for (text, columns, lines) in [
            (
                "fetch: GET http://a/b: 404 Not Found",
                20,
                &["fetch: GET", "http://a/b: 404 Not", "Found"][..],
            ),
            ("one two", 7, &["one two"]),
            ("one two", 6, &["one", "two"]),
            ("abcdefgh ij", 3, &["abc", "def", "gh", "ij"]),
            ("x abcdefgh", 3, &["x", "abc", "def", "gh"]),
            ("a\x1bb", 80, &["a?b"]),
            ("", 80, &[""]),
            ("ab", 0, &["a", "b"]),
        ] {
            assert_eq!(wrapped(text, columns), lines, "{text:?} in {columns}");
        }
    }

    #[test]
    fn names_stand_in_columns_and_no_row_is_longer_than_the_terminal() {
        let names = ["a", "bcd", "ef", "g"];
        assert_eq!(in_columns(&names, 80), "  a    bcd  ef   g\n");
        assert_eq!(in_columns(&names, 16), "  a    bcd  ef\n  g\n");
        assert_eq!(in_columns(&names, 15), "  a    bcd\n  ef   g\n");
        assert_eq!(in_columns(&names, 1), "  a\n  bcd\n  ef\n  g\n");
        assert_eq!(in_columns(&[], 80), "");
    }

    #[test]
    fn a_sign_of_more_lines_fits_its_row() {
        assert_eq!(more(0, "above", 6, 80), "");
        assert_eq!(more(47, "above", 6, 80), "      (47 more above)");
        assert_eq!(more(47, "above", 6, 19), "    (47 more above)");
        assert_eq!(more(47, "above", 6, 9), "(47 more ");
    }

    #[test]
    fn the_cursors_column_behind_what_was_printed() {
        for (from, text, column) in [
            (0, "Name: ", 6),
            (6, "x\x08", 6),
            (9, "a\nbc", 2),
            (9, "\r\x1b[K", 0),
            (0, "\x1b[1;31mred\x1b[0m\x07", 3),
            (0, "\x1b", 0),
            (3, "\x1b[", 3),
        ] {
            assert_eq!(column_after(from, text), column, "{text:?}");
        }
    }

    #[test]
    fn absurd_sizes_are_bounded() {
        for (rows, columns, size) in [
            (50, 132, (50, 132)),
            (1, 1, (12, 20)),
            (usize::MAX, 0, (100, 20)),
            (0, usize::MAX, (12, 200)),
        ] {
            let told = Size::told(rows, columns);
            assert_eq!((told.rows, told.columns), size);
        }
    }
}
