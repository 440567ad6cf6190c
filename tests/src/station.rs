//! A host that speaks ARP (RFC 826) and UDP, and nothing else: enough for DHCP and DNS servers.

use std::cell::RefCell;
use std::rc::Rc;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    IpAddress, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use crate::lan::Host;

/// One UDP datagram with all its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// The sender's MAC address.
    pub source_mac: EthernetAddress,
    /// The receiver's.
    pub destination_mac: EthernetAddress,
    /// The sender.
    pub source: (Ipv4Address, u16),
    /// The receiver.
    pub destination: (Ipv4Address, u16),
    /// The payload.
    pub payload: Vec<u8>,
}

/// A service over UDP: it answers datagrams, each after a delay.
pub trait Service {
    /// Takes one; the station's own address is `address`.
    fn datagram(
        &mut self,
        now: Instant,
        address: Ipv4Address,
        datagram: &Datagram,
    ) -> Vec<(Duration, Datagram)>;

    /// Sends what is due now without a request.
    fn due(&mut self, _now: Instant) -> Vec<Datagram> {
        Vec::new()
    }

    /// When the next such sending is due.
    fn next(&self) -> Option<Instant> {
        None
    }
}

/// No service, only ARP: a stranger who already has the address.
impl Service for () {
    fn datagram(&mut self, _: Instant, _: Ipv4Address, _: &Datagram) -> Vec<(Duration, Datagram)> {
        Vec::new()
    }
}

/// Frames that are sent later.
#[derive(Default)]
pub(crate) struct Pending(Vec<(Instant, Vec<u8>)>);

impl Pending {
    pub(crate) fn add(&mut self, at: Instant, frame: Vec<u8>) {
        self.0.push((at, frame));
    }

    /// Sends those that are due, in the order in which they were added.
    pub(crate) fn send(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        for (at, frame) in std::mem::take(&mut self.0) {
            if at <= now {
                send(frame);
            } else {
                self.0.push((at, frame));
            }
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().map(|(at, _)| *at).min()
    }
}

/// A host with one address and one service.
pub struct Station<S> {
    mac: EthernetAddress,
    address: Ipv4Address,
    service: Rc<RefCell<S>>,
    pending: Pending,
}

impl<S> Station<S> {
    /// At `address`, with a MAC address derived from it.
    pub fn new(address: Ipv4Address, service: Rc<RefCell<S>>) -> Self {
        Self {
            mac: mac_of(address),
            address,
            service,
            pending: Pending::default(),
        }
    }
}

/// The MAC address of the simulated host at `address`: locally administered, and readable in a capture.
pub(crate) fn mac_of(address: Ipv4Address) -> EthernetAddress {
    let [a, b, c, d] = address.octets();
    EthernetAddress([2, 0, a, b, c, d])
}

impl<S: Service> Host for Station<S> {
    fn mac(&self) -> EthernetAddress {
        self.mac
    }

    fn receive(&mut self, now: Instant, frame: &[u8]) {
        if let Some(reply) = arp_reply(self.mac, self.address, frame) {
            self.pending.add(now, reply);
        }
        if let Some(datagram) = parse(frame)
            && (datagram.destination.0 == self.address
                || datagram.destination.0.is_broadcast()
                || datagram.destination.0.is_multicast())
        {
            let answers = self.service.borrow_mut().datagram(now, self.address, &datagram);
            for (delay, answer) in answers {
                self.pending.add(now + delay, emit(self.mac, &answer));
            }
        }
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        if self.service.borrow().next().is_some_and(|at| at <= now) {
            let due = self.service.borrow_mut().due(now);
            due.iter().for_each(|datagram| send(emit(self.mac, datagram)));
        }
        self.pending.send(now, send);
    }

    fn next(&mut self, _: Instant) -> Option<Instant> {
        let pending = self.pending.next();
        pending.into_iter().chain(self.service.borrow().next()).min()
    }
}

fn arp_reply(mac: EthernetAddress, address: Ipv4Address, frame: &[u8]) -> Option<Vec<u8>> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    if frame.ethertype() != EthernetProtocol::Arp {
        return None;
    }
    let ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok()?
    else {
        return None;
    };
    if target_protocol_addr != address {
        return None;
    }
    let reply = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let ethernet = EthernetRepr {
        src_addr: mac,
        dst_addr: source_hardware_addr,
        ethertype: EthernetProtocol::Arp,
    };
    let mut bytes = vec![0; ethernet.buffer_len() + reply.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    reply.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    Some(bytes)
}

fn parse(frame: &[u8]) -> Option<Datagram> {
    let checksums = ChecksumCapabilities::default();
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let repr = Ipv4Repr::parse(&ip, &checksums).ok()?;
    if repr.next_header != IpProtocol::Udp {
        return None;
    }
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    let ports = UdpRepr::parse(
        &udp,
        &IpAddress::Ipv4(repr.src_addr),
        &IpAddress::Ipv4(repr.dst_addr),
        &checksums,
    )
    .ok()?;
    Some(Datagram {
        source_mac: ethernet.src_addr(),
        destination_mac: ethernet.dst_addr(),
        source: (repr.src_addr, ports.src_port),
        destination: (repr.dst_addr, ports.dst_port),
        payload: udp.payload().to_vec(),
    })
}

pub(crate) fn emit(mac: EthernetAddress, datagram: &Datagram) -> Vec<u8> {
    let ports = UdpRepr {
        src_port: datagram.source.1,
        dst_port: datagram.destination.1,
    };
    let ip = Ipv4Repr {
        src_addr: datagram.source.0,
        dst_addr: datagram.destination.0,
        next_header: IpProtocol::Udp,
        payload_len: ports.header_len() + datagram.payload.len(),
        hop_limit: 64,
    };
    let ethernet = EthernetRepr {
        src_addr: mac,
        dst_addr: datagram.destination_mac,
        ethertype: EthernetProtocol::Ipv4,
    };
    let mut bytes = vec![0; ethernet.buffer_len() + ip.buffer_len() + ip.payload_len];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    ports.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(ip.src_addr),
        &IpAddress::Ipv4(ip.dst_addr),
        datagram.payload.len(),
        |payload| payload.copy_from_slice(&datagram.payload),
        &ChecksumCapabilities::default(),
    );
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_survives_its_own_wire_form() {
        let datagram = Datagram {
            source_mac: mac_of(Ipv4Address::new(10, 0, 0, 1)),
            destination_mac: EthernetAddress::BROADCAST,
            source: (Ipv4Address::new(10, 0, 0, 1), 67),
            destination: (Ipv4Address::BROADCAST, 68),
            payload: b"hello".to_vec(),
        };
        assert_eq!(parse(&emit(datagram.source_mac, &datagram)), Some(datagram));
    }
}
