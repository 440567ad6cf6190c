//! Chips made of ordinary memory for driver tests: registers by vendor requests, a PHY, and their framings, as strict as
//! the datasheets allow (see lan9514, lan78xx, cdc_ecm for the sources).

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use crate::ether::mii::tests::FakePhy;
use crate::usb::peripheral::{Faults, Function, Reply};

const PACKET: usize = 512;
/// For how many reads of its register each lasts: a lite reset, the PHY's reset, an access to the PHY.
const RESET_READS: u32 = 3;
const PHY_RESET_READS: u32 = 20;
const MII_READS: u32 = 2;

/// The registers that a driver may write: another one's number is a mistake, which memory would take.
const LAN9514_WRITTEN: [u16; 16] = [
    0x08, 0x10, 0x14, 0x20, 0x24, 0x2c, 0x38, 0x6c, 0x100, 0x104, 0x108, 0x114, 0x118, 0x11c, 0x120, 0x130,
];
const LAN78XX_WRITTEN: [u16; 23] = [
    0x0c, 0x10, 0x14, 0x80, 0x90, 0x94, 0x98, 0xb0, 0xc0, 0xc4, 0xc8, 0xcc, 0xd0, 0x100, 0x104, 0x108, 0x10c,
    0x118, 0x11c, 0x120, 0x124, 0x400, 0x404,
];

/// Where the packet filter of a CDC Ethernet device is kept: it has no registers.
const FILTER: u16 = 0x43;

/// Which chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    CdcEcm,
    Lan9514,
    Lan78xx,
}

/// What a test sees of a chip, and does to it.
pub(super) struct Wire {
    pub(super) model: Model,
    pub(super) registers: BTreeMap<u16, u32>,
    pub(super) phy: FakePhy,
    /// Frames on their way to the chip.
    pub(super) arriving: VecDeque<Vec<u8>>,
    /// Frames that the chip has sent.
    pub(super) sent: Vec<Vec<u8>>,
    /// Transfers that made no sense to the chip.
    pub(super) nonsense: Vec<String>,
    /// Bits flipped in the headers of frames on their way to the host.
    pub(super) spoil: Faults,
    /// After so many reads of registers, one gives the opposite of what it should.
    pub(super) misread_in: Option<u32>,
    /// Writes of registers so far, and which of them are refused.
    pub(super) writes: u32,
    pub(super) refused: Range<u32>,
    /// The registers that were written, in their order, and the value of each.
    pub(super) written: Vec<(u16, u32)>,
    /// Lite resets.
    pub(super) resets: u32,
    /// For so many more reads the lite reset, the PHY's reset and an access to the PHY last.
    resetting: u32,
    phy_resetting: u32,
    mii_busy: u32,
    /// Bursts that were sent, and their length.
    pub(super) bursts: Vec<usize>,
    /// It holds frames and does not send them, until its lite reset.
    pub(super) wedged: bool,
    /// Packets of the burst that is leaving.
    leaving: VecDeque<Vec<u8>>,
    /// Packets of a transfer that comes.
    coming: Vec<u8>,
}

pub(super) struct Chip(pub(super) Rc<RefCell<Wire>>);

/// MII_ADDR; register and bit of the lite reset; register and bit of the PHY's reset.
struct Parts {
    mii: u16,
    reset: (u16, u32),
    phy_reset: (u16, u32),
}

impl Wire {
    pub(super) fn new(model: Model) -> Rc<RefCell<Self>> {
        let mut phy = FakePhy::gigabit(1);
        if model == Model::Lan9514 {
            phy.registers[1] &= !0x100; // no extended status: 10 and 100 Mb/s
        }
        let id = match model {
            Model::CdcEcm => 0,
            Model::Lan9514 => 0xec00_0002,
            Model::Lan78xx => 0x7800_0002,
        };
        Rc::new(RefCell::new(Self {
            model,
            registers: BTreeMap::from([(0, id)]),
            phy,
            arriving: VecDeque::new(),
            sent: Vec::new(),
            nonsense: Vec::new(),
            spoil: Faults::new(0, 0),
            misread_in: None,
            writes: 0,
            refused: 0..0,
            written: Vec::new(),
            resets: 0,
            resetting: 0,
            phy_resetting: 0,
            mii_busy: 0,
            bursts: Vec::new(),
            wedged: false,
            leaving: VecDeque::new(),
            coming: Vec::new(),
        }))
    }

    pub(super) fn register(&self, register: u16) -> u32 {
        self.registers.get(&register).copied().unwrap_or(0)
    }

    /// Whether the driver has opened both ways through the chip.
    pub(super) fn open(&self) -> (bool, bool) {
        let on = |register, bit: u32| self.register(register) >> bit & 1 != 0;
        match self.model {
            // Promiscuous, directed, broadcast.
            Model::CdcEcm => (self.register(FILTER) == 0b1101, true),
            Model::Lan9514 => (on(0x100, 2), on(0x100, 3) && on(0x10, 2)),
            Model::Lan78xx => (on(0x104, 0) && on(0xc0, 31), on(0x108, 0) && on(0xc4, 31)),
        }
    }

    /// The MAC address that frames are filtered by.
    pub(super) fn filter(&self) -> [u8; 6] {
        let (low, high) = match self.model {
            Model::CdcEcm => return [0; 6],
            Model::Lan9514 => (0x108, 0x104),
            Model::Lan78xx => (0x404, 0x400),
        };
        let ([a, b, c, d], [e, f, ..]) = (
            self.register(low).to_le_bytes(),
            self.register(high).to_le_bytes(),
        );
        [a, b, c, d, e, f]
    }

    fn lite_reset(&mut self) {
        self.resets += 1;
        self.registers = BTreeMap::from([(0, self.register(0))]);
        self.mii_busy = 0;
        self.forget();
    }

    fn forget(&mut self) {
        self.leaving.clear();
        self.coming.clear();
        self.wedged = false;
    }

    fn write(&mut self, register: u16, value: u32) {
        let Some(parts) = self.parts() else { return };
        self.written.push((register, value));
        let written = match self.model {
            Model::CdcEcm => &[][..],
            Model::Lan9514 => &LAN9514_WRITTEN,
            Model::Lan78xx => &LAN78XX_WRITTEN,
        };
        assert!(
            written.contains(&register),
            "{register:#x} is no register to write"
        );
        if self.resetting > 0 {
            return self.nonsense.push(format!("{register:#x} written in a reset"));
        }
        if (register, value & parts.reset.1) == parts.reset {
            self.resetting = RESET_READS;
            return self.lite_reset();
        }
        if (register, value & parts.phy_reset.1) == parts.phy_reset {
            self.phy_resetting = PHY_RESET_READS;
        }
        let mut value = value;
        match (self.model, register) {
            (Model::Lan9514, 0x20) => value &= !0x10,
            (Model::Lan78xx, 0x14) => value = value & !0x10 | 0x80,
            (Model::Lan78xx, 0x104 | 0x108) => value = value & !2 | (!value & 1) << 1,
            (Model::Lan78xx, 0xc0 | 0xc4) => value = value & !(1 << 20) | (!value >> 31) << 20,
            _ => {}
        }
        if [parts.mii, parts.mii + 4].contains(&register) {
            // The chips' erratum and the PHY's patience: the bus must be left alone until it is free.
            if self.mii_busy > 0 || self.phy_resetting > 0 {
                return self
                    .nonsense
                    .push("the PHY's bus was touched while it was busy".into());
            }
        }
        self.registers.insert(register, value);
        if register == parts.mii {
            let (phy, number) = ((value >> 11 & 31) as u8, (value >> 6 & 31) as u8);
            if value & 2 != 0 {
                let data = self.register(parts.mii + 4) as u16;
                self.phy.write(phy, number, data);
            } else {
                let data = self.phy.read(phy, number);
                self.registers.insert(parts.mii + 4, data.into());
            }
            self.registers.insert(parts.mii, value & !1);
            self.mii_busy = MII_READS;
        }
    }

    /// Where the chip's parts are.
    fn parts(&self) -> Option<Parts> {
        let (mii, reset, phy_reset) = match self.model {
            Model::CdcEcm => return None,
            Model::Lan9514 => (0x114, (0x14, 1 << 3), (0x20, 1 << 4)),
            Model::Lan78xx => (0x120, (0x10, 1 << 1), (0x14, 1 << 4)),
        };
        Some(Parts {
            mii,
            reset,
            phy_reset,
        })
    }

    /// What a part that is not done yet makes of its register.
    fn unfinished(&mut self, register: u16, value: u32) -> u32 {
        let Some(parts) = self.parts() else { return value };
        let mut lasts = |part: fn(&mut Self) -> &mut u32| {
            let left = part(self);
            let lasts = *left > 0;
            *left = left.saturating_sub(1);
            lasts
        };
        if register == parts.reset.0 && lasts(|wire| &mut wire.resetting) {
            value | parts.reset.1
        } else if register == parts.phy_reset.0 && lasts(|wire| &mut wire.phy_resetting) {
            // The LAN78xx's "ready" is off as long.
            (value | parts.phy_reset.1) & !0x80
        } else if register == parts.mii && lasts(|wire| &mut wire.mii_busy) {
            value | 1
        } else {
            value
        }
    }

    fn read(&mut self, register: u16) -> u32 {
        let waiting = (self.arriving.len().min(100) * 64) as u32;
        let value = match (self.model, register) {
            (Model::Lan9514, 0x18) if self.open().0 => waiting,
            (Model::Lan78xx, 0xc0) if self.open().0 => self.register(register) | waiting,
            _ => self.register(register),
        };
        let value = self.unfinished(register, value);
        let wrong = self.misread_in == Some(0);
        self.misread_in = self.misread_in.and_then(|reads| reads.checked_sub(1));
        if wrong { !value } else { value }
    }

    /// A frame as the chip puts it into a burst.
    fn pack(&self, frame: &[u8]) -> Vec<u8> {
        let size = frame.len() as u32 + 4;
        let mut bytes = match self.model {
            Model::CdcEcm => return frame.to_vec(),
            Model::Lan9514 => {
                assert_eq!(self.register(0x14) >> 9 & 3, 2, "RXDOFF");
                let mut bytes = (size << 16).to_le_bytes().to_vec();
                bytes.extend([0xaa; 2]);
                bytes
            }
            Model::Lan78xx => {
                let mut bytes = size.to_le_bytes().to_vec();
                bytes.extend([0xaa; 6]);
                bytes
            }
        };
        bytes.extend(frame);
        bytes.extend([0xfc; 4]);
        bytes
    }

    /// As many of the waiting frames as fit into one burst.
    fn burst(&mut self) {
        if self.wedged || !self.open().0 {
            return;
        }
        let together = match self.model {
            Model::CdcEcm => false,
            Model::Lan9514 => self.register(0x14) & 0x22 == 0x22,
            Model::Lan78xx => self.register(0x10) & 0x10 != 0 && self.register(0x80) & 0x20 != 0,
        };
        let cap = match self.model {
            Model::CdcEcm => PACKET * 4,
            Model::Lan9514 => self.register(0x38) as usize * PACKET,
            Model::Lan78xx => self.register(0x90) as usize * PACKET,
        };
        let mut burst: Vec<u8> = Vec::new();
        while let Some(frame) = self.arriving.front() {
            let mut bytes = self.pack(frame);
            let at = burst.len().next_multiple_of(4);
            if !burst.is_empty() && (!together || at + bytes.len() > cap) {
                break;
            }
            if self.model != Model::CdcEcm && self.spoil.of != 0 && self.spoil.below(self.spoil.of) == 0 {
                let bit = self.spoil.below(32);
                bytes[bit as usize / 8] ^= 1 << (bit % 8);
                self.spoil.injected += 1;
            }
            burst.resize(at, 0x77);
            burst.extend(bytes);
            self.arriving.pop_front();
        }
        if burst.is_empty() {
            return;
        }
        self.bursts.push(burst.len());
        self.leaving = burst.chunks(PACKET).map(<[u8]>::to_vec).collect();
        // A burst at the cap fills the host's transfer; any other ends with a short packet.
        if burst.len().is_multiple_of(PACKET) && burst.len() < cap {
            self.leaving.push_back(Vec::new());
        }
    }

    /// A whole transfer from the host.
    fn take(&mut self, bytes: &[u8]) {
        if !self.open().1 {
            return self.nonsense.push("a frame for a sender that is off".into());
        }
        let word = |at: usize| {
            let word = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(word.try_into().unwrap()))
        };
        match self.model {
            Model::CdcEcm => self.sent.push(bytes.to_vec()),
            Model::Lan9514 => {
                let (a, b) = (word(0).unwrap_or(0), word(4).unwrap_or(0));
                let len = (a & 0x7ff) as usize;
                if a & 0x3000 != 0x3000 || b & 0x7ff != a & 0x7ff || bytes.len() != 8 + len {
                    return self.nonsense.push(format!("{a:x} {b:x} of {}", bytes.len()));
                }
                self.sent.push(bytes[8..].to_vec());
            }
            Model::Lan78xx => {
                let mut at = 0;
                while at < bytes.len() {
                    let (a, b) = (word(at).unwrap_or(0), word(at + 4));
                    let len = (a & 0xf_ffff) as usize;
                    let frame = bytes.get(at + 8..at + 8 + len);
                    let (1.., Some(0), Some(frame)) = (a >> 22 & 1, b, frame) else {
                        return self.nonsense.push(format!("{a:x} at {at} of {}", bytes.len()));
                    };
                    self.sent.push(frame.to_vec());
                    at = (at + 8 + len).next_multiple_of(4);
                }
            }
        }
    }
}

impl Function for Chip {
    fn descriptors(&self) -> (Vec<u8>, Vec<u8>) {
        let model = self.0.borrow().model;
        let [id, id_high] = match model {
            Model::CdcEcm => [0xa2, 0xa4],
            Model::Lan9514 => [0x00, 0xec],
            Model::Lan78xx => [0x00, 0x78],
        };
        let device = vec![
            18, 1, 0, 2, 0xff, 0, 0, 64, 0x24, 0x04, id, id_high, 0, 0, 0, 0, 0, 1,
        ];
        let endpoints = [7, 5, 0x81, 2, 0, 2, 0, 7, 5, 0x02, 2, 0, 2, 0];
        let head: Vec<u8> = if model == Model::CdcEcm {
            [
                &[9, 2, 64, 0, 2, 3, 0, 0xe0, 1][..],
                &[9, 4, 0, 0, 0, 2, 6, 0, 0],
                &[5, 0x24, 6, 0, 1],
                &[13, 0x24, 0x0f, 3, 0, 0, 0, 0, 0xea, 5, 0, 0, 0],
                &[9, 4, 1, 1, 2, 10, 0, 0, 0],
            ]
            .concat()
        } else {
            vec![9, 2, 32, 0, 1, 3, 0, 0xe0, 1, 9, 4, 0, 0, 2, 0xff, 0, 0xff, 0]
        };
        let mut configuration = [&head[..], &endpoints].concat();
        configuration[2] = configuration.len() as u8;
        (device, configuration)
    }

    fn request(&mut self, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>> {
        let mut wire = self.0.borrow_mut();
        let register = u16::from_le_bytes([setup[4], setup[5]]);
        match (wire.model, setup[0], setup[1]) {
            (Model::CdcEcm, 0x21, 0x43) if setup[4..] == [0; 4] => {
                let filter = u16::from_le_bytes([setup[2], setup[3]]);
                wire.registers.insert(FILTER, filter.into());
                Some(vec![])
            }
            // Its third string in English, and it has no other language.
            (Model::CdcEcm, 0x80, 6) if setup[2..6] == [3, 3, 0x09, 0x04] => {
                let digits = "0002B3040506".bytes().flat_map(|digit| [digit, 0]);
                Some([26, 3].into_iter().chain(digits).collect())
            }
            (Model::CdcEcm, ..) => None,
            (_, 0xc0, 0xa1) if setup[2..4] == [0; 2] && setup[6..] == [4, 0] => {
                Some(wire.read(register).to_le_bytes().to_vec())
            }
            (_, 0x40, 0xa0) if setup[2..4] == [0; 2] => {
                let number = wire.writes;
                wire.writes += 1;
                if wire.refused.contains(&number) {
                    return None;
                }
                wire.write(register, u32::from_le_bytes(data.try_into().ok()?));
                Some(vec![])
            }
            _ => None,
        }
    }

    fn input(&mut self) -> Reply {
        let mut wire = self.0.borrow_mut();
        if wire.leaving.is_empty() {
            wire.burst();
        }
        wire.leaving
            .front()
            .map_or(Reply::Nak, |packet| Reply::Data(packet.clone()))
    }

    fn sent(&mut self) {
        self.0.borrow_mut().leaving.pop_front();
    }

    fn output(&mut self, packet: &[u8]) {
        let mut wire = self.0.borrow_mut();
        wire.coming.extend_from_slice(packet);
        if packet.len() < PACKET {
            let bytes = std::mem::take(&mut wire.coming);
            if !bytes.is_empty() {
                wire.take(&bytes);
            }
        }
    }

    fn reset(&mut self) {
        let mut wire = self.0.borrow_mut();
        if wire.model == Model::CdcEcm {
            wire.registers.clear();
            wire.forget();
        } else {
            wire.lite_reset();
            (wire.resetting, wire.phy_resetting) = (0, 0);
        }
    }
}
