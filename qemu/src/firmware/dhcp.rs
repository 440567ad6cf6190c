//! The stage's DHCP: what the Pi's firmware says of itself, for how long it asks, and which offers it takes.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::host::Host;

/// What option 43 has to hold for the firmware to see that an offer is meant for it.
const MARK: &[u8] = b"Raspberry Pi Boot";

/// What the 3B's ROM looks for in its place (M).
const ROM_MARK: &[u8] = b"Raspberry Pi Boot   ";

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// How a generation asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    /// How often, and how long each time.
    tries: u32,
    patience: Duration,
    /// Whether it takes the address that it was offered without a word: the 3B's ROM (M, F#1699).
    takes_offers: bool,
    /// What it looks for in option 43.
    mark: &'static [u8],
    /// Whether an offer without option 43 will do that names a server (E, Pi 4).
    next_server_will_do: bool,
}

impl Manner {
    /// Pi 4's EEPROM: 4 s for each request, 45 s for all (DOC).
    pub(crate) const EEPROM: Self = Self {
        tries: 11,
        patience: Duration::from_secs(4),
        takes_offers: false,
        mark: MARK,
        next_server_will_do: true,
    };

    /// The ROM of a 3B: five times, 5 s apart, and never again (M).
    pub(crate) const ROM_3B: Self = Self {
        tries: 5,
        patience: Duration::from_secs(5),
        takes_offers: true,
        mark: ROM_MARK,
        next_server_will_do: false,
    };

    /// A 3B+'s, which had that mended (DOC: boot-net); that it asks for what it was offered is U.
    pub(crate) const ROM_3B_PLUS: Self = Self {
        takes_offers: false,
        mark: MARK,
        ..Self::ROM_3B
    };
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) mac: [u8; 6],
    /// Option 97.
    pub(crate) uuid: [u8; 16],
}

impl Client {
    /// A Pi 4: `RPi4`, the revision, the end of the MAC address, the serial number (E).
    pub(crate) fn pi4(mac: [u8; 6], revision: u32, serial: u64) -> Self {
        let [_, _, a, b, c, d] = mac;
        let [e, f, g, h, ..] = serial.to_le_bytes();
        let mut uuid = *b"RPi4....________";
        uuid[4..8].copy_from_slice(&revision.to_le_bytes());
        uuid[8..].copy_from_slice(&[a, b, c, d, e, f, g, h]);
        Self { mac, uuid }
    }

    /// A Pi 3, whose ROM says the same of every board (M).
    pub(crate) fn pi3(mac: [u8; 6]) -> Self {
        Self {
            mac,
            uuid: [0x44; 16],
        }
    }

    fn message(&self, kind: u8, xid: u32, more: &[&[u8]]) -> Vec<u8> {
        let mut message = vec![1, 1, 6, 0];
        message.extend(xid.to_be_bytes());
        // No seconds; "answer to all", since there is no address to answer to yet.
        message.extend([0, 0, 0x80, 0]);
        message.resize(28, 0);
        message.extend(self.mac);
        message.resize(236, 0);
        message.extend([99, 130, 83, 99, 53, 1, kind]);
        message.extend([
            55, 14, 1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135,
        ]);
        message.extend([93, 2, 0, 0, 94, 3, 1, 2, 1, 97, 17, 0]);
        message.extend(self.uuid);
        message.extend([60, 32]);
        message.extend(b"PXEClient:Arch:00000:UNDI:002001");
        for option in more {
            message.extend(*option);
        }
        message.push(255);
        message.resize(message.len().max(300), 0);
        message
    }
}

/// What an answer says, as far as the firmware reads it: not the boot file (M, F#1850), and nothing of gateways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Answer {
    kind: u8,
    address: Ipv4AddrOr0,
    siaddr: Ipv4AddrOr0,
    server: Option<Ipv4Addr>,
    tftp: Option<Ipv4Addr>,
    vendor: Vec<u8>,
}

/// An address that may be 0.
type Ipv4AddrOr0 = Option<Ipv4Addr>;

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    let four: [u8; 4] = bytes.try_into().ok()?;
    Some(Ipv4Addr::from(four)).filter(|address| !address.is_unspecified())
}

impl Answer {
    /// Reads an answer to `xid`.
    fn parse(bytes: &[u8], client: &Client, xid: u32) -> Option<Self> {
        if bytes.first() != Some(&2)
            || bytes.get(4..8)? != xid.to_be_bytes()
            || bytes.get(28..34)? != client.mac
            || bytes.get(236..240)? != [99, 130, 83, 99]
        {
            return None;
        }
        let mut answer = Self {
            address: address(bytes.get(16..20)?),
            siaddr: address(bytes.get(20..24)?),
            ..Self::default()
        };
        let mut rest = bytes.get(240..)?;
        while let [code, behind @ ..] = rest {
            match code {
                0 => rest = behind,
                255 => break,
                _ => {
                    let (length, behind) = behind.split_first()?;
                    let (value, behind) = behind.split_at_checked(usize::from(*length))?;
                    rest = behind;
                    match code {
                        43 => answer.vendor.extend(value),
                        53 => answer.kind = *value.first()?,
                        54 => answer.server = address(value),
                        66 => {
                            answer.tftp = std::str::from_utf8(value)
                                .ok()?
                                .trim_end_matches('\0')
                                .parse()
                                .ok()
                        }
                        _ => {}
                    }
                }
            }
        }
        Some(answer)
    }

    /// The TFTP server, when the firmware would take the offer.
    fn boots_from(&self, manner: Manner) -> Option<Ipv4Addr> {
        let marked = self
            .vendor
            .windows(manner.mark.len())
            .any(|window| window == manner.mark);
        // A Pi 3 does not look at siaddr (M, F#801).
        let named = self.tftp.or(self.siaddr.filter(|_| manner.next_server_will_do));
        match (marked, named) {
            (true, named) => named.or(self.server),
            (false, named) => named.filter(|_| manner.next_server_will_do),
        }
    }
}

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;

/// Asks for an address and gives the TFTP server. A ProxyDHCP server may name it beside another one's address.
///
/// # Errors
///
/// When nobody answered as the firmware needs it, and it would give up.
pub(crate) fn ask(host: &mut Host, client: &Client, manner: Manner) -> Result<Ipv4Addr> {
    let mut seen = vec![];
    for attempt in 0..manner.tries {
        // The same number on every Pi was a bug of old ones; how the newest choose it is U.
        let xid = u32::from_be_bytes([client.mac[2], client.mac[4], client.mac[5], attempt as u8]);
        let discover = client.message(DISCOVER, xid, &[]);
        host.send(CLIENT_PORT, (Ipv4Addr::BROADCAST, SERVER_PORT), &discover)?;
        let deadline = Instant::now() + manner.patience;
        let (mut offer, mut server): (Option<Answer>, Option<Ipv4Addr>) = (None, None);
        while let Some(datagram) = host.receive(CLIENT_PORT, deadline)? {
            let Some(answer) =
                Answer::parse(&datagram.bytes, client, xid).filter(|answer| answer.kind == OFFER)
            else {
                continue;
            };
            server = server.or(answer.boots_from(manner));
            if answer.address.is_some() {
                offer.get_or_insert(answer.clone());
            }
            seen.push(answer);
            if let (Some(offer), Some(server)) = (&offer, server) {
                let address = offer.address.context("an offer without an address")?;
                if manner.takes_offers || acknowledged(host, client, xid, offer, address, deadline)? {
                    host.address = address;
                    return Ok(server);
                }
            }
        }
    }
    bail!(
        "dhcp: nobody to boot from after {} requests; offers: {seen:?}",
        manner.tries
    )
}

/// Asks for what was offered.
fn acknowledged(
    host: &mut Host,
    client: &Client,
    xid: u32,
    offer: &Answer,
    address: Ipv4Addr,
    deadline: Instant,
) -> Result<bool> {
    let wanted = [&[50, 4][..], &address.octets()].concat();
    let from = offer.server.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let of = [&[54, 4][..], &from.octets()].concat();
    let request = client.message(REQUEST, xid, &[&wanted, &of]);
    host.send(CLIENT_PORT, (Ipv4Addr::BROADCAST, SERVER_PORT), &request)?;
    while let Some(datagram) = host.receive(CLIENT_PORT, deadline)? {
        if let Some(answer) = Answer::parse(&datagram.bytes, client, xid)
            && answer.server == offer.server
            && answer.kind > OFFER
        {
            return Ok(answer.kind == ACK);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0xb8, 0x27, 0xeb, 0xa3, 0xb1, 0xe5];

    fn offer(siaddr: [u8; 4], options: &[(u8, &[u8])]) -> Answer {
        let mut message = Client::pi3(MAC).message(OFFER, 7, &[]);
        message[0] = 2;
        message[16..20].copy_from_slice(&[192, 168, 77, 50]);
        message[20..24].copy_from_slice(&siaddr);
        message.truncate(240);
        message.extend([53, 1, OFFER, 54, 4, 192, 168, 77, 1]);
        for (code, value) in options {
            message.extend([*code, value.len() as u8]);
            message.extend(*value);
        }
        message.push(255);
        assert!(Answer::parse(&message, &Client::pi3(MAC), 8).is_none());
        Answer::parse(&message, &Client::pi3(MAC), 7).unwrap()
    }

    #[test]
    fn a_pi_4_says_who_it_is_as_the_captured_one_did() {
        let client = Client::pi4(
            [0xdc, 0xa6, 0x32, 0xec, 0xfc, 0x3c],
            0x00c0_3130,
            0x1000_0000_e0ff_06da,
        );
        assert_eq!(
            client.uuid,
            *b"RPi4\x30\x31\xc0\x00\x32\xec\xfc\x3c\xda\x06\xff\xe0"
        );
        let message = client.message(DISCOVER, 1, &[]);
        let holds = |part: &[u8]| message.windows(part.len()).any(|window| window == part);
        assert!(holds(b"\x3c\x20PXEClient:Arch:00000:UNDI:002001"));
        assert!(holds(&[&[97, 17, 0][..], &client.uuid].concat()));
        assert!(holds(&[93, 2, 0, 0]));
    }

    #[test]
    fn each_generation_takes_what_it_takes() {
        let server = Some(Ipv4Addr::new(192, 168, 77, 1));
        let next = [192, 168, 77, 2];
        let nobody = offer([0; 4], &[]);
        let by_siaddr = offer(next, &[]);
        let marked = offer(
            [0; 4],
            &[(
                43,
                b"\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff",
            )],
        );
        let padded = offer([0; 4], &[(43, b"Raspberry Pi Boot   ")]);
        let named = offer(next, &[(43, b"Raspberry Pi Boot   "), (66, b"192.168.77.3")]);
        for (answer, eeprom, rom, rom_plus) in [
            (&nobody, None, None, None),
            (&by_siaddr, Some(Ipv4Addr::from(next)), None, None),
            (&marked, server, None, server),
            (&padded, server, server, server),
        ] {
            assert_eq!(answer.boots_from(Manner::EEPROM), eeprom, "{answer:?}");
            assert_eq!(answer.boots_from(Manner::ROM_3B), rom, "{answer:?}");
            assert_eq!(answer.boots_from(Manner::ROM_3B_PLUS), rom_plus, "{answer:?}");
        }
        for manner in [Manner::EEPROM, Manner::ROM_3B, Manner::ROM_3B_PLUS] {
            assert_eq!(named.boots_from(manner), Some(Ipv4Addr::new(192, 168, 77, 3)));
        }
    }
}
