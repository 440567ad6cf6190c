//! The DHCP client's states and timers (RFC 2131 §4.4, RFC 5227, PXE 2.1), without a clock or a NIC: frames in, frames out.
//!
//! ```text
//! Selecting → Requesting → Probing → (Asking) → Bound: renewing from T1, rebinding from T2, lost at the end
//! ```
//!
//! It never gives up: DISCOVERs go out after 1, 2, 4 … 32 s and then every 32 s, each pause varied by a quarter, because a
//! server that is down for an hour must find its nodes when it is back. We can take a unicast reply before we have an
//! address, so the first DISCOVER leaves the broadcast flag clear; every second one sets it, for servers and relays that
//! cannot send such replies.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, Ipv4Address};

use super::frame::{self, Heard, Peer};
use super::grant::{self, Grant, names_boot};
use super::identity::Identity;
use super::model::Lease;
use super::offers::{Choice, LastNak, Offer, Offers, Proxy, Service};
use super::packet::{Ask, MessageType, Refusal, Reply, Request};
use super::silence::Silence;
use crate::hal::{Mac, NEVER};
use crate::patience;
use crate::random::Random;

const SERVER_PORT: u16 = 67;
/// The port of PXE boot services.
const PXE_PORT: u16 = 4011;
/// How many REQUESTs are sent for an offer before it is given up, in 15 s.
const REQUESTS: u32 = 4;
/// ARP probes, and how long an answer to each may take. RFC 5227 takes seconds, which every boot would pay (D-20).
const PROBES: u32 = 2;
const PROBE_WAIT: Duration = Duration::from_millis(150);
/// Requests to a PXE boot service, and the first pause, which doubles: 3.75 s in all.
const SERVICE_REQUESTS: u32 = 4;
const SERVICE_WAIT: Duration = Duration::from_millis(250);
/// How many offers are told one by one; of more, each power of two.
const OFFERS_TOLD: u32 = 16;

/// The client.
#[derive(Debug)]
pub(crate) struct Client {
    identity: Identity,
    checksums: ChecksumCapabilities,
    random: Random,
    state: State,
    xid: u32,
    /// When the current exchange began: the header's `secs` counts from here. Set by the first message.
    since: Option<Instant>,
    /// DISCOVERs since the last lease.
    discovers: u32,
    /// The last address, which the next DISCOVER requests (option 50).
    requested: Option<Ipv4Address>,
    /// The last server that refused what it had offered. Cleared when any server grants a lease.
    last_nak: Option<LastNak>,
    /// Whether only an address matters: `bramble.url` says what boots (D-105).
    hasty: bool,
    /// The next frame to send.
    outbox: Option<Vec<u8>>,
    /// Whether the configuration has changed since the last look.
    changed: bool,
    /// Says so when nobody offers anything for long.
    silence: Silence,
    /// How many malformed packets were dropped, and of how many a part was left out.
    refused: u32,
    unfit: u32,
    /// How many offers were kept since the last lease.
    offers: u32,
}

#[derive(Debug)]
enum State {
    /// Sends DISCOVERs and gathers offers.
    Selecting { offers: Offers, next: Instant },
    /// Sends REQUESTs for the chosen offer.
    Requesting {
        choice: Choice,
        tries: u32,
        next: Instant,
    },
    /// Probes the granted address for another owner (RFC 5227).
    Probing {
        binding: Binding,
        proxy: Option<Proxy>,
        probes: u32,
        next: Instant,
    },
    /// Asks a PXE boot service what to boot; the address is already in use.
    Asking {
        binding: Binding,
        service: Service,
        tries: u32,
        next: Instant,
    },
    /// Holds a lease; `next` is the time of the next renewal.
    Bound { binding: Binding, next: Instant },
}

/// A server's grant.
#[derive(Debug, Clone)]
struct Binding {
    lease: Lease,
    /// Next hop to the server.
    mac: EthernetAddress,
    /// T1, T2 and the end of the lease; `None` for an infinite lease.
    renewal: Option<[Instant; 3]>,
}

impl Binding {
    fn new(grant: Grant, now: Instant, mac: EthernetAddress) -> Self {
        let renewal = grant.times.map(|t| [now + t.t1, now + t.t2, now + t.end]);
        Self {
            lease: grant.lease,
            mac,
            renewal,
        }
    }

    fn address(&self) -> Ipv4Address {
        self.lease.address.address()
    }

    fn t1(&self) -> Instant {
        self.renewal.map_or(NEVER, |[t1, ..]| t1)
    }

    /// Whether `server` may answer a renewal: the granting one alone until T2, then any.
    fn may_be_renewed(&self, now: Instant, server: Ipv4Address) -> bool {
        self.renewal
            .is_some_and(|[t1, t2, _]| now >= t2 || (now >= t1 && server == self.lease.server))
    }
}

impl Client {
    /// Transaction ids and back-off come from these numbers from now on.
    pub(crate) fn draw_from(&mut self, random: Random) {
        self.random = random;
    }

    /// A client that will send its first DISCOVER at once.
    pub(crate) fn new(identity: Identity, checksums: ChecksumCapabilities, mut random: Random) -> Self {
        let xid = random.next_u32();
        Self {
            identity,
            checksums,
            random,
            state: State::Selecting {
                offers: Offers::default(),
                next: Instant::ZERO,
            },
            xid,
            since: None,
            discovers: 0,
            requested: None,
            last_nak: None,
            hasty: false,
            outbox: None,
            changed: false,
            silence: Silence::default(),
            refused: 0,
            unfit: 0,
            offers: 0,
        }
    }

    /// The lease, once everything about it is known.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { binding, .. } => Some(&binding.lease),
            _ => None,
        }
    }

    /// What the interface must be set to: the address is in use before everything about the lease is known.
    pub(crate) fn configuration(&self) -> Option<&Lease> {
        match &self.state {
            State::Asking { binding, .. } | State::Bound { binding, .. } => Some(&binding.lease),
            _ => None,
        }
    }

    /// Whether `configuration` changed since the last call.
    pub(crate) fn take_change(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Gives up the lease, if there is one, and starts again.
    pub(crate) fn ask_again(&mut self, now: Instant) {
        self.requested = self
            .configuration()
            .map(|lease| lease.address.address())
            .or(self.requested);
        self.discovers = 0;
        self.since = None;
        self.select(now);
    }

    /// From the next DISCOVER on, asks for an address alone, or not (D-105).
    pub(crate) fn hasten(&mut self, hasty: bool) {
        self.hasty = hasty;
        if self.discovers == 0
            && let State::Selecting { offers, .. } = &mut self.state
        {
            *offers = Offers::new(self.last_nak, hasty, self.random.next_u32());
        }
    }

    /// Sends another user class from the next message on.
    pub(crate) fn call_itself(&mut self, class: &str) {
        self.identity.user_class = class.into();
    }

    /// When `poll` has something to do.
    pub(crate) fn wake_at(&self) -> Instant {
        if self.outbox.is_some() {
            return Instant::ZERO;
        }
        match &self.state {
            State::Selecting { offers, next } => match offers.decide_at() {
                Some(decide_at) => decide_at.min(*next),
                None => self.silence.due().min(*next),
            },
            State::Requesting { next, .. }
            | State::Probing { next, .. }
            | State::Asking { next, .. }
            | State::Bound { next, .. } => *next,
        }
    }

    /// Advances the timers. Returns the next frame to send; call it until there is none.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.outbox.take() {
                return Some(frame);
            }
            if now < self.wake_at() {
                return None;
            }
            // Each step moves its timer past `now` or leaves for a later state, so this ends.
            self.step(now);
        }
    }

    /// Looks at a received frame. `true` when it concerned DHCP alone, so the stack need not see it.
    pub(crate) fn hear(&mut self, now: Instant, frame: &[u8]) -> bool {
        self.silence.hears();
        match Heard::read(frame, self.identity.mac, &self.checksums) {
            Some(Heard::Dhcp { from, payload }) => {
                match self.answer(now, from, payload) {
                    Ok(()) => {}
                    Err(Refusal::NotOurs) => self.silence.passes(),
                    Err(refusal) => {
                        self.refused = self.refused.saturating_add(1);
                        // Only some of many bad packets are logged.
                        if self.refused.is_power_of_two() {
                            warn!(
                                "lease: packet {} from {} refused: {}",
                                self.refused, from.ip, refusal
                            );
                        }
                    }
                }
                true
            }
            Some(Heard::Arp { sender, target }) => {
                self.arp(now, sender, target);
                false
            }
            None => false,
        }
    }

    /// A timer is due.
    fn step(&mut self, now: Instant) {
        match &mut self.state {
            State::Selecting { offers, next } => {
                if let Some(choice) = offers.decide(now) {
                    self.state = State::Requesting {
                        choice,
                        tries: 0,
                        next: now,
                    };
                    self.silence = Silence::default();
                    return;
                }
                if let Some(line) = self.silence.line(now, self.identity.mac) {
                    warn!("lease: {}", line);
                }
                if now < *next {
                    return;
                }
                self.discovers = self.discovers.saturating_add(1);
                *next = now + backoff(self.discovers, &mut self.random);
                self.discover(now);
            }
            State::Requesting { choice, tries, next } => {
                let lease = &choice.offer.grant.lease;
                let (server, address) = (lease.server, lease.address.address());
                if *tries >= REQUESTS {
                    warn!("lease: {} does not grant what it offered", server);
                    self.last_nak = Some(LastNak::after(self.last_nak, server));
                    self.select(now);
                    return;
                }
                *tries = tries.saturating_add(1);
                *next = now + backoff(*tries, &mut self.random);
                let request = Request {
                    broadcast: self.discovers.is_multiple_of(2),
                    requested: Some(address),
                    server: Some(server),
                    ..self.message(now)
                };
                self.broadcast(&request);
            }
            State::Probing {
                binding,
                proxy,
                probes,
                next,
            } => {
                let address = binding.address();
                if *probes < PROBES {
                    *probes = probes.saturating_add(1);
                    *next = now + PROBE_WAIT;
                    self.outbox = Some(frame::arp_probe(self.identity.mac, address));
                } else {
                    self.outbox = Some(frame::arp_announcement(self.identity.mac, address));
                    let (binding, proxy) = (binding.clone(), proxy.take());
                    self.own(now, binding, proxy);
                }
            }
            State::Asking {
                binding,
                service,
                tries,
                next,
            } => {
                if *tries >= SERVICE_REQUESTS {
                    warn!("lease: boot service {} does not answer", service.server.ip);
                    let binding = binding.clone();
                    self.bind(binding);
                    return;
                }
                // The shift is below SERVICE_REQUESTS.
                *next = now + SERVICE_WAIT * (1 << *tries);
                *tries = tries.saturating_add(1);
                let (address, server, boot_item) = (binding.address(), service.server, service.item);
                let request = Request {
                    ciaddr: address,
                    boot_item,
                    ..self.message(now)
                };
                self.unicast(address, server, PXE_PORT, &request);
            }
            State::Bound { .. } => self.renew(now),
        }
    }

    /// Asks to keep the address, as long as it is ours.
    fn renew(&mut self, now: Instant) {
        let State::Bound { binding, next } = &mut self.state else {
            return;
        };
        let Some([_, t2, end]) = binding.renewal else {
            *next = NEVER;
            return;
        };
        if now >= end {
            warn!("lease: {} expired", binding.lease.address);
            self.ask_again(now);
            return;
        }
        // Half of the time left in this phase, at least a minute, at most to its end (RFC 2131 §4.4.5).
        let phase_end = if now < t2 { t2 } else { end };
        *next = (now + ((phase_end - now) / 2).max(patience::RENEWAL)).min(phase_end);
        let granting = Peer {
            mac: binding.mac,
            ip: binding.lease.server,
        };
        let server = if now < t2 { granting } else { Peer::ALL };
        let address = binding.address();
        // A renewal names neither a requested address nor a server (RFC 2131 §4.3.2).
        let request = Request {
            ciaddr: address,
            ..self.message(now)
        };
        self.unicast(address, server, SERVER_PORT, &request);
    }

    /// A DHCP message arrived.
    fn answer(&mut self, now: Instant, from: Peer, payload: &[u8]) -> Result<(), Refusal> {
        let reply = Reply::parse(payload, self.xid, self.identity.mac)?;
        let result = self.take(now, from, &reply);
        if let Some(what) = reply.left_out() {
            self.unfit = self.unfit.saturating_add(1);
            // Only some of many.
            if self.unfit.is_power_of_two() {
                warn!("lease: {}", what);
            }
        }
        result
    }

    /// A message of this transaction.
    fn take(&mut self, now: Instant, from: Peer, reply: &Reply) -> Result<(), Refusal> {
        let server = grant::server(reply, from.ip)?;
        match (&mut self.state, reply.kind) {
            (State::Selecting { offers, .. }, MessageType::Offer) => {
                let Some(line) = offered(offers, now, from, reply)? else {
                    return Ok(());
                };
                self.offers = self.offers.saturating_add(1);
                // Anybody can be any number of servers.
                if self.offers <= OFFERS_TOLD || self.offers.is_power_of_two() {
                    info!("lease: {}", line);
                }
                Ok(())
            }
            (State::Requesting { choice, .. }, MessageType::Ack) if choice.server() == server => {
                let grant = grant::read(reply, from.ip)?;
                let proxy = choice.proxy.take().filter(|_| !names_boot(&grant.lease));
                let binding = Binding::new(grant, now, from.mac);
                self.state = State::Probing {
                    binding,
                    proxy,
                    probes: 0,
                    next: now,
                };
                Ok(())
            }
            (State::Requesting { choice, .. }, MessageType::Nak) if choice.server() == server => {
                warn!("lease: {} takes its offer back", server);
                self.requested = None;
                self.last_nak = Some(LastNak::after(self.last_nak, server));
                let pause = backoff(self.discovers, &mut self.random);
                self.select(now + pause);
                Ok(())
            }
            (
                State::Asking {
                    binding,
                    service,
                    tries,
                    next,
                },
                MessageType::Ack | MessageType::Offer,
            ) if [server, from.ip].contains(&service.server.ip) => {
                let boot = grant::boot_part(reply, from.ip)?;
                if names_boot(&boot) {
                    let mut binding = binding.clone();
                    grant::merge_boot(&mut binding.lease, &boot);
                    self.bind(binding);
                    return Ok(());
                }
                // The offer has a boot menu instead of a boot file: the service is asked for an item of it.
                let item = reply.first_boot_item().filter(|_| service.item.is_none());
                service.item = Some(item.ok_or(Refusal::Nothing)?);
                (*tries, *next) = (0, now);
                Ok(())
            }
            (State::Bound { binding, .. }, MessageType::Ack) if binding.may_be_renewed(now, server) => {
                let grant = grant::read(reply, from.ip)?;
                let address = grant.lease.address.address();
                if address != binding.address() {
                    return Err(Refusal::Address(address));
                }
                let mut renewed = Binding::new(grant, now, from.mac);
                if !names_boot(&renewed.lease) {
                    // A proxy has no lease to renew, so nobody asks it again.
                    grant::keep_boot(&mut renewed.lease, &binding.lease);
                }
                self.bind(renewed);
                Ok(())
            }
            (State::Bound { binding, .. }, MessageType::Nak) if binding.may_be_renewed(now, server) => {
                warn!("lease: {} takes {} back", server, binding.address());
                self.ask_again(now);
                self.requested = None;
                Ok(())
            }
            _ => Err(Refusal::NotOurs),
        }
    }

    /// An ARP packet passed by.
    fn arp(&mut self, now: Instant, sender: Peer, target: Ipv4Address) {
        let State::Probing { binding, .. } = &self.state else {
            return;
        };
        let (address, server) = (binding.address(), binding.lease.server);
        let claims = sender.ip == address || (sender.ip.is_unspecified() && target == address);
        if !claims || sender.mac == self.identity.mac {
            return;
        }
        warn!(
            "lease: {} already belongs to {}; declined",
            address,
            Mac(sender.mac)
        );
        let decline = Request {
            kind: Ask::Decline,
            requested: Some(address),
            server: Some(server),
            ..self.message(now)
        };
        self.requested = None;
        self.select(now + patience::ADDRESS_CONFLICT);
        self.broadcast(&decline);
    }

    /// Starts over with a DISCOVER at `next`, under a new transaction, so that late answers no longer count.
    fn select(&mut self, next: Instant) {
        self.changed |= self.configuration().is_some();
        self.outbox = None;
        self.xid = self.random.next_u32();
        self.state = State::Selecting {
            offers: Offers::new(self.last_nak, self.hasty, self.random.next_u32()),
            next,
        };
    }

    /// The probes found no other owner: the address is in use from here on.
    fn own(&mut self, now: Instant, mut binding: Binding, proxy: Option<Proxy>) {
        match proxy {
            Some(Proxy { boot, service }) if !names_boot(&boot) => {
                self.changed = true;
                self.state = State::Asking {
                    binding,
                    service,
                    tries: 0,
                    next: now,
                };
            }
            Some(Proxy { boot, .. }) => {
                grant::merge_boot(&mut binding.lease, &boot);
                self.bind(binding);
            }
            None => self.bind(binding),
        }
    }

    /// The lease is complete; a renewal is a new transaction.
    fn bind(&mut self, binding: Binding) {
        if self.lease() != Some(&binding.lease) {
            info!("lease: {}", binding.lease);
            self.changed = true;
        }
        self.discovers = 0;
        self.since = None;
        self.last_nak = None;
        self.offers = 0;
        self.xid = self.random.next_u32();
        self.state = State::Bound {
            next: binding.t1(),
            binding,
        };
    }

    fn discover(&mut self, now: Instant) {
        if self.discovers == 1 {
            info!("lease: asking as {}", Mac(self.identity.mac));
        }
        self.silence.asks(now);
        let discover = Request {
            kind: Ask::Discover,
            broadcast: self.discovers.is_multiple_of(2),
            requested: self.requested,
            ..self.message(now)
        };
        self.broadcast(&discover);
    }

    /// A REQUEST without options.
    fn message(&mut self, now: Instant) -> Request {
        let since = *self.since.get_or_insert(now);
        Request {
            kind: Ask::Request,
            xid: self.xid,
            secs: u16::try_from((now - since).secs()).unwrap_or(u16::MAX),
            broadcast: false,
            ciaddr: Ipv4Address::UNSPECIFIED,
            requested: None,
            server: None,
            boot_item: None,
        }
    }

    /// Broadcasts from 0.0.0.0.
    fn broadcast(&mut self, request: &Request) {
        self.unicast(Ipv4Address::UNSPECIFIED, Peer::ALL, SERVER_PORT, request);
    }

    /// Sends to `server`, from `address`.
    fn unicast(&mut self, address: Ipv4Address, server: Peer, port: u16, request: &Request) {
        let from = Peer {
            mac: self.identity.mac,
            ip: address,
        };
        let payload = request.encode(&self.identity);
        self.outbox = Some(frame::datagram(from, server, port, &payload, &self.checksums));
    }
}

/// An OFFER: of an address, or of a boot service without one. What to say of it, when it was kept.
fn offered(offers: &mut Offers, now: Instant, from: Peer, reply: &Reply) -> Result<Option<String>, Refusal> {
    let server = Peer {
        ip: grant::server(reply, from.ip)?,
        ..from
    };
    let service = reply.is_pxe().then(|| Service {
        server,
        item: reply.first_boot_item(),
    });
    match service {
        _ if !reply.yiaddr.is_unspecified() => {
            let grant = grant::read(reply, from.ip)?;
            let line = format!("{} offers {}", grant.lease.server, grant.lease.address.address());
            Ok(offers.add(now, Offer { grant, service }).then_some(line))
        }
        Some(service) => {
            let boot = grant::boot_part(reply, from.ip)?;
            let line = format!("{} is a boot service", server.ip);
            Ok(offers.add_proxy(now, Proxy { boot, service }).then_some(line))
        }
        None => Err(Refusal::Nothing),
    }
}

/// The pause after the `n`th message without an answer: 1 s, 2 s, 4 s … 32 s, give or take a quarter.
fn backoff(n: u32, random: &mut Random) -> Duration {
    let base = 1000_u64.checked_shl(n.saturating_sub(1).min(5)).unwrap_or(32_000);
    Duration::from_millis(
        base.saturating_sub(base / 4)
            .saturating_add(random.below(base / 2)),
    )
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::packet::tests::identity;
    use super::*;

    const SERVER: Peer = Peer {
        mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
        ip: Ipv4Address::new(10, 0, 0, 1),
    };
    const OTHER: Peer = Peer {
        mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
        ip: Ipv4Address::new(10, 0, 0, 2),
    };
    const NODE: [u8; 4] = [10, 0, 0, 9];

    fn at(millis: i64) -> Instant {
        Instant::from_millis(millis)
    }

    fn client() -> Client {
        Client::new(identity(), ChecksumCapabilities::default(), Random::fixed(7))
    }

    /// A frame that the client sent, taken apart.
    #[derive(Debug, PartialEq)]
    enum Sent {
        Dhcp {
            kind: u8,
            to: Peer,
            port: u16,
            ciaddr: [u8; 4],
            requested: Option<[u8; 4]>,
            server: Option<[u8; 4]>,
        },
        Arp {
            sender: Ipv4Address,
            target: Ipv4Address,
        },
    }

    fn value(payload: &[u8], tag: u8) -> Option<&[u8]> {
        super::super::model::sub_option(&payload[240..], tag)
    }

    /// The UDP payload of a frame that was sent, with its destination and port.
    fn payload(frame: &[u8]) -> Option<(Peer, u16, &[u8])> {
        if frame[12..14] != [8, 0] {
            return None;
        }
        let ip = Ipv4Address::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap());
        let mac = EthernetAddress::from_bytes(&frame[..6]);
        Some((
            Peer { mac, ip },
            u16::from_be_bytes([frame[36], frame[37]]),
            &frame[42..],
        ))
    }

    fn parse(frame: &[u8]) -> Sent {
        let Some((to, port, payload)) = payload(frame) else {
            let Some(Heard::Arp { sender, target }) =
                Heard::read(frame, EthernetAddress([0; 6]), &ChecksumCapabilities::default())
            else {
                panic!("neither DHCP nor ARP");
            };
            return Sent::Arp {
                sender: sender.ip,
                target,
            };
        };
        let address = |tag| value(payload, tag).map(|v| v.try_into().unwrap());
        Sent::Dhcp {
            kind: value(payload, 53).unwrap()[0],
            to,
            port,
            ciaddr: payload[12..16].try_into().unwrap(),
            requested: address(50),
            server: address(54),
        }
    }

    /// All that the client sends by `until`, with the time.
    fn run(client: &mut Client, until: i64) -> Vec<(i64, Sent)> {
        let mut sent = Vec::new();
        let mut now = client.wake_at().max(Instant::ZERO);
        while now <= at(until) {
            while let Some(frame) = client.poll(now) {
                sent.push((now.total_millis(), parse(&frame)));
            }
            assert!(client.wake_at() > now, "a timer that does not advance");
            now = client.wake_at();
        }
        sent
    }

    /// A server's message, as it answers `xid`.
    fn message(xid: u32, kind: u8, yiaddr: [u8; 4], options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut payload = super::super::packet::tests::reply(kind, yiaddr, options);
        payload[4..8].copy_from_slice(&xid.to_be_bytes());
        payload
    }

    fn frame_from(peer: Peer, payload: &[u8]) -> Vec<u8> {
        let mut frame = frame::datagram(peer, Peer::ALL, 68, payload, &ChecksumCapabilities::default());
        // From the server's port; the client does not look at it, and the checksum may be left out.
        frame[34..36].copy_from_slice(&67_u16.to_be_bytes());
        frame[40..42].fill(0);
        frame
    }

    /// Delivers a message of `peer` that grants or offers NODE for 100 s, with `more` options.
    fn hear(client: &mut Client, now: i64, peer: Peer, kind: u8, yiaddr: [u8; 4], more: &[(u8, &[u8])]) {
        let server = peer.ip.octets();
        let mut options: Vec<(u8, &[u8])> =
            vec![(54, &server), (51, &[0, 0, 0, 100]), (1, &[255, 255, 255, 0])];
        options.extend(more);
        let frame = frame_from(peer, &message(client.xid, kind, yiaddr, &options));
        assert!(client.hear(at(now), &frame));
    }

    const MENU: &[(u8, &[u8])] = &[(67, b"menu")];

    /// A client that got its lease at 300 ms.
    fn bound() -> Client {
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, MENU);
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 5, NODE, MENU);
        run(&mut client, 300);
        assert!(client.lease().is_some());
        client
    }

    fn dhcp(kind: u8, requested: Option<[u8; 4]>, server: Option<[u8; 4]>) -> Sent {
        Sent::Dhcp {
            kind,
            to: Peer::ALL,
            port: 67,
            ciaddr: [0; 4],
            requested,
            server,
        }
    }

    #[test]
    fn discover_offer_request_ack_probe_bound() {
        let mut client = client();
        assert_eq!(run(&mut client, 0), [(0, dhcp(1, None, None))]);
        hear(&mut client, 0, SERVER, 2, NODE, MENU);
        let server = SERVER.ip.octets();
        assert_eq!(run(&mut client, 10), [(0, dhcp(3, Some(NODE), Some(server)))]);
        hear(&mut client, 20, SERVER, 5, NODE, MENU);
        let (none, node) = (Ipv4Address::UNSPECIFIED, Ipv4Address::from(NODE));
        assert_eq!(client.lease(), None);
        assert_eq!(
            run(&mut client, 1000),
            [
                (
                    20,
                    Sent::Arp {
                        sender: none,
                        target: node
                    }
                ),
                (
                    170,
                    Sent::Arp {
                        sender: none,
                        target: node
                    }
                ),
                (
                    320,
                    Sent::Arp {
                        sender: node,
                        target: node
                    }
                ),
            ]
        );
        assert!(client.take_change() && !client.take_change());
        assert_eq!(
            client.lease().unwrap().to_string(),
            "10.0.0.9/24 from 10.0.0.1, boot file menu"
        );
        assert_eq!(client.refused + client.silence.others, 0);
    }

    #[test]
    fn it_asks_for_ever_with_growing_jittered_pauses_and_counted_seconds() {
        let mut client = client();
        let sent = run(&mut client, 86_400_000);
        let pauses: Vec<i64> = sent.windows(2).map(|w| w[1].0 - w[0].0).collect();
        for (n, pause) in pauses.iter().enumerate() {
            let base = 1000 << n.min(5);
            assert!((base * 3 / 4..base * 5 / 4).contains(pause), "{n}: {pause}");
        }
        assert!(pauses.len() > 2000);
        let message = client.message(at(86_400_000));
        assert_eq!(message.secs, u16::MAX);
        assert_eq!(client.since, Some(Instant::ZERO));
    }

    #[test]
    fn every_second_discover_asks_for_broadcast_replies() {
        let mut client = client();
        let mut flags = Vec::new();
        while flags.len() < 4 {
            // It also wakes to say that nobody answers.
            if let Some(frame) = client.poll(client.wake_at()) {
                flags.push(frame[42 + 10]);
            }
        }
        assert_eq!(flags, [0, 0x80, 0, 0x80]);
    }

    #[test]
    fn a_server_that_offers_but_never_grants_is_left_after_four_requests() {
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, MENU);
        let xid = client.xid;
        let sent = run(&mut client, 20_000);
        let kinds: Vec<u8> = sent
            .iter()
            .map(|(_, s)| if let Sent::Dhcp { kind, .. } = s { *kind } else { 0 })
            .collect();
        assert_eq!(kinds[..5], [3, 3, 3, 3, 1]);
        assert_ne!(client.xid, xid);
    }

    #[test]
    fn a_server_that_does_not_grant_is_taken_again_only_when_no_other_offers() {
        for nak in [false, true] {
            let mut client = client();
            run(&mut client, 0);
            hear(&mut client, 0, SERVER, 2, NODE, MENU);
            let mut now = 20_000;
            if nak {
                run(&mut client, 0);
                hear(&mut client, 1, SERVER, 6, [0; 4], &[]);
                now = 1300;
            }
            run(&mut client, now);
            assert!(matches!(client.state, State::Selecting { .. }));
            hear(&mut client, now, SERVER, 2, NODE, MENU);
            assert!(matches!(client.state, State::Selecting { .. }));
            hear(&mut client, now + 500, OTHER, 2, NODE, MENU);
            // Others are heard, too, before one is taken.
            run(&mut client, now + 1999);
            assert!(matches!(client.state, State::Selecting { .. }));
            run(&mut client, now + 2000);
            let State::Requesting { choice, .. } = &client.state else {
                panic!("{:?}", client.state)
            };
            assert_eq!(choice.server(), OTHER.ip);
        }
        // Alone it gets another chance, two seconds later.
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, MENU);
        run(&mut client, 20_000);
        hear(&mut client, 20_000, SERVER, 2, NODE, MENU);
        run(&mut client, 22_000);
        assert!(matches!(client.state, State::Requesting { .. }));
    }

    #[test]
    fn a_nak_leads_back_to_discover_after_a_pause() {
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, MENU);
        run(&mut client, 0);
        hear(&mut client, 1, OTHER, 6, [0; 4], &[]);
        assert!(matches!(client.state, State::Requesting { .. }));
        hear(&mut client, 1, SERVER, 6, [0; 4], &[]);
        let sent = run(&mut client, 1300);
        assert_eq!(sent.len(), 1);
        assert!(sent[0].0 >= 750 && sent[0].1 == dhcp(1, None, None), "{sent:?}");
    }

    #[test]
    fn acks_of_other_servers_and_other_conversations_are_dropped() {
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, MENU);
        run(&mut client, 0);
        hear(&mut client, 1, OTHER, 5, NODE, MENU);
        let stale = message(client.xid ^ 1, 5, NODE, &[(54, &SERVER.ip.octets())]);
        assert!(client.hear(at(1), &frame_from(SERVER, &stale)));
        assert!(matches!(client.state, State::Requesting { .. }));
        assert_eq!((client.silence.others, client.refused), (2, 0));
    }

    #[test]
    fn hostile_offers_are_dropped_and_counted() {
        let mut client = client();
        run(&mut client, 0);
        for yiaddr in [[0; 4], [255; 4], [224, 0, 0, 1], [127, 0, 0, 1], [10, 0, 0, 255]] {
            hear(&mut client, 0, SERVER, 2, yiaddr, MENU);
        }
        hear(
            &mut client,
            0,
            Peer {
                ip: Ipv4Address::BROADCAST,
                ..SERVER
            },
            2,
            NODE,
            MENU,
        );
        assert_eq!((client.silence.others, client.refused), (0, 6));
        let State::Selecting { offers, .. } = &client.state else {
            panic!()
        };
        assert_eq!(offers.decide_at(), None);
    }

    #[test]
    fn an_address_in_use_is_declined_and_asked_anew_after_ten_seconds() {
        for (sender, target) in [(NODE, [10, 0, 0, 77]), ([0; 4], NODE)] {
            let mut client = client();
            run(&mut client, 0);
            hear(&mut client, 0, SERVER, 2, NODE, MENU);
            run(&mut client, 0);
            hear(&mut client, 0, SERVER, 5, NODE, MENU);
            run(&mut client, 100);
            // Our own probe, come back through a loop, is no conflict.
            let own = frame::arp_probe(client.identity.mac, NODE.into());
            assert!(!client.hear(at(100), &own));
            assert!(matches!(client.state, State::Probing { .. }));
            let mut claim = frame::arp_probe(OTHER.mac, target.into());
            claim[28..32].copy_from_slice(&sender);
            assert!(!client.hear(at(100), &claim));
            let server = SERVER.ip.octets();
            let decline = client.poll(at(100)).unwrap();
            assert_eq!(parse(&decline), dhcp(4, Some(NODE), Some(server)));
            assert_eq!(run(&mut client, 10_100), [(10_100, dhcp(1, None, None))]);
            assert!(client.lease().is_none() && client.configuration().is_none());
        }
    }

    #[test]
    fn renewal_is_unicast_from_t1_broadcast_from_t2_and_ends_in_a_new_discover() {
        let mut client = bound();
        let renew = |to| Sent::Dhcp {
            kind: 3,
            to,
            port: 67,
            ciaddr: NODE,
            requested: None,
            server: None,
        };
        assert_eq!(
            run(&mut client, 100_000),
            [
                (50_000, renew(SERVER)),
                (87_500, renew(Peer::ALL)),
                (100_000, dhcp(1, Some(NODE), None)),
            ]
        );
        assert!(client.lease().is_none() && client.take_change());
    }

    #[test]
    fn a_renewed_lease_counts_from_its_ack_and_keeps_the_boot_file() {
        let mut client = bound();
        let before = client.lease().cloned();
        run(&mut client, 50_000);
        client.take_change();
        hear(&mut client, 50_010, OTHER, 5, NODE, &[]);
        assert_eq!(client.wake_at(), at(87_500));
        hear(&mut client, 50_010, SERVER, 5, [10, 0, 0, 10], &[]);
        assert_eq!(client.wake_at(), at(87_500));
        hear(&mut client, 50_010, SERVER, 5, NODE, &[]);
        assert_eq!(client.wake_at(), at(100_010));
        assert_eq!(client.lease().cloned(), before);
        assert!(!client.take_change());
    }

    #[test]
    fn any_server_may_answer_after_t2() {
        let mut client = bound();
        run(&mut client, 87_500);
        hear(&mut client, 87_600, OTHER, 5, NODE, MENU);
        assert_eq!(client.lease().unwrap().server, OTHER.ip);
    }

    #[test]
    fn a_nak_while_renewing_takes_the_lease_away() {
        let mut client = bound();
        run(&mut client, 50_000);
        hear(&mut client, 50_001, OTHER, 6, [0; 4], &[]);
        assert!(client.lease().is_some());
        hear(&mut client, 50_001, SERVER, 6, [0; 4], &[]);
        assert!(client.lease().is_none());
        assert_eq!(run(&mut client, 50_001).len(), 1);
    }

    #[test]
    fn an_endless_lease_is_never_renewed() {
        let mut client = client();
        run(&mut client, 0);
        let endless: &[(u8, &[u8])] = &[(54, &[10, 0, 0, 1]), (51, &[255; 4]), (67, b"menu")];
        for kind in [2, 5] {
            let frame = frame_from(SERVER, &message(client.xid, kind, NODE, endless));
            client.hear(at(0), &frame);
            run(&mut client, 0);
        }
        run(&mut client, 300);
        assert_eq!(client.wake_at(), NEVER);
        assert_eq!(client.poll(at(i64::MAX / 2000)), None);
    }

    #[test]
    fn a_proxys_boot_file_joins_the_lease_of_another_server() {
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, &[]);
        hear(
            &mut client,
            500,
            OTHER,
            2,
            [0; 4],
            &[(60, b"PXEClient"), (67, b"http://10.0.0.2/boot.ipxe")],
        );
        assert_eq!(run(&mut client, 500).len(), 1);
        hear(&mut client, 510, SERVER, 5, NODE, &[]);
        run(&mut client, 1000);
        let lease = client.lease().unwrap();
        assert_eq!(lease.boot_file.as_deref(), Some("http://10.0.0.2/boot.ipxe"));
        assert_eq!((lease.server, lease.next_server), (SERVER.ip, Some(OTHER.ip)));
    }

    #[test]
    fn a_proxy_without_a_boot_file_is_asked_on_port_4011_with_its_menu_item() {
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, &[]);
        hear(
            &mut client,
            1,
            OTHER,
            2,
            [0; 4],
            &[(60, b"PXEClient"), (43, b"\x09\x05\x80\x01\x02ab\xff")],
        );
        run(&mut client, 2000);
        hear(&mut client, 2000, SERVER, 5, NODE, &[]);
        run(&mut client, 2299);
        // The address is in force while the proxy is asked, because its answer comes to it.
        let mut frames = Vec::new();
        while let Some(frame) = client.poll(at(2300)) {
            frames.push(frame);
        }
        assert!(client.configuration().is_some() && client.lease().is_none());
        let (to, port, payload) = payload(frames.last().unwrap()).unwrap();
        assert_eq!((to, port), (OTHER, 4011));
        assert_eq!(payload[12..16], NODE);
        assert_eq!(value(payload, 43), Some(&[71, 4, 0x80, 1, 0, 0, 255][..]));
        hear(
            &mut client,
            2310,
            OTHER,
            5,
            [0; 4],
            &[(60, b"PXEClient"), (67, b"pxe/menu")],
        );
        assert_eq!(client.lease().unwrap().boot_file.as_deref(), Some("pxe/menu"));
    }

    #[test]
    fn a_proxy_that_answers_with_its_menu_is_asked_once_more_for_the_first_item() {
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, &[]);
        hear(&mut client, 1, OTHER, 2, [0; 4], &[(60, b"PXEClient")]);
        run(&mut client, 2000);
        hear(&mut client, 2000, SERVER, 5, NODE, &[]);
        run(&mut client, 2300);
        let menu: &[(u8, &[u8])] = &[(60, b"PXEClient"), (43, b"\x09\x05\x80\x01\x02ab\xff")];
        hear(&mut client, 2310, OTHER, 5, [0; 4], menu);
        let frame = client.poll(at(2310)).unwrap();
        let (to, port, asked) = payload(&frame).unwrap();
        assert_eq!((to, port), (OTHER, 4011));
        assert_eq!(value(asked, 43), Some(&[71, 4, 0x80, 1, 0, 0, 255][..]));
        // The same answer again leads nowhere.
        hear(&mut client, 2320, OTHER, 5, [0; 4], menu);
        assert_eq!((client.poll(at(2320)), client.refused), (None, 1));
        hear(&mut client, 2330, OTHER, 5, [0; 4], MENU);
        assert_eq!(client.lease().unwrap().boot_file.as_deref(), Some("menu"));
    }

    #[test]
    fn a_proxy_that_does_not_answer_costs_less_than_four_seconds() {
        let mut client = client();
        run(&mut client, 0);
        hear(&mut client, 0, SERVER, 2, NODE, &[(60, b"PXEClient")]);
        run(&mut client, 2000);
        hear(&mut client, 2000, SERVER, 5, NODE, &[]);
        let sent = run(&mut client, 10_000);
        let asked = sent
            .iter()
            .filter(|(_, s)| matches!(s, Sent::Dhcp { port: 4011, .. }))
            .count();
        assert_eq!(asked, 4);
        assert_eq!(client.lease().unwrap().boot_file, None);
        assert_eq!(client.wake_at(), at(2000 + 50_000));
    }

    #[test]
    fn who_asks_again_counts_its_seconds_anew() {
        let seconds = |client: &mut Client, now: i64| {
            let now = client.wake_at().max(at(now));
            let frame = client.poll(now).unwrap();
            let (.., payload) = payload(&frame).unwrap();
            u16::from_be_bytes([payload[8], payload[9]])
        };
        let mut client = client();
        assert_eq!(seconds(&mut client, 0), 0);
        assert!(seconds(&mut client, 30_000) >= 30);
        client.ask_again(at(60_000));
        assert_eq!(seconds(&mut client, 60_000), 0);
    }

    #[test]
    fn asking_again_wishes_for_the_same_address() {
        let mut client = bound();
        client.take_change();
        client.ask_again(at(400));
        assert!(client.lease().is_none() && client.take_change());
        assert_eq!(run(&mut client, 400), [(400, dhcp(1, Some(NODE), None))]);
    }

    #[test]
    fn random_and_mangled_frames_never_panic_and_the_timers_stay_sane() {
        let mut random = Random::fixed(99);
        for state in 0..4 {
            for _ in 0..5_000 {
                let mut client = if state == 3 { bound() } else { client() };
                run(&mut client, 0);
                if matches!(state, 1 | 2) {
                    hear(
                        &mut client,
                        0,
                        SERVER,
                        2,
                        NODE,
                        &[(60, b"PXEClient"), (175, &[0xb0, 1, 1])],
                    );
                    run(&mut client, 0);
                }
                if state == 2 {
                    hear(&mut client, 0, SERVER, 5, NODE, &[]);
                    run(&mut client, 300);
                }
                let kind = 2 + random.below(5) as u8;
                let mut payload = message(
                    client.xid,
                    kind,
                    NODE,
                    &[
                        (54, &[10, 0, 0, 1]),
                        (51, &[0, 0, 1, 0]),
                        (121, &[0, 10, 0, 0, 1]),
                    ],
                );
                for _ in 0..=random.below(4) {
                    let at = random.below(payload.len() as u64) as usize;
                    payload[at] = random.next_u32() as u8;
                }
                payload.truncate(200 + random.below(payload.len() as u64) as usize);
                let now = 60_000;
                run(&mut client, now);
                client.hear(at(now), &frame_from(SERVER, &payload));
                run(&mut client, now + 1000);
            }
        }
    }

    /// A LAN with one DHCP server, for the tests of the poll loop: a frame in, frames out.
    pub(crate) fn server() -> impl FnMut(&[u8]) -> Vec<Vec<u8>> {
        |frame| {
            let Some((_, 67, asked)) = payload(frame) else {
                return Vec::new();
            };
            let kind = if value(asked, 53) == Some(&[1]) { 2 } else { 5 };
            let xid = u32::from_be_bytes(asked[4..8].try_into().unwrap());
            let options: &[(u8, &[u8])] = &[
                (54, &[10, 0, 0, 1]),
                (51, &[0, 0, 0, 100]),
                (1, &[255, 255, 255, 0]),
                (3, &[10, 0, 0, 1]),
                (67, b"http://10.0.0.1/menu"),
            ];
            let mut payload = message(xid, kind, NODE, options);
            payload[28..34].copy_from_slice(&asked[28..34]);
            vec![frame_from(SERVER, &payload)]
        }
    }
}
