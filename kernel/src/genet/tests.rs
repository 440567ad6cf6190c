//! The driver on a chip of ordinary memory: from any state, through losses of the link, floods, errors and faults.

use boot::Clock as _;
use smoltcp::phy::{RxToken as _, TxToken as _};
use smoltcp::time::{Duration, Instant};

use super::checksum::tests::{arp, segment};
use super::fake::{Arriving, CHECKED, Cure, Fake, GOOD};
use super::*;

/// 1000BASE-T full duplex, everything slower, pause.
const EVERYTHING: (u16, u16) = (0x0de1, 0x3800);

/// A driver with a gigabit link.
fn linked(fake: &Fake) -> (Genet, Instant) {
    let mut nic = fake.start().unwrap();
    fake.chip().phy.plug(EVERYTHING.0, EVERYTHING.1);
    let now = nic.clock.now() + Duration::from_millis(100);
    assert!(nic.receive(now).is_none());
    assert!(nic.phy.link().is_some());
    (nic, now)
}

fn arriving(bytes: Vec<u8>) -> Arriving {
    Arriving {
        bytes,
        status: GOOD,
        len: None,
    }
}

/// All that has arrived.
fn received(nic: &mut Genet, now: Instant) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some((frame, _)) = nic.receive(now) {
        frames.push(frame.consume(<[u8]>::to_vec));
    }
    frames
}

fn send(nic: &mut Genet, now: Instant, len: usize, fill: u8) -> bool {
    let token = nic.transmit(now);
    token
        .map(|token| token.consume(len, |bytes| bytes.fill(fill)))
        .is_some()
}

#[test]
fn a_link_after_a_firmware_s_netboot_gives_the_reference_state() {
    let fake = Fake::dirty(1);
    let (_nic, _) = linked(&fake);
    for (offset, value) in [
        (0x004, 3),           // SYS_PORT_CTRL
        (0x008, 0),           // SYS_RBUF_FLUSH
        (0x08c, 0x51),        // OOB: link, mode, what else there was; delay and OOB on
        (0x300, 0x5a5a_5a5a), // RBUF_CTRL: align, no status block, nothing dropped
        (0x314, 0x5a5a_5a4b), // RBUF_CHK_CTRL: on, with parsing, FCS is not there
        (0x39c, 0x5a5a_5a58), // RBUF_ENERGY_CTRL
        (0x3b4, 1),
        (0x614, 0x5a5a_5a58),
        (0x808, 0x0000_000b), // UMAC_CMD
        (0x80c, 0xdca6_3201),
        (0x810, 0x0203),
        (0x814, 1536),
        (0x864, 0x5a5a_5a52),
        (0xd80, 0),
        (0xe50, 0x1_8000), // MDF
        (0xe54, 0xdca6),
        (0xe58, 0x3201_0203),
        (0xe5c, 0xffff),
        (0xe60, 0xffff_ffff),
        (0x210, u32::MAX), // INTRL2 masks
        (0x250, u32::MAX),
        (0xfc00, 0),
        (0xfc04, 0),
        (0xfc08, 0),
        // RDMA: ring 16 alone, in step with an index of 0xfffe.
        (0x3000, 254 * 3),
        (0x300c, 0xfffe),
        (0x3010, 0x0100_0800),
        (0x3014, 0),
        // The upper halves of its places.
        (0x3004, 0),
        (0x3018, 0),
        (0x3020, 0),
        (0x3030, 0),
        (0x301c, 0x2ff),
        (0x3024, 1),
        (0x3028, 0x0005_0010),
        (0x302c, 254 * 3),
        (0x3040, 1 << 16),
        (0x3044, 0x0002_0001),
        (0x304c, 8),
        // TDMA, 0x1234.
        (0x500c, 0x1234),
        (0x5010, 0x0100_0800),
        (0x5004, 0),
        (0x5014, 0),
        (0x5018, 0),
        (0x5020, 0),
        (0x5030, 0),
        (0x501c, 0x2ff),
        (0x5028, 0),
        (0x5040, 1 << 16),
        (0x5044, 0x0002_0001),
        (0x504c, 8),
    ] {
        assert_eq!(fake.register(offset), value, "{offset:#x}");
    }
    // Out of power-down, reset, negotiating; RX skew on and TX delay off.
    assert_eq!(fake.chip().phy.bmcr, [0x1000, 0x8000, 0x1200]);
    assert_eq!(fake.register(0x3008) >> 16, 0, "counts from zero");
}

#[test]
fn the_phy_is_found_at_any_address_over_a_bus_that_fails_at_times() {
    for address in [0, 1, 2, 31] {
        let fake = Fake::new(address, 0, 0);
        fake.chip().mdio_fails = 5;
        let (nic, _) = linked(&fake);
        assert_eq!(nic.phy.address(), address);
    }
}

#[test]
fn the_phy_of_the_device_tree_is_asked_first_and_no_other_when_it_answers() {
    for (there, said, first) in [
        (1, Some(1), 1),
        (0, Some(0), 0),
        (2, Some(2), 2),
        (0, Some(1), 1),
        (31, Some(5), 5),
        (1, None, 1),
    ] {
        let fake = Fake::new(there, 0, 0);
        let nic = fake.start_with(said).unwrap();
        assert_eq!(nic.phy.address(), there);
        let mut asked = fake.chip().phy.asked.clone();
        asked.dedup();
        assert_eq!(asked[0], first);
        assert!(there != first || asked == [first], "{asked:?}");
    }
}

#[test]
fn what_cannot_be_brought_up_is_said() {
    assert_eq!(Fake::new(77, 0, 0).start().err(), Some(Error::NoPhy));
    let fake = Fake::new(1, 0, 0);
    fake.chip().phy.reset_reads = u32::MAX;
    assert_eq!(fake.start().err(), Some(Error::PhyStuck(1)));
    for revision in [0, 0x0500_0000, u32::MAX] {
        let fake = Fake::new(1, 0, 0);
        fake.chip().write(0, revision);
        let error = fake.start().err().unwrap();
        assert_eq!(error, Error::NotV5(revision));
    }
    assert_eq!(
        Error::NotV5(0x0500_0001).to_string(),
        "no GENET v5 (SYS_REV_CTRL 0x05000001)"
    );
}

#[test]
fn a_cable_never_plugged_costs_one_look_in_a_tenth_of_a_second() {
    let fake = Fake::new(1, 0, 0);
    let mut nic = fake.start().unwrap();
    let start = nic.clock.now();
    for millis in 0..60_000 {
        let now = start + Duration::from_millis(millis);
        assert!(nic.receive(now).is_none() && nic.transmit(now).is_none());
    }
    // Virtual time passes by looking at the clock, 10 µs each: 600 looks at MDIO and nothing else.
    assert!(nic.clock.now() - start < Duration::from_millis(100));
    // And then somebody plugs it in.
    fake.chip().phy.plug(EVERYTHING.0, EVERYTHING.1);
    assert!(send(&mut nic, start + Duration::from_secs(61), 60, 1));
}

#[test]
fn speed_and_loss_are_followed_while_frames_flow() {
    let fake = Fake::new(1, 0xfff0, 0xfff0);
    let (mut nic, mut now) = linked(&fake);
    for (anlpar, gbsr, cmd) in [
        (0x0de1, 0x3800, 0x0000_000b),
        (0x01e1, 0x0000, 0x1000_0107),
        (0x0081, 0x0000, 0x1000_0507),
        (0x0c61, 0x0000, 0x0000_0003),
    ] {
        fake.chip().phy.unplug();
        now += Duration::from_millis(100);
        assert!(!send(&mut nic, now, 60, 0));
        assert_eq!(fake.register(0x808) & 3, 0, "off without a link");
        assert_eq!(fake.register(0x08c) & OobCtrl::LINK.number(), 0);
        fake.chip().phy.plug(anlpar, gbsr);
        // The loss is latched: one look reads it, one the link.
        now += Duration::from_millis(200);
        nic.receive(now);
        now += Duration::from_millis(100);
        nic.receive(now);
        assert_eq!(fake.register(0x808), cmd, "{anlpar:x} {gbsr:x}");
        fake.chip().wire.push_back(arriving(segment(100, 1)));
        fake.chip().step();
        assert_eq!(received(&mut nic, now), [segment(100, 1)]);
        assert!(send(&mut nic, now, 60, 7));
        fake.chip().step();
        assert_eq!(fake.chip().sent.pop(), Some(vec![7; 60]));
    }
}

#[test]
fn frames_leave_in_order_padded_and_with_room_told() {
    let fake = Fake::new(1, 0, 0xffe0);
    let (mut nic, now) = linked(&fake);
    let mut expected = Vec::new();
    for round in 0..40_u8 {
        fake.chip().wedged = true;
        let mut fits = 0;
        while send(&mut nic, now, 40 + fits * 46, round) {
            let mut frame = vec![round; 40 + fits * 46];
            frame.resize(frame.len().max(60), 0);
            expected.push(frame);
            fits += 1;
        }
        assert_eq!(fits, 32);
        assert!(nic.receive(now).is_none(), "no room for an answer");
        fake.chip().wedged = false;
        fake.chip().step();
    }
    assert_eq!(fake.chip().sent, expected);
}

#[test]
fn a_transmitter_that_stands_still_is_started_again() {
    let fake = Fake::new(1, 9, 9);
    let (mut nic, mut now) = linked(&fake);
    fake.chip().wedged = true;
    assert!(send(&mut nic, now, 60, 1));
    for _ in 0..9 {
        now += Duration::from_millis(100);
        assert!(send(&mut nic, now, 60, 2));
        assert!(fake.chip().wedged, "given up too soon");
    }
    for _ in 0..3 {
        now += Duration::from_millis(100);
        nic.receive(now);
    }
    assert!(!fake.chip().wedged, "the MAC was reset");
    assert!(send(&mut nic, now, 60, 3));
    fake.chip().step();
    assert_eq!(fake.chip().sent, [[3; 60]]);
    assert_eq!(fake.register(0x80c), 0xdca6_3201);
}

/// Asks each second for so many, and hears only what is for others. At which second something left, and how often the link went.
fn asks_in_vain(nic: &mut Genet, fake: &Fake, now: &mut Instant, seconds: u64) -> (Option<u64>, usize) {
    let mut left = None;
    let mut losses = 0;
    let mut noise = segment(60, 1);
    noise[..6].fill(0xff);
    for tenth in 0..seconds * 10 {
        *now += Duration::from_millis(100);
        fake.chip().wire.push_back(arriving(noise.clone()));
        received(nic, *now);
        if nic.phy.link().is_none() {
            losses += 1;
            fake.chip().phy.plug(EVERYTHING.0, EVERYTHING.1);
        } else if tenth % 10 == 0 && send(nic, *now, 60, 9) {
            fake.chip().step();
        }
        if left.is_none() && !fake.chip().sent.is_empty() {
            left = Some(tenth / 10);
        }
    }
    (left, losses)
}

#[test]
fn a_mac_that_only_says_that_it_sends_is_started_again() {
    let fake = Fake::new(1, 9, 9);
    let (mut nic, mut now) = linked(&fake);
    fake.chip().mute = Some(Cure::Reset);
    assert_eq!(asks_in_vain(&mut nic, &fake, &mut now, 12), (Some(9), 0));
}

#[test]
fn a_link_over_which_nothing_leaves_is_negotiated_anew_after_that() {
    let fake = Fake::new(1, 9, 9);
    let (mut nic, mut now) = linked(&fake);
    fake.chip().mute = Some(Cure::Negotiation);
    let (left, losses) = asks_in_vain(&mut nic, &fake, &mut now, 40);
    assert_eq!((left, losses), (Some(26), 1));
    // A board does so with the PHY's delays set anew.
    assert_eq!(nic.phy.link().map(|link| link.full_duplex), Some(true));
}

#[test]
fn a_network_that_does_not_answer_costs_a_negotiation_in_eight_minutes() {
    let fake = Fake::new(1, 9, 9);
    let (mut nic, mut now) = linked(&fake);
    let (left, losses) = asks_in_vain(&mut nic, &fake, &mut now, 2000);
    assert_eq!((left, losses), (Some(0), 4));
    // One that answers costs nothing.
    for _ in 0..1000 {
        now += Duration::from_millis(100);
        fake.chip().wire.push_back(arriving(segment(60, 1)));
        assert!(send(&mut nic, now, 60, 9));
        assert!(received(&mut nic, now).len() <= 1);
        assert!(nic.phy.link().is_some());
    }
}

#[test]
fn frames_that_were_in_the_fifo_before_are_nobody_s() {
    let fake = Fake::dirty(1);
    fake.chip().stale = vec![arriving(segment(60, 7)), arriving(segment(60, 8))];
    let (mut nic, now) = linked(&fake);
    fake.chip().wire.push_back(arriving(segment(60, 1)));
    fake.chip().step();
    assert_eq!(received(&mut nic, now), [segment(60, 1)]);
}

#[test]
fn indices_that_cannot_be_start_the_rings_again() {
    let fake = Fake::new(1, 0, 0);
    let (mut nic, now) = linked(&fake);
    // As if the hardware had filled 300 of 256 buffers.
    fake.chip().write(0x3008, 300);
    assert!(nic.receive(now).is_none());
    fake.chip().wire.push_back(arriving(segment(60, 1)));
    fake.chip().step();
    assert_eq!(received(&mut nic, now), [segment(60, 1)]);

    fake.chip().write(0x5008, 5);
    let later = now + Duration::from_millis(100);
    nic.receive(later);
    assert!(send(&mut nic, later, 60, 1));
    fake.chip().step();
    assert_eq!(fake.chip().sent.len(), 1);
}

#[test]
fn a_full_ring_that_lost_count_starts_again_at_once() {
    let fake = Fake::new(1, 0, 9);
    let (mut nic, now) = linked(&fake);
    fake.chip().wedged = true;
    while send(&mut nic, now, 60, 1) {}
    // As if it had sent what it was never given; a look at the link is not due.
    fake.chip().write(0x5008, 9 + 1000);
    assert!(!send(&mut nic, now, 60, 2));
    assert!(!fake.chip().wedged, "the MAC was reset");
    assert!(send(&mut nic, now, 60, 3));
    fake.chip().step();
    assert_eq!(fake.chip().sent, [[3; 60]]);
}

#[test]
fn all_that_waits_at_the_end_leaves_as_slowly_as_at_10_megabits() {
    let fake = Fake::new(1, 0, 0xfff0);
    let (mut nic, now) = linked(&fake);
    // A step is 10 µs, and the longest frame takes 1.2 ms: a full ring far longer than the receiver takes to stop.
    fake.chip().steps_a_frame = 120;
    let frames: Vec<_> = (0..32).map(|fill| vec![fill; 1514]).collect();
    for fill in 0..32 {
        assert!(send(&mut nic, now, 1514, fill));
    }
    nic.quiesce();
    assert!(fake.chip().sent == frames, "{} of 32", fake.chip().sent.len());
}

#[test]
fn the_end_sends_what_waits_and_leaves_a_device_for_linux() {
    let fake = Fake::dirty(1);
    let (mut nic, now) = linked(&fake);
    assert!(send(&mut nic, now, 60, 1));
    nic.quiesce();
    assert_eq!(fake.chip().sent, [[1; 60]]);
    fake.chip().wire.push_back(arriving(segment(60, 1)));
    fake.chip().step();
    assert_eq!(fake.chip().wire.len(), 1, "nothing is written any more");
    for (offset, value) in [
        (0x3044, 0),
        (0x5044, 0),
        (0x808, 0x8), // neither TX nor RX
        (0x80c, 0xdca6_3201),
        (0x810, 0x0203),
        (0x08c, 0x51), // the MAC's own delay
        (0x210, u32::MAX),
        (0x250, u32::MAX),
    ] {
        assert_eq!(fake.register(offset), value, "{offset:#x}");
    }
    assert_eq!(fake.chip().phy.registers[0] & 1 << 11, 0, "the PHY is up");
}

#[test]
fn a_transmitter_stuck_at_the_end_does_not_hold_the_jump() {
    let fake = Fake::new(1, 0, 0);
    let (mut nic, now) = linked(&fake);
    fake.chip().wedged = true;
    assert!(send(&mut nic, now, 60, 1));
    let start = nic.clock.now();
    nic.quiesce();
    assert!(nic.clock.now() - start < Duration::from_millis(100));
}

#[test]
fn a_wrong_checksum_never_reaches_the_stack() {
    let fake = Fake::new(1, 0, 0);
    let (mut nic, now) = linked(&fake);
    let mut bad = segment(300, 1);
    bad[200] ^= 1;
    let mut checked = arriving(segment(300, 2));
    checked.status |= CHECKED;
    for frame in [
        arriving(bad.clone()),
        arriving(arp()),
        arriving(bad),
        arriving(segment(300, 1)),
        checked,
    ] {
        fake.chip().wire.push_back(frame);
    }
    fake.chip().step();
    assert_eq!(received(&mut nic, now), [arp(), segment(300, 1), segment(300, 2)]);
    assert_eq!(nic.receiver.dropped, 2);
}

/// xorshift64*: the same frames in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

#[test]
fn a_million_errors_and_no_buffer_lost_and_no_byte_wrong() {
    const FRAMES: usize = 2_500_000;
    let fake = Fake::dirty(1);
    let (mut nic, now) = linked(&fake);
    let mut dice = Dice(0x6e7a_5eed);
    let mut expected = std::collections::VecDeque::new();
    let (mut put, mut good, mut broken, mut lost) = (0, 0, 0, 0);
    let mut number = 0_u32;
    while put < FRAMES {
        // Bursts up to more than the ring holds, and takers that do not take all.
        for _ in 0..=dice.below(300) {
            number += 1;
            let mut bytes = vec![number as u8; 60 + dice.below(1459) as usize];
            bytes[12..14].copy_from_slice(&[0x88, 0xb5]); // experimental: the stack's business
            bytes[14..18].copy_from_slice(&number.to_be_bytes());
            let mut frame = arriving(bytes);
            match dice.below(7) {
                0 => frame.status |= 1 + dice.below(31) as u32,
                1 => frame.status &= !(1 << (13 + dice.below(2))),
                2 => frame.len = Some([0, 1, 61, 1539, 2049, 4095][dice.below(6) as usize]),
                3 => frame.status |= 0x8060,
                _ => {}
            }
            fake.chip().wire.push_back(frame);
            put += 1;
        }
        let before: Vec<_> = fake.chip().wire.iter().cloned().collect();
        fake.chip().step();
        let dropped = std::mem::take(&mut fake.chip().lost);
        lost += dropped.len();
        // The ring takes the first and drops the last.
        expected.extend(before[..before.len() - dropped.len()].iter().cloned());
        let mut polls = dice.below(400);
        while let Some(next) = expected.pop_front() {
            let fine = next.status & 0x1f == 0 && next.status & GOOD == GOOD && next.len.is_none();
            if !fine {
                broken += 1;
                continue;
            }
            if polls == 0 {
                expected.push_front(next);
                break;
            }
            polls -= 1;
            let (frame, answer) = nic.receive(now).expect("a good frame waits");
            frame.consume(|bytes| assert_eq!(bytes, next.bytes));
            answer.consume(60, |bytes| bytes.fill(1));
            fake.chip().step();
            good += 1;
        }
    }
    fake.chip().step();
    while nic.receive(now).is_some() {
        fake.chip().step();
    }
    assert!(
        broken + lost > 1_000_000 && good > 1_000_000,
        "{broken} {lost} {good}"
    );
    assert_eq!(nic.receiver.dropped as usize, broken);
    // Every buffer is the hardware's again, and the count of lost frames above the index never mattered.
    let producer = fake.chip().producer;
    assert_eq!(fake.register(0x300c) as u16, producer);
    assert!(fake.register(0x3008) >> 16 != 0);
    // The transmitter was fed all the while.
    assert!(fake.chip().sent.len() >= good - 32);
}
