//! Who the node is: what servers are told, and the names that they know it by.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use core::fmt;

use smoltcp::wire::EthernetAddress;

use crate::hal::Board;
use crate::settings::Settings;

/// What the client tells servers about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The hardware address: `chaddr`, and the client identifier (option 61) as type 1.
    pub mac: EthernetAddress,
    /// Option 97.
    pub uuid: Uuid,
    /// Option 77, as iPXE sends it: the bare text, without the length byte of RFC 3004. Empty: not sent.
    pub user_class: String,
    /// Whether option 175 lists the features of an iPXE on arm64 EFI, which many servers match on.
    pub ipxe_features: bool,
}

impl Identity {
    /// The identity of `board`: user class `iPXE` and its features, so that servers answer with scripts, unless the
    /// settings say otherwise.
    pub fn of(board: &Board<'_>, settings: &Settings) -> Self {
        Self {
            mac: board.mac,
            uuid: Uuid::of(board),
            user_class: settings.user_class.as_deref().unwrap_or("iPXE").to_owned(),
            ipxe_features: settings.ipxe_features.unwrap_or(true),
        }
    }
}

/// A node's UUID in the byte order of DHCP option 97; displayed in that order, as `${uuid}` and PXELINUX write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// The UUID that the Pi 4's own firmware sends: `RPi4`, the revision code (little-endian), the low four bytes of
    /// the MAC address, the low half of the serial number (little-endian). The same rule serves a Pi 3, whose ROM
    /// sends a constant. Source: `DHCP_OPTION97` of the EEPROM's documentation, byte order from captured packets.
    pub fn of(board: &Board<'_>) -> Self {
        let [a, b, c, d] = *b"RPi4";
        let [e, f, g, h] = board.revision.to_le_bytes();
        let [_, _, i, j, k, l] = board.mac.0;
        let [m, n, o, p, ..] = board.serial.to_le_bytes();
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// The MAC address as PXELINUX writes it: ARP type 1, lower case, dashes.
pub(crate) fn hardware_address(board: &Board<'_>) -> String {
    let EthernetAddress([a, b, c, d, e, f]) = board.mac;
    format!("01-{a:02x}-{b:02x}-{c:02x}-{d:02x}-{e:02x}-{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hal::tests::board;

    #[test]
    fn the_uuid_is_the_one_a_pi_400_was_seen_to_send() {
        let uuid = Uuid::of(&board());
        assert_eq!(uuid.0, *b"RPi401\xc0\x00\x32\xec\xfc\x3c\xda\x06\xff\xe0");
        assert_eq!(uuid.to_string(), "52506934-3031-c000-32ec-fc3cda06ffe0");
    }
}
