//! Storms of faults over each port, with floods of frames in them; in every calm behind one the right bytes come.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use qemu::{Board, Entry, Firmware, Net, Qemu};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;
use tests::payload::body;
use tests::site::{DHCP, HTTP, MENU};
use tests::{Dhcp, Host, Http, Random, Reply, Station, Wire};

use crate::{HELLO, INITRD, PATIENCE, RELEASE, digest, machine, tiny_payload};

/// How many faults each port gets, unless `cargo xtask soak` says another number in this variable.
const FAULTS: u64 = 10_000;
const FAULTS_VARIABLE: &str = "BRAMBLE_FAULTS";

/// What is downloaded over and over, and what the last boot brings.
const BLOB: usize = 256 << 10;
const LAST: usize = 16 << 20;

/// What takes long to sum up, and how many frames are lost meanwhile.
const BIG_BLOB: usize = 4 << 20;
const OVERFLOWS: u64 = 1000;

/// A storm ends when there were enough faults, at the latest after so long, and is looked at so often.
const STORM: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Ethernet's shortest frame, and how much longer those of a flood may be: oversize too.
const SHORTEST: usize = 60;
const LONGER: usize = 1959;

/// Frames of a flood each second, and how many at a time, so that the servers get their turn.
const FRAMES_A_SECOND: u64 = 20_000;
const AT_ONCE: u64 = 64;

/// How many faults there are of a million opportunities.
#[derive(Debug, Clone, Copy)]
struct Rates {
    /// Of any kind, at least.
    all: u64,
    /// Frames on their way in and out.
    frame: u64,
    /// Descriptors and DMA of GENET; bursts and endpoints of USB.
    transfer: u64,
    /// Accesses to registers of the chip, or of its PHY.
    register: u64,
}

/// In the calm downloads get through.
const CALM: Rates = Rates {
    all: 500,
    frame: 0,
    transfer: 0,
    register: 0,
};
const NONE: Rates = Rates { all: 0, ..CALM };
const GENET: [Rates; 1] = [Rates {
    frame: 800_000,
    transfer: 300_000,
    register: 100_000,
    ..CALM
}];
/// In turn. A transfer that stalls has the chip restarted, some thirty registers, and few frames pass meanwhile.
const USB: [Rates; 2] = [
    Rates {
        frame: 100_000,
        transfer: 100_000,
        register: 20_000,
        ..CALM
    },
    Rates {
        frame: 900_000,
        ..CALM
    },
];

impl Rates {
    fn set(self, qemu: &Qemu) {
        let mut monitor = qemu.monitor().unwrap();
        for (name, rate) in [
            ("faults", self.all),
            ("frame-faults", self.frame),
            ("transfer-faults", self.transfer),
            ("register-faults", self.register),
        ] {
            monitor.set_number(qemu.nic_path(), name, rate).unwrap();
        }
    }
}

/// What the servers are told while they serve.
#[derive(Default)]
struct Switches {
    flood: AtomicBool,
    /// The node may boot.
    go: AtomicBool,
    stop: AtomicBool,
}

/// Sends the servers home, also when a test fails.
struct Home<'a>(&'a Switches);

impl Drop for Home<'_> {
    fn drop(&mut self) {
        self.0.go.store(true, Ordering::Relaxed);
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// A host that floods the network while it is told to.
struct Flood<'a> {
    on: &'a AtomicBool,
    random: Random,
    node: [u8; 6],
    last: Instant,
}

impl Flood<'_> {
    /// To the node, to everybody or to a multicast group: noise that claims to be IPv4, ARP, tagged or IPv6. Most are short.
    fn frame(&mut self) -> Vec<u8> {
        let to = match self.random.below(3) {
            0 => self.node,
            1 => [0xff; 6],
            _ => [0x01, 0x00, 0x5e, 0, 0, 0xfb],
        };
        let longer = match self.random.below(8) {
            0 => self.random.below(LONGER),
            _ => 0,
        };
        let kind = [[8, 0], [8, 6], [0x81, 0], [0x86, 0xdd]][self.random.below(4)];
        let mut frame = vec![0; SHORTEST + longer];
        self.random.fill(&mut frame);
        frame[..6].copy_from_slice(&to);
        frame[6..12].copy_from_slice(&self.mac().0);
        frame[12..14].copy_from_slice(&kind);
        frame
    }
}

impl Host for Flood<'_> {
    fn mac(&self) -> EthernetAddress {
        EthernetAddress([2, 0, 0, 0, 0, 9])
    }

    fn receive(&mut self, _: Instant, _: &[u8]) {}

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(Vec<u8>)) {
        let due = (now - self.last).total_micros() * FRAMES_A_SECOND / 1_000_000;
        if due == 0 {
            return;
        }
        self.last = now;
        if self.on.load(Ordering::Relaxed) {
            (0..due.min(AT_ONCE)).for_each(|_| send(self.frame()));
        }
    }

    fn next(&mut self, _: Instant) -> Option<Instant> {
        None
    }
}

/// What the node runs: downloads, each of which it checks itself, until it may boot.
fn script(blob: &[u8]) -> String {
    let right = digest(blob);
    format!(
        "#!ipxe\n\
         :again\n\
         imgfetch blob || goto again\n\
         sha256sum --set sum blob\n\
         imgfree blob\n\
         iseq ${{sum}} {right} && echo soak: right || goto wrong\n\
         imgfetch go || goto again\n\
         imgfree go\n\
         kernel payload.img || goto again\n\
         initrd last || goto again\n\
         boot\n\
         :wrong\n\
         echo soak: wrong: ${{sum}}\n\
         sleep 1000\n"
    )
}

/// What the servers have.
struct Files {
    payload: Vec<u8>,
    blob: Vec<u8>,
    last: Vec<u8>,
}

/// DHCP, a web server and the flood on a wire.
fn serve(wire: &Wire, files: &Files, switches: &Switches) {
    let dhcp = Rc::new(RefCell::new(Dhcp::new().boot_file(MENU)));
    let mut dhcp = Station::new(DHCP.into(), dhcp);
    let mut http = Http::new(HTTP);
    http.route("/boot/menu", [Reply::ok(script(&files.blob))]);
    for (path, file) in [
        ("/boot/payload.img", &files.payload),
        ("/boot/blob", &files.blob),
        ("/boot/last", &files.last),
    ] {
        http.route(path, [Reply::ok(file.as_slice())]);
    }
    let mut flood = Flood {
        on: &switches.flood,
        random: Random::new(8),
        node: Firmware::default().mac,
        last: Instant::ZERO,
    };
    let mut until = |http: &mut Http, stop: &AtomicBool| {
        let mut hosts: [&mut dyn Host; 3] = [&mut dhcp, http, &mut flood];
        let pad = |mut frame: Vec<u8>, put: &mut dyn FnMut(&[u8])| {
            frame.resize(frame.len().max(SHORTEST), 0);
            put(&frame);
        };
        wire.serve(&mut hosts, pad, stop);
    };
    until(&mut http, &switches.go);
    http.route("/boot/go", [Reply::ok("go")]);
    until(&mut http, &switches.stop);
}

/// Another download has ended, and was right.
fn comes_right(qemu: &mut Qemu) {
    qemu.console().skip();
    let found = qemu
        .console()
        .expect("^soak: (right|wrong.*)$", PATIENCE)
        .unwrap();
    assert_eq!(found.groups, ["right"]);
}

/// A flood with faults until there were `enough` in all, then a calm in which a download comes right; how many there were.
fn storm(qemu: &mut Qemu, rates: Rates, enough: u64, flood: &AtomicBool) -> u64 {
    rates.set(qemu);
    flood.store(true, Ordering::Relaxed);
    for _ in 0..STORM.as_millis() / LOOK_EVERY.as_millis() {
        if qemu.nic_number("faults-injected").unwrap() >= enough {
            break;
        }
        thread::sleep(LOOK_EVERY);
    }
    flood.store(false, Ordering::Relaxed);
    CALM.set(qemu);
    comes_right(qemu);
    qemu.nic_number("faults-injected").unwrap()
}

/// The last boot brings the right bytes, and the driver has nothing more to mend.
fn boots(qemu: &mut Qemu, last: &[u8], go: &AtomicBool) {
    let said_before = qemu.console().text().len();
    go.store(true, Ordering::Relaxed);
    let sum = qemu.console().expect(INITRD, PATIENCE).unwrap();
    let crc = format!("{:08x}", crc32fast::hash(last));
    assert_eq!(sum.groups, [last.len().to_string(), crc]);
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    let text = qemu.console().text();
    for trouble in ["restarting", "gone", "starting the MAC again", "link down"] {
        let said = &text[said_before..];
        assert!(!said.contains(trouble), "{said}");
    }
    assert!(
        !text.contains("fault: ") && !text.contains("soak: wrong"),
        "{text}"
    );
}

/// A node that runs the script with a blob of so many bytes, while `trial` plays with the switches.
fn soaked(
    board: Board,
    options: &[(&str, &str)],
    blob: usize,
    trial: impl FnOnce(&mut Qemu, &Files, &Switches),
) {
    let files = Files {
        payload: fs::read(tiny_payload().unwrap()).unwrap(),
        blob: body(blob, 8),
        last: body(LAST, 9),
    };
    let wire = Wire::new().unwrap();
    let (here, qemus) = wire.ends().unwrap();
    let switches = Switches::default();
    thread::scope(|scope| {
        let _home = Home(&switches);
        scope.spawn(|| serve(&wire, &files, &switches));
        let mut machine = machine(board, RELEASE)
            .unwrap()
            .entry(Entry::At(0x8_0000))
            .other_cores_rest()
            .net(Net::udp(qemus, here))
            // The model is asked after the payload has switched off.
            .argument("-no-shutdown");
        for (name, value) in options {
            machine = machine.nic_option(name, value);
        }
        let mut qemu = machine.start().unwrap();
        comes_right(&mut qemu);
        trial(&mut qemu, &files, &switches);
        let right = qemu.console().text().matches("soak: right").count();
        println!("soak: {}: {right} downloads, all right", board.name());
        qemu.monitor().unwrap().quit().unwrap();
    });
}

/// Storms of faults; without faults, the last boot loses no frame on its way, by the model's own count.
fn survives(board: Board, storms: &[Rates], lost: &str) {
    let enough = std::env::var(FAULTS_VARIABLE).map_or(FAULTS, |number| number.parse().unwrap());
    let calm = CALM.all.to_string();
    let options = [("faults", &*calm), ("fault-seed", "3")];
    soaked(board, &options, BLOB, |qemu, files, switches| {
        let (mut count, mut injected) = (0, 0);
        for rates in storms.iter().cycle() {
            count += 1;
            let before = injected;
            injected = storm(qemu, *rates, enough, &switches.flood);
            if injected >= enough {
                break;
            }
            assert!(injected > before, "a storm without a fault");
        }
        NONE.set(qemu);
        // What the last fault started may still have to be ended.
        comes_right(qemu);
        comes_right(qemu);
        let lost_before = qemu.nic_number(lost).unwrap();
        boots(qemu, &files.last, &switches.go);
        assert_eq!(qemu.nic_number(lost).unwrap(), lost_before);
        let injected = |what: &str| qemu.nic_number(&format!("{what}faults-injected")).unwrap();
        println!(
            "soak: {}: {} faults in {count} storms: {} of frames, {} of transfers, {} of registers",
            board.name(),
            injected(""),
            injected("frame-"),
            injected("transfer-"),
            injected("register-"),
        );
    });
}

/// At a switch that takes no pause frames, a flood comes while the node computes: the chip's FIFO overflows, and the boot
/// goes on.
fn survives_overflows(board: Board) {
    soaked(
        board,
        &[("peer-pause", "off")],
        BIG_BLOB,
        |qemu, files, switches| {
            let deadline = std::time::Instant::now() + PATIENCE;
            switches.flood.store(true, Ordering::Relaxed);
            while qemu.nic_number("overflows").unwrap() < OVERFLOWS {
                let now = std::time::Instant::now();
                assert!(now < deadline, "{}", qemu.console().text());
                thread::sleep(LOOK_EVERY);
            }
            switches.flood.store(false, Ordering::Relaxed);
            comes_right(qemu);
            comes_right(qemu);
            boots(qemu, &files.last, &switches.go);
        },
    );
}

#[test]
fn a_4b_survives() {
    require!(tiny_payload());
    require!(machine(Board::Pi4b, RELEASE));
    survives(Board::Pi4b, &GENET, "rx-lost");
}

#[test]
fn a_3b_survives() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, RELEASE));
    survives(Board::Pi3b, &USB, "overflows");
}

#[test]
fn a_3b_plus_survives() {
    require!(tiny_payload());
    require!(machine(Board::Pi3bPlus, RELEASE));
    survives(Board::Pi3bPlus, &USB, "overflows");
}

#[test]
fn a_3b_survives_overflows() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, RELEASE));
    survives_overflows(Board::Pi3b);
}

#[test]
fn a_3b_plus_survives_overflows() {
    require!(tiny_payload());
    require!(machine(Board::Pi3bPlus, RELEASE));
    survives_overflows(Board::Pi3bPlus);
}
