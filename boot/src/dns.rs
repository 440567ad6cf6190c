//! A question for an address, and its answer (RFC 1035 §4), as servers and responders of multicast DNS (RFC 6762) know them (D-188).

use alloc::vec::Vec;

use smoltcp::wire::Ipv4Address;

/// The longest answer that one datagram carries; fragments are not put together.
pub(crate) const LONGEST_ANSWER: usize = 1472;
/// The longest name in bytes, length bytes included (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 255;
/// How many compression pointers one name may follow.
const JUMPS: usize = 16;
const A: [u8; 2] = [0, 1];
const CNAME: [u8; 2] = [0, 5];

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A DNS server.
    Server,
    /// Everybody on the link.
    Multicast,
}

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

/// A question for the address of `name`.
pub(crate) fn question(id: [u8; 2], name: &Name, manner: Manner) -> Vec<u8> {
    // A server is to ask others, if it must: recursion desired.
    let flags = u8::from(manner == Manner::Server);
    // One question, for type A, class IN.
    let mut message = [&id[..], &[flags, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    message.extend(&name.0);
    message.extend([0, 1, 0, 1]);
    message
}

/// The address in an answer to the question for `name` that had `id`; `Some(None)` when it says that there is none, or that it cannot be
/// found out, and `None` for anything else, a damaged answer included.
pub(crate) fn read(message: &[u8], id: [u8; 2], name: &Name, manner: Manner) -> Option<Option<Ipv4Address>> {
    let [i, d, flags, code, q1, q2, counts @ ..] = *message.first_chunk::<12>()?;
    // A response with opcode 0 that repeats the one question.
    if [i, d] != id || flags & 0xf8 != 0x80 || [q1, q2] != [0, 1] {
        return None;
    }
    let (asked, at) = Name::read(message, 12)?;
    let [t1, t2, class @ ..] = *message.get(at..)?.first_chunk::<4>()?;
    if asked != *name || [t1, t2] != A || !is_internet(class) {
        return None;
    }
    if code & 0x0f != 0 {
        return Some(None);
    }
    let mut at = at.checked_add(4)?;
    let mut wanted = asked;
    let mut found = None;
    let [a1, a2, n1, n2, x1, x2] = counts;
    let [answers, authorities, more] =
        [[a1, a2], [n1, n2], [x1, x2]].map(|count| u32::from(u16::from_be_bytes(count)));
    let records = match manner {
        // A responder may put the address anywhere (RFC 6762 §6.7); what a server adds of its own is not asked for.
        Manner::Multicast => answers.saturating_add(authorities).saturating_add(more),
        Manner::Server => answers,
    };
    // Each has bytes of its own, so that the message ends them, whatever their number.
    for _ in 0..records {
        let (owner, head) = Name::read(message, at)?;
        let [t1, t2, c1, c2, ttl @ .., l1, l2] = *message.get(head..)?.first_chunk::<10>()?;
        let start = head.checked_add(10)?;
        at = start.checked_add(usize::from(u16::from_be_bytes([l1, l2])))?;
        let data = message.get(start..at)?;
        // By multicast, no time to live says goodbye (RFC 6762 §10.1).
        let gone = manner == Manner::Multicast && ttl == [0; 4];
        if owner != wanted || !is_internet([c1, c2]) || gone {
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
    Some(found)
}

/// Class IN. Its top bit is set aside: in questions it asks for unicast, in answers it flushes caches (§18.12, §18.13).
fn is_internet([high, low]: [u8; 2]) -> bool {
    [high & 0x7f, low] == [0, 1]
}

/// Whether the address is one that a host can have.
fn is_host(address: Ipv4Address) -> bool {
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
        let mut message = question(ID, &name(), Manner::Multicast);
        message[2] = 0x84;
        message[7] = records.len() as u8;
        message.extend(records.concat());
        message
    }

    fn heard(message: &[u8]) -> Option<[u8; 4]> {
        read(message, ID, &name(), Manner::Multicast)
            .flatten()
            .map(|address| address.octets())
    }

    fn address(last: u8) -> Vec<u8> {
        record(&[0xc0, 12], 1, 1, 10, &[192, 0, 2, last])
    }

    #[test]
    fn the_question_is_an_ordinary_one() {
        let bytes = b"\xab\xcd\0\0\0\x01\0\0\0\0\0\0\x04boot\x05local\0\0\x01\0\x01";
        assert_eq!(question(ID, &name(), Manner::Multicast), bytes);
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

    /// A server says no, or that it cannot find out; an answer that is kept for no time is one all the same; and what it adds of its own
    /// was not asked for.
    #[test]
    fn servers_say_more_than_responders() {
        let asked = |message: &[u8]| read(message, ID, &name(), Manner::Server);
        assert_eq!(question(ID, &name(), Manner::Server)[..4], [0xab, 0xcd, 1, 0]);
        let good = answer(&[address(7)]);
        let seven = Some(Some(Ipv4Address::new(192, 0, 2, 7)));
        assert_eq!(asked(&good), seven);
        for code in 1..16 {
            let mut message = good.clone();
            message[3] = 0x80 | code;
            assert_eq!(asked(&message), Some(None), "{code}");
            // Who knows neither id nor name says nothing.
            message[QUESTION + 1] ^= 0x20;
            assert_eq!(asked(&message), Some(None), "{code}: in capitals");
            message[QUESTION + 1] ^= 1;
            assert_eq!(asked(&message), None, "{code}: another name");
        }
        assert_eq!(asked(&answer(&[])), Some(None));
        let fresh = record(&[0xc0, 12], 1, 1, 0, &[192, 0, 2, 7]);
        assert_eq!(asked(&answer(&[fresh])), seven);
        let mut additional = good;
        additional.swap(7, 11);
        assert_eq!(asked(&additional), Some(None));
    }

    #[test]
    fn addresses_that_no_host_has_are_skipped() {
        let records = [[0, 0, 0, 0], [255; 4], [224, 0, 0, 1], [10, 0, 0, 1]]
            .map(|address| record(&[0xc0, 12], 1, 1, 10, &address));
        assert_eq!(heard(&answer(&records)), Some([10, 0, 0, 1]));
        assert_eq!(heard(&answer(&records[..1])), None);
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
