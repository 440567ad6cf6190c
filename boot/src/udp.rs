//! A UDP conversation with one host (RFC 768), and the ICMP errors that answer it (RFC 792).

use alloc::vec;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{IpAddress, IpListenEndpoint, Ipv4Address};

use crate::net::Net;

/// Room for what we send: a request or two.
const SEND_BUFFER: usize = 4 * 1024;
/// An ICMP error repeats the datagram it is about.
const ERROR_BUFFER: usize = 2 * 1024;
/// ICMP's "destination unreachable", "port unreachable".
const PORT_UNREACHABLE: [u8; 2] = [3, 3];

/// Two sockets of the set: the conversation's own, and the one that hears its errors. It ends by [`Self::close`].
pub(crate) struct Conversation {
    peer: Ipv4Address,
    udp: SocketHandle,
    errors: SocketHandle,
}

impl Conversation {
    /// Opens a conversation with `peer` from a fresh local port. It has room for `datagrams` of at most `size` bytes each until
    /// they are read.
    pub(crate) fn open(net: &mut Net<'_>, peer: Ipv4Address, datagrams: usize, size: usize) -> Self {
        let mut socket = udp::Socket::new(
            udp::PacketBuffer::new(
                vec![udp::PacketMetadata::EMPTY; datagrams],
                vec![0; datagrams.saturating_mul(size)],
            ),
            udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; SEND_BUFFER]),
        );
        let mut errors = icmp::Socket::new(
            icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 2], vec![0; ERROR_BUFFER]),
            icmp::PacketBuffer::new(vec![], vec![]),
        );
        // Never 0, and the socket is new, so neither call fails.
        let port = net.port();
        let _ = socket.bind(port);
        let _ = errors.bind(icmp::Endpoint::Udp(IpListenEndpoint::from(port)));
        net.hear(Some(port));
        let sockets = net.sockets().1;
        Self {
            peer,
            udp: sockets.add(socket),
            errors: sockets.add(errors),
        }
    }

    /// Sends to `port` of the peer; `false` when there is no room, or the peer has no address that can be sent to.
    pub(crate) fn send(&self, net: &mut Net<'_>, port: u16, payload: &[u8]) -> bool {
        let socket = net.sockets().1.get_mut::<udp::Socket<'_>>(self.udp);
        socket
            .send_slice(payload, (IpAddress::Ipv4(self.peer), port))
            .is_ok()
    }

    /// Whether a datagram is still queued because ARP has not resolved the peer (smoltcp asks once a second).
    pub(crate) fn waits(&self, net: &mut Net<'_>) -> bool {
        net.sockets().1.get_mut::<udp::Socket<'_>>(self.udp).send_queue() > 0
    }

    /// Passes the next datagram from the peer, with its source port, to `read`. Datagrams from other hosts are dropped.
    pub(crate) fn receive<T>(&self, net: &mut Net<'_>, read: impl FnOnce(u16, &[u8]) -> T) -> Option<T> {
        let socket = net.sockets().1.get_mut::<udp::Socket<'_>>(self.udp);
        while let Ok((payload, from)) = socket.recv() {
            if from.endpoint.addr == IpAddress::Ipv4(self.peer) {
                return Some(read(from.endpoint.port, payload));
            }
        }
        None
    }

    /// Whether the peer has answered "port unreachable".
    pub(crate) fn refused(&self, net: &mut Net<'_>) -> bool {
        let socket = net.sockets().1.get_mut::<icmp::Socket<'_>>(self.errors);
        while let Ok((error, from)) = socket.recv() {
            if from == IpAddress::Ipv4(self.peer) && error.starts_with(&PORT_UNREACHABLE) {
                return true;
            }
        }
        false
    }

    /// Ends the conversation, after the last datagram has left.
    pub(crate) fn close(self, net: &mut Net<'_>) {
        // One round of the poll loop sends it.
        let now = net.now();
        let _: Option<()> = net.wait(now, |_| None);
        net.hear(None);
        let sockets = net.sockets().1;
        sockets.remove(self.udp);
        sockets.remove(self.errors);
    }
}
