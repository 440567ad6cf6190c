//! Which frames reach the IP stack: what the node itself asked for. Strangers' questions are answered here, and teach nothing.

use alloc::vec::Vec;
use core::cell::Cell;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet,
    Icmpv4Repr, IpProtocol, Ipv4Address, Ipv4Cidr, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

use crate::hal::NEVER;
use crate::lease::{arp, ethernet};
use crate::patience;

/// Neighbours that are asked for at once: as many as the stack remembers.
const ASKED: usize = 8;

/// How often a silent neighbour is asked whether it is still where it was, and how long each answer may take (RFC 1122 §2.3.2.1).
const POLLS: u8 = 2;
const POLL_PAUSE: Duration = Duration::from_millis(400);

/// Bytes of the headers of Ethernet and of IP without options.
const HEADERS: usize = 14 + 20;
/// EtherTypes.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
/// Protocols over IP.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Pause between two challenges: strangers do not make the node a sender of many segments (RFC 5961 §7).
const CHALLENGE_PAUSE: Duration = Duration::from_millis(100);

/// Flags of TCP.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A TCP connection of the node's.
#[derive(Clone, Copy)]
struct Connection {
    host: Ipv4Address,
    /// The host's port and the node's, as segments from the host have them.
    ports: [u8; 4],
}

/// What a segment of the node said.
#[derive(Clone, Copy)]
struct Said {
    /// The number of the byte after its last one.
    end: u32,
    window: u16,
    /// The next hop that it went to.
    to: EthernetAddress,
}

/// A neighbour that was sent something and has not been heard since.
#[derive(Clone, Copy)]
struct Silence {
    /// How often it was asked for.
    polls: u8,
    /// What is next, and when.
    until: Instant,
}

/// What is to be done about a neighbour that is silent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// A question to it alone.
    Ask(Vec<u8>),
    /// It is not where it was: the stack is to forget it, and will ask everybody.
    Forget,
}

/// A segment, as far as the gate looks at it.
struct Segment {
    ports: [u8; 4],
    number: u32,
    acknowledged: u32,
    flags: u8,
    window: u16,
    /// What it takes of the sender's numbers.
    len: u32,
}

impl Segment {
    /// Reads a frame of TCP over IP; `None` when it is cut.
    #[inline]
    fn read(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        let head = usize::from(ip.first()? & 0x0f).saturating_mul(4);
        let total = u16::from_be_bytes(*ip.get(2..)?.first_chunk()?);
        let tcp: &[u8; 20] = ip.get(head..)?.first_chunk()?;
        let [
            p0,
            p1,
            p2,
            p3,
            n0,
            n1,
            n2,
            n3,
            a0,
            a1,
            a2,
            a3,
            offset,
            flags,
            w0,
            w1,
            ..,
        ] = *tcp;
        let headers = head.saturating_add(usize::from(offset >> 4).saturating_mul(4));
        let bytes = u32::from(total).saturating_sub(headers as u32);
        Some(Self {
            ports: [p0, p1, p2, p3],
            number: u32::from_be_bytes([n0, n1, n2, n3]),
            acknowledged: u32::from_be_bytes([a0, a1, a2, a3]),
            flags,
            window: u16::from_be_bytes([w0, w1]),
            len: bytes.saturating_add((flags & (FIN | SYN)).count_ones()),
        })
    }
}

/// The gate between the NIC and the stack, which hears both directions of it (D-187).
///
/// The stack knows eight neighbours, learns them from anybody's question, and asks for one a second: also to answer a stranger's
/// ping, a SYN to a port where nobody listens, a datagram. So a few thousand frames a second from made-up hosts would keep it from
/// the server that the node talks to. It sees neighbours that it asked for, and no stranger at all.
pub(super) struct Gate {
    mac: EthernetAddress,
    checksums: ChecksumCapabilities,
    /// The node's address, while it has one.
    own: Cell<Option<Ipv4Cidr>>,
    /// The neighbours that the stack asked for, until they answer.
    asked: Cell<[Option<Ipv4Address>; ASKED]>,
    /// The neighbours that have answered.
    known: Cell<[Option<(EthernetAddress, Ipv4Address)>; ASKED]>,
    /// Whether somebody was sent something and was not heard since; who, and where that goes to, unless it is the connection's last
    /// segment; and what it leads to.
    unheard: Cell<bool>,
    sent: Cell<Option<(EthernetAddress, Ipv4Address)>>,
    silence: Cell<Silence>,
    /// The port at which datagrams are waited for.
    udp: Cell<Option<u16>>,
    /// The last connection.
    connection: Cell<Option<Connection>>,
    /// The number of the next byte that its other side will send; none before it has answered.
    next: Cell<Option<u32>>,
    /// The node's last segment in it.
    said: Cell<Option<Said>>,
    /// When its other side may be asked again whether it meant a reset.
    challenge_at: Cell<Instant>,
    /// What is to be sent in answer to a frame that the stack did not see.
    answer: Cell<Option<Vec<u8>>>,
}

impl Gate {
    /// Closed, until the node has an address.
    pub(super) fn new(mac: EthernetAddress, checksums: ChecksumCapabilities) -> Self {
        Self {
            mac,
            checksums,
            own: Cell::new(None),
            asked: Cell::new([None; ASKED]),
            known: Cell::new([None; ASKED]),
            unheard: Cell::new(false),
            sent: Cell::new(None),
            silence: Cell::new(Silence {
                polls: 0,
                until: NEVER,
            }),
            udp: Cell::new(None),
            connection: Cell::new(None),
            next: Cell::new(None),
            said: Cell::new(None),
            challenge_at: Cell::new(Instant::ZERO),
            answer: Cell::new(None),
        }
    }

    /// The node has this address from now on.
    pub(super) fn address(&self, own: Option<Ipv4Cidr>) {
        self.own.set(own);
    }

    /// Datagrams are waited for at this port, and at no other.
    pub(super) fn hear(&self, port: Option<u16>) {
        self.udp.set(port);
    }

    /// A connection to this host and port begins, from a port of the node's.
    pub(super) fn connect(&self, (host, theirs): (Ipv4Address, u16), ours: u16) {
        let ([t0, t1], [o0, o1]) = (theirs.to_be_bytes(), ours.to_be_bytes());
        let ports = [t0, t1, o0, o1];
        self.connection.set(Some(Connection { host, ports }));
        self.next.set(None);
        self.said.set(None);
    }

    /// What to send for the frame that was heard last, at most once.
    pub(super) fn answer(&self) -> Option<Vec<u8>> {
        self.answer.take()
    }

    /// A frame of the stack leaves.
    pub(super) fn leaves(&self, now: Instant, frame: &[u8]) {
        if frame.get(12..14) == Some(&IPV4.to_be_bytes()) {
            // What an acknowledgement is about is read once: a download has one for each few segments.
            if frame.get(23) == Some(&TCP) && self.says(frame) {
                self.awaits(now, None);
            } else {
                self.sends(now, frame);
            }
        } else if frame.get(12..14) == Some(&ARP.to_be_bytes())
            && let Some((ArpOperation::Request, _, _, target)) = read_arp(frame)
        {
            let mut asked = self.asked.get();
            let known = asked.iter().position(|one| *one == Some(target));
            // The oldest makes room.
            if let Some(front) = asked.get_mut(..=known.unwrap_or(ASKED.saturating_sub(1))) {
                front.rotate_right(1);
            }
            if let Some(first) = asked.first_mut() {
                *first = Some(target);
            }
            self.asked.set(asked);
        }
    }

    /// A frame that is no segment of the connection's leaves.
    fn sends(&self, now: Instant, frame: &[u8]) {
        let Some(head) = frame.first_chunk::<HEADERS>() else {
            return;
        };
        let to = EthernetAddress([head[0], head[1], head[2], head[3], head[4], head[5]]);
        if to.is_unicast() {
            self.awaits(
                now,
                Some((to, Ipv4Address::new(head[30], head[31], head[32], head[33]))),
            );
        }
    }

    /// A neighbour that is sent something is to be heard before long: this one, or the connection's.
    #[inline]
    fn awaits(&self, now: Instant, to: Option<(EthernetAddress, Ipv4Address)>) {
        if self.unheard.get() && (to.is_none() || self.waits_for() == to) {
            return;
        }
        self.unheard.set(true);
        self.sent.set(to);
        self.silence.set(Silence {
            polls: 0,
            until: now + patience::NEIGHBOUR,
        });
    }

    /// Who was sent something last, and where that goes to.
    fn waits_for(&self) -> Option<(EthernetAddress, Ipv4Address)> {
        let connection = || Some((self.said.get()?.to, self.connection.get()?.host));
        self.sent.get().or_else(connection)
    }

    /// Whether a frame is of the neighbour that was sent something.
    fn hears_neighbour(&self, head: &[u8; HEADERS]) {
        let mac = [head[6], head[7], head[8], head[9], head[10], head[11]];
        // A virtual router answers ARP from its own address, with the one that it stands for inside (RFC 5798 §8.1.2).
        let inside = [head[22], head[23], head[24], head[25], head[26], head[27]];
        let is_arp = [head[12], head[13]] == ARP.to_be_bytes();
        let speaks = |to: EthernetAddress| to.0 == mac || is_arp && to.0 == inside;
        if self.waits_for().is_some_and(|(to, _)| speaks(to)) {
            self.unheard.set(false);
        }
    }

    /// The address of the neighbour `mac` that what goes to `target` is sent to; none of a router whose answer is forgotten.
    fn neighbour(&self, mac: EthernetAddress, target: Ipv4Address) -> Option<Ipv4Address> {
        if self.own.get()?.contains_addr(&target) {
            return Some(target);
        }
        let known = self.known.get();
        let router = known.iter().flatten().find(|(known, _)| *known == mac)?;
        Some(router.1)
    }

    /// When a silent neighbour is to be looked after.
    pub(super) fn wake_at(&self) -> Instant {
        if self.unheard.get() {
            self.silence.get().until
        } else {
            NEVER
        }
    }

    /// What is to be done now about a neighbour that was sent something and is silent (D-200).
    ///
    /// The stack keeps a neighbour for a minute, and the gate shows it no announcement of another. A host that took the address over
    /// is found by asking anew, and only when the one that is known no longer answers for itself: no stranger can bring that about.
    pub(super) fn silent(&self, now: Instant) -> Option<Silent> {
        let mut silence = self.silence.get();
        if !self.unheard.get() || now < silence.until {
            return None;
        }
        let waits_for = self.waits_for().filter(|_| silence.polls < POLLS);
        let asked =
            waits_for.and_then(|(mac, target)| Some((mac, self.neighbour(mac, target)?, self.own.get()?)));
        let Some((mac, neighbour, own)) = asked else {
            self.unheard.set(false);
            return Some(Silent::Forget);
        };
        silence.polls = silence.polls.saturating_add(1);
        silence.until = now + POLL_PAUSE;
        self.silence.set(silence);
        let question = arp(
            ArpOperation::Request,
            self.mac,
            own.address(),
            Some(mac),
            neighbour,
        );
        Some(Silent::Ask(question))
    }

    /// A segment of the node's tells what it expects; `false` when it is not of the connection, or opens it.
    fn says(&self, frame: &[u8]) -> bool {
        let (Some(segment), Some(connection)) = (Segment::read(frame), self.connection.get()) else {
            return false;
        };
        let [o0, o1, t0, t1] = segment.ports;
        if segment.flags & ACK == 0 || [t0, t1, o0, o1] != connection.ports {
            return false;
        }
        let to = frame
            .first_chunk()
            .map_or(EthernetAddress::BROADCAST, |to| EthernetAddress(*to));
        self.next.set(Some(segment.acknowledged));
        self.said.set(Some(Said {
            end: segment.number.wrapping_add(segment.len),
            window: segment.window,
            to,
        }));
        true
    }

    /// Whether the stack is to see a segment of the connection's host (RFC 5961 §3, §4; D-190).
    ///
    /// A reset counts when it has the very number that is expected, a SYN not at all once there is a connection: the stack would
    /// take a reset with any number of its window, of which 17,000 resets meet one. The other side is told what is expected; if it meant it, it says
    /// so again, with that number.
    fn hears_segment(&self, frame: &[u8], connection: Connection, now: Instant) -> bool {
        let Some(segment) = Segment::read(frame) else {
            return false;
        };
        // Of an older connection: the stack says that it is gone. Before the first answer the stack wants its own number repeated,
        // but in a SYN that acknowledges nothing, with which the other side would open a connection of its own. No server does.
        let Some(next) = self.next.get().filter(|_| segment.ports == connection.ports) else {
            return segment.flags & (SYN | ACK) != SYN;
        };
        if segment.flags & (RST | SYN) == 0 {
            if segment.number == next {
                self.next.set(Some(next.wrapping_add(segment.len)));
                // Nobody else knows that number: it takes no look at who brings the bytes.
                if segment.len > 0 {
                    self.unheard.set(false);
                }
            }
            return true;
        }
        if segment.flags & RST != 0 && segment.number == next {
            return true;
        }
        if now >= self.challenge_at.get() {
            self.challenge_at.set(now + CHALLENGE_PAUSE);
            self.answer.set(self.challenge(connection, next));
        }
        false
    }

    /// An acknowledgement of what has come.
    fn challenge(&self, connection: Connection, next: u32) -> Option<Vec<u8>> {
        let (said, own) = (self.said.get()?, self.own.get()?);
        let [t0, t1, o0, o1] = connection.ports;
        let tcp = TcpRepr {
            src_port: u16::from_be_bytes([o0, o1]),
            dst_port: u16::from_be_bytes([t0, t1]),
            control: TcpControl::None,
            seq_number: TcpSeqNumber(said.end.cast_signed()),
            ack_number: Some(TcpSeqNumber(next.cast_signed())),
            window_len: said.window,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let ip = Ipv4Repr {
            src_addr: own.address(),
            dst_addr: connection.host,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let len = ip.buffer_len().saturating_add(tcp.buffer_len());
        let mut frame = ethernet(self.mac, said.to, EthernetProtocol::Ipv4, len);
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &self.checksums);
        tcp.emit(
            &mut TcpPacket::new_unchecked(packet.payload_mut()),
            &ip.src_addr.into(),
            &ip.dst_addr.into(),
            &self.checksums,
        );
        Some(frame.into_inner())
    }

    /// Whether the stack is to see a frame with a TCP segment; `None` for any other frame.
    pub(super) fn segment(&self, now: Instant, frame: &[u8]) -> Option<bool> {
        let head = frame.first_chunk::<HEADERS>()?;
        if head[23] != TCP || [head[12], head[13]] != IPV4.to_be_bytes() {
            if self.unheard.get() {
                self.hears_neighbour(head);
            }
            return None;
        }
        // Segments of others than the host that the node talks to have no connection here.
        let source = Ipv4Address::new(head[26], head[27], head[28], head[29]);
        let connection = self.connection.get().filter(|one| one.host == source);
        let hears = connection.is_some_and(|connection| self.hears_segment(frame, connection, now));
        if self.unheard.get() {
            self.hears_neighbour(head);
        }
        Some(hears)
    }

    /// Whether the stack is to see a frame without a segment.
    pub(super) fn passes(&self, frame: &[u8]) -> bool {
        let Some(head) = frame.first_chunk::<HEADERS>() else {
            return false;
        };
        match (u16::from_be_bytes([head[12], head[13]]), head[23]) {
            (IPV4, UDP) => self.udp.get().is_some_and(|port| udp_port(frame) == Some(port)),
            (IPV4, ICMP) => !self.answers_echo(frame),
            (ARP, _) => self.hears_arp(frame),
            _ => false,
        }
    }

    /// Answers a neighbour's question for the node's address; `true` for the answer to a question of the node's own.
    fn hears_arp(&self, frame: &[u8]) -> bool {
        let (Some(own), Some((operation, mac, sender, target))) = (self.own.get(), read_arp(frame)) else {
            return false;
        };
        if target != own.address() || !mac.is_unicast() || !is_neighbour(own, sender) {
            return false;
        }
        match operation {
            ArpOperation::Request => {
                let reply = arp(ArpOperation::Reply, self.mac, target, Some(mac), sender);
                self.answer.set(Some(reply));
                false
            }
            ArpOperation::Reply => {
                let mut asked = self.asked.get();
                let open = asked.iter_mut().find(|one| **one == Some(sender));
                let open = open.and_then(Option::take).is_some();
                self.asked.set(asked);
                if open {
                    self.learns(mac, sender);
                }
                open
            }
            ArpOperation::Unknown(_) => false,
        }
    }

    /// The oldest neighbour makes room for one that has answered.
    fn learns(&self, mac: EthernetAddress, address: Ipv4Address) {
        let mut known = self.known.get();
        known.rotate_right(1);
        if let Some(first) = known.first_mut() {
            *first = Some((mac, address));
        }
        self.known.set(known);
    }

    /// Answers a ping of the node's address, to where it came from; `false` for any other ICMP.
    fn answers_echo(&self, frame: &[u8]) -> bool {
        let Ok(ethernet_frame) = EthernetFrame::new_checked(frame) else {
            return false;
        };
        let Ok(packet) = Ipv4Packet::new_checked(ethernet_frame.payload()) else {
            return false;
        };
        let (Ok(ip), Ok(icmp)) = (
            Ipv4Repr::parse(&packet, &self.checksums),
            Icmpv4Packet::new_checked(packet.payload()),
        ) else {
            return false;
        };
        let Ok(Icmpv4Repr::EchoRequest { ident, seq_no, data }) = Icmpv4Repr::parse(&icmp, &self.checksums)
        else {
            return false;
        };
        let (sender, own) = (ethernet_frame.src_addr(), self.own.get());
        let asks_us = ethernet_frame.dst_addr() == self.mac
            && own.is_some_and(|own| ip.dst_addr == own.address() && is_host(own, ip.src_addr))
            && sender.is_unicast();
        if asks_us {
            let reply = Icmpv4Repr::EchoReply { ident, seq_no, data };
            let back = Ipv4Repr {
                src_addr: ip.dst_addr,
                dst_addr: ip.src_addr,
                hop_limit: 64,
                ..ip
            };
            let len = back.buffer_len().saturating_add(reply.buffer_len());
            let mut frame = ethernet(self.mac, sender, EthernetProtocol::Ipv4, len);
            let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
            back.emit(&mut packet, &self.checksums);
            reply.emit(
                &mut Icmpv4Packet::new_unchecked(packet.payload_mut()),
                &self.checksums,
            );
            self.answer.set(Some(frame.into_inner()));
        }
        true
    }
}

/// Operation, sender and target of an ARP packet.
fn read_arp(frame: &[u8]) -> Option<(ArpOperation, EthernetAddress, Ipv4Address, Ipv4Address)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let packet = ArpPacket::new_checked(frame.payload()).ok()?;
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    Some((
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
    ))
}

/// Whether another host of the node's network can have an address.
fn is_neighbour(own: Ipv4Cidr, address: Ipv4Address) -> bool {
    own.contains_addr(&address) && is_host(own, address)
}

/// Whether another host can have an address.
fn is_host(own: Ipv4Cidr, address: Ipv4Address) -> bool {
    let nobody = address.is_unspecified() || address.is_multicast() || address.is_broadcast();
    !(nobody || address == own.address() || Some(address) == own.broadcast())
}
/// The port that a frame of UDP over IP goes to.
fn udp_port(frame: &[u8]) -> Option<u16> {
    let words = usize::from(frame.get(14)? & 0x0f);
    // Behind the headers of Ethernet and of IP, and the sender's port.
    let at = words.saturating_mul(4).saturating_add(14 + 2);
    frame.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::EthernetRepr;

    use super::*;

    const AT: Instant = Instant::from_millis_const(1);
    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
    const OTHER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
    const OWN: Ipv4Address = Ipv4Address::new(10, 0, 0, 9);
    const PEER: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);

    fn gate() -> Gate {
        let gate = Gate::new(MAC, ChecksumCapabilities::default());
        gate.address(Some(Ipv4Cidr::new(OWN, 24)));
        gate
    }

    /// Whether the stack is to see a frame.
    fn shown(gate: &Gate, now: Instant, frame: &[u8]) -> bool {
        gate.segment(now, frame).unwrap_or_else(|| gate.passes(frame))
    }

    fn arp(
        operation: ArpOperation,
        mac: EthernetAddress,
        sender: Ipv4Address,
        target: Ipv4Address,
    ) -> Vec<u8> {
        super::arp(operation, mac, sender, None, target)
    }

    fn ipv4(from: Ipv4Address, to: Ipv4Address, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
        let ip = Ipv4Repr {
            src_addr: from,
            dst_addr: to,
            next_header: protocol,
            payload_len: payload.len(),
            hop_limit: 64,
        };
        let mut frame = ethernet(OTHER, MAC, EthernetProtocol::Ipv4, 20 + payload.len());
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &ChecksumCapabilities::default());
        packet.payload_mut().copy_from_slice(payload);
        frame.into_inner()
    }

    #[test]
    fn a_neighbours_question_is_answered_and_not_shown_to_the_stack() {
        let gate = gate();
        let question = arp(ArpOperation::Request, OTHER, PEER, OWN);
        assert!(!shown(&gate, AT, &question));
        let answer = gate.answer().expect("an answer");
        assert_eq!(
            read_arp(&answer),
            Some((ArpOperation::Reply, MAC, OWN, PEER)),
            "to who asked"
        );
        assert_eq!(answer[..6], OTHER.0);
        assert!(gate.answer().is_none(), "once");
        let group = EthernetAddress([0x33, 0, 0, 0, 0, 1]);
        for (what, question) in [
            ("for another", arp(ArpOperation::Request, OTHER, PEER, PEER)),
            (
                "a probe",
                arp(ArpOperation::Request, OTHER, Ipv4Address::UNSPECIFIED, OWN),
            ),
            ("our own", arp(ArpOperation::Request, OTHER, OWN, OWN)),
            ("of a group", arp(ArpOperation::Request, group, PEER, OWN)),
            (
                "from elsewhere",
                arp(ArpOperation::Request, OTHER, Ipv4Address::new(10, 0, 1, 1), OWN),
            ),
            (
                "of everybody",
                arp(ArpOperation::Request, OTHER, Ipv4Address::new(10, 0, 0, 255), OWN),
            ),
            ("cut", question[..41].to_vec()),
        ] {
            assert!(!shown(&gate, AT, &question) && gate.answer().is_none(), "{what}");
        }
        gate.address(None);
        assert!(
            !shown(&gate, AT, &question) && gate.answer().is_none(),
            "no address"
        );
    }

    #[test]
    fn only_neighbours_that_were_asked_for_are_learnt_and_each_once() {
        let gate = gate();
        let answer = |last: u8| arp(ArpOperation::Reply, OTHER, Ipv4Address::new(10, 0, 0, last), OWN);
        let ask = |last: u8| {
            gate.leaves(
                AT,
                &arp(ArpOperation::Request, MAC, OWN, Ipv4Address::new(10, 0, 0, last)),
            )
        };
        assert!(!shown(&gate, AT, &answer(1)), "nobody asked");
        ask(1);
        assert!(!shown(&gate, AT, &answer(2)), "for another");
        assert!(shown(&gate, AT, &answer(1)));
        assert!(!shown(&gate, AT, &answer(1)), "it was answered");
        // One that is asked for again and again takes no more room than once; the oldest makes room.
        (1..=8).for_each(ask);
        (0..20).for_each(|_| ask(8));
        assert!(shown(&gate, AT, &answer(1)));
        ask(1);
        ask(10);
        assert!(!shown(&gate, AT, &answer(2)));
        for last in [1, 3, 4, 5, 6, 7, 8, 10] {
            assert!(shown(&gate, AT, &answer(last)), "{last}");
        }
    }

    #[test]
    fn a_neighbour_that_is_silent_is_asked_itself_and_then_everybody_is() {
        let gate = gate();
        let far = Ipv4Address::new(198, 51, 100, 1);
        let answer = arp(ArpOperation::Reply, OTHER, PEER, OWN);
        gate.leaves(AT, &arp(ArpOperation::Request, MAC, OWN, PEER));
        assert!(shown(&gate, AT, &answer));
        let to = |target| {
            let mut frame = ipv4(OWN, target, IpProtocol::Udp, &[0; 20]);
            frame[..12].rotate_right(6);
            frame[..6].copy_from_slice(&OTHER.0);
            frame[6..12].copy_from_slice(&MAC.0);
            frame
        };
        let question = super::arp(ArpOperation::Request, MAC, OWN, Some(OTHER), PEER);
        // Itself, and the router to somebody else.
        for target in [PEER, far] {
            assert_eq!((gate.wake_at(), gate.silent(AT)), (NEVER, None));
            gate.leaves(AT, &to(target));
            let mut now = AT + patience::NEIGHBOUR;
            // More that is said is no reason to wait for longer.
            gate.leaves(now, &to(target));
            assert_eq!(gate.wake_at(), now);
            assert_eq!(gate.silent(AT), None);
            for _ in 0..POLLS {
                assert_eq!(gate.silent(now), Some(Silent::Ask(question.clone())));
                assert_eq!(gate.silent(now), None);
                now += POLL_PAUSE;
                assert_eq!(gate.wake_at(), now);
            }
            assert_eq!(gate.silent(now), Some(Silent::Forget));
            assert_eq!(gate.silent(now), None, "once");
        }
        // Whatever it says will do, not what others do, nor what others say of it.
        let later = AT + patience::NEIGHBOUR;
        let mut others = answer.clone();
        others[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 3]);
        others[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 3]);
        for (frame, heard) in [(&answer, true), (&others, false), (&to(PEER), false)] {
            gate.leaves(AT, &to(PEER));
            shown(&gate, AT, frame);
            assert_eq!(gate.silent(later).is_none(), heard);
            shown(&gate, AT, &answer);
        }
        // A virtual router's machine answers for it from its own address.
        gate.leaves(AT, &to(PEER));
        let mut virtual_router = answer.clone();
        virtual_router[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 3]);
        virtual_router[22..28].copy_from_slice(&OTHER.0);
        shown(&gate, AT, &virtual_router);
        assert_eq!(gate.silent(later), None);
        // Nobody is waited for who is everybody.
        let mut group = to(PEER);
        group[..6].copy_from_slice(&[0xff; 6]);
        gate.leaves(AT, &group);
        assert_eq!(gate.wake_at(), NEVER);
    }

    #[test]
    fn a_ping_is_answered_to_where_it_came_from() {
        let gate = gate();
        let icmp = |repr: Icmpv4Repr<'_>| {
            let mut bytes = vec![0; repr.buffer_len()];
            repr.emit(
                &mut Icmpv4Packet::new_unchecked(&mut bytes[..]),
                &ChecksumCapabilities::default(),
            );
            bytes
        };
        let (ident, seq_no, data) = (3, 4, &b"hello"[..]);
        let echo = icmp(Icmpv4Repr::EchoRequest { ident, seq_no, data });
        // From another network, too: a router sent it.
        for from in [PEER, Ipv4Address::new(198, 51, 100, 1)] {
            let ping = ipv4(from, OWN, IpProtocol::Icmp, &echo);
            assert!(!shown(&gate, AT, &ping));
            let reply = icmp(Icmpv4Repr::EchoReply { ident, seq_no, data });
            let mut expected = ipv4(OWN, from, IpProtocol::Icmp, &reply);
            EthernetRepr {
                src_addr: MAC,
                dst_addr: OTHER,
                ethertype: EthernetProtocol::Ipv4,
            }
            .emit(&mut EthernetFrame::new_unchecked(&mut expected[..]));
            assert_eq!(gate.answer(), Some(expected));
            for at in 14..ping.len() {
                let mut bad = ping.clone();
                bad[at] ^= 0x11;
                shown(&gate, AT, &bad);
                assert!(gate.answer().is_none(), "byte {at}");
            }
        }
        let elsewhere = [
            ipv4(PEER, PEER, IpProtocol::Icmp, &echo),
            ipv4(OWN, OWN, IpProtocol::Icmp, &echo),
            ipv4(PEER, Ipv4Address::BROADCAST, IpProtocol::Icmp, &echo),
            ipv4(Ipv4Address::new(10, 0, 0, 255), OWN, IpProtocol::Icmp, &echo),
        ];
        for ping in elsewhere {
            assert!(!shown(&gate, AT, &ping) && gate.answer().is_none(), "{ping:x?}");
        }
        let reply = icmp(Icmpv4Repr::EchoReply { ident, seq_no, data });
        assert!(
            shown(&gate, AT, &ipv4(PEER, OWN, IpProtocol::Icmp, &reply)),
            "what answers our own"
        );
    }

    #[test]
    fn datagrams_and_segments_of_strangers_do_not_reach_the_stack() {
        let gate = gate();
        // Two ports, and as many bytes as a header has.
        let to = |port: u16| [&[0x14, 0xe9][..], &port.to_be_bytes(), &[0; 16]].concat();
        let datagram = ipv4(PEER, OWN, IpProtocol::Udp, &to(4000));
        assert!(!shown(&gate, AT, &datagram));
        gate.hear(Some(4000));
        assert!(shown(&gate, AT, &datagram));
        // With options in its header.
        let mut long = datagram.clone();
        long[14] = 0x46;
        long.splice(34..34, [1; 4]);
        assert!(shown(&gate, AT, &long));
        assert!(!shown(&gate, AT, &ipv4(PEER, OWN, IpProtocol::Udp, &to(4001))));
        gate.hear(None);
        assert!(!shown(&gate, AT, &datagram));
        let segment = |from| ipv4(from, OWN, IpProtocol::Tcp, &to(4000));
        assert!(!shown(&gate, AT, &segment(PEER)));
        gate.connect((PEER, 80), 4000);
        assert!(shown(&gate, AT, &segment(PEER)));
        assert!(!shown(&gate, AT, &segment(Ipv4Address::new(10, 0, 0, 2))));
        assert!(!shown(
            &gate,
            AT,
            &ipv4(PEER, OWN, IpProtocol::Unknown(132), &to(4000))
        ));
        gate.hear(Some(4000));
        for len in 0..datagram.len() {
            shown(&gate, AT, &datagram[..len]);
        }
    }

    /// A segment of the connection that the tests make: from the peer's port 80 to ours, 4000, or back.
    fn segment(
        theirs: bool,
        control: TcpControl,
        number: u32,
        acknowledged: Option<u32>,
        payload: &[u8],
    ) -> Vec<u8> {
        let (from, to, ports) = if theirs {
            (PEER, OWN, (80, 4000))
        } else {
            (OWN, PEER, (4000, 80))
        };
        let tcp = TcpRepr {
            src_port: ports.0,
            dst_port: ports.1,
            control,
            seq_number: TcpSeqNumber(number.cast_signed()),
            ack_number: acknowledged.map(|number| TcpSeqNumber(number.cast_signed())),
            window_len: 1234,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        };
        let mut bytes = vec![0; tcp.buffer_len()];
        tcp.emit(
            &mut TcpPacket::new_unchecked(&mut bytes[..]),
            &from.into(),
            &to.into(),
            &ChecksumCapabilities::default(),
        );
        ipv4(from, to, IpProtocol::Tcp, &bytes)
    }

    #[test]
    fn a_reset_has_the_number_that_is_expected_or_is_asked_back() {
        let gate = gate();
        gate.connect((PEER, 80), 4000);
        gate.leaves(AT, &segment(false, TcpControl::Syn, 100, None, b""));
        // The stack looks at what these acknowledge.
        assert!(shown(
            &gate,
            AT,
            &segment(true, TcpControl::Rst, 0, Some(101), b"")
        ));
        assert!(shown(
            &gate,
            AT,
            &segment(true, TcpControl::Syn, 999, Some(101), b"")
        ));
        // But not where they acknowledge nothing.
        let bare = segment(true, TcpControl::Syn, 999, None, b"");
        assert!(!shown(&gate, AT, &bare) && gate.answer().is_none());
        // The last number before zero, so that what follows goes round.
        let first = u32::MAX;
        gate.leaves(AT, &segment(false, TcpControl::None, 101, Some(first), b"GET"));
        let mut now = AT;
        for (what, control, number) in [
            ("before", TcpControl::Rst, first - 1),
            ("after", TcpControl::Rst, first.wrapping_add(1)),
            ("far", TcpControl::Rst, 1 << 31),
            ("a SYN", TcpControl::Syn, first),
            ("a SYN elsewhere", TcpControl::Syn, 7),
        ] {
            let frame = segment(true, control, number, Some(104), b"");
            now += CHALLENGE_PAUSE;
            assert!(!shown(&gate, now, &frame), "{what}");
            let mut expected = segment(false, TcpControl::None, 104, Some(first), b"");
            EthernetRepr {
                src_addr: MAC,
                dst_addr: MAC,
                ethertype: EthernetProtocol::Ipv4,
            }
            .emit(&mut EthernetFrame::new_unchecked(&mut expected[..]));
            assert_eq!(gate.answer(), Some(expected), "{what}");
            assert!(
                !shown(&gate, now, &frame) && gate.answer().is_none(),
                "{what}: once"
            );
        }
        // What came in order counts before it is acknowledged; what did not come in order does not.
        assert!(shown(
            &gate,
            now,
            &segment(true, TcpControl::None, 5, Some(104), b"later")
        ));
        assert!(shown(
            &gate,
            now,
            &segment(true, TcpControl::None, first, Some(104), b"12345")
        ));
        assert!(shown(
            &gate,
            now,
            &segment(true, TcpControl::Fin, 4, Some(104), b"")
        ));
        assert!(!shown(
            &gate,
            now,
            &segment(true, TcpControl::Rst, first, None, b"")
        ));
        assert!(!shown(&gate, now, &segment(true, TcpControl::Rst, 4, None, b"")));
        assert!(shown(&gate, now, &segment(true, TcpControl::Rst, 5, None, b"")));
        // Another connection's.
        gate.connect((PEER, 80), 4001);
        gate.leaves(AT, &segment(false, TcpControl::None, 104, Some(5), b""));
        assert!(shown(&gate, now, &segment(true, TcpControl::Rst, 77, None, b"")));
        for len in 0..54 {
            let frame = segment(true, TcpControl::Rst, 77, None, b"");
            assert!(!shown(&gate, now, &frame[..len]), "{len}");
            gate.leaves(AT, &frame[..len]);
        }
    }
}
