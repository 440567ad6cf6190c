//! One question of multicast DNS (RFC 6762 §5.1): whoever on this link has the name answers it by unicast (§6.7).

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp;
use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, Ipv4Address};

use crate::net::{MDNS, Net};

const GROUP: Ipv4Address = Ipv4Address::new(224, 0, 0, 251);
/// Seconds to wait after each of the three questions.
const PAUSES: [u64; 3] = [1, 2, 2];
/// The sum of those, in seconds.
pub(crate) const PATIENCE: u64 = 5;
/// How many answers are kept until they are read, and the bytes of each; fragments are not put together.
const ROOM: usize = 8;
const LONGEST_ANSWER: usize = 1472;
/// The longest name in bytes, length bytes included (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 255;
/// How many compression pointers one name may follow.
const JUMPS: usize = 16;
const A: [u8; 2] = [0, 1];
const CNAME: [u8; 2] = [0, 5];

/// A name as messages carry it, in lower case. (A length byte is below 64, so lower-casing never touches one.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    /// `None` when no message can carry it.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut name = Vec::new();
        for label in text.strip_suffix('.').unwrap_or(text).split('.') {
            name.push(
                u8::try_from(label.len())
                    .ok()
                    .filter(|len| (1..64).contains(len))?,
            );
            name.extend(label.to_ascii_lowercase().bytes());
        }
        name.push(0);
        (name.len() <= LONGEST_NAME).then_some(Self(name))
    }

    /// The name that begins at offset `at` of a message, and the offset behind it.
    fn read(message: &[u8], mut at: usize) -> Option<(Self, usize)> {
        let mut name = Vec::new();
        let mut end = None;
        let mut jumps = JUMPS;
        loop {
            let len = *message.get(at)?;
            let next = at.checked_add(1)?;
            match len {
                0 => {
                    name.push(0);
                    return Some((Self(name), end.unwrap_or(next)));
                }
                1..64 => {
                    at = next.checked_add(usize::from(len))?;
                    name.push(len);
                    name.extend(message.get(next..at)?.to_ascii_lowercase());
                    if name.len() >= LONGEST_NAME {
                        return None;
                    }
                }
                0xc0.. => {
                    jumps = jumps.checked_sub(1)?;
                    let low = *message.get(next)?;
                    end = end.or(next.checked_add(1));
                    at = usize::from(u16::from_be_bytes([len & 0x3f, low]));
                }
                _ => return None,
            }
        }
    }
}

/// Asks this link for the address of `name`; `None` when no good answer came within [`PATIENCE`].
pub(crate) fn ask(net: &mut Net<'_>, name: &Name) -> Option<Ipv4Address> {
    let id = (net.random() as u16).to_be_bytes();
    let question = question(id, name);
    let socket = open(net);
    let mut answer = None;
    for pause in PAUSES {
        // A socket that is bound refuses no group, and has room: what was sent before needed no neighbour.
        let udp = net.sockets().1.get_mut::<udp::Socket<'_>>(socket);
        let _ = udp.send_slice(&question, (IpAddress::Ipv4(GROUP), MDNS));
        let until = net.now() + Duration::from_secs(pause);
        answer = net.wait(until, |net| {
            let link = net.lease_now()?.address;
            let socket = net.sockets().1.get_mut::<udp::Socket<'_>>(socket);
            while let Ok((message, from)) = socket.recv() {
                let IpAddress::Ipv4(sender) = from.endpoint.addr;
                // Nobody further away is asked, so nobody there can answer (§11).
                if from.endpoint.port == MDNS
                    && link.contains_addr(&sender)
                    && let Some(address) = read(message, id, name)
                {
                    return Some(address);
                }
            }
            None
        });
        if answer.is_some() {
            break;
        }
    }
    net.sockets().1.remove(socket);
    net.hear_mdns(None);
    answer
}

/// A socket on a port other than 5353: responders then know that a simple resolver asks, and answer it directly (RFC 6762 §5.1).
fn open(net: &mut Net<'_>) -> SocketHandle {
    let buffer = |datagrams: usize, bytes| {
        let slots = vec![udp::PacketMetadata::EMPTY; datagrams];
        udp::PacketBuffer::new(slots, vec![0; datagrams.saturating_mul(bytes)])
    };
    let mut socket = udp::Socket::new(buffer(ROOM, LONGEST_ANSWER), buffer(PAUSES.len(), 512));
    socket.set_hop_limit(Some(255));
    let port = match net.port() {
        MDNS => MDNS.wrapping_add(1),
        port => port,
    };
    // Never 0, and the socket is new, so it does not fail.
    let _ = socket.bind(port);
    net.hear_mdns(Some(port));
    net.sockets().1.add(socket)
}

fn question(id: [u8; 2], name: &Name) -> Vec<u8> {
    // No flags, one question; for type A, class IN.
    let mut message = [&id[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    message.extend(&name.0);
    message.extend([0, 1, 0, 1]);
    message
}

/// The address in an answer to the question for `name` that had `id`; `None` for anything else, a damaged answer included.
fn read(message: &[u8], id: [u8; 2], name: &Name) -> Option<Ipv4Address> {
    let [i, d, flags, code, q1, q2, counts @ ..] = *message.first_chunk::<12>()?;
    // A response, opcode and code 0 (§18), that repeats the one question (§6.7).
    if [i, d] != id || flags & 0xf8 != 0x80 || code & 0x0f != 0 || [q1, q2] != [0, 1] {
        return None;
    }
    let (asked, at) = Name::read(message, 12)?;
    let [t1, t2, class @ ..] = *message.get(at..)?.first_chunk::<4>()?;
    if asked != *name || [t1, t2] != A || !is_internet(class) {
        return None;
    }
    let mut at = at.checked_add(4)?;
    let mut wanted = asked;
    let mut found = None;
    let [a1, a2, n1, n2, x1, x2] = counts;
    let records = [[a1, a2], [n1, n2], [x1, x2]].map(|count| u32::from(u16::from_be_bytes(count)));
    // Each has bytes of its own, so that the message ends them, whatever their number.
    for _ in 0..records.iter().sum() {
        let (owner, head) = Name::read(message, at)?;
        let [t1, t2, c1, c2, ttl @ .., l1, l2] = *message.get(head..)?.first_chunk::<10>()?;
        let start = head.checked_add(10)?;
        at = start.checked_add(usize::from(u16::from_be_bytes([l1, l2])))?;
        let data = message.get(start..at)?;
        if owner != wanted || !is_internet([c1, c2]) || ttl == [0; 4] {
            // Another's; or one that says goodbye (§10.1).
            continue;
        }
        match [t1, t2] {
            A => {
                let address = Ipv4Address::from(<[u8; 4]>::try_from(data).ok()?);
                found = found.or(is_host(address).then_some(address));
            }
            CNAME => wanted = Name::read(message, start)?.0,
            _ => {}
        }
    }
    found
}

/// Class IN. Its top bit is set aside: in questions it asks for unicast, in answers it flushes caches (§18.12, §18.13).
fn is_internet([high, low]: [u8; 2]) -> bool {
    [high & 0x7f, low] == [0, 1]
}

/// Whether the address is one that a host can have.
pub(crate) fn is_host(address: Ipv4Address) -> bool {
    !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 2] = [0xab, 0xcd];
    const QUESTION: usize = 12;

    fn name() -> Name {
        Name::new("Boot.local.").unwrap()
    }

    fn record(owner: &[u8], kind: u16, class: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
        let [kind, class, len] = [kind, class, data.len() as u16].map(u16::to_be_bytes);
        [owner, &kind, &class, &ttl.to_be_bytes(), &len, data].concat()
    }

    fn answer(records: &[Vec<u8>]) -> Vec<u8> {
        let mut message = question(ID, &name());
        message[2] = 0x84;
        message[7] = records.len() as u8;
        message.extend(records.concat());
        message
    }

    fn heard(message: &[u8]) -> Option<[u8; 4]> {
        read(message, ID, &name()).map(|address| address.octets())
    }

    fn address(last: u8) -> Vec<u8> {
        record(&[0xc0, 12], 1, 1, 10, &[192, 0, 2, last])
    }

    #[test]
    fn the_question_is_an_ordinary_one() {
        let bytes = b"\xab\xcd\0\0\0\x01\0\0\0\0\0\0\x04boot\x05local\0\0\x01\0\x01";
        assert_eq!(question(ID, &name()), bytes);
        assert_eq!(Name::new("BOOT.LOCAL"), Some(name()));
        for none in [".local", "a..local", "", &"a.".repeat(128), &"a".repeat(64)] {
            assert_eq!(Name::new(none), None, "{none}");
        }
        assert!(Name::new(&"a.".repeat(127)).is_some());
    }

    #[test]
    fn an_answer_has_the_address() {
        assert_eq!(heard(&answer(&[address(7)])), Some([192, 0, 2, 7]));
        assert_eq!(
            heard(&answer(&[address(7), address(8)])),
            Some([192, 0, 2, 7]),
            "the first"
        );
        let flushed = record(b"\x04BOOT\x05Local\0", 1, 0x8001, 120, &[192, 0, 2, 7]);
        assert_eq!(
            heard(&answer(&[flushed])),
            Some([192, 0, 2, 7]),
            "its own spelling, and the cache-flush bit"
        );
        let other = record(b"\x05other\xc0\x11", 1, 1, 10, &[192, 0, 2, 6]);
        let text = record(&[0xc0, 12], 16, 1, 10, b"\x02hi");
        assert_eq!(heard(&answer(&[other, text, address(7)])), Some([192, 0, 2, 7]));
        let alias = record(&[0xc0, 12], 5, 1, 10, b"\x01h\xc0\x11");
        let host = record(b"\x01h\xc0\x11", 1, 1, 10, &[192, 0, 2, 9]);
        assert_eq!(heard(&answer(&[alias, host])), Some([192, 0, 2, 9]), "an alias");
        let mut additional = answer(&[address(7)]);
        additional.swap(7, 11);
        assert_eq!(heard(&additional), Some([192, 0, 2, 7]));
    }

    #[test]
    fn what_does_not_answer_the_question_is_none() {
        let good = answer(&[address(7)]);
        type Change = fn(&mut Vec<u8>);
        let changes: [(&str, Change); 12] = [
            ("another id", |message| message[0] ^= 1),
            ("a question", |message| message[2] = 0),
            ("another opcode", |message| message[2] |= 0x08),
            ("an error", |message| message[3] = 3),
            ("no question", |message| message[5] = 0),
            ("two questions", |message| message[5] = 2),
            ("the question for another name", |message| {
                message[QUESTION + 1] = b'r';
            }),
            ("another type", |message| message[QUESTION + 13] = 28),
            ("another class", |message| message[QUESTION + 15] = 3),
            ("fewer records than it says", |message| message[7] = 2),
            ("none", |message| message[7] = 0),
            ("the end is missing", |message| {
                message.pop();
            }),
        ];
        for (what, change) in changes {
            let mut message = good.clone();
            change(&mut message);
            assert_eq!(heard(&message), None, "{what}");
        }
        let records = [
            ("no host", record(&[0xc0, 12], 1, 1, 10, &[0, 0, 0, 0])),
            ("a group", record(&[0xc0, 12], 1, 1, 10, &[224, 0, 0, 251])),
            ("everybody", record(&[0xc0, 12], 1, 1, 10, &[255; 4])),
            ("another class", record(&[0xc0, 12], 1, 3, 10, &[192, 0, 2, 7])),
            ("a goodbye", record(&[0xc0, 12], 1, 1, 0, &[192, 0, 2, 7])),
            ("another name", record(&[0xc0, 17], 1, 1, 10, &[192, 0, 2, 7])),
            ("no address", record(&[0xc0, 12], 1, 1, 10, &[192, 0, 2])),
            ("IPv6", record(&[0xc0, 12], 28, 1, 10, &[1; 16])),
        ];
        for (what, record) in records {
            assert_eq!(heard(&answer(&[record])), None, "{what}");
        }
    }

    #[test]
    fn names_in_hostile_messages_come_to_an_end() {
        // At the question's end: a pointer to itself; a label and a pointer back to it; one beyond the end; no length.
        for owner in [&b"\xc0\x1c"[..], b"\x01a\xc0\x1c", b"\xff\xff", b"\x40", b"\x80"] {
            let bad = record(owner, 1, 1, 10, &[192, 0, 2, 7]);
            assert_eq!(heard(&answer(&[bad, address(7)])), None, "{owner:?}");
        }
        // Pointers to pointers: as many as are followed, and one more.
        for (count, expected) in [(JUMPS - 1, Some([192, 0, 2, 7])), (JUMPS, None)] {
            let mut chain = vec![0xc0, 12];
            // The chain is the data of the first record, which begins twelve bytes after it does.
            for nth in 1..count {
                chain.extend([0xc0, (QUESTION + 16 + 12 + 2 * (nth - 1)) as u8]);
            }
            let text = record(&[0xc0, 12], 16, 1, 10, &chain);
            let last = (QUESTION + 16 + 12 + 2 * (count - 1)) as u8;
            let far = record(&[0xc0, last], 1, 1, 10, &[192, 0, 2, 7]);
            assert_eq!(heard(&answer(&[text, far])), expected, "{count}");
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_survived() {
        let good = answer(&[record(&[0xc0, 12], 5, 1, 10, b"\x01h\xc0\x11"), address(7)]);
        for at in 0..good.len() {
            assert_eq!(heard(&good[..at]), None);
            for byte in 0..=255 {
                let mut message = good.clone();
                message[at] = byte;
                heard(&message);
            }
        }
    }
}
