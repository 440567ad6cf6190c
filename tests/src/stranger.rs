//! A stranger on the LAN: hears broadcasts and what is sent to its address, answers what it likes, and floods.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

use crate::lan::Host;
use crate::node::MAC;
use crate::station::{Datagram, Pending, emit};

/// What it sends on hearing a frame, each after a delay.
type Ear = Box<dyn FnMut(Instant, &[u8]) -> Vec<(Duration, Vec<u8>)>>;
/// The `n`th thing that it sends by itself.
type Mouth = Box<dyn FnMut(u64) -> Vec<Vec<u8>>>;

/// The host. Its address may be another host's, whose frames it hears then, as a port of a hub does.
pub struct Stranger {
    mac: EthernetAddress,
    ear: Ear,
    flood: Option<(Duration, Mouth)>,
    due: Instant,
    until: Instant,
    nth: u64,
    pending: Pending,
}

impl Stranger {
    /// The address that it has of its own.
    pub const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x67]);

    /// One that answers what `ear` hears.
    pub fn hearing(ear: impl FnMut(Instant, &[u8]) -> Vec<(Duration, Vec<u8>)> + 'static) -> Self {
        Self {
            mac: Self::MAC,
            ear: Box::new(ear),
            flood: None,
            due: Instant::ZERO,
            until: Instant::ZERO,
            nth: 0,
            pending: Pending::default(),
        }
    }

    /// One that sends what `mouth` makes, each `pause`, until `until`.
    pub fn flooding(
        pause: Duration,
        until: Duration,
        mouth: impl FnMut(u64) -> Vec<Vec<u8>> + 'static,
    ) -> Self {
        let mut stranger = Self::hearing(|_, _| Vec::new());
        stranger.flood = Some((pause, Box::new(mouth)));
        stranger.until = Instant::ZERO + until;
        stranger
    }

    /// Hears what is sent to `mac`.
    pub fn beside(mut self, mac: EthernetAddress) -> Self {
        self.mac = mac;
        self
    }
}

impl Host for Stranger {
    fn mac(&self) -> EthernetAddress {
        self.mac
    }

    fn receive(&mut self, now: Instant, frame: &[u8]) {
        for (delay, answer) in (self.ear)(now, frame) {
            self.pending.add(now + delay, answer);
        }
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        if let Some((pause, mouth)) = &mut self.flood {
            while self.due <= now && self.due < self.until {
                mouth(self.nth).into_iter().for_each(&mut *send);
                self.nth += 1;
                self.due += *pause;
            }
        }
        self.pending.send(now, send);
    }

    fn next(&mut self, _: Instant) -> Option<Instant> {
        let pending = self.pending.next();
        let due = self
            .flood
            .as_ref()
            .map(|_| self.due)
            .filter(|due| *due < self.until);
        pending.into_iter().chain(due).min()
    }
}

fn ethernet(
    from: EthernetAddress,
    to: EthernetAddress,
    ethertype: EthernetProtocol,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    EthernetRepr {
        src_addr: from,
        dst_addr: to,
        ethertype,
    }
    .emit(&mut frame);
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

/// An ARP packet for the node: that the host `mac`, `address` asks or answers, about the node's address.
pub fn arp(
    operation: ArpOperation,
    mac: EthernetAddress,
    address: Ipv4Address,
    node: Ipv4Address,
) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: mac,
        source_protocol_addr: address,
        target_hardware_addr: MAC,
        target_protocol_addr: node,
    };
    let mut payload = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut payload[..]));
    let to = match operation {
        ArpOperation::Request => EthernetAddress::BROADCAST,
        _ => MAC,
    };
    ethernet(mac, to, EthernetProtocol::Arp, &payload)
}

fn ipv4(
    from: Ipv4Address,
    to: Ipv4Address,
    next_header: IpProtocol,
    len: usize,
    payload: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header,
        payload_len: len,
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + len];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    payload(packet.payload_mut());
    ethernet(Stranger::MAC, MAC, EthernetProtocol::Ipv4, &bytes)
}

/// An ICMP packet to the node.
pub fn icmp(from: Ipv4Address, to: Ipv4Address, repr: &Icmpv4Repr<'_>) -> Vec<u8> {
    ipv4(from, to, IpProtocol::Icmp, repr.buffer_len(), |payload| {
        repr.emit(
            &mut Icmpv4Packet::new_unchecked(payload),
            &ChecksumCapabilities::default(),
        );
    })
}

/// A UDP datagram to the node.
pub fn udp(source: (Ipv4Address, u16), destination: (Ipv4Address, u16), payload: &[u8]) -> Vec<u8> {
    let datagram = Datagram {
        source_mac: Stranger::MAC,
        destination_mac: MAC,
        source,
        destination,
        payload: payload.to_vec(),
    };
    emit(Stranger::MAC, &datagram)
}

/// A TCP segment to the node.
pub fn tcp(
    source: (Ipv4Address, u16),
    destination: (Ipv4Address, u16),
    control: TcpControl,
    sequence: u32,
    acknowledged: Option<u32>,
    payload: &[u8],
) -> Vec<u8> {
    let number = |number: u32| TcpSeqNumber(number.cast_signed());
    let repr = TcpRepr {
        src_port: source.1,
        dst_port: destination.1,
        control,
        seq_number: number(sequence),
        ack_number: acknowledged.map(number),
        window_len: 65_000,
        window_scale: None,
        max_seg_size: (control == TcpControl::Syn).then_some(1460),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    ipv4(
        source.0,
        destination.0,
        IpProtocol::Tcp,
        repr.buffer_len(),
        |bytes| {
            repr.emit(
                &mut TcpPacket::new_unchecked(bytes),
                &source.0.into(),
                &destination.0.into(),
                &ChecksumCapabilities::default(),
            );
        },
    )
}
