//! Menus: the model that every menu language produces, where menus are found, how one entry is chosen.
//!
//! `find` looks for a menu place by place, `pxelinux` and `keywords` make a [`Menu`] of it, `clock` decides what boots of
//! that without anybody, `screen` shows that to whoever
//! holds the serial terminal, and the entry picked becomes a [`Payload`].

mod clock;
mod find;
mod keywords;
mod model;
mod password;
mod payload;
mod pxelinux;
mod screen;
mod trees;

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use smoltcp::time::{Duration, Instant};

use crate::fetch::{self, Fetcher};
use crate::lease::Lease;
use crate::net::Net;
use crate::url::{self, Url};
use crate::{Board, Console, Event, Settings, script};
use screen::Choice;

pub(crate) use find::{class_wanted, is_for_us};
pub use model::{
    Action, Boot, Display, Editing, Entry, Hold, Key, Load, Manners, Menu, Next, Page, Pick, Texts,
};
pub use password::Password;
pub use payload::{DeviceTree, Payload};

/// Menus that lead to each other in one attempt.
pub(crate) const MAX_MENUS: usize = 32;
/// Time for all files of a menu, and for the search for it.
const MAX_READING: Duration = Duration::from_secs(30 * 60);
/// Bytes of a text file that is shown.
const MAX_TEXT_FILE: usize = 16 * 1024;

/// How long the console is left alone while a menu waits; the network is polled meanwhile.
pub(crate) const POLL: Duration = Duration::from_millis(10);
/// The same while something is typed: at 115,200 baud a PL011's buffer of 16 bytes is full after 1.4 ms.
const HEARING: Duration = Duration::from_millis(1);

/// How a script's menu ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// With this entry.
    Entry(usize),
    /// A person left it.
    Left,
    /// Nobody was there.
    Unattended,
}

/// Why an entry cannot be booted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsupported {
    /// LOCALBOOT.
    LocalBoot,
    /// A Syslinux module (`.c32`) or another program for a PC's BIOS.
    PcProgram(String),
    /// A keyword other than KERNEL and LINUX that starts something on a PC.
    Keyword(&'static str),
    /// MENU GOTO or MENU EXIT to a submenu of this tag, which is not there.
    NoPage(String),
    /// DEFAULT or its like names no label of this name, and IMPLICIT forbids to take it for a kernel.
    NoLabel(String),
    /// Nothing that could boot.
    Nothing,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalBoot => f.write_str("there is no driver for a local disk"),
            Self::PcProgram(name) => write!(f, "{} is a program for x86 PCs", screen::printable(name)),
            Self::NoPage(tag) => write!(f, "there is no submenu {}", screen::printable(tag)),
            Self::NoLabel(name) => write!(f, "no label is called \"{}\"", screen::printable(name)),
            Self::Nothing => f.write_str("there is nothing to boot in it"),
            Self::Keyword(keyword) => write!(f, "{keyword} starts something that only exists on x86 PCs"),
        }
    }
}

/// Why there is no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Neither a setting nor DHCP says where a menu could be.
    NoSource,
    /// No menu in any of `tried` places, from the first to the last URL (or what should have been one).
    NotFound {
        /// Whether a setting or DHCP said what to boot.
        named: bool,
        /// How many URLs were tried.
        tried: usize,
        /// The first of them.
        first: String,
        /// The last of them.
        last: String,
        /// What was wrong: that a named file is absent, else the last absence, else that nobody answers.
        fault: Box<Fault>,
    },
    /// Where a menu may well be, something else than its absence is in the way.
    Trouble {
        /// Whether a setting or DHCP said what to boot.
        named: bool,
        /// Whether there are other places, which are not asked in its stead.
        more: bool,
        /// What is in the way.
        fault: Box<Fault>,
    },
    /// The entry (as shown) that was chosen cannot boot here.
    Unsupported(String, Unsupported),
    /// The entry (as shown) names something that cannot be fetched.
    Reference(String, url::Error),
    /// The entry (as shown) has a variable of this name in a file's name, and there is no value for it.
    Variable(String, String),
    /// The entry (as shown) names more than 32 initial ramdisks or overlays.
    TooManyFiles(String),
    /// The menu that an entry leads to.
    Load(Box<Fault>),
    /// More menus led to each other than can make sense.
    TooManyMenus,
    /// A person left the menu.
    Left,
    /// The menu waits for a person, and for an hour none came.
    Unattended,
}

/// What was wrong in one place where a menu could have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It was not fetched.
    Fetch(fetch::Error),
    /// It has no URL that can be fetched.
    Url(url::Error),
    /// It is something else.
    Content(Url, Content),
    /// It has no LABEL.
    NoEntries(Url),
    /// This line (from 1) of it passes a bound.
    Bound(Url, usize, Bound),
}

/// What a server sent instead of a menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Almost a script for iPXE: blanks or a byte order mark before the magic, or nothing behind it.
    IpxeScript,
    /// Text in UTF-16.
    Utf16,
    /// Text in which only carriage returns end lines.
    Returns,
    /// A web page.
    Html,
    /// Not text.
    Binary,
    /// Compressed, by the server or as a file.
    Gzip,
    /// Nothing.
    Empty,
}

/// A bound on menus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Bytes in a line.
    Line,
    /// Entries in a menu.
    Entries,
    /// Submenus in a menu.
    Pages,
    /// INCLUDE inside INCLUDE.
    Depth,
    /// INCLUDEs that were there.
    Includes,
    /// INCLUDEs in all, those that were not there too.
    Requests,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("menu: ")?;
        match self {
            Self::NoSource => f.write_str(
                "DHCP named nothing to boot: no boot file, option 209 or 210 or next server; and bramble.url is not set",
            ),
            Self::NotFound { named: false, first, last, fault, .. } => {
                f.write_str("DHCP named nothing to boot (no boot file, option 209 or 210), ")?;
                write!(f, "and its server has nothing from {first} to {last}; {fault}")
            }
            Self::Trouble { named: false, fault, .. } => {
                f.write_str("DHCP named nothing to boot (no boot file, option 209 or 210), ")?;
                write!(f, "and its server is of no help: {fault}")
            }
            Self::NotFound { tried: 0 | 1, fault, .. } | Self::Trouble { more: false, fault, .. } => fault.fmt(f),
            Self::NotFound {
                tried,
                first,
                last,
                fault,
                ..
            } => write!(f, "none in {tried} places, from {first} to {last}; {fault}"),
            Self::Trouble { fault, .. } => write!(f, "{fault}; nothing else is booted in its stead"),
            Self::Unsupported(entry, why) => write!(f, "cannot boot \"{entry}\": {why}"),
            Self::Reference(entry, why) => write!(f, "cannot boot \"{entry}\": {why}"),
            Self::Variable(entry, name) => write!(
                f,
                "cannot boot \"{entry}\": ${{{name}}} in a file's name is not known here, or not set"
            ),
            Self::TooManyFiles(entry) => {
                let most = payload::MAX_FILES;
                write!(f, "cannot boot \"{entry}\": more than {most} initial ramdisks or overlays")
            }
            Self::Load(fault) => fault.fmt(f),
            Self::TooManyMenus => write!(f, "more than {MAX_MENUS} menus lead to each other"),
            Self::Left => f.write_str("left without a choice"),
            Self::Unattended => {
                let minutes = screen::LONGEST.secs() / 60;
                write!(f, "waits for a person, and nobody chose anything for {minutes} min")
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch(e) => e.fmt(f),
            Self::Url(e) => e.fmt(f),
            Self::Content(url, content) => {
                write!(
                    f,
                    "{url}: expected an iPXE script or a PXELINUX menu, got {content}"
                )
            }
            Self::NoEntries(url) => write!(f, "{url}: not a PXELINUX menu, it has no LABEL"),
            Self::Bound(url, line, bound) => write!(f, "{url}: line {line}: {bound}"),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IpxeScript => {
                "what resembles an iPXE script, but its first line is not #!ipxe (a byte order mark or blanks before it?)"
            }
            Self::Utf16 => "text in UTF-16: save it as UTF-8",
            Self::Returns => "text without line feeds: save it with LF or CR LF at the end of each line",
            Self::Html => "an HTML page",
            Self::Binary => "binary data",
            Self::Gzip => "gzip-compressed data: serve it unpacked, and without Content-Encoding",
            Self::Empty => "an empty file",
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => write!(f, "longer than {} bytes", pxelinux::MAX_LINE),
            Self::Entries => write!(f, "more than {} entries", pxelinux::MAX_ENTRIES),
            Self::Pages => f.write_str("more than 63 submenus"),
            Self::Depth => write!(f, "INCLUDE nested more than {} deep", pxelinux::MAX_DEPTH),
            Self::Includes => write!(f, "more than {} INCLUDEs", pxelinux::MAX_INCLUDES),
            Self::Requests => write!(
                f,
                "more than {} INCLUDEs, those counted that are not there",
                pxelinux::MAX_REQUESTS
            ),
        }
    }
}

/// What was found where a menu can be.
#[derive(Debug, Clone)]
pub enum Found {
    /// A menu.
    Menu(Box<Menu>),
    /// A script for iPXE, not yet run.
    Script(script::Script),
}

/// Finds, fetches and parses the menu, or a script in its place. `scratch` holds the text while it is parsed.
pub fn find(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    lease: &Lease,
    board: &Board<'_>,
    settings: &Settings,
    scratch: &mut [u8],
) -> Result<Found, Error> {
    let places = find::places(settings, lease, board);
    let named = find::is_named(settings, lease);
    let since = net.now();
    find::first(&places, named, scratch, &mut |url, into| {
        in_time(net, fetcher, url, into, since)
    })
}

/// Fetches a file of a menu that has been read since then, unless that has taken too long.
fn in_time(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    url: &Url,
    into: &mut [u8],
    since: Instant,
) -> Result<fetch::Response, fetch::Error> {
    let spent = net.now() - since;
    if spent > MAX_READING {
        let (method, url, reason) = (fetch::Method::Get, url.clone(), fetch::Reason::Overdue(spent));
        return Err(fetch::Error { method, url, reason });
    }
    fetcher.get(net, url, into, &mut |_done, _total| ())
}

/// What was picked of a menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
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
pub fn choose(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    console: &mut dyn Console,
    menu: &Menu,
    scratch: &mut [u8],
) -> Result<Picked, Error> {
    let mut output = String::new();
    let mut screen = screen::Screen::new(menu, net.now(), &mut output);
    let picked = loop {
        match shown(net, console, menu, &mut screen, &mut output) {
            Choice::Entry { pick, by_person } => {
                let entry = menu.entries.get(pick.entry);
                let Some(Action::Text(file)) = entry.map(|entry| &entry.action).filter(|_| by_person) else {
                    break Ok(Picked { pick, by_person });
                };
                show_text(net, fetcher, menu, file, scratch, &mut output);
            }
            Choice::Text(file) => show_text(net, fetcher, menu, file, scratch, &mut output),
            Choice::Left => break Err(Error::Left),
            Choice::Unattended => break Err(Error::Unattended),
        }
    };
    screen.close(&mut output);
    if menu.clears {
        output.push_str("\x1b[2J\x1b[H");
    }
    write(console, &mut output);
    picked
}

/// Fetches a text file of a menu, and writes it to `output`.
fn show_text(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    menu: &Menu,
    file: &str,
    scratch: &mut [u8],
    output: &mut String,
) {
    let room = scratch.len().min(MAX_TEXT_FILE);
    let window = scratch.get_mut(..room).unwrap_or_default();
    let fetched = match payload::resolve(&menu.base, file) {
        Ok(url) => fetcher
            .get(net, &url, window, &mut |_done, _total| ())
            .map_err(Fault::Fetch),
        Err(error) => Err(Fault::Url(error)),
    };
    match fetched {
        Ok(response) => {
            for line in pxelinux::text_lines(window.get(..response.len).unwrap_or_default()) {
                output.push_str(&screen::printable(&line));
                output.push_str("\r\n");
            }
        }
        Err(fault) => error!("menu: {}", fault),
    }
}

/// Fetches and parses the menu that an entry of `menu` leads to; it is read in `scratch`.
pub fn load(
    net: &mut Net<'_>,
    fetcher: &mut Fetcher,
    load: &Load,
    menu: &Menu,
    scratch: &mut [u8],
) -> Result<Menu, Error> {
    let since = net.now();
    let get = &mut |url: &Url, into: &mut [u8]| in_time(net, fetcher, url, into, since);
    let menu = pxelinux::load(load, menu, scratch, get).map_err(|fault| Error::Load(Box::new(fault)))?;
    info!("menu: {} entries from {}", menu.entries.len(), menu.url);
    Ok(menu)
}

/// Shows a script's menu and returns what the person or the clock chose.
pub fn ask(net: &mut Net<'_>, console: &mut dyn Console, menu: &Menu) -> Chosen {
    let mut output = String::new();
    let mut screen = screen::Screen::new(menu, net.now(), &mut output);
    let choice = shown(net, console, menu, &mut screen, &mut output);
    screen.close(&mut output);
    write(console, &mut output);
    chosen(&choice)
}

fn chosen(choice: &Choice<'_>) -> Chosen {
    match choice {
        Choice::Entry { pick, .. } => Chosen::Entry(pick.entry),
        Choice::Left | Choice::Text(_) => Chosen::Left,
        Choice::Unattended => Chosen::Unattended,
    }
}

/// Runs the screen until something is chosen.
fn shown<'m>(
    net: &mut Net<'_>,
    console: &mut dyn Console,
    menu: &'m Menu,
    screen: &mut screen::Screen<'m>,
    output: &mut String,
) -> Choice<'m> {
    net.tell(&Event::Menu(menu));
    loop {
        // A line that is pasted comes faster than a UART's buffer lasts.
        let pause = if screen.hears() { HEARING } else { POLL };
        let choice = net.wait(net.now() + pause, |net| {
            read(console, |byte| screen.byte(byte, net.now()));
            let choice = screen.tick(net.now(), output);
            write(console, output);
            choice
        });
        if let Some(choice) = choice {
            if !matches!(choice, Choice::Text(_)) {
                net.tell(&Event::Chosen(menu, chosen(&choice)));
            }
            return choice;
        }
    }
}

/// Hands over what the console has now; a bounded amount, for a line that never falls silent.
pub(crate) fn read(console: &mut dyn Console, mut take: impl FnMut(u8)) {
    for _ in 0..64 {
        let Ok(ready) = console.read_ready();
        let mut byte = [0];
        if !ready || console.read(&mut byte) != Ok(1) {
            return;
        }
        let [byte] = byte;
        take(byte);
    }
}

pub(crate) fn write(console: &mut dyn Console, output: &mut String) {
    let mut rest = output.as_bytes();
    while let Ok(written @ 1..) = console.write(rest) {
        rest = rest.get(written..).unwrap_or_default();
        if rest.is_empty() {
            break;
        }
    }
    output.clear();
}

/// The menu in the text that `response` left in `scratch`: the PXELINUX parser, for the fuzz targets.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn parse(
    response: &fetch::Response,
    scratch: &mut [u8],
    get: &mut fetch::Get<'_>,
) -> Result<Menu, Fault> {
    pxelinux::parse(response, None, scratch, get)
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::convert::Infallible;
    use std::collections::VecDeque;

    use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
    use smoltcp::time::Instant;
    use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

    use super::*;
    use crate::{Clock, Entropy, Platform};

    pub(super) fn board() -> Board<'static> {
        Board {
            model: "Raspberry Pi 4 Model B",
            revision: 0x00c0_3130,
            serial: 0x1000_0000_e0ff_06da,
            mac: EthernetAddress([0xdc, 0xa6, 0x32, 0xec, 0xfc, 0x3c]),
            uart: None,
            device_tree: None,
        }
    }

    pub(super) fn lease() -> Lease {
        Lease {
            address: Ipv4Cidr::new(Ipv4Address::new(192, 0, 2, 91), 24),
            server: Ipv4Address::new(192, 0, 2, 1),
            router: Some(Ipv4Address::new(192, 0, 2, 254)),
            ..Lease::default()
        }
    }

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
            ..Menu::flat(url, None, entries, Manners::Syslinux)
        };
        let (mut nic, mut platform) = (Unplugged, Nothing);
        let identity = crate::lease::Identity::of(&board(), &Settings::default());
        let mut net = Net::new(&mut nic, &clock, &mut platform, &mut Nothing, identity);
        let mut fetcher = Fetcher::new();
        let picked = choose(&mut net, &mut fetcher, &mut console, &menu, &mut []).unwrap();
        let kernel = match menu.leads(&picked.pick, &lease(), &board()) {
            Ok(Next::Boot(payload)) => Ok(payload.kernel.to_string()),
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
        let line = "menu: cannot boot \"Disk\": there is no driver for a local disk";
        assert_eq!(error.unwrap_err().to_string(), line);
    }

    #[test]
    fn a_line_that_never_falls_silent_chooses_nothing() {
        let (kernel, millis, _) = chosen(&[], true);
        assert_eq!((kernel.unwrap().as_str(), millis), ("http://192.0.2.1/one", 5000));
    }
}
