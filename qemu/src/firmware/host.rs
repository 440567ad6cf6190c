//! The stage's ARP, IPv4 and UDP over its cable: one address, one conversation at a time, no fragments.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cable::Cable;

const ARP: [u8; 2] = [0x08, 0x06];
const IPV4: [u8; 2] = [0x08, 0x00];

/// The board on its network.
#[derive(Debug)]
pub(crate) struct Host {
    cable: Cable,
    mac: [u8; 6],
    /// Its address, zero until it has one.
    pub(crate) address: Ipv4Addr,
    /// Whether it answers ARP: a Pi 3's ROM does not (M).
    pub(crate) answers: bool,
    neighbours: HashMap<Ipv4Addr, [u8; 6]>,
}

/// A datagram that came.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) from: (Ipv4Addr, u16),
    pub(crate) bytes: Vec<u8>,
}

impl Host {
    pub(crate) fn new(cable: Cable, mac: [u8; 6]) -> Self {
        Self {
            cable,
            mac,
            address: Ipv4Addr::UNSPECIFIED,
            answers: true,
            neighbours: HashMap::new(),
        }
    }

    /// Sends a datagram from `port`.
    pub(crate) fn send(&mut self, port: u16, to: (Ipv4Addr, u16), bytes: &[u8]) -> Result<()> {
        let mac = if to.0.is_broadcast() {
            [0xff; 6]
        } else {
            self.resolve(to.0)?
        };
        let frame = datagram(self.mac, mac, (self.address, port), to, bytes)?;
        self.cable.send(&frame)
    }

    /// The next datagram to `port`, before `deadline`.
    pub(crate) fn receive(&mut self, port: u16, deadline: Instant) -> Result<Option<Datagram>> {
        while let Some(frame) = self.cable.receive(deadline)? {
            if self.answer_arp(&frame)? {
                continue;
            }
            if let Some((to, datagram)) = taken_apart(&frame, self.mac)
                && to == port
            {
                return Ok(Some(datagram));
            }
        }
        Ok(None)
    }

    fn resolve(&mut self, address: Ipv4Addr) -> Result<[u8; 6]> {
        for _ in 0..5 {
            if let Some(mac) = self.neighbours.get(&address) {
                return Ok(*mac);
            }
            let question = arp(1, (self.mac, self.address), ([0; 6], address));
            self.cable.send(&ethernet([0xff; 6], self.mac, ARP, &question))?;
            let deadline = Instant::now() + Duration::from_secs(1);
            while !self.neighbours.contains_key(&address)
                && let Some(frame) = self.cable.receive(deadline)?
            {
                self.answer_arp(&frame)?;
            }
        }
        bail!("nobody answers ARP for {address}")
    }

    /// Takes an ARP packet; false when it is another.
    fn answer_arp(&mut self, frame: &[u8]) -> Result<bool> {
        let Some(packet) = behind(frame, ARP) else {
            return Ok(false);
        };
        let field = |at: usize| {
            let six = packet.get(at..at + 6)?.try_into().ok()?;
            let four: [u8; 4] = packet.get(at + 6..at + 10)?.try_into().ok()?;
            Some((six, Ipv4Addr::from(four)))
        };
        let (Some(sender), Some(target)) = (field(8), field(18)) else {
            return Ok(true);
        };
        if target.1 == self.address && !self.address.is_unspecified() {
            self.neighbours.insert(sender.1, sender.0);
            if packet.get(7) == Some(&1) && self.answers {
                let answer = arp(2, (self.mac, self.address), sender);
                self.cable.send(&ethernet(sender.0, self.mac, ARP, &answer))?;
            }
        }
        Ok(true)
    }
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind, payload].concat()
}

fn arp(operation: u8, sender: ([u8; 6], Ipv4Addr), target: ([u8; 6], Ipv4Addr)) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    for (mac, address) in [sender, target] {
        packet.extend(mac);
        packet.extend(address.octets());
    }
    packet
}

/// A frame with a datagram in it. UDP's checksum is left out, as a ROM may.
fn datagram(
    from_mac: [u8; 6],
    to_mac: [u8; 6],
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    bytes: &[u8],
) -> Result<Vec<u8>> {
    let udp = u16::try_from(bytes.len() + 8).context("a datagram of 64 KiB")?;
    let length = udp.checked_add(20).context("a datagram of 64 KiB")?;
    let mut head = vec![0x45, 0];
    head.extend(length.to_be_bytes());
    head.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    head.extend(from.0.octets());
    head.extend(to.0.octets());
    let sum: u32 = head
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    head[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    for word in [from.1, to.1, udp, 0] {
        head.extend(word.to_be_bytes());
    }
    head.extend(bytes);
    Ok(ethernet(to_mac, from_mac, IPV4, &head))
}

/// What is behind an Ethernet header of this kind.
fn behind(frame: &[u8], kind: [u8; 2]) -> Option<&[u8]> {
    (frame.get(12..14)? == kind).then(|| frame.get(14..))?
}

/// A datagram to us or to all, and its port.
fn taken_apart(frame: &[u8], mac: [u8; 6]) -> Option<(u16, Datagram)> {
    let to = frame.get(..6)?;
    if to != mac && to != [0xff; 6] {
        return None;
    }
    let packet = behind(frame, IPV4)?;
    let length = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    let packet = packet.get(..length)?;
    // UDP, whole.
    if packet.get(9) != Some(&17) || u16::from_be_bytes(packet.get(6..8)?.try_into().ok()?) & 0x3fff != 0 {
        return None;
    }
    let from: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
    let udp = packet.get(usize::from(packet.first()? & 15) * 4..)?;
    let word = |at: usize| Some(u16::from_be_bytes(udp.get(at..at + 2)?.try_into().ok()?));
    let bytes = udp.get(8..usize::from(word(4)?))?.to_vec();
    let from = (Ipv4Addr::from(from), word(0)?);
    Some((word(2)?, Datagram { from, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_is_taken_apart() {
        let (me, you) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let (from, to) = (
            (Ipv4Addr::new(192, 168, 77, 50), 1024),
            (Ipv4Addr::new(192, 168, 77, 1), 69),
        );
        let mut frame = datagram(me, you, from, to, b"hello").unwrap();
        // The check sum that the example of another implementation has: RFC 1071 over the head gives all ones.
        let sum: u32 = frame[14..34]
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        frame.resize(60, 0);
        let (port, datagram) = taken_apart(&frame, you).unwrap();
        assert_eq!((port, datagram.from, &*datagram.bytes), (69, from, &b"hello"[..]));
        assert!(taken_apart(&frame, me).is_none());
        frame[20] = 0x20; // more fragments
        assert!(taken_apart(&frame, you).is_none());
        assert!((0..frame.len()).all(|end| taken_apart(&frame[..end], you).is_none()));
    }
}
