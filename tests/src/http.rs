//! An HTTP/1.1 server over real TCP (smoltcp's) whose every answer can be spoiled.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpCidr, Ipv4Address, Ipv4Cidr};

use crate::lan::Host;
use crate::station::mac_of;

const PORT: u16 = 80;
/// The entity tag of every reply that has one.
const TAG: &str = "ETag: \"v1\"";
const CONNECTIONS: usize = 4;
const SEND_BUFFER: usize = 64 * 1024;
/// The payload of a full TCP segment: 1500 bytes less the headers of IP and TCP.
const LONGEST_SEGMENT: usize = 1460;
/// The bytes of one segment of each length.
const EACH_LENGTH_ONCE: usize = LONGEST_SEGMENT * (LONGEST_SEGMENT + 1) / 2;

#[derive(Debug, Clone)]
enum Framing {
    Length(u64),
    Chunked(usize),
    UntilClose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    KeepOpen,
    Close,
    Reset,
    Silence,
}

/// One answer, with the faults to inject.
#[derive(Debug, Clone)]
pub struct Reply {
    status: String,
    headers: Vec<String>,
    framing: Framing,
    body: Rc<Vec<u8>>,
    raw: bool,
    stop_after: Option<usize>,
    end: End,
    pace: Option<(usize, Duration)>,
    ramp: bool,
    delay: Duration,
    ranges: bool,
}

impl Reply {
    /// 200 with a body and its Content-Length, on a connection that stays open.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status("200 OK", body)
    }

    /// Any status with a body.
    pub fn status(status: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = Rc::new(body.into());
        Self {
            status: status.into(),
            headers: Vec::new(),
            framing: Framing::Length(body.len() as u64),
            body,
            raw: false,
            stop_after: None,
            end: End::KeepOpen,
            pace: None,
            ramp: false,
            delay: Duration::ZERO,
            ranges: false,
        }
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(&format!("{status} Elsewhere"), "moved").header(&format!("Location: {location}"))
    }

    /// These bytes instead of anything that resembles HTTP; then the connection closes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::ok(bytes);
        reply.raw = true;
        reply.end = End::Close;
        reply
    }

    /// Adds a header line.
    pub fn header(mut self, line: &str) -> Self {
        self.headers.push(line.into());
        self
    }

    /// Announces another length than the body has.
    pub fn claiming(mut self, length: u64) -> Self {
        self.framing = Framing::Length(length);
        self
    }

    /// Sends the body in chunks of `size` bytes.
    pub fn chunked(mut self, size: usize) -> Self {
        self.framing = Framing::Chunked(size);
        self
    }

    /// Sends no length; the end of the connection is the end of the body.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::UntilClose;
        self.end = End::Close;
        self
    }

    /// Sends so many bytes of the body, then closes.
    pub fn truncated(mut self, after: usize) -> Self {
        (self.stop_after, self.end) = (Some(after), End::Close);
        self
    }

    /// Sends so many bytes of the body, then nothing, for ever.
    pub fn stalled(mut self, after: usize) -> Self {
        (self.stop_after, self.end) = (Some(after), End::Silence);
        self
    }

    /// Sends so many bytes of the body, then resets the connection.
    pub fn reset(mut self, after: usize) -> Self {
        (self.stop_after, self.end) = (Some(after), End::Reset);
        self
    }

    /// Closes the connection afterwards without having said so.
    pub fn closing(mut self) -> Self {
        self.end = End::Close;
        self
    }

    /// Sends at most `bytes` in each `interval`.
    pub fn slow(mut self, bytes: usize, interval: Duration) -> Self {
        self.pace = Some((bytes, interval));
        self
    }

    /// Sends the reply in segments of 1 byte, 2, 3 and so on to the longest, and from 1 again. The first time each waits for
    /// its acknowledgement, so that a lost one comes again as it was; after that, as the client's window lets them.
    pub fn every_length(mut self) -> Self {
        (self.pace, self.ramp) = (Some((1, Duration::from_micros(100))), true);
        self
    }

    /// Has an entity tag, and answers a range request that names it.
    pub fn ranges(mut self) -> Self {
        self.ranges = true;
        self.header(TAG)
    }

    /// This reply as the answer to a request with this head.
    fn asked(mut self, head: &str) -> Self {
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let from = field("Range: bytes=").and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
        let same = field("If-Range: ").is_some_and(|tag| TAG.ends_with(tag));
        if let Some(from) = from.filter(|_| self.ranges && same) {
            let (last, all) = (self.body.len() - 1, self.body.len());
            self.status = "206 Partial Content".into();
            self.headers
                .push(format!("Content-Range: bytes {from}-{last}/{all}"));
            self.body = Rc::new(self.body[from..].to_vec());
            self.framing = Framing::Length(self.body.len() as u64);
        }
        if head.starts_with("HEAD ") {
            self.stop_after = Some(0);
        }
        self
    }

    /// Waits before it answers.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn start(&self, now: Instant) -> Sending {
        let mut head = Vec::new();
        let mut body = self.body.clone();
        if !self.raw {
            head.extend(format!("HTTP/1.1 {}\r\n", self.status).bytes());
            self.headers
                .iter()
                .for_each(|line| head.extend(format!("{line}\r\n").bytes()));
            match self.framing {
                Framing::Length(length) => head.extend(format!("Content-Length: {length}\r\n").bytes()),
                Framing::Chunked(size) => {
                    head.extend(b"Transfer-Encoding: chunked\r\n");
                    body = Rc::new(chunked(&body, size));
                }
                Framing::UntilClose => head.extend(b"Connection: close\r\n"),
            }
            head.extend(b"\r\n");
        }
        let body_end = self.stop_after.unwrap_or(body.len()).min(body.len());
        Sending {
            head,
            body,
            body_end,
            position: 0,
            end: self.end,
            pace: self.pace,
            ramp: self.ramp,
            budget: self.pace.map_or(usize::MAX, |(bytes, _)| bytes),
            resume: now + self.delay,
        }
    }
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(size) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// A reply on its way.
struct Sending {
    head: Vec<u8>,
    body: Rc<Vec<u8>>,
    body_end: usize,
    position: usize,
    end: End,
    pace: Option<(usize, Duration)>,
    /// Each segment is a byte longer than the one before, up to the longest.
    ramp: bool,
    budget: usize,
    resume: Instant,
}

impl Sending {
    fn rest(&self) -> &[u8] {
        let rest = match self.position.checked_sub(self.head.len()) {
            None => &self.head[self.position..],
            Some(in_body) => &self.body[in_body.min(self.body_end)..self.body_end],
        };
        &rest[..rest.len().min(self.budget)]
    }

    fn is_done(&self) -> bool {
        self.position >= self.head.len() + self.body_end
    }
}

struct Connection {
    handle: SocketHandle,
    received: Vec<u8>,
    sending: Option<Sending>,
    silent: bool,
    closing: bool,
}

/// A request as received.
#[derive(Debug, Clone)]
pub struct Request {
    /// When its last byte came.
    pub at: Instant,
    /// The request target.
    pub path: String,
    /// The whole head.
    pub head: String,
    /// The body.
    pub body: String,
}

/// Answers a request with this head before the routes are looked at.
type Guard = Box<dyn FnMut(&str) -> Option<Reply>>;

/// The server.
pub struct Http {
    mac: EthernetAddress,
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
    routes: BTreeMap<String, VecDeque<Reply>>,
    /// The answers to HEAD, body included, for paths whose answer to GET differs.
    pub heads: BTreeMap<String, Reply>,
    /// Decides before the routes.
    pub guard: Option<Guard>,
    /// Requests in order.
    pub log: Vec<Request>,
    /// The time in which the server is down: connections are reset, and the port is closed.
    pub away: Option<(Instant, Instant)>,
    /// The time of the last poll.
    polled: Instant,
}

impl Http {
    /// A server at `address`/24.
    pub fn new(address: impl Into<Ipv4Address>) -> Self {
        let address = address.into();
        Self::with_addresses(&[Ipv4Cidr::new(address, 24)])
    }

    /// The one that takes over from another at `address`/24, at an address of its own on the wire.
    pub fn successor(address: impl Into<Ipv4Address>, mac: EthernetAddress) -> Self {
        Self::with(&[Ipv4Cidr::new(address.into(), 24)], mac)
    }

    /// A server with several addresses, for example a router and the network behind it in one.
    pub fn with_addresses(addresses: &[Ipv4Cidr]) -> Self {
        Self::with(addresses, mac_of(addresses[0].address()))
    }

    fn with(addresses: &[Ipv4Cidr], mac: EthernetAddress) -> Self {
        let mut wire = Wire::default();
        let mut config = Config::new(mac.into());
        config.random_seed = 7;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|list| {
            for address in addresses {
                list.push(IpCidr::Ipv4(*address))
                    .expect("no more addresses than smoltcp is built for");
            }
        });
        let mut sockets = SocketSet::new(Vec::new());
        let connections = (0..CONNECTIONS)
            .map(|_| Connection {
                handle: sockets.add(tcp::Socket::new(
                    tcp::SocketBuffer::new(vec![0; 4096]),
                    tcp::SocketBuffer::new(vec![0; SEND_BUFFER]),
                )),
                received: Vec::new(),
                sending: None,
                silent: false,
                closing: false,
            })
            .collect();
        let mut server = Self {
            mac,
            interface,
            wire,
            sockets,
            connections,
            routes: BTreeMap::new(),
            heads: BTreeMap::new(),
            guard: None,
            log: Vec::new(),
            away: None,
            polled: Instant::ZERO,
        };
        server.serve(Instant::ZERO);
        server
    }

    /// Sets the replies of `path`: each is used once, the last for ever; HEAD uses none up. Other paths answer 404.
    pub fn route(&mut self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.routes.insert(path.into(), replies.into_iter().collect());
    }

    /// The paths requested, in order, without HEAD requests.
    pub fn paths(&self) -> Vec<String> {
        let whole = self
            .log
            .iter()
            .filter(|request| !request.head.starts_with("HEAD "));
        whole.map(|request| request.path.clone()).collect()
    }

    /// Method and path of each request, in order.
    pub fn requests(&self) -> Vec<String> {
        let line = |request: &Request| request.head.split(" HTTP").next().unwrap_or_default().to_owned();
        self.log.iter().map(line).collect()
    }

    /// Gives up all connections, as a server does in time with those of a client that is gone.
    pub fn give_up_connections(&mut self) {
        for connection in &self.connections {
            self.sockets.get_mut::<tcp::Socket<'_>>(connection.handle).abort();
        }
    }

    /// Reads requests and writes replies; true when something moved.
    fn serve(&mut self, now: Instant) -> bool {
        let mut moved = false;
        let away = self.away.is_some_and(|(from, to)| (from..to).contains(&now));
        for connection in &mut self.connections {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(connection.handle);
            if away {
                moved |= socket.is_open();
                socket.abort();
                connection.received.clear();
                connection.sending = None;
                continue;
            }
            if !socket.is_open() {
                connection.received.clear();
                connection.sending = None;
                (connection.silent, connection.closing) = (false, false);
                socket.listen(PORT).expect("a closed socket may listen");
                moved = true;
            }
            while socket.can_recv() {
                let received = &mut connection.received;
                let taken = socket.recv(|bytes| {
                    received.extend_from_slice(bytes);
                    (bytes.len(), bytes.len())
                });
                moved |= taken.is_ok_and(|taken| taken > 0);
            }
            if connection.sending.is_none()
                && !connection.silent
                && !connection.closing
                && let Some(end) = connection
                    .received
                    .windows(4)
                    .position(|four| four == b"\r\n\r\n")
            {
                let head = String::from_utf8_lossy(&connection.received[..end + 4]).into_owned();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .map_or(0, |length| length.trim().parse().expect("a length"));
                if connection.received.len() < end + 4 + length {
                    continue;
                }
                connection.received.drain(..end + 4);
                let body: Vec<u8> = connection.received.drain(..length).collect();
                let body = String::from_utf8_lossy(&body).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_string();
                let only_head = head.starts_with("HEAD ");
                let refused = self.guard.as_mut().and_then(|guard| guard(&head));
                let reply = match self.routes.get_mut(&path).filter(|_| refused.is_none()) {
                    Some(replies) if replies.len() > 1 && !only_head => replies.pop_front(),
                    Some(replies) => replies.front().cloned(),
                    None => None,
                };
                let reply = refused.clone().or(reply).unwrap_or_else(|| {
                    Reply::status("404 Not Found", "<!DOCTYPE html><title>404</title>")
                        .header("Content-Type: text/html")
                });
                let odd = self.heads.get(&path).filter(|_| only_head && refused.is_none());
                let reply = odd.cloned().unwrap_or_else(|| reply.asked(&head));
                self.log.push(Request {
                    at: now,
                    path,
                    head,
                    body,
                });
                connection.sending = Some(reply.start(now));
                moved = true;
            }
            moved |= push(now, socket, connection);
            if connection.closing || socket.state() == tcp::State::CloseWait && connection.sending.is_none() {
                socket.close();
            }
        }
        moved
    }
}

/// Writes as much of a connection's reply as the socket and the reply's own pace allow.
fn push(now: Instant, socket: &mut tcp::Socket<'_>, connection: &mut Connection) -> bool {
    let Some(sending) = &mut connection.sending else {
        return false;
    };
    if now < sending.resume {
        return false;
    }
    if sending.budget == 0
        && let Some((bytes, _)) = &mut sending.pace
    {
        if sending.ramp {
            *bytes = *bytes % LONGEST_SEGMENT + 1;
        }
        sending.budget = *bytes;
    }
    // Otherwise Nagle's algorithm would join short segments.
    socket.set_nagle_enabled(!sending.ramp);
    if sending.ramp && sending.position < EACH_LENGTH_ONCE && socket.send_queue() > 0 {
        return false;
    }
    let mut moved = false;
    while socket.can_send() && !sending.rest().is_empty() {
        let Ok(sent) = socket.send_slice(sending.rest()) else {
            break;
        };
        sending.position += sent;
        if let Some((_, interval)) = sending.pace {
            sending.budget -= sent;
            if sending.budget == 0 {
                sending.resume = now + interval;
            }
        }
        moved |= sent > 0;
    }
    if sending.is_done() {
        match sending.end {
            End::KeepOpen => {}
            End::Close => connection.closing = true,
            // A reset discards the send buffer, so the bytes that must arrive leave first.
            End::Reset if socket.send_queue() > 0 => return moved,
            End::Reset => socket.abort(),
            End::Silence => connection.silent = true,
        }
        connection.sending = None;
        moved = true;
    }
    moved
}

impl Host for Http {
    fn mac(&self) -> EthernetAddress {
        self.mac
    }

    fn receive(&mut self, _: Instant, frame: &[u8]) {
        self.wire.inbox.push_back(frame.to_vec());
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        self.polled = now;
        loop {
            let polled = self.interface.poll(now, &mut self.wire, &mut self.sockets);
            let served = self.serve(now);
            if polled == PollResult::None && !served {
                break;
            }
        }
        self.wire.outbox.drain(..).for_each(send);
    }

    fn next(&mut self, now: Instant) -> Option<Instant> {
        let resume = self
            .connections
            .iter()
            .filter_map(|connection| connection.sending.as_ref())
            .map(|sending| sending.resume)
            .filter(|resume| *resume > self.polled);
        let away = self.away.into_iter().flat_map(|(from, to)| [from, to]);
        self.interface
            .poll_at(now, &self.sockets)
            .into_iter()
            .chain(resume)
            .chain(away.filter(|at| *at > self.polled))
            .min()
    }
}

/// The server's own NIC: two queues.
#[derive(Default)]
struct Wire {
    inbox: VecDeque<Vec<u8>>,
    outbox: Vec<Vec<u8>>,
}

struct RxToken(Vec<u8>);
struct TxToken<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Wire {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let frame = self.inbox.pop_front()?;
        Some((RxToken(frame), TxToken(&mut self.outbox)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        Some(TxToken(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}
