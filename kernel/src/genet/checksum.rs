//! Whose word counts for a received TCP or UDP checksum: GENET's where it gives one, else a sum in software (RFC 1071).

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, TcpPacket, UdpPacket,
};

/// Whether descriptors' checksum bit can be believed.
///
/// Nobody publishes what the bit means to the last detail, and in a transmit descriptor the same place is an ownership
/// flag. ARP frames have no such checksum: one that comes without the bit proves that the bit is not always set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Trust {
    /// No ARP frame was seen yet: the bit counts for nothing.
    #[default]
    Untested,
    /// The bit is set for frames that were verified.
    Proven,
    /// The bit means something else.
    Never,
}

impl Trust {
    /// Whether `frame` may go to the stack, which does not check TCP and UDP again. Other protocols it checks itself.
    pub(super) fn passes(&mut self, frame: &[u8], bit: bool) -> bool {
        let Ok(frame) = EthernetFrame::new_checked(frame) else {
            return false;
        };
        match frame.ethertype() {
            EthernetProtocol::Ipv4 => {}
            EthernetProtocol::Arp => {
                match self {
                    Self::Untested if !bit => *self = Self::Proven,
                    Self::Untested | Self::Proven if bit => {
                        boot::warn!("nic: the checksum bit is set for ARP: checksums in software");
                        *self = Self::Never;
                    }
                    _ => {}
                }
                return true;
            }
            _ => return true,
        }
        let Ok(packet) = Ipv4Packet::new_checked(frame.payload()) else {
            return true; // dropped there
        };
        // A fragment has no checksum of its own, and the stack takes it for a whole packet: the sum is what stops it.
        let fragment = packet.more_frags() || packet.frag_offset() != 0;
        bit && *self == Self::Proven && !fragment || holds(&packet)
    }
}

/// Sums a TCP segment or UDP datagram. What is neither, or too short to be one, passes: the stack looks itself.
fn holds(packet: &Ipv4Packet<&[u8]>) -> bool {
    let (from, to) = (
        IpAddress::Ipv4(packet.src_addr()),
        IpAddress::Ipv4(packet.dst_addr()),
    );
    match packet.next_header() {
        IpProtocol::Tcp => TcpPacket::new_checked(packet.payload())
            .map_or(true, |segment| segment.verify_checksum(&from, &to)),
        IpProtocol::Udp => UdpPacket::new_checked(packet.payload())
            .map_or(true, |datagram| datagram.verify_checksum(&from, &to)),
        _ => true,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{EthernetAddress, EthernetRepr, Ipv4Address, Ipv4Repr, UdpRepr};

    use super::*;

    /// A UDP datagram in a frame of `len` bytes, at least 60, with everything right.
    pub(in super::super) fn datagram(len: usize, fill: u8) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        EthernetRepr {
            src_addr: EthernetAddress([2, 0, 0, 0, 0, 1]),
            dst_addr: EthernetAddress([2, 0, 0, 0, 0, 2]),
            ethertype: EthernetProtocol::Ipv4,
        }
        .emit(&mut frame);
        let udp = UdpRepr {
            src_port: 67,
            dst_port: 68,
        };
        let (src_addr, dst_addr) = (Ipv4Address::new(10, 0, 0, 1), Ipv4Address::new(10, 0, 0, 2));
        let payload = len - 42;
        let ip = Ipv4Repr {
            src_addr,
            dst_addr,
            next_header: IpProtocol::Udp,
            payload_len: 8 + payload,
            hop_limit: 64,
        };
        let all = ChecksumCapabilities::default();
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &all);
        udp.emit(
            &mut UdpPacket::new_unchecked(packet.payload_mut()),
            &src_addr.into(),
            &dst_addr.into(),
            payload,
            |bytes| bytes.fill(fill),
            &all,
        );
        bytes
    }

    /// An ARP frame, as far as its type says.
    pub(in super::super) fn arp() -> Vec<u8> {
        let mut bytes = vec![0; 60];
        bytes[12..14].copy_from_slice(&[0x08, 0x06]);
        bytes
    }

    #[test]
    fn the_bit_counts_once_an_arp_frame_came_without() {
        let mut trust = Trust::default();
        let good = datagram(100, 1);
        let mut bad = good.clone();
        bad[99] ^= 1;
        assert!(trust.passes(&good, false) && !trust.passes(&bad, false));
        assert!(!trust.passes(&bad, true), "nothing is proven yet");
        assert!(trust.passes(&arp(), false));
        assert_eq!(trust, Trust::Proven);
        assert!(trust.passes(&bad, true), "the hardware's word");
        assert!(!trust.passes(&bad, false) && trust.passes(&good, false));
    }

    #[test]
    fn a_bit_that_is_always_set_counts_for_nothing() {
        let mut bad = datagram(100, 1);
        bad[99] ^= 1;
        for first in [true, false] {
            let mut trust = Trust::default();
            trust.passes(&arp(), first);
            trust.passes(&arp(), true);
            trust.passes(&arp(), false);
            assert_eq!(trust, Trust::Never);
            assert!(!trust.passes(&bad, true));
        }
    }

    #[test]
    fn fragments_are_summed_and_so_dropped_whatever_the_bit_says() {
        let mut trust = Trust::Proven;
        let whole = datagram(100, 1);
        for flags in [[0x20, 0], [0, 1]] {
            let mut fragment = whole.clone();
            fragment[20..22].copy_from_slice(&flags);
            fragment[60] ^= 1;
            assert!(!trust.passes(&fragment, true));
        }
    }

    #[test]
    fn anything_else_is_the_stack_s_to_judge() {
        let mut trust = Trust::Proven;
        let mut other = datagram(100, 1);
        other[12..14].copy_from_slice(&[0x86, 0xdd]);
        assert!(trust.passes(&other, false));
        let mut icmp = datagram(100, 1);
        icmp[23] = 1;
        icmp[99] ^= 1;
        assert!(trust.passes(&icmp, false));
        for len in 14..60 {
            assert!(trust.passes(&datagram(100, 1)[..len], false), "{len}");
        }
        assert!(!trust.passes(&[0; 13], false));
    }
}
