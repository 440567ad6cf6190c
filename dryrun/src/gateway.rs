//! The other end of the virtual wire: a router in this process that turns the node's packets into ordinary sockets.
//!
//! It answers ARP for every address, and is DHCP server, name server and the server of a local directory itself. It passes
//! every other TCP connection and datagram on; a connection is accepted only after the real server has accepted it (D-81).

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, TryRecvError, TrySendError};
use std::time::{self, Duration as RealDuration};

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address};

use crate::dhcp::Lease;
use crate::dns;
use crate::frames::{self, Datagram, Frame, GATEWAY_MAC, Place};
use crate::outside::{self, Bell, Came, Connected, Connection, Port};
use crate::site::Site;
use crate::tftp;

/// Buffers of the gateway's end of a connection.
const FROM_NODE: usize = 64 * 1024;
const TO_NODE: usize = 256 * 1024;
/// The most connections, and the most UDP ports, at a time.
const MOST_FLOWS: usize = 64;
/// The group of multicast DNS (RFC 6762): the gateway answers for the whole link, with what the host's resolver knows.
const MDNS: Place = (Ipv4Address::new(224, 0, 0, 251), 5353);
/// How long the clock stays real after a datagram, so that an answer can come.
const DATAGRAM_PATIENCE: RealDuration = RealDuration::from_secs(3);
/// Ethernet, like the board's.
const LONGEST_FRAME: usize = 1514;

/// A connection of the node.
struct Flow {
    /// The node's port, and the server's address and port.
    key: (u16, Place),
    state: State,
}

enum State {
    /// The first segment is kept until the server has accepted.
    Connecting(Vec<u8>, Receiver<Connected>),
    Open {
        handle: SocketHandle,
        connection: Connection,
        /// Bytes from the server that the node has not taken yet.
        arrived: VecDeque<u8>,
        /// Bytes from the node that no thread has taken yet.
        leaving: Option<Vec<u8>>,
        /// How the server's side ended.
        end: Option<Came>,
    },
    Over,
}

/// A question to the host's resolver.
struct Question {
    query: Vec<u8>,
    from: Place,
    to: Place,
    answer: Receiver<Vec<Ipv4Address>>,
}

/// The router.
pub(crate) struct Gateway {
    lease: Lease,
    node: EthernetAddress,
    /// The local directory that is served.
    site: Option<Site>,
    bell: Bell,
    interface: Interface,
    sockets: SocketSet<'static>,
    wire: Wire,
    flows: Vec<Flow>,
    questions: Vec<Question>,
    datagrams: BTreeMap<u16, Port>,
    /// The clock stays real until then, so that a datagram can be answered.
    patience: Option<time::Instant>,
    to_node: VecDeque<Vec<u8>>,
}

impl Gateway {
    /// A router for the node `node`, to which it will give `lease`.
    pub(crate) fn new(lease: Lease, node: EthernetAddress, site: Option<Site>) -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(GATEWAY_MAC.into());
        config.random_seed = u64::from(std::process::id()) << 32 ^ 0x9e37_79b9_7f4a_7c15;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            addresses.extend([IpCidr::new(lease.server.into(), lease.address.prefix_len())]);
        });
        // Every address is ours, to the node's eyes.
        interface.set_any_ip(true);
        let _ = interface.routes_mut().add_default_ipv4_route(lease.server);
        Self {
            lease,
            node,
            site,
            bell: Bell::default(),
            interface,
            sockets: SocketSet::new(Vec::new()),
            wire,
            flows: Vec::new(),
            questions: Vec::new(),
            datagrams: BTreeMap::new(),
            patience: None,
            to_node: VecDeque::new(),
        }
    }

    /// The bell that rings when something comes from outside.
    pub(crate) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Whether frames wait for the node.
    pub(crate) fn has_frames(&self) -> bool {
        !self.to_node.is_empty()
    }

    /// Whether somebody outside can still answer a request.
    pub(crate) fn is_connected(&self) -> bool {
        !self.flows.is_empty() || !self.datagrams.is_empty()
    }

    /// Whether a name is being looked up, or a datagram may still be answered.
    pub(crate) fn is_asking(&self) -> bool {
        let waits = |until| time::Instant::now() < until;
        !self.questions.is_empty() || self.patience.is_some_and(waits)
    }

    /// When the stack must be polled again.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }

    /// Takes a frame of the node.
    fn take(&mut self, frame: Vec<u8>) {
        match frames::parse(&frame) {
            // Nobody else has the node's own address.
            Frame::Arp { target, reply } if target != self.lease.address.address() => {
                self.to_node.push_back(reply);
            }
            Frame::Udp(datagram) => {
                let site = self.site.as_mut();
                let site = site.filter(|site| site.address == datagram.to.0 && tftp::is_for(&datagram));
                match site.map(|site| &mut site.tftp) {
                    Some(Some(server)) => {
                        let answer = server.hear(&datagram);
                        self.to_node
                            .extend(answer.map(|answer| frames::emit(self.node, &answer)));
                    }
                    // No socket listens, so the stack answers with a reset.
                    Some(None) => self.wire.inbox.push_back(frame),
                    None => self.datagram(datagram),
                }
            }
            Frame::Syn(port, to) => self.connect((port, to), frame),
            Frame::Stack => self.wire.inbox.push_back(frame),
            // The stack would answer a ping in the name of any host.
            Frame::Arp { .. } | Frame::Other => {}
        }
    }

    fn connect(&mut self, key: (u16, Place), frame: Vec<u8>) {
        let known = self.flows.iter().find(|flow| flow.key == key);
        match known.map(|flow| &flow.state) {
            Some(State::Connecting(..)) => {}
            Some(_) => self.wire.inbox.push_back(frame),
            None if self.flows.len() >= MOST_FLOWS => {}
            None => {
                let (address, port) = key.1;
                let place = match &self.site {
                    Some(site) if address == site.address && port == 80 => match site.web {
                        Some(web) => web,
                        // Nobody listens: the stack answers with a reset.
                        None => return self.wire.inbox.push_back(frame),
                    },
                    _ => SocketAddr::from((address, port)),
                };
                let result = outside::connect(place, &self.bell);
                self.flows.push(Flow {
                    key,
                    state: State::Connecting(frame, result),
                });
            }
        }
    }

    fn datagram(&mut self, datagram: Datagram) {
        let Datagram { from, to, payload } = datagram;
        let server = self.lease.server;
        match to.1 {
            67 => {
                if let Some(payload) = self.lease.answer(&payload) {
                    let answer = Datagram {
                        from: (server, 67),
                        to: (Ipv4Address::BROADCAST, 68),
                        payload,
                    };
                    self.to_node
                        .push_back(frames::emit(EthernetAddress::BROADCAST, &answer));
                }
            }
            _ if to == MDNS || to == (server, 53) => {
                if let Some((name, _)) = dns::question(&payload)
                    && self.questions.len() < MOST_FLOWS
                {
                    self.questions.push(Question {
                        answer: outside::resolve(name, &self.bell),
                        query: payload,
                        from,
                        to,
                    });
                }
            }
            _ if to.0.is_broadcast() || to.0.is_multicast() => {}
            _ => {
                if self.datagrams.len() >= MOST_FLOWS {
                    self.datagrams.pop_first();
                }
                let port = match self.datagrams.entry(from.1) {
                    std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::btree_map::Entry::Vacant(new) => match outside::udp(&self.bell) {
                        Ok(port) => new.insert(port),
                        Err(_) => return,
                    },
                };
                if port.0.send_to(&payload, to).is_ok() {
                    self.patience = Some(time::Instant::now() + DATAGRAM_PATIENCE);
                }
            }
        }
    }

    /// Moves all bytes that can move, in both directions.
    pub(crate) fn pump(&mut self, now: Instant) {
        self.answer();
        loop {
            self.settle_connections(now);
            let polled = self.interface.poll(now, &mut self.wire, &mut self.sockets);
            let moved = self.move_bytes();
            self.to_node.extend(self.wire.outbox.drain(..));
            if polled == PollResult::None && !moved {
                break;
            }
        }
        let sockets = &mut self.sockets;
        self.flows.retain(|flow| match &flow.state {
            State::Open { handle, .. } if !sockets.get::<tcp::Socket<'_>>(*handle).is_open() => {
                sockets.remove(*handle);
                false
            }
            State::Over => false,
            _ => true,
        });
    }

    /// Passes on what came in datagrams.
    fn answer(&mut self) {
        let mut answers = Vec::new();
        let server = self.lease.server;
        self.questions
            .retain(|question| match question.answer.try_recv() {
                Ok(addresses) => {
                    let group = question.to == MDNS;
                    // The resolver does not know the name, so no host of the group answers.
                    if group && addresses.is_empty() {
                        return false;
                    }
                    let bytes = dns::question(&question.query).map_or(&[][..], |(_, bytes)| bytes);
                    answers.push(Datagram {
                        from: if group { (server, MDNS.1) } else { question.to },
                        to: question.from,
                        payload: dns::answer(&question.query, bytes, &addresses),
                    });
                    false
                }
                Err(error) => error == TryRecvError::Empty,
            });
        let node = self.lease.address.address();
        for (port, (_, incoming)) in &self.datagrams {
            for (from, payload) in incoming.try_iter() {
                // A longer datagram would need fragments, which the node does not put together.
                if payload.len() <= LONGEST_FRAME - 42 {
                    answers.push(Datagram {
                        from,
                        to: (node, *port),
                        payload,
                    });
                }
                self.patience = None;
            }
        }
        let frames = answers.iter().map(|answer| frames::emit(self.node, answer));
        self.to_node.extend(frames);
    }

    /// Tells the node how connecting ended.
    fn settle_connections(&mut self, now: Instant) {
        for flow in &mut self.flows {
            let State::Connecting(frame, result) = &mut flow.state else {
                continue;
            };
            let connected = match result.try_recv() {
                Ok(connected) => connected,
                Err(TryRecvError::Empty) => continue,
                Err(TryRecvError::Disconnected) => Connected::Unreachable,
            };
            let frame = std::mem::take(frame);
            flow.state = match connected {
                Connected::Open(connection) => {
                    let mut socket = tcp::Socket::new(
                        tcp::SocketBuffer::new(vec![0; FROM_NODE]),
                        tcp::SocketBuffer::new(vec![0; TO_NODE]),
                    );
                    socket.set_ack_delay(None);
                    socket.set_nagle_enabled(false);
                    let (address, port) = flow.key.1;
                    if socket.listen((address, port)).is_err() {
                        State::Over
                    } else {
                        self.wire.inbox.push_back(frame);
                        State::Open {
                            handle: self.sockets.add(socket),
                            connection,
                            arrived: VecDeque::new(),
                            leaving: None,
                            end: None,
                        }
                    }
                }
                // Nobody listens: the stack answers with a reset.
                Connected::Refused => {
                    self.wire.inbox.push_back(frame);
                    State::Over
                }
                Connected::Unreachable => State::Over,
            };
            // One first segment at a time, so that none meets another's socket.
            while self.interface.poll(now, &mut self.wire, &mut self.sockets) != PollResult::None {}
        }
    }

    /// Moves bytes between the sockets inside and outside; true when some moved.
    fn move_bytes(&mut self) -> bool {
        let mut moved = false;
        for flow in &mut self.flows {
            let State::Open {
                handle,
                connection,
                arrived,
                leaving,
                end,
            } = &mut flow.state
            else {
                continue;
            };
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(*handle);
            while arrived.is_empty() && end.is_none() {
                match connection.incoming.try_recv() {
                    Ok(Came::Bytes(bytes)) => arrived.extend(bytes),
                    Ok(other) => *end = Some(other),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => *end = Some(Came::Reset),
                }
            }
            while socket.can_send() && !arrived.is_empty() {
                let (bytes, _) = arrived.as_slices();
                let Ok(sent @ 1..) = socket.send_slice(bytes) else {
                    break;
                };
                arrived.drain(..sent);
                moved = true;
            }
            if arrived.is_empty() {
                match end {
                    Some(Came::End) if socket.may_send() => {
                        socket.close();
                        moved = true;
                    }
                    // What the server sent before arrives first.
                    Some(Came::Reset) if socket.send_queue() == 0 && socket.is_open() => {
                        socket.abort();
                        moved = true;
                    }
                    _ => {}
                }
            }
            let Some(outgoing) = &connection.outgoing else {
                continue;
            };
            if leaving.is_none() && socket.can_recv() {
                *leaving = socket.recv(|bytes| (bytes.len(), bytes.to_vec())).ok();
            }
            match leaving.take().map(|bytes| outgoing.try_send(bytes)) {
                Some(Ok(())) => moved = true,
                Some(Err(TrySendError::Full(bytes))) => *leaving = Some(bytes),
                Some(Err(TrySendError::Disconnected(_))) => socket.abort(),
                // The node closed its side.
                None if socket.state() == tcp::State::CloseWait => connection.outgoing = None,
                None => {}
            }
        }
        moved
    }
}

/// The node's network interface: the other end is the gateway.
pub(crate) struct Nic(pub(crate) Rc<RefCell<Gateway>>);

/// Leave to send a frame to the gateway.
pub(crate) struct ToGateway(Rc<RefCell<Gateway>>);

impl Device for Nic {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToGateway;

    fn receive(&mut self, now: Instant) -> Option<(Received, ToGateway)> {
        let mut gateway = self.0.borrow_mut();
        if gateway.to_node.is_empty() {
            gateway.pump(now);
        }
        let frame = gateway.to_node.pop_front()?;
        Some((Received(frame), ToGateway(self.0.clone())))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToGateway> {
        Some(ToGateway(self.0.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        ethernet()
    }
}

impl phy::TxToken for ToGateway {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.borrow_mut().take(frame);
        result
    }
}

fn ethernet() -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = LONGEST_FRAME;
    capabilities
}

/// The gateway's own network interface: two queues.
#[derive(Default)]
struct Wire {
    inbox: VecDeque<Vec<u8>>,
    outbox: Vec<Vec<u8>>,
}

/// A frame that arrived.
pub(crate) struct Received(Vec<u8>);

struct ToNode<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = ToNode<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, ToNode<'_>)> {
        let frame = self.inbox.pop_front()?;
        Some((Received(frame), ToNode(&mut self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<ToNode<'_>> {
        Some(ToNode(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        ethernet()
    }
}

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for ToNode<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}
