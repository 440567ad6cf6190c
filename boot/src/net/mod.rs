//! The one poll loop, over smoltcp: frames in, frames out, the lease kept alive, until what is waited for has come.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::iface::{Config, Context, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Address};

use crate::hal::{Clock, Entropy, NEVER, Platform};
use crate::lease::{Client, Fixed, Identity, Lease};
use crate::patience;
use crate::random::{Random, Worth};
use crate::vlan::Tag;

mod gate;
mod port;

use gate::{Gate, Silent};
pub use port::{Port, Stack};

/// How long a frame that is due and found no room in the NIC, or no link, waits for another try.
const NO_ROOM_REST: Duration = Duration::from_millis(1);

/// The network as the steps see it: sockets over a NIC, and a lease that stays valid while anything waits.
pub struct Net<'m> {
    nic: &'m mut dyn Port,
    clock: &'m dyn Clock,
    platform: &'m mut dyn Platform,
    iface: Interface,
    sockets: SocketSet<'static>,
    client: Client,
    identity: Identity,
    /// Whether DHCP is asked for nothing but an address.
    hasty: bool,
    /// The VLAN that everything runs over.
    tag: Option<Tag>,
    /// Where its frames lose their tags.
    scratch: Vec<u8>,
    /// What a script has set, and what that and DHCP come to.
    fixed: Fixed,
    own: Option<Lease>,
    /// `fixed` changed since it was last looked at.
    refixed: bool,
    random: Random,
    /// What strangers cannot pass.
    gate: Gate,
}

impl<'m> Net<'m> {
    /// Takes the NIC; sends nothing yet.
    pub fn new(
        nic: &'m mut dyn Port,
        clock: &'m dyn Clock,
        platform: &'m mut dyn Platform,
        entropy: &mut dyn Entropy,
        identity: Identity,
    ) -> Self {
        let mut random = Random::seeded(entropy, identity.mac, clock.now());
        let checksums = nic.capabilities(None).checksum;
        let gate = Gate::new(identity.mac, checksums.clone());
        let iface = Self::interface(nic, &identity, &mut random, None, clock.now());
        let client = Client::new(identity.clone(), checksums, random.fork());
        Self {
            nic,
            clock,
            platform,
            iface,
            sockets: SocketSet::new(vec![]),
            client,
            identity,
            hasty: false,
            tag: None,
            scratch: Vec::new(),
            fixed: Fixed::default(),
            own: None,
            refixed: false,
            random,
            gate,
        }
    }

    /// An interface of the stack, whose generator begins with a number of ours.
    fn interface(
        nic: &mut dyn Port,
        identity: &Identity,
        random: &mut Random,
        tag: Option<Tag>,
        now: Instant,
    ) -> Interface {
        let mut config = Config::new(HardwareAddress::Ethernet(identity.mac));
        config.random_seed = random.next_u64();
        nic.interface(config, tag, now)
    }

    /// Time since reset.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// What tells the time while a step has this borrowed.
    pub(crate) fn clock(&self) -> &'m dyn Clock {
        self.clock
    }

    /// Tells the watchdog that work outside of the poll loop gets on.
    pub(crate) fn kick_watchdog(&mut self) {
        self.platform.kick_watchdog();
    }

    /// Polls until `ready` has something or `deadline` has passed (then `None`). `ready` runs at least once, and again
    /// after every batch of frames and every timer; between those the clock idles (D-16).
    pub fn wait<T>(&mut self, deadline: Instant, mut ready: impl FnMut(&mut Self) -> Option<T>) -> Option<T> {
        loop {
            self.platform.kick_watchdog();
            let moved = self.poll();
            if let Some(value) = ready(self) {
                return Some(value);
            }
            let now = self.now();
            if now >= deadline {
                return None;
            }
            let wake = self.wake_at(now).min(deadline).min(now + patience::REST);
            // Frames come in trains, and answers at once: after one, look again before resting.
            if !moved {
                self.clock
                    .idle_until(if wake > now { wake } else { now + NO_ROOM_REST });
            }
        }
    }

    /// The valid lease, waiting for one as long as it takes.
    pub fn lease(&mut self) -> Lease {
        self.wait(NEVER, |net| net.lease_now().cloned())
            .unwrap_or_default()
    }

    /// The lease, if there is one at this moment.
    pub fn lease_now(&self) -> Option<&Lease> {
        if self.fixed == Fixed::default() {
            self.client.lease()
        } else {
            self.own.as_ref()
        }
    }

    /// Sets what a script has set, until DHCP is asked again.
    pub fn fix(&mut self, fixed: Fixed) {
        if self.fixed != fixed {
            self.fixed = fixed;
            self.refixed = true;
            self.configure();
        }
    }

    /// Whether the address is a script's, and DHCP rests.
    pub fn is_fixed(&self) -> bool {
        self.fixed.address.is_some()
    }

    /// Moves everything to a VLAN, or back out of it. A VLAN is a separate network: a new lease is requested, under the same
    /// identity (D-76).
    /// Connections do not survive that; close them before.
    pub fn select(&mut self, tag: Option<Tag>) {
        if self.tag == tag {
            return;
        }
        self.tag = tag;
        let now = self.now();
        // A new one: what it knows of neighbours is of the other network, and what the NIC does for it may differ.
        let checksums = self.nic.capabilities(tag).checksum;
        self.gate = Gate::new(self.identity.mac, checksums.clone());
        self.iface = Self::interface(self.nic, &self.identity, &mut self.random, tag, now);
        self.client = Client::new(self.identity.clone(), checksums, self.random.fork());
        self.client.hasten(self.hasty);
        self.fixed = Fixed::default();
        self.refixed = true;
        self.configure();
    }

    /// Whether the NIC takes frames, which it does not without a link.
    pub fn link(&mut self) -> bool {
        self.nic.link(self.clock.now())
    }

    /// Gives up the lease, and what a script has set, and asks the servers again, which may have changed their minds about
    /// what to boot.
    pub fn ask_again(&mut self) {
        let now = self.now();
        self.fixed = Fixed::default();
        self.refixed = true;
        self.client.ask_again(now);
        self.configure();
    }

    /// The same as a node of that user class, until it is asked again without.
    pub fn ask_as(&mut self, class: Option<&str>) {
        self.client
            .call_itself(class.unwrap_or(&self.identity.user_class));
        self.ask_again();
    }

    /// Whether the first offer of an address will do, because nothing that servers say about booting is wanted.
    pub fn hasten(&mut self, hasty: bool) {
        self.hasty = hasty;
        self.client.hasten(hasty);
    }

    /// A random number, for ports and jitter.
    pub fn random(&mut self) -> u32 {
        self.random.next_u32()
    }

    /// What the numbers are worth: ports, ids, sequence numbers.
    pub(crate) fn worth(&self) -> Worth {
        self.random.worth()
    }

    /// Draws them from true randomness from now on, if the generator works now.
    pub(crate) fn draw(&mut self, entropy: &mut dyn Entropy) {
        if self.random.draw(entropy) {
            info!(
                "net: the generator of random numbers works now; no stranger can guess ports and ids any more"
            );
            self.client.draw_from(self.random.fork());
        }
    }

    /// A port to send from.
    pub(crate) fn port(&mut self) -> u16 {
        self.random.port()
    }

    /// The port of the one conversation by datagrams that there is at a time. To others nothing comes (D-187).
    pub(crate) fn hear(&mut self, port: Option<u16>) {
        self.gate.hear(port);
    }

    /// Connects a TCP socket of the set to `peer`, from `port`; `false` when that has no address that can be sent to.
    ///
    /// smoltcp draws the first sequence number from the interface's generator, of 64 bits: whoever has seen three numbers of it knows the
    /// next. So each connection has one that is drawn from an interface of its own, which is dropped at once.
    pub(crate) fn connect(&mut self, socket: SocketHandle, peer: (Ipv4Address, u16), port: u16) -> bool {
        self.gate.connect(peer, port);
        // D-188
        let mut fresh = Self::interface(
            self.nic,
            &self.identity,
            &mut self.random,
            self.tag,
            self.clock.now(),
        );
        let addresses = self.iface.ip_addrs();
        // As many as the other one has.
        fresh.update_ip_addrs(|own| own.extend(addresses.iter().copied()));
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(socket);
        socket.connect(fresh.context(), peer, port).is_ok()
    }

    /// A TCP socket of the set.
    pub(crate) fn tcp(&mut self, socket: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(socket)
    }

    /// What sockets of other kinds need: the interface's context for their calls, and the set to live in.
    pub(crate) fn sockets(&mut self) -> (&mut Context, &mut SocketSet<'static>) {
        (self.iface.context(), &mut self.sockets)
    }

    /// Takes in a batch of frames, sends what is to be sent. Returns whether a frame came or went.
    fn poll(&mut self) -> bool {
        let now = self.clock.now();
        let mut moved = self.nic.ingress(&mut Stack {
            iface: &mut self.iface,
            sockets: &mut self.sockets,
            client: self.fixed.address.is_none().then_some(&mut self.client),
            tag: self.tag,
            scratch: &mut self.scratch,
            gate: &self.gate,
            now,
        });
        self.configure();
        // Seldom true: a download's loop does not bother the NIC for it.
        while !self.is_fixed() && self.client.wake_at() <= now {
            // Without room in the NIC the frame stays with the client.
            if !self.nic.link(now) {
                break;
            }
            let Some(frame) = self.client.poll(now) else { break };
            self.nic.send(&frame, self.tag, now);
            moved = true;
        }
        self.configure();
        self.look_after_neighbour(now);
        self.iface.poll_maintenance(now);
        let sent = self.nic.egress(&mut Stack {
            iface: &mut self.iface,
            sockets: &mut self.sockets,
            client: None,
            tag: self.tag,
            scratch: &mut self.scratch,
            gate: &self.gate,
            now,
        });
        moved || sent
    }

    /// Asks for a neighbour that was sent something and is silent.
    fn look_after_neighbour(&mut self, now: Instant) {
        match self.gate.silent(now) {
            None => {}
            Some(Silent::Ask(question)) => self.nic.send(&question, self.tag, now),
            // The addresses stay; the neighbours go.
            Some(Silent::Forget) => self.iface.update_ip_addrs(|_| ()),
        }
    }

    /// When the next timer of the stack or of the lease is due.
    fn wake_at(&mut self, now: Instant) -> Instant {
        let stack = self.iface.poll_at(now, &self.sockets).unwrap_or(NEVER);
        let stack = stack.min(self.gate.wake_at());
        if self.is_fixed() {
            return stack;
        }
        stack.min(self.client.wake_at())
    }

    /// Brings the interface in line with the lease.
    fn configure(&mut self) {
        let changed = self.client.take_change();
        let plain = self.fixed == Fixed::default();
        // The address is in use before the lease is whole.
        let arrived = !plain && self.own.is_some() != (self.is_fixed() || self.client.lease().is_some());
        if !(changed || arrived || core::mem::take(&mut self.refixed)) {
            return;
        }
        self.own = if plain {
            None
        } else {
            self.fixed.over(self.client.lease())
        };
        let lease = self.own.as_ref().or(self.client.configuration());
        self.gate.address(lease.map(|lease| lease.address));
        self.iface.update_ip_addrs(|addresses| {
            addresses.clear();
            // The list has room for two.
            addresses.extend(lease.map(|lease| IpCidr::Ipv4(lease.address)));
        });
        self.iface.routes_mut().update(|routes| {
            routes.clear();
            for route in lease.iter().flat_map(|lease| lease.gateways()) {
                if routes.push(route).is_err() {
                    warn!("lease: no room for the route to {}", route.cidr);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;

    use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
    use smoltcp::wire::EthernetAddress;

    use super::*;
    use crate::lease::Uuid;

    /// A NIC on a LAN of one function: a frame sent is shown to it, and what it returns arrives.
    struct Wire<F> {
        lan: F,
        arriving: VecDeque<Vec<u8>>,
    }

    struct Rx(Vec<u8>);
    struct Tx<'a, F>(&'a mut F, &'a mut VecDeque<Vec<u8>>);

    impl RxToken for Rx {
        fn consume<R, G: FnOnce(&[u8]) -> R>(self, f: G) -> R {
            f(&self.0)
        }
    }

    impl<F: FnMut(&[u8]) -> Vec<Vec<u8>>> TxToken for Tx<'_, F> {
        fn consume<R, G: FnOnce(&mut [u8]) -> R>(self, len: usize, f: G) -> R {
            let mut frame = vec![0; len];
            let result = f(&mut frame);
            self.1.extend((self.0)(&frame));
            result
        }
    }

    impl<F: FnMut(&[u8]) -> Vec<Vec<u8>>> Device for Wire<F> {
        type RxToken<'a>
            = Rx
        where
            F: 'a;
        type TxToken<'a>
            = Tx<'a, F>
        where
            F: 'a;

        fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_, F>)> {
            let frame = self.arriving.pop_front()?;
            Some((Rx(frame), Tx(&mut self.lan, &mut self.arriving)))
        }

        fn transmit(&mut self, _: Instant) -> Option<Tx<'_, F>> {
            Some(Tx(&mut self.lan, &mut self.arriving))
        }

        fn capabilities(&self) -> DeviceCapabilities {
            let mut capabilities = DeviceCapabilities::default();
            capabilities.medium = Medium::Ethernet;
            capabilities.max_transmission_unit = 1514;
            capabilities
        }
    }

    /// Time that passes only by idling, and how it did.
    #[derive(Default)]
    struct Virtual {
        now: Cell<i64>,
        rests: RefCell<Vec<i64>>,
    }

    impl Clock for Virtual {
        fn now(&self) -> Instant {
            Instant::from_micros(self.now.get())
        }

        fn idle_until(&self, deadline: Instant) {
            assert!(deadline > self.now(), "idling into the past");
            self.rests.borrow_mut().push(deadline.total_millis());
            self.now.set(deadline.total_micros());
        }
    }

    #[derive(Default)]
    struct Dog(u32);

    impl Platform for Dog {
        fn kick_watchdog(&mut self) {
            self.0 = self.0.wrapping_add(1);
        }
    }

    struct Dice(bool);

    impl Entropy for Dice {
        fn fill(&mut self, bytes: &mut [u8]) -> bool {
            bytes.fill(0x42);
            self.0
        }
    }

    const MAC: EthernetAddress = EthernetAddress([0xb8, 0x27, 0xeb, 1, 2, 3]);

    fn identity() -> Identity {
        Identity {
            mac: MAC,
            uuid: Uuid([7; 16]),
            user_class: String::new(),
            ipxe_features: false,
        }
    }

    #[test]
    fn a_wait_on_a_dead_network_ends_at_its_deadline_and_idles_in_between() {
        let sent = Cell::new(0);
        let mut wire = Wire {
            lan: |_: &[u8]| {
                sent.set(sent.get() + 1);
                vec![]
            },
            arriving: VecDeque::new(),
        };
        let (clock, mut dog) = (Virtual::default(), Dog::default());
        let mut net = Net::new(&mut wire, &clock, &mut dog, &mut Dice(true), identity());
        let mut looks = 0;
        let deadline = Instant::from_secs(600);
        assert_eq!(
            net.wait::<()>(deadline, |_| {
                looks += 1;
                None
            }),
            None
        );
        assert_eq!(net.now(), deadline);
        assert_eq!(net.lease_now(), None);
        // 1 s, 2 s … 32 s, then one every 32 s: about 23 in ten minutes, and a rest of at most 5 s between two kicks.
        assert!((20..=26).contains(&sent.get()), "{}", sent.get());
        let rests = clock.rests.borrow();
        assert!(
            rests.windows(2).all(|two| two[1] - two[0] <= 5_000),
            "the watchdog would bite: {rests:?}"
        );
        assert!(rests.len() <= 120 + sent.get(), "{}", rests.len());
        assert!(looks <= rests.len() + sent.get() + 1, "{looks}");
        assert!(dog.0 as usize >= looks);
    }

    #[test]
    fn without_a_link_what_is_due_waits_and_the_core_rests() {
        struct NoLink;
        impl Device for NoLink {
            type RxToken<'a> = Rx;
            type TxToken<'a> = Tx<'a, fn(&[u8]) -> Vec<Vec<u8>>>;
            fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
                None
            }
            fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
                None
            }
            fn capabilities(&self) -> DeviceCapabilities {
                let mut capabilities = DeviceCapabilities::default();
                capabilities.medium = Medium::Ethernet;
                capabilities.max_transmission_unit = 1514;
                capabilities
            }
        }
        let (clock, mut dog) = (Virtual::default(), Dog::default());
        let mut nic = NoLink;
        let mut net = Net::new(&mut nic, &clock, &mut dog, &mut Dice(true), identity());
        assert_eq!(net.wait::<()>(Instant::from_secs(60), |_| None), None);
        let rests = clock.rests.borrow().len();
        assert!((12..=60_000).contains(&rests), "{rests}");
        assert!(dog.0 >= 12);
    }

    #[test]
    fn a_flood_does_not_keep_a_wait_from_its_deadline() {
        // Every look at the clock takes a millisecond here, and there is always another frame.
        struct Ticking(Cell<i64>);
        impl Clock for Ticking {
            fn now(&self) -> Instant {
                self.0.set(self.0.get() + 1);
                Instant::from_millis(self.0.get())
            }
            fn idle_until(&self, _: Instant) {}
        }
        let junk: VecDeque<_> = (0..100_000).map(|n| vec![n as u8; 60]).collect();
        let mut wire = Wire {
            lan: |_: &[u8]| vec![],
            arriving: junk,
        };
        let (clock, mut dog) = (Ticking(Cell::new(0)), Dog::default());
        let mut net = Net::new(&mut wire, &clock, &mut dog, &mut Dice(true), identity());
        assert_eq!(net.wait::<()>(Instant::from_millis(100), |_| None), None);
        assert!(wire.arriving.len() > 90_000);
    }

    #[test]
    fn a_server_on_the_wire_gives_a_lease_that_configures_the_interface() {
        let mut wire = Wire {
            lan: crate::lease::tests::server(),
            arriving: VecDeque::new(),
        };
        let (clock, mut dog) = (Virtual::default(), Dog::default());
        let mut net = Net::new(&mut wire, &clock, &mut dog, &mut Dice(false), identity());
        let lease = net.lease();
        assert_eq!(lease.boot_file.as_deref(), Some("http://10.0.0.1/menu"));
        assert_eq!(net.iface.ip_addrs(), [IpCidr::Ipv4(lease.address)]);
        let default = net
            .iface
            .routes()
            .get_default_ipv4_route()
            .map(|route| route.via_router);
        assert_eq!(default, lease.router.map(Into::into));
        // Two probes of 150 ms are all that passes.
        assert_eq!(net.now(), Instant::from_millis(300));
        // The server grants 100 s; half an hour later the same lease is still there, renewed.
        assert_eq!(net.wait::<()>(Instant::from_secs(1800), |_| None), None);
        assert_eq!(net.lease_now(), Some(&lease));
        net.ask_again();
        assert!(net.iface.ip_addrs().is_empty());
        assert_eq!(net.lease(), lease);
        assert!(net.now() < Instant::from_secs(1801));
    }
}
