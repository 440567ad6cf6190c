//! The menu on a serial terminal: ANSI (ECMA-48) with DEC's scroll region, 80×24, readable on a dumb terminal too.
//!
//! Keys: up, down, page up, page down, home and end move the selection, an entry's hot key goes to it, Enter boots it,
//! Ctrl-L draws everything again. While no menu is shown, Esc or `m` shows it. Every one of them gives a person another
//! minute; nothing else that arrives does anything. In a script's menu a hot key chooses at once, as in iPXE, and Esc
//! and Ctrl-C leave the menu.
//!
//! A key is told from noise by the silence around it: what arrives without a pause counts only when all of it is
//! documented keys. A GPS receiver on the UART, or a line that picks up hum, chooses nothing, and whatever arrives,
//! the countdown ends.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::mem;

use smoltcp::time::{Duration, Instant};

use super::{Action, Display, Entry, Hold, Manners, Menu, Page, Pick};

/// How long a key holds the countdown at least.
const PER_KEY: Duration = Duration::from_secs(60);
/// How long a menu that has a timeout can be held in all, unless its timeout is longer.
const ATTENDED: Duration = Duration::from_secs(600);
/// How long a key is waited for when the default boots at once; one that came earlier waits in the console.
const GRACE: Duration = Duration::from_millis(100);
/// The silence after which what arrived is looked at.
const SILENCE: Duration = Duration::from_millis(20);
/// The most bytes that keys without a pause between them can be.
const MAX_BURST: usize = 16;

/// Entries shown at a time: with title, help, status and blank lines around them, three rows stay for the log.
const ROWS: usize = 16;
/// The row of the first entry, counted from 1 as terminals do.
const FIRST_ROW: usize = 3;
/// The last row of the terminal.
const LAST_ROW: usize = 24;
/// Characters of a label.
const WIDTH: usize = 70;

/// How long a script's menu without a timeout is shown at most, whatever keys come.
const LONGEST: Duration = Duration::from_secs(3600);

/// How a menu ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// This is to boot.
    Entry {
        pick: Pick,
        /// Whether a person pressed a key for it, rather than the time being up.
        by_person: bool,
    },
    /// A person left a script's menu.
    Left,
    /// Nobody was there for a script's menu that has no timeout.
    Unattended,
}

/// The menu as shown, and what was typed.
pub(super) struct Screen<'m> {
    menu: &'m Menu,
    /// The page in view.
    page: usize,
    /// The line of it that is selected.
    selected: usize,
    /// The first line in view.
    top: usize,
    visible: bool,
    /// When the default boots; none when only a person can choose.
    deadline: Option<Instant>,
    /// Past this no key moves the deadline.
    latest: Instant,
    /// When a menu without a deadline is given up.
    abandoned: Option<Instant>,
    burst: Burst,
    /// The status line as drawn.
    status: String,
}

impl<'m> Screen<'m> {
    /// Starts the countdown and draws what is to be seen into `out`.
    pub(super) fn new(menu: &'m Menu, now: Instant, out: &mut String) -> Self {
        let wait = match menu.display {
            Display::Shown | Display::Hidden => menu.timeout.or(menu.total),
            Display::AtOnce if menu.timeout == Some(Duration::ZERO) || menu.entries.len() < 2 => {
                Some(Duration::ZERO)
            }
            Display::AtOnce => Some(GRACE),
        };
        let latest = now + menu.total.unwrap_or(ATTENDED);
        let mut screen = Self {
            menu,
            page: menu.start,
            selected: 0,
            top: 0,
            visible: menu.display == Display::Shown,
            deadline: wait.map(|wait| (now + wait).min(latest)),
            latest,
            abandoned: menu.manners.hold().map(|hold| now + hold.unattended),
            burst: Burst {
                bytes: Vec::new(),
                last: now,
            },
            status: String::new(),
        };
        screen.selected = screen.page().map_or(0, |page| page.selected);
        let default = screen.lines().iter().position(|&line| line == menu.default.entry);
        screen.selected = default.unwrap_or(screen.selected);
        screen.scroll();
        if screen.visible {
            screen.draw(now, out);
        }
        for message in &menu.messages {
            put(out, format_args!("{}\r\n", printable(message)));
        }
        screen
    }

    /// Takes a byte from the console.
    pub(super) fn byte(&mut self, byte: u8, now: Instant) {
        self.burst.push(byte, now);
    }

    /// Acts on the keys that are complete, draws what changed, and says what is to boot when that is known.
    pub(super) fn tick(&mut self, now: Instant, out: &mut String) -> Option<Choice> {
        let burst = self.burst.take(now).unwrap_or_default();
        let leaves = self.menu.manners.hold().is_some();
        for key in keys(&burst, leaves, |c| self.is_character_key(c)).unwrap_or_default() {
            if let Some(choice) = self.key(key, now, out) {
                return Some(choice);
            }
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Some(Choice::Entry {
                pick: self.unattended(),
                by_person: false,
            });
        }
        if self.deadline.is_none() && self.abandoned.is_some_and(|end| now >= end) {
            return Some(Choice::Unattended);
        }
        if self.visible {
            self.draw_status(now, out);
        }
        None
    }

    /// Gives the whole terminal back to the log.
    pub(super) fn close(&mut self, out: &mut String) {
        if self.visible {
            put(out, format_args!("\x1b[r\x1b[{LAST_ROW};1H\r\n"));
        }
        self.visible = false;
    }

    fn page(&self) -> Option<&'m Page> {
        self.menu.pages.get(self.page)
    }

    /// The entries of the page, as indexes.
    fn lines(&self) -> &'m [usize] {
        self.page().map_or(&[], |page| &page.lines)
    }

    fn entry(&self, line: usize) -> Option<&'m Entry> {
        self.menu.entries.get(*self.lines().get(line)?)
    }

    /// Shows another page.
    fn open(&mut self, page: usize, now: Instant, out: &mut String) {
        (self.page, self.top) = (page, 0);
        self.selected = self.page().map_or(0, |page| page.selected);
        self.scroll();
        self.draw(now, out);
    }

    fn key(&mut self, key: Key, now: Instant, out: &mut String) -> Option<Choice> {
        if !self.visible {
            if matches!(key, Key::Escape | Key::Character(b'm' | b'M')) {
                self.visible = true;
                self.attended(now);
                self.draw(now, out);
            }
            return None;
        }
        let last = self.lines().len().saturating_sub(1);
        let script = self.menu.manners.hold().is_some();
        let (target, down) = match key {
            Key::Up => (self.selected.saturating_sub(1), false),
            Key::Down => (self.selected.saturating_add(1).min(last), true),
            Key::PageUp => (self.selected.saturating_sub(ROWS), false),
            Key::PageDown => (self.selected.saturating_add(ROWS).min(last), true),
            Key::Home => (0, true),
            Key::End => (last, false),
            Key::Enter => (self.selected, true),
            Key::Redraw => {
                self.attended(now);
                self.draw(now, out);
                return None;
            }
            Key::Character(c) => (self.hot(c)?, true),
            Key::Escape if script => return Some(Choice::Left),
            Key::Escape => {
                if let Some(parent) = self.page().and_then(|page| page.parent) {
                    self.attended(now);
                    self.open(parent, now, out);
                }
                return None;
            }
        };
        let target = self.past_gaps(target, down);
        self.attended(now);
        let entry = self.entry(target).filter(|entry| entry.selectable());
        let chosen = match key {
            Key::Enter => entry.is_some(),
            // A gap's key only leads behind the gap.
            Key::Character(c) => entry.is_some_and(|entry| entry.immediate && entry.hot_key == Some(c)),
            _ => false,
        };
        if let (true, Some(&Action::Page(page))) = (chosen, entry.map(|entry| &entry.action)) {
            self.open(page, now, out);
            return None;
        }
        if chosen {
            let target = self.lines().get(target).copied().unwrap_or(target);
            // The default keeps the arguments that DEFAULT gave it.
            let default = &self.menu.default;
            let pick = if target == default.entry {
                default.clone()
            } else {
                Pick::plain(target)
            };
            return Some(Choice::Entry {
                pick,
                by_person: true,
            });
        }
        self.select(target, out);
        None
    }

    /// The nearest entry that can be selected, first in the direction of the key.
    fn past_gaps(&self, target: usize, down: bool) -> usize {
        let lines = (0..self.lines().len()).filter(|&line| self.entry(line).is_some_and(Entry::selectable));
        let mut real = lines;
        let below = real.clone().find(|&i| i >= target);
        let above = real.rfind(|&i| i <= target);
        let (first, second) = if down { (below, above) } else { (above, below) };
        first.or(second).unwrap_or(target)
    }

    /// What boots when the time is up.
    fn unattended(&self) -> Pick {
        match self.menu.manners {
            Manners::Script(_) => Pick::plain(self.selected),
            Manners::Syslinux => self.menu.on_timeout.clone(),
        }
    }

    fn is_character_key(&self, c: u8) -> bool {
        if self.visible {
            self.hot(c).is_some()
        } else {
            c.eq_ignore_ascii_case(&b'm')
        }
    }

    /// The next entry after the selected one, around the end, whose hot key is `key`.
    fn hot(&self, key: u8) -> Option<usize> {
        let key = match self.menu.manners {
            Manners::Syslinux => key.to_ascii_lowercase(),
            Manners::Script(_) => key,
        };
        let is_hot = |&line: &usize| self.entry(line).is_some_and(|entry| entry.hot_key == Some(key));
        let mut hot = (0..self.lines().len()).filter(is_hot);
        let first = hot.clone().next();
        hot.find(|&i| i > self.selected).or(first)
    }

    /// A person is there: the countdown starts again from a minute, as far as the bound allows.
    fn attended(&mut self, now: Instant) {
        if let Some(Hold {
            after_key,
            unattended,
        }) = self.menu.manners.hold()
        {
            let longest = self.latest + LONGEST;
            self.abandoned = Some((now + unattended).min(longest));
            if let Some(after_key) = after_key {
                self.deadline = Some((now + after_key).min(longest));
                return;
            }
        }
        self.deadline = self
            .deadline
            .map(|deadline| deadline.max(now + PER_KEY).min(self.latest));
    }

    /// Brings the selection into view; `true` when the view moved.
    fn scroll(&mut self) -> bool {
        let top = self.top;
        let lowest = self.selected.saturating_sub(ROWS.saturating_sub(1));
        self.top = top.clamp(lowest, self.selected.max(lowest));
        self.top != top
    }

    fn select(&mut self, entry: usize, out: &mut String) {
        if entry == self.selected {
            return;
        }
        let before = self.selected;
        self.selected = entry;
        if self.scroll() {
            for row in 0..self.rows() {
                self.draw_entry_in_place(self.top.saturating_add(row), out);
            }
        } else {
            self.draw_entry_in_place(before, out);
            self.draw_entry_in_place(entry, out);
        }
    }

    /// How many entries are in view.
    fn rows(&self) -> usize {
        self.lines().len().min(ROWS)
    }

    fn status_row(&self) -> usize {
        // A blank line and the help line are in between.
        self.rows().saturating_add(FIRST_ROW).saturating_add(2)
    }

    /// Draws everything, line by line, so that a terminal that ignores control sequences shows it too. The rows below
    /// the status scroll by themselves: log lines go there and leave the menu in place.
    fn draw(&mut self, now: Instant, out: &mut String) {
        let title = self.page().and_then(|page| page.title.as_deref());
        let title = title.unwrap_or("Boot menu");
        put(
            out,
            format_args!("\x1b[r\x1b[2J\x1b[H{}\r\n\r\n", printable(title)),
        );
        for row in 0..self.rows() {
            self.draw_entry(self.top.saturating_add(row), out);
            put(out, format_args!("\r\n"));
        }
        put(out, format_args!("\r\n{}\r\n", help(self.menu.manners)));
        self.status = self.status_at(now);
        let log = self.status_row().saturating_add(1);
        put(
            out,
            format_args!("{}\r\n\x1b[{log};{LAST_ROW}r\x1b[{log};1H", self.status),
        );
    }

    fn draw_entry(&self, index: usize, out: &mut String) {
        let Some(entry) = self.entry(index) else {
            return;
        };
        let (mark, on, off) = if index == self.selected {
            (">", "\x1b[7m", "\x1b[m")
        } else {
            (" ", "", "")
        };
        let label = printable(entry.shown());
        match entry.hot_key.filter(u8::is_ascii_graphic) {
            Some(key) => put(out, format_args!("{mark} [{}] {on}{label}{off}", char::from(key))),
            None => put(out, format_args!("{mark}     {on}{label}{off}")),
        }
    }

    fn draw_entry_in_place(&self, index: usize, out: &mut String) {
        let row = index.saturating_sub(self.top).saturating_add(FIRST_ROW);
        in_row(row, out, |out| self.draw_entry(index, out));
    }

    fn draw_status(&mut self, now: Instant, out: &mut String) {
        let status = self.status_at(now);
        if status != self.status {
            in_row(self.status_row(), out, |out| out.push_str(&status));
            self.status = status;
        }
    }

    fn status_at(&self, now: Instant) -> String {
        match (self.deadline, self.menu.entries.get(self.unattended().entry)) {
            (Some(deadline), Some(entry)) => {
                let left = if deadline > now {
                    deadline - now
                } else {
                    Duration::ZERO
                };
                let seconds = left.total_millis().div_ceil(1000);
                let does = match self.menu.manners {
                    Manners::Syslinux => "Boots",
                    Manners::Script(_) => "Goes on",
                };
                printable(&format!("{does} in {seconds} s: {}", entry.shown()))
            }
            _ => String::from("Waiting for a key"),
        }
    }
}

/// The line below the entries.
fn help(manners: Manners) -> &'static str {
    match manners {
        Manners::Syslinux => "Arrows and hot keys select, Enter boots",
        Manners::Script(_) => "Arrows select, Enter and hot keys choose, Esc leaves",
    }
}

/// Writes into a row and returns to where the cursor was. The leading CR makes a dumb terminal write over its last line.
fn in_row(row: usize, out: &mut String, write: impl FnOnce(&mut String)) {
    put(out, format_args!("\r\x1b7\x1b[{row};1H"));
    write(out);
    put(out, format_args!("\x1b[K\x1b8"));
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

/// `text` as it may reach a terminal: printable ASCII and Latin letters, `?` for the rest, at most 70 characters.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .take(WIDTH)
        .map(|c| match c {
            ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{24f}' => c,
            '\t' => ' ',
            _ => '?',
        })
        .collect()
}

/// A key that does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Redraw,
    /// A letter, a digit, or whatever a script's menu takes for a key.
    Character(u8),
}

/// The keys that `bytes` are, when they are nothing else. `is_character` tells which single bytes are keys, and `leaves`
/// whether Ctrl-C is one.
fn keys(mut bytes: &[u8], leaves: bool, is_character: impl Fn(u8) -> bool) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    loop {
        let (key, rest) = match bytes {
            [] => return Some(keys),
            [b'\r', b'\n', rest @ ..] | [b'\r' | b'\n', rest @ ..] => (Key::Enter, rest),
            [0x0c, rest @ ..] => (Key::Redraw, rest),
            [0x1b] => (Key::Escape, &[][..]),
            [0x1b, b'[' | b'O', b'A', rest @ ..] => (Key::Up, rest),
            [0x1b, b'[' | b'O', b'B', rest @ ..] => (Key::Down, rest),
            [0x1b, b'[' | b'O', b'H', rest @ ..] | [0x1b, b'[', b'1' | b'7', b'~', rest @ ..] => {
                (Key::Home, rest)
            }
            [0x1b, b'[' | b'O', b'F', rest @ ..] | [0x1b, b'[', b'4' | b'8', b'~', rest @ ..] => {
                (Key::End, rest)
            }
            [0x1b, b'[', b'5', b'~', rest @ ..] => (Key::PageUp, rest),
            [0x1b, b'[', b'6', b'~', rest @ ..] => (Key::PageDown, rest),
            [0x03, rest @ ..] if leaves => (Key::Escape, rest),
            [c, rest @ ..] if is_character(*c) => (Key::Character(*c), rest),
            _ => return None,
        };
        keys.push(key);
        bytes = rest;
    }
}

/// What arrived since the last silence.
struct Burst {
    /// One byte more than [`MAX_BURST`] when it was longer, whatever its length.
    bytes: Vec<u8>,
    last: Instant,
}

impl Burst {
    fn push(&mut self, byte: u8, now: Instant) {
        if self.bytes.len() <= MAX_BURST {
            self.bytes.push(byte);
        }
        self.last = now;
    }

    /// The burst, once the line is silent; nothing when it was too long to be typed.
    fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.bytes.is_empty() || now < self.last + SILENCE {
            return None;
        }
        Some(mem::take(&mut self.bytes)).filter(|bytes| bytes.len() <= MAX_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Entry};
    use super::*;
    use crate::url::Url;

    /// Enough of a VT102 for what `Screen` draws: CR, LF with a scroll region, CSI H, J, K, m, r, ESC 7, ESC 8.
    struct Terminal {
        rows: Vec<Vec<char>>,
        row: usize,
        column: usize,
        saved: (usize, usize),
        region: (usize, usize),
    }

    impl Terminal {
        fn new() -> Self {
            Self {
                rows: vec![vec![' '; 80]; LAST_ROW],
                row: 0,
                column: 0,
                saved: (0, 0),
                region: (0, LAST_ROW - 1),
            }
        }

        fn show(&mut self, out: &mut String) {
            let text = std::mem::take(out);
            let mut chars = text.chars();
            while let Some(c) = chars.next() {
                match c {
                    '\r' => self.column = 0,
                    '\n' if self.row == self.region.1 => {
                        self.rows.remove(self.region.0);
                        self.rows.insert(self.region.1, vec![' '; 80]);
                    }
                    '\n' => self.row = (self.row + 1).min(LAST_ROW - 1),
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
                        assert!(self.column < 80, "line wraps: {}", self.line(self.row));
                        self.rows[self.row][self.column] = c;
                        self.column += 1;
                    }
                }
            }
        }

        fn control(&mut self, end: char, numbers: Vec<usize>) {
            match (end, numbers.as_slice()) {
                ('H', []) => (self.row, self.column) = (0, 0),
                ('H', &[row, column]) => (self.row, self.column) = (row - 1, column - 1),
                ('J', [2]) => self.rows.fill(vec![' '; 80]),
                ('K', []) => self.rows[self.row][self.column..].fill(' '),
                ('m', [] | [7]) => {}
                ('r', []) => self.region = (0, LAST_ROW - 1),
                ('r', &[top, bottom]) => {
                    assert!(top < bottom && bottom <= LAST_ROW);
                    self.region = (top - 1, bottom - 1);
                }
                other => panic!("CSI {other:?}"),
            }
        }

        fn line(&self, row: usize) -> String {
            self.rows[row].iter().collect::<String>().trim_end().to_string()
        }

        fn lines(&self) -> Vec<String> {
            let mut lines: Vec<_> = (0..LAST_ROW).map(|row| self.line(row)).collect();
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            lines
        }
    }

    fn entry(label: &str, hot_key: Option<u8>) -> Entry {
        Entry {
            label: Some(label.into()),
            hot_key,
            ..Entry::new("name", Action::Local(0))
        }
    }

    fn menu(entries: Vec<Entry>, display: Display, timeout: Option<u64>) -> Menu {
        let url = Url::parse("http://192.0.2.1/menu").unwrap();
        Menu {
            on_timeout: Pick::plain(if display == Display::AtOnce { 0 } else { 1 }),
            timeout: timeout.map(Duration::from_secs),
            total: timeout.map(|seconds| Duration::from_secs(seconds.max(600))),
            display,
            ..Menu::flat(url, Some("Rack 7".into()), entries, Manners::Syslinux)
        }
    }

    fn three(display: Display, timeout: Option<u64>) -> Menu {
        let entries = vec![
            entry("Debian 12", Some(b'd')),
            entry("Alpine", None),
            entry("Rescue", Some(b'r')),
        ];
        menu(entries, display, timeout)
    }

    fn many() -> Menu {
        let entries = (0..100).map(|i| entry(&format!("Entry {i}"), None)).collect();
        menu(entries, Display::Shown, None)
    }

    fn at(millis: i64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Sends `keys` at `millis` and looks at them when the line is silent again.
    fn press(screen: &mut Screen<'_>, keys: &[u8], millis: i64, out: &mut String) -> Option<Choice> {
        keys.iter().for_each(|&key| screen.byte(key, at(millis)));
        screen.tick(at(millis) + SILENCE, out)
    }

    fn by_person(entry: usize) -> Option<Choice> {
        Some(Choice::Entry {
            pick: Pick::plain(entry),
            by_person: true,
        })
    }

    const BY_CLOCK: Choice = Choice::Entry {
        pick: Pick {
            entry: 1,
            arguments: String::new(),
        },
        by_person: false,
    };

    #[test]
    fn the_menu_as_drawn_and_after_a_key_and_a_second() {
        let menu = three(Display::Shown, Some(5));
        let (mut out, mut terminal) = (String::new(), Terminal::new());
        let mut screen = Screen::new(&menu, at(0), &mut out);
        terminal.show(&mut out);
        let drawn = [
            "Rack 7",
            "",
            "> [d] Debian 12",
            "      Alpine",
            "  [r] Rescue",
            "",
            "Arrows and hot keys select, Enter boots",
            "Boots in 5 s: Alpine",
        ];
        assert_eq!(terminal.lines(), drawn);

        assert_eq!(screen.tick(at(1001), &mut out), None);
        assert!(out.len() < 40, "only the status: {out:?}");
        terminal.show(&mut out);
        assert_eq!(terminal.line(7), "Boots in 4 s: Alpine");
        assert_eq!(screen.tick(at(1500), &mut out), None);
        assert_eq!(out, "", "nothing changed");

        assert_eq!(press(&mut screen, b"\x1b[B", 1500, &mut out), None);
        assert!(out.len() < 130, "two entries and the status: {out:?}");
        terminal.show(&mut out);
        let changed = [terminal.line(2), terminal.line(3), terminal.line(7)];
        assert_eq!(
            changed,
            ["  [d] Debian 12", ">     Alpine", "Boots in 60 s: Alpine"]
        );
        assert_eq!(press(&mut screen, b"\r", 2000, &mut out), by_person(1));

        screen.close(&mut out);
        terminal.show(&mut out);
        assert_eq!(terminal.region, (0, LAST_ROW - 1));
    }

    #[test]
    fn log_lines_scroll_below_the_menu_and_leave_it_in_place() {
        let menu = many();
        let (mut out, mut terminal) = (String::new(), Terminal::new());
        let mut screen = Screen::new(&menu, at(0), &mut out);
        terminal.show(&mut out);
        let above = terminal.lines();
        for i in 0..50 {
            terminal.show(&mut format!("lease: renewed {i}\r\n"));
        }
        assert_eq!(terminal.lines()[..above.len()], above);
        assert_eq!(press(&mut screen, b"\x1b[B", 10, &mut out), None);
        terminal.show(&mut out);
        terminal.show(&mut "again\r\n".to_string());
        assert_eq!(
            (terminal.line(3).as_str(), terminal.line(22).as_str()),
            (">     Entry 1", "again")
        );
    }

    #[test]
    fn a_long_menu_scrolls_with_the_selection() {
        let menu = many();
        let (mut out, mut terminal) = (String::new(), Terminal::new());
        let mut screen = Screen::new(&menu, at(0), &mut out);
        for (keys, top, selected) in [
            (&b"\x1b[A"[..], 0, 0),
            (b"\x1b[6~", 1, 16),
            (b"\x1b[6~", 17, 32),
            (b"\x1b[5~\x1b[A", 15, 15),
            (b"\x1bOF", 84, 99),
            (b"\x1b[B", 84, 99),
            (b"\x1b[1~", 0, 0),
        ] {
            assert_eq!(press(&mut screen, keys, 0, &mut out), None);
            terminal.show(&mut out);
            assert_eq!((screen.top, screen.selected), (top, selected), "{keys:?}");
            assert!(terminal.line(2).ends_with(&format!("  Entry {top}")));
            assert_eq!(
                terminal.line(2 + selected - top),
                format!(">     Entry {selected}")
            );
        }
    }

    #[test]
    fn hot_keys_select_without_booting_and_know_no_case() {
        let menu = three(Display::Shown, Some(5));
        let mut out = String::new();
        let mut screen = Screen::new(&menu, at(0), &mut out);
        assert_eq!(press(&mut screen, b"R", 0, &mut out), None);
        assert_eq!(screen.selected, 2);
        assert_eq!(press(&mut screen, b"d\r", 0, &mut out), by_person(0));
    }

    #[test]
    fn the_clock_boots_what_it_must_whatever_is_selected() {
        let menu = three(Display::Shown, Some(5));
        let mut out = String::new();
        let mut screen = Screen::new(&menu, at(0), &mut out);
        assert_eq!(press(&mut screen, b"r", 0, &mut out), None);
        assert_eq!(screen.tick(at(59_999), &mut out), None);
        assert_eq!(screen.tick(at(60_020), &mut out), Some(BY_CLOCK));
    }

    #[test]
    fn keys_hold_a_countdown_for_ten_minutes_at_most_and_a_timeout_of_zero_for_ever() {
        let menu = three(Display::Shown, Some(5));
        let mut out = String::new();
        let mut screen = Screen::new(&menu, at(0), &mut out);
        let end = (0..100)
            .map(|i| i * 30_000)
            .find(|&millis| press(&mut screen, b"\x1b[A", millis, &mut out).is_some());
        assert_eq!(end, Some(600_000));

        let menu = three(Display::Shown, None);
        let mut screen = Screen::new(&menu, at(0), &mut out);
        assert_eq!(screen.tick(at(i64::from(u32::MAX)), &mut out), None);
        assert_eq!(screen.status, "Waiting for a key");
    }

    #[test]
    fn a_hidden_menu_opens_for_its_key_only() {
        let menu = three(Display::Hidden, Some(5));
        let mut out = String::new();
        for keys in [&b"\r"[..], b"d", b"hello", b"\x1b[A", b"mx", b"\0"] {
            let mut screen = Screen::new(&menu, at(0), &mut out);
            assert_eq!(press(&mut screen, keys, 0, &mut out), None);
            assert_eq!(out, "", "{keys:?}");
            assert_eq!(screen.tick(at(5000), &mut out), Some(BY_CLOCK), "{keys:?}");
        }
        for keys in [&b"m"[..], b"M", b"\x1b", b"mm"] {
            let mut screen = Screen::new(&menu, at(0), &mut out);
            assert_eq!(press(&mut screen, keys, 0, &mut out), None);
            assert!(out.contains("Rack 7"), "{keys:?}");
            out.clear();
            assert_eq!(screen.tick(at(59_000), &mut out), None);
            out.clear();
        }
    }

    #[test]
    fn a_default_boots_at_once_unless_a_key_already_waits() {
        let default = Some(Choice::Entry {
            pick: Pick::plain(0),
            by_person: false,
        });
        let mut out = String::new();
        // Not even TIMEOUT 0 lets a stray key hold a menu that was not to be shown.
        for timeout in [None, Some(10)] {
            let menu = three(Display::AtOnce, timeout);
            let mut screen = Screen::new(&menu, at(0), &mut out);
            assert_eq!(screen.tick(at(0) + GRACE, &mut out), default);
            let mut screen = Screen::new(&menu, at(0), &mut out);
            assert_eq!(press(&mut screen, b"m", 0, &mut out), None);
            assert_eq!(screen.tick(at(60_000), &mut out), None);
            assert_eq!(screen.tick(at(60_020), &mut out), default);
        }
        for menu in [
            three(Display::AtOnce, Some(0)),
            menu(vec![entry("one", None)], Display::AtOnce, Some(10)),
        ] {
            assert_eq!(Screen::new(&menu, at(0), &mut out).tick(at(0), &mut out), default);
        }
    }

    #[test]
    fn labels_reach_the_terminal_printable_and_cut() {
        let label = format!("F\u{fc}r \x1b[2J\u{202e}\u{9b}31m\u{4e2d} {}", "x".repeat(200));
        assert!(printable(&label).starts_with("F\u{fc}r ?[2J??31m? xxx"));
        let mut menu = menu(vec![entry(&label, None)], Display::Shown, Some(86_400));
        (menu.pages[0].title, menu.on_timeout) = (Some(label.clone()), Pick::plain(0));
        menu.messages = vec![label];
        let (mut out, mut terminal) = (String::new(), Terminal::new());
        Screen::new(&menu, at(0), &mut out);
        terminal.show(&mut out);
        assert!(terminal.line(5).starts_with("Boots in 86400 s: F\u{fc}r ?[2J"));
    }

    struct Random(u64);

    impl Random {
        fn byte(&mut self) -> u8 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            self.0.to_be_bytes()[0]
        }
    }

    #[test]
    fn noise_never_holds_the_boot_beyond_the_bound() {
        // A hail without pause, bursts, and single bytes with silence around them, which can be keys.
        for (pause, enter) in [
            (0, true),
            (7, true),
            (25, true),
            (1000, true),
            (25, false),
            (1000, false),
        ] {
            for display in [Display::Shown, Display::Hidden, Display::AtOnce] {
                let mut menu = three(display, Some(5));
                menu.on_timeout = Pick::plain(1);
                let (mut out, mut terminal) = (String::new(), Terminal::new());
                let (mut random, mut millis) = (Random(7), 0);
                let mut screen = Screen::new(&menu, at(0), &mut out);
                let ended = (0..100_000).any(|i| {
                    if pause > 0 || i % 100 == 0 {
                        millis += pause.max(10);
                    }
                    let byte = random.byte();
                    let is_enter = matches!(byte, b'\r' | b'\n');
                    screen.byte(if is_enter && !enter { b'd' } else { byte }, at(millis));
                    let ended = screen.tick(at(millis), &mut out).is_some();
                    terminal.show(&mut out);
                    ended
                });
                let end = ATTENDED + Duration::from_millis(1000);
                assert!(ended && at(millis) <= at(0) + end, "{pause} {display:?} {millis}");
            }
        }
    }

    #[test]
    fn a_burst_with_anything_but_keys_in_it_does_nothing() {
        let menu = three(Display::Shown, Some(5));
        for burst in [
            &b"$GPGGA,123519,4807.038,N\r\n"[..],
            b"login:\r\n",
            b"x\r",
            b"\x1b[Bx",
            b"\x1b[",
            b"\x1b\r",
            b"\x1b[31m\r",
            b"\r\0",
            b"\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r",
        ] {
            let mut out = String::new();
            let mut screen = Screen::new(&menu, at(0), &mut out);
            assert_eq!(press(&mut screen, burst, 0, &mut out), None, "{burst:?}");
            assert_eq!(
                (screen.selected, screen.deadline),
                (0, Some(at(5000))),
                "{burst:?}"
            );
        }
    }
}
