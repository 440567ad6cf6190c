//! Every frame that an Ethernet may bring to the boards' NICs, with right bytes at the end.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use qemu::{Board, Entry, Firmware, Net, capture};
use tests::payload::body;
use tests::site::HTTP;
use tests::{Random, Reply, Wire};

use crate::servers::serve;
use crate::{INITRD, PATIENCE, RELEASE, Scratch, ends, machine, tiny_payload};

/// Three times each length of a segment.
const BYTES: usize = 3_200_000;

/// Ethernet's shortest frame and its longest, without check sum.
const SHORTEST: usize = 60;
const LONGEST: usize = 1514;

/// With a VLAN tag.
const LONGEST_TAGGED: usize = 1518;

/// Frames of a flood.
const FLOOD: usize = 300;

/// What stands between the servers and the node: all that a shared Ethernet carries besides what is meant for it.
struct Noise {
    random: Random,
    node: [u8; 6],
    count: usize,
}

impl Noise {
    /// Sends `frame`, after a copy of it that was damaged on the way, and something else behind it.
    fn spoil(&mut self, frame: Vec<u8>, put: &mut dyn FnMut(&[u8])) {
        self.count += 1;
        let mut damaged = frame.clone();
        // Behind the MAC addresses and the type, so that only a check sum tells.
        let at = 14 + self.random.below(frame.len() - 14);
        damaged[at] ^= 1 << self.random.below(8);
        put(&damaged);
        put(&frame);
        let to = self.destination();
        match self.count % 4 {
            0 => put(&self.frame(to, 14 + self.count / 4 % (SHORTEST - 14), [8, 0])),
            1 => put(&self.frame(to, LONGEST + 1 + self.count % 600, [8, 0])),
            2 => put(&self.frame(to, 9018, [8, 0])),
            _ => {
                let length = SHORTEST + self.count / 4 % (LONGEST_TAGGED - SHORTEST + 1);
                put(&self.frame(to, length, [0x81, 0]));
            }
        }
        if self.count.is_multiple_of(500) {
            for length in (0..FLOOD).map(|n| SHORTEST + n * 4) {
                let to = self.destination();
                put(&self.frame(to, length, [8, 0]));
            }
        }
    }

    /// The node, everybody, or a multicast group.
    fn destination(&mut self) -> [u8; 6] {
        match self.random.below(3) {
            0 => self.node,
            1 => [0xff; 6],
            _ => [0x01, 0x00, 0x5e, 0, 0, 0xfb],
        }
    }

    /// Random content, from nobody.
    fn frame(&mut self, to: [u8; 6], length: usize, kind: [u8; 2]) -> Vec<u8> {
        let mut frame = vec![0; length];
        self.random.fill(&mut frame);
        frame[..6].copy_from_slice(&to);
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame[12..14].copy_from_slice(&kind);
        frame
    }
}

fn boots_amid_every_frame(board: Board) {
    let payload = fs::read(tiny_payload().unwrap()).unwrap();
    let blob = body(BYTES, 7);
    let wire = Wire::new().unwrap();
    let (here, qemus) = wire.ends().unwrap();
    let pcap = Scratch::file("pcap", b"");
    let mut qemu = machine(board, RELEASE)
        .unwrap()
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .net(Net::udp(qemus, here))
        .capture(&pcap.0)
        .start()
        .unwrap();
    let stop = AtomicBool::new(false);
    let mut noise = Noise {
        random: Random::new(6),
        node: Firmware::default().mac,
        count: 0,
    };
    let sum = thread::scope(|scope| {
        let spoil = |frame: Vec<u8>, put: &mut dyn FnMut(&[u8])| noise.spoil(frame, put);
        scope.spawn(|| {
            let answer = Reply::ok(&*blob).every_length();
            serve(&wire, &payload, answer, spoil, &stop);
        });
        let sum = qemu.console().expect(INITRD, PATIENCE);
        stop.store(true, Ordering::Relaxed);
        sum.unwrap()
    });
    let crc = format!("{:08x}", crc32fast::hash(&blob));
    assert_eq!(sum.groups, [blob.len().to_string(), crc]);
    ends(&mut qemu);
    let server: [u8; 6] = [2, 0, HTTP[0], HTTP[1], HTTP[2], HTTP[3]];
    let lengths: BTreeSet<usize> = capture::frames(&pcap.0)
        .unwrap()
        .iter()
        .filter(|frame| frame.bytes.get(6..12) == Some(&server[..]))
        .map(|frame| frame.bytes.len())
        .collect();
    let missing: Vec<usize> = (SHORTEST..=LONGEST)
        .filter(|length| !lengths.contains(length))
        .collect();
    assert_eq!(missing, [0; 0], "never sent");
}

#[test]
fn a_4b_takes_every_frame() {
    require!(tiny_payload());
    require!(machine(Board::Pi4b, RELEASE));
    boots_amid_every_frame(Board::Pi4b);
}

#[test]
fn a_3b_takes_every_frame() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, RELEASE));
    boots_amid_every_frame(Board::Pi3b);
}

#[test]
fn a_3b_plus_takes_every_frame() {
    require!(tiny_payload());
    require!(machine(Board::Pi3bPlus, RELEASE));
    boots_amid_every_frame(Board::Pi3bPlus);
}

#[test]
fn a_3b_with_usb_net_takes_every_frame() {
    require!(tiny_payload());
    require!(machine(Board::UsbNet3b, RELEASE));
    boots_amid_every_frame(Board::UsbNet3b);
}
