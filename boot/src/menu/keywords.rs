//! PXELINUX's keywords (Syslinux `doc/syslinux.txt`, `doc/menu.txt`; U-Boot `doc/README.pxe`): line by line into labels
//! and pages.
//!
//! Keywords know no case. A line whose keyword is not known is skipped and counted, and its label goes on, as in
//! Syslinux. What U-Boot makes of the same lines, where it decides, is `uboot`'s.

use alloc::borrow::ToOwned;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::bounds::MAX_ENTRIES;
use super::clock::{Line, Runs, Timing};
use super::error::{Bound, Unsupported};
use super::model::{Action, Boot, Editing, Entry, Key, Load, Texts};
use super::names::{
    PC_KEYWORDS, is_blank, is_command, is_menu_file, is_menu_module, leading, padded_word, word,
};
use super::password::Password;
use super::uboot::{self, UBoot};

/// Messages kept; later ones are skipped.
pub(super) const MAX_MESSAGES: usize = 32;
/// Lines of help kept for an entry; later ones are skipped.
const MAX_HELP: usize = 16;
/// Pages of a menu.
const MAX_PAGES: usize = 64;
/// MENU HIDDENKEYs kept.
const MAX_HIDDEN_KEYS: usize = 16;

/// Keywords that set what a serial terminal lacks: colours, pictures, fonts, places and sizes.
const LOOKS: [&str; 23] = [
    "color",
    "colour",
    "msgcolor",
    "msgcolour",
    "background",
    "resolution",
    "width",
    "margin",
    "passwordmargin",
    "rows",
    "tabmsgrow",
    "cmdlinerow",
    "endrow",
    "passwordrow",
    "timeoutrow",
    "helpmsgrow",
    "helpmsgendrow",
    "hiddenrow",
    "hshift",
    "vshift",
    "kbdmap",
    "font",
    "serial",
];

/// Accepted without a word, each because of what Bramble is: it has one console (`console`), no module path (`path`), no
/// loader underneath to tell anything (`sendcookies`) or to try again (`pxeretry`), no Tab key at a prompt (`nocomplete`), it
/// rests while it waits whatever it is told (`nohalt`), has nowhere to save a choice (`save`, `nosave`), gives every kernel
/// a seed (`kaslrseed`), and does not count the boots that did not come up, which is when U-Boot takes another label
/// (`fallback`) (D-100).
const WITHOUT_MEANING: [&str; 10] = [
    "console",
    "path",
    "sendcookies",
    "pxeretry",
    "nocomplete",
    "nohalt",
    "save",
    "nosave",
    "kaslrseed",
    "fallback",
];

/// A file that is to be read in the place of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Insert {
    /// A menu; with a tag, as a submenu of that name.
    Menu { file: String, tag: Option<String> },
    /// Text for the console.
    Text(String),
}

/// The content of the lines so far.
pub(super) struct Parser {
    pub(super) labels: Vec<Label>,
    pub(super) pages: Vec<Draft>,
    /// The page that MENU START is in.
    pub(super) start: usize,
    /// The pages that are open, the menu itself not among them.
    open: Vec<Open>,
    /// The page that the file goes on in that is being read: a file that it includes begins and ends submenus for the files
    /// that follow, not for it.
    page: usize,
    /// Whether the next lines belong to the last label.
    in_label: bool,
    /// Inside TEXT … ENDTEXT; whether that is help.
    in_text: Option<bool>,
    append: Rc<str>,
    sysappend: u32,
    immediate: bool,
    pub(super) default: Option<String>,
    /// The last of each, on whatever page.
    pub(super) last: Timing<String>,
    pub(super) ui: Option<String>,
    /// What U-Boot makes of the same lines.
    pub(super) u_boot: UBoot,
    /// Whether the text is too odd to say what Syslinux makes of it.
    pub(super) doubtful: bool,
    /// Whether an INCLUDE with a tag has ended a label, which on Syslinux's command line goes on.
    cut: bool,
    /// Whether something stands behind such an INCLUDE that is the label's there.
    pub(super) cut_short: bool,
    /// Tenths of a second.
    pub(super) total: Option<i64>,
    /// Whether the last TIMEOUT is below zero: Syslinux's prompt then has no end, and TOTALTIMEOUT none either.
    pub(super) never: bool,
    pub(super) prompt: Option<bool>,
    pub(super) implicit: bool,
    pub(super) hidden: bool,
    pub(super) shift_key: bool,
    pub(super) menu_label: bool,
    pub(super) messages: Vec<String>,
    pub(super) texts: Texts,
    pub(super) function_keys: [Option<String>; 12],
    pub(super) hidden_keys: Vec<(Key, String)>,
    pub(super) editing: Editing,
    pub(super) leaves: bool,
    pub(super) clears: bool,
    pub(super) master: Option<Password>,
    pub(super) skipped: u32,
    pub(super) first_skipped: String,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            labels: Vec::new(),
            pages: vec![Draft::default()],
            start: 0,
            open: Vec::new(),
            page: 0,
            in_label: false,
            in_text: None,
            append: Rc::from(""),
            sysappend: 0,
            immediate: false,
            default: None,
            last: Timing::default(),
            ui: None,
            u_boot: UBoot::default(),
            doubtful: false,
            cut: false,
            cut_short: false,
            total: None,
            never: false,
            prompt: None,
            implicit: true,
            hidden: false,
            shift_key: false,
            menu_label: false,
            messages: Vec::new(),
            texts: Texts::default(),
            function_keys: Default::default(),
            hidden_keys: Vec::new(),
            editing: Editing::Allowed,
            leaves: true,
            clears: false,
            master: None,
            skipped: 0,
            first_skipped: String::new(),
        }
    }
}

/// A menu or submenu while it is read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) tag: String,
    pub(super) title: Option<String>,
    /// Labels that it shows.
    pub(super) lines: Vec<usize>,
    pub(super) timing: Timing<String>,
    pub(super) parent: Option<usize>,
    /// The label in the parent that leads here.
    entry: Option<usize>,
}

/// The state to restore after MENU END. APPEND and SYSAPPEND are the whole text's.
struct Open {
    page: usize,
    immediate: bool,
}

/// A LABEL and what follows it.
pub(super) struct Label {
    /// The entry without its action.
    entry: Entry,
    kind: Kind,
    /// KERNEL or LINUX with everything after it; none means the label's name.
    kernel: Option<String>,
    append: Rc<str>,
    sysappend: u32,
    /// The files of INITRD, separated by commas.
    initrds: String,
    /// The words behind INITRD's files, for the command line.
    initrd_words: String,
    device_tree: Option<String>,
    device_trees: Option<String>,
    overlays: String,
    /// The page it is on.
    page: usize,
    hidden: bool,
    /// Whether it has MENU DEFAULT.
    marked: bool,
    /// Whether blanks follow its name.
    padded: bool,
    pub(super) u_boot: uboot::Label,
}

/// The effect of a label.
enum Kind {
    /// The file's kind is told by its name: KERNEL, or no keyword at all.
    Kernel,
    /// The file is a kernel, whatever its name: LINUX.
    Linux,
    /// What only COM32 can say: that the file is a menu module, without its ending.
    Module,
    Local(i32),
    /// CONFIG: another menu, in this file.
    Config(String),
    Pc(&'static str),
    Goto(String),
    /// MENU EXIT: to the parent, or to the page of this tag.
    Exit(String),
    Quit,
    Text(String),
    Page(usize),
    Gap,
}

/// A decimal or `0x` number, whatever follows it after a blank.
fn number(text: &str) -> Option<u32> {
    let (text, _) = word(text);
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Whether the line is about the label that it stands in, in Syslinux.
fn is_of_a_label(keyword: &str) -> bool {
    ["append", "ipappend", "sysappend", "initrd"].contains(&keyword) || is_command(keyword)
}

/// Whether a number begins it.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl Parser {
    /// Takes a line without its end; returns what is to be read in its place.
    pub(super) fn line(&mut self, line: &str) -> Result<Option<Insert>, Bound> {
        let whole = line;
        let line = line.trim_end_matches(is_blank);
        let (keyword, rest) = word(line);
        let keyword = keyword.to_ascii_lowercase();
        self.as_u_boot(whole);
        if let Some(help) = self.in_text {
            if keyword == "endtext" {
                self.in_text = None;
            } else if help
                && let Some(entry) = self.subject()
                && entry.help.len() < MAX_HELP
            {
                entry.help.push(line.to_owned());
            }
            return Ok(None);
        }
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        self.cut &= keyword != "label";
        if self.setting(&keyword, rest, line) {
            return Ok(None);
        }
        match &*keyword {
            "menu" => return self.menu_line(padded_word(whole).1, line),
            "include" => {
                let insert = self.include(padded_word(whole).1, line);
                self.cut |= self.in_label && matches!(&insert, Some(Insert::Menu { tag: Some(_), .. }));
                return Ok(insert);
            }
            "label" => self.label(rest, whole.len() > line.len())?,
            "text" => self.in_text = Some(word(rest).0.eq_ignore_ascii_case("help")),
            "display" => return Ok(non_empty(word(rest).0).map(Insert::Text)),
            _ if self.current().is_some_and(|label| label.line(&keyword, rest)) => {}
            _ if LOOKS.contains(&&*keyword) || WITHOUT_MEANING.contains(&&*keyword) => {}
            _ => self.skip(line),
        }
        Ok(None)
    }

    /// Whether only people read what stands in this line.
    pub(super) fn is_for_people(&self, line: &str) -> bool {
        let (keyword, rest) = word(line);
        let is =
            |keyword: &str, known: &[&str]| known.iter().any(|known| keyword.eq_ignore_ascii_case(known));
        line.is_empty()
            || line.starts_with('#')
            || is(keyword, &["say"])
            || is(keyword, &["menu"]) && is(word(rest).0, &["label", "title"])
            || self.in_text.is_some() && !is(keyword, &["endtext"])
    }

    /// Takes the same line as U-Boot does.
    fn as_u_boot(&mut self, line: &str) {
        let (in_text, in_label) = (self.in_text.is_some(), self.in_label && self.in_text.is_none());
        let label = self.labels.last_mut().map(|label| {
            let name = Some(&*label.entry.name).filter(|_| !label.padded);
            (&mut label.u_boot, name)
        });
        self.u_boot.line(line, label, in_label, in_text);
    }

    /// Takes a line about the whole menu; `false` when it is another one.
    fn setting(&mut self, keyword: &str, rest: &str, line: &str) -> bool {
        let flag = leading(rest) != 0;
        let mut understood = true;
        match keyword {
            // An empty one is one all the same: a default that names nothing, a program that is not there.
            "default" => self.default = Some(rest.to_owned()),
            "ui" => self.ui = Some(rest.to_owned()),
            "ontimeout" => self.time(|timing| timing.on_timeout = Some(rest.to_owned())),
            // A menu module knows MENU ONERROR only.
            "onerror" => self.last.on_error = Some(rest.to_owned()),
            "timeout" => {
                self.time(|timing| timing.timeout = Some(leading(rest)));
                self.never = leading(rest) < 0;
                understood = is_number(rest);
            }
            "totaltimeout" => {
                self.total = Some(leading(rest));
                understood = is_number(rest);
            }
            "prompt" => {
                self.prompt = Some(flag);
                understood = is_number(rest);
            }
            "implicit" => self.implicit = flag,
            "noescape" => self.leaves = !flag,
            "allowoptions" if !flag => self.editing = Editing::Forbidden,
            "allowoptions" => self.editing = Editing::Allowed,
            "say" => self.say(rest),
            _ if self.cut && is_of_a_label(keyword) => self.cut_short = true,
            "append" => {
                let append = Rc::from(if rest == "-" { "" } else { rest });
                match self.current() {
                    Some(label) => label.append = append,
                    None => self.append = append,
                }
            }
            "sysappend" | "ipappend" => match (number(rest), self.current()) {
                (Some(bits), Some(label)) => label.sysappend = bits,
                (Some(bits), None) => self.sysappend = bits,
                (None, _) => understood = false,
            },
            _ => {
                let number = keyword
                    .strip_prefix('f')
                    .and_then(|number| number.parse::<usize>().ok());
                // F0 is Syslinux's old name of F10.
                let key = number.map(|number| if number == 0 { 10 } else { number });
                let Some(slot) = key.and_then(|key| self.function_keys.get_mut(key.checked_sub(1)?)) else {
                    return false;
                };
                *slot = non_empty(word(rest).0);
            }
        }
        if !understood {
            self.skip(line);
        }
        true
    }

    /// Sets what holds for the page while it is shown, and, if no menu module reads this, wherever it stands.
    fn time(&mut self, set: impl Fn(&mut Timing<String>)) {
        let page = self.page();
        if let Some(page) = self.pages.get_mut(page) {
            set(&mut page.timing);
        }
        set(&mut self.last);
    }

    /// A line that begins with MENU; `rest` is what follows, with the blanks at its end.
    fn menu_line(&mut self, rest: &str, line: &str) -> Result<Option<Insert>, Bound> {
        let (keyword, tag) = padded_word(rest);
        let rest = tag.trim_end_matches(is_blank);
        let keyword = keyword.to_ascii_lowercase();
        self.cut &= !matches!(&*keyword, "begin" | "end" | "separator");
        let decides = ["disable", "disabled", "goto", "exit", "quit"];
        self.cut_short |= self.cut && decides.contains(&&*keyword);
        match &*keyword {
            "include" => return Ok(self.include(tag, line)),
            "title" => {
                let title = non_empty(rest);
                let page = self.page();
                if let Some(page) = self.pages.get_mut(page) {
                    page.title.clone_from(&title);
                }
                // Until a MENU LABEL says otherwise, a submenu's entry reads like its title.
                if let Some(entry) = self.opener() {
                    entry.label = title;
                }
            }
            "label" => {
                self.menu_label |= self.in_label;
                if let Some(entry) = self.subject() {
                    let (text, hot_key) = without_carets(rest);
                    entry.label = non_empty(&text);
                    entry.hot_key = hot_key;
                }
            }
            "default" => {
                let label = match self.pages.get(self.page()) {
                    Some(page) if !self.in_label => page.entry,
                    _ => self.labels.len().checked_sub(1),
                };
                if let Some(label) = label.and_then(|label| self.labels.get_mut(label)) {
                    label.marked = true;
                }
            }
            "onerror" => self.time(|timing| timing.on_error = Some(rest.to_owned())),
            "hide" => {
                if let Some(label) = self.current() {
                    label.hidden = true;
                }
            }
            "disable" | "disabled" => {
                if let Some(entry) = self.subject() {
                    entry.disabled = true;
                }
            }
            "indent" => match (word(rest).0.parse::<u8>(), self.subject()) {
                (Ok(indent), Some(entry)) => entry.indent = indent.min(40),
                _ => self.skip(line),
            },
            "passwd" => {
                if let Some(entry) = self.subject() {
                    entry.password = Some(Password::new(rest));
                }
            }
            "master" if word(rest).0.eq_ignore_ascii_case("passwd") => {
                self.master = Some(Password::new(word(rest).1));
            }
            "goto" => {
                // Syslinux looks for a submenu without a name where there is no name at all.
                self.doubtful |= tag.is_empty();
                self.does(Kind::Goto(tag.to_owned()));
            }
            // There is no way out of the menu itself.
            "exit" if self.page == 0 => self.skip(line),
            "exit" => self.does(Kind::Exit(tag.to_owned())),
            "quit" => self.does(Kind::Quit),
            "help" => self.does(Kind::Text(word(rest).0.to_owned())),
            "separator" => {
                self.end_label();
                self.add("", Kind::Gap)?;
            }
            "begin" => self.begin(tag)?,
            "end" => self.end(),
            "start" => self.start = self.page(),
            "hidden" => self.hidden = true,
            "shiftkey" => self.shift_key = true,
            "hiddenkey" => self.hidden_key(rest, line),
            "clear" => self.clears = true,
            "immediate" => self.immediate = true,
            "noimmediate" => self.immediate = false,
            "autoboot" => self.texts.countdown = non_empty(rest),
            "tabmsg" => self.texts.editing = Some(rest.to_owned()),
            "notabmsg" => self.texts.editing = Some(String::new()),
            "passprompt" => self.texts.password = non_empty(rest),
            keyword if LOOKS.contains(&keyword) || WITHOUT_MEANING.contains(&keyword) => {}
            _ => self.skip(line),
        }
        Ok(None)
    }

    /// INCLUDE and MENU INCLUDE, which differ only on Syslinux's command line, which knows tags of the latter only.
    fn include(&mut self, rest: &str, line: &str) -> Option<Insert> {
        let (file, tag) = padded_word(rest);
        if file.is_empty() {
            self.skip(line);
            return None;
        }
        Some(Insert::Menu {
            file: file.to_owned(),
            tag: non_empty(tag),
        })
    }

    fn label(&mut self, name: &str, padded: bool) -> Result<(), Bound> {
        self.end_label();
        self.add(name, Kind::Kernel)?;
        if let Some(label) = self.labels.last_mut() {
            label.padded = padded;
        }
        self.in_label = true;
        Ok(())
    }

    /// Adds a label, or a line of the menu that is none.
    fn add(&mut self, name: &str, kind: Kind) -> Result<usize, Bound> {
        let index = self.labels.len();
        if index >= MAX_ENTRIES {
            return Err(Bound::Entries);
        }
        let mut entry = Entry::new(name, Action::Gap);
        entry.immediate = self.immediate;
        let page = self.page();
        self.labels.push(Label {
            entry,
            kind,
            kernel: None,
            append: Rc::clone(&self.append),
            sysappend: self.sysappend,
            initrds: String::new(),
            initrd_words: String::new(),
            device_tree: None,
            device_trees: None,
            overlays: String::new(),
            page,
            hidden: false,
            marked: false,
            padded: false,
            u_boot: uboot::Label::default(),
        });
        Ok(index)
    }

    /// Opens a submenu: a page, and an entry that leads there.
    pub(super) fn begin(&mut self, tag: &str) -> Result<(), Bound> {
        let page = self.pages.len();
        if page >= MAX_PAGES {
            return Err(Bound::Pages);
        }
        self.end_label();
        self.enter();
        let entry = self.add(tag.trim_end_matches(is_blank), Kind::Page(page))?;
        let timing = self.pages.get(self.page()).map(|page| page.timing.clone());
        self.pages.push(Draft {
            tag: tag.to_owned(),
            timing: timing.unwrap_or_default(),
            parent: Some(self.page()),
            entry: Some(entry),
            ..Draft::default()
        });
        self.open.push(Open {
            page,
            immediate: self.immediate,
        });
        self.enter();
        Ok(())
    }

    /// The same of a submenu whose file is not there: on Syslinux's command line its label goes on.
    pub(super) fn begin_absent(&mut self, tag: &str) -> Result<(), Bound> {
        self.cut |= self.in_label;
        self.begin(tag)?;
        self.end();
        Ok(())
    }

    pub(super) fn end(&mut self) {
        self.end_label();
        if let Some(open) = self.open.pop() {
            self.immediate = open.immediate;
        }
        self.page = self.current_page();
    }

    /// A file begins (D-161).
    pub(super) fn enter(&mut self) {
        self.page = self.current_page();
    }

    /// The page that lines belong to.
    pub(super) fn page(&self) -> usize {
        self.page
    }

    /// An included file has ended, and the one before it goes on in its page.
    pub(super) fn go_on(&mut self, page: usize) {
        self.page = page;
    }

    /// All files have ended.
    pub(super) fn finish(&mut self) {
        self.enter();
        self.end_label();
    }

    /// Ends the label, which is on the page of the line that ends it.
    fn end_label(&mut self) {
        let page = self.page;
        if let Some(label) = self.current() {
            label.page = page;
        }
        self.in_label = false;
    }

    /// A file ends, and a TEXT in it; `true` when there was one.
    pub(super) fn end_text(&mut self) -> bool {
        self.in_text.take().is_some()
    }

    /// The submenu that was begun last, of those that have not ended.
    fn current_page(&self) -> usize {
        self.open.last().map_or(0, |open| open.page)
    }

    fn current(&mut self) -> Option<&mut Label> {
        self.labels.last_mut().filter(|_| self.in_label)
    }

    /// The entry in the parent that opens this page.
    fn opener(&mut self) -> Option<&mut Entry> {
        let entry = self.pages.get(self.page())?.entry?;
        self.labels.get_mut(entry).map(|label| &mut label.entry)
    }

    /// The entry that a line is about: the label's, or before the first label of a submenu the one that opens it.
    fn subject(&mut self) -> Option<&mut Entry> {
        if self.in_label {
            return self.labels.last_mut().map(|label| &mut label.entry);
        }
        self.opener()
    }

    fn does(&mut self, kind: Kind) {
        if let Some(label) = self.current() {
            label.kind = kind;
        }
    }

    pub(super) fn say(&mut self, text: &str) {
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(text.to_owned());
        }
    }

    /// `MENU HIDDENKEY key[,key] command`.
    fn hidden_key(&mut self, rest: &str, line: &str) {
        let (keys, command) = word(rest);
        for name in keys.split(',') {
            match key(name) {
                Some(key) if self.hidden_keys.len() < MAX_HIDDEN_KEYS && !command.is_empty() => {
                    self.hidden_keys.push((key, command.to_owned()));
                }
                _ => self.skip(line),
            }
        }
    }

    fn skip(&mut self, line: &str) {
        if self.skipped == 0 {
            self.first_skipped = line.to_owned();
        }
        self.skipped = self.skipped.saturating_add(1);
    }
}

impl Label {
    pub(super) fn name(&self) -> &str {
        &self.entry.name
    }

    /// The page that shows it.
    pub(super) fn shown_on(&self) -> Option<usize> {
        (!self.hidden).then_some(self.page)
    }

    /// What it is for the clock, as an entry of this name.
    pub(super) fn for_the_clock<'t>(&self, name: &'t str) -> Line<'t> {
        let runs = match &self.kind {
            Kind::Page(_) => Runs::Opens,
            Kind::Gap => Runs::Disabled,
            _ if self.entry.disabled => Runs::Disabled,
            Kind::Goto(_) => Runs::Opens,
            Kind::Exit(_) | Kind::Quit | Kind::Text(_) => Runs::Shows,
            Kind::Config(_) => Runs::Menu,
            Kind::Kernel | Kind::Linux | Kind::Module | Kind::Local(_) | Kind::Pc(_) => Runs::Command,
        };
        let is_label = !matches!(self.kind, Kind::Page(_) | Kind::Gap);
        let label = Some(name).filter(|name| is_label && !name.is_empty());
        Line {
            name: label.filter(|_| !self.entry.disabled),
            label,
            runs_in_u_boot: match self.kind {
                Kind::Kernel | Kind::Linux => self.u_boot.is_kernel(),
                Kind::Local(_) => self.u_boot.is_local(),
                _ => false,
            },
            padded: self.padded,
            page: self.shown_on(),
            marked: self.marked,
            runs,
        }
    }

    /// A line says what its kernel is. MENU GOTO and its like go before that, but it is what they then look for.
    fn becomes(&mut self, kind: Kind, rest: &str) {
        match &mut self.kind {
            Kind::Exit(tag) if tag.is_empty() => {}
            Kind::Goto(tag) | Kind::Exit(tag) => rest.clone_into(tag),
            Kind::Quit | Kind::Text(_) => {}
            _ => self.kind = kind,
        }
    }

    /// Takes a line that only a label can have; `false` when it is not one.
    fn line(&mut self, keyword: &str, rest: &str) -> bool {
        match keyword {
            "kernel" | "linux" => {
                self.kernel = non_empty(rest);
                let is_linux = keyword == "linux";
                self.becomes(if is_linux { Kind::Linux } else { Kind::Kernel }, rest);
            }
            // Menu modules are all that can be done without a PC.
            "com32" if is_menu_module(word(rest).0) => {
                self.kernel = non_empty(rest);
                self.becomes(Kind::Module, rest);
            }
            "com32" => self.becomes(Kind::Pc("COM32"), rest),
            "config" => self.becomes(Kind::Config(word(rest).0.to_owned()), rest),
            "initrd" => {
                let (files, words) = initrds(rest);
                for file in files {
                    push_behind(&mut self.initrds, ',', file);
                }
                push_behind(&mut self.initrd_words, ' ', words);
            }
            "fdt" | "devicetree" => self.device_tree = non_empty(rest),
            "fdtdir" | "devicetreedir" => self.device_trees = non_empty(rest),
            "fdtoverlays" | "devicetree-overlay" | "overlays" => {
                self.overlays.push(' ');
                self.overlays.push_str(rest);
            }
            "localboot" => self.becomes(Kind::Local(word(rest).0.parse().unwrap_or(0)), rest),
            _ => match PC_KEYWORDS.iter().find(|(name, _)| *name == keyword) {
                Some((_, shown)) => self.becomes(Kind::Pc(shown), rest),
                None => return false,
            },
        }
        true
    }

    /// The finished entry; `pages` to find tags in.
    pub(super) fn entry(self, pages: &[Draft]) -> Entry {
        // The last of several.
        let of_tag = |tag: &str| match pages.iter().rposition(|page| page.tag == tag) {
            None if tag == ".top" => Some(0),
            found => found.filter(|page| *page > 0),
        };
        let goto = |tag: &str| match of_tag(tag) {
            Some(page) => Action::Page(page),
            // The page of hidden entries, which is not for people.
            None if tag == ".hidden" => Action::Unsupported(Unsupported::Nothing),
            None => Action::Unsupported(Unsupported::NoPage(tag.to_owned())),
        };
        let (kernel, arguments) = match &self.kernel {
            Some(kernel) => word(kernel),
            None => (self.entry.name.as_str(), ""),
        };
        let parent = || pages.get(self.page).and_then(|page| page.parent).unwrap_or(0);
        let action = match self.kind {
            Kind::Local(kind) => Action::Local(kind),
            Kind::Config(file) => Action::Load(Load {
                files: vec![file],
                directory: non_empty(word(&self.append).0),
                asks: false,
            }),
            Kind::Pc(keyword) => Action::Unsupported(Unsupported::Keyword(keyword)),
            Kind::Goto(tag) => goto(&tag),
            Kind::Exit(tag) if tag.is_empty() => Action::Page(parent()),
            Kind::Exit(tag) => goto(&tag),
            Kind::Quit => Action::Quit,
            Kind::Text(file) => Action::Text(file),
            Kind::Page(page) => Action::Page(page),
            Kind::Gap => Action::Gap,
            Kind::Module => menu_of_files([arguments, &self.append]),
            Kind::Kernel if is_menu_file(kernel) => menu_of_files([arguments, &self.append]),
            Kind::Kernel if is_pc_program(kernel) => {
                Action::Unsupported(Unsupported::PcProgram(kernel.to_owned()))
            }
            Kind::Kernel | Kind::Linux => Action::Boot(Boot {
                kernel: kernel.to_owned(),
                arguments: arguments.to_owned(),
                append: self.append,
                initrds: {
                    let mut initrds = self.initrds;
                    push_behind(&mut initrds, ' ', &self.initrd_words);
                    initrds
                },
                device_tree: self.device_tree,
                device_trees: self.device_trees,
                overlays: self.overlays.trim_matches(is_blank).to_owned(),
                sysappend: self.sysappend,
            }),
        };
        Entry { action, ..self.entry }
    }

    /// A kernel that is named where a label could be, with what holds for labels that say nothing themselves.
    pub(super) fn implicit(parser: &Parser, kernel: &str) -> Entry {
        let boot = Boot {
            append: Rc::clone(&parser.append),
            sysappend: parser.sysappend,
            ..Boot::of(kernel)
        };
        let action = if is_pc_program(kernel) {
            Action::Unsupported(Unsupported::PcProgram(kernel.to_owned()))
        } else {
            Action::Boot(boot)
        };
        Entry::new(kernel, action)
    }
}

/// The files of an INITRD line, and what is behind them. A comma holds files together, with blanks around it too.
fn initrds(rest: &str) -> (Vec<&str>, &str) {
    let (mut files, mut rest) = (Vec::new(), rest);
    loop {
        let (first, behind) = word(rest);
        files.extend(first.split(',').filter(|file| !file.is_empty()));
        if behind.is_empty() || !(first.ends_with(',') || behind.starts_with(',')) {
            return (files, behind);
        }
        rest = behind;
    }
}

/// Appends `text`, when it is any, with `between` before it, when anything is.
fn push_behind(to: &mut String, between: char, text: &str) {
    if !to.is_empty() && !text.is_empty() {
        to.push(between);
    }
    to.push_str(text);
}

/// The effect of a menu module with these arguments: it shows the menu in these files, or else this one.
pub(super) fn menu_of_files(arguments: [&str; 2]) -> Action {
    let files = arguments.iter().flat_map(|text| text.split_ascii_whitespace());
    let files: Vec<String> = files.map(ToOwned::to_owned).collect();
    match files.first() {
        None => Action::Page(0),
        Some(_) => Action::Load(Load {
            files,
            directory: None,
            asks: true,
        }),
    }
}

/// Whether KERNEL takes `name` for a program by its extension: Syslinux modules, COMBOOT programs, boot sectors, NBPs.
fn is_pc_program(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    ["c32", "cbt", "com", "bss", "bs", "0"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

/// A label without its `^`, and the key that followed the first one; `^^` is a caret.
fn without_carets(label: &str) -> (String, Option<u8>) {
    let (mut text, mut hot_key) = (String::new(), None);
    let mut rest = label.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '^' || rest.next_if_eq(&'^').is_some() {
            text.push(c);
        } else if hot_key.is_none() {
            hot_key = rest
                .peek()
                .filter(|key| key.is_ascii_alphanumeric())
                .and_then(|key| u8::try_from(key.to_ascii_lowercase()).ok());
        }
    }
    (text, hot_key)
}

/// The key of a name, when a serial terminal can send it: a character, `^X` or `Ctrl-X`, F1 to F12, and the keys that are
/// one byte.
fn key(name: &str) -> Option<Key> {
    let lower = name.to_ascii_lowercase();
    let control = |c: &str| match c.as_bytes() {
        [c @ b'a'..=b'z'] => Some(Key::Byte(c & 0x1f)),
        _ => None,
    };
    if let [byte] = name.as_bytes() {
        return byte.is_ascii_graphic().then_some(Key::Byte(*byte));
    }
    match &*lower {
        "esc" | "escape" => Some(Key::Byte(0x1b)),
        "enter" | "return" => Some(Key::Byte(b'\r')),
        "tab" => Some(Key::Byte(b'\t')),
        "space" => Some(Key::Byte(b' ')),
        "backspace" | "bs" => Some(Key::Byte(0x08)),
        "del" | "delete" => Some(Key::Byte(0x7f)),
        _ => {
            let function = lower.strip_prefix('f').and_then(|number| number.parse().ok());
            match function {
                Some(number @ 1..=12) => Some(Key::Function(number)),
                _ => control(lower.strip_prefix('^').or_else(|| lower.strip_prefix("ctrl-"))?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_as_in_syslinux() {
        for (name, expected) in [
            ("a", Some(Key::Byte(b'a'))),
            ("^", Some(Key::Byte(b'^'))),
            ("^C", Some(Key::Byte(3))),
            ("Ctrl-d", Some(Key::Byte(4))),
            ("F12", Some(Key::Function(12))),
            ("f1", Some(Key::Function(1))),
            ("Tab", Some(Key::Byte(9))),
            ("F13", None),
            ("F0", None),
            ("PgUp", None),
            ("^^", None),
            ("", None),
        ] {
            assert_eq!(key(name), expected, "{name}");
        }
    }

    #[test]
    fn an_initrd_line_is_files_held_together_by_commas_and_words_behind_them() {
        for (line, files, words) in [
            ("a", "a", ""),
            ("a,b", "a b", ""),
            ("a, b ,c , d", "a b c d", ""),
            ("a splash=verbose  x,y", "a", "splash=verbose  x,y"),
            ("a,\tb quiet", "a b", "quiet"),
            (",,a,,b", "a b", ""),
            ("a ,", "a", ""),
            (",", "", ""),
            ("", "", ""),
        ] {
            let (found, behind) = initrds(line);
            assert_eq!((&*found.join(" "), behind), (files, words), "{line}");
        }
    }

    #[test]
    fn every_keyword_that_changes_nothing_is_no_skipped_line() {
        let mut parser = Parser::default();
        for name in LOOKS.iter().chain(&WITHOUT_MEANING) {
            parser.line(&alloc::format!("{name} x y")).unwrap();
            parser.line(&alloc::format!("menu {name} x y")).unwrap();
        }
        assert_eq!(parser.skipped, 0, "{}", parser.first_skipped);
        parser.line("frobnicate").unwrap();
        parser.line("menu frobnicate").unwrap();
        assert_eq!((parser.skipped, &*parser.first_skipped), (2, "frobnicate"));
    }

    #[test]
    fn f_keys_name_files_and_f0_is_f10() {
        let mut parser = Parser::default();
        for line in ["F1 boot.msg picture.png", "f12 x", "F0 ten", "F13 no", "F2"] {
            parser.line(line).unwrap();
        }
        let keys: Vec<_> = parser.function_keys.iter().flatten().collect();
        assert_eq!(keys, ["boot.msg", "ten", "x"]);
        assert_eq!((parser.skipped, &*parser.first_skipped), (1, "F13 no"));
    }
}
