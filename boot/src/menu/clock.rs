//! Which entry the clock boots, and when: the one that the reader of the text would have booted, or none.
//!
//! Two programs read PXELINUX's text: Syslinux's command line (`ldlinux`), and, where UI or DEFAULT starts it, its menu
//! module (`menu.c32`, `vesamenu.c32`). They do not take it in the same way. U-Boot is a third where the text has words that only
//! U-Boot knows. What each does here was read in its source, and is no more than that: what happens without anybody.

use alloc::vec::Vec;

use super::model::Display;
use super::names::{is_menu_module, word};

/// The program that reads the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Syslinux's command line: DEFAULT at once, unless PROMPT says to ask.
    CommandLine,
    /// A text with words of U-Boot's, which takes a default where nobody named one, and asks where MENU stands outside of labels.
    UBoot,
    /// A menu module.
    Module {
        /// Whether the text has a UI line: DEFAULT counts only then.
        default_counts: bool,
    },
    /// A program that is not there: it alone would know.
    Unknown,
}

/// The effect of an entry that the clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    /// It is executed, and may fail.
    Command,
    /// It is executed, and leads to another menu.
    Menu,
    /// It opens a submenu, which only a person can do.
    Opens,
    /// It leaves the menu or shows a text, which is for people, too.
    Shows,
    /// It opens a submenu that is not there: it cannot be chosen, but MENU DEFAULT can name it.
    Nowhere,
    /// It cannot be chosen.
    Disabled,
}

/// The facts of an entry that matter for the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// The name behind LABEL; `None` when DEFAULT and similar keywords cannot find the entry.
    pub(super) name: Option<&'t str>,
    /// Whether blanks follow the name: a menu module takes them for a part of it.
    pub(super) padded: bool,
    /// The page that it is on; none when it is hidden.
    pub(super) page: Option<usize>,
    /// Whether it has MENU DEFAULT.
    pub(super) marked: bool,
    pub(super) runs: Runs,
}

/// The settings of a menu or submenu that apply while it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Timing<T> {
    /// Tenths of a second, as TIMEOUT says; not positive is none.
    pub(super) timeout: Option<i64>,
    pub(super) on_timeout: Option<T>,
    pub(super) on_error: Option<T>,
}

impl Timing<alloc::string::String> {
    /// The same, borrowed.
    pub(super) fn as_deref(&self) -> Timing<&str> {
        Timing {
            timeout: self.timeout,
            on_timeout: self.on_timeout.as_deref(),
            on_error: self.on_error.as_deref(),
        }
    }
}

/// Everything that the decision depends on.
#[derive(Debug, Clone)]
pub(super) struct Text<'t> {
    pub(super) reader: Reader,
    /// In the order of the text.
    pub(super) lines: Vec<Line<'t>>,
    /// What holds on each page: a submenu has it from its parent, as far as that had said it where the submenu begins.
    pub(super) pages: Vec<Timing<&'t str>>,
    /// The last of each wherever it stands, which is what the command line takes.
    pub(super) last: Timing<&'t str>,
    pub(super) default: Option<&'t str>,
    /// The page of MENU START.
    pub(super) start: usize,
    /// TOTALTIMEOUT.
    pub(super) total: Option<i64>,
    pub(super) prompt: Option<bool>,
    /// NOESCAPE, which leaves the command line no prompt.
    pub(super) no_escape: bool,
    /// MENU HIDDEN.
    pub(super) hidden: bool,
    /// MENU SHIFTKEY.
    pub(super) shift_key: bool,
    /// Whether the menu has a title: U-Boot then asks.
    pub(super) titled: bool,
    /// Whether no line says anything but what a label boots.
    pub(super) alone: bool,
    /// Whether it has several entries, and a title or a MENU LABEL: its author expected people.
    pub(super) for_people: bool,
}

/// The entry that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boots<'t> {
    /// This entry, with these arguments behind its own.
    Line(usize, &'t str),
    /// A line that names no label: a file and its arguments.
    Command(&'t str),
}

/// The outcome when nobody presses a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision<'t> {
    /// The page that is shown first.
    pub(super) page: usize,
    /// The entry that is selected, which boots when a person presses Enter.
    pub(super) default: Option<Boots<'t>>,
    /// The pick that the clock boots; `None` when only a person can choose.
    pub(super) clock: Option<Boots<'t>>,
    pub(super) display: Display,
    /// Tenths of a second to wait for a key; none is for ever.
    pub(super) timeout: Option<i64>,
    /// Whether the text lacks a TIMEOUT that would count.
    pub(super) untimed: bool,
    pub(super) on_error: Option<Boots<'t>>,
}

/// Decides.
pub(super) fn decide<'t>(text: &Text<'t>) -> Decision<'t> {
    match text.reader {
        Reader::CommandLine | Reader::UBoot => text.command_line(),
        Reader::Module { default_counts } => text.module(default_counts),
        Reader::Unknown => Decision {
            default: text.entry_of(text.start).map(|line| Boots::Line(line, "")),
            clock: None,
            untimed: false,
            ..text.shown(text.start, &Timing::default())
        },
    }
}

impl<'t> Text<'t> {
    /// A menu that waits for a person.
    fn shown(&self, page: usize, timing: &Timing<&'t str>) -> Decision<'t> {
        Decision {
            page,
            default: None,
            clock: None,
            display: Display::Shown,
            timeout: timing.timeout.filter(|timeout| *timeout > 0),
            untimed: timing.timeout.is_none() && self.total.is_none(),
            on_error: None,
        }
    }

    /// The command line: `DEFAULT` at once. ONTIMEOUT is for a prompt that nobody answers.
    fn command_line(&self) -> Decision<'t> {
        let u_boot = self.reader == Reader::UBoot;
        let default = match self.default {
            Some(line) => self.named(line),
            None => self.unnamed(u_boot),
        };
        let default = default.filter(|boots| self.is_executed(boots));
        let last = &self.last;
        let on_timeout = last.on_timeout.filter(|line| !line.is_empty());
        let on_error = last.on_error.filter(|line| !line.is_empty());
        let page = match default {
            Some(Boots::Line(line, _)) => self.page_of(line),
            _ => None,
        };
        let asks = self.prompt.unwrap_or(u_boot && self.titled);
        let decision = Decision {
            default: default.or_else(|| self.entry_of(self.start).map(|line| Boots::Line(line, ""))),
            clock: default,
            on_error: on_error.and_then(|line| self.named(line)),
            ..self.shown(page.unwrap_or(self.start), last)
        };
        if self.no_escape && default.is_none() {
            return decision;
        }
        if default.is_none() || asks && !self.no_escape {
            let clock = on_timeout
                .and_then(|line| self.named(line))
                .filter(|boots| self.is_executed(boots));
            // A DEFAULT keeps the prompt away, even one that means nothing here.
            let at_prompt = asks || self.default.is_none();
            return Decision {
                // An entry that it names but that cannot boot is not the default.
                clock: if on_timeout.is_some() {
                    clock.filter(|_| at_prompt)
                } else {
                    default
                },
                ..decision
            };
        }
        // The entry would boot at once. But its author gave the menu a title and a time, in which a person can choose another.
        let display = match decision.timeout {
            // Nor does anybody see the menu that names another one.
            _ if default.is_some_and(|boots| self.is_menu(&boots)) => Display::AtOnce,
            Some(_) if self.hidden => Display::Hidden,
            Some(_) if self.for_people => Display::Shown,
            _ => Display::AtOnce,
        };
        Decision { display, ..decision }
    }

    /// A menu module: the default of the page that it starts with, or ONTIMEOUT there.
    fn module(&self, default_counts: bool) -> Decision<'t> {
        let found = match self.default.filter(|_| default_counts) {
            Some(line) => self.found(line),
            None => Found::No,
        };
        let named = match found {
            // A hidden one is on no page where it could be the default.
            Found::Yes(line) => self.page_of(line).map(|page| (page, line)),
            Found::No | Found::Doubtful(_) => None,
        };
        let page = named.map_or(self.start, |(page, _)| page);
        let default = match named {
            Some((_, line)) => Some(line),
            None => self.entry_of(page),
        };
        let nothing = Timing::default();
        let timing = self.pages.get(page).unwrap_or(&nothing);
        let on_timeout = timing.on_timeout.map(|line| self.command(line));
        let boots = default.map(|line| Boots::Line(line, ""));
        let mut decision = Decision {
            default: boots,
            clock: match on_timeout {
                Some(named) => named,
                None => boots,
            },
            on_error: timing.on_error.and_then(|line| self.command(line)),
            ..self.shown(page, timing)
        };
        if self.shift_key {
            (decision.display, decision.clock) = (Display::AtOnce, boots);
        } else if self.hidden && decision.timeout.is_some() {
            decision.display = Display::Hidden;
        } else if self.steps_off(page, default) {
            // As far as the module can tell a key has moved the selection, and that ends the countdown.
            (decision.timeout, decision.untimed) = (None, false);
        }
        // A submenu or the way out boots nothing. Nor does a page of hidden entries alone, which the module leaves.
        let is_left = self.on_page(page).next().is_none();
        decision.clock = decision.clock.filter(|boots| !is_left && self.is_executed(boots));
        // The author meant a label that the module does not find; what it boots instead nobody meant.
        if let Found::Doubtful(line) = found {
            decision.clock = None;
            decision.default = Some(Boots::Line(line, ""));
            decision.page = self.page_of(line).unwrap_or(page);
        }
        decision
    }

    /// The entry that a command means to this reader; `None` when that is in doubt.
    pub(super) fn resolve(&self, line: &'t str) -> Option<Boots<'t>> {
        match self.reader {
            Reader::Module { .. } => self.command(line),
            Reader::CommandLine | Reader::UBoot | Reader::Unknown => self.named(line),
        }
    }

    /// Whether the selection cannot stay where the default is: on a first or last line that cannot be chosen.
    fn steps_off(&self, page: usize, default: Option<usize>) -> bool {
        let chosen = |line: &Line<'_>| !matches!(line.runs, Runs::Nowhere | Runs::Disabled);
        let is_stuck = |(index, line): (usize, &Line<'_>)| Some(index) == default && !chosen(line);
        let mut lines = self.on_page(page);
        match lines.next() {
            // From the first one only to one that can be chosen.
            Some(first) if is_stuck(first) => lines.any(|(_, line)| chosen(line)),
            _ => lines.last().is_some_and(is_stuck),
        }
    }

    /// The entries of a page.
    fn on_page(&self, page: usize) -> impl Iterator<Item = (usize, &Line<'t>)> {
        let lines = self.lines.iter().enumerate();
        lines.filter(move |(_, line)| line.page == Some(page))
    }

    /// The default of a page: the last that MENU DEFAULT names there, or else the first, whatever that is.
    pub(super) fn entry_of(&self, page: usize) -> Option<usize> {
        let can_be = |line: &Line<'_>| !matches!(line.runs, Runs::Shows | Runs::Disabled);
        let marked = self
            .on_page(page)
            .filter(|(_, line)| line.marked && can_be(line))
            .last();
        marked.or_else(|| self.on_page(page).next()).map(|(line, _)| line)
    }

    fn page_of(&self, line: usize) -> Option<usize> {
        self.lines.get(line)?.page
    }

    fn is_executed(&self, boots: &Boots<'_>) -> bool {
        match boots {
            Boots::Line(line, _) => {
                let line = self.lines.get(*line);
                line.is_some_and(|line| matches!(line.runs, Runs::Command | Runs::Menu))
            }
            Boots::Command(_) => true,
        }
    }

    fn is_menu(&self, boots: &Boots<'_>) -> bool {
        match boots {
            Boots::Line(line, _) => self.lines.get(*line).is_some_and(|line| line.runs == Runs::Menu),
            Boots::Command(line) => is_menu_module(word(line).0),
        }
    }

    fn position(&self, is: impl Fn(&str) -> bool) -> Option<usize> {
        self.lines.iter().position(|line| line.name.is_some_and(&is))
    }

    /// What DEFAULT or its like means on the command line. A label's whole name, which may hold blanks in U-Boot, goes before its
    /// first word, which is all that Syslinux takes for its name; and where only first words are the same, nobody knows.
    pub(super) fn named(&self, line: &'t str) -> Option<Boots<'t>> {
        let (first, rest) = word(line);
        let whole = self.position(|name| name == line && !name.is_empty());
        let found = match whole {
            Some(whole) => Some(Boots::Line(whole, "")),
            None if rest.is_empty() => {
                let found = self.position(|name| word(name).0 == line && !line.is_empty());
                found.map(|found| Boots::Line(found, ""))
            }
            None => self
                .position(|name| name == first)
                .map(|found| Boots::Line(found, rest)),
        };
        let similar = || self.position(|name| word(name).0 == first && !first.is_empty());
        found.or_else(|| similar().is_none().then_some(Boots::Command(line)))
    }

    /// What is the default without DEFAULT: a label that is all of the text; in U-Boot, where ONTIMEOUT is another word for DEFAULT,
    /// the first that MENU DEFAULT names, or else the first.
    fn unnamed(&self, u_boot: bool) -> Option<Boots<'t>> {
        let mut labels = self
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.name.is_some());
        let first = labels.clone().next().map(|(line, _)| Boots::Line(line, ""));
        if u_boot {
            if let Some(line) = self.last.on_timeout {
                return self.named(line);
            }
            let marked = labels.find(|(_, line)| line.marked);
            let marked = marked.map(|(line, _)| Boots::Line(line, ""));
            return marked.or(first);
        }
        first.filter(|_| self.alone && labels.count() == 1)
    }

    /// The label that a menu module finds for a command: the first whose LABEL line is the command's first word, to the last
    /// blank.
    fn found(&self, command: &str) -> Found {
        let (name, _) = word(command);
        let mut lines = self.lines.iter();
        let is = |line: &Line<'_>| line.name == Some(name) && !line.padded;
        if let Some(line) = lines.position(is) {
            return Found::Yes(line);
        }
        let meant = self.position(|known| !known.is_empty() && (known == name || known == command));
        meant.map_or(Found::No, Found::Doubtful)
    }

    /// What a menu module executes for ONTIMEOUT or ONERROR; none where the author meant a label that it does not find.
    fn command(&self, line: &'t str) -> Option<Boots<'t>> {
        match self.found(line) {
            Found::Yes(found) => Some(Boots::Line(found, word(line).1)),
            Found::No => Some(Boots::Command(line)),
            Found::Doubtful(_) => None,
        }
    }
}

/// The result of a menu module's search for a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Yes(usize),
    No,
    /// The module does not find this label, but the author meant it: it has blanks in its name or behind it.
    Doubtful(usize),
}

#[cfg(test)]
mod tests {
    use super::super::names::word;
    use super::super::pxelinux::tests::menu;
    use super::super::{Action, Display, Menu};

    /// What happens without anybody: how, after how many seconds, and what boots.
    fn told(menu: &Menu) -> String {
        let time = menu.timeout.or(menu.total);
        let Some(pick) = &menu.on_timeout else {
            return "nothing".into();
        };
        let entry = &menu.entries[pick.entry];
        let what = match &entry.action {
            Action::Boot(boot) if boot.kernel != format!("/{}", word(&entry.name).0) => {
                format!("file {}", boot.kernel)
            }
            Action::Load(load) => format!("menu {}", load.files.join(" ")),
            _ => entry.name.clone(),
        };
        let what = format!("{what} {}", pick.arguments);
        let told = match (menu.display, time) {
            (Display::AtOnce, _) => format!("at once {what}"),
            (Display::Shown, None) => "nothing".into(),
            (Display::Hidden, None) => panic!("hidden for ever"),
            (Display::Shown, Some(time)) => format!("{} s {what}", time.secs()),
            (Display::Hidden, Some(time)) => format!("hidden {} s {what}", time.secs()),
        };
        told.trim_end().into()
    }

    fn check(table: &[(&str, &str)]) {
        for (text, expected) in table {
            // One line each: `;` for the end of a line, and a label for each name in brackets.
            let mut lines = String::new();
            for line in text.split(';').map(str::trim) {
                match line.strip_prefix('[').and_then(|line| line.split_once(']')) {
                    Some((name, more)) => {
                        lines.push_str(&format!("LABEL {name}\nKERNEL /{name}\n{}\n", more.trim()))
                    }
                    None => lines.push_str(&format!("{line}\n")),
                }
            }
            assert_eq!(told(&menu(&lines)), *expected, "{text}");
        }
    }

    #[test]
    fn the_command_line_boots_default_at_once_or_asks() {
        check(&[
            ("DEFAULT b; [a]; [b]", "at once b"),
            ("DEFAULT b one  two; [a]; [b]", "at once b one  two"),
            ("DEFAULT a; DEFAULT b; [a]; [b]", "at once b"),
            ("[a]; [b]; DEFAULT b", "at once b"),
            ("DEFAULT B; [a]; [b]", "at once file B"),
            ("DEFAULT b; [a]; [b] APPEND 1; [b] APPEND 2", "at once b"),
            ("DEFAULT b; PROMPT 0; TIMEOUT 0; [a]; [b]", "at once b"),
            // No menu module: what is for people changes nothing for the clock, but that they have their time.
            ("DEFAULT b; [a] MENU DEFAULT; [b]", "at once b"),
            ("DEFAULT b; ONTIMEOUT a; TIMEOUT 50; [a]; [b]", "at once b"),
            ("DEFAULT b; MENU TITLE t; [a] MENU DEFAULT; [b]", "at once b"),
            (
                "DEFAULT b; MENU TITLE t; TIMEOUT 50; ONTIMEOUT a; [a] MENU DEFAULT; [b]",
                "5 s b",
            ),
            ("DEFAULT b; MENU HIDDEN; TIMEOUT 50; [a]; [b]", "hidden 5 s b"),
            ("DEFAULT b; MENU HIDDEN; [a]; [b]", "at once b"),
            ("DEFAULT b; [a]; [b] MENU HIDE", "at once b"),
            ("DEFAULT b; [a]; [b] MENU PASSWD x", "at once b"),
            (
                "DEFAULT b; [a]; MENU BEGIN s; TIMEOUT 50; [b]; MENU END; PROMPT 1",
                "5 s b",
            ),
            // PROMPT asks, and only the clock ends that.
            ("DEFAULT b; PROMPT 1; [a]; [b]", "nothing"),
            ("DEFAULT b; PROMPT 1x; TIMEOUT 50 # soon; [a]; [b]", "5 s b"),
            ("DEFAULT b; PROMPT yes; TIMEOUT 50; [a]; [b]", "at once b"),
            (
                "DEFAULT b; PROMPT 1; TIMEOUT 50; ONTIMEOUT a x; [a]; [b]",
                "5 s a x",
            ),
            ("DEFAULT b; PROMPT 1; TIMEOUT 50; ONTIMEOUT; [a]; [b]", "5 s b"),
            ("DEFAULT b; PROMPT 1; TOTALTIMEOUT 300; [a]; [b]", "30 s b"),
            ("DEFAULT b; PROMPT 1; TIMEOUT 50; TIMEOUT 0; [a]; [b]", "nothing"),
            (
                "DEFAULT b; PROMPT 1; NOESCAPE 1; ONTIMEOUT a; TIMEOUT 50; [a]; [b]",
                "at once b",
            ),
            // Nobody named one of several.
            ("[a]; [b]", "nothing"),
            ("[a] MENU DEFAULT; [b]; TIMEOUT 50", "nothing"),
            ("MENU TITLE t; TIMEOUT 50; [a]; [b]", "nothing"),
            ("ONTIMEOUT b; [a]; [b]", "nothing"),
            ("ONTIMEOUT b; TIMEOUT 50; [a]; [b]", "5 s b"),
            ("ONTIMEOUT b; TIMEOUT 50; NOESCAPE 1; [a]; [b]", "nothing"),
            ("[a]", "at once a"),
            ("PROMPT 1; [a]", "nothing"),
            // A label is the default where nothing else is said at all.
            (
                "# of Foreman; LABEL a; LINUX /a; INITRD /i; APPEND x; IPAPPEND 2",
                "at once a",
            ),
            ("PROMPT 1; TIMEOUT 50; [a]", "nothing"),
            ("TIMEOUT 50; [a]", "nothing"),
            ("INCLUDE x; [a]", "nothing"),
            ("[a]; INCLUDE x", "nothing"),
            ("garbage words; [a]", "nothing"),
            ("LABEL b; MENU DISABLE; LOCALBOOT 0; [a]", "nothing"),
            ("[a]; MENU LABEL Install", "nothing"),
            ("SAY hello; [a]", "nothing"),
            // What is no label is a file, and never another label.
            ("DEFAULT nowhere; [a]; [b]", "at once file nowhere"),
            ("DEFAULT nowhere; IMPLICIT 0; [a]; [b]", "at once nowhere"),
            ("DEFAULT; [a]; [b]", "at once"),
            ("DEFAULT; [a]", "at once"),
            ("DEFAULT s; [a]; MENU BEGIN s; [b]; MENU END", "at once file s"),
            ("DEFAULT b; [a]; [b] MENU DISABLE", "at once file b"),
            (
                "DEFAULT b; PROMPT 1; TIMEOUT 50; ONTIMEOUT nowhere; [a]; [b]",
                "5 s file nowhere",
            ),
            ("DEFAULT b; [a]; [b] MENU QUIT", "nothing"),
            ("DEFAULT two more; [a]; [two words]", "nothing"),
            (
                "DEFAULT two more; TIMEOUT 50; ONTIMEOUT a; [a]; [two words]",
                "nothing",
            ),
            (
                "DEFAULT menu.c32; IMPLICIT 0; TIMEOUT 50; [a]; [b]",
                "at once menu.c32",
            ),
        ]);
    }

    #[test]
    fn a_pc_program_the_disk_and_another_menu_are_what_they_are() {
        let entries =
            "LABEL p\nCOM32 chain.c32\nLABEL l\nLOCALBOOT 0\nLABEL c\nCONFIG x.cfg\nLABEL k\nKERNEL /k\n";
        for (head, expected) in [
            ("DEFAULT p", "at once p"),
            ("DEFAULT l", "at once l"),
            ("DEFAULT c", "at once menu x.cfg"),
            ("DEFAULT c\nMENU TITLE t\nTIMEOUT 50", "at once menu x.cfg"),
            ("DEFAULT chain.c32 hd0", "at once chain.c32 hd0"),
            ("UI menu.c32\nTIMEOUT 50", "5 s p"),
            ("UI menu.c32\nTIMEOUT 50\nDEFAULT l", "5 s l"),
            ("UI menu.c32\nTIMEOUT 50\nDEFAULT c", "5 s menu x.cfg"),
            (
                "UI menu.c32\nTIMEOUT 50\nONTIMEOUT menu.c32 y.cfg",
                "5 s menu y.cfg",
            ),
            ("UI vesamenu.c32 y.cfg", "at once menu y.cfg"),
            ("DEFAULT menu.c32 y.cfg", "at once menu y.cfg"),
            ("UI chain.c32 hd0\nDEFAULT k\nTIMEOUT 50", "nothing"),
            ("UI\nDEFAULT k\nTIMEOUT 50", "nothing"),
        ] {
            assert_eq!(told(&menu(&format!("{head}\n{entries}"))), expected, "{head}");
        }
    }

    #[test]
    fn a_menu_module_takes_the_default_of_the_page_it_starts_with() {
        check(&[
            // No time, no clock.
            ("UI menu.c32; [a]; [b]", "nothing"),
            ("UI menu.c32; TIMEOUT 0; DEFAULT b; PROMPT 0; [a]; [b]", "nothing"),
            ("UI menu.c32; TOTALTIMEOUT 300; [a]; [b]", "30 s a"),
            ("UI menu.c32; TIMEOUT -5; [a]; [b]", "nothing"),
            // The first entry, MENU DEFAULT, and DEFAULT where there is a UI.
            ("UI menu.c32; TIMEOUT 50; [a]; [b]", "5 s a"),
            (
                "UI menu.c32; TIMEOUT 50; [a] MENU DEFAULT; [b] MENU DEFAULT; [c]",
                "5 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; DEFAULT a; [a]; [b] MENU DEFAULT",
                "5 s a",
            ),
            ("DEFAULT menu.c32; TIMEOUT 50; [a]; [b] MENU DEFAULT", "5 s b"),
            (
                "DEFAULT m; TIMEOUT 50; [a]; [b]; LABEL m; KERNEL vesamenu.c32",
                "5 s a",
            ),
            ("DEFAULT menu; TIMEOUT 50; PROMPT 1; [a]; [b]", "5 s a"),
            ("UI menu.c32; TIMEOUT 50; DEFAULT b x; [a]; [b]", "5 s b"),
            ("UI menu.c32; TIMEOUT 50; DEFAULT nowhere; [a]; [b]", "5 s a"),
            ("UI menu.c32; TIMEOUT 50; DEFAULT b; [a]; [b] MENU HIDE", "5 s a"),
            (
                "UI menu.c32; TIMEOUT 50; DEFAULT b; [a]; [b] MENU PASSWD x",
                "5 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; [a] MENU HIDE; [b]; [c] MENU HIDE;MENU DEFAULT",
                "5 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; [a]; [b] MENU DISABLE;MENU DEFAULT",
                "5 s a",
            ),
            // ONTIMEOUT, which has no next best.
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b x; [a]; [b] MENU HIDE",
                "5 s b x",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT nowhere; [a]; [b]",
                "5 s file nowhere",
            ),
            ("UI menu.c32; TIMEOUT 50; ONTIMEOUT; [a]; [b]", "5 s"),
            // What only a person can take, or nobody.
            (
                "UI menu.c32; TIMEOUT 50; MENU BEGIN s; [a]; MENU END; [b]",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; [b]; MENU BEGIN s; MENU DEFAULT; [a]; MENU END",
                "nothing",
            ),
            ("UI menu.c32; TIMEOUT 50; [a] MENU QUIT; [b]", "nothing"),
            ("UI menu.c32; TIMEOUT 50; [a] MENU GOTO .top; [b]", "nothing"),
            ("UI menu.c32; TIMEOUT 50; [a] MENU HELP h.txt; [b]", "nothing"),
            ("UI menu.c32; TIMEOUT 50; [a] MENU EXIT; [b]", "5 s a"),
            // The selection steps off a heading, and that ends the countdown.
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; MENU SEPARATOR; [b]",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; TOTALTIMEOUT 300; ONTIMEOUT b; [a] MENU DISABLE; [b]",
                "30 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; TOTALTIMEOUT 300; [a] MENU DISABLE; [b]",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; MENU SEPARATOR; [b] MENU DEFAULT",
                "5 s b",
            ),
            // A submenu that is not there is a heading, which MENU DEFAULT may name: on the last line it ends the countdown, too.
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; MENU SEPARATOR; [a] MENU DEFAULT;MENU GOTO s; [b]",
                "5 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; [b]; [a] MENU DEFAULT;MENU GOTO s",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; [b]; [a] MENU DEFAULT;MENU GOTO .top",
                "5 s b",
            ),
            // A page on which nothing stands.
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT nowhere; [a] MENU HIDE",
                "nothing",
            ),
            ("UI menu.c32; TIMEOUT 50; ONTIMEOUT a; [a] MENU HIDE", "nothing"),
            (
                "UI menu.c32; TIMEOUT 50; IMPLICIT 0; DEFAULT b; [a]; [b]",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; TEXT HELP; DEFAULT b; ENDTEXT; [a]; [b]",
                "5 s a",
            ),
            // Not shown, which a module can do.
            (
                "UI menu.c32; TIMEOUT 50; MENU HIDDEN; ONTIMEOUT b; [a]; [b]",
                "hidden 5 s b",
            ),
            ("UI menu.c32; MENU HIDDEN; [a]; [b]", "nothing"),
            ("UI menu.c32; MENU SHIFTKEY; ONTIMEOUT b; [a]; [b]", "at once a"),
            ("UI menu.c32; MENU SHIFTKEY; [a] MENU QUIT; [b]", "nothing"),
            // An author meant a label that the module does not find.
            (
                "UI menu.c32; TIMEOUT 50; DEFAULT two words; [a]; LABEL two words",
                "nothing",
            ),
            ("UI menu.c32; TIMEOUT 50; DEFAULT two; [a]; [two words]", "5 s a"),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT two words; [a]; [two words]",
                "nothing",
            ),
        ]);
        let padded = menu("UI menu.c32\nTIMEOUT 50\nDEFAULT b\nLABEL a\nLABEL b \n");
        assert_eq!(told(&padded), "nothing");
    }

    #[test]
    fn a_submenu_has_its_own_times_or_its_parents_so_far() {
        check(&[
            (
                "UI menu.c32; TIMEOUT 50; DEFAULT b; [a]; MENU BEGIN s; [b]; MENU END",
                "5 s b",
            ),
            (
                "UI menu.c32; DEFAULT b; [a]; MENU BEGIN s; [b]; MENU END; TIMEOUT 50",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; DEFAULT b; [a]; MENU BEGIN s; TIMEOUT 90; ONTIMEOUT c; [b]; [c]; MENU END",
                "9 s c",
            ),
            (
                "UI menu.c32; TIMEOUT 50; [a]; MENU BEGIN s; TIMEOUT 90; ONTIMEOUT b; [b]; MENU END",
                "5 s a",
            ),
            (
                "UI menu.c32; TIMEOUT 50; [a]; MENU BEGIN s; MENU START; [b]; [c] MENU DEFAULT; MENU END",
                "5 s c",
            ),
            (
                "UI menu.c32; TIMEOUT 50; DEFAULT a; [a]; MENU BEGIN s; MENU START; [b]; MENU END",
                "5 s a",
            ),
            (
                "UI menu.c32; TIMEOUT 50; [a]; MENU BEGIN s; MENU START; MENU END",
                "nothing",
            ),
        ]);
    }

    #[test]
    fn a_menu_module_knows_menu_onerror_only() {
        let on_error = |head: &str| {
            let menu = menu(&format!("{head}\nLABEL a\nLABEL b\n"));
            let after = menu.after(&menu.default);
            after.map(|pick| (pick.entry, pick.arguments))
        };
        let rescue = |arguments: &str| Some((1, arguments.to_owned()));
        for (head, expected) in [
            ("DEFAULT a\nONERROR b x", rescue("x a")),
            ("DEFAULT a\nMENU ONERROR b", rescue("a")),
            ("DEFAULT a\nONERROR", None),
            ("UI menu.c32\nONERROR b", None),
            ("UI menu.c32\nMENU ONERROR b x", rescue("x")),
            ("DEFAULT menu.c32\nONERROR b", None),
        ] {
            assert_eq!(on_error(head), expected, "{head}");
        }
    }

    #[test]
    fn words_of_u_boots_make_it_the_reader() {
        check(&[
            ("[a] FDTDIR d; [b]", "at once a"),
            ("[a] FDTDIR d; [b] MENU DEFAULT; [c] MENU DEFAULT", "at once b"),
            ("ONTIMEOUT b; [a] FDTDIR d; [b]", "at once b"),
            ("DEFAULT b; [a] FDTDIR d;MENU DEFAULT; [b]", "at once b"),
            ("DEFAULT b; MENU TITLE t; [a] FDTDIR d; [b]", "nothing"),
            ("DEFAULT b; MENU TITLE t; TIMEOUT 50; [a] FDTDIR d; [b]", "5 s b"),
            ("DEFAULT two words; [two]; [two words]", "at once two words"),
            ("UI menu.c32; TIMEOUT 50; [a] FDTDIR d; [b]", "5 s a"),
        ]);
        let first = menu("LABEL p\nCOM32 chain.c32\nLABEL k\nKERNEL /k\nFDTDIR d\n");
        assert_eq!(told(&first), "at once p");
    }
}
