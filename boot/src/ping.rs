//! One ICMP echo and its reply (RFC 792).

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::time::Duration;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpAddress, Ipv4Address};

use crate::net::Net;

/// The most bytes that one unfragmented echo carries over Ethernet.
pub const MAX_SIZE: usize = 1500 - 20 - HEADER;
/// ICMP's own header.
const HEADER: usize = 8;

/// Sends `size` bytes (at most [`MAX_SIZE`]) and waits up to `patience` for the reply; `true` when it came.
pub(crate) fn echo(
    net: &mut Net<'_>,
    host: Ipv4Address,
    sequence: u16,
    size: usize,
    patience: Duration,
) -> bool {
    let size = size.min(MAX_SIZE);
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
    let buffer = || {
        let room = vec![0; size.saturating_add(HEADER).saturating_mul(4)];
        icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], room)
    };
    let mut socket = icmp::Socket::new(buffer(), buffer());
    let ident = net.random() as u16;
    // The socket is new, and every number is an identifier.
    let _ = socket.bind(icmp::Endpoint::Ident(ident));
    let request = Icmpv4Repr::EchoRequest {
        ident,
        seq_no: sequence,
        data: &sent,
    };
    let Ok(packet) = socket.send(request.buffer_len(), IpAddress::Ipv4(host)) else {
        return false;
    };
    request.emit(
        &mut Icmpv4Packet::new_unchecked(packet),
        &ChecksumCapabilities::default(),
    );
    let handle = net.sockets().1.add(socket);
    let came = net.wait(net.now() + patience, |net| {
        let socket = net.sockets().1.get_mut::<icmp::Socket<'_>>(handle);
        while let Ok((packet, from)) = socket.recv() {
            let Ok(packet) = Icmpv4Packet::new_checked(packet) else {
                continue;
            };
            let expected = Icmpv4Repr::EchoReply {
                ident,
                seq_no: sequence,
                data: &sent,
            };
            let same = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()) == Ok(expected);
            if same && from == IpAddress::Ipv4(host) {
                return Some(());
            }
        }
        None
    });
    net.sockets().1.remove(handle);
    came.is_some()
}
