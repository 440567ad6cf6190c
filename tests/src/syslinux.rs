//! What Syslinux would boot: a decision of its own, from files to the file that is asked for when nobody presses a key.
//!
//! It shares no code with the firmware. Syslinux has two readers: its core, which has a prompt, and the menu modules,
//! which read the same files again by rules of their own. `tests/tests/emulated/syslinux.rs` compares this with Syslinux
//! itself.

use std::collections::BTreeMap;
use std::fmt;

/// The files that a server has, by name.
pub type Files = BTreeMap<String, String>;

/// Bytes of a line, as many as are read at a time.
const LONGEST_LINE: usize = 4095;

/// How many menus may follow each other, and how deep files may include each other.
const DEEPEST: usize = 16;

/// The modules that exist.
const MODULES: [&str; 2] = ["menu.c32", "vesamenu.c32"];

/// Endings of programs that are not Linux kernels.
const ENDINGS: [&str; 6] = [".c32", ".img", ".bss", ".bin", ".bs", ".0"];

/// Something that boots, or fails to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A file, with what it would be for.
    File(String, Kind),
    /// The machine's own disk.
    Disk,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A kernel.
    Kernel,
    /// A module of Syslinux.
    Module,
    /// Another program for a PC.
    Program,
}

/// The outcome of a menu when nobody presses a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// The first thing that is run; `None` when the menu waits for a person.
    pub first: Option<Start>,
    /// What is run when that fails, and so on.
    pub then: Vec<Start>,
    /// Whether the reader that ran it has handled its failure, so that no other ONERROR counts.
    settled: bool,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = |f: &mut fmt::Formatter<'_>, start: &Start| match start {
            Start::File(name, _) => f.write_str(name),
            Start::Disk => f.write_str("the disk"),
        };
        match &self.first {
            Some(first) => start(f, first)?,
            None => f.write_str("nothing")?,
        }
        for then in &self.then {
            f.write_str(", then ")?;
            start(f, then)?;
        }
        Ok(())
    }
}

/// The rules. Each can be broken, so that a test can show that the comparison notices (D-97).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Rule {
    DefaultBeatsMenuDefaultUnderUi,
    DefaultNeedsUiInAModule,
    LastMenuDefaultWins,
    FirstEntryIsTheDefault,
    FirstOfTwoLabelsWins,
    LastDefaultWins,
    CaseOfLabelsCounts,
    PasswordsAreNotAskedFor,
    ADefaultThatIsForPcsStands,
    CommentsEndWithTheirLine,
    NoTimeoutWaits,
    OnTimeoutBeatsTheDefault,
    HiddenLabelsAreNoDefaultInAModule,
    HiddenLabelsHaveNoPlace,
    DisabledLabelsHaveNoName,
    ADisabledFirstEntryStopsTheClock,
    SeparatorsEndALabel,
    TextIsNotRead,
    ASubmenuIsNoDefault,
    TheMenuOfTheDefaultIsShown,
    PromptWaits,
    NoDefaultBootsNothing,
    LastKernelWins,
    OnErrorFollows,
    TimeoutsAreTheMenus,
    LabelsEndAtABlankInTheCore,
    PromptHasItsOwnOnTimeout,
    NoEscapeLeavesNoPrompt,
    ControlsAreBlanks,
    OnlyAsciiIsBlank,
    AMarkIsAPartOfItsLine,
    LongLinesAreSeveral,
    FilesHaveTheirOwnPage,
    AKernelIsWhatGotoLooksFor,
    CaseOfEndingsCounts,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 35] = [
        Self::DefaultBeatsMenuDefaultUnderUi,
        Self::DefaultNeedsUiInAModule,
        Self::LastMenuDefaultWins,
        Self::FirstEntryIsTheDefault,
        Self::FirstOfTwoLabelsWins,
        Self::LastDefaultWins,
        Self::CaseOfLabelsCounts,
        Self::PasswordsAreNotAskedFor,
        Self::ADefaultThatIsForPcsStands,
        Self::CommentsEndWithTheirLine,
        Self::NoTimeoutWaits,
        Self::OnTimeoutBeatsTheDefault,
        Self::HiddenLabelsAreNoDefaultInAModule,
        Self::HiddenLabelsHaveNoPlace,
        Self::DisabledLabelsHaveNoName,
        Self::ADisabledFirstEntryStopsTheClock,
        Self::SeparatorsEndALabel,
        Self::TextIsNotRead,
        Self::ASubmenuIsNoDefault,
        Self::TheMenuOfTheDefaultIsShown,
        Self::PromptWaits,
        Self::NoDefaultBootsNothing,
        Self::LastKernelWins,
        Self::OnErrorFollows,
        Self::TimeoutsAreTheMenus,
        Self::LabelsEndAtABlankInTheCore,
        Self::PromptHasItsOwnOnTimeout,
        Self::NoEscapeLeavesNoPrompt,
        Self::ControlsAreBlanks,
        Self::OnlyAsciiIsBlank,
        Self::AMarkIsAPartOfItsLine,
        Self::LongLinesAreSeveral,
        Self::FilesHaveTheirOwnPage,
        Self::AKernelIsWhatGotoLooksFor,
        Self::CaseOfEndingsCounts,
    ];
}

/// The surroundings of a menu.
#[derive(Debug, Clone, Copy)]
pub struct World<'f> {
    /// The server's files.
    pub files: &'f Files,
    /// Whether the machine is a PC. On other machines a PC's program fails like an absent kernel, and ONERROR follows; on a PC an
    /// absent module leads to the prompt.
    pub is_pc: bool,
    /// Whether what Bramble does in another way on purpose counts, too (`docs/src/menus.md`): a label that is all of a text is
    /// its default, and in a menu module has the time of the menu whose clock led to it, and a directory's name needs no slash at its end.
    pub declared: bool,
    /// The rule to break.
    pub broken: Option<Rule>,
}

/// Whether a text says nothing but what labels boot, and comments.
fn is_one_label(text: &str) -> bool {
    let words = text
        .lines()
        .map(|line| first_word(trimmed(line)).0.to_ascii_lowercase());
    let mut words = words.filter(|word| !word.is_empty() && !word.starts_with('#'));
    words.all(|word| {
        matches!(
            &*word,
            "label" | "kernel" | "linux" | "initrd" | "append" | "ipappend" | "sysappend"
        )
    })
}

/// What Syslinux does with the menu `name` among `files`.
pub fn decide(files: &Files, name: &str) -> Decision {
    let world = World {
        files,
        is_pc: true,
        declared: false,
        broken: None,
    };
    world.decide(name)
}

/// The programs that read a menu's text, each in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Core,
    Module,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Does {
    /// Runs a line: the program's kind, as a word with a dot before it, its name and its arguments.
    Runs(String),
    /// Leads to another page, which the entry opens or a tag names.
    Page,
    Goto(String),
    /// The same, which MENU DEFAULT cannot name.
    Exit(String),
    /// Leaves.
    #[default]
    Nothing,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    /// The name that finds the label.
    name: Option<String>,
    page: Option<usize>,
    index: usize,
    does: Does,
    disabled: bool,
    password: bool,
}

#[derive(Debug, Clone, Default)]
struct Page {
    tag: String,
    parent: Option<(usize, usize)>,
    count: usize,
    default: usize,
    /// In tenths of a second.
    timeout: Option<i64>,
    on_timeout: Option<String>,
    on_error: Option<String>,
}

/// A label that is being read.
#[derive(Debug, Clone, Default)]
struct Label {
    name: String,
    kernel: String,
    kind: Option<&'static str>,
    append: Option<String>,
    initrd: Option<String>,
    hidden: bool,
    default: bool,
    disabled: bool,
    password: bool,
    elsewhere: Option<Does>,
}

/// The content of a menu's files.
#[derive(Debug, Clone)]
struct Read<'w> {
    reader: Reader,
    directory: &'w str,
    pages: Vec<Page>,
    entries: Vec<Entry>,
    /// The page that the file goes on in that is being read, and the one that its next include begins in.
    page: usize,
    current: usize,
    label: Option<Label>,
    append: Option<String>,
    start: usize,
    hides: bool,
    shift_key: bool,
    default: Option<String>,
    ui: Option<String>,
    prompt: i64,
    no_escape: bool,
    implicit: bool,
    total: i64,
    /// The core's, whichever page they stand on.
    timeout: Option<i64>,
    on_timeout: Option<String>,
    on_error: Option<String>,
    depth: usize,
}

/// How a menu was reached.
#[derive(Debug, Clone, Copy, Default)]
struct Way<'w> {
    depth: usize,
    /// The directory that names are relative to.
    directory: &'w str,
    /// The time of the menu whose clock led here.
    time: Option<i64>,
}

impl Way<'_> {
    fn timed(self, timeout: Option<i64>) -> Self {
        Self {
            time: timeout.filter(|timeout| *timeout > 0),
            ..self
        }
    }

    fn further(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}

/// Where a page's hidden entries are: nowhere.
const HIDDEN: Option<usize> = None;

/// What ends a word.
fn is_blank(c: char) -> bool {
    c <= ' ' || c == '\x7f'
}

/// What is left out where something is read.
fn is_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ')
}

fn trimmed(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// What is left out between a program and its arguments.
fn behind(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

fn first_word(text: &str) -> (&str, &str) {
    text.find(is_blank).map_or((text, ""), |end| text.split_at(end))
}

/// The text behind `keyword`, when `line` begins with it.
fn after<'l>(line: &'l str, keyword: &str) -> Option<&'l str> {
    let (word, rest) = first_word(line);
    word.eq_ignore_ascii_case(keyword).then_some(trimmed(rest))
}

/// The number at the start of `text`; 0 when there is none.
fn number(text: &str) -> i64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    sign * digits[..end].parse::<i64>().unwrap_or(0)
}

const KINDS: [&str; 11] = [
    "none",
    "localboot",
    "kernel",
    "linux",
    "boot",
    "bss",
    "pxe",
    "fdimage",
    "comboot",
    "com32",
    "config",
];

impl World<'_> {
    /// The outcome of the menu with this name.
    pub fn decide(&self, name: &str) -> Decision {
        self.core(name, Way::default())
    }

    fn holds(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    fn read<'w>(&self, reader: Reader, names: &[String], way: Way<'w>) -> Option<Read<'w>> {
        if way.depth >= DEEPEST {
            return None;
        }
        let mut read = Read {
            reader,
            directory: way.directory,
            pages: vec![Page::default()],
            entries: Vec::new(),
            page: 0,
            current: 0,
            label: None,
            append: None,
            start: 0,
            hides: false,
            shift_key: false,
            default: None,
            ui: None,
            prompt: 0,
            no_escape: false,
            implicit: true,
            total: 0,
            timeout: None,
            on_timeout: None,
            on_error: None,
            depth: 0,
        };
        for name in names {
            match self.files.get(name) {
                Some(text) => self.file(&mut read, text),
                None if reader == Reader::Core => return None,
                None => {}
            }
        }
        read.page = read.current;
        self.record(&mut read);
        if reader == Reader::Module {
            let tags = read.pages.iter().skip(1).map(|page| &*page.tag);
            let tags: Vec<&str> = tags.chain([".top", ".hidden"]).collect();
            for entry in &mut read.entries {
                if let Does::Goto(tag) | Does::Exit(tag) = &entry.does {
                    entry.disabled |= !tags.contains(&&**tag);
                }
            }
        }
        Some(read)
    }

    fn file(&self, read: &mut Read<'_>, text: &str) {
        if read.depth == DEEPEST {
            return;
        }
        read.depth += 1;
        let mut in_text = false;
        let mut joined = String::new();
        read.page = read.current;
        let mut text = text.to_owned();
        if !self.holds(Rule::AMarkIsAPartOfItsLine) {
            text = text.replace('\u{feff}', "");
        }
        // What these rules forbid, in words that they allow.
        if !self.holds(Rule::OnlyAsciiIsBlank) {
            text = text.replace(['\u{a0}', '\u{3000}'], " ");
        }
        if !self.holds(Rule::ControlsAreBlanks) {
            text = text.replace(|c: char| c.is_ascii_control() && !"\t\r\n".contains(c), "?");
        }
        for line in text.split('\n').flat_map(|line| self.pieces(line)) {
            let line = line.split('\r').next().unwrap_or_default();
            let line = trimmed(line);
            if in_text {
                in_text = after(line, "endtext").is_none();
                continue;
            }
            if !self.holds(Rule::CommentsEndWithTheirLine)
                && let Some(start) = line.strip_suffix('\\')
            {
                joined.push_str(start);
                continue;
            }
            let line = std::mem::take(&mut joined) + line;
            if after(&line, "text").is_some() {
                in_text = self.holds(Rule::TextIsNotRead);
                continue;
            }
            self.line(read, &line);
        }
        read.depth -= 1;
    }

    /// The lines that a line is.
    fn pieces<'l>(&self, line: &'l str) -> Vec<&'l str> {
        let (mut pieces, mut rest) = (Vec::new(), line);
        while rest.len() > LONGEST_LINE && self.holds(Rule::LongLinesAreSeveral) {
            let (piece, more) = rest.split_at(LONGEST_LINE);
            pieces.push(piece);
            rest = more;
        }
        pieces.push(rest);
        pieces
    }

    fn include(&self, read: &mut Read<'_>, value: &str, tagged: bool) {
        let (name, tag) = first_word(value);
        let tag = trimmed(tag);
        let file = self.files.get(&format!("{}{name}", read.directory));
        let tagged = tagged && !tag.is_empty() && (file.is_some() || read.reader == Reader::Module);
        if tagged {
            self.record(read);
            self.begin(read, tag);
        }
        let page = read.page;
        if let Some(text) = file {
            self.file(read, text);
        }
        // It goes on where it was, whatever the file has begun or ended.
        let goes_on = self.holds(Rule::FilesHaveTheirOwnPage);
        read.page = if goes_on { page } else { read.current };
        if tagged {
            self.end(read);
        }
    }

    /// Ends the label, and the page that is open.
    fn end(&self, read: &mut Read<'_>) {
        self.record(read);
        if let Some((parent, _)) = read.pages[read.current].parent {
            read.current = parent;
        }
        read.page = read.current;
    }

    fn begin(&self, read: &mut Read<'_>, tag: &str) {
        let parent = read.current;
        let index = read.pages[parent].count;
        read.pages[parent].count += 1;
        read.entries.push(Entry {
            page: Some(parent),
            index,
            does: Does::Page,
            ..Entry::default()
        });
        let page = Page {
            tag: tag.to_owned(),
            parent: Some((parent, index)),
            count: 0,
            default: 0,
            ..read.pages[parent].clone()
        };
        read.pages.push(page);
        read.page = read.pages.len() - 1;
        read.current = read.page;
    }

    /// Ends the label.
    fn record(&self, read: &mut Read<'_>) {
        let Some(label) = read.label.take() else {
            return;
        };
        let page = if label.hidden && self.holds(Rule::HiddenLabelsHaveNoPlace) {
            HIDDEN
        } else {
            Some(read.page)
        };
        let index = page.map_or(0, |page| read.pages[page].count);
        let leaves = matches!(&label.elsewhere, Some(Does::Nothing | Does::Exit(_)));
        let runs = !leaves && !label.disabled;
        if let Some(page) = page {
            let page = &mut read.pages[page];
            page.count += 1;
            let first = page.default == 0 || self.holds(Rule::LastMenuDefaultWins);
            if label.default && runs && first {
                page.default = index;
            }
        }
        let append = label.append.or_else(|| read.append.clone());
        let append = append.filter(|append| append != "-").unwrap_or_default();
        let kind = label.kind.map_or(String::new(), |kind| format!(".{kind} "));
        let initrd = label
            .initrd
            .map_or(String::new(), |name| format!(" initrd={name}"));
        let space = if append.is_empty() { "" } else { " " };
        let line = format!("{kind}{}{space}{append}{initrd}", label.kernel);
        let named = !label.disabled || !self.holds(Rule::DisabledLabelsHaveNoName);
        read.entries.push(Entry {
            name: Some(label.name).filter(|_| named),
            page,
            index,
            does: label.elsewhere.unwrap_or(Does::Runs(line)),
            disabled: label.disabled,
            password: label.password,
        });
    }

    fn line(&self, read: &mut Read<'_>, line: &str) {
        if let Some(rest) = after(line, "menu") {
            self.menu_line(read, rest);
            return;
        }
        if let Some(rest) = after(line, "include") {
            self.include(read, rest, read.reader == Reader::Module);
        } else if let Some(rest) = after(line, "append") {
            let append = Some(rest.to_owned());
            match &mut read.label {
                Some(label) => label.append = append,
                None => read.append = append,
            }
        } else if let Some(rest) = after(line, "initrd") {
            if let Some(label) = &mut read.label {
                label.initrd = Some(rest.to_owned());
            }
        } else if let Some(rest) = after(line, "label") {
            self.record(read);
            let whole = read.reader == Reader::Module || !self.holds(Rule::LabelsEndAtABlankInTheCore);
            let name = if whole { rest } else { first_word(rest).0 };
            read.label = Some(Label {
                name: name.to_owned(),
                kernel: name.to_owned(),
                ..Label::default()
            });
        } else if let Some((kind, rest)) = KINDS.iter().find_map(|kind| Some((*kind, after(line, kind)?))) {
            let last = self.holds(Rule::LastKernelWins);
            if let Some(label) = read.label.as_mut().filter(|label| last || label.kind.is_none()) {
                label.kernel = rest.to_owned();
                if let Some(Does::Goto(tag) | Does::Exit(tag)) = &mut label.elsewhere
                    && self.holds(Rule::AKernelIsWhatGotoLooksFor)
                {
                    rest.clone_into(tag);
                }
                // KERNEL says nothing of what it is.
                label.kind = Some(kind).filter(|kind| *kind != "kernel" || !last);
            }
        } else if let Some(rest) = after(line, "timeout") {
            read.timeout = Some(number(rest));
            let page = if self.holds(Rule::TimeoutsAreTheMenus) {
                read.page
            } else {
                0
            };
            read.pages[page].timeout = Some(number(rest));
        } else if let Some(rest) = after(line, "totaltimeout") {
            read.total = number(rest);
        } else if let Some(rest) = after(line, "ontimeout") {
            read.on_timeout = Some(rest.to_owned());
            read.pages[read.page].on_timeout = Some(rest.to_owned());
        } else if let Some(rest) = after(line, "default") {
            if read.default.is_none() || self.holds(Rule::LastDefaultWins) {
                read.default = Some(rest.to_owned());
            }
        } else if let Some(rest) = after(line, "ui") {
            read.ui = Some(rest.to_owned());
        } else if read.reader == Reader::Core {
            if let Some(rest) = after(line, "prompt") {
                read.prompt = number(rest);
            } else if let Some(rest) = after(line, "noescape") {
                read.no_escape = number(rest) != 0 && self.holds(Rule::NoEscapeLeavesNoPrompt);
            } else if let Some(rest) = after(line, "implicit") {
                read.implicit = number(rest) != 0;
            } else if let Some(rest) = after(line, "onerror") {
                read.on_error = Some(rest.to_owned());
            }
        }
    }

    fn menu_line(&self, read: &mut Read<'_>, line: &str) {
        let (page, module) = (read.page, read.reader == Reader::Module);
        let parent = read.pages[page].parent;
        if after(line, "default").is_some() {
            match (&mut read.label, parent) {
                (Some(label), _) => label.default = true,
                (None, Some((parent, index))) => read.pages[parent].default = index,
                (None, None) => {}
            }
        } else if after(line, "hide").is_some() {
            if let Some(label) = &mut read.label {
                label.hidden = true;
            }
        } else if after(line, "passwd").is_some() {
            if let Some(label) = &mut read.label {
                label.password = true;
            }
        } else if after(line, "disable").is_some() || after(line, "disabled").is_some() {
            if let Some(label) = &mut read.label {
                label.disabled = true;
            }
        } else if after(line, "separator").is_some() {
            if self.holds(Rule::SeparatorsEndALabel) {
                self.record(read);
            }
            let index = read.pages[page].count;
            read.pages[page].count += 1;
            read.entries.push(Entry {
                page: Some(page),
                index,
                disabled: true,
                ..Entry::default()
            });
        } else if let Some(rest) = after(line, "begin") {
            self.record(read);
            self.begin(read, rest);
        } else if after(line, "end").is_some() {
            self.end(read);
        } else if let Some(rest) = after(line, "include") {
            self.include(read, rest, true);
        } else if let Some(rest) = after(line, "goto") {
            if let Some(label) = &mut read.label {
                label.elsewhere = Some(Does::Goto(rest.to_owned()));
            }
        } else if after(line, "quit").is_some() {
            if let Some(label) = &mut read.label {
                label.elsewhere = Some(Does::Nothing);
            }
        } else if let Some(rest) = after(line, "exit").filter(|_| parent.is_some()) {
            if let Some(label) = &mut read.label {
                let tag = Some(rest).filter(|rest| !rest.is_empty());
                label.elsewhere = Some(tag.map_or(Does::Nothing, |tag| Does::Exit(tag.to_owned())));
            }
        } else if after(line, "start").is_some() {
            read.start = page;
        } else if after(line, "hidden").is_some() {
            read.hides = true;
        } else if after(line, "shiftkey").is_some() {
            read.shift_key = true;
        } else if let Some(rest) = after(line, "onerror") {
            read.pages[page].on_error = Some(rest.to_owned());
            if !module {
                read.on_error = Some(rest.to_owned());
            }
        }
    }

    /// The label that the first word of `line` names.
    fn find<'r>(&self, read: &'r Read<'_>, line: &str) -> Option<&'r Entry> {
        let (word, _) = first_word(line);
        let is = |entry: &&Entry| match entry.name.as_deref() {
            Some(name) if self.holds(Rule::CaseOfLabelsCounts) => name == word,
            Some(name) => name.eq_ignore_ascii_case(word),
            None => false,
        };
        if self.holds(Rule::FirstOfTwoLabelsWins) {
            read.entries.iter().find(is)
        } else {
            read.entries.iter().rev().find(is)
        }
    }

    /// `line` with the line of the label that it names in place of that; none when that label runs nothing.
    fn spelled_out(&self, read: &Read<'_>, line: &str) -> Option<String> {
        match self.find(read, line).map(|entry| &entry.does) {
            Some(Does::Runs(runs)) => Some(format!("{runs}{}", first_word(line).1)),
            Some(Does::Page | Does::Goto(_) | Does::Exit(_) | Does::Nothing) => None,
            None => Some(line.to_owned()),
        }
    }

    /// The core reads `name`, and does what it does without a person.
    fn core(&self, name: &str, way: Way<'_>) -> Decision {
        let nothing = Decision::default();
        let Some(read) = self.read(Reader::Core, &[name.to_owned()], way) else {
            return nothing;
        };
        let mut default = read.ui.as_ref().or(read.default.as_ref());
        let first = read.entries.first().and_then(|entry| entry.name.as_ref());
        if !self.holds(Rule::NoDefaultBootsNothing) {
            default = default.or(first);
        }
        let mut named = read.entries.iter().filter_map(|entry| entry.name.as_ref());
        if self.declared
            && named.clone().count() == 1
            && self.files.get(name).is_some_and(|text| is_one_label(text))
        {
            default = default.or(named.next());
        }
        let prompts = read.prompt != 0 && !read.no_escape;
        let waits = prompts && read.ui.is_none() && self.holds(Rule::PromptWaits);
        if !waits
            && let Some(line) = default
            && let Some(decision) = self.command(&read, name, line, way.timed(None))
        {
            return decision;
        }
        if read.no_escape {
            return nothing;
        }
        // The core shows its prompt next. Below zero, TIMEOUT has no end, nor has TOTALTIMEOUT.
        if read.timeout.is_some_and(|timeout| timeout < 0) {
            return nothing;
        }
        let timeout = read.timeout.filter(|timeout| *timeout > 0);
        if timeout.is_none() && read.total <= 0 {
            return nothing;
        }
        let on_timeout = read.on_timeout.as_ref().filter(|line| !line.is_empty());
        let on_timeout = on_timeout.filter(|_| !waits || self.holds(Rule::PromptHasItsOwnOnTimeout));
        let line = on_timeout.or(default.filter(|_| waits));
        line.and_then(|line| self.command(&read, name, line, way.timed(timeout)))
            .unwrap_or(nothing)
    }

    /// What the core does with a line that was typed, or stands for one; none when the prompt comes back.
    fn command(&self, read: &Read<'_>, name: &str, line: &str, way: Way<'_>) -> Option<Decision> {
        let found = self.find(read, line);
        let mut first = match found.map(|entry| &entry.does) {
            Some(Does::Runs(runs)) => {
                let arguments = behind(first_word(line).1);
                self.execute(&format!("{runs} {arguments}"), name, way)
            }
            // The label runs nothing.
            Some(_) => return None,
            None if !read.implicit => None,
            None => {
                let (word, rest) = first_word(line);
                let there = ENDINGS.iter().map(|ending| format!("{word}{ending}"));
                let there = there
                    .into_iter()
                    .find(|name| MODULES.contains(&&**name) || self.has(name, way))
                    .filter(|_| !ENDINGS.iter().any(|ending| word.ends_with(ending)));
                let word = there.unwrap_or_else(|| word.to_owned());
                self.execute(&format!("{word}{rest}"), name, way)
            }
        };
        let refused = found.is_none() && !read.implicit;
        let fails = refused || first.as_ref().is_some_and(|first| self.fails(first));
        if let Some(on_error) = read.on_error.as_ref().filter(|line| !line.is_empty())
            && fails
            && self.holds(Rule::OnErrorFollows)
        {
            // What failed stands behind it.
            let spelled_out = self.spelled_out(read, on_error);
            let then = spelled_out
                .and_then(|on_error| self.execute(&format!("{on_error} {line}"), name, way.further()));
            first = followed(first, then);
        }
        first
    }

    /// Runs a program by its line; none when that gives way to the prompt.
    fn execute(&self, line: &str, config: &str, way: Way<'_>) -> Option<Decision> {
        let (word, rest) = first_word(line);
        let rest = behind(rest);
        let cases = !self.holds(Rule::CaseOfEndingsCounts);
        let lower = word.to_ascii_lowercase();
        let (word, line) = match lower.strip_suffix(".c32") {
            Some(_) if cases => (&*lower, format!("{lower} {rest}")),
            _ => (word, line.to_owned()),
        };
        let line = &*line;
        let by_ending = |name: &str| match ENDINGS.iter().find(|ending| name.ends_with(**ending)) {
            Some(&".c32") => "com32",
            Some(&".img") => "fdimage",
            Some(_) => "boot",
            None => "linux",
        };
        let known = ["none", "comboot"];
        let kind = KINDS
            .iter()
            .find(|kind| word.strip_prefix('.') == Some(**kind) && !known.contains(kind));
        match kind {
            Some(&"kernel") => self.run("linux", rest, config, way),
            Some(&"com32") => {
                let (name, arguments) = first_word(rest);
                let ending = if name.ends_with(".c32") { "" } else { ".c32" };
                self.run("com32", &format!("{name}{ending}{arguments}"), config, way)
            }
            Some(kind) => self.run(kind, rest, config, way),
            None => self.run(by_ending(word), line, config, way),
        }
    }

    fn run(&self, kind: &str, line: &str, config: &str, way: Way<'_>) -> Option<Decision> {
        let (name, arguments) = first_word(line);
        let skipped = !self.holds(Rule::ADefaultThatIsForPcsStands);
        let start = |first: Start| {
            let first = Some(first).filter(|first| !skipped || matches!(first, Start::File(_, Kind::Kernel)));
            Some(Decision {
                first,
                ..Decision::default()
            })
        };
        let here = |name: &str| format!("{}{name}", way.directory);
        let file = |kind| start(Start::File(here(name), kind));
        match kind {
            "localboot" => start(Start::Disk),
            "com32" if MODULES.contains(&name) => {
                let files: Vec<String> = arguments
                    .split(is_blank)
                    .filter(|name| !name.is_empty())
                    .map(|name| {
                        if name == "~" {
                            config.to_owned()
                        } else {
                            here(name)
                        }
                    })
                    .collect();
                let files = if files.is_empty() {
                    vec![config.to_owned()]
                } else {
                    files
                };
                self.module(&files, config, way.further())
            }
            "com32" => file(Kind::Module),
            "config" => {
                // The first word behind its name is the directory of what it names.
                let (directory, _) = first_word(behind(arguments));
                let ends = directory.is_empty() || directory.ends_with('/') || !self.declared;
                let directory = format!("{}{}", here(directory), if ends { "" } else { "/" });
                let way = Way {
                    directory: &directory,
                    ..way.further()
                };
                Some(settled(self.core(&here(name), way)))
            }
            "boot" | "bss" | "pxe" | "fdimage" => file(Kind::Program),
            _ => file(Kind::Kernel),
        }
    }

    /// A menu module shows the menu of these files; none when it ends.
    fn module(&self, files: &[String], config: &str, way: Way<'_>) -> Option<Decision> {
        let waits = Some(Decision::default());
        let Some(mut read) = self.read(Reader::Module, files, way) else {
            return waits;
        };
        let counts = read.ui.is_some() || !self.holds(Rule::DefaultNeedsUiInAModule);
        if let Some(line) = read.default.clone().filter(|_| counts) {
            let found = self.find(&read, &line).map(|entry| (entry.page, entry.index));
            match found {
                Some((Some(page), index)) => {
                    let marked = read.pages[page].default != 0;
                    if self.holds(Rule::DefaultBeatsMenuDefaultUnderUi) || !marked {
                        read.pages[page].default = index;
                    }
                    if self.holds(Rule::TheMenuOfTheDefaultIsShown) {
                        read.start = page;
                    }
                }
                Some((HIDDEN, _)) if !self.holds(Rule::HiddenLabelsAreNoDefaultInAModule) => {
                    let line = self.spelled_out(&read, &line)?;
                    return self.execute(&line, config, way);
                }
                _ => {}
            }
        }
        let page = read.pages[read.start].clone();
        if page.count == 0 {
            return None;
        }
        let on_page = |index: usize| {
            let is = |entry: &&Entry| entry.page == Some(read.start) && entry.index == index;
            read.entries.iter().find(is)
        };
        let mut chosen = on_page(page.default);
        let runs = |entry: &&Entry| matches!(entry.does, Does::Runs(_)) && !entry.disabled;
        let others = || read.entries.iter().filter(|entry| entry.page == Some(read.start));
        if !self.holds(Rule::FirstEntryIsTheDefault) && page.default == 0 {
            chosen = others().next_back();
        }
        if !self.holds(Rule::ADisabledFirstEntryStopsTheClock) && chosen.is_some_and(|entry| entry.disabled) {
            chosen = others().find(runs);
        }
        if !self.holds(Rule::ASubmenuIsNoDefault) && chosen.is_some_and(|entry| entry.does == Does::Page) {
            chosen = others().find(runs);
        }
        if !self.holds(Rule::PasswordsAreNotAskedFor) && chosen.is_some_and(|entry| entry.password) {
            chosen = others().filter(runs).find(|entry| !entry.password);
        }
        let default = match chosen {
            Some(entry) if !entry.disabled => match &entry.does {
                Does::Runs(line) => Some(line.clone()),
                Does::Page | Does::Goto(_) | Does::Exit(_) | Does::Nothing => None,
            },
            _ => None,
        };
        let on_timeout = match &page.on_timeout {
            Some(line) => match self.spelled_out(&read, line) {
                Some(line) => Some(line),
                None if read.shift_key => None,
                // The label runs nothing, and Syslinux asks for a file that no line of the menu names.
                None => return waits,
            },
            None => None,
        };
        // From the first line the selection moves on to one that can be chosen, if there is one, and from the last one up:
        // that looks like a key.
        let moves = chosen.is_some_and(|entry| entry.disabled)
            && match page.default {
                0 => others().any(|entry| !entry.disabled),
                default => default + 1 == page.count,
            };
        let one_label = self.declared
            && matches!(files, [file] if self.files.get(file).is_some_and(|text| is_one_label(text)))
            && read.entries.len() == 1;
        let time = page.timeout.or(way.time.filter(|_| one_label));
        let time = time.filter(|timeout| *timeout > 0);
        let way = way.timed(time.filter(|_| !read.shift_key));
        let timeout = time.is_some() || !self.holds(Rule::NoTimeoutWaits);
        let line = if read.shift_key {
            default
        } else if read.total <= 0 && (!timeout || (moves && !read.hides)) {
            return waits;
        } else if self.holds(Rule::OnTimeoutBeatsTheDefault) {
            on_timeout.or(default)
        } else {
            default.or(on_timeout)
        };
        let Some(line) = line else {
            // A hidden menu is shown then, without a clock.
            let shown = read.hides && !read.shift_key && read.total <= 0;
            return waits.filter(|_| shown);
        };
        let mut decision = self.execute(&line, config, way)?;
        if let Some(on_error) = &page.on_error
            && self.fails(&decision)
            && self.holds(Rule::OnErrorFollows)
        {
            let line = self.spelled_out(&read, on_error);
            let then = line.and_then(|line| self.execute(&line, config, way.further()));
            decision = followed(Some(decision), then)?;
        }
        Some(settled(decision))
    }

    fn has(&self, name: &str, way: Way<'_>) -> bool {
        self.files.contains_key(&format!("{}{name}", way.directory))
    }

    /// Whether ONERROR follows when this fails.
    fn fails(&self, decision: &Decision) -> bool {
        let fails = match &decision.first {
            Some(Start::File(_, Kind::Module) | Start::Disk) => !self.is_pc,
            Some(Start::File(..)) => true,
            None => false,
        };
        fails && !decision.settled
    }
}

/// Adds what is run when `first` fails.
fn followed(first: Option<Decision>, then: Option<Decision>) -> Option<Decision> {
    let Some(mut first) = first else {
        return then;
    };
    let then = then.into_iter();
    first.then = then
        .flat_map(|then| then.first.into_iter().chain(then.then))
        .collect();
    Some(first)
}

fn settled(decision: Decision) -> Decision {
    Decision {
        settled: true,
        ..decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::menus;

    #[test]
    fn what_syslinux_does_with_the_written_menus() {
        let written = menus::written();
        assert!(written.len() >= 30, "{}", written.len());
        for menu in &written {
            let decision = decide(&menu.files, menus::MENU).to_string();
            assert_eq!(decision, menu.boots, "{}", menu.title);
        }
    }

    #[test]
    fn generated_menus_tell_each_broken_rule() {
        for rule in Rule::ALL {
            let seen = (0..20_000).map(menus::menu).any(|files| {
                let broken = World {
                    files: &files,
                    is_pc: true,
                    declared: false,
                    broken: Some(rule),
                };
                broken.decide(menus::MENU) != decide(&files, menus::MENU)
            });
            assert!(seen, "{rule:?}");
        }
    }
}
