//! What keys and the clock do in a menu on a serial terminal; `draw` draws it.
//!
//! Keys: up, down, page up, page down, home and end move the selection, an entry's hot key goes to it, Enter boots it or
//! opens its submenu, Esc and left go back from one, Tab edits its command line, F1 to F12 show what the menu has for
//! them, Ctrl-L draws everything again. While no menu is shown, Esc or `m` shows it. Every one of them gives a person
//! another minute; nothing else that arrives does anything. In a script's menu a hot key chooses at once, as in iPXE, and
//! Esc and Ctrl-C leave the menu.
//!
//! A key is told from noise by the silence around it (`terminal/keys.rs`). A GPS receiver on the UART, or a line that picks
//! up hum, chooses nothing, and whatever arrives, the countdown ends: in a password and in a line that is edited too.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};

use super::draw::{Countdown, View};
use super::model::{Action, Behaviour, Display, Entry, Key as Named, Menu, Pick};
use crate::patience;
use crate::terminal::editor::{Echo, Editor};
use crate::terminal::keys::{Burst, Key};
use crate::terminal::{ASK_SIZE, Size, put};
use crate::text::{self, shortened};

/// How long a key is waited for when the default boots at once; one that came earlier waits in the console.
const GRACE: Duration = Duration::from_millis(100);
/// The most bytes that keys without a pause between them can be.
const MAX_BURST: usize = 16;
/// Bytes of a line that is typed, and of what is typed without a pause then.
const MAX_LINE: usize = 2047;
/// Wrong passwords, after which a menu takes no more.
const MAX_WRONG: u32 = 5;

/// The outcome of a menu, or the reason to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice<'m> {
    /// This is to boot.
    Entry {
        pick: Pick,
        /// Whether a person pressed a key for it, rather than the time being up.
        by_person: bool,
    },
    /// A text file is to be shown, and the menu goes on.
    Text(&'m str),
    /// A person left a script's menu.
    Left,
    /// A script's menu without a timeout was given up: no key came for too long.
    Unattended,
}

/// What a line is typed for (D-88).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Purpose {
    /// The password of what is picked.
    Open(Pick),
    /// The menu's password, to edit what is picked.
    Unlock(Pick),
    /// Its command line.
    Edit(Pick),
}

/// A line that is typed, in the rows of the log.
#[derive(Debug)]
struct Dialogue {
    purpose: Purpose,
    prompt: String,
    editor: Editor,
}

/// The menu as shown, and what was typed.
pub(super) struct Screen<'m> {
    menu: &'m Menu,
    view: View<'m>,
    visible: bool,
    /// Until when the terminal's size is news.
    asked: Instant,
    dialogue: Option<Dialogue>,
    /// Wrong passwords so far.
    wrong: u32,
    /// When the default boots; none when only a person can choose.
    deadline: Option<Instant>,
    /// Whether a key has moved the countdown.
    held: bool,
    /// Past this no key moves the deadline.
    latest: Instant,
    /// When a menu without a deadline is given up.
    abandoned: Instant,
    burst: Burst,
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
        let boots = menu.behaviour.timeouts().is_some() || menu.on_timeout.is_some();
        let latest = now + menu.total.unwrap_or(patience::MENU_HELD);
        // A person's choice that failed stays selected: a second Enter must not boot the default (D-113).
        let failed = menu.failed.as_ref().map(|(pick, _)| pick.entry);
        let page = failed.and_then(|entry| menu.page_of(entry)).unwrap_or(menu.start);
        let mut view = View::new(menu, page);
        view.reason = menu.failed.as_ref().map(|(_, reason)| &**reason);
        view.start_at(failed.unwrap_or(menu.default.entry));
        let mut screen = Self {
            menu,
            view,
            visible: menu.display == Display::Shown,
            asked: now,
            dialogue: None,
            wrong: 0,
            deadline: wait.filter(|_| boots).map(|wait| (now + wait).min(latest)),
            held: false,
            latest,
            abandoned: now
                + menu
                    .behaviour
                    .timeouts()
                    .map_or(patience::MENU_UNATTENDED, |timeouts| timeouts.unattended),
            burst: Burst::new(MAX_BURST),
        };
        if screen.visible {
            screen.draw(now, out);
            screen.ask_size(now, out);
        }
        for message in &menu.messages {
            put(out, format_args!("{}\r\n", shortened(message)));
        }
        screen
    }

    /// Takes a byte from the console.
    pub(super) fn byte(&mut self, byte: u8, now: Instant) {
        self.burst.push(byte, now);
    }

    /// Whether a burst of bytes is still arriving.
    pub(super) fn hears(&self) -> bool {
        self.burst.waits()
    }

    /// Acts on the keys that are complete, draws what changed, and says what is to boot when that is known.
    pub(super) fn tick(&mut self, now: Instant, out: &mut String) -> Option<Choice<'m>> {
        let keys = self.burst.take(now);
        // A size report comes from the terminal itself; it is no sign of a person.
        let (sizes, keys): (Vec<Key>, Vec<Key>) =
            keys.into_iter().partition(|key| matches!(key, Key::Size(_)));
        if let Some(Key::Size(size)) = sizes.last() {
            self.resize(*size, now, out);
        }
        if keys.iter().all(|key| self.takes(*key)) {
            for key in keys {
                if let Some(choice) = self.key(key, now, out) {
                    return Some(choice);
                }
            }
        }
        if self.deadline.is_some_and(|deadline| now >= deadline)
            && let Some(pick) = self.unattended()
        {
            return Some(Choice::Entry {
                pick,
                by_person: false,
            });
        }
        if self.deadline.is_none() && now >= self.abandoned {
            return Some(Choice::Unattended);
        }
        if self.visible {
            let countdown = self.countdown(now);
            let is_typing = self.dialogue.is_some();
            self.view.draw_status(countdown.as_ref(), is_typing, out);
        }
        None
    }

    /// Gives the whole terminal back to the log.
    pub(super) fn close(&mut self, out: &mut String) {
        if self.visible {
            put(out, format_args!("\x1b[r\x1b[{};1H\r\n", self.view.size.rows));
        }
        self.visible = false;
    }

    fn is_script(&self) -> bool {
        self.menu.behaviour.timeouts().is_some()
    }

    /// Shows another page.
    fn open(&mut self, page: usize, now: Instant, out: &mut String) {
        self.view.turn_to(page);
        self.draw(now, out);
    }

    /// Whether a key has an effect now.
    fn takes(&self, key: Key) -> bool {
        if self.dialogue.is_some() {
            return matches!(key, Key::Enter | Key::Escape | Key::INTERRUPT | Key::REDRAW)
                || Editor::takes(key);
        }
        if !self.visible {
            return matches!(key, Key::Escape | Key::Character('m' | 'M')) || self.hidden(key).is_some();
        }
        match key {
            Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Home | Key::End => true,
            Key::Enter | Key::Escape | Key::REDRAW => true,
            Key::INTERRUPT if self.is_script() => true,
            Key::Left => self.view.parent().is_some(),
            Key::Tab if self.menu.is_editable() => true,
            Key::Function(n) => self.file(n).is_some(),
            key => self.hot(key).is_some(),
        }
    }

    /// The text that a function key shows.
    fn file(&self, n: u8) -> Option<&'m str> {
        let index = usize::from(n).checked_sub(1)?;
        self.menu.function_keys.get(index)?.as_deref()
    }

    /// The pick of a key while the menu is hidden.
    fn hidden(&self, key: Key) -> Option<&'m Pick> {
        let is = |named: &Named| match (named, key) {
            (Named::Byte(byte), key) => key.code() == Some(u32::from(*byte)),
            (Named::Function(n), Key::Function(pressed)) => *n == pressed,
            (Named::Function(_), _) => false,
        };
        let mut keys = self.menu.hidden_keys.iter();
        keys.find(|(named, _)| is(named)).map(|(_, pick)| pick)
    }

    fn key(&mut self, key: Key, now: Instant, out: &mut String) -> Option<Choice<'m>> {
        if self.dialogue.is_some() {
            self.attended(now);
            return self.type_in(key, now, out);
        }
        if !self.visible {
            let hidden = self.hidden(key).cloned();
            if hidden.is_some() || matches!(key, Key::Escape | Key::Character('m' | 'M')) {
                self.attended(now);
                if let Some(pick) = hidden.clone()
                    && !self.locked(&pick)
                {
                    return Some(by_person(pick));
                }
                self.visible = true;
                self.draw(now, out);
                self.ask_size(now, out);
                return hidden.and_then(|pick| self.pick(pick, now, out));
            }
            return None;
        }
        let last = self.view.lines().len().saturating_sub(1);
        let rows = self.view.rows();
        let (target, down) = match key {
            Key::Up => (self.view.selected.saturating_sub(1), false),
            Key::Down => (self.view.selected.saturating_add(1).min(last), true),
            Key::PageUp => (self.view.selected.saturating_sub(rows), false),
            Key::PageDown => (self.view.selected.saturating_add(rows).min(last), true),
            Key::Home => (0, true),
            Key::End => (last, false),
            Key::Enter => (self.view.selected, true),
            Key::REDRAW => {
                self.attended(now);
                self.draw(now, out);
                self.ask_size(now, out);
                return None;
            }
            Key::Escape | Key::INTERRUPT if self.is_script() => return Some(Choice::Left),
            Key::Escape | Key::Left if self.hot(key).is_none() => {
                if let Some(parent) = self.view.parent() {
                    self.attended(now);
                    self.open(parent, now, out);
                }
                return None;
            }
            Key::Tab if self.menu.is_editable() => {
                self.attended(now);
                self.edit(out);
                return None;
            }
            Key::Function(n) => {
                self.attended(now);
                return self.file(n).map(Choice::Text);
            }
            key => (self.hot(key)?, true),
        };
        let is_hot = key != Key::Enter && self.hot(key).is_some_and(|line| line == target);
        let target = self.past_gaps(target, down);
        self.attended(now);
        let entry = self.view.entry(target).filter(|entry| entry.selectable());
        let chosen = entry.is_some_and(|entry| {
            // A gap's key only leads behind the gap.
            key == Key::Enter || is_hot && entry.immediate && self.is_key_of(entry, key)
        });
        if !chosen {
            self.view.select(target, out);
            return None;
        }
        if let Some(entry) = entry
            && let Action::Page(page) = entry.action
            && entry.password.is_none()
        {
            self.open(page, now, out);
            return None;
        }
        self.view.select(target, out);
        self.pick(self.pick_of(target), now, out)
    }

    /// The pick of a line. The default keeps the arguments that DEFAULT gave it.
    fn pick_of(&self, line: usize) -> Pick {
        let entry = self.view.lines().get(line).copied().unwrap_or(line);
        let default = &self.menu.default;
        if entry == default.entry {
            default.clone()
        } else {
            Pick::plain(entry)
        }
    }

    fn locked(&self, pick: &Pick) -> bool {
        let entry = self.menu.entries.get(pick.entry);
        entry.is_some_and(|entry| entry.password.is_some())
    }

    /// A person picks something: it is chosen, or its password is asked for.
    fn pick(&mut self, pick: Pick, now: Instant, out: &mut String) -> Option<Choice<'m>> {
        if self.locked(&pick) {
            self.ask_password(Purpose::Open(pick), out);
            return None;
        }
        self.opened(pick, now, out)
    }

    /// Acts on a pick whose password is known.
    fn opened(&mut self, pick: Pick, now: Instant, out: &mut String) -> Option<Choice<'m>> {
        match self.menu.entries.get(pick.entry).map(|entry| &entry.action) {
            Some(Action::Page(page)) => {
                self.open(*page, now, out);
                None
            }
            _ => Some(by_person(pick)),
        }
    }

    /// Begins to edit the selected entry's command line, or to ask for the password that it takes.
    fn edit(&mut self, out: &mut String) {
        let pick = self.pick_of(self.view.selected);
        let entry = self.menu.entries.get(pick.entry);
        if !matches!(entry, Some(entry) if matches!(entry.action, Action::Boot(_))) {
            return;
        }
        if self.menu.lets_edit("") {
            // A person who may not boot the entry may not see its command line either.
            if self.locked(&pick) {
                self.ask_password(Purpose::Unlock(pick), out);
            } else {
                self.edit_line(pick, out);
            }
        } else {
            self.ask_password(Purpose::Unlock(pick), out);
        }
    }

    fn edit_line(&mut self, pick: Pick, out: &mut String) {
        let entry = self.menu.entries.get(pick.entry);
        if let Some(Action::Boot(boot)) = entry.map(|entry| &entry.action) {
            // A line that was typed and did not boot is edited further.
            let failed = self.menu.failed.as_ref().map(|(failed, _)| failed);
            let typed = failed.filter(|failed| failed.entry == pick.entry);
            let line = typed.and_then(|failed| failed.line.clone());
            let line = line.unwrap_or_else(|| boot.line(&pick.arguments));
            self.converse(Purpose::Edit(pick), "> ", &line, Echo::Plain, out);
        }
    }

    fn ask_password(&mut self, purpose: Purpose, out: &mut String) {
        if self.wrong >= MAX_WRONG {
            out.push_str("Too many wrong passwords: none is taken until the menu is shown anew\r\n");
            return;
        }
        let prompt = match &self.menu.texts.password {
            Some(text) => format!("{} ", shortened(text)),
            None => self.password_prompt(&purpose),
        };
        self.converse(purpose, &prompt, "", Echo::Secret, out);
    }

    /// What a password is asked for, in half of a row.
    fn password_prompt(&self, purpose: &Purpose) -> String {
        let what = match purpose {
            Purpose::Unlock(_) if !self.menu.lets_edit("") => "to change command lines".into(),
            Purpose::Open(pick) | Purpose::Unlock(pick) | Purpose::Edit(pick) => {
                format!("for {}", self.menu.shown(pick))
            }
        };
        let room = (self.view.size.columns / 2).saturating_sub("Password : ".len());
        match text::printable(&what, room).trim_end() {
            "" => "Password: ".into(),
            what => format!("Password {what}: "),
        }
    }

    /// Lets a person type a line, where the log is.
    fn converse(&mut self, purpose: Purpose, prompt: &str, initial: &str, echo: Echo, out: &mut String) {
        let prompt = text::printable(prompt, self.view.size.columns / 2);
        self.burst.limit(MAX_LINE);
        self.dialogue = Some(Dialogue {
            purpose,
            editor: Editor::new(initial, echo, MAX_LINE, 0),
            prompt,
        });
        self.draw_dialogue(out);
    }

    /// A key for the line that is typed.
    fn type_in(&mut self, key: Key, now: Instant, out: &mut String) -> Option<Choice<'m>> {
        match key {
            Key::REDRAW => {
                self.draw(now, out);
                self.ask_size(now, out);
                return None;
            }
            Key::Enter | Key::Escape | Key::INTERRUPT => {}
            key => {
                let dialogue = self.dialogue.as_mut()?;
                dialogue.editor.key(key);
                dialogue.editor.paint(out);
                return None;
            }
        }
        let mut dialogue = self.dialogue.take()?;
        self.burst.limit(MAX_BURST);
        if key != Key::Enter {
            // The line was given up, so it is wiped.
            dialogue.editor.replace("");
            dialogue.editor.paint(out);
            let prompt = dialogue.prompt.chars().count();
            put(out, format_args!("\r{:prompt$}\r", ""));
            return None;
        }
        out.push_str("\r\n");
        let text = dialogue.editor.text();
        match dialogue.purpose {
            Purpose::Edit(pick) => {
                // An empty line is a change of mind.
                let line = Some(text).filter(|text| !text.trim().is_empty())?;
                Some(by_person(Pick {
                    line: Some(line),
                    ..Pick::plain(pick.entry)
                }))
            }
            Purpose::Open(pick) if self.opens(&pick, &text) => self.opened(pick, now, out),
            Purpose::Unlock(pick)
                if self.menu.lets_edit(&text) && (self.opens(&pick, &text) || !self.locked(&pick)) =>
            {
                self.edit_line(pick, out);
                None
            }
            Purpose::Open(_) | Purpose::Unlock(_) => {
                self.wrong = self.wrong.saturating_add(1);
                out.push_str("Wrong password\r\n");
                None
            }
        }
    }

    fn opens(&self, pick: &Pick, typed: &str) -> bool {
        let entry = self.menu.entries.get(pick.entry);
        entry.is_some_and(|entry| self.menu.opens(entry, typed))
    }

    /// The nearest entry that can be selected, first in the direction of the key.
    fn past_gaps(&self, target: usize, down: bool) -> usize {
        let real = |line: &usize| self.view.entry(*line).is_some_and(Entry::selectable);
        let below = || (target..self.view.lines().len()).find(real);
        let above = || (0..=target).rev().find(real);
        let found = if down {
            below().or_else(above)
        } else {
            above().or_else(below)
        };
        found.unwrap_or(target)
    }

    /// The pick that boots when the time is up.
    fn unattended(&self) -> Option<Pick> {
        match self.menu.behaviour {
            Behaviour::Script(_) => Some(Pick::plain(self.view.selected)),
            Behaviour::Syslinux => self.menu.on_timeout.clone(),
        }
    }

    /// The next line after the selected one, around the end, whose hot key is `key`.
    fn hot(&self, key: Key) -> Option<usize> {
        key.code()?;
        let mut lines =
            (self.view.selected.saturating_add(1)..self.view.lines().len()).chain(0..=self.view.selected);
        lines.find(|&line| {
            self.view
                .entry(line)
                .is_some_and(|entry| self.is_key_of(entry, key))
        })
    }

    fn is_key_of(&self, entry: &Entry, key: Key) -> bool {
        let Some(hot) = entry.hot_key else {
            return false;
        };
        let key = match (self.menu.behaviour, key) {
            (Behaviour::Syslinux, Key::Character(c)) => Key::Character(c.to_ascii_lowercase()),
            (_, key) => key,
        };
        key.code() == Some(u32::from(hot))
    }

    /// A person is there: the countdown starts again from a minute, as far as the bound allows.
    fn attended(&mut self, now: Instant) {
        let longest = self.latest + patience::MENU_UNATTENDED;
        let timeouts = self.menu.behaviour.timeouts();
        self.abandoned =
            (now + timeouts.map_or(patience::MENU_UNATTENDED, |timeouts| timeouts.unattended)).min(longest);
        let before = self.deadline;
        self.deadline = match timeouts.and_then(|timeouts| timeouts.after_key) {
            Some(after_key) => Some((now + after_key).min(longest)),
            None => before.map(|deadline| deadline.max(now + patience::MENU_HELD_BY_A_KEY).min(self.latest)),
        };
        self.held |= self.deadline > before;
    }

    /// Asks the terminal how big it is.
    fn ask_size(&mut self, now: Instant, out: &mut String) {
        out.push_str(ASK_SIZE);
        self.asked = now + patience::TERMINAL_SIZE;
    }

    /// Draws everything.
    fn draw(&mut self, now: Instant, out: &mut String) {
        let countdown = self.countdown(now);
        self.view.draw(countdown.as_ref(), out);
        self.draw_dialogue(out);
    }

    /// What the clock does, for the status line; none while only a person can choose.
    fn countdown(&self, now: Instant) -> Option<Countdown<'m>> {
        let (menu, deadline) = (self.menu, self.deadline?);
        let left = if deadline > now {
            deadline - now
        } else {
            Duration::ZERO
        };
        Some(Countdown {
            left,
            held: self.held,
            entry: menu.entries.get(self.unattended()?.entry)?,
        })
    }

    /// Draws the line that is typed, where the cursor is.
    fn draw_dialogue(&mut self, out: &mut String) {
        let columns = self.view.size.columns;
        if let Some(dialogue) = &mut self.dialogue {
            put(out, format_args!("\r{}", dialogue.prompt));
            let room = columns.saturating_sub(dialogue.prompt.chars().count());
            dialogue.editor.moved(room);
            dialogue.editor.paint(out);
        }
    }

    fn resize(&mut self, size: Size, now: Instant, out: &mut String) {
        if self.visible && now < self.asked && size != self.view.size {
            self.view.resize(size);
            self.draw(now, out);
        }
    }
}

fn by_person<'m>(pick: Pick) -> Choice<'m> {
    Choice::Entry {
        pick,
        by_person: true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::AROUND;
    use super::super::draw::tests::{at, by_person, entry, many, menu, press, rich, three};
    use super::super::model::Editing;
    use super::super::password::Password;
    use super::*;
    use crate::terminal::screen::Terminal;

    const BY_CLOCK: Choice<'static> = Choice::Entry {
        pick: Pick {
            entry: 1,
            arguments: String::new(),
            line: None,
        },
        by_person: false,
    };

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
            assert_eq!(
                (screen.view.top, screen.view.selected),
                (top, selected),
                "{keys:?}"
            );
            assert!(terminal.line(2).ends_with(&format!("  Entry {top}")));
            // What is out of view is told on both sides, where it is any.
            let more = |count: usize, place| match count {
                0 => String::new(),
                count => format!("      ({count} more {place})"),
            };
            assert_eq!(terminal.line(1), more(top, "above"));
            assert_eq!(terminal.line(18), more(100 - 16 - top, "below"));
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
        assert_eq!(screen.view.selected, 2);
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
    fn keys_hold_a_countdown_for_ten_minutes_at_most_and_a_timeout_of_zero_for_an_hour_more() {
        let menu = three(Display::Shown, Some(5));
        let mut out = String::new();
        let mut screen = Screen::new(&menu, at(0), &mut out);
        let end = (0..100)
            .map(|i| i * 30_000)
            .find(|&millis| press(&mut screen, b"\x1b[A", millis, &mut out).is_some());
        assert_eq!(end, Some(600_000));

        let menu = three(Display::Shown, None);
        let mut screen = Screen::new(&menu, at(0), &mut out);
        assert_eq!(screen.tick(at(3_599_999), &mut out), None);
        assert_eq!(screen.view.status, "Waiting for a key");
        assert_eq!(screen.tick(at(3_600_000), &mut out), Some(Choice::Unattended));
        let mut screen = Screen::new(&menu, at(0), &mut out);
        let end = (0..1000)
            .map(|i| i * 30_000)
            .find(|&millis| press(&mut screen, b"\x1b[A", millis, &mut out).is_some());
        assert_eq!(end, Some(4_200_000), "an hour and the ten minutes of any menu");
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
                menu.on_timeout = Some(Pick::plain(1));
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
                let end = patience::MENU_HELD + Duration::from_millis(1000);
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
                (screen.view.selected, screen.deadline),
                (0, Some(at(5000))),
                "{burst:?}"
            );
        }
    }

    /// Presses these keys, a tenth of a second apart, and returns what was chosen and the terminal.
    fn typed(menu: &Menu, keys: &[&[u8]]) -> (Option<Pick>, Terminal) {
        let (mut out, mut terminal) = (String::new(), Terminal::new());
        let mut screen = Screen::new(menu, at(0), &mut out);
        let mut chosen = None;
        for (i, keys) in keys.iter().enumerate() {
            let choice = press(&mut screen, keys, i as i64 * 100, &mut out);
            terminal.show(&mut out);
            if let Some(Choice::Entry { pick, by_person }) = choice {
                assert!(by_person);
                chosen = Some(pick);
                break;
            }
        }
        (chosen, terminal)
    }

    #[test]
    fn submenus_help_texts_and_what_cannot_be_selected() {
        let menu = rich();
        let (_, terminal) = typed(&menu, &[]);
        let mut out = String::new();
        Screen::new(&menu, at(0), &mut out);
        let mut terminal = {
            let mut fresh = terminal;
            fresh.show(&mut out);
            fresh
        };
        assert_eq!(
            terminal.lines(),
            [
                "Rack 7",
                "",
                ">     one",
                "",
                "        more >",
                "      locked",
                "      disabled",
                "",
                "Arrows and hot keys select, Enter boots, Tab edits",
                "Boots in 5 s: one",
                "",
                "Help for one",
            ]
        );
        assert_eq!(terminal.asked, 1);
        // Down skips the gap, and the help text goes with the selection; a disabled entry is never selected.
        (_, terminal) = typed(&menu, &[b"\x1b[B"]);
        assert_eq!(
            (terminal.line(4).as_str(), terminal.line(11).as_str()),
            (">       more >", "")
        );
        (_, terminal) = typed(&menu, &[b"\x1b[F", b"x"]);
        assert_eq!(terminal.line(5), ">     locked");
        // Into the submenu, back by Esc or left, and what is inside boots.
        (_, terminal) = typed(&menu, &[b"\x1b[B", b"\r"]);
        assert_eq!(
            (terminal.line(0).as_str(), terminal.line(2).as_str()),
            ("More", ">     inside")
        );
        for back in [&b"\x1b"[..], b"\x1b[D"] {
            (_, terminal) = typed(&menu, &[b"\x1b[B", b"\r", back]);
            assert_eq!(terminal.line(0), "Rack 7");
        }
        assert_eq!(typed(&menu, &[b"\x1b[B", b"\r", b"\r"]).0, Some(Pick::plain(5)));
        // Nothing leads out of the menu itself.
        assert_eq!(typed(&menu, &[b"\x1b", b"\r"]).0, Some(Pick::plain(0)));
    }

    #[test]
    fn a_locked_entry_asks_for_its_password_and_gives_up_after_five() {
        let mut menu = rich();
        let down: &[u8] = b"\x1b[F";
        let (chosen, terminal) = typed(&menu, &[down, b"\r", b"secret\r"]);
        assert_eq!(chosen, Some(Pick::plain(3)));
        assert!(
            terminal
                .lines()
                .contains(&"Password for locked: ******".to_string())
        );
        let (chosen, terminal) = typed(&menu, &[down, b"\r", b"wrong\r", b"\r", b"secret\r"]);
        assert_eq!(chosen, Some(Pick::plain(3)));
        assert!(terminal.lines().contains(&"Wrong password".to_string()));
        let after = |wrong: u32| {
            let mut keys = vec![down];
            (0..wrong).for_each(|_| keys.extend([&b"\r"[..], b"wrong\r"]));
            keys.extend([&b"\r"[..], b"secret\r"]);
            typed(&menu, &keys)
        };
        assert_eq!(after(MAX_WRONG - 1).0, Some(Pick::plain(3)));
        let (chosen, terminal) = after(MAX_WRONG);
        assert_eq!(chosen, None);
        assert!(
            terminal.lines().contains(
                &"Too many wrong passwords: none is taken until the menu is shown anew".to_string()
            )
        );
        // Nor can it be edited without.
        assert_eq!(typed(&menu, &[down, b"\t", b"\r", b"\r"]).0, None);
        assert_eq!(typed(&menu, &[down, b"\r", b"\x1b", b"\x1b[A"]).0, None);
        menu.master = Some(Password::new("master"));
        assert_eq!(typed(&menu, &[down, b"\r", b"master\r"]).0, Some(Pick::plain(3)));
    }

    #[test]
    fn a_command_line_is_edited_when_the_menu_allows_it() {
        let mut menu = rich();
        let edited = |line: &str| {
            Some(Pick {
                line: Some(line.into()),
                ..Pick::plain(0)
            })
        };
        let (chosen, terminal) = typed(&menu, &[b"\t", b" single", b"\x01\x1b[3~i\r"]);
        assert_eq!(chosen, edited("image quiet single"));
        assert!(terminal.lines().contains(&"> image quiet single".to_string()));
        // Esc and an empty line change nothing.
        for keys in [&b" x\x03"[..], b"\x15\r"] {
            assert_eq!(typed(&menu, &[b"\t", keys, b"\r"]).0, Some(Pick::plain(0)));
        }
        menu.master = Some(Password::new("master"));
        let (_, terminal) = typed(&menu, &[b"\t", b"x"]);
        assert!(
            terminal
                .lines()
                .contains(&"Password to change command lines: *".to_string())
        );
        assert_eq!(typed(&menu, &[b"\t", b"wrong\r", b"x\r"]).0, None);
        assert_eq!(
            typed(&menu, &[b"\t", b"master\r", b" x\r"]).0,
            edited("Image quiet x")
        );
        menu.editing = Editing::Forbidden;
        assert_eq!(typed(&menu, &[b"\t", b"master\r", b" x\r"]).0, None);
        // No key there: what comes with it is noise.
        assert_eq!(typed(&menu, &[b"\t\r"]).0, None);
    }

    #[test]
    fn a_line_that_is_left_leaves_nothing_behind() {
        let mut menu = rich();
        let before = typed(&menu, &[b"\x1b[F"]).1.lines();
        for leave in [&b"\x1b"[..], b"\x03"] {
            let long = "x".repeat(300);
            for line in ["", " single", &long] {
                let (_, terminal) = typed(&menu, &[b"\t", line.as_bytes(), leave]);
                assert!(terminal.lines().iter().all(|line| !line.contains("> Image")));
                assert_eq!(terminal.column, 0);
            }
            let (_, terminal) = typed(&menu, &[b"\x1b[F", b"\r", b"secr", leave]);
            assert_eq!(terminal.lines(), before);
        }
        // A password is asked for by a name that may be long, and the terminal narrow.
        menu.entries[3].label = Some("A rather long name for an entry, as it goes".into());
        let (_, terminal) = typed(&menu, &[b"\x1b[F", b"\r", b"secr"]);
        assert!(
            terminal
                .lines()
                .contains(&"Password for A rather long name for an: ****".to_string())
        );
        let mut out = String::new();
        let mut screen = Screen::new(&menu, at(0), &mut out);
        out.clear();
        let mut terminal = Terminal::of(Size {
            rows: 12,
            columns: 20,
        });
        for (nth, keys) in [&b"\x1b[12;20R"[..], b"\x1b[F", b"\r", b"secr", b"\x03"]
            .iter()
            .enumerate()
        {
            assert_eq!(press(&mut screen, keys, nth as i64 * 100, &mut out), None);
            terminal.show(&mut out);
        }
    }

    #[test]
    fn what_failed_stays_selected_with_its_reason_until_a_key_moves() {
        let reason =
            "fetch: GET http://192.0.2.1/a/rather/long/path/to/a/kernel/that/is/not/there: 404 Not Found";
        let mut menu = three(Display::AtOnce, Some(5));
        menu.again(Pick::plain(2), reason.into(), Duration::from_secs(7));
        let (mut out, mut terminal) = (String::new(), Terminal::new());
        let mut screen = Screen::new(&menu, at(0), &mut out);
        terminal.show(&mut out);
        // Wherever its lines are broken.
        let says = |terminal: &Terminal| {
            terminal
                .lines()
                .concat()
                .replace(' ', "")
                .contains(&reason.replace(' ', ""))
        };
        assert_eq!(terminal.line(4), "> [r] Rescue");
        assert!(says(&terminal), "{:#?}", terminal.lines());
        // The terminal says how big it is, Ctrl-L draws again, and a key without an effect has none.
        for keys in [&b"\x1b[30;60R"[..], b"\x0c", b"q"] {
            terminal = Terminal::of(Size {
                rows: 30,
                columns: 60,
            });
            assert_eq!(press(&mut screen, keys, 100, &mut out), None);
            if keys != b"q" {
                terminal.show(&mut out);
                assert!(says(&terminal), "{:#?}", terminal.lines());
            }
        }
        // A second Enter is the same choice again, not the default.
        assert_eq!(press(&mut screen, b"\r", 200, &mut out), by_person(2));
        let mut screen = Screen::new(&menu, at(0), &mut out);
        assert_eq!(press(&mut screen, b"\x1b[A\x0c", 200, &mut out), None);
        terminal = Terminal::new();
        terminal.show(&mut out.split_off(out.rfind("\x1b[2J").unwrap()));
        assert!(
            !says(&terminal) && terminal.line(3) == ">     Alpine",
            "{:#?}",
            terminal.lines()
        );
        // What the clock boots is what it was.
        let mut screen = Screen::new(&menu, at(0), &mut out);
        let clock = Choice::Entry {
            pick: Pick::plain(0),
            by_person: false,
        };
        assert_eq!(screen.tick(at(60_000), &mut out), Some(clock));
    }

    #[test]
    fn what_failed_in_a_submenu_or_after_it_was_edited_is_there_again() {
        let mut menu = rich();
        let pick = Pick {
            line: Some("Image typed".into()),
            ..Pick::plain(5)
        };
        menu.again(pick.clone(), "why".into(), Duration::ZERO);
        let (chosen, terminal) = typed(&menu, &[b"\t", b"\r"]);
        assert_eq!(chosen, Some(pick));
        assert_eq!(
            (terminal.line(0).as_str(), terminal.line(2).as_str()),
            ("More", ">     inside")
        );
        // One that is on no page leaves the default.
        menu.again(Pick::plain(77), "why".into(), Duration::ZERO);
        assert_eq!(typed(&menu, &[b"\r"]).0, Some(Pick::plain(0)));
    }

    #[test]
    fn a_key_that_moves_no_deadline_does_not_hold_it() {
        let menu = three(Display::Shown, Some(300));
        let mut out = String::new();
        let mut screen = Screen::new(&menu, at(0), &mut out);
        assert_eq!(press(&mut screen, b"\x1b[B", 100_000, &mut out), None);
        assert_eq!(screen.view.status, "Boots in 200 s: Alpine");
        assert_eq!(press(&mut screen, b"\x1b[B", 272_000, &mut out), None);
        assert_eq!(screen.view.status, "Boots in 60 s (held by a key): Alpine");
        // In the menu's own words too.
        let mut menu = menu.clone();
        menu.texts.countdown = Some("Automatic boot in # second{,s}...".into());
        let mut screen = Screen::new(&menu, at(0), &mut out);
        assert_eq!(screen.view.status, "Automatic boot in 300 seconds...");
        assert_eq!(press(&mut screen, b"\x1b[B", 299_000, &mut out), None);
        assert_eq!(
            screen.view.status,
            "Automatic boot in 60 seconds... (held by a key)"
        );
    }

    #[test]
    fn the_terminals_size_is_used_once_it_says_it_and_holds_no_countdown() {
        let menu = many();
        for (answer, rows, columns) in [
            (&b"\x1b[40;132R"[..], 40, 132),
            (b"\x1b[1;1R", 12, 20),
            (b"\x1b[12;20R", 12, 20),
        ] {
            let mut menu = menu.clone();
            menu.timeout = Some(Duration::from_secs(5));
            menu.total = Some(Duration::from_secs(600));
            let mut out = String::new();
            let mut screen = Screen::new(&menu, at(0), &mut out);
            out.clear();
            assert_eq!(press(&mut screen, answer, 10, &mut out), None);
            let mut terminal = Terminal::of(Size { rows, columns });
            terminal.show(&mut out);
            assert_eq!(screen.view.rows(), rows - AROUND);
            assert_eq!(terminal.line(2), ">     Entry 0");
            assert_eq!(terminal.asked, 0, "an answer is not asked about");
            assert_eq!(screen.deadline, Some(at(5000)));
            // Later it is noise.
            assert_eq!(press(&mut screen, b"\x1b[30;90R", 3000, &mut out), None);
            assert_eq!(screen.view.size, Size { rows, columns });
            assert_eq!(press(&mut screen, b"\x1b[F", 3100, &mut out), None);
            terminal.show(&mut out);
            assert_eq!(terminal.line(rows - AROUND + 1), ">     Entry 99");
        }
    }

    #[test]
    fn noise_in_a_dialogue_holds_no_boot_beyond_the_bound() {
        let menu = rich();
        for (pause, opening) in [
            (1000, &[&b"\t"[..]][..]),
            (30, &[b"\t"]),
            (1000, &[b"\x1b[F", b"\r"]),
            (5, &[b"\x1b[B", b"\r"]),
        ] {
            let (mut out, mut terminal) = (String::new(), Terminal::new());
            let (mut random, mut millis) = (Random(11), 0);
            let mut screen = Screen::new(&menu, at(0), &mut out);
            for keys in opening {
                assert_eq!(press(&mut screen, keys, millis, &mut out), None);
                millis += 100;
            }
            let ended = (0..700_000).any(|_| {
                millis += pause;
                screen.byte(random.byte(), at(millis));
                let ended = screen.tick(at(millis), &mut out).is_some();
                terminal.show(&mut out);
                ended
            });
            assert!(
                ended && at(millis) <= at(0) + patience::MENU_HELD + Duration::from_secs(1),
                "{pause} {millis}"
            );
        }
    }
}
