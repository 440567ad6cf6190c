//! What boots: every part by its URL and what it must prove, the command line, the device tree. A menu's entry ends in one; a script
//! has fetched its own files, and meets it at `load`'s `Parts`.

use alloc::string::String;
use alloc::vec::Vec;

use crate::url::Url;
use crate::verify::Needs;

/// What an entry boots: everything resolved, nothing left to expand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The kernel, or a FIT image.
    pub kernel: File,
    /// Which configuration of a FIT image; none is its default.
    pub configuration: Option<String>,
    /// Initial ramdisks in order; they are concatenated.
    pub initrds: Vec<File>,
    /// Where the device tree comes from.
    pub device_tree: DeviceTree,
    /// Device tree overlays, to be applied in order.
    pub overlays: Vec<File>,
    /// The entry's command line, SYSAPPEND already in it; the firmware's bootargs not yet.
    pub command_line: String,
}

/// Where a device tree comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceTree {
    /// The firmware passed it (or a FIT image holds one).
    Firmware,
    /// The server has it.
    Served(File),
    /// The server may have it: the first of these that is there, else the firmware's.
    FirstOf(Vec<File>),
}

/// A file that a plan names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub url: Url,
    /// What it must prove before it is used (D-179).
    pub needs: Needs,
}

/// A file of which nothing is known but where it is.
impl From<Url> for File {
    fn from(url: Url) -> Self {
        let needs = Needs::Nothing;
        Self { url, needs }
    }
}
