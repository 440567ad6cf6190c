//! A LAN in virtual time: one hub, hosts on it, and an imperfect link to the node under test.
//!
//! Nothing here reads a clock. Time moves only when the node idles, straight to the next event.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use boot::Clock;
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, EthernetFrame, Ipv4Address};

use crate::account::as_rig;
use crate::random::Random;
use crate::station::{Service, Station};
use crate::trace;

/// The Pi's watchdog counts 16 s at most; a boot that makes sense kicks it at least this often.
const WATCHDOG: Duration = Duration::from_secs(15);
/// How often a node may idle in one session; more means that it spins.
const MOST_IDLES: u64 = 20_000_000;
/// How often it may look at the clock without idling; more means that it polls the clock instead.
const MOST_LOOKS: u64 = 1_000_000;
/// Bytes kept of each captured frame, and frames kept.
const SNAP: usize = 640;
const MOST_FRAMES: usize = 200_000;

/// The impairments of one direction of the node's link.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// The delay of every frame.
    pub latency: Duration,
    /// The share of frames that vanish.
    pub loss: f64,
    /// The share that arrive twice.
    pub duplication: f64,
    /// The share that are held back by up to `held`, so that later ones overtake them.
    pub reordering: f64,
    /// The longest such delay.
    pub held: Duration,
    /// The share with one byte changed on the wire, below every checksum.
    pub corruption: f64,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::from_micros(200),
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            held: Duration::from_millis(5),
            corruption: 0.0,
        }
    }
}

/// A machine on the LAN other than the node.
pub trait Host {
    /// Its address on the wire.
    fn mac(&self) -> EthernetAddress;
    /// Takes a frame meant for it.
    fn receive(&mut self, now: Instant, frame: &[u8]);
    /// Does what is due now; frames leave through `send`.
    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>));
    /// When it next has something to do without a frame.
    fn next(&mut self, now: Instant) -> Option<Instant>;
}

/// A host that is switched on for a while only.
pub struct Between<H> {
    host: H,
    on: Range<Instant>,
}

impl<H: Host> Between<H> {
    /// `host`, from its first moment to its last.
    pub fn new(host: H, from: Duration, until: Duration) -> Self {
        let on = Instant::ZERO + from..Instant::ZERO + until;
        Self { host, on }
    }
}

impl<H: Host> Host for Between<H> {
    fn mac(&self) -> EthernetAddress {
        self.host.mac()
    }

    fn receive(&mut self, now: Instant, frame: &[u8]) {
        if self.on.contains(&now) {
            self.host.receive(now, frame);
        }
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        if self.on.contains(&now) {
            self.host.poll(now, send);
        }
    }

    fn next(&mut self, now: Instant) -> Option<Instant> {
        let due = self.host.next(now).map(|at| at.max(self.on.start));
        due.filter(|at| self.on.contains(at))
    }
}

/// A captured frame of the node's link.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When it was sent.
    pub at: Instant,
    /// Whether the node sent it.
    pub from_node: bool,
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// Its full length.
    pub len: usize,
}

/// The node's own port, and those of the hosts in order of attachment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Node,
    Host(usize),
}

type Action = Box<dyn FnOnce()>;

struct World {
    now: Instant,
    limit: Instant,
    given_up: Option<Instant>,
    least_rest: Duration,
    sequence: u64,
    on_the_wire: BTreeMap<(Instant, u64), (Port, Vec<u8>)>,
    inbox: std::collections::VecDeque<Vec<u8>>,
    hosts: Vec<Rc<RefCell<dyn Host>>>,
    actions: BTreeMap<(Instant, u64), Action>,
    to_node: Link,
    from_node: Link,
    tag: Option<[u8; 4]>,
    unplugged: bool,
    random: Random,
    capture: Vec<Frame>,
    kicked: Instant,
    kicks: u64,
    idles: u64,
    looks: u64,
}

/// The panic payload of a session that ran longer than its test wanted to see.
#[derive(Debug)]
pub struct GivenUp;

/// The LAN; clones are the same LAN.
#[derive(Clone)]
pub struct Lan(Rc<RefCell<World>>);

impl Lan {
    /// A perfect LAN without hosts; `seed` decides what its imperfections will hit.
    pub fn new(seed: u64) -> Self {
        trace::begin();
        Self(Rc::new(RefCell::new(World {
            now: Instant::ZERO,
            limit: Instant::ZERO + Duration::from_secs(3600),
            given_up: None,
            least_rest: Duration::from_micros(1),
            sequence: 0,
            on_the_wire: BTreeMap::new(),
            inbox: std::collections::VecDeque::new(),
            hosts: Vec::new(),
            actions: BTreeMap::new(),
            to_node: Link::default(),
            from_node: Link::default(),
            tag: None,
            unplugged: false,
            random: Random::new(seed),
            capture: Vec::new(),
            kicked: Instant::ZERO,
            kicks: 0,
            idles: 0,
            looks: 0,
        })))
    }

    /// Both directions of the node's link.
    pub fn link(&self, link: Link) {
        let mut world = self.0.borrow_mut();
        world.to_node = link;
        world.from_node = link;
    }

    /// Pulls the node's cable, or plugs it in: without one it cannot send, and nothing comes.
    pub fn plug(&self, plugged: bool) {
        self.0.borrow_mut().unplugged = !plugged;
    }

    /// The node's port of the switch puts this tag (IEEE 802.1Q) into every frame to the node, from now on.
    pub fn tag(&self, tag: Option<[u8; 4]>) {
        self.0.borrow_mut().tag = tag;
    }

    /// A session still running then is a hang: the test fails.
    pub fn limit(&self, limit: Duration) {
        self.0.borrow_mut().limit = Instant::ZERO + limit;
    }

    /// From here on each rest lasts this long unless a frame comes, as on a node that is slow to wake. It saves time in sessions
    /// with a running clock, which otherwise consist of short rests.
    pub fn rest_long(&self, least: Duration) {
        self.0.borrow_mut().least_rest = least;
    }

    /// From here on the session is of no interest: it unwinds with [`GivenUp`], for the caller to catch.
    pub fn give_up(&self, at: Duration) {
        self.0.borrow_mut().given_up = Some(Instant::ZERO + at);
    }

    /// Plugs a host in; the returned handle is for its settings and its log.
    pub fn attach<H: Host + 'static>(&self, host: H) -> Rc<RefCell<H>> {
        let host = Rc::new(RefCell::new(host));
        self.0.borrow_mut().hosts.push(host.clone());
        host
    }

    /// Plugs in a host at `address` that does nothing but `service` (and answer ARP).
    pub fn serve<S: Service + 'static>(&self, address: impl Into<Ipv4Address>, service: S) -> Rc<RefCell<S>> {
        let service = Rc::new(RefCell::new(service));
        self.attach(Station::new(address.into(), service.clone()));
        service
    }

    /// Runs `action` at a moment of virtual time: mend a server, change an address, pull a cable.
    pub fn at(&self, moment: Duration, action: impl FnOnce() + 'static) {
        let mut world = self.0.borrow_mut();
        world.sequence += 1;
        let key = (Instant::ZERO + moment, world.sequence);
        world.actions.insert(key, Box::new(action));
    }

    /// The frames on the node's link so far, lost ones included.
    pub fn frames(&self) -> Vec<Frame> {
        self.0.borrow().capture.clone()
    }

    /// How many TCP connections the node has opened, retransmitted SYNs to the same tuple counted once.
    pub fn connections(&self) -> usize {
        let world = self.0.borrow();
        let mut seen: Vec<(&[u8], &[u8])> = Vec::new();
        for frame in world.capture.iter().filter(|frame| frame.from_node) {
            let bytes = &frame.bytes;
            let is_syn = bytes.len() >= 54
                && bytes[12..14] == [8, 0]
                && bytes[23] == 6
                && bytes[14] == 0x45
                && bytes[47] & 0x12 == 2;
            if is_syn && !seen.contains(&(&bytes[30..34], &bytes[34..38])) {
                seen.push((&bytes[30..34], &bytes[34..38]));
            }
        }
        seen.len()
    }

    /// How often the watchdog was kicked.
    pub fn kicks(&self) -> u64 {
        self.0.borrow().kicks
    }

    /// The node kicks its watchdog.
    pub fn kick(&self) {
        let mut world = self.0.borrow_mut();
        world.kicks += 1;
        world.kicked = world.now;
    }

    /// The node's end of its link.
    pub fn nic(&self) -> Nic {
        Nic { lan: self.clone() }
    }

    /// Runs the actions that are due. They may use the LAN, so it is not borrowed meanwhile.
    fn act(&self) {
        loop {
            let mut world = self.0.borrow_mut();
            let due = world.actions.first_key_value().map(|(key, _)| *key);
            let Some(key) = due.filter(|key| key.0 <= world.now) else {
                return;
            };
            let action = world.actions.remove(&key);
            drop(world);
            action.into_iter().for_each(|action| action());
        }
    }
}

impl World {
    fn put(&mut self, at: Instant, to: Port, frame: Vec<u8>) {
        self.sequence += 1;
        self.on_the_wire.insert((at, self.sequence), (to, frame));
    }

    /// Sends a frame over the node's link, with everything that may happen to it there.
    fn cross(&mut self, link: Link, to: &[Port], frame: &[u8]) {
        if self.random.chance(link.loss) {
            return;
        }
        let copies = 1 + usize::from(self.random.chance(link.duplication));
        for _ in 0..copies {
            let mut frame = frame.to_vec();
            let mut at = self.now + link.latency;
            if self.random.chance(link.reordering) {
                at += Duration::from_micros(self.random.below(link.held.total_micros() as usize + 1) as u64);
            }
            if self.random.chance(link.corruption) {
                let position = self.random.below(frame.len());
                frame[position] ^= 1 << self.random.below(8);
            }
            for port in to {
                self.put(at, *port, frame.clone());
            }
        }
    }

    fn record(&mut self, from_node: bool, frame: &[u8]) {
        if self.capture.len() < MOST_FRAMES {
            self.capture.push(Frame {
                at: self.now,
                from_node,
                bytes: frame[..frame.len().min(SNAP)].to_vec(),
                len: frame.len(),
            });
        }
    }

    fn send_from_node(&mut self, frame: &[u8]) {
        self.record(true, frame);
        let to: Vec<Port> = (0..self.hosts.len()).map(Port::Host).collect();
        self.cross(self.from_node, &to, frame);
    }

    fn send_from_host(&mut self, sender: usize, frame: Vec<u8>) {
        for host in (0..self.hosts.len()).filter(|host| *host != sender) {
            self.put(
                self.now + Duration::from_micros(10),
                Port::Host(host),
                frame.clone(),
            );
        }
        let frame = match self.tag {
            Some(tag) => [&frame[..12], &tag, &frame[12..]].concat(),
            None => frame,
        };
        self.record(false, &frame);
        self.cross(self.to_node, &[Port::Node], &frame);
    }

    /// Delivers what has arrived and lets every host that has something to do, do it.
    fn settle(&mut self) {
        let mut busy = vec![false; self.hosts.len()];
        while let Some(entry) = self.on_the_wire.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (port, frame) = entry.remove();
            match port {
                Port::Node if self.unplugged => {}
                Port::Node => self.inbox.push_back(frame),
                Port::Host(index) => {
                    let mut host = self.hosts[index].borrow_mut();
                    if is_for(host.mac(), &frame) {
                        host.receive(self.now, &frame);
                        busy[index] = true;
                    }
                }
            }
        }
        for (index, frames_came) in busy.into_iter().enumerate() {
            let host = self.hosts[index].clone();
            let mut host = host.borrow_mut();
            if frames_came || host.next(self.now).is_some_and(|at| at <= self.now) {
                let mut out = Vec::new();
                host.poll(self.now, &mut |frame| out.push(frame));
                drop(host);
                for frame in out {
                    self.send_from_host(index, frame);
                }
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let frame = self.on_the_wire.first_key_value().map(|(key, _)| key.0);
        let action = self.actions.first_key_value().map(|(key, _)| key.0);
        let hosts = self
            .hosts
            .iter()
            .filter_map(|host| host.borrow_mut().next(self.now));
        frame.into_iter().chain(action).chain(hosts).min()
    }

    fn advance(&mut self, to: Instant) {
        assert!(
            to <= self.kicked + WATCHDOG,
            "the watchdog bites: last kicked at {}, and the node sleeps until {to}",
            self.kicked
        );
        if self.given_up.is_some_and(|at| to > at) {
            // The session did not fail, so nothing is printed.
            std::panic::resume_unwind(Box::new(GivenUp));
        }
        assert!(
            to <= self.limit,
            "the session still runs at its limit of virtual time, {}",
            self.limit
        );
        self.now = self.now.max(to);
        trace::set_now(self.now);
    }
}

/// Whether a host takes a frame: its own, everybody's, or a group's, whose members it sorts out itself.
fn is_for(mac: EthernetAddress, frame: &[u8]) -> bool {
    EthernetFrame::new_checked(frame)
        .is_ok_and(|frame| frame.dst_addr() == mac || frame.dst_addr().is_multicast())
}

impl Clock for Lan {
    fn now(&self) -> Instant {
        let mut world = self.0.borrow_mut();
        world.looks += 1;
        assert!(
            world.looks < MOST_LOOKS,
            "the node polls the clock instead of idling"
        );
        world.now
    }

    fn idle_until(&self, deadline: Instant) {
        as_rig(|| self.rest(deadline));
    }
}

impl Lan {
    /// Lets time pass up to `deadline`, or to the first frame for the node.
    fn rest(&self, deadline: Instant) {
        let mut world = self.0.borrow_mut();
        world.looks = 0;
        // Time passes on hardware even for a caller who wants none of it.
        let deadline = deadline.max(world.now + world.least_rest);
        loop {
            world.idles += 1;
            assert!(world.idles < MOST_IDLES, "the node or a host spins");
            let next = world.next_event().map_or(deadline, |event| event.min(deadline));
            let next = if world.inbox.is_empty() {
                next
            } else {
                next.min(world.now + Duration::from_micros(1))
            };
            world.advance(next);
            drop(world);
            self.act();
            world = self.0.borrow_mut();
            world.settle();
            if world.now >= deadline || !world.inbox.is_empty() {
                return;
            }
        }
    }
}

/// The node's network interface.
pub struct Nic {
    lan: Lan,
}

/// A frame that has arrived.
pub struct RxToken(Vec<u8>);

/// The right to send one frame.
pub struct TxToken(Lan);

impl Device for Nic {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken)> {
        let frame = self.lan.0.borrow_mut().inbox.pop_front()?;
        Some((RxToken(frame), TxToken(self.lan.clone())))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken> {
        let plugged = !self.lan.0.borrow().unplugged;
        plugged.then(|| TxToken(self.lan.clone()))
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
        let result = f(&self.0);
        as_rig(|| drop(self.0));
        result
    }
}

impl phy::TxToken for TxToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = as_rig(|| vec![0; len]);
        let result = f(&mut frame);
        as_rig(|| {
            self.0.0.borrow_mut().send_from_node(&frame);
            drop(frame);
        });
        result
    }
}

/// A failing test shows its log and leaves its packets behind, for Wireshark.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in trace::lines() {
                eprintln!("[{}] {} {}", line.at, line.level, line.text);
            }
            match write_pcap(&self.capture) {
                Ok(path) => eprintln!("packets: {}", path.display()),
                Err(error) => eprintln!("packets: not written: {error}"),
            }
        }
    }
}

/// The classic capture format (libpcap, pcap-savefile(5)), microseconds, link type Ethernet.
fn write_pcap(frames: &[Frame]) -> std::io::Result<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pcap");
    fs::create_dir_all(&directory)?;
    let name = std::thread::current()
        .name()
        .unwrap_or("session")
        .replace("::", ".");
    let path = directory.join(format!("{name}.pcap"));
    let mut file = std::io::BufWriter::new(fs::File::create(&path)?);
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, SNAP as u32, 1] {
        file.write_all(&u32::to_le_bytes(word))?;
    }
    for frame in frames {
        let micros = frame.at.total_micros();
        for word in [
            micros / 1_000_000,
            micros % 1_000_000,
            frame.bytes.len() as i64,
            frame.len as i64,
        ] {
            file.write_all(&(word as u32).to_le_bytes())?;
        }
        file.write_all(&frame.bytes)?;
    }
    file.flush()?;
    Ok(path)
}
