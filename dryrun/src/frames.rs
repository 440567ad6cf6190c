//! ARP (RFC 826) and UDP over IPv4 as Ethernet frames: what the gateway answers without a TCP stack.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    IpAddress, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpPacket, UdpPacket, UdpRepr,
};

/// The gateway's hardware address, locally administered.
pub(crate) const GATEWAY_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

/// An address and a port.
pub(crate) type Place = (Ipv4Address, u16);

/// A datagram and its two ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) payload: Vec<u8>,
}

/// The kinds of frames from the node that the gateway tells apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// An ARP request, with the answer to it.
    Arp {
        /// The address that is asked for.
        target: Ipv4Address,
        /// The frame that answers.
        reply: Vec<u8>,
    },
    Udp(Datagram),
    /// The first segment of a connection, from this port of the node.
    Syn(u16, Place),
    /// Another segment, or what the TCP stack asked for by ARP.
    Stack,
    Other,
}

/// Sorts a frame.
pub(crate) fn parse(bytes: &[u8]) -> Frame {
    read(bytes).unwrap_or(Frame::Other)
}

fn read(bytes: &[u8]) -> Option<Frame> {
    let ethernet = EthernetFrame::new_checked(bytes).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Arp => arp(ethernet.payload()),
        EthernetProtocol::Ipv4 => {
            let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            let (from, to) = (packet.src_addr(), packet.dst_addr());
            match packet.next_header() {
                IpProtocol::Udp => {
                    let udp = UdpPacket::new_checked(packet.payload()).ok()?;
                    Some(Frame::Udp(Datagram {
                        from: (from, udp.src_port()),
                        to: (to, udp.dst_port()),
                        payload: udp.payload().to_vec(),
                    }))
                }
                IpProtocol::Tcp => {
                    let tcp = TcpPacket::new_checked(packet.payload()).ok()?;
                    Some(if tcp.syn() && !tcp.ack() {
                        Frame::Syn(tcp.src_port(), (to, tcp.dst_port()))
                    } else {
                        Frame::Stack
                    })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn arp(payload: &[u8]) -> Option<Frame> {
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&ArpPacket::new_checked(payload).ok()?).ok()?
    else {
        return None;
    };
    if operation == ArpOperation::Reply {
        return Some(Frame::Stack);
    }
    let reply = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: GATEWAY_MAC,
        source_protocol_addr: target_protocol_addr,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let mut bytes = ethernet(source_hardware_addr, EthernetProtocol::Arp, reply.buffer_len());
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    reply.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    Some(Frame::Arp {
        target: target_protocol_addr,
        reply: bytes,
    })
}

/// An Ethernet header, with `room` zero bytes behind it.
fn ethernet(to: EthernetAddress, ethertype: EthernetProtocol, room: usize) -> Vec<u8> {
    let head = EthernetRepr {
        src_addr: GATEWAY_MAC,
        dst_addr: to,
        ethertype,
    };
    let mut bytes = vec![0; head.buffer_len() + room];
    head.emit(&mut EthernetFrame::new_unchecked(&mut bytes[..]));
    bytes
}

/// A frame that carries `datagram` to `mac`.
pub(crate) fn emit(mac: EthernetAddress, datagram: &Datagram) -> Vec<u8> {
    let ports = UdpRepr {
        src_port: datagram.from.1,
        dst_port: datagram.to.1,
    };
    let ip = Ipv4Repr {
        src_addr: datagram.from.0,
        dst_addr: datagram.to.0,
        next_header: IpProtocol::Udp,
        payload_len: ports.header_len() + datagram.payload.len(),
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut bytes = ethernet(mac, EthernetProtocol::Ipv4, ip.buffer_len() + ip.payload_len);
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    ports.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(ip.src_addr),
        &IpAddress::Ipv4(ip.dst_addr),
        datagram.payload.len(),
        |payload| payload.copy_from_slice(&datagram.payload),
        &checksums,
    );
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_survives_its_wire_form() {
        let datagram = Datagram {
            from: (Ipv4Address::new(10, 0, 2, 2), 67),
            to: (Ipv4Address::BROADCAST, 68),
            payload: b"hello".to_vec(),
        };
        let frame = emit(EthernetAddress::BROADCAST, &datagram);
        assert_eq!(parse(&frame), Frame::Udp(datagram));
        assert_eq!(parse(&frame[..20]), Frame::Other);
    }
}
