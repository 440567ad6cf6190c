//! A responder of multicast DNS (RFC 6762) with one name, that answers as §6.7 says or as badly as a test wants.

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use crate::dns::{parse_question, reply_with};
use crate::station::{Datagram, Service};

/// Spoils an answer.
pub type Spoil = fn(&mut Datagram);

/// A responder.
pub struct Mdns {
    name: String,
    address: Ipv4Address,
    /// How many questions go unanswered first.
    pub deaf: u32,
    /// Spoilt answers, with a wrong address, that come before the good one.
    pub bad: Vec<Spoil>,
    /// The times of all questions.
    pub asked: Vec<Instant>,
}

impl Mdns {
    /// The host `name` at `address`.
    pub fn new(name: &str, address: impl Into<Ipv4Address>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            deaf: 0,
            bad: Vec::new(),
            asked: Vec::new(),
        }
    }
}

impl Service for Mdns {
    fn datagram(
        &mut self,
        now: Instant,
        address: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)> {
        if datagram.destination != (Ipv4Address::new(224, 0, 0, 251), 5353) {
            return Vec::new();
        }
        assert_eq!(datagram.destination_mac, EthernetAddress([1, 0, 0x5e, 0, 0, 251]));
        assert!(
            datagram.source.1 >= 1024 && datagram.source.1 != 5353,
            "a port of its own"
        );
        self.asked.push(now);
        let (name, question) = parse_question(&datagram.payload).expect("one question of type A");
        if name != self.name || self.asked.len() <= self.deaf as usize {
            return Vec::new();
        }
        let answer = |with: Ipv4Address| Datagram {
            source_mac: datagram.destination_mac,
            destination_mac: datagram.source_mac,
            source: (address, 5353),
            destination: datagram.source,
            payload: reply_with(&datagram.payload, 0x8400, question, &[with]),
        };
        let mut answers: Vec<Datagram> = self
            .bad
            .iter()
            .map(|spoil| {
                let mut bad = answer(Ipv4Address::new(192, 168, 7, 66));
                spoil(&mut bad);
                bad
            })
            .collect();
        answers.push(answer(self.address));
        let at = |nth: usize| Duration::from_millis(20 + nth as u64);
        answers
            .into_iter()
            .enumerate()
            .map(|(nth, answer)| (at(nth), answer))
            .collect()
    }
}
