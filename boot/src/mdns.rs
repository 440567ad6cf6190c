//! One question of multicast DNS (RFC 6762 §5.1): whoever on this link has the name answers it by unicast (§6.7).

use alloc::vec;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp;
use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, Ipv4Address};

use crate::dns::{LONGEST_ANSWER, Manner, Name, question, read};
use crate::net::Net;

const GROUP: Ipv4Address = Ipv4Address::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// Seconds to wait after each of the three questions.
const PAUSES: [u64; 3] = [1, 2, 2];
/// The sum of those, in seconds.
pub(crate) const PATIENCE: u64 = 5;
/// How many answers are kept until they are read.
const ROOM: usize = 8;

/// Asks this link for the address of `name`; `None` when no good answer came within [`PATIENCE`].
pub(crate) fn ask(net: &mut Net<'_>, name: &Name) -> Option<Ipv4Address> {
    let id = (net.random() as u16).to_be_bytes();
    let question = question(id, name, Manner::Multicast);
    let socket = open(net);
    let mut answer = None;
    for pause in PAUSES {
        // A socket that is bound refuses no group, and has room: what was sent before needed no neighbour.
        let udp = net.sockets().1.get_mut::<udp::Socket<'_>>(socket);
        let _ = udp.send_slice(&question, (IpAddress::Ipv4(GROUP), PORT));
        let until = net.now() + Duration::from_secs(pause);
        answer = net.wait(until, |net| {
            let link = net.lease_now()?.address;
            let socket = net.sockets().1.get_mut::<udp::Socket<'_>>(socket);
            while let Ok((message, from)) = socket.recv() {
                let IpAddress::Ipv4(sender) = from.endpoint.addr;
                // Nobody further away is asked, so nobody there can answer (§11).
                if from.endpoint.port == PORT
                    && link.contains_addr(&sender)
                    && let Some(Some(address)) = read(message, id, name, Manner::Multicast)
                {
                    return Some(address);
                }
            }
            None
        });
        if answer.is_some() {
            break;
        }
    }
    net.sockets().1.remove(socket);
    net.hear(None);
    answer
}

/// A socket on a port other than 5353: responders then know that a simple resolver asks, and answer it directly (RFC 6762 §5.1).
fn open(net: &mut Net<'_>) -> SocketHandle {
    let buffer = |datagrams: usize, bytes| {
        let slots = vec![udp::PacketMetadata::EMPTY; datagrams];
        udp::PacketBuffer::new(slots, vec![0; datagrams.saturating_mul(bytes)])
    };
    let mut socket = udp::Socket::new(buffer(ROOM, LONGEST_ANSWER), buffer(PAUSES.len(), 512));
    socket.set_hop_limit(Some(255));
    let port = match net.port() {
        PORT => PORT.wrapping_add(1),
        port => port,
    };
    // Never 0, and the socket is new, so it does not fail.
    let _ = socket.bind(port);
    net.hear(Some(port));
    net.sockets().1.add(socket)
}
