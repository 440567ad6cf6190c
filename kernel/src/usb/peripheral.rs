//! A device on the fake core's root port that answers packet by packet, on a wire that loses some (USB 2.0 §8): address,
//! configuration, data toggles and halted endpoints are kept here, what the device is for behind `Function`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What an endpoint answers.
pub(crate) enum Reply {
    /// Nothing now.
    Nak,
    /// An IN endpoint's packet; an OUT endpoint took one.
    Data(Vec<u8>),
}

/// What a device is for.
pub(crate) trait Function {
    /// Descriptors: of the device and of its one configuration.
    fn descriptors(&self) -> (Vec<u8>, Vec<u8>);
    /// A request of its class or vendor: data from it, or `None` for a stall. `data` came with it.
    fn request(&mut self, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>>;
    /// The packet that bulk IN sends next, until `sent` says that it arrived.
    fn input(&mut self) -> Reply;
    fn sent(&mut self);
    /// A packet for bulk OUT.
    fn output(&mut self, packet: &[u8]);
    /// The bus or the configuration was reset.
    fn reset(&mut self);
}

/// A high-speed hub, as far as a search speaks to it (USB 2.0 §11.24): what is plugged in answers once its port was reset.
pub(crate) struct Hub {
    devices: Vec<Rc<RefCell<Peripheral>>>,
    /// Which ports' resets have ended and were not acknowledged.
    ended: Vec<bool>,
}

impl Hub {
    pub(crate) fn new(devices: Vec<Rc<RefCell<Peripheral>>>) -> Self {
        let ended = vec![false; devices.len()];
        let mut hub = Self { devices, ended };
        hub.reset();
        hub
    }
}

impl Function for Hub {
    fn descriptors(&self) -> (Vec<u8>, Vec<u8>) {
        (
            vec![18, 1, 0, 2, 9, 0, 1, 64, 0x24, 0x04, 0x14, 0x25, 0, 0, 0, 0, 0, 1],
            vec![9, 2, 9, 0, 1, 1, 0, 0xe0, 1],
        )
    }

    fn request(&mut self, setup: [u8; 8], _: &[u8]) -> Option<Vec<u8>> {
        // What follows the port's number is nothing; of a feature, too.
        let (port, device) = match setup {
            [0xa0, 6, 0, 0x29, 0, 0, ..] => {
                return Some(vec![9, 0x29, self.devices.len() as u8, 0, 0, 10, 0, 0, 0]);
            }
            [0x23 | 0xa3, _, _, 0, port, 0, _, 0] => {
                let port = usize::from(port).checked_sub(1)?;
                (port, self.devices.get(port)?)
            }
            _ => return None,
        };
        match (setup[0], setup[1], setup[2], setup[6]) {
            (0x23, 3, 8, 0) => {}
            (0x23, 3, 4, 0) => {
                device.borrow_mut().reset();
                self.ended[port] = true;
            }
            (0x23, 1, 1, 0) => device.borrow_mut().answers = false,
            (0x23, 1, 20, 0) => self.ended[port] = false,
            (0x23, 1, 16 | 17, 0) => {}
            (0xa3, 0, 0, 4) => {
                let device = device.borrow();
                let status = u32::from(device.plugged) | u32::from(device.answers) << 1 | 1 << 10;
                return Some(
                    (status | u32::from(self.ended[port]) << 20)
                        .to_le_bytes()
                        .to_vec(),
                );
            }
            _ => return None,
        }
        Some(vec![])
    }

    fn input(&mut self) -> Reply {
        Reply::Nak
    }

    fn sent(&mut self) {}

    fn output(&mut self, _: &[u8]) {}

    fn reset(&mut self) {
        for device in &self.devices {
            device.borrow_mut().answers = false;
        }
    }
}

/// Faults of the wire and of devices, from a seed: none of them more often than one in `of`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Faults {
    seed: u64,
    /// One opportunity in so many goes wrong; 0 for none.
    pub(crate) of: u64,
    /// So many did.
    pub(crate) injected: u64,
}

impl Faults {
    pub(crate) fn new(seed: u64, of: u64) -> Self {
        Self {
            seed,
            of,
            injected: 0,
        }
    }

    /// A random number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64 (Steele et al. 2014).
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Which of `kinds` faults happens here, if one does.
    fn strike(&mut self, kinds: u64) -> Option<u64> {
        if self.of == 0 || self.below(self.of) != 0 {
            return None;
        }
        self.injected += 1;
        Some(self.below(kinds))
    }
}

/// Why no packet moved.
pub(crate) enum End {
    /// The channel waits.
    Waits,
    /// This bit of HCINT, or none.
    Halts(u32),
}

const STALL: u32 = 1 << 3;
const TRANSACTION_ERROR: u32 = 1 << 7;
const BABBLE: u32 = 1 << 8;
const AHB_ERROR: u32 = 1 << 2;
const NAK: u32 = 1 << 4;

/// The device.
pub(crate) struct Peripheral {
    pub(crate) function: Box<dyn Function>,
    pub(crate) faults: Faults,
    /// It is plugged in; one that is not is silent, and the port shows it.
    pub(crate) plugged: bool,
    /// It answers; one that does not has crashed, until the bus is reset.
    pub(crate) answers: bool,
    /// How many microseconds each packet of a request takes.
    pub(crate) late: u64,
    /// Bulk OUT has no room.
    pub(crate) full: bool,
    address: u8,
    configured: bool,
    without_endpoints: bool,
    /// Device's toggles of its endpoints, and which are halted.
    toggles: BTreeMap<u8, bool>,
    halted: BTreeMap<u8, bool>,
    setup: [u8; 8],
    reply: Vec<u8>,
    received: Vec<u8>,
    /// The new address counts after the status stage.
    next_address: Option<u8>,
    refused: bool,
}

impl Peripheral {
    pub(crate) fn new(function: Box<dyn Function>, faults: Faults) -> Self {
        Self {
            function,
            faults,
            plugged: true,
            answers: true,
            late: 0,
            full: false,
            address: 0,
            configured: false,
            without_endpoints: false,
            toggles: BTreeMap::new(),
            halted: BTreeMap::new(),
            setup: [0; 8],
            reply: Vec::new(),
            received: Vec::new(),
            next_address: None,
            refused: false,
        }
    }

    /// The bus was reset.
    pub(crate) fn reset(&mut self) {
        self.answers = true;
        (self.address, self.configured) = (0, false);
        self.start_over();
    }

    fn start_over(&mut self) {
        self.toggles.clear();
        self.halted.clear();
        self.function.reset();
    }

    /// Whether a transaction to `address` gets an answer.
    pub(crate) fn hears(&self, address: u8) -> bool {
        self.plugged && self.answers && address == self.address
    }

    /// One transaction of a control transfer: SETUP, or a packet of `data` out, or one in of up to `max` bytes.
    pub(crate) fn control(
        &mut self,
        setup: bool,
        input: bool,
        data: &[u8],
        max: usize,
    ) -> Result<Vec<u8>, End> {
        match self.faults.strike(3) {
            Some(0) if !setup => return Err(End::Halts(STALL)),
            Some(1) => return Err(End::Waits),
            Some(_) => return Err(End::Halts(TRANSACTION_ERROR)),
            None => {}
        }
        if setup {
            self.setup.copy_from_slice(&data[..8]);
            (self.reply, self.received, self.refused) = (Vec::new(), Vec::new(), false);
            if self.setup[0] & 0x80 != 0 {
                match self.request() {
                    Some(reply) => self.reply = reply,
                    None => self.refused = true,
                }
            }
            return Ok(Vec::new());
        }
        let from_device = self.setup[0] & 0x80 != 0;
        if self.refused {
            return Err(End::Halts(STALL));
        }
        match (from_device, input) {
            (true, true) => {
                let length = usize::from(u16::from_le_bytes([self.setup[6], self.setup[7]]));
                self.reply.truncate(length);
                let rest = self.reply.split_off(max.min(self.reply.len()));
                Ok(std::mem::replace(&mut self.reply, rest))
            }
            (false, false) => {
                self.received.extend_from_slice(data);
                Ok(Vec::new())
            }
            (true, false) => Ok(Vec::new()),
            (false, true) => match self.request() {
                Some(_) => {
                    self.address = self.next_address.take().unwrap_or(self.address);
                    Ok(Vec::new())
                }
                None => Err(End::Halts(STALL)),
            },
        }
    }

    fn request(&mut self) -> Option<Vec<u8>> {
        let setup = self.setup;
        let (device, configuration) = self.function.descriptors();
        match setup {
            [0x80, 6, 0, 1, 0, 0, ..] => Some(device),
            [0x80, 6, 0, 2, 0, 0, ..] => Some(configuration),
            [0x80, 0, 0, 0, 0, 0, 2, 0] => Some(vec![1, 0]),
            [0, 5, address @ 1..=127, 0, 0, 0, 0, 0] => {
                self.next_address = Some(address);
                Some(vec![])
            }
            [0, 9, value, 0, 0, 0, 0, 0] => {
                self.configured = value == configuration[5];
                self.start_over();
                self.configured.then(Vec::new)
            }
            // The setting 0 of a network function's data interface has no endpoints.
            [1, 11, setting @ (0 | 1), 0, 1, 0, 0, 0] => {
                self.start_over();
                self.without_endpoints = setting == 0;
                Some(vec![])
            }
            [2, 1, 0, 0, endpoint, 0, 0, 0] => {
                self.halted.insert(endpoint, false);
                self.toggles.insert(endpoint, false);
                Some(vec![])
            }
            _ => {
                let received = std::mem::take(&mut self.received);
                self.function.request(setup, &received)
            }
        }
    }

    /// Faults that are the endpoint's own, before a packet moves.
    fn bulk_fault(&mut self, endpoint: u8) -> Option<End> {
        if !self.configured || self.without_endpoints || self.halted.get(&endpoint) == Some(&true) {
            return Some(End::Halts(STALL));
        }
        // The rarer a kind is in life, the rarer it is here.
        Some(match self.faults.strike(4096)? {
            0..200 => {
                self.halted.insert(endpoint, true);
                End::Halts(STALL)
            }
            200..300 => End::Halts(BABBLE),
            300..350 => End::Halts(AHB_ERROR),
            350..900 => End::Halts(0),
            // Lost three times in a row, although it lives.
            900..1500 => End::Halts(TRANSACTION_ERROR | NAK),
            1500..1503 => {
                self.answers = false;
                End::Halts(TRANSACTION_ERROR)
            }
            1503..1506 => {
                self.plugged = false;
                End::Halts(TRANSACTION_ERROR)
            }
            _ => End::Halts(TRANSACTION_ERROR),
        })
    }

    /// One bulk IN transaction with the host's toggle: a packet that counts, or `None` for one that came twice.
    pub(crate) fn bulk_in(&mut self, endpoint: u8, toggle: bool) -> Result<Option<Vec<u8>>, End> {
        if let Some(end) = self.bulk_fault(endpoint) {
            return Err(end);
        }
        let Reply::Data(packet) = self.function.input() else {
            return Err(End::Waits);
        };
        let ours = self.toggles.entry(endpoint).or_default();
        let counts = *ours == toggle;
        // The acknowledgement may be lost: then the packet comes again, with the toggle that the host has seen.
        if self.faults.strike(1).is_none() {
            *ours = !*ours;
            self.function.sent();
        }
        Ok(counts.then_some(packet))
    }

    /// One bulk OUT transaction. A packet whose acknowledgement was lost comes twice and counts once.
    pub(crate) fn bulk_out(&mut self, endpoint: u8, toggle: bool, packet: &[u8]) -> Result<(), End> {
        if let Some(end) = self.bulk_fault(endpoint) {
            return Err(end);
        }
        if self.full {
            return Err(End::Waits);
        }
        let ours = self.toggles.entry(endpoint).or_default();
        if *ours == toggle {
            *ours = !*ours;
            self.function.output(packet);
        }
        match self.faults.strike(1) {
            None => Ok(()),
            Some(_) => Err(End::Halts(TRANSACTION_ERROR)),
        }
    }
}
