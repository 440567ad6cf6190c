//! TCP's checksum of received frames, checked before the stack sees them (RFC 9293 §3.1, RFC 1071).
//!
//! smoltcp's own check takes three instructions a byte in this build, a quarter of a download; this one a quarter of one.
//! The LAN chips could add sums of their own, and would save that too, but no board was there to see them (D-51).

/// Bytes of the two addresses.
const ADDRESSES: usize = 12;
const TCP: u8 = 6;

/// Whether the stack may take `frame` without checking TCP's checksum: it has the right one, or nothing of TCP in it.
pub(crate) fn right(frame: &[u8]) -> bool {
    // The stack takes a tag off before it looks, so what is behind one counts too.
    let packet = match frame.get(ADDRESSES..).unwrap_or_default() {
        [0x08, 0x00, packet @ ..] | [0x81, 0x00, _, _, 0x08, 0x00, packet @ ..] => packet,
        _ => return true,
    };
    let Some(header) = packet.first_chunk::<20>() else {
        return true;
    };
    if header[9] != TCP {
        return true;
    }
    let start = usize::from(header[0] & 0xf) * 4;
    let end = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let Some(segment) = packet.get(start..end) else {
        return false;
    };
    // The pseudo header: both addresses, the protocol, the length. Sums do not mind in which order bytes are read.
    let pseudo =
        sum(&header[12..20]) + u64::from(u16::from(TCP).to_be()) + u64::from((segment.len() as u16).to_be());
    fold(pseudo + sum(segment)) == 0xffff
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum of `bytes` in pairs, an odd one padded: at most 32 Ki pairs.
fn sum(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (pairs, odd) = rest.as_chunks::<2>();
    let pairs: u64 = pairs
        .iter()
        .map(|pair| u64::from(u16::from_ne_bytes(*pair)))
        .sum();
    let odd = odd
        .first()
        .map_or(0, |byte| u64::from(u16::from_ne_bytes([*byte, 0])));
    sum_of_blocks(blocks) + pairs + odd
}

/// Four vectors a turn, each pair of 16-bit lanes added to a 32-bit one: none overflows within 32 Ki turns. In assembly,
/// because the target's Rust may not count on unaligned loads, which the MMU allows here.
#[cfg(target_os = "none")]
fn sum_of_blocks(blocks: &[[u8; 64]]) -> u64 {
    let sum: u64;
    // SAFETY: reads the blocks and nothing else; what it changes is named.
    unsafe {
        core::arch::asm!(
            "movi v4.2d, #0",
            "movi v5.2d, #0",
            "cbz {left}, 3f",
            "2: ldp q0, q1, [{at}]",
            "ldp q2, q3, [{at}, #32]",
            "add {at}, {at}, #64",
            "uadalp v4.4s, v0.8h",
            "uadalp v5.4s, v1.8h",
            "uadalp v4.4s, v2.8h",
            "uadalp v5.4s, v3.8h",
            "subs {left}, {left}, #1",
            "b.ne 2b",
            "3: add v4.4s, v4.4s, v5.4s",
            "uaddlv d4, v4.4s",
            "fmov {sum}, d4",
            left = inout(reg) blocks.len() => _,
            at = inout(reg) blocks.as_ptr() => _,
            sum = lateout(reg) sum,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            options(readonly, nostack),
        );
    }
    sum
}

#[cfg(not(target_os = "none"))]
fn sum_of_blocks(blocks: &[[u8; 64]]) -> u64 {
    let (pairs, _) = blocks.as_flattened().as_chunks::<2>();
    pairs
        .iter()
        .map(|pair| u64::from(u16::from_ne_bytes(*pair)))
        .sum()
}

#[cfg(test)]
pub(crate) mod tests {
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        EthernetFrame, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
        TcpSeqNumber,
    };

    use super::*;

    /// A segment as smoltcp would send it.
    pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
        let checksums = ChecksumCapabilities::default();
        let tcp = TcpRepr {
            src_port: 80,
            dst_port: 49_152,
            control: TcpControl::Psh,
            seq_number: TcpSeqNumber(77),
            ack_number: Some(TcpSeqNumber(99)),
            window_len: 1000,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        };
        let (source, target) = (Ipv4Address::new(10, 0, 2, 2), Ipv4Address::new(10, 0, 2, 15));
        let ip = Ipv4Repr {
            src_addr: source,
            dst_addr: target,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let mut bytes = vec![0; 14 + 20 + tcp.buffer_len()];
        let mut ethernet = EthernetFrame::new_unchecked(&mut bytes[..]);
        ethernet.set_ethertype(smoltcp::wire::EthernetProtocol::Ipv4);
        let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
        ip.emit(&mut packet, &checksums);
        let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
        tcp.emit(&mut segment, &source.into(), &target.into(), &checksums);
        bytes
    }

    #[test]
    fn smoltcps_segments_of_every_length_are_right_and_one_flipped_bit_is_not() {
        for len in 0..=1460 {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
            let mut bytes = frame(&payload);
            assert!(right(&bytes), "{len}");
            // Padding behind the packet does not count.
            bytes.extend([0xee; 6]);
            assert!(right(&bytes), "{len}");
            let at = 34 + len * 31 % (bytes.len() - 40);
            bytes[at] ^= 1 << (len % 8);
            assert!(!right(&bytes), "{len}: {at}");
        }
    }

    #[test]
    fn a_tag_hides_nothing() {
        let mut bytes = frame(b"hello");
        bytes.splice(12..12, [0x81, 0, 0xa0, 0]);
        assert!(right(&bytes));
        bytes[60] ^= 1;
        assert!(!right(&bytes));
        assert!(!right(&bytes[..59]) && right(&bytes[..37]));
    }

    #[test]
    fn sums_wrap_around() {
        assert!(right(&frame(&[0xff; 1460])));
        assert!(right(&frame(&[0; 1460])));
    }

    #[test]
    fn what_is_not_tcp_is_the_stacks_to_judge_and_a_segment_that_is_not_whole_is_wrong() {
        let whole = frame(b"hello");
        for (at, value) in [(12, 0x86), (23, 17)] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            bytes[50] ^= 1;
            assert!(right(&bytes));
        }
        assert!(right(&[]) && right(&whole[..33]));
        for len in 34..whole.len() {
            assert!(!right(&whole[..len]), "{len}");
        }
        let mut bytes = whole;
        bytes[16] = 0xff; // total length
        assert!(!right(&bytes));
        bytes[16] = 0;
        bytes[17] = 10; // less than its header
        assert!(!right(&bytes));
    }
}
