//! The machine under test: a Pi's facts and memory, a scripted person at its console, a seeded generator.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;

use boot::fetch::Fetcher;
use boot::lease::Identity;
use boot::net::Net;
use boot::{Board, Cause, Clock, Ending, Entropy, Error, Handoff, Machine, Platform, Region, Settings};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use crate::account::{as_boot, as_rig};
use crate::lan::Lan;
use crate::payload;
use crate::random::Random;

/// The node's MAC address.
pub const MAC: EthernetAddress = EthernetAddress([0xb8, 0x27, 0xeb, 0x01, 0x02, 0x03]);
/// The node's serial number.
pub const SERIAL: u64 = 0x1000_0000_5ead_beef;

/// Free memory begins above page 0, which the firmware's stub keeps.
const BASE: u64 = 0x1000;

/// A Pi 3 on a bench, not yet switched on.
pub struct Node {
    /// Free RAM; sparse, so a big one costs nothing until it is written.
    pub memory: Vec<u8>,
    /// The UART on the header's pins.
    pub uart: Option<boot::Uart>,
    /// The device tree from the firmware.
    pub device_tree: Option<Vec<u8>>,
    /// The initramfs from the firmware.
    pub initramfs: Option<Vec<u8>>,
    /// Keys typed, each at a moment of virtual time.
    pub keys: Vec<(Duration, Vec<u8>)>,
    /// The bytes written to the terminal.
    pub screen: Rc<RefCell<Vec<u8>>>,
    /// How often the random number generator fails before it works.
    pub entropy_fails: u32,
    /// What its random numbers follow from.
    pub entropy_seed: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    /// 64 MiB of RAM, a small device tree, nobody at the console.
    pub fn new() -> Self {
        Self::with_memory(64 << 20)
    }

    /// Sets the RAM's size in bytes.
    pub fn with_memory(bytes: usize) -> Self {
        Self {
            memory: vec![0; bytes],
            uart: None,
            device_tree: Some(payload::device_tree()),
            initramfs: None,
            keys: Vec::new(),
            screen: Rc::new(RefCell::new(Vec::new())),
            entropy_fails: 0,
            entropy_seed: 42,
        }
    }

    /// Types `keys` at `moment`.
    pub fn types(mut self, moment: Duration, keys: impl Into<Vec<u8>>) -> Self {
        self.keys.push((moment, keys.into()));
        self
    }

    /// Switches it on: one whole boot, which no script ends.
    pub fn boot(&mut self, lan: &Lan, settings: &Settings) -> Result<Handoff, Error> {
        match self.run(lan, settings) {
            Ending::Boot(handoff, _) => Ok(handoff),
            Ending::Reset(Cause::GaveUp(_, error)) => Err(error),
            ending => panic!("a script ended the boot: {ending:?}"),
        }
    }

    /// Switches it on, until the boot ends.
    pub fn run(&mut self, lan: &Lan, settings: &Settings) -> Ending {
        let mut board = Board {
            model: "Raspberry Pi 3 Model B",
            revision: 0x00a0_2082,
            serial: SERIAL,
            mac: MAC,
            uart: self.uart,
            device_tree: self.device_tree.as_deref(),
            handed_over: None,
        };
        let initramfs = self.initramfs.as_ref();
        let handed_over = initramfs.and_then(|file| boot::handed_over(file, &board));
        board.handed_over = handed_over
            .as_ref()
            .map(|found| found.as_ref().map_err(|why| *why));
        let mut nic = lan.nic();
        let machine = Machine {
            nic: &mut nic,
            clock: lan,
            console: &mut Terminal {
                lan: lan.clone(),
                keys: typed(&self.keys),
                screen: self.screen.clone(),
            },
            memory: Region::new(BASE, &mut self.memory).expect("the region ends below 2^64"),
            entropy: &mut Generator {
                random: Random::new(self.entropy_seed),
                fails: self.entropy_fails,
            },
            board: &board,
            platform: &mut Watchdog(lan.clone()),
            observers: &mut [],
        };
        as_boot(|| boot::run(machine, settings))
    }

    /// The memory from `address` to its end.
    pub fn at(&self, address: u64) -> &[u8] {
        let offset = address.checked_sub(BASE).expect("an address in the region");
        &self.memory[offset as usize..]
    }

    /// The terminal's output as text.
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.borrow()).into_owned()
    }
}

fn typed(keys: &[(Duration, Vec<u8>)]) -> VecDeque<(Instant, u8)> {
    let mut all: Vec<(Instant, u8)> = keys
        .iter()
        .flat_map(|(moment, bytes)| bytes.iter().map(move |byte| (Instant::ZERO + *moment, *byte)))
        .collect();
    all.sort_by_key(|(moment, _)| *moment);
    all.into()
}

/// Runs `session` on a node of this LAN that has just got its lease: for tests of one step of a boot.
pub fn leased<T>(lan: &Lan, session: impl FnOnce(&mut Net<'_>, &mut Fetcher) -> T) -> T {
    let board = Board {
        model: "Raspberry Pi 3 Model B",
        revision: 0x00a0_2082,
        serial: SERIAL,
        mac: MAC,
        uart: None,
        device_tree: None,
        handed_over: None,
    };
    let mut nic = lan.nic();
    let mut watchdog = Watchdog(lan.clone());
    let mut generator = Generator {
        random: Random::new(1),
        fails: 0,
    };
    let identity = Identity::of(&board, &Settings::default());
    let mut net = Net::new(&mut nic, lan, &mut watchdog, &mut generator, identity);
    net.lease();
    let mut fetcher = Fetcher::new();
    let result = session(&mut net, &mut fetcher);
    fetcher.close(&mut net);
    result
}

/// A serial terminal. A key does not end the clock's idling, because the contract only promises that for frames.
struct Terminal {
    lan: Lan,
    keys: VecDeque<(Instant, u8)>,
    screen: Rc<RefCell<Vec<u8>>>,
}

impl embedded_io::ErrorType for Terminal {
    type Error = Infallible;
}

impl embedded_io::ReadReady for Terminal {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        let now = self.lan.now();
        Ok(self.keys.front().is_some_and(|(at, _)| *at <= now))
    }
}

impl embedded_io::Read for Terminal {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let now = self.lan.now();
        let mut count = 0;
        for byte in into {
            let Some((_, key)) = self.keys.pop_front_if(|(at, _)| *at <= now) else {
                break;
            };
            *byte = key;
            count += 1;
        }
        Ok(count)
    }
}

impl embedded_io::Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        as_rig(|| self.screen.borrow_mut().extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

struct Generator {
    random: Random,
    /// So many times.
    fails: u32,
}

impl Entropy for Generator {
    fn fill(&mut self, bytes: &mut [u8]) -> bool {
        if self.fails > 0 {
            self.fails -= 1;
            return false;
        }
        self.random.fill(bytes);
        true
    }
}

struct Watchdog(Lan);

impl Platform for Watchdog {
    fn kick_watchdog(&mut self) {
        self.0.kick();
    }
}

/// A failing test shows what the person would have seen.
impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("screen:\n{}", self.screen());
        }
    }
}
