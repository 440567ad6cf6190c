//! A menu before a person: it is shown until the person or the clock has picked something.

use alloc::boxed::Box;
use alloc::string::String;

use smoltcp::time::{Duration, Instant};

use super::bounds::MAX_TEXT_FILE;
use super::error::{Error, Fault};
use super::model::{Action, Chosen, Load, Menu, Pick};
use super::names::resolve;
use super::pxelinux;
use super::screen::{self, Choice};
use crate::fetch;
use crate::node::Node;
use crate::observe::Event;
use crate::patience;
use crate::terminal::{POLL, read, write};
use crate::text::shortened;
use crate::url::Url;

/// The same while something is typed: at 115,200 baud a PL011's buffer of 16 bytes is full after 1.4 ms.
const HEARING: Duration = Duration::from_millis(1);

/// What was picked of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picked {
    /// The entry.
    pub pick: Pick,
    /// Whether a person picked it, rather than the clock.
    pub by_person: bool,
}

/// Shows the menu on the console until the person or the clock has picked something that leads elsewhere. Texts that it
/// shows are fetched into `scratch`.
///
/// # Errors
///
/// [`Error::Left`] when a person left, [`Error::Unattended`] when a menu without a timeout was shown for an hour in vain.
pub(crate) fn choose(node: &mut Node<'_>, menu: &Menu, scratch: &mut [u8]) -> Result<Picked, Error> {
    let mut output = String::new();
    let mut screen = screen::Screen::new(menu, node.net.now(), &mut output);
    let picked = loop {
        match shown(node, menu, &mut screen, &mut output) {
            Choice::Entry { pick, by_person } => {
                let entry = menu.entries.get(pick.entry);
                let Some(Action::Text(file)) = entry.map(|entry| &entry.action).filter(|_| by_person) else {
                    break Ok(Picked { pick, by_person });
                };
                show_text(node, menu, file, scratch, &mut output);
            }
            Choice::Text(file) => show_text(node, menu, file, scratch, &mut output),
            Choice::Left => break Err(Error::Left),
            Choice::Unattended => break Err(Error::Unattended),
        }
    };
    screen.close(&mut output);
    if menu.clears {
        output.push_str("\x1b[2J\x1b[H");
    }
    write(node.console, &mut output);
    picked
}

/// Fetches a text file of a menu, and writes it to `output`.
fn show_text(node: &mut Node<'_>, menu: &Menu, file: &str, scratch: &mut [u8], output: &mut String) {
    let room = scratch.len().min(MAX_TEXT_FILE);
    let window = scratch.get_mut(..room).unwrap_or_default();
    let lines = match resolve(&menu.base, file) {
        Ok(url) => {
            let fetched = node.get(&url, window).map_err(Fault::Fetch);
            fetched.and_then(|response| pxelinux::text_lines(&response, window))
        }
        Err(error) => Err(Fault::Url(error)),
    };
    match lines {
        Ok(lines) => {
            for line in lines {
                output.push_str(&shortened(&line));
                output.push_str("\r\n");
            }
        }
        Err(fault) => {
            let error = crate::Error::Menu(Error::Load(Box::new(fault)));
            node.tell(&Event::EntryFailed(&error));
            error!("{}", error);
        }
    }
}

/// Fetches and parses the menu that an entry of `menu` leads to; it is read in `scratch`.
pub(crate) fn load(node: &mut Node<'_>, load: &Load, menu: &Menu, scratch: &mut [u8]) -> Result<Menu, Error> {
    let since = node.net.now();
    let get = &mut |url: &Url, into: &mut [u8]| in_time(node, url, into, since);
    let menu = pxelinux::load(load, menu, scratch, get).map_err(|fault| Error::Load(Box::new(fault)))?;
    info!("menu: {} entries from {}", menu.entries.len(), menu.url);
    Ok(menu)
}

/// Shows a script's menu and returns what the person or the clock chose.
pub(crate) fn ask(node: &mut Node<'_>, menu: &Menu) -> Chosen {
    let mut output = String::new();
    let mut screen = screen::Screen::new(menu, node.net.now(), &mut output);
    let choice = shown(node, menu, &mut screen, &mut output);
    screen.close(&mut output);
    write(node.console, &mut output);
    chosen(&choice)
}

fn chosen(choice: &Choice<'_>) -> Chosen {
    match choice {
        Choice::Entry { pick, by_person } => Chosen::Entry {
            entry: pick.entry,
            by_person: *by_person,
        },
        Choice::Left | Choice::Text(_) => Chosen::Left,
        Choice::Unattended => Chosen::Unattended,
    }
}

/// Runs the screen until something is chosen.
fn shown<'m>(
    node: &mut Node<'_>,
    menu: &'m Menu,
    screen: &mut screen::Screen<'m>,
    output: &mut String,
) -> Choice<'m> {
    node.tell(&Event::Menu(menu));
    loop {
        // A line that is pasted comes faster than a UART's buffer lasts.
        let pause = if screen.hears() { HEARING } else { POLL };
        let console = &mut *node.console;
        let choice = node.net.wait(node.net.now() + pause, |net| {
            read(console, |byte| screen.byte(byte, net.now()));
            let choice = screen.tick(net.now(), output);
            write(console, output);
            choice
        });
        if let Some(choice) = choice {
            if !matches!(choice, Choice::Text(_)) {
                node.tell(&Event::Chosen(menu, chosen(&choice)));
            }
            return choice;
        }
    }
}

/// Fetches a file of a menu that has been read since then, unless that has taken too long.
pub(crate) fn in_time(
    node: &mut Node<'_>,
    url: &Url,
    into: &mut [u8],
    since: Instant,
) -> Result<fetch::Response, fetch::Error> {
    let spent = node.net.now() - since;
    if spent > patience::MENU_READING {
        let (method, url, reason) = (fetch::Method::Get, url.clone(), fetch::Reason::Overdue(spent));
        return Err(fetch::Error { method, url, reason });
    }
    node.get(url, into)
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::convert::Infallible;
    use std::collections::VecDeque;

    use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
    use smoltcp::time::Instant;

    use super::super::model::{Behaviour, Boot, Entry};
    use super::super::payload::Next;
    use super::*;
    use crate::hal::tests::board;
    use crate::hal::{Clock, Entropy, Platform};
    use crate::lease::tests::lease;
    use crate::machine::Machine;
    use crate::memory::Region;
    use crate::settings::Settings;

    /// A NIC whose frames nobody hears or answers.
    struct Unplugged;

    struct Sent;

    impl TxToken for Sent {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
            f(&mut vec![0; len])
        }
    }

    struct Never(Infallible);

    impl RxToken for Never {
        fn consume<R, F: FnOnce(&[u8]) -> R>(self, _: F) -> R {
            match self.0 {}
        }
    }

    impl Device for Unplugged {
        type RxToken<'a> = Never;
        type TxToken<'a> = Sent;

        fn receive(&mut self, _: Instant) -> Option<(Never, Sent)> {
            None
        }

        fn transmit(&mut self, _: Instant) -> Option<Sent> {
            Some(Sent)
        }

        fn capabilities(&self) -> DeviceCapabilities {
            let mut capabilities = DeviceCapabilities::default();
            capabilities.medium = Medium::Ethernet;
            capabilities.max_transmission_unit = 1514;
            capabilities
        }
    }

    /// Time that passes only by idling.
    #[derive(Default)]
    struct Virtual(Cell<i64>);

    impl Clock for Virtual {
        fn now(&self) -> Instant {
            Instant::from_micros(self.0.get())
        }

        fn idle_until(&self, deadline: Instant) {
            self.0.set(deadline.total_micros());
        }
    }

    struct Nothing;

    impl Platform for Nothing {
        fn kick_watchdog(&mut self) {}
    }

    impl Entropy for Nothing {
        fn fill(&mut self, _: &mut [u8]) -> bool {
            false
        }
    }

    /// A terminal that keeps what it is sent, and types: at each time in milliseconds, these bytes.
    struct Terminal<'t> {
        clock: &'t Virtual,
        typed: VecDeque<(i64, u8)>,
        /// Whether there is always one more byte.
        noise: bool,
        shown: Vec<u8>,
    }

    impl embedded_io::ErrorType for Terminal<'_> {
        type Error = Infallible;
    }

    impl embedded_io::ReadReady for Terminal<'_> {
        fn read_ready(&mut self) -> Result<bool, Infallible> {
            let now = self.clock.now().total_millis();
            Ok(self.noise || self.typed.front().is_some_and(|(at, _)| *at <= now))
        }
    }

    impl embedded_io::Read for Terminal<'_> {
        fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
            into[0] = self.typed.pop_front().map_or(b'\r', |(_, byte)| byte);
            Ok(1)
        }
    }

    impl embedded_io::Write for Terminal<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
            let some = bytes.len().min(3);
            self.shown.extend_from_slice(&bytes[..some]);
            Ok(some)
        }

        fn flush(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// What is chosen of three entries, after how many milliseconds, and what was shown.
    fn chosen(typed: &[(i64, &[u8])], noise: bool) -> (Result<String, Error>, i64, String) {
        let clock = Virtual::default();
        let mut console = Terminal {
            clock: &clock,
            typed: typed
                .iter()
                .flat_map(|(at, bytes)| bytes.iter().map(|&byte| (*at, byte)))
                .collect(),
            noise,
            shown: Vec::new(),
        };
        let url = Url::parse("http://192.0.2.1/menu").unwrap();
        let kernel = |name: &str| Action::Boot(Boot::of(name));
        let entries = vec![
            Entry::new("Disk", Action::Local(0)),
            Entry::new("One", kernel("one")),
            Entry::new("Two", kernel("two")),
        ];
        let menu = Menu {
            on_timeout: Some(Pick::plain(1)),
            timeout: Some(Duration::from_secs(5)),
            total: Some(Duration::from_secs(600)),
            ..Menu::flat(url, None, entries, Behaviour::Syslinux)
        };
        let (mut nic, mut platform) = (Unplugged, Nothing);
        let machine = Machine {
            nic: &mut nic,
            clock: &clock,
            console: &mut console,
            memory: Region::new(0, &mut []).unwrap(),
            entropy: &mut Nothing,
            board: &board(),
            platform: &mut platform,
            observers: &mut [],
        };
        let (mut node, _) = Node::new(machine, &Settings::default());
        let picked = choose(&mut node, &menu, &mut []).unwrap();
        let kernel = match menu.leads(&picked.pick, &lease(), &board()) {
            Ok(Next::Boot(payload)) => Ok(payload.kernel.url.to_string()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        (
            kernel,
            clock.now().total_millis(),
            String::from_utf8(console.shown).unwrap(),
        )
    }

    #[test]
    fn the_clock_chooses_when_nobody_does_and_the_terminal_is_given_back() {
        let (kernel, millis, shown) = chosen(&[], false);
        assert_eq!((kernel.unwrap().as_str(), millis), ("http://192.0.2.1/one", 5000));
        assert!(
            shown.contains("> \u{20}   \x1b[7mDisk\x1b[m\r\n      One\r\n      Two\r\n"),
            "{shown}"
        );
        assert!(shown.ends_with("\x1b[r\x1b[24;1H\r\n"), "{shown:?}");
    }

    #[test]
    fn a_person_chooses() {
        let (kernel, millis, _) = chosen(&[(2000, b"\x1b[B"), (2100, b"\x1b[B\r")], false);
        assert_eq!(kernel.unwrap(), "http://192.0.2.1/two");
        assert!((2100..2200).contains(&millis), "{millis}");
        let (error, ..) = chosen(&[(1000, b"\r")], false);
        let line = "menu: cannot boot \"Disk\": it means the board's own disk, and bramble.local does not say how that boots";
        assert_eq!(error.unwrap_err().to_string(), line);
    }

    #[test]
    fn a_line_that_never_falls_silent_chooses_nothing() {
        let (kernel, millis, _) = chosen(&[], true);
        assert_eq!((kernel.unwrap().as_str(), millis), ("http://192.0.2.1/one", 5000));
    }
}
