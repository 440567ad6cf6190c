//! A line that a person types: keys in, text for the terminal out, and nothing else. GNU Readline's keys, the usual part.
//!
//! The editor moves the cursor with BS and by writing over text, never by control sequences, so the line is right on a dumb
//! terminal too (D-72). It stays in its row: a longer line scrolls sideways, and `<` and `>` mark hidden text.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use super::keys::Key;
use crate::text::shown;

/// How many lines a prompt remembers.
const MAX_HISTORY: usize = 32;
/// The narrowest field, in columns: it fits one character between `<`, `>` and the cursor.
const MIN_ROOM: usize = 6;

/// Whether what is typed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Echo {
    /// As it is.
    Plain,
    /// As stars.
    Secret,
}

/// The line, and the part of it that the terminal shows.
#[derive(Debug)]
pub(crate) struct Editor {
    text: Vec<char>,
    /// The index of the character under the cursor.
    cursor: usize,
    echo: Echo,
    /// The longest text in bytes.
    limit: usize,
    /// The field's width in columns; the last column is for the cursor only.
    room: usize,
    /// The first character in view.
    first: usize,
    /// What stands in the field, from its start.
    drawn: Vec<char>,
    /// The column of the terminal's cursor in the field.
    at: usize,
}

impl Editor {
    /// A line that begins as `initial`, with the cursor behind it, in a field of `room` columns; nothing is drawn yet.
    pub(crate) fn new(initial: &str, echo: Echo, limit: usize, room: usize) -> Self {
        let mut editor = Self {
            text: Vec::new(),
            cursor: 0,
            echo,
            limit,
            room: room.max(MIN_ROOM),
            first: 0,
            drawn: Vec::new(),
            at: 0,
        };
        editor.replace(initial);
        editor
    }

    /// The most bytes of heap that a line takes that begins as `initial` and may have `limit` bytes.
    pub(crate) fn room(initial: &str, limit: usize) -> usize {
        let chars = initial.chars().count().max(limit);
        chars.saturating_mul(size_of::<char>())
    }

    /// The line.
    pub(crate) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// The line as bystanders may see it: a password as stars.
    pub(crate) fn shown(&self) -> String {
        self.text.iter().map(|c| self.glyph(*c)).collect()
    }

    /// Replaces the line, and puts the cursor behind it.
    pub(crate) fn replace(&mut self, text: &str) {
        self.text = text.chars().collect();
        self.cursor = self.text.len();
    }

    /// Whether a key edits.
    pub(crate) fn takes(key: Key) -> bool {
        match key {
            Key::Control(c) => matches!(c, 1 | 2 | 4 | 5 | 6 | 0x0b | 0x15 | 0x17),
            Key::Character(_)
            | Key::Backspace
            | Key::Delete
            | Key::Left
            | Key::Right
            | Key::Home
            | Key::End => true,
            _ => false,
        }
    }

    /// Acts on a key.
    pub(crate) fn key(&mut self, key: Key) {
        let end = self.text.len();
        let back = self.cursor.saturating_sub(1);
        match key {
            Key::Character(c) if self.len().saturating_add(c.len_utf8()) <= self.limit => {
                self.text.insert(self.cursor.min(end), c);
                self.cursor = self.cursor.saturating_add(1);
            }
            Key::Left | Key::Control(2) => self.cursor = back,
            Key::Right | Key::Control(6) => self.cursor = self.cursor.saturating_add(1).min(end),
            Key::Home | Key::Control(1) => self.cursor = 0,
            Key::End | Key::Control(5) => self.cursor = end,
            Key::Backspace if self.cursor > 0 => self.remove(back, self.cursor),
            Key::Delete | Key::Control(4) if self.cursor < end => {
                self.remove(self.cursor, self.cursor.saturating_add(1));
            }
            // Ctrl-K, Ctrl-U, Ctrl-W: to the end, from the start, the word before.
            Key::Control(0x0b) => self.remove(self.cursor, end),
            Key::Control(0x15) => self.remove(0, self.cursor),
            Key::Control(0x17) => self.remove(self.word(), self.cursor),
            _ => {}
        }
    }

    /// The length of the text in bytes.
    fn len(&self) -> usize {
        self.text.iter().map(|c| c.len_utf8()).sum()
    }

    fn remove(&mut self, from: usize, to: usize) {
        if from <= to && to <= self.text.len() {
            self.text.drain(from..to);
            self.cursor = from;
        }
    }

    /// Where the word before the cursor begins.
    fn word(&self) -> usize {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        let word = before.iter().rposition(|c| *c != ' ');
        let space = word.and_then(|word| before.get(..word)?.iter().rposition(|c| *c == ' '));
        space.map_or(0, |space| space.saturating_add(1))
    }

    /// Forgets what was drawn: the terminal's cursor is where the field, now of `room` columns, begins.
    pub(crate) fn moved(&mut self, room: usize) {
        self.room = room.max(MIN_ROOM);
        self.drawn.clear();
        self.at = 0;
    }

    /// The column of the terminal's cursor in the field.
    pub(crate) fn column(&self) -> usize {
        self.at
    }

    /// Draws what has changed, and moves the terminal's cursor into place.
    pub(crate) fn paint(&mut self, out: &mut String) {
        self.scroll();
        let view = self.view();
        let same = self.drawn.iter().zip(&view).take_while(|(a, b)| a == b).count();
        if same < view.len().max(self.drawn.len()) {
            self.go(same, out);
            out.extend(view.iter().skip(same));
            // What is gone from the end.
            let gone = self.drawn.len().saturating_sub(view.len());
            out.extend(core::iter::repeat_n(' ', gone));
            self.at = view.len().max(self.drawn.len());
            self.drawn = view;
        }
        self.go(self.cursor.saturating_sub(self.first), out);
    }

    /// Moves the terminal's cursor to `column` of the field.
    fn go(&mut self, column: usize, out: &mut String) {
        out.extend(core::iter::repeat_n('\x08', self.at.saturating_sub(column)));
        out.extend(self.drawn.get(self.at..column).unwrap_or_default());
        self.at = column;
    }

    /// Brings the cursor into view, half a field at a time.
    fn scroll(&mut self) {
        let lowest = if self.first == 0 {
            0
        } else {
            self.first.saturating_add(1)
        };
        let end = self.first.saturating_add(self.room).saturating_sub(1);
        let highest = if end < self.text.len() {
            end.saturating_sub(2)
        } else {
            end
        };
        if self.cursor < lowest || self.cursor > highest {
            self.first = self.cursor.saturating_sub(self.room / 2);
        }
    }

    /// The text in view: one column less than the field, because the cursor needs one.
    fn view(&self) -> Vec<char> {
        let width = self.room.saturating_sub(1);
        let mut view: Vec<char> = self
            .text
            .iter()
            .skip(self.first)
            .map(|c| self.glyph(*c))
            .take(width)
            .collect();
        if self.first > 0
            && let Some(left) = view.first_mut()
        {
            *left = '<';
        }
        if self.first.saturating_add(width) < self.text.len()
            && let Some(right) = view.last_mut()
        {
            *right = '>';
        }
        view
    }

    fn glyph(&self, c: char) -> char {
        match self.echo {
            Echo::Plain => shown(c),
            Echo::Secret => '*',
        }
    }
}

/// What was typed at a prompt before.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// From the oldest.
    lines: VecDeque<String>,
    /// How many lines back the person is.
    back: usize,
    /// What was being typed.
    draft: String,
}

impl History {
    /// Remembers a line, and forgets the oldest of many.
    pub(crate) fn add(&mut self, line: &str) {
        self.back = 0;
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() >= MAX_HISTORY {
            self.lines.pop_front();
        }
        self.lines.push_back(line.into());
    }

    /// Puts the line before (`older`) or after into the editor.
    pub(crate) fn recall(&mut self, older: bool, editor: &mut Editor) {
        let back = if older {
            self.back.saturating_add(1)
        } else {
            self.back.saturating_sub(1)
        };
        if back > self.lines.len() || back == self.back {
            return;
        }
        if self.back == 0 {
            self.draft = editor.text();
        }
        self.back = back;
        let at = self.lines.len().saturating_sub(back);
        editor.replace(self.lines.get(at).unwrap_or(&self.draft));
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::keys;
    use super::super::screen::Terminal;
    use super::*;

    /// A terminal with an editor behind a prompt, and what the last keys wrote.
    struct Desk {
        editor: Editor,
        terminal: Terminal,
        written: String,
    }

    impl Desk {
        fn new(initial: &str, echo: Echo, room: usize) -> Self {
            let mut desk = Self {
                editor: Editor::new(initial, echo, 100, room),
                terminal: Terminal::new(),
                written: String::new(),
            };
            desk.terminal.show(&mut "> ".to_string());
            desk.paint();
            desk
        }

        fn press(&mut self, bytes: &[u8]) -> &mut Self {
            for key in keys(bytes).unwrap() {
                assert!(Editor::takes(key), "{key:?}");
                self.editor.key(key);
            }
            self.paint();
            self
        }

        fn paint(&mut self) {
            let mut out = String::new();
            self.editor.paint(&mut out);
            self.written = out.clone();
            self.terminal.show(&mut out);
            let column = self.terminal.column.checked_sub(2).unwrap();
            assert_eq!(column, self.editor.column());
            assert!(column < self.editor.room);
        }

        /// The row behind the prompt, with `|` before the character that the cursor is on.
        fn row(&self) -> String {
            let mut row: Vec<char> = self.terminal.line(0).chars().skip(2).collect();
            let column = self.terminal.column - 2;
            row.resize(row.len().max(column), ' ');
            row.insert(column, '|');
            row.into_iter().collect()
        }
    }

    #[test]
    fn the_usual_keys() {
        for (keys, row) in [
            (&b"abc"[..], "abc|"),
            (b"abc\x1b[D", "ab|c"),
            (b"abc\x1b[D\x1b[D\x1b[C", "ab|c"),
            (b"abc\x02\x02\x06", "ab|c"),
            (b"bc\x01a", "a|bc"),
            (b"bc\x1b[Ha\x1b[Fd", "abcd|"),
            (b"abc\x01\x05", "abc|"),
            (b"abc\x7f\x08", "a|"),
            (b"abc\x1b[D\x7f", "a|c"),
            (b"abc\x01\x1b[3~\x04", "|c"),
            (b"abc\x02\x0b", "ab|"),
            (b"abc\x02\x15", "|c"),
            (b"one two  \x17", "one |"),
            (b"one two\x17\x17\x17", "|"),
            (b"  x\x17", "  |"),
            (b"one two\x02\x17", "one |o"),
            // Beyond either end nothing happens.
            (b"a\x1b[C\x1b[D\x1b[D\x7f\x05\x04", "a|"),
            (b"\xc3\xbc\x02x", "x|ü"),
        ] {
            let mut desk = Desk::new("", Echo::Plain, 70);
            assert_eq!(desk.press(keys).row(), row, "{keys:?}");
            let typed: String = row.chars().filter(|c| *c != '|').collect();
            assert_eq!(desk.editor.text(), typed);
        }
    }

    #[test]
    fn only_what_changed_is_written_and_no_control_sequence() {
        let mut desk = Desk::new("", Echo::Plain, 70);
        assert_eq!(desk.press(b"a").written, "a");
        assert_eq!(desk.press(b"bcdefgh").written, "bcdefgh");
        assert_eq!(desk.press(b"\x1b[D").written, "\x08");
        assert_eq!(desk.press(b"\x1b[D").written, "\x08");
        assert_eq!(desk.press(b"\x1b[C").written, "g");
        assert_eq!(desk.press(b"x").written, "xh\x08");
        assert_eq!(desk.press(b"\x7f").written, "\x08h \x08\x08");
        assert_eq!(desk.press(b"\x05").written, "h");
        assert_eq!(desk.press(b"\x7f").written, "\x08 \x08");
        assert_eq!(desk.press(b"\x06").written, "");
    }

    #[test]
    fn a_secret_is_stars_and_a_setting_that_cannot_be_shown_stays_what_it_is() {
        let mut desk = Desk::new("", Echo::Secret, 70);
        assert_eq!(desk.press(b"s3\x02x").row(), "**|*");
        assert_eq!(
            (desk.editor.text(), desk.editor.shown()),
            ("sx3".into(), "***".into())
        );
        let mut desk = Desk::new("a\x1b[2J\n\u{4e2d}", Echo::Plain, 70);
        assert_eq!(desk.press(b"!").row(), "a?[2J??!|");
        assert_eq!(desk.editor.text(), "a\x1b[2J\n\u{4e2d}!");
    }

    #[test]
    fn a_line_longer_than_its_field_scrolls_sideways() {
        let mut desk = Desk::new("", Echo::Plain, 11);
        assert_eq!(desk.press(b"012345678").row(), "012345678|");
        assert_eq!(desk.press(b"9").row(), "0123456789|");
        assert_eq!(desk.press(b"a").row(), "<789a|");
        assert_eq!(desk.press(b"bcdefghijklmnop").row(), "<mnop|");
        assert_eq!(desk.press(b"\x01").row(), "|012345678>");
        assert_eq!(desk.press(b"\x06\x06\x06").row(), "012|345678>");
        let mut seen = Vec::new();
        for _ in 0..40 {
            desk.press(b"\x06");
            let at = desk.editor.cursor - desk.editor.first;
            let shown = desk.editor.drawn.get(at).copied();
            seen.push(shown.filter(|c| !matches!(c, '<' | '>')));
            assert!(
                shown.is_none() || seen.last().unwrap().is_some(),
                "the cursor is on a mark"
            );
        }
        assert_eq!(desk.row(), "<hijklmnop|");
        assert_eq!(desk.press(b"\x15").row(), "|");
    }

    #[test]
    fn its_length_is_bounded_in_bytes() {
        let mut desk = Desk::new("", Echo::Plain, 70);
        desk.press("ü".repeat(200).as_bytes());
        assert_eq!(desk.editor.text(), "ü".repeat(50));
    }

    #[test]
    fn up_and_down_recall_lines_and_the_draft() {
        let mut history = History::default();
        let mut editor = Editor::new("", Echo::Plain, 100, 70);
        for line in ["one", "two", "two", "  "] {
            history.add(line);
        }
        editor.replace("draft");
        let mut press = |older| {
            history.recall(older, &mut editor);
            editor.text()
        };
        let texts = [true, true, true, false, false, false].map(&mut press);
        assert_eq!(texts, ["two", "one", "one", "two", "draft", "draft"]);
        (0..1000).for_each(|i| history.add(&i.to_string()));
        assert_eq!((history.lines.len(), history.lines[0].as_str()), (32, "968"));
    }

    #[test]
    fn whatever_is_typed_the_terminal_shows_the_line() {
        let mut seed: u64 = 1;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for room in [6, 7, 20, 70] {
            let mut desk = Desk::new("initial", Echo::Plain, room);
            for _ in 0..3000 {
                let bytes = [b'a', b'b', b' ', 1, 2, 4, 5, 6, 8, 0x0b, 0x15, 0x17];
                let weights = [20, 20, 10, 1, 9, 3, 1, 9, 6, 1, 1, 1];
                let mut at = random(weights.iter().sum());
                let byte = bytes.iter().zip(weights).find(|(_, weight)| {
                    let here = at < *weight;
                    at = at.wrapping_sub(*weight);
                    here
                });
                desk.press(&[*byte.unwrap().0]);
                let view: String = desk.editor.view().iter().collect();
                let row: String = desk.row().chars().filter(|c| *c != '|').collect();
                assert_eq!(row.trim_end(), view.trim_end());
            }
        }
    }
}
