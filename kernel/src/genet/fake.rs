//! A GENET made of ordinary memory with a PHY and a wire, stricter than the chip: it goes on whenever the driver looks at
//! the clock, and whenever a test says so.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::offset_of;
use std::ptr::NonNull;
use std::rc::Rc;

use safe_mmio::UniqueMmioPointer;

use super::registers::*;
use super::{Error, Genet};
use crate::bits::Bits;
use crate::cache::Memory;
use crate::clock::Clock;
use crate::cpu;
use crate::dma::tests::arena;
use crate::ether::mii::tests::FakePhy;

/// Bytes of the registers, and of the memory that the engines can reach.
const REGISTERS: usize = 0x1_0000;
const MEMORY: usize = 640 << 10;

/// The node's address.
pub(super) const MAC: [u8; 6] = [0xdc, 0xa6, 0x32, 1, 2, 3];

const RDMA: usize = offset_of!(Registers, rdma);
const TDMA: usize = offset_of!(Registers, tdma);
const RX_RING: usize = RDMA + offset_of!(Dma, rings) + RING * 0x40;
const TX_RING: usize = TDMA + offset_of!(Dma, rings) + RING * 0x40;
const INDEX: usize = offset_of!(Ring, hardware_index);
const SOFTWARE: usize = offset_of!(Ring, software_index);
const CTRL: usize = offset_of!(Dma, ctrl);
const STATUS: usize = offset_of!(Dma, status);
const RBUF_FLUSH: usize = offset_of!(Registers, sys_rbuf_flush);
const UMAC_CMD: usize = offset_of!(Registers, umac_cmd);
const UMAC_MAC0: usize = offset_of!(Registers, umac_mac0);
const MDIO_CMD: usize = offset_of!(Registers, mdio_cmd);
const OOB: usize = offset_of!(Registers, ext_rgmii_oob_ctrl);

/// Whole, no error.
pub(super) const GOOD: u32 = 1 << 14 | 1 << 13;
/// The checksum bit.
pub(super) const CHECKED: u32 = 1 << 15;

/// A frame on its way to the ring, and what its descriptor says.
#[derive(Debug, Clone)]
pub(super) struct Arriving {
    pub(super) bytes: Vec<u8>,
    pub(super) status: u32,
    /// Instead of the true length with the pad.
    pub(super) len: Option<u32>,
}

/// What has a chip send again that only says that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// A reset of the UniMAC.
    Reset,
    /// A new negotiation of the PHY.
    Negotiation,
}

/// The chip.
pub(super) struct Chip {
    registers: NonNull<u32>,
    /// What the engines reach, once the driver has it.
    memory: Option<Memory>,
    pub(super) phy: FakePhy,
    /// Every n-th MDIO access fails; 0 for none.
    pub(super) mdio_fails: u32,
    mdio_accesses: u32,
    pub(super) wire: VecDeque<Arriving>,
    /// Frames that found no descriptor.
    pub(super) lost: Vec<Arriving>,
    pub(super) sent: Vec<Vec<u8>>,
    /// Transmission stands still until the next reset of the MAC.
    pub(super) wedged: bool,
    /// So many steps pass before each frame that waits has left.
    pub(super) steps_a_frame: u32,
    steps: u32,
    /// Frames complete, and do not reach the wire.
    pub(super) mute: Option<Cure>,
    /// Frames in the FIFO from before the driver.
    pub(super) stale: Vec<Arriving>,
    pub(super) producer: u16,
    discards: u16,
    pub(super) consumer: u16,
    /// The driver has stopped what ran before it.
    taken_over: bool,
    /// Where each receive descriptor points, once the engine runs.
    buffers: Vec<u64>,
}

/// The test's end of it.
pub(super) struct Fake {
    chip: Rc<RefCell<Chip>>,
}

impl Fake {
    /// A chip with its PHY at `address`, and ring indices as something left them.
    pub(super) fn new(address: u8, producer: u16, consumer: u16) -> Self {
        let registers = Box::leak(vec![0_u32; REGISTERS / 4].into_boxed_slice());
        let registers = NonNull::from(registers).cast::<u32>();
        let mut chip = Chip {
            registers,
            memory: None,
            phy: FakePhy::gigabit(address),
            mdio_fails: 0,
            mdio_accesses: 0,
            wire: VecDeque::new(),
            lost: Vec::new(),
            sent: Vec::new(),
            wedged: false,
            steps_a_frame: 0,
            steps: 0,
            mute: None,
            stale: Vec::new(),
            producer,
            discards: 7,
            consumer,
            taken_over: false,
            buffers: Vec::new(),
        };
        chip.write(0, 0x0600_0000);
        chip.write(RDMA + STATUS, 1);
        chip.write(TDMA + STATUS, 1);
        let chip = Rc::new(RefCell::new(chip));
        let plugged = chip.clone();
        cpu::plug(move || plugged.borrow_mut().step());
        Self { chip }
    }

    /// As a firmware's netboot leaves it: engines running towards its own buffers, delays off, filters and checks odd.
    pub(super) fn dirty(address: u8) -> Self {
        let fake = Self::new(address, 0xfffe, 0x1234);
        {
            let mut chip = fake.chip();
            for register in (0x80..0x4000).step_by(4).chain((0x4000..REGISTERS).step_by(4)) {
                chip.write(register, 0x5a5a_5a5a);
            }
            chip.write(MDIO_CMD, 0);
            chip.write(RDMA + CTRL, DmaCtrl::RUNNING.number());
            chip.write(TDMA + CTRL, DmaCtrl::RUNNING.number());
            let on = UmacCmd::RX_EN | UmacCmd::TX_EN | UmacCmd::SPEED_1000;
            chip.write(UMAC_CMD, on.number() | 1 << 4);
            let odd = OobCtrl::ID_MODE_DISABLE | OobCtrl::LINK | OobCtrl::RGMII_MODE | OobCtrl::DISABLE;
            chip.write(OOB, odd.number() | 1);
            // Where the firmware's frames go: nowhere, once the driver has stopped the engines.
            chip.producer = 0xfffe;
            chip.phy.registers[0] = 1 << 11;
        }
        fake
    }

    /// Brings the driver up on it, without a word of where the PHY is.
    pub(super) fn start(&self) -> Result<Genet, Error> {
        self.start_with(None)
    }

    /// The same with a device tree that has this address for the PHY.
    pub(super) fn start_with(&self, phy: Option<u8>) -> Result<Genet, Error> {
        let (mut arena, memory) = arena(MEMORY);
        self.chip().memory = Some(memory);
        let registers = self.chip().registers.cast::<Registers>();
        // SAFETY: leaked and as large as the block; the chip looks at it only while the driver waits.
        let registers = unsafe { UniqueMmioPointer::new(registers) };
        Genet::start(registers, &mut arena, Clock::start(), MAC, phy)
    }

    pub(super) fn chip(&self) -> std::cell::RefMut<'_, Chip> {
        self.chip.borrow_mut()
    }

    /// A register.
    pub(super) fn register(&self, offset: usize) -> u32 {
        self.chip().read(offset)
    }
}

impl Chip {
    pub(super) fn read(&self, offset: usize) -> u32 {
        assert!(offset < REGISTERS);
        // SAFETY: within the leaked block; nobody holds a reference to it.
        unsafe { self.registers.add(offset / 4).read_volatile() }
    }

    /// A register as its bits.
    fn bits<B: Bits>(&self, offset: usize) -> B {
        B::from_number(self.read(offset))
    }

    pub(super) fn write(&mut self, offset: usize, value: u32) {
        assert!(offset < REGISTERS);
        // SAFETY: as above.
        unsafe { self.registers.add(offset / 4).write_volatile(value) }
    }

    fn descriptor(&self, base: usize, index: u16) -> (u32, u64) {
        let at = base + 12 * usize::from(index as u8);
        let address = u64::from(self.read(at + 4)) | u64::from(self.read(at + 8)) << 32;
        (self.read(at), address)
    }

    /// Everything that would have happened since the last step.
    pub(super) fn step(&mut self) {
        self.mdio();
        for engine in [RDMA, TDMA] {
            let stopped = !self.bits::<DmaCtrl>(engine + CTRL).has(DmaCtrl::ENABLE);
            self.write(engine + STATUS, u32::from(stopped));
        }
        let cmd: UmacCmd = self.bits(UMAC_CMD);
        if cmd.has(UmacCmd::SW_RESET) {
            assert!(!cmd.has(UmacCmd::TX_EN | UmacCmd::RX_EN), "enabled in reset");
            self.write(UMAC_MAC0, 0);
            self.write(UMAC_MAC0 + 4, 0);
            self.wedged = false;
            self.mute = self.mute.filter(|cure| *cure != Cure::Reset);
        }
        if self.memory.is_some()
            && !(self.bits::<DmaCtrl>(RDMA + CTRL) | self.bits(TDMA + CTRL)).has(DmaCtrl::ENABLE)
        {
            self.taken_over = true;
            self.buffers.clear();
        }
        self.indices();
        self.receive();
        self.transmit();
    }

    /// What software wrote to an index of the hardware's is gone, but zero clears the count of lost frames.
    fn indices(&mut self) {
        if self.read(RX_RING + INDEX) == 0 {
            self.discards = 0;
        }
        self.write(
            RX_RING + INDEX,
            u32::from(self.discards) << 16 | u32::from(self.producer),
        );
        self.write(TX_RING + INDEX, u32::from(self.consumer));
    }

    fn mdio(&mut self) {
        let cmd = self.read(MDIO_CMD);
        if cmd & 1 << 29 == 0 {
            return;
        }
        self.mdio_accesses += 1;
        let fails = self.mdio_fails != 0 && self.mdio_accesses.is_multiple_of(self.mdio_fails);
        let (phy, register) = ((cmd >> 21 & 31) as u8, (cmd >> 16 & 31) as u8);
        let answer = match cmd >> 26 & 3 {
            1 => {
                self.phy.write(phy, register, cmd as u16);
                if register == 0 && cmd & 1 << 15 != 0 {
                    let cmd: UmacCmd = self.bits(UMAC_CMD);
                    assert!(cmd.has(UmacCmd::SW_RESET), "a UniMAC that runs loses its clock");
                }
                // BMCR: negotiate anew.
                if register == 0 && cmd & 1 << 9 != 0 {
                    self.mute = self.mute.filter(|cure| *cure != Cure::Negotiation);
                }
                cmd
            }
            2 if fails => cmd | 1 << 28 | 0xffff,
            2 => {
                let silent = if phy == self.phy.address { 0 } else { 1 << 28 };
                cmd & !0xffff | silent | u32::from(self.phy.read(phy, register))
            }
            other => panic!("MDIO operation {other}"),
        };
        self.write(MDIO_CMD, answer & !(1 << 29));
    }

    fn receive(&mut self) {
        if self.bits::<RbufFlush>(RBUF_FLUSH).has(RbufFlush::FIFO) {
            self.stale.clear();
        }
        if !self.taken_over || self.bits::<DmaCtrl>(RDMA + CTRL) != DmaCtrl::RUNNING {
            return;
        }
        if self.buffers.is_empty() {
            self.buffers = (0..=255).map(|index| self.descriptor(RDMA, index).1).collect();
            for address in &self.buffers {
                self.memory.as_ref().unwrap().assert_reaches(*address, 2048);
            }
            let mut sorted = self.buffers.clone();
            sorted.sort_unstable();
            assert!(
                sorted
                    .windows(2)
                    .all(|two| two[1] - two[0] >= 2048 && two[0] % 64 == 0)
            );
        }
        let consumer = self.read(RX_RING + SOFTWARE) as u16;
        assert!(
            self.producer.wrapping_sub(consumer) <= 256,
            "the consumer ran past the producer"
        );
        if !self.bits::<UmacCmd>(UMAC_CMD).has(UmacCmd::RX_EN) {
            return;
        }
        for frame in self.stale.drain(..).rev() {
            self.wire.push_front(frame);
        }
        while let Some(frame) = self.wire.pop_front() {
            if self.producer.wrapping_sub(consumer) == 256 {
                self.discards = self.discards.saturating_add(1);
                self.lost.push(frame);
                continue;
            }
            let (_, address) = self.descriptor(RDMA, self.producer);
            assert_eq!(address, self.buffers[usize::from(self.producer as u8)], "moved");
            let bytes = &frame.bytes[..frame.bytes.len().min(2046)];
            self.memory.as_ref().unwrap().write(address + 2, bytes);
            let len = frame.len.unwrap_or(bytes.len() as u32 + 2);
            let at = RDMA + 12 * usize::from(self.producer as u8);
            self.write(at, len << 16 | frame.status);
            self.producer = self.producer.wrapping_add(1);
        }
        self.indices();
    }

    /// Frames leave only with both ends' delays in order, as on the board.
    fn transmit(&mut self) {
        let ready = OobCtrl::LINK | OobCtrl::RGMII_MODE;
        let in_order =
            self.bits::<OobCtrl>(OOB) & (ready | OobCtrl::DISABLE | OobCtrl::ID_MODE_DISABLE) == ready;
        let on = self.bits::<DmaCtrl>(TDMA + CTRL) == DmaCtrl::RUNNING
            && self.bits::<UmacCmd>(UMAC_CMD).has(UmacCmd::TX_EN);
        if !self.taken_over || !on || self.wedged {
            return;
        }
        while self.consumer != self.read(TX_RING + SOFTWARE) as u16 {
            if self.steps < self.steps_a_frame {
                self.steps += 1;
                break;
            }
            self.steps = 0;
            let (status, address) = self.descriptor(TDMA, self.consumer);
            let len = (status >> 16) as usize;
            assert_eq!(status & 0xffff, 0x7fc0, "whole, with a check sequence, no tag");
            assert!((60..=1514).contains(&len));
            let bytes = self.memory.as_ref().unwrap().read(address, len);
            if in_order && self.mute.is_none() {
                self.sent.push(bytes);
            }
            self.consumer = self.consumer.wrapping_add(1);
        }
        self.indices();
    }
}
