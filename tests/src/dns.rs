//! A DNS server (RFC 1035) with a handful of names and any manners.

use std::collections::BTreeMap;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv4Address;

use crate::station::{Datagram, Service};

/// The answer for a name.
pub enum Answer {
    /// Addresses.
    A(Vec<Ipv4Address>),
    /// An alias and the alias's addresses, in one answer.
    Cname(String, Vec<Ipv4Address>),
    /// The response code alone: 3 is NXDOMAIN, 2 SERVFAIL.
    Code(u8),
    /// TC set, no answers: the rest would need TCP.
    Truncated,
    /// Nothing at all.
    Silence,
}

type Tamper = Box<dyn FnMut(&mut Vec<u8>)>;

/// A server; names that it does not know are NXDOMAIN.
#[derive(Default)]
pub struct Dns {
    names: BTreeMap<String, Answer>,
    /// Changes an answer's bytes before they leave.
    pub tamper: Option<Tamper>,
    /// A stranger, whose NXDOMAIN from mDNS's port arrives before each answer.
    pub forger: Option<Ipv4Address>,
    /// Names asked for, in order.
    pub log: Vec<String>,
}

impl Dns {
    /// One without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a name.
    pub fn name(mut self, name: &str, answer: Answer) -> Self {
        self.names.insert(name.into(), answer);
        self
    }
}

impl Service for Dns {
    fn datagram(
        &mut self,
        _: Instant,
        address: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)> {
        if datagram.destination != (address, 53) {
            return Vec::new();
        }
        let Some((name, question)) = parse_question(&datagram.payload) else {
            return Vec::new();
        };
        self.log.push(name.clone());
        let mut reply = datagram.payload[..2].to_vec();
        match self.names.get(&name).unwrap_or(&Answer::Code(3)) {
            Answer::Silence => return Vec::new(),
            Answer::Code(code) => head(&mut reply, 0x8180 | u16::from(*code), 0, question),
            Answer::Truncated => head(&mut reply, 0x8380, 0, question),
            Answer::A(addresses) => reply = reply_with(&datagram.payload, 0x8180, question, addresses),
            Answer::Cname(alias, addresses) => {
                head(&mut reply, 0x8180, 1 + addresses.len() as u16, question);
                let alias = labels(alias);
                record(&mut reply, &[0xc0, 12], 5, &alias);
                for address in addresses {
                    record(&mut reply, &alias, 1, &address.octets());
                }
            }
        }
        if let Some(tamper) = &mut self.tamper {
            tamper(&mut reply);
        }
        let from = |source, payload| Datagram {
            source_mac: datagram.destination_mac,
            destination_mac: datagram.source_mac,
            source,
            destination: datagram.source,
            payload,
        };
        let forged = self.forger.map(|forger| {
            let mut payload = datagram.payload[..2].to_vec();
            head(&mut payload, 0x8183, 0, question);
            (Duration::from_micros(500), from((forger, 5353), payload))
        });
        let honest = (Duration::from_millis(1), from(datagram.destination, reply));
        forged.into_iter().chain([honest]).collect()
    }
}

/// The answer to `query` with these flags and addresses.
pub(crate) fn reply_with(query: &[u8], flags: u16, question: &[u8], addresses: &[Ipv4Address]) -> Vec<u8> {
    let mut reply = query[..2].to_vec();
    head(&mut reply, flags, addresses.len() as u16, question);
    for address in addresses {
        record(&mut reply, &[0xc0, 12], 1, &address.octets());
    }
    reply
}

fn head(reply: &mut Vec<u8>, flags: u16, answers: u16, question: &[u8]) {
    for word in [flags, 1, answers, 0, 0] {
        reply.extend(word.to_be_bytes());
    }
    reply.extend(question);
}

fn record(reply: &mut Vec<u8>, owner: &[u8], kind: u16, data: &[u8]) {
    reply.extend(owner);
    for word in [kind, 1, 0, 60, data.len() as u16] {
        reply.extend(word.to_be_bytes());
    }
    reply.extend(data);
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// The one question's name in lower case, and its bytes.
pub(crate) fn parse_question(query: &[u8]) -> Option<(String, &[u8])> {
    let question = query.get(12..)?;
    let mut name: Vec<String> = Vec::new();
    let mut at = 0;
    loop {
        let len = usize::from(*question.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        name.push(
            std::str::from_utf8(question.get(at..at + len)?)
                .ok()?
                .to_ascii_lowercase(),
        );
        at += len;
    }
    let question = question.get(..at + 4)?;
    (question[at..] == [0, 1, 0, 1]).then(|| (name.join("."), question))
}
