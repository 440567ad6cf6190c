//! Why there is nothing to boot: no menu, none that can be read, or an entry that cannot boot here.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::bounds;
use crate::fetch;
use crate::hal::HandoverError;
use crate::patience;
use crate::text::shortened;
use crate::url::{self, Url};
use crate::verify::Unreadable;

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
    /// The entry names nothing that could boot.
    Nothing,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LocalBoot => {
                f.write_str("it means the board's own disk, and bramble.local does not say how that boots")
            }
            Self::PcProgram(name) => write!(f, "{} is a program for x86 PCs", shortened(name)),
            Self::NoPage(tag) => write!(f, "there is no submenu {}", shortened(tag)),
            Self::NoLabel(name) => write!(f, "no label is called \"{}\"", shortened(name)),
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
        /// The number of URLs that were tried.
        tried: usize,
        /// The first of them.
        first: String,
        /// The last of them.
        last: String,
        /// The reason: a named file is absent; else the last absence; else nobody answers.
        fault: Box<Fault>,
    },
    /// A place may well have a menu, but something other than its absence prevents reading it.
    Trouble {
        /// Whether a setting or DHCP said what to boot.
        named: bool,
        /// Whether there are more places; they are not asked instead.
        more: bool,
        /// The obstacle.
        fault: Box<Fault>,
    },
    /// What the firmware handed over may be a menu, and cannot be read.
    HandedOver(HandoverError),
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

/// The fault of one place where a menu could have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The download failed.
    Fetch(fetch::Error),
    /// Its URL cannot be fetched.
    Url(url::Error),
    /// The file is no menu.
    Unreadable(Url, Unreadable),
    /// The file is no text that could be shown.
    NotShown(Url, Unreadable),
    /// The file has no LABEL.
    NoEntries(Url),
    /// This line (from 1) of it passes a bound.
    Bound(Url, usize, Bound),
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
            Self::HandedOver(error) => write!(f, "{error}; nothing else is booted in its stead"),
            Self::Unsupported(entry, why) => write!(f, "cannot boot \"{entry}\": {why}"),
            Self::Reference(entry, why) => write!(f, "cannot boot \"{entry}\": {why}"),
            Self::Variable(entry, name) => write!(
                f,
                "cannot boot \"{entry}\": ${{{name}}} in a file's name is not known here, or not set"
            ),
            Self::TooManyFiles(entry) => {
                let most = bounds::MAX_FILES;
                write!(f, "cannot boot \"{entry}\": more than {most} initial ramdisks or overlays")
            }
            Self::Load(fault) => fault.fmt(f),
            Self::TooManyMenus => write!(f, "more than {} menus lead to each other", bounds::MAX_MENUS),
            Self::Left => f.write_str("left without a choice"),
            Self::Unattended => {
                let minutes = patience::MENU_UNATTENDED.secs() / 60;
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
            Self::Unreadable(url, content) => {
                write!(
                    f,
                    "{url}: expected an iPXE script or a PXELINUX menu, got {content}"
                )
            }
            Self::NotShown(url, content) => write!(f, "{url}: expected a text to show, got {content}"),
            Self::NoEntries(url) => write!(f, "{url}: not a PXELINUX menu, it has no LABEL"),
            Self::Bound(url, line, bound) => write!(f, "{url}: line {line}: {bound}"),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => write!(f, "longer than {} bytes", bounds::MAX_LINE),
            Self::Entries => write!(f, "more than {} entries", bounds::MAX_ENTRIES),
            Self::Pages => f.write_str("more than 63 submenus"),
            Self::Depth => write!(f, "INCLUDE nested more than {} deep", bounds::MAX_DEPTH),
            Self::Includes => write!(f, "more than {} INCLUDEs", bounds::MAX_INCLUDES),
            Self::Requests => write!(
                f,
                "more than {} INCLUDEs, those counted that are not there",
                bounds::MAX_REQUESTS
            ),
        }
    }
}
