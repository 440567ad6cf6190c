//! DHCP servers that can be told to misbehave (RFC 2131, 2132, 3396, 3442), and a ProxyDHCP (PXE 2.1).
//!
//! Written from the RFCs, sharing no code with the client under test.

use std::collections::BTreeMap;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use crate::station::{Datagram, Service};

const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// DHCPDISCOVER.
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// A message from the client, as a server sees it.
#[derive(Debug, Clone)]
pub struct Message {
    /// When it arrived.
    pub at: Instant,
    /// Option 53.
    pub kind: u8,
    /// Transaction.
    pub xid: u32,
    /// Seconds since the client began, as it claims.
    pub secs: u16,
    /// Whether it asks for a broadcast answer.
    pub broadcast: bool,
    /// The address that it already uses, or 0.0.0.0.
    pub ciaddr: Ipv4Address,
    /// The client's MAC address.
    pub chaddr: EthernetAddress,
    /// UDP destination: a renewal is unicast.
    pub sent_to: (Ipv4Address, u16),
    /// All options; repeated ones concatenated (RFC 3396).
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    fn parse(at: Instant, datagram: &Datagram) -> Option<Self> {
        let bytes = &datagram.payload;
        if bytes.len() < 240 || bytes[0] != 1 || bytes[236..240] != COOKIE {
            return None;
        }
        let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut rest = &bytes[240..];
        loop {
            match *rest {
                [0, ref tail @ ..] => rest = tail,
                [255, ..] | [] => break,
                [code, len, ref tail @ ..] => {
                    let (value, tail) = tail.split_at_checked(usize::from(len))?;
                    options.entry(code).or_default().extend_from_slice(value);
                    rest = tail;
                }
                [_] => return None,
            }
        }
        Some(Self {
            at,
            kind: *options.get(&53)?.first()?,
            xid: u32::from_be_bytes(bytes[4..8].try_into().ok()?),
            secs: u16::from_be_bytes([bytes[8], bytes[9]]),
            broadcast: bytes[10] & 0x80 != 0,
            ciaddr: address(&bytes[12..16])?,
            chaddr: EthernetAddress::from_bytes(&bytes[28..34]),
            sent_to: datagram.destination,
            options,
        })
    }

    /// An option that holds one address.
    pub fn address(&self, code: u8) -> Option<Ipv4Address> {
        address(self.options.get(&code)?)
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Address> {
    Some(Ipv4Address::from(<[u8; 4]>::try_from(bytes).ok()?))
}

/// Which header fields carry options (option 52).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overload {
    /// None: they hold names.
    #[default]
    None,
    /// `file`.
    File,
    /// `sname`.
    Sname,
    /// Both, `file` first.
    Both,
}

type Tamper = Box<dyn FnMut(&mut Vec<u8>)>;

/// A server with a pool of addresses and programmable manners.
pub struct Dhcp {
    /// Addresses to offer; a declined one is dropped from the front.
    pub pool: Vec<Ipv4Address>,
    /// The server answers nothing before this time.
    pub silent_until: Instant,
    /// The server answers nothing while this is set.
    pub silent: bool,
    /// The delay of each answer.
    pub delay: Duration,
    /// Option 51.
    pub lease: Duration,
    /// Option 58 and 59, when sent.
    pub timers: Option<(Duration, Duration)>,
    /// Subnet mask, routers and everything else, sent as they are, in this order.
    pub options: Vec<(u8, Vec<u8>)>,
    /// The `file` field, or option 67 when the field is overloaded or too small.
    pub file: String,
    /// The boot file for clients of a user class (option 77); `None` leaves them without an answer.
    pub classes: Vec<(String, Option<String>)>,
    /// `siaddr`.
    pub next_server: Ipv4Address,
    /// Which fields carry options.
    pub overload: Overload,
    /// How many REQUESTs to answer with NAK.
    pub naks: u32,
    /// Changes an answer's bytes before they leave.
    pub tamper: Option<Tamper>,
    /// The clients' messages.
    pub log: Vec<Message>,
}

impl Default for Dhcp {
    fn default() -> Self {
        Self::new()
    }
}

impl Dhcp {
    /// A polite server: 192.168.7.100 and up, mask /24, one hour, no boot file.
    pub fn new() -> Self {
        Self {
            pool: (100..110)
                .map(|host| Ipv4Address::new(192, 168, 7, host))
                .collect(),
            silent_until: Instant::ZERO,
            silent: false,
            delay: Duration::from_millis(1),
            lease: Duration::from_secs(3600),
            timers: None,
            options: vec![(1, vec![255, 255, 255, 0])],
            file: String::new(),
            classes: Vec::new(),
            next_server: Ipv4Address::UNSPECIFIED,
            overload: Overload::None,
            naks: 0,
            tamper: None,
            log: Vec::new(),
        }
    }

    /// Names a boot file.
    pub fn boot_file(mut self, file: &str) -> Self {
        self.file = file.into();
        self
    }

    /// Adds an option.
    pub fn option(mut self, code: u8, value: impl Into<Vec<u8>>) -> Self {
        self.options.push((code, value.into()));
        self
    }

    /// How many messages of `kind` have come.
    pub fn count(&self, kind: u8) -> usize {
        self.log.iter().filter(|message| message.kind == kind).count()
    }

    fn answer(&mut self, now: Instant, server: Ipv4Address, message: &Message) -> Option<Vec<u8>> {
        if self.silent || now < self.silent_until {
            return None;
        }
        let file = self.file_for(message)?;
        let ours = message.address(54).is_none_or(|chosen| chosen == server);
        let yiaddr = *self.pool.first()?;
        let kind = match message.kind {
            DISCOVER => OFFER,
            REQUEST if !ours => return None,
            REQUEST if self.naks > 0 => {
                self.naks -= 1;
                NAK
            }
            REQUEST => {
                let wanted = if message.ciaddr.is_unspecified() {
                    message.address(50)?
                } else {
                    message.ciaddr
                };
                if wanted == yiaddr { ACK } else { NAK }
            }
            DECLINE if ours => {
                self.pool.remove(0);
                return None;
            }
            _ => return None,
        };
        Some(self.reply(server, message, kind, yiaddr, &file))
    }

    /// The boot file for this client, or no answer at all.
    fn file_for(&self, message: &Message) -> Option<String> {
        let class = message.options.get(&77).map(Vec::as_slice).unwrap_or_default();
        let mut classes = self.classes.iter();
        match classes.find(|(name, _)| name.as_bytes() == class) {
            Some((_, file)) => file.clone(),
            None => Some(self.file.clone()),
        }
    }

    fn reply(
        &self,
        server: Ipv4Address,
        message: &Message,
        kind: u8,
        yiaddr: Ipv4Address,
        file: &str,
    ) -> Vec<u8> {
        if kind == NAK {
            let head = header(message, Ipv4Address::UNSPECIFIED, Ipv4Address::UNSPECIFIED);
            return finish(head, vec![(53, vec![NAK]), (54, server.octets().to_vec())]);
        }
        let mut head = header(message, yiaddr, self.next_server);
        let seconds = |duration: Duration| (duration.secs() as u32).to_be_bytes().to_vec();
        let mut first = vec![
            (53, vec![kind]),
            (54, server.octets().to_vec()),
            (51, seconds(self.lease)),
        ];
        if let Some((t1, t2)) = self.timers {
            first.extend([(58, seconds(t1)), (59, seconds(t2))]);
        }
        let mut later = self.options.clone();
        let file_is_free = matches!(self.overload, Overload::None | Overload::Sname);
        if file_is_free && file.len() < 128 {
            head[108..108 + file.len()].copy_from_slice(file.as_bytes());
        } else if !file.is_empty() {
            later.push((67, file.as_bytes().to_vec()));
        }
        // RFC 3396, 5: the aggregate buffer is options, then file, then sname; one option may cross.
        let fields: &[std::ops::Range<usize>] = match self.overload {
            Overload::None => {
                first.extend(later);
                return finish(head, first);
            }
            Overload::File => std::slice::from_ref(&(108..236)),
            Overload::Sname => std::slice::from_ref(&(44..108)),
            Overload::Both => &[108..236, 44..108],
        };
        let code = match self.overload {
            Overload::File => 1,
            Overload::Sname => 2,
            _ => 3,
        };
        first.push((52, vec![code]));
        let mut fields = fields.iter();
        let mut field = fields.next().cloned();
        for (code, value) in later {
            let mut value = &value[..];
            while let Some(room) = field.clone() {
                // Code, length, and the end mark of the field.
                let space = room.len().saturating_sub(3);
                if space == 0 {
                    field = fields.next().cloned();
                    continue;
                }
                let (part, rest) = value.split_at(value.len().min(space));
                head[room.start] = code;
                head[room.start + 1] = part.len() as u8;
                head[room.start + 2..][..part.len()].copy_from_slice(part);
                head[room.start + 2 + part.len()] = 255;
                field = Some(room.start + 2 + part.len()..room.end);
                value = rest;
                if value.is_empty() {
                    break;
                }
            }
            if field.is_none() {
                first.push((code, value.to_vec()));
            }
        }
        finish(head, first)
    }
}

/// The fixed part of a reply, up to and with the cookie.
fn header(message: &Message, yiaddr: Ipv4Address, siaddr: Ipv4Address) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..4].copy_from_slice(&[2, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&message.xid.to_be_bytes());
    bytes[10] = u8::from(message.broadcast) << 7;
    bytes[12..16].copy_from_slice(&message.ciaddr.octets());
    bytes[16..20].copy_from_slice(&yiaddr.octets());
    bytes[20..24].copy_from_slice(&siaddr.octets());
    bytes[28..34].copy_from_slice(message.chaddr.as_bytes());
    bytes.extend(COOKIE);
    bytes
}

/// Appends options, long ones in pieces (RFC 3396), the end mark, and padding to BOOTP's 300 bytes.
fn finish(mut bytes: Vec<u8>, options: Vec<(u8, Vec<u8>)>) -> Vec<u8> {
    for (code, value) in options {
        let pieces: Vec<&[u8]> = if value.is_empty() {
            vec![&[]]
        } else {
            value.chunks(255).collect()
        };
        for piece in pieces {
            bytes.extend([code, piece.len() as u8]);
            bytes.extend(piece);
        }
    }
    bytes.push(255);
    bytes.resize(bytes.len().max(300), 0);
    bytes
}

/// The destination of an answer (RFC 2131 §4.1).
fn address_reply(
    server: Ipv4Address,
    message: &Message,
    to: Ipv4Address,
    ports: (u16, u16),
    payload: Vec<u8>,
) -> Datagram {
    let (mac, to) = if !message.ciaddr.is_unspecified() {
        (message.chaddr, message.ciaddr)
    } else if message.broadcast || to.is_unspecified() {
        (EthernetAddress::BROADCAST, Ipv4Address::BROADCAST)
    } else {
        (message.chaddr, to)
    };
    Datagram {
        source_mac: EthernetAddress([0; 6]),
        destination_mac: mac,
        source: (server, ports.0),
        destination: (to, ports.1),
        payload,
    }
}

impl Service for Dhcp {
    fn datagram(
        &mut self,
        now: Instant,
        server: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)> {
        if datagram.destination.1 != 67 {
            return Vec::new();
        }
        let Some(message) = Message::parse(now, datagram) else {
            return Vec::new();
        };
        let reply = self.answer(now, server, &message);
        self.log.push(message.clone());
        let Some(mut payload) = reply else {
            return Vec::new();
        };
        let yiaddr = Ipv4Address::new(payload[16], payload[17], payload[18], payload[19]);
        if let Some(tamper) = &mut self.tamper {
            tamper(&mut payload);
        }
        vec![(
            self.delay,
            address_reply(server, &message, yiaddr, (67, 68), payload),
        )]
    }
}

/// A ProxyDHCP server: offers a boot file but no address, on port 67 and, when asked, on 4011.
pub struct Proxy {
    /// The boot file that its answers name.
    pub file: String,
    /// Whether the offer on port 67 already names it, or only the answer on port 4011.
    pub file_in_offer: bool,
    /// How long its offer takes.
    pub delay: Duration,
    /// Changes an answer's bytes before they leave.
    pub tamper: Option<Tamper>,
    /// What clients have sent to it.
    pub log: Vec<Message>,
}

impl Proxy {
    /// One that answers at once with `file` in the offer.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            file_in_offer: true,
            delay: Duration::from_millis(5),
            tamper: None,
            log: Vec::new(),
        }
    }
}

impl Service for Proxy {
    fn datagram(
        &mut self,
        now: Instant,
        server: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)> {
        let Some(message) = Message::parse(now, datagram) else {
            return Vec::new();
        };
        self.log.push(message.clone());
        let (kind, with_file) = match (datagram.destination.1, message.kind) {
            (67, DISCOVER) => (OFFER, self.file_in_offer),
            (4011, REQUEST) => (ACK, true),
            _ => return Vec::new(),
        };
        let mut head = header(&message, Ipv4Address::UNSPECIFIED, server);
        if with_file {
            head[108..108 + self.file.len()].copy_from_slice(self.file.as_bytes());
        }
        let options = vec![
            (53, vec![kind]),
            (54, server.octets().to_vec()),
            (60, b"PXEClient".to_vec()),
        ];
        // On 4011 the answer goes back to the port that asked.
        let port = if datagram.destination.1 == 4011 {
            datagram.source.1
        } else {
            68
        };
        let mut payload = finish(head, options);
        if let Some(tamper) = &mut self.tamper {
            tamper(&mut payload);
        }
        let ports = (datagram.destination.1, port);
        vec![(
            self.delay,
            address_reply(server, &message, datagram.source.0, ports, payload),
        )]
    }
}
