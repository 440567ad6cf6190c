//! What all lines of a PXELINUX text together make: one [`Menu`], with its entries, its pages, and what boots of it without
//! anybody, as `clock` decides (D-176).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use smoltcp::time::Duration;

use super::clock::{self, Boots, Decision, Facts, Line, Reader, Runs, Timing};
use super::error::Unsupported;
use super::keywords::{Draft, Label, Parser, menu_of_files};
use super::model::{Action, Behaviour, Display, Entry, Key, Menu, Page, Pick};
use super::names::{is_menu_module, word};
use crate::patience;
use crate::url::Url;

/// The menu that all lines together make; `None` without anything to choose. `asks` says that a menu module shows it, `alone`
/// that no line says anything but what a label boots.
pub(super) fn assemble(mut parser: Parser, url: Url, base: Url, asks: bool, alone: bool) -> Option<Menu> {
    parser.finish();
    let mut drafts = mem::take(&mut parser.pages);
    let labels = mem::take(&mut parser.labels);
    let names: Vec<String> = labels.iter().map(|label| label.name().to_owned()).collect();
    let lone = alone && names.len() == 1;
    let (mut entries, lines) = entries_and_lines(labels, &names, &mut drafts);
    let timings: Vec<_> = drafts
        .iter_mut()
        .map(|page| mem::take(&mut page.timing))
        .collect();
    let titled = drafts.first().is_some_and(|page| page.title.is_some());
    let mut text = for_the_clock(&parser, lines, &timings, titled, alone);
    let (reader, elsewhere) = reader(&parser, &text, &entries, asks);
    text.reader = reader;
    let mut decision = clock::decide(&text);
    if parser.doubtful || elsewhere.is_some() && text.u_boot.is_some() {
        decision.clock = None;
    }
    let elsewhere = elsewhere.filter(|_| !parser.doubtful && text.u_boot.is_none());
    let elsewhere = elsewhere.map(|entry| Pick::plain(push(&mut entries, entry)));
    let has_labels = names.iter().any(|name| !name.is_empty());
    let mut commands = Commands {
        parser: &parser,
        text: &text,
        has_labels,
        entries,
    };
    let picks = commands.picks(&decision, &url);
    let entries = commands.entries;
    if entries.iter().all(|entry| entry.action == Action::Gap) {
        return None;
    }
    if !has_labels && drafts.iter().all(|page| page.lines.is_empty()) {
        let all = 0..entries.len();
        drafts.first_mut()?.lines.extend(all);
    }

    let pages = pages(drafts, &entries, &text);
    let start = elsewhere.as_ref().map_or(decision.page, |_| parser.start);
    let first = pages.get(start).and_then(|page| page.lines.get(page.selected));
    let default = picks.default.or_else(|| elsewhere.clone());
    let default = default.unwrap_or_else(|| Pick::plain(first.copied().unwrap_or(0)));
    let (timeout, total) = times(&decision, &text);
    let is_elsewhere = elsewhere.is_some();
    let on_timeout = elsewhere.or(picks.clock);
    let display = match on_timeout {
        _ if is_elsewhere => Display::AtOnce,
        Some(_) => decision.display,
        None => {
            warn_of_no_clock(&decision, &url);
            Display::Shown
        }
    };
    Some(Menu {
        default,
        url,
        base,
        entries,
        pages,
        start,
        on_timeout,
        on_error: picks.on_error,
        tells_on_error: !matches!(text.reader, Reader::Module { .. }),
        timeout,
        total,
        untimed: decision.untimed,
        lone,
        display,
        hidden_keys: picks.hidden_keys,
        failed: None,
        messages: parser.messages,
        texts: parser.texts,
        function_keys: parser.function_keys,
        editing: parser.editing,
        leaves: parser.leaves,
        clears: parser.clears,
        master: parser.master,
        behaviour: Behaviour::Syslinux,
    })
}

/// The entry of each label, put on its page, and what the clock has to know of it.
fn entries_and_lines<'t>(
    labels: Vec<Label>,
    names: &'t [String],
    drafts: &mut [Draft],
) -> (Vec<Entry>, Vec<Line<'t>>) {
    let mut entries = Vec::with_capacity(labels.len());
    let mut lines = Vec::with_capacity(labels.len());
    for ((index, label), name) in labels.into_iter().enumerate().zip(names) {
        if let Some(page) = label.shown_on().and_then(|page| drafts.get_mut(page)) {
            page.lines.push(index);
        }
        let mut line = label.for_the_clock(name);
        let entry = label.entry(drafts);
        if line.runs == Runs::Command && matches!(entry.action, Action::Load(_)) {
            line.runs = Runs::Menu;
        } else if matches!(entry.action, Action::Unsupported(Unsupported::NoPage(_)))
            && line.runs != Runs::Disabled
        {
            // MENU DEFAULT cannot name a way out.
            line.runs = if line.runs == Runs::Shows {
                Runs::Disabled
            } else {
                Runs::Nowhere
            };
        }
        lines.push(line);
        entries.push(entry);
    }
    (entries, lines)
}

/// What the clock has to know of the text, but for who reads it.
fn for_the_clock<'t>(
    parser: &'t Parser,
    lines: Vec<Line<'t>>,
    timings: &'t [Timing<String>],
    titled: bool,
    alone: bool,
) -> Facts<'t> {
    let for_people = lines.len() > 1 && (parser.menu_label || titled);
    Facts {
        reader: Reader::CommandLine,
        lines,
        pages: timings.iter().map(Timing::as_deref).collect(),
        last: parser.last.as_deref(),
        default: parser.default.as_deref(),
        start: parser.start,
        total: parser.total.filter(|total| *total > 0 && !parser.never),
        prompt: parser.prompt,
        no_escape: !parser.leaves,
        hidden: parser.hidden,
        shift_key: parser.shift_key,
        u_boot: Some(&parser.u_boot).filter(|u_boot| u_boot.is_meant),
        cut_short: parser.cut_short,
        alone,
        for_people,
    }
}

/// Who reads a text that `asks`, when a menu module shows it, and the entry that Syslinux runs instead of all that it says.
fn reader(parser: &Parser, text: &Facts<'_>, entries: &[Entry], asks: bool) -> (Reader, Option<Entry>) {
    let module = Reader::Module {
        default_counts: parser.ui.is_some(),
        after_prompt: !asks && parser.ui.is_none(),
    };
    if asks {
        return (module, None);
    }
    if let Some((name, files)) = parser.ui.as_deref().map(word) {
        // IMPLICIT 0 forbids this, too.
        if !is_menu_module(name) || !parser.implicit {
            return (Reader::Unknown, None);
        }
        let elsewhere = match menu_of_files([files, ""]) {
            Action::Load(load) if load.files != ["~"] => Some(Entry::new(name, Action::Load(load))),
            _ => None,
        };
        return (module, elsewhere);
    }
    let starts_a_module = match text.default.and_then(|line| text.named(line)) {
        // Arguments are other files to show.
        Some(Boots::Line(line, "")) => {
            let entry = entries.get(line);
            let line = text.lines.get(line);
            entry.is_some_and(|entry| entry.action == Action::Page(0))
                && line.is_some_and(|line| line.runs == Runs::Command)
        }
        Some(Boots::Line(..)) => false,
        Some(Boots::Command(line)) => {
            let (name, files) = word(line);
            parser.implicit && is_menu_module(name) && matches!(files, "" | "~")
        }
        None => false,
    };
    let reader = if starts_a_module {
        module
    } else {
        Reader::CommandLine
    };
    (reader, None)
}

/// The entries of a menu, and one more for each command that is no label's name.
struct Commands<'p> {
    parser: &'p Parser,
    text: &'p Facts<'p>,
    has_labels: bool,
    entries: Vec<Entry>,
}

/// What boots, as entries.
struct Picks {
    default: Option<Pick>,
    clock: Option<Pick>,
    on_error: Option<Pick>,
    hidden_keys: Vec<(Key, Pick)>,
}

impl Commands<'_> {
    fn picks(&mut self, decision: &Decision<'_>, url: &Url) -> Picks {
        let default = decision.default.and_then(|boots| self.pick(boots));
        let clock = match decision.clock {
            clock if clock == decision.default => default.clone(),
            clock => clock.and_then(|boots| self.pick(boots)),
        };
        let on_error = decision.on_error.and_then(|boots| self.pick(boots));
        let mut hidden_keys = Vec::new();
        for (key, line) in &self.parser.hidden_keys {
            match self.text.resolve(line).and_then(|boots| self.pick(boots)) {
                Some(pick) => hidden_keys.push((*key, pick)),
                None => warn!("menu: {} has no label for its MENU HIDDENKEY", url),
            }
        }
        Picks {
            default,
            clock,
            on_error,
            hidden_keys,
        }
    }

    /// What boots, as a pick; none where the text as a whole may be no menu.
    fn pick(&mut self, boots: Boots<'_>) -> Option<Pick> {
        let line = match boots {
            Boots::Line(entry, arguments) => {
                return Some(Pick {
                    arguments: arguments.to_owned(),
                    ..Pick::plain(entry)
                });
            }
            Boots::Command(line) => line,
        };
        let (name, arguments) = word(line);
        // Without a label such a line is all that says what this is: then nothing else may be in doubt.
        if !self.has_labels && self.parser.skipped > 0 && !name.contains(['/', '.', ':']) {
            return None;
        }
        let mut pick = Pick::plain(self.entries.len());
        let entry = if !self.parser.implicit || name.is_empty() {
            Entry::new(name, Action::Unsupported(Unsupported::NoLabel(name.to_owned())))
        } else if self.text.shows_a_menu(name) {
            Entry::new(name, menu_of_files([arguments, ""]))
        } else {
            arguments.clone_into(&mut pick.arguments);
            Label::implicit(self.parser, name)
        };
        self.entries.push(entry);
        Some(pick)
    }
}

fn push(entries: &mut Vec<Entry>, entry: Entry) -> usize {
    entries.push(entry);
    entries.len().saturating_sub(1)
}

/// The pages as they open.
fn pages(drafts: Vec<Draft>, entries: &[Entry], text: &Facts<'_>) -> Vec<Page> {
    let opened = drafts.into_iter().enumerate().map(|(page, draft)| Page {
        selected: selected(entries, &draft.lines, text.entry_of(page)),
        title: draft.title,
        lines: draft.lines,
        parent: draft.parent,
    });
    opened.collect()
}

/// Which line of a page is selected when it opens: its default, else the first that can be.
fn selected(entries: &[Entry], lines: &[usize], default: Option<usize>) -> usize {
    let can_be = |&line: &usize| entries.get(line).is_some_and(Entry::selectable);
    let marked = lines
        .iter()
        .position(|line| Some(*line) == default && can_be(line));
    marked.or_else(|| lines.iter().position(can_be)).unwrap_or(0)
}

/// How long the menu waits for a key, and how long keys hold it in all (D-193).
fn times(decision: &Decision<'_>, text: &Facts<'_>) -> (Option<Duration>, Option<Duration>) {
    let tenths = |tenths: i64| {
        let longest = patience::MENU_UNATTENDED.total_millis() / 100;
        let tenths = u64::try_from(tenths).unwrap_or(0).min(longest);
        Duration::from_millis(tenths.saturating_mul(100))
    };
    let timeout = decision.timeout.map(tenths);
    let total = text
        .total
        .map(tenths)
        .or_else(|| timeout.map(|timeout| timeout.max(patience::MENU_HELD)));
    (timeout, total)
}

/// Says why only a person can choose.
fn warn_of_no_clock(decision: &Decision<'_>, url: &Url) {
    match decision.doubt {
        Some(why) => warn!("menu: {} boots nothing without a person: {}", url, why),
        None => warn!("menu: {} names nothing that boots without a person", url),
    }
}
