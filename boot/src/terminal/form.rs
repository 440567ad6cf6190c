//! A form of labelled fields, as `present` shows it: Tab and arrows move between fields, the last Enter submits.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::editor::Editor;
use super::keys::Key;
use super::{ASK_SIZE, Size, more, put};
use crate::text::printable;

/// The row of the first line, counted from 1 as terminals do.
const FIRST_ROW: usize = 3;
/// The mark before a line.
const MARK: usize = 2;

/// A line of a form: a field, or text alone.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) field: Option<Editor>,
    /// The shortcut: the number of the key that leads to this line.
    pub(crate) key: Option<u32>,
}

/// What a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Store what was typed.
    Submit,
    /// Store nothing.
    Leave,
}

/// The form as shown.
#[derive(Debug)]
pub(crate) struct Form {
    title: String,
    lines: Vec<Line>,
    /// The index of the line that takes keys.
    current: usize,
    /// The first line in view.
    top: usize,
    size: Size,
    /// Why the last text was refused.
    refused: Option<(usize, String)>,
}

impl Form {
    /// A form that has a field, with the first selected; nothing is drawn yet.
    pub(crate) fn new(title: String, lines: Vec<Line>) -> Self {
        let current = lines.iter().position(|line| line.field.is_some()).unwrap_or(0);
        Self {
            title,
            lines,
            current,
            top: 0,
            size: Size::DEFAULT,
            refused: None,
        }
    }

    /// The lines, with what was typed.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }

    /// Whether a key does something here.
    pub(crate) fn takes(&self, key: Key) -> bool {
        let special = matches!(
            key,
            Key::Enter
                | Key::Escape
                | Key::INTERRUPT
                | Key::REDRAW
                | Key::Control(0x18)
                | Key::Tab
                | Key::BackTab
                | Key::Up
                | Key::Down
                | Key::PageUp
                | Key::PageDown
                | Key::Size(_)
        );
        special || Editor::takes(key) || self.shortcut(key).is_some()
    }

    /// Acts on a key, and draws what changed.
    pub(crate) fn key(&mut self, key: Key, out: &mut String) -> Option<Wish> {
        let last = self.lines.len().saturating_sub(1);
        let page = self.rows();
        let (target, down) = match key {
            Key::Escape | Key::INTERRUPT => return Some(Wish::Leave),
            // Ctrl-X
            Key::Control(0x18) => return Some(Wish::Submit),
            Key::Enter => {
                let refused = self
                    .refused
                    .as_ref()
                    .is_some_and(|(line, _)| *line == self.current);
                match self.field_from(self.current.saturating_add(1), true) {
                    Some(next) if !refused => (next, true),
                    _ => return Some(Wish::Submit),
                }
            }
            Key::Tab => match self.field_from(self.current.saturating_add(1), true) {
                Some(next) => (next, true),
                None => (0, true),
            },
            Key::BackTab => match self
                .current
                .checked_sub(1)
                .and_then(|line| self.field_from(line, false))
            {
                Some(before) => (before, false),
                None => (last, false),
            },
            Key::Down => (self.current.saturating_add(1).min(last), true),
            Key::Up => (self.current.saturating_sub(1), false),
            Key::PageDown => (self.current.saturating_add(page).min(last), true),
            Key::PageUp => (self.current.saturating_sub(page), false),
            Key::REDRAW => {
                self.draw(out);
                out.push_str(ASK_SIZE);
                return None;
            }
            Key::Size(size) => {
                if size != self.size {
                    self.size = size;
                    self.draw(out);
                }
                return None;
            }
            key if Editor::takes(key) => {
                if let Some(field) = self.field() {
                    field.key(key);
                    field.paint(out);
                }
                return None;
            }
            key => (self.shortcut(key)?, true),
        };
        let target = self
            .field_from(target, down)
            .or_else(|| self.field_from(target, !down));
        self.select(target?, out);
        None
    }

    /// Says why a line's text cannot be stored, and goes there.
    pub(crate) fn refuse(&mut self, line: usize, why: &str, out: &mut String) {
        self.refused = Some((line, why.into()));
        self.current = line.min(self.lines.len().saturating_sub(1));
        self.draw(out);
    }

    /// Draws everything, line by line, so that a terminal that ignores control sequences shows it too.
    pub(crate) fn draw(&mut self, out: &mut String) {
        self.scroll();
        let width = self.size.columns.saturating_sub(1);
        put(
            out,
            format_args!("\x1b[r\x1b[2J\x1b[H{}\r\n", printable(&self.title, width)),
        );
        put(out, format_args!("{}\r\n", more(self.top, "above", MARK, width)));
        let (column, room) = (self.column(), self.room());
        let end = self.top.saturating_add(self.rows());
        for (index, line) in self.lines.iter_mut().enumerate() {
            let Some(field) = &mut line.field else {
                if (self.top..end).contains(&index) {
                    put(
                        out,
                        format_args!("  {}\r\n", printable(&line.label, width.saturating_sub(MARK))),
                    );
                }
                continue;
            };
            field.moved(room);
            if (self.top..end).contains(&index) {
                let label = printable(&line.label, column.saturating_sub(MARK).saturating_sub(2));
                let mark = if index == self.current { '>' } else { ' ' };
                let gap = column.saturating_sub(MARK).saturating_sub(1);
                put(out, format_args!("{mark} {:<gap$} ", format!("{label}:")));
                field.paint(out);
                out.push_str("\r\n");
            }
        }
        let help = "Tab and arrows move, Enter goes on, Ctrl-X stores, Esc leaves";
        let below = more(self.lines.len().saturating_sub(end), "below", MARK, width);
        put(out, format_args!("{}\r\n{}\r\n", below, printable(help, width)));
        if let Some((_, why)) = &self.refused {
            out.push_str(&printable(why, width));
        }
        self.place_cursor(out);
    }

    /// Moves the cursor below the form.
    pub(crate) fn close(&self, out: &mut String) {
        let last = self.size.rows;
        put(out, format_args!("\x1b[{last};1H\r\n"));
    }

    fn field(&mut self) -> Option<&mut Editor> {
        self.lines.get_mut(self.current)?.field.as_mut()
    }

    /// The nearest field at `line` or beyond it.
    fn field_from(&self, line: usize, down: bool) -> Option<usize> {
        let is_field = |line: &usize| self.lines.get(*line).is_some_and(|line| line.field.is_some());
        if down {
            (line..self.lines.len()).find(is_field)
        } else {
            (0..=line).rev().find(is_field)
        }
    }

    /// The line with this key.
    fn shortcut(&self, key: Key) -> Option<usize> {
        let code = key.code()?;
        self.lines.iter().position(|line| line.key == Some(code))
    }

    fn select(&mut self, line: usize, out: &mut String) {
        if line == self.current {
            return;
        }
        let before = self.row(self.current);
        self.current = line;
        if self.scroll() {
            self.draw(out);
        } else {
            put(out, format_args!("\x1b[{before};1H \x1b[{};1H>", self.row(line)));
            self.place_cursor(out);
        }
    }

    /// Brings the current line into view; `true` when the view moved.
    fn scroll(&mut self) -> bool {
        let top = self.top;
        let lowest = self.current.saturating_sub(self.rows().saturating_sub(1));
        self.top = top.clamp(lowest, self.current.max(lowest));
        self.top != top
    }

    /// Lines in view at most: title, help, message and their blank lines are around them.
    fn rows(&self) -> usize {
        self.size.rows.saturating_sub(5).max(1)
    }

    /// The terminal's row of a line that is in view, from 1.
    fn row(&self, line: usize) -> usize {
        line.saturating_sub(self.top).saturating_add(FIRST_ROW)
    }

    /// The column where fields begin, from 0: behind the longest label, at most half a row.
    fn column(&self) -> usize {
        let labels = self.lines.iter().filter(|line| line.field.is_some());
        let longest = labels.map(|line| line.label.chars().count()).max().unwrap_or(0);
        // The mark, the label, a colon and a blank.
        longest
            .saturating_add(MARK)
            .saturating_add(2)
            .min(self.size.columns / 2)
    }

    fn room(&self) -> usize {
        self.size.columns.saturating_sub(self.column())
    }

    fn place_cursor(&mut self, out: &mut String) {
        let row = self.row(self.current);
        let start = self.column().saturating_add(1);
        if let Some(field) = self.field() {
            let column = start.saturating_add(field.column());
            put(out, format_args!("\x1b[{row};{column}H"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::editor::Echo;
    use super::super::keys::keys;
    use super::super::screen::Terminal;
    use super::*;

    fn line(label: &str, value: Option<(&str, Echo)>) -> Line {
        Line {
            label: label.into(),
            field: value.map(|(value, echo)| Editor::new(value, echo, 100, 70)),
            key: None,
        }
    }

    fn login() -> Form {
        let lines = vec![
            line("Name", Some(("root", Echo::Plain))),
            line("It is secret:", None),
            line("Password", Some(("", Echo::Secret))),
            line("Host", Some(("", Echo::Plain))),
        ];
        Form::new("Who are you?".into(), lines)
    }

    fn press(form: &mut Form, bytes: &[u8], out: &mut String) -> Option<Wish> {
        let keys = keys(bytes).unwrap();
        assert!(keys.iter().all(|key| form.takes(*key)));
        keys.into_iter()
            .fold(None, |wish, key| wish.or(form.key(key, out)))
    }

    fn texts(form: &Form) -> Vec<String> {
        form.lines()
            .filter_map(|line| line.field.as_ref())
            .map(Editor::text)
            .collect()
    }

    #[test]
    fn the_form_as_drawn_typed_into_and_submitted() {
        let (mut form, mut out, mut terminal) = (login(), String::new(), Terminal::new());
        form.draw(&mut out);
        terminal.show(&mut out);
        assert_eq!(press(&mut form, b"\x7f2\rs3\tx", &mut out), None);
        assert!(out.len() < 120, "only what changed: {out:?}");
        terminal.show(&mut out);
        assert_eq!(
            terminal.lines(),
            [
                "Who are you?",
                "",
                "  Name:     roo2",
                "  It is secret:",
                "  Password: **",
                "> Host:     x",
                "",
                "Tab and arrows move, Enter goes on, Ctrl-X stores, Esc leaves",
            ]
        );
        assert_eq!((terminal.row, terminal.column), (5, 13));
        assert_eq!(texts(&form), ["roo2", "s3", "x"]);
        assert_eq!(press(&mut form, b"\r", &mut out), Some(Wish::Submit));
    }

    #[test]
    fn keys_move_between_fields_only() {
        for (bytes, current) in [
            (&b"\t"[..], 2),
            (b"\t\t", 3),
            (b"\t\t\t", 0),
            (b"\x1b[Z", 3),
            (b"\x1b[Z\x1b[Z", 2),
            (b"\x1b[Z\x1b[Z\x1b[Z", 0),
            (b"\x1b[B", 2),
            (b"\x1b[B\x1b[B\x1b[B", 3),
            (b"\x1b[A", 0),
            (b"\t\x1b[A", 0),
            (b"\x1b[6~", 3),
            (b"\x1b[6~\x1b[5~", 0),
            (b"\r", 2),
        ] {
            let (mut form, mut out) = (login(), String::new());
            assert_eq!(press(&mut form, bytes, &mut out), None);
            assert_eq!(form.current, current, "{bytes:?}");
        }
        for (bytes, wish) in [
            (&b"\x18"[..], Wish::Submit),
            (b"\x03", Wish::Leave),
            (b"\x1b", Wish::Leave),
            (b"\r\r\r", Wish::Submit),
        ] {
            assert_eq!(press(&mut login(), bytes, &mut String::new()), Some(wish));
        }
    }

    #[test]
    fn a_refused_value_is_told_and_enter_tries_again() {
        let (mut form, mut out, mut terminal) = (login(), String::new(), Terminal::new());
        form.refuse(0, "not a name\x1b[2J", &mut out);
        terminal.show(&mut out);
        assert_eq!(terminal.line(8), "not a name?[2J");
        assert_eq!((terminal.row, terminal.column), (2, 16));
        assert_eq!(press(&mut form, b"x\r", &mut out), Some(Wish::Submit));
    }

    #[test]
    fn a_shortcut_leads_to_its_field() {
        let mut form = login();
        form.lines[2].key = Some(7);
        form.lines[1].key = Some(0x12);
        let mut out = String::new();
        assert_eq!(press(&mut form, b"\x07", &mut out), None);
        assert_eq!(form.current, 2);
        form.current = 0;
        assert_eq!(press(&mut form, b"\x12", &mut out), None);
        assert_eq!(form.current, 2);
    }

    #[test]
    fn many_fields_scroll_and_any_size_is_readable() {
        for size in [Size::told(24, 80), Size::told(12, 20), Size::told(60, 132)] {
            let lines =
                (0..100).map(|i| line(&format!("A rather long label {i}"), Some(("value", Echo::Plain))));
            let mut form = Form::new("T".repeat(300), lines.collect());
            let (mut out, mut terminal) = (String::new(), Terminal::of(size));
            press(&mut form, b"\x1b[12;20R", &mut out);
            out.clear();
            form.size = size;
            form.draw(&mut out);
            terminal.show(&mut out);
            let shows =
                |terminal: &Terminal, sign: &str| terminal.lines().iter().any(|line| line.contains(sign));
            let below = format!("({} more below)", 100 - form.rows());
            assert!(
                shows(&terminal, &below) && !shows(&terminal, "above)"),
                "{:#?}",
                terminal.lines()
            );
            for step in 0..150 {
                press(
                    &mut form,
                    if step < 120 { b"\x1b[B" } else { b"\x1b[A" },
                    &mut out,
                );
                terminal.show(&mut out);
                let row = terminal.line(terminal.row);
                assert!(row.starts_with("> A ra"), "{row}");
                assert!(row.contains("value"), "{row}");
                assert_eq!(shows(&terminal, "more above)"), form.top > 0);
            }
        }
    }
}
