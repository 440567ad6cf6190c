//! The model behind every menu language: entries, the pages that show them, and what keys and the clock may do.

use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use smoltcp::time::Duration;

use super::error::Unsupported;
use super::password::Password;
use crate::patience;
use crate::text::shortened;
use crate::url::Url;

/// A menu, whatever language it was written in. It has at least one entry and at least one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menu {
    /// Its URL, after redirects.
    pub url: Url,
    /// The base of the names in it.
    pub base: Url,
    /// Everything that can be booted or shown, in the text's order; what a page shows of it is the page's to say.
    pub entries: Vec<Entry>,
    /// The menu itself, then its submenus.
    pub pages: Vec<Page>,
    /// The page that is shown first: index into [`Menu::pages`].
    pub start: usize,
    /// The entry that is selected first.
    pub default: Pick,
    /// What boots when nobody is asked, or when the time is up; nothing where only a person can choose. A script's menu
    /// has it from what is selected.
    pub on_timeout: Option<Pick>,
    /// The pick that boots when an entry that the clock chose fails (ONERROR).
    pub on_error: Option<Pick>,
    /// Whether ONERROR's pick gets the failed command line as arguments.
    pub tells_on_error: bool,
    /// How long to wait for a key; `None` waits for a person, an hour or so.
    pub timeout: Option<Duration>,
    /// How long the menu can be held in all, whatever keys come; `None` only when [`Menu::timeout`] is, too.
    pub total: Option<Duration>,
    /// Whether the text names no time, so that the operator's ([`Menu::timed`]) counts.
    pub untimed: bool,
    /// Whether the text says nothing but what one label boots.
    pub lone: bool,
    /// Whether the menu is shown.
    pub display: Display,
    /// The choice of a person that failed, and the reason: the menu is shown again.
    pub failed: Option<(Pick, String)>,
    /// Lines for the person at the console.
    pub messages: Vec<String>,
    /// Its own words for what the screen says.
    pub texts: Texts,
    /// Text files that F1 to F12 show, references like those of an entry.
    pub function_keys: [Option<String>; 12],
    /// Picks that a key makes while the menu is hidden.
    pub hidden_keys: Vec<(Key, Pick)>,
    /// Who may edit a command line before it boots, or type one.
    pub editing: Editing,
    /// Whether a person may leave the menu.
    pub leaves: bool,
    /// Whether the screen is cleared when the menu ends.
    pub clears: bool,
    /// The password that opens everything.
    pub master: Option<Password>,
    /// The language of the menu, which decides what keys and the clock do.
    pub behaviour: Behaviour,
}

/// A menu or a submenu, as it is shown (D-83).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The title above the entries.
    pub title: Option<String>,
    /// The lines from the top: indexes into [`Menu::entries`].
    pub lines: Vec<usize>,
    /// The line that is selected when the page opens: an index into [`Page::lines`].
    pub selected: usize,
    /// The page that Esc leads back to; none for the menu itself.
    pub parent: Option<usize>,
}

/// A key that a menu names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The key that sends this byte.
    Byte(u8),
    /// F1 to F12.
    Function(u8),
}

/// Who may change command lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Editing {
    /// Everybody; who knows [`Menu::master`], when there is one.
    #[default]
    Allowed,
    /// Nobody (ALLOWOPTIONS 0).
    Forbidden,
}

/// A menu's own words; none where the screen has to find its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// For the countdown: `#` stands for the seconds, `{one,several}` for a word that depends on them.
    pub countdown: Option<String>,
    /// For how to edit an entry; empty when nothing is to be said.
    pub editing: Option<String>,
    /// Before a password.
    pub password: Option<String>,
}

impl Texts {
    /// The countdown's line in the menu's own words.
    pub fn countdown(&self, seconds: u64) -> Option<String> {
        self.countdown.as_deref().map(|text| counted(text, seconds))
    }
}

/// `text` with `#` replaced by `count`, and each `{one,several}` or `{one,two,several}` by what fits it.
fn counted(text: &str, count: u64) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((forms, after)) = after.split_once('}') else {
            break;
        };
        let last = forms.split(',').count().saturating_sub(1);
        let wanted = usize::try_from(count.saturating_sub(1)).unwrap_or(last).min(last);
        // Nothing is counted like several.
        let wanted = if count == 0 { last } else { wanted };
        out.push_str(before);
        out.push_str(forms.split(',').nth(wanted).unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out.replace('#', &count.to_string())
}

/// The behaviour of keys and of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Syslinux's: a hot key selects, the clock boots [`Menu::on_timeout`].
    Syslinux,
    /// iPXE's: a hot key is any byte, case counts; Esc leaves; the clock chooses what is selected.
    Script(Timeouts),
}

/// The times of a script's menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The time that starts again with each key; a minute when the script does not say.
    pub after_key: Option<Duration>,
    /// A menu without a timeout is given up this long after the last key.
    pub unattended: Duration,
}

impl Behaviour {
    pub(super) fn timeouts(self) -> Option<Timeouts> {
        match self {
            Self::Syslinux => None,
            Self::Script(timeouts) => Some(timeouts),
        }
    }
}

/// Whether a menu is shown before something boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Shown, with a countdown.
    Shown,
    /// Not shown, but the countdown runs; a documented key shows it.
    Hidden,
    /// The default boots at once, unless a documented key was already pressed.
    AtOnce,
}

/// Something that can be booted, or a line of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the menu's text.
    pub name: String,
    /// The text that the person reads, if it is not the name. It comes from the server and may hold anything.
    pub label: Option<String>,
    /// Lines that explain it while it is selected.
    pub help: Vec<String>,
    /// Columns to the right.
    pub indent: u8,
    /// The key that selects it: a lower-case ASCII letter or a digit; in a script's menu, any byte.
    pub hot_key: Option<u8>,
    /// Whether the hot key also chooses it.
    pub immediate: bool,
    /// Whether it is shown but cannot be chosen.
    pub disabled: bool,
    /// The password for choosing it.
    pub password: Option<Password>,
    /// The effect of choosing it.
    pub action: Action,
}

impl Entry {
    /// An entry that does this, and is nothing special.
    pub fn new(name: impl Into<String>, action: Action) -> Self {
        Self {
            name: name.into(),
            label: None,
            help: Vec::new(),
            indent: 0,
            hot_key: None,
            immediate: false,
            disabled: false,
            password: None,
            action,
        }
    }

    /// The text that the person reads.
    pub fn shown(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }

    /// Whether a person can select it.
    pub fn selectable(&self) -> bool {
        !self.disabled && self.action != Action::Gap
    }
}

/// The effect of choosing an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Boots.
    Boot(Boot),
    /// Another page of this menu is shown: index into [`Menu::pages`].
    Page(usize),
    /// Another menu takes the place of this one.
    Load(Load),
    /// A text file is shown: a reference like those of an entry.
    Text(String),
    /// The disk of this board boots, in the way of this number (LOCALBOOT's type: -1 is what the firmware does next).
    Local(i32),
    /// The menu is left.
    Quit,
    /// Cannot be done here.
    Unsupported(Unsupported),
    /// The script that shows the menu goes on with its name.
    Answer,
    /// Cannot be chosen: a heading, or an empty line.
    Gap,
}

/// A menu in other files, as the menu names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// References to its files, which are read as one; `~` is the file that this menu came from.
    pub files: Vec<String>,
    /// The base of the names in it, if it is not this menu's.
    pub directory: Option<String>,
    /// Whether the menu is shown, whatever its files say.
    pub asks: bool,
}

impl Load {
    /// The same, with what DEFAULT and its like say behind the label: more files for a menu module, for CONFIG the
    /// directory, if APPEND names none.
    pub(super) fn with(&self, arguments: &str) -> Self {
        let mut load = self.clone();
        let mut words = arguments.split_ascii_whitespace().map(String::from);
        if self.asks {
            load.files.extend(words);
        } else if load.directory.is_none() {
            load.directory = words.next();
        }
        load
    }
}

/// What to boot, as the menu names it: references, resolved against [`Menu::base`] only when chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The kernel; what follows a `#` is a configuration of a FIT image.
    pub kernel: String,
    /// The arguments behind the kernel's name, which come before APPEND's.
    pub arguments: String,
    /// The command line, often shared by all entries. `initrd=` in it counts when `initrds` is empty, and stays in it.
    pub append: Rc<str>,
    /// Initial ramdisks, separated by commas, and behind a blank what INITRD adds to the command line.
    pub initrds: String,
    /// A device tree instead of the firmware's.
    pub device_tree: Option<String>,
    /// A directory with device trees for many boards; counts without `device_tree`.
    pub device_trees: Option<String>,
    /// Device tree overlays, separated by blanks.
    pub overlays: String,
    /// Which facts about this node to add to the command line (SYSAPPEND bits).
    pub sysappend: u32,
}

impl Boot {
    /// The line that a person may edit: the kernel, then its command line, with INITRD as an `initrd=` in it, as in Syslinux.
    pub fn line(&self, arguments: &str) -> String {
        let initrds = match &*self.initrds {
            "" => String::new(),
            names => alloc::format!("initrd={names}"),
        };
        let mut line = self.kernel.clone();
        for part in [&*self.arguments, &*self.append, &initrds, arguments] {
            if !part.is_empty() {
                line.push(' ');
                line.push_str(part);
            }
        }
        line
    }

    /// The entry with an edited line.
    pub fn edited(&self, line: &str) -> Self {
        let (kernel, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        Self {
            kernel: kernel.into(),
            arguments: String::new(),
            append: Rc::from(rest.trim_start()),
            initrds: String::new(),
            ..self.clone()
        }
    }

    /// A kernel alone.
    pub fn of(kernel: impl Into<String>) -> Self {
        Self {
            kernel: kernel.into(),
            arguments: String::new(),
            append: Rc::from(""),
            initrds: String::new(),
            device_tree: None,
            device_trees: None,
            overlays: String::new(),
            sysappend: 0,
        }
    }
}

/// An entry that was picked, and what to add to its command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Index into [`Menu::entries`].
    pub entry: usize,
    /// The arguments behind the label in DEFAULT or ONTIMEOUT; usually empty.
    pub arguments: String,
    /// The person's edit of [`Boot::line`]; it replaces the entry's kernel, arguments and initrds.
    pub line: Option<String>,
}

impl Pick {
    /// The entry, as it is.
    pub fn plain(entry: usize) -> Self {
        Self {
            entry,
            arguments: String::new(),
            line: None,
        }
    }
}

impl Menu {
    /// A shown menu of one page without a clock, in which the first entry is the default.
    pub fn flat(url: Url, title: Option<String>, entries: Vec<Entry>, behaviour: Behaviour) -> Self {
        let page = Page {
            title,
            lines: (0..entries.len()).collect(),
            ..Page::default()
        };
        Self {
            base: url.clone(),
            url,
            entries,
            pages: alloc::vec![page],
            start: 0,
            default: Pick::plain(0),
            on_timeout: Some(Pick::plain(0)),
            on_error: None,
            tells_on_error: true,
            timeout: None,
            total: None,
            untimed: false,
            lone: false,
            display: Display::Shown,
            failed: None,
            messages: Vec::new(),
            texts: Texts::default(),
            function_keys: Default::default(),
            hidden_keys: Vec::new(),
            editing: Editing::default(),
            leaves: true,
            clears: false,
            master: None,
            behaviour,
        }
    }

    /// The first page that shows an entry.
    pub(super) fn page_of(&self, entry: usize) -> Option<usize> {
        self.pages.iter().position(|page| page.lines.contains(&entry))
    }

    /// The entry of a pick, as a person may read it.
    pub(super) fn shown(&self, pick: &Pick) -> String {
        let entry = self.entries.get(pick.entry);
        entry.map_or(String::new(), |entry| shortened(entry.shown()))
    }

    /// What is tried when `failed` did: ONERROR, with the command line that failed behind its own, as on Syslinux's command line.
    /// D-84.
    pub fn after(&self, failed: &Pick) -> Option<Pick> {
        let mut pick = self.on_error.clone().filter(|pick| pick.entry != failed.entry)?;
        if !self.tells_on_error {
            return Some(pick);
        }
        let name = self.entries.get(failed.entry).map(|entry| &*entry.name);
        for part in [name.unwrap_or_default(), &failed.arguments] {
            if !part.is_empty() {
                let space = if pick.arguments.is_empty() { "" } else { " " };
                pick.arguments.push_str(space);
                pick.arguments.push_str(part);
            }
        }
        Some(pick)
    }

    /// Gives a menu that says nothing of a time this one.
    pub fn timed(&mut self, time: Option<Duration>) {
        if let Some(time) = time.filter(|_| self.untimed) {
            (self.timeout, self.total) = (Some(time), Some(time.max(patience::MENU_HELD)));
        }
    }

    /// The time of the menu whose clock led here, for a text that is one label and nothing else (D-167).
    pub fn led_by_clock(&mut self, from: &Menu) {
        let shown = from.display != Display::AtOnce;
        self.timed(from.timeout.filter(|_| self.lone && shown));
    }

    /// The menu once more, after `pick`, which a person chose, has failed for this reason: shown, `spent` later (D-113).
    pub fn again(&mut self, pick: Pick, reason: String, spent: Duration) {
        self.failed = Some((pick, reason));
        self.display = Display::Shown;
        self.messages.clear();
        self.timeout = self
            .timeout
            .map(|timeout| timeout.max(patience::MENU_SHOWN_AGAIN));
        self.total = self.total.map(|total| {
            if total > spent {
                total - spent
            } else {
                Duration::ZERO
            }
        });
    }

    /// The title of the menu itself.
    pub fn title(&self) -> Option<&str> {
        self.pages.first()?.title.as_deref()
    }

    /// Whether `typed` opens `entry`: it has no password, or this is its own or the menu's.
    pub fn opens(&self, entry: &Entry, typed: &str) -> bool {
        let is = |password: &Option<Password>| password.as_ref().is_some_and(|p| p.is(typed));
        entry.password.is_none() || is(&entry.password) || is(&self.master)
    }

    /// Whether command lines can be edited, if the menu's password is known.
    pub(super) fn is_editable(&self) -> bool {
        self.behaviour == Behaviour::Syslinux && self.editing == Editing::Allowed
    }

    /// Whether `typed` lets a person change command lines.
    pub fn lets_edit(&self, typed: &str) -> bool {
        self.editing == Editing::Allowed && self.master.as_ref().is_none_or(|master| master.is(typed))
    }
}

/// How a script's menu ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// With an entry.
    Entry {
        /// Which.
        entry: usize,
        /// Whether a person chose it, rather than the clock.
        by_person: bool,
    },
    /// A person left it.
    Left,
    /// No person was there.
    Unattended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_countdown_in_the_menus_own_words() {
        let texts = Texts {
            countdown: Some("Start in # second{,s}, # Sekunde{,n}".into()),
            ..Texts::default()
        };
        let at = |seconds| texts.countdown(seconds).unwrap();
        assert_eq!(at(1), "Start in 1 second, 1 Sekunde");
        assert_eq!(at(2), "Start in 2 seconds, 2 Sekunden");
        assert_eq!(at(0), "Start in 0 seconds, 0 Sekunden");
        assert_eq!(Texts::default().countdown(3), None);
        for (text, one, two, nine) in [
            ("{a,b,c}", "a", "b", "c"),
            ("{a", "{a", "{a", "{a"),
            ("}{}", "}", "}", "}"),
            ("", "", "", ""),
        ] {
            let all = (counted(text, 1), counted(text, 2), counted(text, 9));
            assert_eq!(all, (one.into(), two.into(), nine.into()), "{text}");
        }
    }

    #[test]
    fn an_edited_line_is_kernel_arguments_and_initrds() {
        let boot = Boot {
            arguments: "a=1".into(),
            append: "quiet".into(),
            initrds: "x.img,y.img".into(),
            sysappend: 2,
            ..Boot::of("Image")
        };
        let line = boot.line("single");
        assert_eq!(line, "Image a=1 quiet initrd=x.img,y.img single");
        let edited = boot.edited(" other  quiet initrd=z.img ");
        assert_eq!(
            edited,
            Boot {
                append: "quiet initrd=z.img".into(),
                sysappend: 2,
                ..Boot::of("other")
            }
        );
        assert_eq!(edited.edited("bare").line(""), "bare");
    }

    #[test]
    fn an_entry_opens_for_its_own_password_and_for_the_menus() {
        let url = Url::parse("http://192.0.2.1/menu").unwrap();
        let mut open = Entry::new("open", Action::Answer);
        let mut menu = Menu::flat(url, None, Vec::new(), Behaviour::Syslinux);
        assert!(menu.opens(&open, "") && menu.lets_edit(""));
        open.password = Some(Password::new("one"));
        menu.master = Some(Password::new("all"));
        for (typed, opens, edits) in [("", false, false), ("one", true, false), ("all", true, true)] {
            assert_eq!(
                (menu.opens(&open, typed), menu.lets_edit(typed)),
                (opens, edits),
                "{typed}"
            );
        }
        menu.editing = Editing::Forbidden;
        assert!(!menu.lets_edit("all"));
    }
}
