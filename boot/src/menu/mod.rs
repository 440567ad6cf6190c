//! Menus: the model that every menu language produces, where menus are found, how one entry is chosen.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use smoltcp::phy::Device;

use crate::fetch::Fetcher;
use crate::lease::Lease;
use crate::net::Net;
use crate::url::Url;
use crate::{Board, Console, Settings};

/// A menu, whatever language it was written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Menu {}

/// What an entry boots: everything resolved, nothing left to expand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The kernel.
    pub kernel: Url,
    /// Initial ramdisks in order; they are concatenated.
    pub initrds: Vec<Url>,
    /// The entry's command line, SYSAPPEND already in it; the firmware's bootargs not yet.
    pub command_line: String,
    /// A device tree from the server instead of the firmware's.
    pub device_tree: Option<Url>,
}

/// Why there is no menu to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A line of the menu names something that is no URL.
    Url(crate::url::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(e) => write!(f, "menu: {e}"),
        }
    }
}

impl From<crate::url::Error> for Error {
    fn from(e: crate::url::Error) -> Self {
        Self::Url(e)
    }
}

/// Finds, fetches and parses the menu. `scratch` holds the text while it is parsed.
pub fn find<N: Device>(
    _net: &mut Net<'_, N>,
    _fetcher: &mut Fetcher,
    _lease: &Lease,
    _board: &Board<'_>,
    _settings: &Settings,
    _scratch: &mut [u8],
) -> Result<Menu, Error> {
    Ok(Menu {})
}

/// Shows the menu on the console and returns what the person or the clock chose, ready to load.
pub fn choose<N: Device>(
    _net: &mut Net<'_, N>,
    _console: &mut dyn Console,
    _menu: &Menu,
    _lease: &Lease,
    _board: &Board<'_>,
) -> Result<Payload, Error> {
    Ok(Payload {
        kernel: Url::http("invalid", "/")?,
        initrds: Vec::new(),
        command_line: String::new(),
        device_tree: None,
    })
}
