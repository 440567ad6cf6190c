//! A menu as it is drawn: ANSI (ECMA-48) with DEC's scroll region, as big as the terminal says or 80×24, readable on a
//! dumb terminal too.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::mem;

use smoltcp::time::Duration;

use super::model::{Action, Behaviour, Entry, Menu, Page};
use crate::terminal::{self, Size, put};
use crate::text;

/// The row of the first entry, counted from 1 as terminals do.
const FIRST_ROW: usize = 3;
/// Rows around the entries: title, keys, status, the blank lines between them, and three for the log.
pub(super) const AROUND: usize = 8;
/// Rows of the help text below them, at most.
const MAX_HELP: usize = 6;
/// Columns before a label.
const BEFORE: usize = 6;

/// What the status line says while a clock runs.
pub(super) struct Countdown<'m> {
    /// The time until the menu ends by itself.
    pub left: Duration,
    /// Whether a key has moved the end.
    pub held: bool,
    /// The entry that it ends with.
    pub entry: &'m Entry,
}

/// What a status line says: the seconds that are left, whether a key has moved the end, and which entry it ends with; none without a
/// clock. Its text is made only when this changes, not in each round of the poll loop.
type Says = Option<(u64, bool, *const Entry)>;

impl Countdown<'_> {
    fn seconds(&self) -> u64 {
        self.left.total_millis().div_ceil(1000)
    }

    fn says(&self) -> (u64, bool, *const Entry) {
        (self.seconds(), self.held, core::ptr::from_ref(self.entry))
    }
}

/// The part of a menu that is in view, on a terminal of some size.
pub(super) struct View<'m> {
    menu: &'m Menu,
    /// The page in view.
    page: usize,
    /// The line of it that is selected.
    pub selected: usize,
    /// The first line in view.
    pub top: usize,
    /// Why what is selected did not boot, until a key moves.
    pub reason: Option<&'m str>,
    /// Rows that the help texts of the page need.
    help: usize,
    pub size: Size,
    /// The status line as drawn, and what it says; none before the first.
    pub status: String,
    says: Option<Says>,
}

impl<'m> View<'m> {
    /// A page of `menu` as it opens, on a terminal that has not said how big it is.
    pub(super) fn new(menu: &'m Menu, page: usize) -> Self {
        let mut view = Self {
            menu,
            page,
            selected: 0,
            top: 0,
            reason: None,
            help: 0,
            size: Size::DEFAULT,
            status: String::new(),
            says: None,
        };
        view.turn_to(page);
        view
    }

    fn page(&self) -> Option<&'m Page> {
        self.menu.pages.get(self.page)
    }

    /// The entries of the page, as indexes.
    pub(super) fn lines(&self) -> &'m [usize] {
        self.page().map_or(&[], |page| &page.lines)
    }

    /// The entry of a line of the page.
    pub(super) fn entry(&self, line: usize) -> Option<&'m Entry> {
        self.menu.entries.get(*self.lines().get(line)?)
    }

    /// The page that this one was opened from.
    pub(super) fn parent(&self) -> Option<usize> {
        self.page().and_then(|page| page.parent)
    }

    /// Makes another page the one in view.
    pub(super) fn turn_to(&mut self, page: usize) {
        (self.page, self.top, self.reason) = (page, 0, None);
        self.selected = self.page().map_or(0, |page| page.selected);
        let helps = (0..self.lines().len()).filter_map(|line| self.entry(line));
        self.help = helps.map(|entry| entry.help.len()).max().unwrap_or(0);
        self.scroll();
    }

    /// Selects the line of this entry, when the page has it.
    pub(super) fn start_at(&mut self, entry: usize) {
        let line = self.lines().iter().position(|&line| line == entry);
        self.selected = line.unwrap_or(self.selected);
        self.scroll();
    }

    /// Selects another line, and draws what that changes.
    pub(super) fn select(&mut self, line: usize, out: &mut String) {
        if line == self.selected {
            return;
        }
        self.reason = None;
        let before = mem::replace(&mut self.selected, line);
        if self.scroll() {
            for row in 0..self.rows() {
                self.draw_entry_in_place(self.top.saturating_add(row), out);
            }
            in_row(FIRST_ROW.saturating_sub(1), out, |out| self.draw_above(out));
            in_row(FIRST_ROW.saturating_add(self.rows()), out, |out| {
                self.draw_below(out)
            });
        } else {
            self.draw_entry_in_place(before, out);
            self.draw_entry_in_place(line, out);
        }
        let help = |line| self.entry(line).map_or(&[][..], |entry| &entry.help);
        if help(before) != help(line) {
            for row in 0..self.help_rows() {
                let at = self.status_row().saturating_add(2).saturating_add(row);
                in_row(at, out, |out| self.draw_help(row, out));
            }
        }
    }

    /// Brings the selection into view; `true` when the view moved.
    fn scroll(&mut self) -> bool {
        let top = self.top;
        let lowest = self.selected.saturating_sub(self.rows().saturating_sub(1));
        self.top = top.clamp(lowest, self.selected.max(lowest));
        self.top != top
    }

    /// Goes on with a terminal of this size, once it is drawn again.
    pub(super) fn resize(&mut self, size: Size) {
        self.size = size;
        self.scroll();
    }

    /// Rows that help texts have.
    fn help_rows(&self) -> usize {
        let half = self.size.rows.saturating_sub(AROUND) / 2;
        self.help.min(MAX_HELP).min(half.saturating_sub(1))
    }

    /// Rows between the status and the log.
    fn below(&self) -> usize {
        match self.help_rows() {
            0 => 0,
            rows => rows.saturating_add(1),
        }
    }

    /// How many entries are in view.
    pub(super) fn rows(&self) -> usize {
        let room = self.size.rows.saturating_sub(AROUND).saturating_sub(self.below());
        self.lines().len().min(room)
    }

    fn status_row(&self) -> usize {
        // A blank line and the line of keys are in between.
        self.rows().saturating_add(FIRST_ROW).saturating_add(2)
    }

    fn width(&self) -> usize {
        self.size.columns.saturating_sub(1)
    }

    /// Draws everything, line by line, so that a terminal that ignores control sequences shows it too. The rows below
    /// the status scroll by themselves: log lines go there and leave the menu in place.
    pub(super) fn draw(&mut self, countdown: Option<&Countdown<'_>>, out: &mut String) {
        let width = self.width();
        let title = self.page().and_then(|page| page.title.as_deref());
        let title = text::printable(title.unwrap_or("Boot menu"), width);
        put(out, format_args!("\x1b[r\x1b[2J\x1b[H{title}\r\n"));
        self.draw_above(out);
        out.push_str("\r\n");
        for row in 0..self.rows() {
            self.draw_entry(self.top.saturating_add(row), out);
            put(out, format_args!("\r\n"));
        }
        let keys = text::printable(&self.keys_line(), width);
        self.status = self.status_text(countdown);
        self.says = Some(countdown.map(Countdown::says));
        self.draw_below(out);
        put(out, format_args!("\r\n{keys}\r\n{}\r\n", self.status));
        if self.help_rows() > 0 {
            out.push_str("\r\n");
        }
        for row in 0..self.help_rows() {
            self.draw_help(row, out);
            out.push_str("\r\n");
        }
        let log = self.status_row().saturating_add(1).saturating_add(self.below());
        put(out, format_args!("\x1b[{log};{}r\x1b[{log};1H", self.size.rows));
        if let Some(reason) = self.reason {
            let lines = terminal::wrapped(reason, width);
            // Its end says what was wrong; a row is left for what is typed.
            let room = self.size.rows.saturating_sub(log);
            for line in lines.iter().skip(lines.len().saturating_sub(room)) {
                put(out, format_args!("{line}\r\n"));
            }
        }
    }

    /// Above the entries: how many of the page are out of view there.
    fn draw_above(&self, out: &mut String) {
        self.draw_more(self.top, "above", out);
    }

    /// The same below them.
    fn draw_below(&self, out: &mut String) {
        let end = self.top.saturating_add(self.rows());
        self.draw_more(self.lines().len().saturating_sub(end), "below", out);
    }

    fn draw_more(&self, count: usize, place: &str, out: &mut String) {
        out.push_str(&terminal::more(count, place, BEFORE, self.width()));
    }

    fn draw_entry(&self, line: usize, out: &mut String) {
        let Some(entry) = self.entry(line) else {
            return;
        };
        let (mark, on, off) = if line == self.selected {
            (">", "\x1b[7m", "\x1b[m")
        } else {
            (" ", "", "")
        };
        let width = self.width().saturating_sub(BEFORE);
        let indent = usize::from(entry.indent).min(width / 2);
        // An entry that leads to a submenu has a mark.
        let (more, room) = match entry.action {
            Action::Page(_) => (" >", width.saturating_sub(indent).saturating_sub(2)),
            _ => ("", width.saturating_sub(indent)),
        };
        let label = text::printable(entry.shown(), room);
        let key = entry
            .hot_key
            .filter(|key| key.is_ascii_graphic() && !entry.disabled);
        match key {
            Some(key) => put(out, format_args!("{mark} [{}] ", char::from(key))),
            None => put(out, format_args!("{mark}     ")),
        }
        put(out, format_args!("{:indent$}{on}{label}{off}{more}", ""));
    }

    fn draw_entry_in_place(&self, line: usize, out: &mut String) {
        let row = line.saturating_sub(self.top).saturating_add(FIRST_ROW);
        in_row(row, out, |out| self.draw_entry(line, out));
    }

    /// A row of the selected entry's help text.
    fn draw_help(&self, row: usize, out: &mut String) {
        let help = self.entry(self.selected).map_or(&[][..], |entry| &entry.help);
        let hidden = help.len().saturating_sub(row);
        let line = match help.get(row) {
            Some(_) if hidden > 1 && row.saturating_add(1) == self.help_rows() => {
                format!("({hidden} more lines)")
            }
            Some(line) => line.clone(),
            None => return,
        };
        out.push_str(&text::printable(&line, self.width()));
    }

    /// Draws the status line when it has changed; `is_typing` says that the cursor is in a line that is typed.
    pub(super) fn draw_status(
        &mut self,
        countdown: Option<&Countdown<'_>>,
        is_typing: bool,
        out: &mut String,
    ) {
        let says = Some(countdown.map(Countdown::says));
        if self.says == says {
            return;
        }
        self.says = says;
        let status = self.status_text(countdown);
        if status != self.status {
            let row = self.status_row();
            if is_typing {
                // The cursor stays in the line that is typed.
                put(out, format_args!("\x1b7\x1b[{row};1H{status}\x1b[K\x1b8"));
            } else {
                in_row(row, out, |out| out.push_str(&status));
            }
            self.status = status;
        }
    }

    fn status_text(&self, countdown: Option<&Countdown<'_>>) -> String {
        let text = match countdown {
            Some(countdown @ Countdown { held, entry, .. }) => {
                let seconds = countdown.seconds();
                let does = match self.menu.behaviour {
                    Behaviour::Syslinux => "Boots",
                    Behaviour::Script(_) => "Goes on",
                };
                // Else a key seems to give the menu another timeout.
                let held = if *held { " (held by a key)" } else { "" };
                match self.menu.texts.countdown(seconds) {
                    Some(text) => format!("{text}{held}"),
                    None => format!("{does} in {seconds} s{held}: {}", entry.shown()),
                }
            }
            None => String::from("Waiting for a key"),
        };
        text::printable(&text, self.width())
    }

    /// The line below the entries.
    fn keys_line(&self) -> String {
        let mut line = match self.menu.behaviour {
            Behaviour::Syslinux => "Arrows and hot keys select, Enter boots",
            Behaviour::Script(_) => "Arrows select, Enter and hot keys choose, Esc leaves",
        }
        .to_string();
        if self.parent().is_some() {
            line.push_str(", Esc goes back");
        }
        if self.menu.is_editable() {
            match self.menu.texts.editing.as_deref() {
                None => line.push_str(", Tab edits"),
                Some("") => {}
                Some(text) => put(&mut line, format_args!(". {text}")),
            }
        }
        line
    }
}

/// Writes into a row and returns to where the cursor was. The leading CR makes a dumb terminal write over its last line.
fn in_row(row: usize, out: &mut String, write: impl FnOnce(&mut String)) {
    put(out, format_args!("\r\x1b7\x1b[{row};1H"));
    write(out);
    put(out, format_args!("\x1b[K\x1b8"));
}

#[cfg(test)]
pub(super) mod tests {
    use smoltcp::time::Instant;

    use super::super::model::{Boot, Display, Pick};
    use super::super::password::Password;
    use super::super::screen::{Choice, Screen};
    use super::*;
    use crate::terminal::keys::SILENCE;
    use crate::terminal::screen::Terminal;
    use crate::text::shortened;
    use crate::url::Url;

    pub(in crate::menu) fn entry(label: &str, hot_key: Option<u8>) -> Entry {
        Entry {
            label: Some(label.into()),
            hot_key,
            ..Entry::new("name", Action::Local(0))
        }
    }

    pub(in crate::menu) fn menu(entries: Vec<Entry>, display: Display, timeout: Option<u64>) -> Menu {
        let url = Url::parse("http://192.0.2.1/menu").unwrap();
        Menu {
            on_timeout: Some(Pick::plain(if display == Display::AtOnce { 0 } else { 1 })),
            timeout: timeout.map(Duration::from_secs),
            total: timeout.map(|seconds| Duration::from_secs(seconds.max(600))),
            display,
            ..Menu::flat(url, Some("Rack 7".into()), entries, Behaviour::Syslinux)
        }
    }

    pub(in crate::menu) fn three(display: Display, timeout: Option<u64>) -> Menu {
        let entries = vec![
            entry("Debian 12", Some(b'd')),
            entry("Alpine", None),
            entry("Rescue", Some(b'r')),
        ];
        menu(entries, display, timeout)
    }

    pub(in crate::menu) fn many() -> Menu {
        let entries = (0..100).map(|i| entry(&format!("Entry {i}"), None)).collect();
        menu(entries, Display::Shown, None)
    }

    pub(in crate::menu) fn at(millis: i64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Sends `keys` at `millis` and looks at them when the line is silent again.
    pub(in crate::menu) fn press<'m>(
        screen: &mut Screen<'m>,
        keys: &[u8],
        millis: i64,
        out: &mut String,
    ) -> Option<Choice<'m>> {
        keys.iter().for_each(|&key| screen.byte(key, at(millis)));
        screen.tick(at(millis) + SILENCE, out)
    }

    pub(in crate::menu) fn by_person<'m>(entry: usize) -> Option<Choice<'m>> {
        Some(Choice::Entry {
            pick: Pick::plain(entry),
            by_person: true,
        })
    }

    /// A menu with a submenu, a locked entry, help texts and things that can be edited; the clock boots the first.
    pub(in crate::menu) fn rich() -> Menu {
        let boot = Boot {
            append: "quiet".into(),
            ..Boot::of("Image")
        };
        let boots = |name: &str| Entry {
            help: vec![format!("Help for {name}")],
            ..Entry::new(name, Action::Boot(boot.clone()))
        };
        let entries = vec![
            boots("one"),
            Entry::new("", Action::Gap),
            Entry {
                indent: 2,
                ..Entry::new("more", Action::Page(1))
            },
            Entry {
                password: Some(Password::new("secret")),
                ..boots("locked")
            },
            Entry {
                disabled: true,
                hot_key: Some(b'x'),
                ..boots("disabled")
            },
            boots("inside"),
        ];
        let url = Url::parse("http://192.0.2.1/menu").unwrap();
        let mut menu = Menu {
            timeout: Some(Duration::from_secs(5)),
            total: Some(Duration::from_secs(600)),
            ..Menu::flat(url, Some("Rack 7".into()), entries, Behaviour::Syslinux)
        };
        menu.pages[0].lines = vec![0, 1, 2, 3, 4];
        menu.pages.push(Page {
            title: Some("More".into()),
            lines: vec![5],
            selected: 0,
            parent: Some(0),
        });
        menu
    }

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
            "Arrows and hot keys select, Enter boots, Tab edits",
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
        assert!(out.len() < 150, "two entries and the status: {out:?}");
        terminal.show(&mut out);
        let changed = [terminal.line(2), terminal.line(3), terminal.line(7)];
        assert_eq!(
            changed,
            [
                "  [d] Debian 12",
                ">     Alpine",
                "Boots in 60 s (held by a key): Alpine"
            ]
        );
        assert_eq!(press(&mut screen, b"\r", 2000, &mut out), by_person(1));

        screen.close(&mut out);
        terminal.show(&mut out);
        assert_eq!(terminal.region, (0, 23));
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
    fn labels_reach_the_terminal_printable_and_cut() {
        let label = format!("F\u{fc}r \x1b[2J\u{202e}\u{9b}31m\u{4e2d} {}", "x".repeat(200));
        assert!(shortened(&label).starts_with("F\u{fc}r ?[2J??31m? xxx"));
        let mut menu = menu(vec![entry(&label, None)], Display::Shown, Some(86_400));
        (menu.pages[0].title, menu.on_timeout) = (Some(label.clone()), Some(Pick::plain(0)));
        menu.messages = vec![label];
        let (mut out, mut terminal) = (String::new(), Terminal::new());
        Screen::new(&menu, at(0), &mut out);
        terminal.show(&mut out);
        assert!(terminal.line(5).starts_with("Boots in 86400 s: F\u{fc}r ?[2J"));
    }

    #[test]
    fn a_reason_longer_than_its_room_shows_its_end() {
        for (rows, columns) in [(12, 20), (24, 80), (12, 200)] {
            let mut menu = many();
            menu.again(
                Pick::plain(50),
                format!("{} the-end", "word ".repeat(300)),
                Duration::ZERO,
            );
            let mut out = String::new();
            let mut screen = Screen::new(&menu, at(0), &mut out);
            out.clear();
            press(
                &mut screen,
                format!("\x1b[{rows};{columns}R").as_bytes(),
                10,
                &mut out,
            );
            let mut terminal = Terminal::of(Size { rows, columns });
            // 24 by 80 is nothing new.
            if out.is_empty() {
                press(&mut screen, b"\x0c", 20, &mut out);
            }
            terminal.show(&mut out);
            assert!(
                terminal.lines().last().unwrap().ends_with("the-end"),
                "{:#?}",
                terminal.lines()
            );
            assert_eq!(terminal.line(0), "Rack 7");
            assert!(terminal.lines().contains(&">     Entry 50".to_string()));
        }
    }

    #[test]
    fn a_help_text_that_has_no_room_says_so() {
        let mut menu = rich();
        menu.entries[0].help = (1..=9).map(|nth| format!("help {nth}")).collect();
        let mut out = String::new();
        let mut terminal = Terminal::new();
        Screen::new(&menu, at(0), &mut out);
        terminal.show(&mut out);
        assert_eq!(
            (terminal.line(15).as_str(), terminal.line(16).as_str()),
            ("help 5", "(4 more lines)")
        );
        menu.entries[0].help.truncate(6);
        Screen::new(&menu, at(0), &mut out);
        terminal.show(&mut out);
        assert_eq!(terminal.line(16), "help 6");
    }
}
