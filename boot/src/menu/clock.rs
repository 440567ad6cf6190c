//! Which entry the clock boots, and when: the one that the reader of the text would have booted, or none.
//!
//! Two programs read PXELINUX's text: Syslinux's command line (`ldlinux`), and, where UI or DEFAULT starts it, its menu
//! module (`menu.c32`, `vesamenu.c32`). They do not take it in the same way. U-Boot is a third where the text has words that only
//! U-Boot knows; where it has words of both, they must agree. What each does here was read in its source, and is no more than
//! that: what happens without anybody (D-92).

use alloc::vec::Vec;

use super::model::Display;
use super::names::{is_menu_file, is_menu_module, word};
use super::uboot::UBoot;

/// The program that reads the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Syslinux's command line: DEFAULT at once, unless PROMPT says to ask.
    CommandLine,
    /// A menu module.
    Module {
        /// Whether the text has a UI line: DEFAULT counts only then.
        default_counts: bool,
        /// Whether the command line has read this text before, and DEFAULT in it leads to the module: PROMPT counts only then.
        after_prompt: bool,
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
    /// The same, for U-Boot, which finds it in any case.
    pub(super) label: Option<&'t str>,
    /// Whether U-Boot runs the same when it comes to it.
    pub(super) runs_in_u_boot: bool,
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
pub(super) struct Facts<'t> {
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
    /// What U-Boot makes of the text, when it has words of U-Boot's.
    pub(super) u_boot: Option<&'t UBoot>,
    /// Whether labels go on in the command line where here they end.
    pub(super) cut_short: bool,
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
    /// Whether the text lacks a TIMEOUT that would count (D-94).
    pub(super) untimed: bool,
    pub(super) on_error: Option<Boots<'t>>,
    /// Why the clock boots nothing, where that is in doubt.
    pub(super) doubt: Option<&'static str>,
}

/// Decides.
pub(super) fn decide<'t>(text: &Facts<'t>) -> Decision<'t> {
    let syslinux = text.syslinux();
    let Some(known) = text.u_boot else {
        return syslinux;
    };
    let (u_boot, fails) = text.u_boot(known);
    if !known.is_foreign && text.reader == Reader::CommandLine {
        return Decision {
            doubt: fails,
            ..u_boot
        };
    }
    // Words of both: what boots is what boots in both, or nothing.
    let boots = |decision: &Decision<'t>, is_timed: bool| {
        let waits = decision.display == Display::Shown && !is_timed;
        (decision.clock, decision.clock.is_some() && !waits)
    };
    let is_timed = syslinux.timeout.is_some() || text.total.is_some();
    if boots(&syslinux, is_timed) == boots(&u_boot, u_boot.timeout.is_some()) {
        return syslinux;
    }
    let differ = "it has words of U-Boot's and of Syslinux's, which would not boot the same";
    Decision {
        clock: None,
        doubt: Some(fails.unwrap_or(differ)),
        ..syslinux
    }
}

impl<'t> Facts<'t> {
    /// Decides as Syslinux does.
    fn syslinux(&self) -> Decision<'t> {
        match self.reader {
            Reader::CommandLine => self.command_line(),
            Reader::Module {
                default_counts,
                after_prompt,
            } => {
                let decision = self.module(default_counts);
                let prompts = after_prompt && self.prompt == Some(true) && !self.no_escape;
                if prompts {
                    self.prompted(decision)
                } else {
                    decision
                }
            }
            Reader::Unknown => Decision {
                default: self.entry_of(self.start).map(|line| Boots::Line(line, "")),
                clock: None,
                untimed: false,
                ..self.shown(self.start, &Timing::default())
            },
        }
    }

    /// Decides as U-Boot does; with why that is nothing.
    fn u_boot(&self, known: &UBoot) -> (Decision<'t>, Option<&'static str>) {
        let lines = self.lines.iter().enumerate();
        let mut labels = lines.filter(|(_, line)| line.label.is_some());
        let found = match &known.default {
            // The last of two.
            Some(name) => labels.rfind(|(_, line)| line.label == Some(name) && !line.padded),
            None => labels.next(),
        };
        let default = found.map(|(line, _)| Boots::Line(line, ""));
        let fails = match found {
            _ if known.fails.is_some() => known.fails,
            None => Some("no label is called as U-Boot's default is"),
            Some((_, line)) if !line.runs_in_u_boot => Some("for U-Boot, its default names no kernel"),
            Some(_) => None,
        };
        let timing = Timing {
            timeout: Some(known.timeout),
            ..Timing::default()
        };
        let page = found.and_then(|(_, line)| line.page);
        let shown = self.shown(page.unwrap_or(self.start), &timing);
        let decision = Decision {
            default: default.or_else(|| self.entry_of(self.start).map(|line| Boots::Line(line, ""))),
            clock: default.filter(|_| fails.is_none()),
            untimed: self.last.timeout.is_none() && self.total.is_none(),
            ..shown
        };
        if known.asks {
            (decision, fails)
        } else {
            (self.at_once(decision), fails)
        }
    }

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
            doubt: None,
        }
    }

    /// The command line: `DEFAULT` at once. ONTIMEOUT is for a prompt that nobody answers.
    fn command_line(&self) -> Decision<'t> {
        let default = match self.default {
            Some(line) => self.named(line),
            None => self.unnamed(),
        };
        let default = default.filter(|boots| self.is_executed(boots));
        let last = &self.last;
        let on_timeout = last.on_timeout.filter(|line| !line.is_empty());
        let on_error = last.on_error.filter(|line| !line.is_empty());
        let page = match default {
            Some(Boots::Line(line, _)) => self.page_of(line),
            _ => None,
        };
        let asks = self.prompt == Some(true);
        let decision = Decision {
            default: default.or_else(|| self.entry_of(self.start).map(|line| Boots::Line(line, ""))),
            clock: default,
            on_error: on_error.and_then(|line| self.named(line)),
            ..self.shown(page.unwrap_or(self.start), last)
        };
        if self.cut_short {
            let doubt =
                Some("an INCLUDE with a tag stands in a label, which ends there in a menu module only");
            return Decision {
                clock: None,
                doubt,
                ..decision
            };
        }
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
        self.at_once(decision)
    }

    /// The entry would boot at once. But its author gave the menu a title and a time, in which a person can choose another.
    fn at_once(&self, decision: Decision<'t>) -> Decision<'t> {
        let display = match decision.timeout {
            // Nor does anybody see the menu that names another one.
            _ if decision.clock.is_some_and(|boots| self.is_menu(&boots)) => Display::AtOnce,
            Some(_) if self.hidden => Display::Hidden,
            Some(_) if self.for_people => Display::Shown,
            _ => Display::AtOnce,
        };
        Decision { display, ..decision }
    }

    /// The prompt that comes before a menu module: only the clock ends it, and ONTIMEOUT goes before the module, which decides so.
    fn prompted(&self, module: Decision<'t>) -> Decision<'t> {
        let last = self.shown(module.page, &self.last);
        let on_timeout = self.last.on_timeout.filter(|line| !line.is_empty());
        let waits = last.timeout.is_none() && self.total.is_none();
        if on_timeout.is_none() && !waits {
            return module;
        }
        let clock = match on_timeout {
            Some(line) => self.named(line).filter(|boots| self.is_executed(boots)),
            None => module.clock.filter(|_| last.untimed),
        };
        Decision {
            default: module.default,
            clock,
            ..last
        }
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
            Reader::CommandLine | Reader::Unknown => self.named(line),
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
            Boots::Command(line) => self.shows_a_menu(word(line).0),
        }
    }

    /// Whether what is run as `name` is a menu module: only the command line looks for its ending.
    pub(super) fn shows_a_menu(&self, name: &str) -> bool {
        match self.reader {
            Reader::Module { .. } => is_menu_file(name),
            Reader::CommandLine | Reader::Unknown => is_menu_module(name),
        }
    }

    fn position(&self, is: impl Fn(&str) -> bool) -> Option<usize> {
        self.lines.iter().position(|line| line.name.is_some_and(&is))
    }

    /// What DEFAULT or its like means on the command line: the first label whose name begins with its first word. Where that is
    /// not all of the label's name, or bytes of it are no text, nobody knows whether it was meant (D-159).
    pub(super) fn named(&self, line: &'t str) -> Option<Boots<'t>> {
        let (first, rest) = word(line);
        let Some(found) = self.position(|name| word(name).0 == first && !first.is_empty()) else {
            return Some(Boots::Command(line));
        };
        let name = self.lines.get(found)?.name?;
        let is_whole = |name: &str| name == line;
        if first.contains(char::REPLACEMENT_CHARACTER)
            || (!is_whole(name) && self.position(is_whole).is_some())
        {
            return None;
        }
        if is_whole(name) || rest.is_empty() {
            return Some(Boots::Line(found, ""));
        }
        (name == first).then_some(Boots::Line(found, rest))
    }

    /// What is the default without DEFAULT: a label that is all of the text (D-86, D-144).
    fn unnamed(&self) -> Option<Boots<'t>> {
        let lines = self.lines.iter().enumerate();
        let mut labels = lines.filter(|(_, line)| line.name.is_some());
        let only = labels.next().filter(|_| self.alone && labels.next().is_none());
        only.map(|(line, _)| Boots::Line(line, ""))
    }

    /// The label that a menu module finds for a command: the first whose LABEL line is the command's first word, to the last
    /// blank.
    fn found(&self, command: &str) -> Found {
        let (name, _) = word(command);
        let mut lines = self.lines.iter();
        // Two names whose bytes are no text may differ in these.
        let is_text = !name.contains(char::REPLACEMENT_CHARACTER);
        let is = |line: &Line<'_>| is_text && line.name == Some(name) && !line.padded;
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
    use super::super::pxelinux::tests::{bytes, menu};
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
        told.trim_end_matches(' ').into()
    }

    fn check(table: &[(&str, &str)]) {
        for (text, expected) in table {
            // One line each, or `;` for the end of a line, and a label for each name in brackets.
            let mut lines = String::new();
            let end = if text.contains('\n') { '\n' } else { ';' };
            for line in text.split(end).map(|line| line.trim_start_matches(' ')) {
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
            (
                "PROMPT 1; TIMEOUT -10; TOTALTIMEOUT 30; DEFAULT a; [a]",
                "nothing",
            ),
            ("PROMPT 1; TIMEOUT 0; TOTALTIMEOUT 30; DEFAULT a; [a]", "3 s a"),
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
            ("DEFAULT two words; [a]; [two words]", "at once two words"),
            // Syslinux takes the first of them, with an argument.
            ("DEFAULT two words; [two]; [two words]", "nothing"),
            ("DEFAULT two words; [two other]; [two words]", "nothing"),
            (
                "DEFAULT menu.c32; IMPLICIT 0; TIMEOUT 50; [a]; [b]",
                "at once menu.c32",
            ),
        ]);
    }

    #[test]
    fn prompt_comes_before_a_module_that_default_starts() {
        check(&[
            // The last ONTIMEOUT and the last TIMEOUT count, wherever they stand.
            (
                "DEFAULT menu.c32; PROMPT 1; TIMEOUT 50; [a]; MENU BEGIN s; ONTIMEOUT c; [c]; MENU END",
                "5 s c",
            ),
            (
                "DEFAULT menu.c32; PROMPT 1; TIMEOUT 50; [a]; MENU BEGIN s; TIMEOUT 0; [c]; MENU END",
                "nothing",
            ),
            ("DEFAULT menu.c32; PROMPT 1; MENU SHIFTKEY; [a]; [b]", "nothing"),
            (
                "DEFAULT menu.c32; PROMPT 1; MENU SHIFTKEY; TIMEOUT 50; ONTIMEOUT b; [a]; [b]",
                "5 s b",
            ),
            (
                "DEFAULT m; PROMPT 1; TIMEOUT 50; ONTIMEOUT b; [a]; [b]; LABEL m; KERNEL menu.c32",
                "5 s b",
            ),
            ("DEFAULT menu.c32; PROMPT 1; TOTALTIMEOUT 300; [a]; [b]", "30 s a"),
            (
                "DEFAULT menu.c32; PROMPT 1; TIMEOUT 50; ONTIMEOUT; [a]; [b]",
                "5 s",
            ),
            (
                "DEFAULT menu.c32; PROMPT 1; TIMEOUT 50; ONTIMEOUT x; [a]; LABEL x; MENU QUIT",
                "nothing",
            ),
            // Without a prompt the module decides.
            (
                "DEFAULT menu.c32; PROMPT 1; NOESCAPE 1; MENU SHIFTKEY; ONTIMEOUT b; [a]; [b]",
                "at once a",
            ),
            (
                "DEFAULT menu.c32; PROMPT 0; MENU SHIFTKEY; ONTIMEOUT b; [a]; [b]",
                "at once a",
            ),
            (
                "UI menu.c32; PROMPT 1; MENU SHIFTKEY; ONTIMEOUT b; [a]; [b]",
                "at once a",
            ),
        ]);
    }

    #[test]
    fn words_are_parted_as_in_syslinux() {
        check(&[
            ("UI menu.c32\nTIMEOUT 50\nDEFAULT b\u{a0}\n[a]\n[b]", "5 s a"),
            ("UI menu.c32\nTIMEOUT 50\nDEFAULT b\u{3000}\n[a]\n[b]", "5 s a"),
            ("DEFAULT b\u{a0}\n[a]\n[b]", "at once file b\u{a0}"),
            ("DEFAULT b\u{85}\n[a]\n[b]", "at once file b\u{fffd}"),
            ("DEFAULT\u{a0}b\n[a]\n[b]", "nothing"),
            ("\u{2003}DEFAULT b\n[a]\n[b]", "nothing"),
            (
                "UI menu.c32\nTIMEOUT 50\nONTIMEOUT b\u{2003}\n[a]\n[b]",
                "5 s file b\u{2003}",
            ),
            ("UI menu.c32\nTIMEOUT 50\nDEFAULT\x0bb\n[a]\n[b]", "5 s b"),
            (
                "\x0cUI\x0bmenu.c32\nTIMEOUT 50\nDEFAULT\x0cb\x0b\n[a]\n[b]",
                "5 s b",
            ),
            // Others end a word, and are a part of the next one.
            ("DEFAULT\x7fb\n[a]\n[b]", "nothing"),
            ("UI menu.c32\nTIMEOUT 50\nDEFAULT b\x01\n[a]\n[b]", "nothing"),
            ("TEXT HELP\n\x1bENDTEXT\nDEFAULT b\nENDTEXT\n[a]\n[b]", "nothing"),
            (
                "DEFAULT b\nSAY \x1b[1m\n# \x1b\n[a] MENU LABEL \x1b[7ma\n[b]\nTEXT HELP\n\x07\nENDTEXT\n\x1a",
                "at once b",
            ),
            ("DEFAULT\x0cb\n[a]", "at once file b"),
        ]);
    }

    #[test]
    fn names_of_menu_modules_are_what_syslinux_takes_them_for() {
        check(&[
            ("UI MENU.C32; TIMEOUT 50; [a]; [b]", "nothing"),
            ("UI Menu.c32; TIMEOUT 50; [a]; [b]", "nothing"),
            ("UI menu; TIMEOUT 50; [a]; [b]", "5 s a"),
            ("UI sys/vesamenu.c32; TIMEOUT 50; [a]; [b]", "5 s a"),
            ("DEFAULT Menu.C32; TIMEOUT 50; [a]; [b]", "at once Menu.C32"),
            // A label's KERNEL is a file, COM32 has its ending.
            (
                "DEFAULT m; TIMEOUT 50; [a]; [b]; LABEL m; KERNEL menu",
                "at once file menu",
            ),
            ("DEFAULT m; TIMEOUT 50; [a]; [b]; LABEL m; COM32 menu", "5 s a"),
            (
                "DEFAULT m; TIMEOUT 50; [a]; [b]; LABEL m; COM32 Menu",
                "at once m",
            ),
            (
                "DEFAULT m; TIMEOUT 50; [a]; [b]; LABEL m; LINUX menu.c32",
                "at once file menu.c32",
            ),
            ("DEFAULT menu.c32; TIMEOUT 50; [a]; LABEL menu.c32", "5 s a"),
            // A module looks for no ending.
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT menu; [a]; [b]",
                "5 s file menu",
            ),
        ]);
    }

    #[test]
    fn a_submenu_that_a_kernel_names_is_not_there() {
        check(&[
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; LABEL x; MENU GOTO s; KERNEL /k; MENU BEGIN s; [c]; MENU END; [b]",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; LABEL x; KERNEL /k; MENU GOTO s; MENU BEGIN s; [c]; MENU END; [b]",
                "5 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; LABEL x; MENU GOTO y; LOCALBOOT s; MENU BEGIN s; [c]; MENU END; [b]",
                "5 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; LABEL x; MENU GOTO .hidden; [b]",
                "5 s b",
            ),
            // Blanks behind a name are a part of it.
            (
                "UI menu.c32\nTIMEOUT 50\nONTIMEOUT b\nLABEL x\nMENU GOTO s \nMENU BEGIN s\n[c]\nMENU END\n[b]",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; LABEL x; MENU GOTO; [b]",
                "nothing",
            ),
            // A way out that leads nowhere is disabled, and MENU DEFAULT cannot name it.
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; MENU BEGIN s; MENU START; [b]; LABEL x; MENU EXIT z; MENU DEFAULT; MENU END",
                "5 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; MENU BEGIN s; MENU START; LABEL x; MENU EXIT z; [b]; MENU END",
                "nothing",
            ),
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; MENU BEGIN s; MENU START; LABEL x; MENU EXIT .top; [b]; MENU END",
                "5 s b",
            ),
        ]);
    }

    #[test]
    fn names_that_are_no_text_are_no_labels_names() {
        let menu = bytes(b"DEFAULT b\xe9\nLABEL a\nLABEL b\xe8\nLABEL b\xe9\n");
        assert_eq!(told(&menu), "nothing");
        let menu = bytes(b"UI menu.c32\nTIMEOUT 50\nDEFAULT b\xe9\nLABEL a\nLABEL b\xe8\n");
        assert_eq!(told(&menu), "nothing");
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
            (
                "[a] MENU DEFAULT; DEFAULT b; [b] FDTDIR d;MENU DEFAULT",
                "at once b",
            ),
            (
                "DEFAULT two words; [two]; [two words] FDTDIR d",
                "at once two words",
            ),
            ("FALLBACK b; [a]; [b]", "at once a"),
            // A comment begins its line, and ends no label.
            ("[a]; [b] FDT -;# c;MENU DEFAULT", "at once b"),
            ("#DEFAULT a; DEFAULT b; #; [a] FDT -; [b]", "at once b"),
            // ONTIMEOUT is DEFAULT's other name: the last one counts, of lines and of labels.
            ("DEFAULT b; ONTIMEOUT a; [a] FDT -; [b]", "at once a"),
            (
                "PROMPT 1; TIMEOUT 50; ONTIMEOUT a; DEFAULT b; [a] FDT -; [b]",
                "5 s b",
            ),
            ("DEFAULT a; [a] FDT -; LABEL a; KERNEL /b", "at once file /b"),
            // MENU outside of labels asks, and PROMPT does, whichever is last.
            ("DEFAULT b; MENU TITLE t; [a] FDTDIR d; [b]", "nothing"),
            ("DEFAULT b; MENU TITLE t; TIMEOUT 50; [a] FDTDIR d; [b]", "5 s b"),
            ("PROMPT 0; MENU TITLE t; DEFAULT b; [a] FDT -; [b]", "nothing"),
            ("MENU TITLE t; PROMPT 0; DEFAULT b; [a] FDT -; [b]", "at once b"),
            ("MENU BACKGROUND x.bmp; DEFAULT b; [a] FDT -; [b]", "nothing"),
            ("MENU INCLUDE x; DEFAULT b; [a] FDT -; [b]", "nothing"),
            ("MENU TITLE t; PROMPT; DEFAULT b; [a] FDT -; [b]", "nothing"),
            // Its default that is not there, or runs nothing there.
            ("DEFAULT nowhere; [a] FDT -; [b]", "nothing"),
            ("DEFAULT b; [a] FDT -; LABEL b", "nothing"),
            ("DEFAULT b\n[a] FDT -\nLABEL b \nKERNEL /b\n", "nothing"),
            ("DEFAULT b \n[a] FDT -\n[b]", "nothing"),
            // A value that is not there fails all of it.
            ("DEFAULT b; [a] FDT; [b]", "nothing"),
            ("DEFAULT b; TIMEOUT; [a] FDT -; [b]", "nothing"),
            ("DEFAULT b; [a] FDT -; [b] APPEND", "nothing"),
            ("DEFAULT b; [a] FDT -; [b] INITRD # none", "nothing"),
        ]);
    }

    #[test]
    fn words_of_both_boot_what_both_boot() {
        check(&[
            ("UI menu.c32; TIMEOUT 50; [a] FDTDIR d; [b]", "5 s a"),
            (
                "UI menu.c32; MENU HIDDEN; TIMEOUT 50; TOTALTIMEOUT 600; [a] FDTDIR d; [b]",
                "hidden 5 s a",
            ),
            ("UI menu.c32; TIMEOUT 50; [a] FDTDIR d; [b] MENU DEFAULT", "5 s b"),
            (
                "UI menu.c32; TIMEOUT 50; DEFAULT b; [a] FDTDIR d; [b] MENU DEFAULT",
                "5 s b",
            ),
            ("DEFAULT b; ONERROR a; [a] FDT -; [b]", "at once b"),
            ("DEFAULT b; [a] FDT -; [b] SYSAPPEND 3", "at once b"),
            // Behind a second FDT its label is over.
            ("UI menu.c32; TIMEOUT 50; [a]; [b] FDT -;MENU DEFAULT", "5 s b"),
            (
                "UI menu.c32; TIMEOUT 50; [a]; [b] FDT -;FDT -;MENU DEFAULT",
                "nothing",
            ),
            // An initrd of APPEND is one, too.
            (
                "UI menu.c32; TIMEOUT 50; [a]; [b] FDT -;APPEND q;INITRD y;MENU DEFAULT",
                "5 s b",
            ),
            (
                "UI menu.c32; TIMEOUT 50; [a]; [b] FDT -;APPEND initrd=x;INITRD y;MENU DEFAULT",
                "nothing",
            ),
            // They do not agree.
            (
                "UI menu.c32; TIMEOUT 50; ONTIMEOUT b; [a] FDTDIR d; [b]; DEFAULT a",
                "nothing",
            ),
            ("DEFAULT a; NOESCAPE 1; PROMPT 1; [a] FDT -; [b]", "nothing"),
            (
                "[a] FDT -; LABEL b; KERNEL /b; SYSAPPEND 3; MENU DEFAULT",
                "nothing",
            ),
            (
                "TIMEOUT 50; [a] FDT -; LABEL b; KERNEL /b; SYSAPPEND 3; MENU DEFAULT",
                "nothing",
            ),
            ("DEFAULT b; [a] FDT -; LABEL b; SYSAPPEND 3; KERNEL /b", "nothing"),
            ("DEFAULT b; ONERROR a; ONTIMEOUT a; [a] FDT -; [b]", "nothing"),
            ("DEFAULT menu.c32 x.cfg; [a] FDT -; [b]", "nothing"),
            ("UI menu.c32 x.cfg; [a] FDT -; [b]", "nothing"),
            ("UI chain.c32; TIMEOUT 50; [a] FDT -; [b]", "nothing"),
            ("[a] FDT -;MENU DISABLE; [b]", "nothing"),
            ("DEFAULT p; LABEL p; COM32 chain.c32; [k] FDTDIR d", "nothing"),
            ("DEFAULT a; [a] FDT -; MENU SEPARATOR; KERNEL /k; [b]", "nothing"),
            (
                "DEFAULT b; [a]; TEXT HELP; LABEL b; ENDTEXT; [b] FDT -",
                "nothing",
            ),
            // What does not make it U-Boot's: no word of it, or not where it would read it.
            ("OVERLAYS x; [a]; [b]", "nothing"),
            ("[a] OVERLAYS x; [b]", "nothing"),
            ("FDT; [a]; [b]", "nothing"),
            ("TIMEOUT 50; [a] TEXT HELP;FDT -;ENDTEXT; [b]", "nothing"),
        ]);
    }
}
