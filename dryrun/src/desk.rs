//! The person at the desk: hears what happens, tells it, and types what `--choose` asks for.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use boot::fetch::Exchange;
use boot::menu::{Action, Chosen, Menu};
use boot::observe::{Event, Observer};
use boot::url::Url;
use boot::{Clock as _, Platform};
use smoltcp::time::Duration;

use crate::clock::Clock;
use crate::shared::Shared;
use crate::trace::{self, Decision, Item, Told, failure};

/// The pause between two keys: the menu takes keys without a pause for noise (D-28).
const BETWEEN_KEYS: Duration = Duration::from_millis(50);
/// The longest script or menu in bytes.
const LONGEST_SCRIPT: u64 = 1 << 20;

/// Listens to the boot.
pub(crate) struct Listener {
    pub(crate) shared: Rc<Shared>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) told: Sender<Told>,
    /// Whether only the first bytes of payloads are fetched (`--head`).
    pub(crate) heads: bool,
    /// The file of which only the first bytes are fetched.
    pub(crate) partial: Option<String>,
    /// Whether any file was cut short.
    pub(crate) any_partial: bool,
    /// The entry that the operator wants.
    pub(crate) wanted: Option<usize>,
}

impl Listener {
    fn tell(&self, told: Told) {
        // A closed channel means that the process is about to end.
        let _ = self.told.send(told);
    }

    fn answered(&mut self, exchange: &Exchange<'_>) {
        self.shared.asking.set(false);
        let url = whole(exchange.url);
        let head = self.partial.take().is_some_and(|partial| partial == url);
        self.any_partial |= head;
        self.tell(Told::Request {
            method: exchange.method.to_string(),
            url,
            status: exchange.status,
            bytes: exchange.received,
            length: exchange.length.filter(|_| exchange.redirect.is_none()),
            redirect: exchange.redirect.map(whole),
            error: exchange.failure.map(|failure| failure.to_string()),
            head,
        });
    }

    fn command(&self, script: Option<&Url>, line: usize, words: &[String]) {
        self.tell(Told::Command {
            script: script.map(whole),
            line,
            words: words.to_vec(),
        });
        let name = words.first().map_or("", String::as_str);
        let reads = name.ends_with("sum") || matches!(name, "imgextract" | "imgverify" | "imgset");
        if reads && self.any_partial {
            self.tell(Told::Note(format!(
                "{name} reads bytes that --head left out: try again without it"
            )));
        }
    }

    /// Reports a menu, and types the keys that lead to the next choice.
    fn menu(&mut self, menu: &Menu) {
        self.tell(Told::Shown(described(menu)));
        let lines = menu.pages.iter().flat_map(|page| &page.lines);
        let entries = lines.filter_map(|line| menu.entries.get(*line));
        let names = entries.filter(|entry| entry.selectable()).map(|entry| {
            let label = entry.label.as_deref().unwrap_or_default();
            match label.is_empty() || label == entry.name {
                true => entry.name.clone(),
                false => format!("{} ({})", entry.name, label.trim()),
            }
        });
        self.shared.offered.borrow_mut().extend(names);
        let mut choices = self.shared.choices.borrow_mut();
        self.wanted = None;
        let mut keys = Vec::new();
        while let Some((at, entry, way)) = choices.iter().enumerate().find_map(|(at, choice)| {
            let is = |text: &str| text.trim() == choice.trim();
            let entry = menu.entries.iter().position(|entry| {
                entry.selectable() && (is(&entry.name) || entry.label.as_deref().is_some_and(is))
            })?;
            Some((at, entry, keys_to(menu, entry)?))
        }) {
            choices.remove(at);
            keys = way;
            // A submenu makes no choice yet: the choice is made in it, or not at all.
            let submenu = menu
                .entries
                .get(entry)
                .is_some_and(|entry| matches!(entry.action, Action::Page(_)));
            self.wanted = Some(entry).filter(|_| !submenu);
            if !submenu {
                break;
            }
        }
        let now = self.clock.now();
        let mut typed = self.shared.keys.borrow_mut();
        typed.clear();
        let mut due = now;
        for key in keys {
            typed.extend(key.bytes().map(|byte| (due, byte)));
            due += BETWEEN_KEYS;
        }
    }

    fn chosen(&mut self, menu: &Menu, chosen: Chosen) {
        self.shared.keys.borrow_mut().clear();
        let (index, entry) = match chosen {
            Chosen::Entry { entry, .. } => (Some(entry), menu.entries.get(entry)),
            Chosen::Left | Chosen::Unattended => (None, None),
        };
        let wanted = self.wanted.take();
        if let Some(wanted) = wanted.filter(|wanted| Some(*wanted) != index) {
            let name = menu.entries.get(wanted).map_or("", |entry| &entry.name);
            self.tell(Told::End(Decision::Fail {
                step: "choose",
                reason: format!(
                    "\"{name}\" is in the menu and did not let itself be chosen: it may ask for a password"
                ),
            }));
        }
        self.tell(Told::Menu(trace::Menu {
            chosen: entry.map(|entry| entry.name.clone()),
            by: match chosen {
                Chosen::Entry { .. } if wanted.is_some() => "operator",
                Chosen::Entry { .. } => "timeout",
                Chosen::Left => "left",
                Chosen::Unattended => "nobody",
            },
            ..described(menu)
        }));
        let local = entry.is_some_and(|entry| matches!(entry.action, Action::Local(_)));
        if local {
            self.tell(Told::Note(
                "a node boots its own disk with bramble.local alone; else it shows the menu again, or fails"
                    .into(),
            ));
        }
        // A node would now show the menu again, or fail. The outcome here is what the menu asks for.
        if local {
            self.tell(Told::End(match self.shared.left_over() {
                Some(reason) => Decision::Fail {
                    step: "choose",
                    reason,
                },
                None => Decision::Local,
            }));
        }
    }
}

/// A URL for the trace: whole, but without its password.
fn whole(url: &Url) -> String {
    format!("{url:#}")
}

/// A menu for the trace: its first page.
fn described(menu: &Menu) -> trace::Menu {
    let page = menu.pages.get(menu.start);
    let lines = page.map_or(&[][..], |page| &page.lines);
    let entries = lines.iter().filter_map(|line| menu.entries.get(*line));
    trace::Menu {
        source: whole(&menu.url),
        title: menu.title().map(Into::into),
        items: entries
            .map(|entry| Item {
                name: entry.name.clone(),
                label: entry.shown().into(),
                gap: !entry.selectable(),
            })
            .collect(),
        default: menu
            .entries
            .get(menu.default.entry)
            .map(|entry| entry.name.clone()),
        timeout_ms: menu.timeout.map(|timeout| timeout.total_millis()),
        chosen: None,
        by: "nobody",
    }
}

/// The keys that lead to `entry`, page by page; `None` when no page shows it.
fn keys_to(menu: &Menu, entry: usize) -> Option<Vec<&'static str>> {
    // For each page found so far: the page before it, and the entry that leads from there.
    let mut reached: Vec<(usize, Option<(usize, usize)>)> = vec![(menu.start, None)];
    let mut at = 0;
    let last = loop {
        let (page, _) = *reached.get(at)?;
        let lines = &menu.pages.get(page)?.lines;
        if lines.contains(&entry) {
            break at;
        }
        for line in lines {
            if let Some(Action::Page(next)) = menu.entries.get(*line).map(|entry| &entry.action)
                && reached.iter().all(|(known, _)| known != next)
            {
                reached.push((*next, Some((at, *line))));
            }
        }
        at += 1;
    };
    let mut steps = vec![(last, entry)];
    while let Some(from) = steps.last().and_then(|(at, _)| reached.get(*at)?.1) {
        steps.push(from);
    }
    // This key shows a hidden menu, and does nothing to a visible one of Syslinux's; a script's menu is never hidden.
    let hides = menu.display != boot::menu::Display::Shown;
    let mut keys = if hides { vec!["m"] } else { Vec::new() };
    for (at, entry) in steps.into_iter().rev() {
        let lines = &menu.pages.get(reached.get(at)?.0)?.lines;
        let before = lines.iter().take_while(|line| **line != entry);
        let before = before.filter(|line| menu.entries.get(**line).is_some_and(|entry| entry.selectable()));
        keys.push("\x1b[H");
        keys.extend(before.map(|_| "\x1b[B"));
        keys.push("\r");
    }
    Some(keys)
}

/// The watchdog of a desk: there is none.
pub(crate) struct Desk;

impl Platform for Desk {
    fn kick_watchdog(&mut self) {}
}

impl Observer for Listener {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Command { script, line, words } => self.command(*script, *line, words),
            Event::Failed(failure) => self.tell(Told::Failed {
                errno: failure.errno.0,
                reason: failure.reason.to_string(),
                expected: failure.expected,
            }),
            Event::Asking(_) => {
                self.shared.asking.set(true);
                self.tell(Told::Asking);
            }
            Event::Answered(exchange) => self.answered(exchange),
            Event::Print(text) => self.tell(Told::Print((*text).into())),
            Event::Menu(menu) => self.menu(menu),
            Event::Chosen(menu, chosen) => self.chosen(menu, *chosen),
            // The outcome of `run` says it.
            Event::AttemptFailed(_) => {}
            Event::EntryFailed(error) => {
                let (step, reason) = failure(error);
                self.tell(Told::EntryFailed { step, reason });
            }
            Event::Boot(boot) => self.tell(Told::Boot {
                kernel: whole(boot.kernel),
                initrds: boot.initrds.iter().map(|url| whole(url)).collect(),
                cmdline: boot.command_line.into(),
                fdt: boot.device_tree.map(whole),
            }),
        }
    }

    fn wants(&mut self, url: &Url, first: &[u8], len: u64) -> bool {
        if !self.heads || len <= LONGEST_SCRIPT || is_packed_kernel(first) {
            return true;
        }
        self.partial = Some(whole(url));
        false
    }
}

/// Whether a file with these first bytes is gzip of an arm64 `Image`: only unpacking it tells how much memory it needs.
fn is_packed_kernel(first: &[u8]) -> bool {
    // A gzip member without optional fields, except for a name, which is skipped.
    let Some([0x1f, 0x8b, 8, flags]) = first.first_chunk::<4>() else {
        return false;
    };
    let mut start = 10;
    if flags & 8 != 0 {
        let name = first.get(start..).unwrap_or_default();
        start += name
            .iter()
            .position(|byte| *byte == 0)
            .map_or(name.len(), |end| end + 1);
    }
    let packed = first.get(start..).unwrap_or_default();
    let mut unpacked = [0; 4096];
    let mut state = miniz_oxide::inflate::core::DecompressorOxide::new();
    let flags = miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF
        | miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    miniz_oxide::inflate::core::decompress(&mut state, packed, &mut unpacked, 0, flags);
    unpacked.get(56..60) == Some(b"ARM\x64")
}

/// The serial terminal: output is dropped, because the trace tells it; input is what [`Shared::choices`] asks for.
pub(crate) struct Terminal {
    pub(crate) shared: Rc<Shared>,
    pub(crate) clock: Rc<Clock>,
}

impl embedded_io::ErrorType for Terminal {
    type Error = Infallible;
}

impl embedded_io::ReadReady for Terminal {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        let now = self.clock.now();
        Ok(self
            .shared
            .keys
            .borrow()
            .front()
            .is_some_and(|(due, _)| *due <= now))
    }
}

impl embedded_io::Read for Terminal {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let now = self.clock.now();
        let mut keys = self.shared.keys.borrow_mut();
        let mut count = 0;
        for byte in into {
            let Some((_, key)) = keys.pop_front_if(|(due, _)| *due <= now) else {
                break;
            };
            *byte = key;
            count += 1;
        }
        Ok(count)
    }
}

impl embedded_io::Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_kernel_is_told_from_a_packed_ramdisk() {
        let gzip = |bytes: &[u8]| {
            let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
            file.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
            file
        };
        let mut kernel = vec![7; 9000];
        kernel[56..60].copy_from_slice(b"ARM\x64");
        assert!(is_packed_kernel(&gzip(&kernel)));
        assert!(!is_packed_kernel(&gzip(&[b'0'; 9000])));
        assert!(!is_packed_kernel(&kernel));
        assert!(!is_packed_kernel(&[0x1f, 0x8b]));
    }
}
