//! DHCP messages to and from bytes (RFC 2131 §2, options of RFC 2132, 3396, 4578; PXE 2.1).

use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;

use smoltcp::wire::{EthernetAddress, Ipv4Address};

use super::identity::Identity;
use super::model::{Options as Everything, sub_option};

/// Length of the fixed part, magic cookie included.
const FIXED: usize = 240;
/// The shortest message that old relays let through: a BOOTP message (RFC 1542 §2.1).
const SHORTEST: usize = 300;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The largest reply that we take, IP and UDP headers included (option 57).
const LARGEST: u16 = 1472;

/// Option codes.
pub(super) mod tag {
    pub(crate) const SUBNET_MASK: u8 = 1;
    pub(crate) const ROUTER: u8 = 3;
    pub(crate) const DNS: u8 = 6;
    pub(crate) const HOST_NAME: u8 = 12;
    pub(crate) const DOMAIN: u8 = 15;
    pub(crate) const ROOT_PATH: u8 = 17;
    pub(crate) const MTU: u8 = 26;
    pub(crate) const NTP: u8 = 42;
    pub(crate) const VENDOR_SPECIFIC: u8 = 43;
    pub(crate) const REQUESTED_ADDRESS: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const MESSAGE_TYPE: u8 = 53;
    pub(crate) const SERVER: u8 = 54;
    pub(crate) const PARAMETERS: u8 = 55;
    pub(crate) const MAX_SIZE: u8 = 57;
    pub(crate) const T1: u8 = 58;
    pub(crate) const T2: u8 = 59;
    pub(crate) const VENDOR_CLASS: u8 = 60;
    pub(crate) const CLIENT_ID: u8 = 61;
    pub(crate) const TFTP_SERVER: u8 = 66;
    pub(crate) const BOOT_FILE: u8 = 67;
    pub(crate) const USER_CLASS: u8 = 77;
    pub(crate) const ARCHITECTURE: u8 = 93;
    pub(crate) const INTERFACE: u8 = 94;
    pub(crate) const UUID: u8 = 97;
    pub(crate) const DOMAIN_SEARCH: u8 = 119;
    pub(crate) const CLASSLESS_ROUTES: u8 = 121;
    pub(crate) const TFTP_ADDRESS: u8 = 150;
    pub(crate) const IPXE: u8 = 175;
    pub(crate) const CONFIG_FILE: u8 = 209;
    pub(crate) const PATH_PREFIX: u8 = 210;
}

/// The options that we request: iPXE's list, PXELINUX's 209 and 210, and 150; 121 is before 3 because RFC 3442 demands it.
/// D-19.
const PARAMETERS: [u8; 28] = [
    1, 121, 3, 6, 7, 12, 15, 17, 26, 42, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 150,
    175, 203, 209, 210,
];

/// What is said in option 175: our version where iPXE has its own (sub-option 235), in front, where servers can match on
/// it; then what iPXE on arm64 EFI says, less what we lack (HTTPS): HTTP, TFTP, DNS, EFI, VLANs, menus. Servers ask for some of
/// them before they name a script: without all of those a client is sent an iPXE of theirs (D-136).
const FEATURES: [u8; 23] = {
    let [major, minor, patch] = VERSION;
    [
        0xeb, 3, major, minor, patch, 0x13, 1, 1, 0x15, 1, 1, 0x17, 1, 1, 0x24, 1, 1, 0x26, 1, 1, 0x27, 1, 1,
    ]
};
// D-104
const VERSION: [u8; 3] = [
    number(env!("CARGO_PKG_VERSION_MAJOR")),
    number(env!("CARGO_PKG_VERSION_MINOR")),
    number(env!("CARGO_PKG_VERSION_PATCH")),
];

const fn number(digits: &str) -> u8 {
    match u8::from_str_radix(digits, 10) {
        Ok(number) => number,
        Err(_) => u8::MAX,
    }
}

/// A message that a client sends (option 53).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Discover = 1,
    Request = 3,
    Decline = 4,
}

/// A message that a server sends (option 53).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageType {
    Offer,
    Ack,
    Nak,
}

/// A message to servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) kind: Ask,
    pub(super) xid: u32,
    /// Seconds since we began to ask.
    pub(super) secs: u16,
    /// Whether replies must be broadcast.
    pub(super) broadcast: bool,
    /// Our address when we have one, else 0.0.0.0.
    pub(super) ciaddr: Ipv4Address,
    /// Option 50.
    pub(super) requested: Option<Ipv4Address>,
    /// Option 54.
    pub(super) server: Option<Ipv4Address>,
    /// The boot item asked of a PXE boot server, as its type (option 43, sub-option 71).
    pub(super) boot_item: Option<u16>,
}

impl Request {
    /// The UDP payload.
    pub(super) fn encode(&self, identity: &Identity) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        // BOOTREQUEST over Ethernet.
        out.extend([1, 1, 6, 0]);
        out.extend(self.xid.to_be_bytes());
        out.extend(self.secs.to_be_bytes());
        out.extend([if self.broadcast { 0x80 } else { 0 }, 0]);
        out.extend(self.ciaddr.octets());
        // yiaddr, siaddr and giaddr are the servers' and relays' to fill.
        out.extend([0; 12]);
        out.extend(identity.mac.0);
        // The rest of chaddr, sname and file.
        out.resize(FIXED.saturating_sub(COOKIE.len()), 0);
        out.extend(COOKIE);
        option(&mut out, tag::MESSAGE_TYPE, &[self.kind as u8]);
        if let Some(address) = self.requested {
            option(&mut out, tag::REQUESTED_ADDRESS, &address.octets());
        }
        if let Some(server) = self.server {
            option(&mut out, tag::SERVER, &server.octets());
        }
        let mut client_id = Vec::from([1]);
        client_id.extend(identity.mac.0);
        option(&mut out, tag::CLIENT_ID, &client_id);
        if self.kind != Ask::Decline {
            option(&mut out, tag::MAX_SIZE, &LARGEST.to_be_bytes());
            // arm64 EFI (RFC 4578), because that is how servers tell arm64 from x86.
            option(&mut out, tag::ARCHITECTURE, &[0, 11]);
            // UNDI 3.10.
            option(&mut out, tag::INTERFACE, &[1, 3, 10]);
            option(&mut out, tag::VENDOR_CLASS, b"PXEClient:Arch:00011:UNDI:003010");
            let mut uuid = Vec::from([0]);
            uuid.extend(identity.uuid.0);
            option(&mut out, tag::UUID, &uuid);
            if !identity.user_class.is_empty() {
                option(&mut out, tag::USER_CLASS, identity.user_class.as_bytes());
            }
            if identity.ipxe_features {
                option(&mut out, tag::IPXE, &FEATURES);
            }
            if let Some(item) = self.boot_item {
                let [high, low] = item.to_be_bytes();
                option(&mut out, tag::VENDOR_SPECIFIC, &[71, 4, high, low, 0, 0, 255]);
            }
            option(&mut out, tag::PARAMETERS, &PARAMETERS);
        }
        out.push(255);
        if out.len() < SHORTEST {
            out.resize(SHORTEST, 0);
        }
        out
    }
}

/// Appends an option; a value beyond 255 bytes is cut into several (RFC 3396).
fn option(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    for part in value.chunks(255) {
        out.push(tag);
        // A chunk has at most 255 bytes.
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend(part);
    }
}

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// For another client, or for an older transaction of ours: everyday traffic, not worth a line.
    NotOurs,
    /// Shorter than the fixed part.
    Short,
    /// Not a BOOTP reply over Ethernet, or no DHCP in it.
    NotDhcp,
    /// An option runs past the end of its field.
    Truncated,
    /// No known message type.
    Type,
    /// The address for us is not one that a host can have.
    Address(Ipv4Address),
    /// The server's address is not one that a host can have.
    Server(Ipv4Address),
    /// A lease that ends at once.
    Expired,
    /// Neither an address nor a boot service.
    Nothing,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("not for us"),
            Self::Short => f.write_str("shorter than a DHCP message"),
            Self::NotDhcp => f.write_str("not a DHCP reply"),
            Self::Truncated => f.write_str("an option runs past the end"),
            Self::Type => f.write_str("no known message type"),
            Self::Address(address) => write!(f, "{address} is no address for a host"),
            Self::Server(address) => write!(f, "{address} is no address for a server"),
            Self::Expired => f.write_str("a lease of 0 s"),
            Self::Nothing => f.write_str("neither an address nor a boot service"),
        }
    }
}

/// A message from a server. Only the lengths of its fields and options are checked, not their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) kind: MessageType,
    pub(super) yiaddr: Ipv4Address,
    pub(super) siaddr: Ipv4Address,
    /// The `sname` field; empty when it is overloaded.
    pub(super) sname: Vec<u8>,
    /// The `file` field; empty when it is overloaded.
    pub(super) file: Vec<u8>,
    options: Vec<(u8, Vec<u8>)>,
    /// The first thing in it that was left out.
    unfit: Cell<Option<Unfit>>,
}

/// What of a message is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// A text of so many bytes.
    Text(usize),
    /// The list of domains.
    Domains,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(len) => write!(f, "a text of {len} bytes is too long or not printable; ignored"),
            Self::Domains => f.write_str("option 119 (domain search) is not a list of DNS names; ignored"),
        }
    }
}

impl Reply {
    /// Something in it is left out.
    pub(super) fn leave_out(&self, what: Unfit) {
        self.unfit.set(self.unfit.get().or(Some(what)));
    }

    /// The first thing in it that was left out, so far.
    pub(super) fn left_out(&self) -> Option<Unfit> {
        self.unfit.get()
    }

    /// Reads a UDP payload that answers `xid` of `mac`.
    pub(super) fn parse(bytes: &[u8], xid: u32, mac: EthernetAddress) -> Result<Self, Refusal> {
        let (fixed, rest) = bytes.split_at_checked(FIXED).ok_or(Refusal::Short)?;
        let field = |at: usize, len: usize| fixed.get(at..).and_then(|f| f.get(..len)).unwrap_or_default();
        if field(0, 3) != [2, 1, 6] || field(236, 4) != COOKIE {
            return Err(Refusal::NotDhcp);
        }
        if field(4, 4) != xid.to_be_bytes() || field(28, 6) != mac.0 {
            return Err(Refusal::NotOurs);
        }
        let (sname, file) = (field(44, 64), field(108, 128));

        let mut options = Options::default();
        options.read(rest)?;
        // RFC 3396 §5: the options field, then `file`, then `sname`.
        let overload = options
            .get(tag::OVERLOAD)
            .and_then(|v| v.first().copied())
            .unwrap_or(0);
        let (file_holds_options, sname_holds_options) = (overload & 1 != 0, overload & 2 != 0);
        if file_holds_options {
            options.read(file)?;
        }
        if sname_holds_options {
            options.read(sname)?;
        }
        let kind = match options.get(tag::MESSAGE_TYPE) {
            Some([2]) => MessageType::Offer,
            Some([5]) => MessageType::Ack,
            Some([6]) => MessageType::Nak,
            _ => return Err(Refusal::Type),
        };
        Ok(Self {
            kind,
            yiaddr: address(field(16, 4)).unwrap_or(Ipv4Address::UNSPECIFIED),
            siaddr: address(field(20, 4)).unwrap_or(Ipv4Address::UNSPECIFIED),
            sname: if sname_holds_options {
                Vec::new()
            } else {
                sname.to_vec()
            },
            file: if file_holds_options {
                Vec::new()
            } else {
                file.to_vec()
            },
            options: options.0,
            unfit: Cell::new(None),
        })
    }

    /// The value of option `tag`, its parts joined.
    pub(super) fn option(&self, tag: u8) -> Option<&[u8]> {
        self.options
            .iter()
            .find(|(t, _)| *t == tag)
            .map(|(_, v)| v.as_slice())
    }

    /// A copy of the message for scripts.
    pub(super) fn everything(&self) -> Everything {
        let mut list = self.options.clone();
        for (tag, field) in [(tag::TFTP_SERVER, &self.sname), (tag::BOOT_FILE, &self.file)] {
            let name = field.split(|&byte| byte == 0).next().unwrap_or_default();
            if !name.is_empty() {
                list.retain(|(t, _)| *t != tag);
                list.push((tag, name.to_vec()));
            }
        }
        Everything {
            yiaddr: self.yiaddr,
            siaddr: self.siaddr,
            list,
        }
    }

    /// The option `tag` as an address.
    pub(super) fn address(&self, tag: u8) -> Option<Ipv4Address> {
        self.option(tag).and_then(address)
    }

    /// The option `tag` as a number of seconds.
    pub(super) fn seconds(&self, tag: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.option(tag)?.try_into().ok()?))
    }

    /// Whether it comes from a PXE boot service (option 60).
    pub(super) fn is_pxe(&self) -> bool {
        self.option(tag::VENDOR_CLASS)
            .is_some_and(|v| v.starts_with(b"PXEClient"))
    }

    /// The type of the first item on a PXE boot menu (option 43, sub-option 9); 0 would be "boot locally".
    pub(super) fn first_boot_item(&self) -> Option<u16> {
        let menu = sub_option(self.option(tag::VENDOR_SPECIFIC)?, 9)?;
        let item = u16::from_be_bytes(*menu.first_chunk()?);
        (item != 0).then_some(item)
    }
}

/// The address in exactly four bytes.
pub(super) fn address(bytes: &[u8]) -> Option<Ipv4Address> {
    Some(Ipv4Address::from(<[u8; 4]>::try_from(bytes).ok()?))
}

/// Options in order of first appearance, repeated ones joined (RFC 3396). The packet's size bounds their number and length.
#[derive(Default)]
struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    /// Adds a field's options. Some servers forget the end option, so it may be missing.
    fn read(&mut self, mut field: &[u8]) -> Result<(), Refusal> {
        loop {
            field = match *field {
                [] | [255, ..] => return Ok(()),
                [0, ref after @ ..] => after,
                [_] => return Err(Refusal::Truncated),
                [tag, len, ref after @ ..] => {
                    let (value, after) = after
                        .split_at_checked(usize::from(len))
                        .ok_or(Refusal::Truncated)?;
                    match self.0.iter_mut().find(|(t, _)| *t == tag) {
                        Some((_, joined)) => joined.extend(value),
                        None => self.0.push((tag, value.to_vec())),
                    }
                    after
                }
            };
        }
    }

    fn get(&self, tag: u8) -> Option<&[u8]> {
        self.0.iter().find(|(t, _)| *t == tag).map(|(_, v)| v.as_slice())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::lease::Uuid;

    pub(crate) const MAC: EthernetAddress = EthernetAddress([0xdc, 0xa6, 0x32, 0xec, 0xfc, 0x3c]);
    pub(crate) const XID: u32 = 0xd0e3_73b8;

    pub(crate) fn identity() -> Identity {
        Identity {
            mac: MAC,
            uuid: Uuid(*b"RPi401\xc0\x00\x32\xec\xfc\x3c\xda\x06\xff\xe0"),
            user_class: "iPXE".into(),
            ipxe_features: true,
        }
    }

    /// A server's message: fixed part, then the message type and `options` (tag, value), then the end.
    pub(crate) fn reply(kind: u8, yiaddr: [u8; 4], options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = vec![0; FIXED];
        out[..4].copy_from_slice(&[2, 1, 6, 0]);
        out[4..8].copy_from_slice(&XID.to_be_bytes());
        out[16..20].copy_from_slice(&yiaddr);
        out[28..34].copy_from_slice(&MAC.0);
        out[236..].copy_from_slice(&COOKIE);
        option(&mut out, 53, &[kind]);
        for (tag, value) in options {
            option(&mut out, *tag, value);
        }
        out.push(255);
        out
    }

    fn parse(bytes: &[u8]) -> Result<Reply, Refusal> {
        Reply::parse(bytes, XID, MAC)
    }

    #[test]
    fn a_discover_is_these_bytes() {
        let bytes = Request {
            kind: Ask::Discover,
            xid: XID,
            secs: 0x0102,
            broadcast: true,
            ciaddr: Ipv4Address::UNSPECIFIED,
            requested: None,
            server: None,
            boot_item: None,
        }
        .encode(&identity());
        let mut golden = vec![1, 1, 6, 0, 0xd0, 0xe3, 0x73, 0xb8, 1, 2, 0x80, 0];
        golden.resize(28, 0);
        golden.extend(MAC.0);
        golden.resize(236, 0);
        golden.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 61, 7, 1]);
        golden.extend(MAC.0);
        golden.extend([57, 2, 0x05, 0xc0, 93, 2, 0, 11, 94, 3, 1, 3, 10, 60, 32]);
        golden.extend(b"PXEClient:Arch:00011:UNDI:003010");
        golden.extend([97, 17, 0]);
        golden.extend(b"RPi401\xc0\x00\x32\xec\xfc\x3c\xda\x06\xff\xe0");
        golden.extend(b"\x4d\x04iPXE\xaf\x17\xeb\x03");
        golden.extend(VERSION);
        golden.extend(b"\x13\x01\x01\x15\x01\x01\x17\x01\x01\x24\x01\x01\x26\x01\x01\x27\x01\x01\x37\x1c");
        golden.extend([1, 121, 3, 6, 7, 12, 15, 17, 26, 42, 43, 60, 66, 67, 119]);
        golden.extend([
            128, 129, 130, 131, 132, 133, 134, 135, 150, 175, 203, 209, 210, 255,
        ]);
        assert_eq!(bytes, golden);
    }

    #[test]
    fn the_version_is_the_packages() {
        let [major, minor, patch] = VERSION;
        assert_eq!(format!("{major}.{minor}.{patch}"), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn a_decline_names_address_and_server_and_is_padded_for_old_relays() {
        let bytes = Request {
            kind: Ask::Decline,
            xid: XID,
            secs: 0,
            broadcast: false,
            ciaddr: Ipv4Address::UNSPECIFIED,
            requested: Some(Ipv4Address::new(10, 0, 2, 15)),
            server: Some(Ipv4Address::new(10, 0, 2, 2)),
            boot_item: None,
        }
        .encode(&identity());
        assert_eq!(bytes.len(), SHORTEST);
        assert_eq!(
            bytes[240..255],
            [53, 1, 4, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]
        );
        assert_eq!(
            bytes[255..265],
            [61, 7, 1, 0xdc, 0xa6, 0x32, 0xec, 0xfc, 0x3c, 255]
        );
    }

    #[test]
    fn the_offer_of_a_home_router_is_read() {
        let bytes = reply(
            2,
            [192, 168, 2, 40],
            &[(54, &[192, 168, 2, 1]), (51, &[0, 0, 0x1c, 0x20])],
        );
        let offer = parse(&bytes).unwrap();
        assert_eq!(offer.kind, MessageType::Offer);
        assert_eq!(offer.yiaddr, Ipv4Address::new(192, 168, 2, 40));
        assert_eq!(offer.address(tag::SERVER), Some(Ipv4Address::new(192, 168, 2, 1)));
        assert_eq!(offer.seconds(tag::LEASE_TIME), Some(7200));
        assert_eq!(
            (offer.seconds(tag::SERVER), offer.address(tag::T1)),
            (Some(0xc0a8_0201), None)
        );
        assert!(!offer.is_pxe());
    }

    #[test]
    fn the_proxy_offer_of_a_dnsmasq_is_read() {
        let menu = b"\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x80\x05\x11Raspberry Pi Boot\xff";
        let offer = parse(&reply(
            2,
            [0; 4],
            &[(54, &[1, 2, 3, 4]), (60, b"PXEClient"), (43, menu)],
        ))
        .unwrap();
        assert!(offer.is_pxe());
        assert_eq!(offer.first_boot_item(), Some(0x8005));
        let local = b"\x09\x03\x00\x00\x00";
        assert_eq!(
            parse(&reply(2, [0; 4], &[(43, local)]))
                .unwrap()
                .first_boot_item(),
            None
        );
    }

    #[test]
    fn long_and_overloaded_options_are_joined_in_the_order_of_rfc_3396() {
        let long = vec![b'a'; 300];
        let mut bytes = reply(5, [10, 0, 0, 1], &[(52, &[3]), (67, &long)]);
        bytes[44..49].copy_from_slice(b"\x43\x02cc\xff");
        bytes[108..113].copy_from_slice(b"\x43\x02bb\xff");
        let ack = parse(&bytes).unwrap();
        let joined = [long.as_slice(), b"bbcc"].concat();
        assert_eq!(ack.option(tag::BOOT_FILE), Some(joined.as_slice()));
        assert!(ack.file.is_empty() && ack.sname.is_empty());
    }

    #[test]
    fn an_overload_of_one_field_leaves_the_other_alone() {
        let mut bytes = reply(5, [10, 0, 0, 1], &[(52, &[2])]);
        bytes[44..49].copy_from_slice(b"\x0c\x02pi\xff");
        bytes[108..113].copy_from_slice(b"a.pxe");
        let ack = parse(&bytes).unwrap();
        assert_eq!(ack.option(tag::HOST_NAME), Some(&b"pi"[..]));
        assert!(ack.file.starts_with(b"a.pxe\0"));
    }

    #[test]
    fn an_end_option_may_be_missing_and_padding_may_be_anywhere() {
        let mut bytes = reply(2, [10, 0, 0, 1], &[]);
        bytes.pop();
        bytes.extend([0, 0, 12, 1, b'x']);
        assert_eq!(parse(&bytes).unwrap().option(12), Some(&b"x"[..]));
    }

    #[test]
    fn what_is_not_ours_or_no_reply_is_refused_by_its_reason() {
        let good = reply(2, [10, 0, 0, 1], &[]);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            parse(&bytes).unwrap_err()
        };
        assert_eq!(with(0, 1), Refusal::NotDhcp);
        assert_eq!(with(1, 6), Refusal::NotDhcp);
        assert_eq!(with(239, 0), Refusal::NotDhcp);
        assert_eq!(with(4, 0), Refusal::NotOurs);
        assert_eq!(with(33, 0), Refusal::NotOurs);
        assert_eq!(with(241, 9), Refusal::Truncated);
        assert_eq!(with(242, 1), Refusal::Type);
        assert_eq!(with(240, 52), Refusal::Type);
        assert_eq!(parse(&good[..239]).unwrap_err(), Refusal::Short);
    }

    #[test]
    fn sub_options_end_at_the_first_that_does_not_fit() {
        let bytes = [0, 0xb0, 1, 1, 0x51, 2, b'h', b'i', 9, 200, 1];
        assert_eq!(sub_option(&bytes, 0xb0), Some(&[1][..]));
        assert_eq!(sub_option(&bytes, 0x51), Some(&b"hi"[..]));
        assert_eq!(sub_option(&bytes, 9), None);
        assert_eq!(sub_option(&bytes, 10), None);
        assert_eq!(sub_option(&[255, 5, 0], 5), None);
    }
}
