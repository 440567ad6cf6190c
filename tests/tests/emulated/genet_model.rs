//! GENET's model register by register, without a driver that would avoid what it must not do: filters, counters, discards,
//! long addresses, RGMII delays (offsets and bits as in the Linux and FreeBSD drivers).

use std::time::{Duration, Instant};

use qemu::{Board, Bus, Net};
use tests::Wire;

use crate::PATIENCE;

const GENET: u64 = 0xfd58_0000;
const SYS_PORT_CTRL: u64 = 0x004;
const EXT_RGMII_OOB_CTRL: u64 = 0x08c;
const RBUF_TBUF_SIZE: u64 = 0x3b4;
const UMAC_CMD: u64 = 0x808;
const UMAC_MAC0: u64 = 0x80c;
const UMAC_MAC1: u64 = 0x810;
const UMAC_MAX_FRAME: u64 = 0x814;
const MIB_RX: u64 = 0xc00;
const MIB_TX: u64 = 0xc80;
const MIB_RUNT: u64 = 0xd00;
const MIB_CTRL: u64 = 0xd80;
const MDIO_CMD: u64 = 0xe14;
const MDF_CTRL: u64 = 0xe50;
const MDF_ADDR: u64 = 0xe54;
const RDMA: u64 = 0x2000;
const TDMA: u64 = 0x4000;

/// Of an engine: the registers of ring 16, and those of all rings.
const RING_16: u64 = 0x1000;
const RING_CFG: u64 = 0x1040;
const DMA_CTRL: u64 = 0x1044;
const SCB_BURST_SIZE: u64 = 0x104c;
/// Of a ring: the hardware's index, software's, and its shape.
const HARDWARE_INDEX: u64 = 0x08;
const SOFTWARE_INDEX: u64 = 0x0c;
const BUFFER_SIZE: u64 = 0x10;
const RING_END: u64 = 0x1c;

const PORT_EXTERNAL_GIGABIT: u32 = 3;
const RGMII_LINK: u32 = 1 << 4;
const RGMII_MODE_EN: u32 = 1 << 6;
const ID_MODE_DIS: u32 = 1 << 16;
const CMD_ENABLE: u32 = 3;
const CMD_1000: u32 = 2 << 2;
const CMD_PROMISC: u32 = 1 << 4;
const CMD_TX_PAUSE_IGNORE: u32 = 1 << 28;
const RING_16_ON: u32 = 1 << 16;
const DMA_RING_16_ON: u32 = 1 << 17 | 1;
const WHOLE_FRAME: u32 = 0x6000;
const APPEND_CRC: u32 = 0x40;
const OVERFLOW: u32 = 1;

/// The PHY's auxiliary control register 7: whether it delays the receive clock.
const AUXCTL: u32 = 0x18;
const MISC_WRITE: u32 = 0x8000 | 7;
const RXC_SKEW: u32 = 1 << 8;

/// The PHY's shadow register 3: whether it delays the transmit clock.
const SHADOW: u32 = 0x1c;
const CLOCK_WRITE: u32 = 0x8000 | 3 << 10;
const GTXCLK_DELAY: u32 = 1 << 9;

/// Where the frames are: receive buffers in a row, and what is sent.
const BUFFERS: u64 = 0x10_0000;
const BUFFER: u64 = 2048;
const SENT: u64 = 0x20_0000;

const OWN: [u8; 6] = [0xb8, 0x27, 0xeb, 0xa3, 0xb1, 0xe5];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 8];
const GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 0xfb];
const OTHER_GROUP: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];
const ALL: [u8; 6] = [0xff; 6];

/// A frame of this length without check sum, with `kind` behind the addresses.
fn frame(to: [u8; 6], kind: [u8; 2], length: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame[12..14].copy_from_slice(&kind);
    frame
}

fn ip(to: [u8; 6], length: usize) -> Vec<u8> {
    frame(to, [8, 0], length)
}

/// GENET with its link up and ring 16 running both ways, and the other end of its cable.
struct Port {
    bus: Bus,
    wire: Wire,
    sent: u32,
}

impl Port {
    /// With so many receive buffers. Both engines run; the PHY delays both clocks, as it is strapped.
    fn up(buffers: u32) -> Self {
        let wire = Wire::new().unwrap();
        let (here, qemus) = wire.ends().unwrap();
        let options = [("mdio-first-fails", "off")];
        let bus = Bus::start(Board::Pi4b, &Net::udp(qemus, here), &options, None).unwrap();
        let mut port = Self { bus, wire, sent: 0 };
        port.bus.pass(Duration::from_secs(3)).unwrap();
        port.set(SYS_PORT_CTRL, PORT_EXTERNAL_GIGABIT);
        port.set(EXT_RGMII_OOB_CTRL, RGMII_MODE_EN | RGMII_LINK | ID_MODE_DIS);
        let [a, b, c, d, e, f] = OWN;
        port.set(UMAC_MAC0, u32::from_be_bytes([a, b, c, d]));
        port.set(UMAC_MAC1, u32::from_be_bytes([0, 0, e, f]));
        port.set(UMAC_MAX_FRAME, 1536);
        port.set(RBUF_TBUF_SIZE, 1);
        for slot in 0..buffers {
            port.set(
                RDMA + u64::from(slot) * 12 + 4,
                (BUFFERS + u64::from(slot) * BUFFER) as u32,
            );
        }
        for (engine, count) in [(RDMA, buffers), (TDMA, 256)] {
            port.set(engine + RING_16 + BUFFER_SIZE, count << 16 | BUFFER as u32);
            port.set(engine + RING_16 + RING_END, count * 3 - 1);
            port.set(engine + SCB_BURST_SIZE, 8);
            port.set(engine + RING_CFG, RING_16_ON);
            port.set(engine + DMA_CTRL, DMA_RING_16_ON);
        }
        port.set(UMAC_CMD, CMD_ENABLE | CMD_1000);
        port
    }

    fn get(&mut self, register: u64) -> u32 {
        self.bus.read(GENET + register).unwrap()
    }

    fn set(&mut self, register: u64, value: u32) {
        self.bus.write(GENET + register, value).unwrap();
    }

    /// A counter of a group.
    fn count(&mut self, group: u64, counter: u64) -> u32 {
        self.get(group + counter * 4)
    }

    fn number(&self, property: &str) -> u64 {
        self.bus.nic_number(property).unwrap()
    }

    /// Sends a frame down the cable to the port.
    fn arrives(&self, frame: &[u8]) {
        self.wire.send(frame);
    }

    /// Waits for something that QEMU does when a frame comes.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what} did not come");
        }
    }

    /// Waits until so many frames have been put in buffers.
    fn producer_comes_to(&mut self, index: u32) {
        self.until("frames", |port| {
            port.get(RDMA + RING_16 + HARDWARE_INDEX) & 0xffff == index
        });
    }

    /// Waits until a register reads `value`.
    fn comes_to(&mut self, register: u64, value: u32) {
        let what = format!("{value:#x} in {register:#x}");
        self.until(&what, |port| port.get(register) == value);
    }

    /// Waits until so many frames were lost.
    fn loses(&mut self, frames: u64) {
        self.until("losses", |port| port.number("rx-lost") >= frames);
    }

    /// The frame in a buffer, by its descriptor, which says that it is whole and nothing went wrong but `flags`.
    fn kept(&mut self, slot: u32) -> (Vec<u8>, u32) {
        let status = self.get(RDMA + u64::from(slot) * 12);
        assert_eq!(status & WHOLE_FRAME, WHOLE_FRAME, "{status:#x}");
        let length = (status >> 16) as usize;
        let kept = self.bus.memory(BUFFERS + u64::from(slot) * BUFFER, length);
        (kept.unwrap(), status & 0x1f)
    }

    /// Sends a frame from memory at `address`.
    fn transmits(&mut self, address: u64, length: usize) {
        let slot = TDMA + u64::from(self.sent) * 12;
        self.set(slot + 4, address as u32);
        self.set(slot + 8, (address >> 32) as u32);
        self.set(slot, (length as u32) << 16 | WHOLE_FRAME | APPEND_CRC);
        self.sent += 1;
        self.set(TDMA + RING_16 + SOFTWARE_INDEX, self.sent);
        assert_eq!(self.get(TDMA + RING_16 + HARDWARE_INDEX), self.sent);
    }

    fn writes_phy(&mut self, register: u32, value: u32) {
        self.set(MDIO_CMD, 1 << 29 | 1 << 26 | 1 << 21 | register << 16 | value);
        self.bus.pass(Duration::from_micros(100)).unwrap();
        assert_eq!(self.get(MDIO_CMD) & 1 << 29, 0);
    }

    /// One of 17 address filters.
    fn filters(&mut self, filter: u64, [a, b, c, d, e, f]: [u8; 6]) {
        self.set(MDF_ADDR + filter * 8, u32::from_be_bytes([0, 0, a, b]));
        self.set(MDF_ADDR + filter * 8 + 4, u32::from_be_bytes([c, d, e, f]));
    }
}

#[test]
fn a_4b_hears_what_its_filters_let_through() {
    require!(crate::on(Board::Pi4b, ""));
    let mut port = Port::up(32);
    let everything = [OWN, OTHER, GROUP, OTHER_GROUP, ALL].map(|to| ip(to, 100));
    let mut heard = 0;
    let mut hears = |port: &mut Port, what: &[[u8; 6]]| {
        everything.iter().for_each(|frame| port.arrives(frame));
        // Whatever was let through before this one has been counted when it is.
        port.arrives(&ip(OWN, 200));
        port.producer_comes_to(heard + what.len() as u32 + 1);
        for to in what {
            assert_eq!(port.kept(heard), (ip(*to, 100), 0));
            heard += 1;
        }
        assert_eq!(port.kept(heard), (ip(OWN, 200), 0));
        heard += 1;
    };
    // No filter is on: its own address, and all groups.
    hears(&mut port, &[OWN, GROUP, OTHER_GROUP, ALL]);
    // The first and the last of 17.
    port.filters(0, OWN);
    port.filters(16, GROUP);
    port.filters(1, OTHER);
    port.set(MDF_CTRL, 1 << 16 | 1);
    hears(&mut port, &[OWN, GROUP]);
    port.set(UMAC_CMD, CMD_ENABLE | CMD_1000 | CMD_PROMISC);
    hears(&mut port, &[OWN, OTHER, GROUP, OTHER_GROUP, ALL]);
    assert_eq!(port.number("guest-errors"), 0);
}

#[test]
fn a_4b_counts_what_comes_and_goes() {
    require!(crate::on(Board::Pi4b, ""));
    let mut port = Port::up(32);
    // Runts, whose own counters these are, and a frame whose length field promises more than it has.
    port.arrives(&ip(OWN, 40));
    port.arrives(&ip(OWN, 59));
    port.arrives(&frame(OWN, [1, 0], 60));
    let pause = frame([1, 0x80, 0xc2, 0, 0, 1], [0x88, 8], 60);
    port.arrives(&[&pause[..14], &[0, 1, 0, 9], &pause[18..]].concat());
    for length in [60, 61, 124, 200, 500, 1000, 1514] {
        port.arrives(&ip(OWN, length));
    }
    port.arrives(&frame(OWN, [0x81, 0], 1518));
    port.arrives(&ip(GROUP, 100));
    port.arrives(&ip(ALL, 100));
    // Longer than UMAC_MAX_FRAME: cut there.
    port.arrives(&ip(OWN, 1600));
    // A pause frame stays in the MAC.
    port.producer_comes_to(12);
    assert_eq!(port.kept(0).1, 4, "a wrong length");
    assert_eq!(port.kept(8), (frame(OWN, [0x81, 0], 1518), 0));
    assert_eq!(port.kept(11), (ip(OWN, 1600)[..1532].to_vec(), 0x10));
    // By length with check sum: 64, 65-127, 128-255, 256-511, 512-1023, 1024-1518, VLAN to 1522, 1519-2047, more.
    let bins: Vec<u32> = (0..10).map(|bin| port.count(MIB_RX, bin)).collect();
    assert_eq!(bins, [3, 3, 2, 1, 1, 1, 1, 1, 0, 0]);
    let sizes = [60, 60, 60, 61, 124, 200, 500, 1000, 1514, 1518, 100, 100, 1600];
    let bytes: u32 = sizes.iter().map(|size| size + 4).sum();
    for (counter, expected) in [
        (10, 13),    // frames
        (11, bytes), // bytes
        (12, 2),     // multicast: the pause frame is one
        (13, 1),     // broadcast
        (15, 1),     // control
        (16, 1),     // pause
        (19, 1),     // length
        (22, 1),     // oversize
        (25, 11),    // good
        (26, 10),    // unicast
    ] {
        assert_eq!(port.count(MIB_RX, counter), expected, "receive counter {counter}");
    }
    let runts: Vec<u32> = (0..4).map(|counter| port.count(MIB_RUNT, counter)).collect();
    assert_eq!(runts, [2, 2, 0, 40 + 59 + 8]);
    for (to, length) in [(OTHER, 60), (GROUP, 1514), (ALL, 300)] {
        port.bus.set_memory(SENT, &ip(to, length)).unwrap();
        port.transmits(SENT, length);
        assert_eq!(port.wire.receive(PATIENCE), Some(ip(to, length)));
    }
    for (counter, expected) in [
        (0, 1),
        (3, 1),
        (5, 1),
        (10, 3),
        (11, 1),
        (12, 1),
        (26, 1886),
        (27, 3),
        (28, 1),
    ] {
        assert_eq!(
            port.count(MIB_TX, counter),
            expected,
            "transmit counter {counter}"
        );
    }
    // Each group goes to zero by itself, and stays while its bit is set.
    port.set(MIB_CTRL, 1);
    assert_eq!((port.count(MIB_RX, 10), port.count(MIB_TX, 10)), (0, 3));
    port.arrives(&ip(OWN, 60));
    port.producer_comes_to(13);
    assert_eq!(port.count(MIB_RX, 10), 0);
    port.set(MIB_CTRL, 0);
    port.arrives(&ip(OWN, 60));
    port.producer_comes_to(14);
    assert_eq!((port.count(MIB_RX, 10), port.count(MIB_RUNT, 0)), (1, 2));
    assert_eq!(port.number("guest-errors"), 0);
}

#[test]
fn a_4b_counts_what_found_no_buffer() {
    require!(crate::on(Board::Pi4b, ""));
    let mut port = Port::up(4);
    port.set(UMAC_CMD, CMD_ENABLE | CMD_1000 | CMD_TX_PAUSE_IGNORE);
    (0..10).for_each(|more| port.arrives(&ip(OWN, 100 + more)));
    // The upper half of the producer index has the discards.
    port.comes_to(RDMA + RING_16 + HARDWARE_INDEX, 6 << 16 | 4);
    assert_eq!(port.number("rx-lost"), 6);
    assert_eq!(port.kept(3), (ip(OWN, 103), 0));
    // Two buffers back: two more frames, in their place.
    port.set(RDMA + RING_16 + SOFTWARE_INDEX, 2);
    port.arrives(&ip(OWN, 300));
    port.arrives(&ip(OWN, 301));
    port.comes_to(RDMA + RING_16 + HARDWARE_INDEX, 6 << 16 | 6);
    assert_eq!(port.kept(1), (ip(OWN, 301), 0));
    // Software clears the discards, and cannot move the index while the ring is enabled.
    port.set(RDMA + RING_16 + HARDWARE_INDEX, 0);
    assert_eq!(port.get(RDMA + RING_16 + HARDWARE_INDEX), 6);
    // The count ends at sixteen bits, and does not begin anew.
    port.set(RDMA + DMA_CTRL, 0);
    port.set(RDMA + RING_16 + HARDWARE_INDEX, 0xfffe << 16 | 6);
    port.set(RDMA + DMA_CTRL, DMA_RING_16_ON);
    (0..3).for_each(|_| port.arrives(&ip(OWN, 100)));
    port.comes_to(RDMA + RING_16 + HARDWARE_INDEX, 0xffff << 16 | 6);
    port.loses(9);
    assert_eq!(port.get(RDMA + RING_16 + HARDWARE_INDEX), 0xffff << 16 | 6);
    port.set(RDMA + RING_16 + HARDWARE_INDEX, 0);
    // Neither a stop of the engine nor a reset of the MAC does.
    port.set(RDMA + DMA_CTRL, 0);
    port.set(UMAC_CMD, 1 << 13);
    port.set(UMAC_CMD, 0);
    assert_eq!(port.get(RDMA + RING_16 + HARDWARE_INDEX), 6);
}

#[test]
fn a_4b_s_addresses_are_not_cut_to_thirty_two_bits() {
    require!(crate::on(Board::Pi4b, ""));
    let mut port = Port::up(4);
    port.bus.set_memory(BUFFERS, &[0x55; 100]).unwrap();
    // Nothing is behind it on a board of 2 GiB, least of all what is 4 GiB below.
    port.set(RDMA + 8, 1);
    port.arrives(&ip(OWN, 100));
    port.producer_comes_to(1);
    let status = port.get(RDMA);
    assert_eq!(status & OVERFLOW, OVERFLOW, "{status:#x}");
    assert_eq!(port.bus.memory(BUFFERS, 100).unwrap(), [0x55; 100]);
    assert_eq!(port.number("guest-errors"), 1);
    port.bus.set_memory(SENT, &ip(OTHER, 100)).unwrap();
    // Then with a bit that is none of the forty.
    for (lost, high) in [(1, 0xff), (2, 0x100)] {
        port.transmits(high << 32 | SENT, 100);
        assert_eq!(port.number("tx-lost"), lost);
        assert_eq!(port.number("guest-errors"), 1 + lost);
    }
    port.bus.set_memory(SENT, &ip(OTHER, 101)).unwrap();
    port.transmits(SENT, 101);
    // The first that arrives is the one that was right.
    assert_eq!(port.wire.receive(PATIENCE), Some(ip(OTHER, 101)));
    assert_eq!(port.number("tx-lost"), 2);
}

/// As on the board: with a wrong combination all seems well, and nothing is heard.
#[test]
fn a_4b_is_heard_when_one_side_delays_the_transmit_clock() {
    require!(crate::on(Board::Pi4b, ""));
    let mut port = Port::up(4);
    let mut lost = 0;
    for (number, (mac, phy)) in [(false, false), (false, true), (true, false), (true, true)]
        .into_iter()
        .enumerate()
    {
        let id = if mac { 0 } else { ID_MODE_DIS };
        port.set(EXT_RGMII_OOB_CTRL, RGMII_MODE_EN | RGMII_LINK | id);
        port.writes_phy(SHADOW, CLOCK_WRITE | if phy { GTXCLK_DELAY } else { 0 });
        let sent = ip(OTHER, 100 + number);
        port.bus.set_memory(SENT, &sent).unwrap();
        port.transmits(SENT, sent.len());
        if mac != phy {
            // What was lost before is not what comes now.
            assert_eq!(port.wire.receive(PATIENCE), Some(sent));
        } else {
            lost += 1;
        }
        assert_eq!(port.number("tx-lost"), lost);
        assert_eq!(port.count(MIB_TX, 10), number as u32 + 1, "the MAC does not know");
    }
}

#[test]
fn a_4b_hears_when_the_phy_delays_the_receive_clock() {
    require!(crate::on(Board::Pi4b, ""));
    let mut port = Port::up(4);
    port.writes_phy(AUXCTL, MISC_WRITE);
    port.arrives(&ip(OWN, 100));
    port.loses(1);
    assert_eq!(port.count(MIB_RX, 10), 0);
    port.writes_phy(AUXCTL, MISC_WRITE | RXC_SKEW);
    port.arrives(&ip(OWN, 101));
    port.producer_comes_to(1);
    assert_eq!(port.kept(0), (ip(OWN, 101), 0));
}
