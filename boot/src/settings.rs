//! What an operator may set: `bramble.*` on the firmware's cmdline.txt, the same names everywhere.

use alloc::string::String;

/// The settings of one boot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `bramble.url=`: the menu to fetch, whatever DHCP says.
    pub url: Option<String>,
    /// `bramble.attempts=`: reset the board after so many failed attempts; none means never give up.
    pub attempts: Option<u32>,
}
