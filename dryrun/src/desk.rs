//! The person at the desk: hears what happens, tells it, and types what `--choose` asks for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::mpsc::Sender;

use boot::menu::{Action, Chosen, Menu};
use boot::url::Url;
use boot::{Clock as _, Event, Exchange, Platform};
use smoltcp::time::{Duration, Instant};

use crate::clock::Clock;
use crate::trace::{self, Decision, Item, Told};

/// Between two keys, so that each is one: the menu takes what comes without a pause for noise.
const BETWEEN_KEYS: Duration = Duration::from_millis(50);
/// A file that is longer cannot be a script or a menu.
const LONGEST_SCRIPT: u64 = 1 << 20;

/// What the parts of the machine share.
#[derive(Default)]
pub(crate) struct Shared {
    /// Whether a request waits for its answer.
    pub(crate) asking: Cell<bool>,
    keys: RefCell<VecDeque<(Instant, u8)>>,
    /// What is typed next by name or label.
    choices: RefCell<Vec<String>>,
    /// Every menu's items so far.
    offered: RefCell<Vec<String>>,
}

impl Shared {
    /// Someone who will choose these.
    pub(crate) fn new(choices: Vec<String>) -> Self {
        Self {
            choices: RefCell::new(choices),
            ..Self::default()
        }
    }

    /// Why what was to be chosen was not; none when it all was.
    pub(crate) fn left_over(&self) -> Option<String> {
        let choices = self.choices.borrow();
        let first = choices.first()?;
        let offered = self.offered.borrow();
        Some(match offered.is_empty() {
            true => format!("no menu was shown that could have \"{first}\""),
            false => format!("no menu had \"{first}\"; there were {}", offered.join(", ")),
        })
    }
}

/// Hears the boot.
pub(crate) struct Listener {
    pub(crate) shared: Rc<Shared>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) told: Sender<Told>,
    /// Whether only the beginnings of payloads are fetched.
    pub(crate) heads: bool,
    /// The URL of the file whose rest is left out.
    pub(crate) partial: Option<String>,
    /// Whether any was.
    pub(crate) any_partial: bool,
    /// The entry of the menu that the operator wants.
    pub(crate) wanted: Option<usize>,
}

impl Listener {
    fn tell(&self, told: Told) {
        // When nobody listens any more, the process is about to end.
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

    /// Shows a menu, and types what leads to what is to be chosen.
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
            // A submenu is only on the way: what is chosen in it comes next, or nothing is.
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
            Chosen::Entry(entry) => (Some(entry), menu.entries.get(entry)),
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
                Chosen::Entry(_) if wanted.is_some() => "operator",
                Chosen::Entry(_) => "timeout",
                Chosen::Left => "left",
                Chosen::Unattended => "nobody",
            },
            ..described(menu)
        }));
        let local = entry.is_some_and(|entry| matches!(entry.action, Action::Local(_)));
        if local {
            self.tell(Told::Note(
                "this firmware has no driver for a local disk: a node shows the menu again, or fails".into(),
            ));
        }
        // The menu would be shown again, or the boot fail: what it asks for is told.
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

/// A URL as the trace has it: all of it, but for the password.
fn whole(url: &Url) -> String {
    format!("{url:#}")
}

/// A menu as the trace has it: what its first page shows.
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

/// The keys that lead to `entry`, page by page; none when no page shows it.
fn keys_to(menu: &Menu, entry: usize) -> Option<Vec<&'static str>> {
    // How each page that was reached is reached: from which one, and through which of its entries.
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
    // Shows a menu that hides, and does nothing to Syslinux's that does not; a script's never hides.
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

impl Platform for Listener {
    fn kick_watchdog(&mut self) {}

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

/// Whether a file that begins so is gzip of an arm64 `Image`: what it needs is only known once it is unpacked.
fn is_packed_kernel(first: &[u8]) -> bool {
    // A gzip member without optional fields; with a name, that is skipped.
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

/// The serial terminal: what it shows is told otherwise, and what is typed is typed for [`Shared::choices`].
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
