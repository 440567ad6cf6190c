//! DHCP and ARP in Ethernet frames, beside the IP stack: a client without an address, and probes (RFC 5227) (D-17).

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

/// The client's port, which servers send replies to.
const CLIENT_PORT: u16 = 68;

/// One end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) mac: EthernetAddress,
    pub(super) ip: Ipv4Address,
}

impl Peer {
    /// Every host on the link.
    pub(super) const ALL: Self = Self {
        mac: EthernetAddress::BROADCAST,
        ip: Ipv4Address::BROADCAST,
    };
}

/// A frame, as far as it concerns the DHCP client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard<'a> {
    /// A datagram for port 68.
    Dhcp { from: Peer, payload: &'a [u8] },
    /// An ARP packet, request or reply.
    Arp { sender: Peer, target: Ipv4Address },
}

impl<'a> Heard<'a> {
    /// Reads `frame`; `None` when it is for another host, malformed, or neither DHCP nor ARP.
    pub(super) fn read(
        frame: &'a [u8],
        own: EthernetAddress,
        checksums: &ChecksumCapabilities,
    ) -> Option<Self> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        match frame.ethertype() {
            EthernetProtocol::Arp => {
                let arp = ArpPacket::new_checked(frame.payload()).ok()?;
                let ArpRepr::EthernetIpv4 {
                    source_hardware_addr: mac,
                    source_protocol_addr: ip,
                    target_protocol_addr: target,
                    ..
                } = ArpRepr::parse(&arp).ok()?
                else {
                    return None;
                };
                Some(Self::Arp {
                    sender: Peer { mac, ip },
                    target,
                })
            }
            EthernetProtocol::Ipv4 => {
                let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
                // This comes first because nearly every frame is a segment of a download.
                if packet.next_header() != IpProtocol::Udp {
                    return None;
                }
                let ip = Ipv4Repr::parse(&packet, checksums).ok()?;
                let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
                if datagram.dst_port() != CLIENT_PORT
                    || !(frame.dst_addr() == own || frame.dst_addr().is_broadcast())
                {
                    return None;
                }
                UdpRepr::parse(&datagram, &ip.src_addr.into(), &ip.dst_addr.into(), checksums).ok()?;
                let from = Peer {
                    mac: frame.src_addr(),
                    ip: ip.src_addr,
                };
                Some(Self::Dhcp {
                    from,
                    payload: datagram.payload(),
                })
            }
            _ => None,
        }
    }
}

/// A datagram from our port 68.
pub(super) fn datagram(
    from: Peer,
    to: Peer,
    port: u16,
    payload: &[u8],
    checksums: &ChecksumCapabilities,
) -> Vec<u8> {
    let udp = UdpRepr {
        src_port: CLIENT_PORT,
        dst_port: port,
    };
    let udp_len = udp.header_len().saturating_add(payload.len());
    let ip = Ipv4Repr {
        src_addr: from.ip,
        dst_addr: to.ip,
        next_header: IpProtocol::Udp,
        payload_len: udp_len,
        hop_limit: 64,
    };
    let mut frame = ethernet(
        from.mac,
        to.mac,
        EthernetProtocol::Ipv4,
        ip.buffer_len().saturating_add(udp_len),
    );
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    ip.emit(&mut packet, checksums);
    udp.emit(
        &mut UdpPacket::new_unchecked(packet.payload_mut()),
        &from.ip.into(),
        &to.ip.into(),
        payload.len(),
        |buffer| buffer.copy_from_slice(payload),
        checksums,
    );
    frame.into_inner()
}

/// Asks the link whether anybody has `address` (RFC 5227 §2.1.1).
pub(super) fn arp_probe(own: EthernetAddress, address: Ipv4Address) -> Vec<u8> {
    arp(
        ArpOperation::Request,
        own,
        Ipv4Address::UNSPECIFIED,
        None,
        address,
    )
}

/// Tells the link that `address` is ours (RFC 5227 §2.3).
pub(super) fn arp_announcement(own: EthernetAddress, address: Ipv4Address) -> Vec<u8> {
    arp(ArpOperation::Request, own, address, None, address)
}

/// An ARP packet in which `own` says that `sender` is its address (RFC 826), to the host `to`, or to everybody.
pub(crate) fn arp(
    operation: ArpOperation,
    own: EthernetAddress,
    sender: Ipv4Address,
    to: Option<EthernetAddress>,
    target: Ipv4Address,
) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: own,
        source_protocol_addr: sender,
        target_hardware_addr: to.unwrap_or(EthernetAddress([0; 6])),
        target_protocol_addr: target,
    };
    let mut frame = ethernet(
        own,
        to.unwrap_or(EthernetAddress::BROADCAST),
        EthernetProtocol::Arp,
        arp.buffer_len(),
    );
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    frame.into_inner()
}

/// A frame with room for `payload` bytes.
pub(crate) fn ethernet(
    src_addr: EthernetAddress,
    dst_addr: EthernetAddress,
    ethertype: EthernetProtocol,
    payload: usize,
) -> EthernetFrame<Vec<u8>> {
    let mut frame = EthernetFrame::new_unchecked(vec![0; EthernetFrame::<&[u8]>::buffer_len(payload)]);
    EthernetRepr {
        src_addr,
        dst_addr,
        ethertype,
    }
    .emit(&mut frame);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Peer = Peer {
        mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
        ip: Ipv4Address::new(10, 0, 0, 9),
    };
    const SERVER: Peer = Peer {
        mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
        ip: Ipv4Address::new(10, 0, 0, 1),
    };

    fn read(frame: &[u8]) -> Option<Heard<'_>> {
        Heard::read(frame, OWN.mac, &ChecksumCapabilities::default())
    }

    fn frame_to(to: Peer, port: u16) -> Vec<u8> {
        datagram(SERVER, to, port, b"hello", &ChecksumCapabilities::default())
    }

    #[test]
    fn datagrams_to_port_68_are_heard_unicast_and_broadcast() {
        for to in [
            OWN,
            Peer::ALL,
            Peer {
                ip: Ipv4Address::BROADCAST,
                ..OWN
            },
        ] {
            assert_eq!(
                read(&frame_to(to, 68)),
                Some(Heard::Dhcp {
                    from: SERVER,
                    payload: b"hello"
                })
            );
        }
        assert_eq!(read(&frame_to(OWN, 67)), None);
        assert_eq!(read(&frame_to(SERVER, 68)), None);
    }

    #[test]
    fn every_flipped_byte_behind_the_ethernet_header_fails_a_check() {
        let good = frame_to(OWN, 68);
        for at in 14..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x5a;
            // The UDP checksum covers addresses, ports, length and payload; the IP checksum its header.
            assert_eq!(read(&bad), None, "byte {at}");
        }
        for len in 0..good.len() {
            assert_eq!(read(&good[..len]), None);
        }
    }

    #[test]
    fn padding_after_the_packet_is_ignored() {
        let mut padded = frame_to(OWN, 68);
        padded.resize(60, 0xaa);
        assert_eq!(
            read(&padded),
            Some(Heard::Dhcp {
                from: SERVER,
                payload: b"hello"
            })
        );
    }

    #[test]
    fn a_probe_has_no_sender_address_and_an_announcement_has() {
        let sender = |ip| Peer { mac: OWN.mac, ip };
        let probe = arp_probe(OWN.mac, OWN.ip);
        assert_eq!(probe.len(), 42);
        assert_eq!(
            read(&probe),
            Some(Heard::Arp {
                sender: sender(Ipv4Address::UNSPECIFIED),
                target: OWN.ip
            })
        );
        let announcement = arp_announcement(OWN.mac, OWN.ip);
        assert_eq!(
            read(&announcement),
            Some(Heard::Arp {
                sender: OWN,
                target: OWN.ip
            })
        );
    }
}
