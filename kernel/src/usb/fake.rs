//! A DWC2 core made of ordinary memory, with a device on its root port that answers from a script (Synopsys databook's
//! rules as `dwc2` uses them; unlike QEMU's model it keeps the data toggle, and can fail).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::rc::Rc;

use super::dwc2::Dwc2;
use super::peripheral::{End, Faults, Hub, Peripheral};
use super::transfer::Speed;
use crate::cache::Memory;
use crate::clock::Clock;
use crate::cpu;
use crate::dma::Arena;
use crate::dma::tests::arena;

/// Bytes of the registers, and of the memory that the core can reach.
const REGISTERS: usize = 0xe04;
const MEMORY: usize = 256 << 10;

const GRSTCTL: usize = 0x010;
const GHWCFG3: usize = 0x04c;
const HPRT0: usize = 0x440;
const CHANNELS: usize = 0x500;
const ENABLE: u32 = 1 << 31;
const DISABLE: u32 = 1 << 30;
const PORT_ENABLED: u32 = 1 << 2;
const PORT_RESET: u32 = 1 << 8;

/// HCINT bits that end a transfer.
pub(crate) const STALL: u32 = 1 << 3;
pub(crate) const TRANSACTION_ERROR: u32 = 1 << 7;
pub(crate) const BABBLE: u32 = 1 << 8;
const COMPLETE: u32 = 1 << 0;
const HALTED: u32 = 1 << 1;
const ACK: u32 = 1 << 5;

/// What becomes of one started transfer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// An OUT transfer goes through.
    Taken,
    /// The device sends these bytes.
    Sends(Vec<u8>),
    /// These bytes in whole packets, or that many OUT packets, and then the channel halts for this reason.
    Fails(Vec<u8>, u32, u32),
    /// Nothing, until the channel is stopped; this many OUT packets went through by then.
    Silence(u32),
    /// The same as the other, after so many microseconds.
    Late(u64, Box<Self>),
}

/// One transfer as the core was told to do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Which channel.
    pub(crate) channel: usize,
    /// HCCHAR: bits 10:0 packet size, 15 IN, 28:22 address.
    pub(crate) hcchar: u32,
    /// HCTSIZ: bits 18:0 bytes, 28:19 packets, 30:29 packet identifier.
    pub(crate) hctsiz: u32,
    /// What an OUT transfer was to send.
    pub(crate) sent: Vec<u8>,
}

impl Transfer {
    /// Packet identifier: 0 DATA0, 2 DATA1, 3 SETUP.
    pub(crate) fn pid(&self) -> u32 {
        self.hctsiz >> 29 & 3
    }

    /// Bytes that were asked for.
    pub(crate) fn bytes(&self) -> u32 {
        self.hctsiz & 0x7_ffff
    }
}

struct Core {
    registers: NonNull<u32>,
    memory: Memory,
    script: VecDeque<(usize, Answer)>,
    seen: Vec<Transfer>,
    /// OUT packets that will have gone through when a silent channel is stopped; `None` while it is idle.
    silent: [Option<u32>; 8],
    in_reset: bool,
    /// What answers when the script does not: the device on the root port, and those behind it.
    peripherals: Vec<Rc<RefCell<Peripheral>>>,
}

/// The test's end of it.
pub(crate) struct Fake {
    core: Rc<RefCell<Core>>,
    /// For more buffers.
    pub(crate) arena: Arena,
    /// Virtual time.
    pub(crate) clock: Clock,
}

impl Fake {
    /// A core after reset with something on its port, and the driver for it.
    pub(crate) fn plugged() -> (Self, Dwc2) {
        let registers = Box::leak(vec![0_u32; REGISTERS / 4].into_boxed_slice());
        let registers = NonNull::from(registers).cast::<u32>();
        let (mut arena, memory) = arena(MEMORY);
        let core = Rc::new(RefCell::new(Core {
            registers,
            memory,
            script: VecDeque::new(),
            seen: Vec::new(),
            silent: [None; 8],
            in_reset: false,
            peripherals: Vec::new(),
        }));
        {
            let mut core = core.borrow_mut();
            core.write(0x040, 0x4f54_280a); // GSNPSID
            core.write(GHWCFG3, 0x0ff0_00e8); // as on the BCM2835
            core.write(0x014, 1); // GINTSTS: host
        }
        let plugged = core.clone();
        cpu::plug(move || plugged.borrow_mut().step());
        let clock = Clock::start();
        let buffer = arena.buffer(super::dwc2::CONTROL_BUFFER).unwrap();
        // SAFETY: leaked above and as long as the register block; the core looks at it only while the driver waits.
        let usb = unsafe { Dwc2::at(registers.cast(), buffer, clock) };
        let fake = Self { core, arena, clock };
        fake.connect(Speed::Full);
        (fake, usb)
    }

    /// What happens to the next transfers on `channel`.
    pub(crate) fn expect(&self, channel: usize, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().map(|answer| (channel, answer));
        self.core.borrow_mut().script.extend(answers);
    }

    /// Gives the core the counters of another: GHWCFG3's bits 3:0 and 6:4. Before the driver starts it.
    pub(crate) fn count_to(&self, ghwcfg3: u32) {
        self.core.borrow_mut().write(GHWCFG3, ghwcfg3);
    }

    /// What the port says of a device on it, for the script.
    pub(crate) fn connect(&self, speed: Speed) {
        let speed = match speed {
            Speed::High => 0,
            Speed::Full => 1,
            Speed::Low => 2,
        };
        self.core.borrow_mut().write(HPRT0, 1 | speed << 17);
    }

    /// Puts a high-speed device on the port, which answers whatever the script leaves open.
    pub(crate) fn attach(&self, peripheral: Rc<RefCell<Peripheral>>) {
        let mut core = self.core.borrow_mut();
        core.peripherals = vec![peripheral];
        core.write(HPRT0, 1);
    }

    /// Puts a high-speed hub on the port, and these devices into it.
    pub(crate) fn attach_hub(&self, devices: &[Rc<RefCell<Peripheral>>]) {
        let hub = Peripheral::new(Box::new(Hub::new(devices.to_vec())), Faults::new(1, 0));
        self.attach(Rc::new(RefCell::new(hub)));
        self.core.borrow_mut().peripherals.extend_from_slice(devices);
    }

    /// The transfers since the last look.
    pub(crate) fn seen(&self) -> Vec<Transfer> {
        std::mem::take(&mut self.core.borrow_mut().seen)
    }

    /// A register.
    pub(crate) fn register(&self, offset: usize) -> u32 {
        self.core.borrow().read(offset)
    }

    /// Lets the core go on, as if the program had waited.
    pub(crate) fn step(&self) {
        self.core.borrow_mut().step();
    }
}

impl Core {
    fn read(&self, offset: usize) -> u32 {
        assert!(offset < REGISTERS);
        // SAFETY: within the leaked block; nobody holds a reference to it.
        unsafe { self.registers.add(offset / 4).read_volatile() }
    }

    fn write(&mut self, offset: usize, value: u32) {
        assert!(offset < REGISTERS);
        // SAFETY: as above.
        unsafe { self.registers.add(offset / 4).write_volatile(value) }
    }

    /// The address of so many bytes behind a channel's bus address.
    fn data(&self, base: usize, len: usize) -> u64 {
        let bus = self.read(base + 0x14);
        assert_eq!((bus >> 30, bus % 4), (3, 0), "the uncached alias, whole words");
        let address = self.memory.behind_alias(bus);
        self.memory.assert_reaches(address, len);
        address
    }

    fn step(&mut self) {
        // Resets and flushes are done at once.
        let grstctl = self.read(GRSTCTL);
        self.write(GRSTCTL, grstctl & !0b11_0001 | 1 << 31);
        let mut port = self.read(HPRT0);
        if let Some(peripheral) = self.peripherals.first().cloned() {
            let mut peripheral = peripheral.borrow_mut();
            port = if peripheral.plugged {
                port | 1
            } else {
                port & !(1 | PORT_ENABLED)
            };
            self.write(HPRT0, port);
            if port & PORT_RESET != 0 {
                peripheral.reset();
            }
        }
        if self.in_reset && port & PORT_RESET == 0 {
            self.write(HPRT0, port | PORT_ENABLED);
        }
        self.in_reset = port & PORT_RESET != 0;
        for channel in 0..8 {
            self.channel(channel);
        }
    }

    fn channel(&mut self, channel: usize) {
        let base = CHANNELS + 0x20 * channel;
        if self.read(base + 8) == u32::MAX {
            self.write(base + 8, 0); // HCINT: what is written as one is cleared
        }
        let (hcchar, hctsiz) = (self.read(base), self.read(base + 0x10));
        if hcchar & ENABLE == 0 {
            return;
        }
        if hcchar & DISABLE != 0 {
            let packets = self.silent[channel].take().unwrap_or(0);
            return self.end(base, packets, 0, HALTED);
        }
        if self.silent[channel].is_some() {
            return;
        }
        let input = hcchar & 1 << 15 != 0;
        let bytes = (hctsiz & 0x7_ffff) as usize;
        let (widths, packets) = (self.read(GHWCFG3), hctsiz >> 19 & 0x3ff);
        assert_eq!(
            bytes >> (11 + (widths & 0xf)),
            0,
            "more bytes than the core counts"
        );
        assert_eq!(
            packets >> (4 + (widths >> 4 & 7)),
            0,
            "more packets than the core counts"
        );
        let sent = if input {
            Vec::new()
        } else {
            self.memory.read(self.data(base, bytes), bytes)
        };
        self.seen.push(Transfer {
            channel,
            hcchar,
            hctsiz,
            sent,
        });
        let next = self.script.iter().position(|(on, _)| *on == channel);
        let answer = next.and_then(|at| self.script.remove(at));
        if answer.is_none() && !self.peripherals.is_empty() {
            self.seen.pop();
            return self.converse(base);
        }
        let mut answer = answer.map_or(Answer::Silence(0), |(_, answer)| answer);
        while let Answer::Late(micros, then) = answer {
            cpu::skip(micros);
            answer = *then;
        }
        match answer {
            Answer::Late(..) => unreachable!("waited for"),
            Answer::Taken => {
                assert!(!input, "an IN transfer is not taken");
                let all = hctsiz >> 19 & 0x3ff;
                self.end(base, all, bytes as u32, COMPLETE | HALTED | ACK);
            }
            Answer::Sends(data) => {
                assert!(input, "an OUT transfer is not sent");
                let packets = self.receive(base, &data);
                self.end(base, packets.max(1), data.len() as u32, COMPLETE | HALTED | ACK);
            }
            Answer::Fails(data, out_packets, reason) => {
                let packets = self.receive(base, &data) + out_packets;
                // All that an OUT stage would send has been fetched by now.
                let moved = if input { data.len() } else { bytes };
                self.end(base, packets, moved as u32, HALTED | reason);
            }
            Answer::Silence(packets) => self.silent[channel] = Some(packets),
        }
    }

    /// Goes on with a channel's transfer, packet by packet, until the device that it is for has no more.
    fn converse(&mut self, base: usize) {
        let address = (self.read(base) >> 22 & 0x7f) as u8;
        assert_eq!(
            self.read(base) >> 17 & 1,
            0,
            "HCCHAR says low speed of what is high-speed"
        );
        let mut hear = self.peripherals.iter().filter(|one| one.borrow().hears(address));
        let device = hear.next().cloned();
        assert!(hear.next().is_none(), "two devices answer at {address}");
        loop {
            let (hcchar, hctsiz) = (self.read(base), self.read(base + 0x10));
            let hears = |device: &&Rc<RefCell<Peripheral>>| device.borrow().hears(address);
            let Some(device) = device
                .as_ref()
                .filter(hears)
                .filter(|_| self.read(HPRT0) & PORT_ENABLED != 0)
            else {
                // A running channel gets an error; control transfers get nothing at all, as from QEMU's model.
                if hcchar >> 18 & 3 == 2 {
                    self.end(base, 0, 0, HALTED | TRANSACTION_ERROR);
                }
                return;
            };
            let mut device = device.borrow_mut();
            let input = hcchar & 1 << 15 != 0;
            let max = (hcchar & 0x7ff) as usize;
            let bytes = (hctsiz & 0x7_ffff) as usize;
            let endpoint = (hcchar >> 11 & 0xf) as u8 | u8::from(input) << 7;
            let toggle = hctsiz >> 29 & 3 == 2;
            let dma = self.read(base + 0x14);
            let len = max.min(bytes);
            let data = self.data(base, len);
            let out = self.memory.read(data, if input { 0 } else { len });
            let moved = match hcchar >> 18 & 3 {
                0 => {
                    cpu::skip(device.late);
                    device.control(hctsiz >> 29 & 3 == 3, input, &out, max).map(Some)
                }
                _ if input => device.bulk_in(endpoint, toggle),
                _ => device.bulk_out(endpoint, toggle, &out).map(|()| Some(Vec::new())),
            };
            match moved {
                Ok(None) => {}
                Ok(Some(packet)) => {
                    assert!(packet.len() <= len, "more than was asked for is babble");
                    self.memory.write(data, &packet);
                    let count = if input { packet.len() } else { len };
                    let left = (hctsiz >> 19 & 0x3ff) - 1;
                    let pid = if toggle { 0 } else { 2 };
                    self.write(base + 0x10, pid << 29 | left << 19 | (bytes - count) as u32);
                    self.write(base + 0x14, dma + count as u32);
                    if left == 0 || input && packet.len() < max {
                        return self.end(base, 0, 0, COMPLETE | HALTED | ACK);
                    }
                }
                Err(End::Waits) => return,
                Err(End::Halts(reason)) => return self.end(base, 0, 0, HALTED | reason),
            }
        }
    }

    fn receive(&mut self, base: usize, data: &[u8]) -> u32 {
        let room = (self.read(base + 0x10) & 0x7_ffff) as usize;
        assert!(data.len() <= room, "more than was asked for is babble");
        self.memory.write(self.data(base, room), data);
        (data.len() as u32).div_ceil(self.read(base) & 0x7ff)
    }

    /// Halts a channel: residues, the toggle after `packets`, the reason.
    fn end(&mut self, base: usize, packets: u32, bytes: u32, hcint: u32) {
        let hctsiz = self.read(base + 0x10);
        let pid = match (hctsiz >> 29 & 3, packets % 2) {
            (0, 1) => 2,
            (2, 1) => 0,
            (3, 1..) => 2,
            (pid, _) => pid,
        };
        let left = (hctsiz >> 19 & 0x3ff).checked_sub(packets).unwrap();
        let bytes = (hctsiz & 0x7_ffff).checked_sub(bytes).unwrap();
        self.write(base + 0x10, pid << 29 | left << 19 | bytes);
        let hcchar = self.read(base);
        self.write(base, hcchar & !(ENABLE | DISABLE));
        self.write(base + 8, hcint);
    }
}
