//! Menus: the model that every menu language produces, where menus are found, how one entry is chosen.
//!
//! `find` looks for a menu place by place, `pxelinux` parses it into a [`Menu`], `screen` shows
//! that to whoever holds the serial terminal, and the entry picked becomes a [`Payload`].

mod find;
mod model;
mod password;
mod pxelinux;
mod screen;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use smoltcp::phy::Device;
use smoltcp::time::Duration;

use crate::fetch::{self, Fetcher};
use crate::lease::{Lease, Uuid};
use crate::net::Net;
use crate::url::{self, Url};
use crate::{Board, Console, Event, Settings, script};
use screen::Choice;

pub use model::{Action, Boot, Display, Editing, Entry, Hold, Key, Load, Manners, Menu, Page, Pick, Texts};
pub use password::Password;

/// The most initial ramdisks that one entry may name.
const MAX_INITRDS: usize = 32;

/// How long the console is left alone while a menu waits; the network is polled meanwhile.
pub(crate) const POLL: Duration = Duration::from_millis(10);

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
    /// LOCALBOOT: there is no driver for a disk.
    LocalBoot,
    /// A Syslinux module (`.c32`) or another program for a PC's BIOS.
    PcProgram(String),
    /// A keyword other than KERNEL and LINUX that starts something on a PC.
    Keyword(&'static str),
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalBoot => f.write_str("booting a local disk is not supported"),
            Self::PcProgram(name) => write!(f, "{} is a program for x86 PCs", screen::printable(name)),
            Self::Keyword(keyword) => write!(f, "{keyword} starts something that only exists on x86 PCs"),
        }
    }
}

/// What an entry boots: everything resolved, nothing left to expand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The kernel, or a FIT image.
    pub kernel: Url,
    /// Which configuration of a FIT image; none is its default.
    pub configuration: Option<String>,
    /// Initial ramdisks in order; they are concatenated.
    pub initrds: Vec<Url>,
    /// Where the device tree comes from.
    pub device_tree: DeviceTree,
    /// Device tree overlays, to be applied in order.
    pub overlays: Vec<Url>,
    /// The entry's command line, SYSAPPEND already in it; the firmware's bootargs not yet.
    pub command_line: String,
}

/// Where a device tree comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceTree {
    /// The firmware passed it (or a FIT image holds one).
    Firmware,
    /// The server has it.
    Served(Url),
    /// The server may have it: the first of these that is there, else the firmware's.
    FirstOf(Vec<Url>),
}

/// Why there is no payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Neither a setting nor DHCP says where a menu could be.
    NoSource,
    /// No menu in any of `tried` places, from the first to the last URL (or what should have been one).
    NotFound {
        /// How many URLs were tried.
        tried: usize,
        /// The first of them.
        first: String,
        /// The last of them.
        last: String,
        /// What was wrong: the first failure that was more than absence, else the last absence.
        fault: Box<Fault>,
    },
    /// The entry (as shown) that was chosen cannot boot here.
    Unsupported(String, Unsupported),
    /// The entry (as shown) names something that cannot be fetched.
    Reference(String, url::Error),
    /// The entry (as shown) names more than 32 initial ramdisks.
    TooManyInitrds(String),
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
    /// A web page.
    Html,
    /// Not text.
    Binary,
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
    /// INCLUDE inside INCLUDE.
    Depth,
    /// INCLUDEs in all.
    Includes,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("menu: ")?;
        match self {
            Self::NoSource => f.write_str(
                "nothing says where it is: DHCP gave no boot file, option 209 or 210 or next server, and bramble.url is not set",
            ),
            Self::NotFound { tried: 0 | 1, fault, .. } => fault.fmt(f),
            Self::NotFound {
                tried,
                first,
                last,
                fault,
            } => write!(f, "none in {tried} places, from {first} to {last}; {fault}"),
            Self::Unsupported(entry, why) => write!(f, "cannot boot \"{entry}\": {why}"),
            Self::Reference(entry, why) => write!(f, "cannot boot \"{entry}\": {why}"),
            Self::TooManyInitrds(entry) => {
                write!(f, "cannot boot \"{entry}\": more than {MAX_INITRDS} initial ramdisks")
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
            Self::IpxeScript => "what resembles an iPXE script, but its first line is not #!ipxe",
            Self::Html => "an HTML page",
            Self::Binary => "binary data",
            Self::Empty => "an empty file",
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => write!(f, "longer than {} bytes", pxelinux::MAX_LINE),
            Self::Entries => write!(f, "more than {} entries", pxelinux::MAX_ENTRIES),
            Self::Depth => write!(f, "INCLUDE nested more than {} deep", pxelinux::MAX_DEPTH),
            Self::Includes => write!(f, "more than {} INCLUDEs", pxelinux::MAX_INCLUDES),
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
pub fn find<N: Device>(
    net: &mut Net<'_, N>,
    fetcher: &mut Fetcher,
    lease: &Lease,
    board: &Board<'_>,
    settings: &Settings,
    scratch: &mut [u8],
) -> Result<Found, Error> {
    let places = find::places(settings, lease, board);
    find::first(&places, scratch, &mut |url, into| {
        fetcher.get(net, url, into, &mut |_done, _total| ())
    })
}

/// Shows the menu on the console and returns what the person or the clock chose, ready to load.
pub fn choose<N: Device>(
    net: &mut Net<'_, N>,
    console: &mut dyn Console,
    menu: &Menu,
    lease: &Lease,
    board: &Board<'_>,
) -> Result<Payload, Error> {
    let mut output = String::new();
    let mut screen = screen::Screen::new(menu, net.now(), &mut output);
    let payload = loop {
        let (pick, by_person) = match shown(net, console, menu, &mut screen, &mut output) {
            Choice::Entry { pick, by_person } => (pick, by_person),
            Choice::Left | Choice::Unattended => continue,
        };
        // The lease may have changed while the menu waited.
        let current = net.lease_now().cloned();
        match payload(menu, &pick, current.as_ref().unwrap_or(lease), board) {
            // A person can choose again; without one, the session's policy goes on.
            Err(error) if by_person => error!("{}", error),
            payload => break payload,
        }
    };
    screen.close(&mut output);
    write(console, &mut output);
    let payload = payload?;
    info!("menu: booting {} {}", payload.kernel, payload.command_line);
    Ok(payload)
}

/// Shows a script's menu and returns what the person or the clock chose.
pub fn ask<N: Device>(net: &mut Net<'_, N>, console: &mut dyn Console, menu: &Menu) -> Chosen {
    let mut output = String::new();
    let mut screen = screen::Screen::new(menu, net.now(), &mut output);
    let choice = shown(net, console, menu, &mut screen, &mut output);
    screen.close(&mut output);
    write(console, &mut output);
    chosen(&choice)
}

fn chosen(choice: &Choice) -> Chosen {
    match choice {
        Choice::Entry { pick, .. } => Chosen::Entry(pick.entry),
        Choice::Left => Chosen::Left,
        Choice::Unattended => Chosen::Unattended,
    }
}

/// Runs the screen until something is chosen.
fn shown<N: Device>(
    net: &mut Net<'_, N>,
    console: &mut dyn Console,
    menu: &Menu,
    screen: &mut screen::Screen<'_>,
    output: &mut String,
) -> Choice {
    net.tell(&Event::Menu(menu));
    loop {
        let choice = net.wait(net.now() + POLL, |net| {
            read(console, |byte| screen.byte(byte, net.now()));
            let choice = screen.tick(net.now(), output);
            write(console, output);
            choice
        });
        if let Some(choice) = choice {
            net.tell(&Event::Chosen(menu, chosen(&choice)));
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

/// What `pick` boots.
fn payload(menu: &Menu, pick: &Pick, lease: &Lease, board: &Board<'_>) -> Result<Payload, Error> {
    let entry = menu.entries.get(pick.entry).ok_or(Error::NoSource)?;
    let shown = || screen::printable(entry.shown());
    let boot = match &entry.action {
        Action::Boot(boot) => boot,
        Action::Unsupported(why) => return Err(Error::Unsupported(shown(), why.clone())),
        Action::Local(_) => return Err(Error::Unsupported(shown(), Unsupported::LocalBoot)),
        Action::Page(_)
        | Action::Load(_)
        | Action::Text(_)
        | Action::Quit
        // Only scripts make such entries, and they ask elsewhere.
        | Action::Answer
        | Action::Gap => return Err(Error::NoSource),
    };
    let url = |name: &str| resolve(&menu.base, name).map_err(|e| Error::Reference(shown(), e));
    let mut command_line = String::new();
    let facts = system_arguments(boot.sysappend, lease, board);
    for part in [&*boot.arguments, &*boot.append, &*facts, &*pick.arguments] {
        let space = if command_line.is_empty() || part.is_empty() {
            ""
        } else {
            " "
        };
        command_line.push_str(space);
        command_line.push_str(part);
    }
    let last = |line| {
        let mut words = str::split_ascii_whitespace(line).rev();
        words.find_map(|word| word.strip_prefix("initrd="))
    };
    // As if INITRD stood behind APPEND as one more `initrd=`, of which the last counts.
    let own = Some(&*boot.initrds).filter(|names| !names.is_empty());
    let initrds = last(&pick.arguments)
        .or(own)
        .or_else(|| last(&command_line))
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    if initrds.clone().nth(MAX_INITRDS).is_some() {
        return Err(Error::TooManyInitrds(shown()));
    }
    let (kernel, configuration) = match boot.kernel.split_once('#') {
        Some((file, configuration)) => (file, Some(configuration.to_string())),
        None => (&*boot.kernel, None),
    };
    Ok(Payload {
        kernel: url(kernel)?,
        configuration,
        initrds: initrds.map(url).collect::<Result<_, _>>()?,
        device_tree: match boot.device_tree.as_deref() {
            Some(name) => DeviceTree::Served(url(name)?),
            None => DeviceTree::Firmware,
        },
        overlays: boot
            .overlays
            .split_ascii_whitespace()
            .map(url)
            .collect::<Result<_, _>>()?,
        command_line,
    })
}

/// The URL of a name in a menu, by PXELINUX's rules carried over to HTTP:
///
/// - `http://host/path` is itself;
/// - `::path` is `path` from the server's root;
/// - `host::path` is `path` from the root of another server;
/// - `/path` is `path` from the server's root (as in U-Boot and RFC 3986);
/// - anything else is relative to `base`.
fn resolve(base: &Url, name: &str) -> Result<Url, url::Error> {
    match name
        .split_once(':')
        .and_then(|(host, rest)| Some((host, rest.strip_prefix(':')?)))
    {
        Some(("", path)) => base.join(&format!("/{}", path.trim_start_matches('/'))),
        Some((host, path)) if !host.contains(['/', ':']) => Url::on(base.scheme(), host, path),
        _ => base.join(name),
    }
}

/// What the names in the menu at `url` are relative to: its directory, or, when that is a `pxelinux.cfg/`, the
/// directory above, where PXELINUX itself would be.
fn base_of(url: &Url) -> Url {
    let in_search_path = url
        .path()
        .rsplit_once('/')
        .is_some_and(|(directory, _)| directory.ends_with("/pxelinux.cfg"));
    // A shorter URL of the same host cannot fail to parse.
    url.join(if in_search_path { "../" } else { "./" })
        .unwrap_or_else(|_| url.clone())
}

/// The arguments that SYSAPPEND asks for, in the order of its bits. Bits for facts that a Pi does not have are ignored.
fn system_arguments(bits: u32, lease: &Lease, board: &Board<'_>) -> String {
    let mut arguments = String::new();
    let mut add = |bit: u32, argument: fmt::Arguments<'_>| {
        if bits & bit != 0 {
            let space = if arguments.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(arguments, "{space}{argument}");
        }
    };
    let server = lease.next_server.unwrap_or(lease.server);
    let router = lease.router.map(|router| router.to_string()).unwrap_or_default();
    add(
        0x1,
        format_args!(
            "ip={}:{server}:{router}:{}",
            lease.address.address(),
            lease.address.netmask()
        ),
    );
    add(0x2, format_args!("BOOTIF={}", find::hardware_address(board)));
    add(0x4, format_args!("SYSUUID={}", Uuid::of(board)));
    add(0x10, format_args!("SYSVENDOR=Raspberry_Pi"));
    let product: String = board
        .model
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect();
    add(0x20, format_args!("SYSPRODUCT={product}"));
    add(0x80, format_args!("SYSSERIAL={:016x}", board.serial));
    arguments
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::convert::Infallible;
    use std::collections::VecDeque;

    use smoltcp::phy::{DeviceCapabilities, Medium, RxToken, TxToken};
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

    fn boot() -> Boot {
        Boot::of("Image")
    }

    fn payload_of(boot: Boot, arguments: &str) -> Result<Payload, Error> {
        let url = Url::parse("http://192.0.2.1/pi/pxelinux.cfg/default").unwrap();
        let base = base_of(&url);
        let entry = Entry::new("a\x07b", Action::Boot(boot));
        let menu = Menu {
            base,
            ..Menu::flat(url, None, vec![entry], Manners::Syslinux)
        };
        let pick = Pick {
            entry: 0,
            arguments: arguments.into(),
        };
        payload(&menu, &pick, &lease(), &board())
    }

    #[test]
    fn names_resolve_by_the_documented_rules() {
        let base = Url::parse("http://192.0.2.1:8080/pi/").unwrap();
        for (name, url) in [
            ("Image", "http://192.0.2.1:8080/pi/Image"),
            ("../debian/Image", "http://192.0.2.1:8080/debian/Image"),
            ("/srv/Image", "http://192.0.2.1:8080/srv/Image"),
            ("::srv/Image", "http://192.0.2.1:8080/srv/Image"),
            ("::/srv/Image", "http://192.0.2.1:8080/srv/Image"),
            ("192.0.2.7::srv/Image", "http://192.0.2.7/srv/Image"),
            ("http://mirror.example/a?b=c::d", "http://mirror.example/a?b=c::d"),
            (
                "boot/cfg-b8:27:eb::1",
                "http://192.0.2.1:8080/pi/boot/cfg-b8:27:eb::1",
            ),
        ] {
            assert_eq!(resolve(&base, name).unwrap().to_string(), url, "{name}");
        }
        assert!(matches!(
            resolve(&base, "https://a/b"),
            Err(url::Error::Scheme(_))
        ));
    }

    #[test]
    fn the_base_is_the_directory_or_the_parent_of_the_search_path() {
        for (menu, base) in [
            ("http://a/pi/pxelinux.cfg/01-00-11-22-33-44-55", "http://a/pi/"),
            ("http://a/pxelinux.cfg/default", "http://a/"),
            (
                "http://a/boot/extlinux/extlinux.conf?mac=1/2",
                "http://a/boot/extlinux/",
            ),
            ("http://a/menu", "http://a/"),
            ("http://a", "http://a/"),
            ("http://a/notpxelinux.cfg/default", "http://a/notpxelinux.cfg/"),
        ] {
            assert_eq!(base_of(&Url::parse(menu).unwrap()).to_string(), base, "{menu}");
        }
    }

    #[test]
    fn a_payload_is_the_command_line_in_syslinux_order_and_resolved_names() {
        let payload = payload_of(
            Boot {
                arguments: "ro".into(),
                append: "root=/dev/nfs quiet".into(),
                initrds: "ucode.img,../initrd.gz".into(),
                device_tree: Some("/dtb/pi.dtb".into()),
                sysappend: 3,
                ..boot()
            },
            "single",
        )
        .unwrap();
        assert_eq!(payload.kernel.to_string(), "http://192.0.2.1/pi/Image");
        let initrds: Vec<_> = payload.initrds.iter().map(Url::to_string).collect();
        assert_eq!(
            initrds,
            ["http://192.0.2.1/pi/ucode.img", "http://192.0.2.1/initrd.gz"]
        );
        let tree = Url::parse("http://192.0.2.1/dtb/pi.dtb").unwrap();
        assert_eq!(payload.device_tree, DeviceTree::Served(tree));
        assert_eq!(
            payload.command_line,
            "ro root=/dev/nfs quiet ip=192.0.2.91:192.0.2.1:192.0.2.254:255.255.255.0 \
             BOOTIF=01-dc-a6-32-ec-fc-3c single"
        );
    }

    #[test]
    fn initrds_come_from_the_labels_arguments_then_initrd_then_append_and_the_line_keeps_them_all() {
        let initrds = |append: &str, initrd: &str, arguments: &str| {
            let boot = Boot {
                append: append.into(),
                initrds: initrd.into(),
                ..boot()
            };
            let payload = payload_of(boot, arguments).unwrap();
            assert_eq!(payload.command_line, format!("{append} {arguments}").trim());
            let names: Vec<_> = payload
                .initrds
                .iter()
                .map(|url| url.target().strip_prefix("/pi/").unwrap().to_owned())
                .collect();
            names.join(" ")
        };
        assert_eq!(
            initrds("initrd=old.img quiet initrd=a.img,,b.img", "", ""),
            "a.img b.img"
        );
        // Syslinux makes INITRD the `initrd=` behind APPEND's, and Linux's loaders take the last.
        assert_eq!(initrds("initrd=a.img", "c.img,d.img", ""), "c.img d.img");
        assert_eq!(initrds("initrd=a.img", "c.img", "initrd=e.img single"), "e.img");
        assert_eq!(initrds("quiet", "", ""), "");
    }

    #[test]
    fn an_entry_that_cannot_boot_says_why_in_one_printable_line() {
        let many = Boot {
            initrds: "a,".repeat(MAX_INITRDS + 1),
            ..boot()
        };
        let https = Boot {
            kernel: "https://a/Image".into(),
            ..boot()
        };
        for (boot, line) in [
            (many, "menu: cannot boot \"a?b\": more than 32 initial ramdisks"),
            (
                https,
                "menu: cannot boot \"a?b\": https://a/Image: scheme not supported, only http and tftp",
            ),
        ] {
            assert_eq!(payload_of(boot, "").unwrap_err().to_string(), line);
        }
        let unsupported = |why| Error::Unsupported("x".into(), why).to_string();
        assert_eq!(
            unsupported(Unsupported::PcProgram("chain.c32\x1b[2J".into())),
            "menu: cannot boot \"x\": chain.c32?[2J is a program for x86 PCs"
        );
        assert_eq!(
            unsupported(Unsupported::LocalBoot),
            "menu: cannot boot \"x\": booting a local disk is not supported"
        );
    }

    #[test]
    fn sysappend_knows_the_facts_of_a_pi_in_the_order_of_the_bits() {
        assert_eq!(system_arguments(0, &lease(), &board()), "");
        assert_eq!(
            system_arguments(0xffff_fffc, &lease(), &board()),
            "SYSUUID=52506934-3031-c000-32ec-fc3cda06ffe0 SYSVENDOR=Raspberry_Pi \
             SYSPRODUCT=Raspberry_Pi_4_Model_B SYSSERIAL=10000000e0ff06da"
        );
        let bare = Lease {
            router: None,
            next_server: Some(Ipv4Address::new(192, 0, 2, 2)),
            ..lease()
        };
        assert_eq!(
            system_arguments(1, &bare, &board()),
            "ip=192.0.2.91:192.0.2.2::255.255.255.0"
        );
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
            on_timeout: Pick::plain(1),
            timeout: Some(Duration::from_secs(5)),
            total: Some(Duration::from_secs(600)),
            ..Menu::flat(url, None, entries, Manners::Syslinux)
        };
        let (mut nic, mut platform) = (Unplugged, Nothing);
        let identity = crate::lease::Identity::of(&board(), &Settings::default());
        let mut net = Net::new(&mut nic, &clock, &mut platform, &mut Nothing, identity);
        let payload = choose(&mut net, &mut console, &menu, &lease(), &board());
        let kernel = payload.map(|payload| payload.kernel.to_string());
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
    fn a_person_chooses_and_chooses_again_when_the_first_cannot_boot() {
        let (kernel, millis, _) = chosen(&[(1000, b"\r"), (2000, b"\x1b[B"), (2100, b"\x1b[B\r")], false);
        assert_eq!(kernel.unwrap(), "http://192.0.2.1/two");
        assert!((2100..2200).contains(&millis), "{millis}");
    }

    #[test]
    fn a_line_that_never_falls_silent_chooses_nothing() {
        let (kernel, millis, _) = chosen(&[], true);
        assert_eq!((kernel.unwrap().as_str(), millis), ("http://192.0.2.1/one", 5000));
    }
}
