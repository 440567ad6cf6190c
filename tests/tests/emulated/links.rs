//! Links that come late, that go and come back, cables that nobody plugged, USB devices that vanish: each ends in a boot.

use std::thread;
use std::time::{Duration, Instant};

use qemu::http::{Answer, Server};
use qemu::{Board, Console, Entry, Machine, Monitor, capture};
use tests::payload::body;

use crate::{HELLO, INITRD, PATIENCE, RELEASE, Scratch, boot_file, ends, machine, tiny_payload, tiny_site};

/// A spanning tree keeps a switch's port shut for so long at most: twice the longest forward delay, 30 s (IEEE 802.1D-1998 §8.10.2).
const SPANNING_TREE: Duration = Duration::from_secs(60);

/// One instruction takes 256 ns of guest time, so that waiting costs few of them.
const SLOW_GUEST: &str = "shift=8";

/// A board whose minutes cost few instructions; what is on its wire goes into `pcap`.
fn patient(board: Board, site: &Server, pcap: &Scratch) -> Machine {
    machine(board, RELEASE)
        .unwrap()
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .net(boot_file(site, "/menu"))
        .capture(&pcap.0)
        .argument("-icount")
        .argument(SLOW_GUEST)
}

/// Nothing is plugged in. After a line that says so and a minute of guest time, the cable is.
fn boots_when_its_cable_is_plugged_in(board: Board) {
    let site = tiny_site().unwrap();
    let pcap = Scratch::file("pcap", b"");
    let mut qemu = patient(board, &site, &pcap)
        // Held until the cable is out.
        .argument("-S")
        .start()
        .unwrap();
    let mut cable = qemu.monitor().unwrap();
    cable.set_link(false).unwrap();
    cable.go_on().unwrap();
    let console = qemu.console();
    console
        .expect(
            "^nic: no link yet: is the cable plugged in, and the switch on\\?$",
            PATIENCE,
        )
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while cable.guest_time(board).unwrap() < SPANNING_TREE {
        assert!(Instant::now() < deadline, "{}", console.text());
        thread::sleep(Duration::from_millis(20));
    }
    cable.set_link(true).unwrap();
    console.expect("^nic: link up, ", PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    let frames = capture::frames(&pcap.0).unwrap();
    assert!(frames[0].time > SPANNING_TREE, "{:?}", frames[0].time);
}

/// The link is up, and the switch forwards nothing for as long.
fn boots_behind_a_spanning_tree(board: Board) {
    let site = tiny_site().unwrap();
    let pcap = Scratch::file("pcap", b"");
    let mut qemu = patient(board, &site, &pcap)
        .nic_option("forward-delay-ms", SPANNING_TREE.as_millis())
        .start()
        .unwrap();
    let console = qemu.console();
    console.expect("^nic: link up, ", PATIENCE).unwrap();
    console
        .expect("^lease: no DHCP server answers", PATIENCE)
        .unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    let frames = capture::frames(&pcap.0).unwrap();
    assert!(frames[0].time > SPANNING_TREE, "{:?}", frames[0].time);
}

/// There is some trouble three times in the middle of a download of 64 MiB.
fn survives(board: Board, trouble: impl Fn(&mut Monitor, &mut Console)) {
    let blob = body(64 << 20, 5);
    let server = Server::start().unwrap();
    server.put(
        "/menu",
        Answer::ok("LABEL tiny\n  LINUX payload.img\n  INITRD blob\n"),
    );
    server.put("/payload.img", Answer::file(tiny_payload().unwrap()));
    server.put("/blob", Answer::ok(&blob));
    let mut qemu = machine(board, RELEASE)
        .unwrap()
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .net(boot_file(&server, "/menu"))
        .start()
        .unwrap();
    let mut monitor = qemu.monitor().unwrap();
    let console = qemu.console();
    for mebibytes in [1, 20, 50] {
        let deadline = Instant::now() + PATIENCE;
        while server.sent("/blob") < mebibytes << 20 {
            assert!(Instant::now() < deadline, "{}", console.text());
            thread::sleep(Duration::from_millis(2));
        }
        trouble(&mut monitor, console);
    }
    let sum = console.expect(INITRD, PATIENCE).unwrap();
    assert_eq!(
        sum.groups,
        [blob.len().to_string(), format!("{:08x}", crc32fast::hash(&blob))]
    );
    ends(&mut qemu);
}

fn survives_a_flapping_link(board: Board) {
    survives(board, |cable, console| {
        cable.set_link(false).unwrap();
        console.expect("^nic: link down$", PATIENCE).unwrap();
        cable.set_link(true).unwrap();
        console.expect("^nic: link up, ", PATIENCE).unwrap();
    });
}

/// It is not seen on its port any more until the driver searches for it.
fn survives_a_device_that_vanishes(board: Board) {
    survives(board, |port, console| {
        port.set_attached(false).unwrap();
        console
            .expect("^nic: .*; searching again in [0-9]+ ms$", PATIENCE)
            .unwrap();
        port.set_attached(true).unwrap();
        console.expect("^nic: link up, ", PATIENCE).unwrap();
    });
}

#[test]
fn a_4b_boots_when_its_cable_is_plugged_in() {
    require!(tiny_site());
    require!(machine(Board::Pi4b, RELEASE));
    boots_when_its_cable_is_plugged_in(Board::Pi4b);
}

#[test]
fn a_3b_boots_when_its_cable_is_plugged_in() {
    require!(tiny_site());
    require!(machine(Board::Pi3b, RELEASE));
    boots_when_its_cable_is_plugged_in(Board::Pi3b);
}

#[test]
fn a_3b_plus_boots_when_its_cable_is_plugged_in() {
    require!(tiny_site());
    require!(machine(Board::Pi3bPlus, RELEASE));
    boots_when_its_cable_is_plugged_in(Board::Pi3bPlus);
}

/// A 3B+ at a switch without pause frames fell back to 100 Mb/s. Another cable gets another offer of a gigabit.
#[test]
fn a_3b_plus_offers_a_gigabit_again_when_it_is_plugged_in_again() {
    require!(machine(Board::Pi3bPlus, RELEASE));
    // Without a menu it goes on asking.
    let mut qemu = machine(Board::Pi3bPlus, RELEASE)
        .unwrap()
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .nic_option("peer-pause", "off")
        .start()
        .unwrap();
    let mut cable = qemu.monitor().unwrap();
    let console = qemu.console();
    let fallback = "^nic: the other end takes no pause frames: negotiating 100 Mb/s instead$";
    console.expect(fallback, PATIENCE).unwrap();
    console
        .expect("^nic: link up, 100 Mb/s full duplex$", PATIENCE)
        .unwrap();
    cable.set_link(false).unwrap();
    let again = "^nic: the cable may be in another switch now: offering 1000 Mb/s again$";
    console.expect(again, PATIENCE).unwrap();
    cable.set_link(true).unwrap();
    // It is the same switch.
    console.expect(fallback, PATIENCE).unwrap();
    console
        .expect("^nic: link up, 100 Mb/s full duplex$", PATIENCE)
        .unwrap();
}

#[test]
fn a_4b_survives_a_flapping_link() {
    require!(tiny_payload());
    require!(machine(Board::Pi4b, RELEASE));
    survives_a_flapping_link(Board::Pi4b);
}

#[test]
fn a_3b_survives_a_flapping_link() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, RELEASE));
    survives_a_flapping_link(Board::Pi3b);
}

#[test]
fn a_3b_plus_survives_a_flapping_link() {
    require!(tiny_payload());
    require!(machine(Board::Pi3bPlus, RELEASE));
    survives_a_flapping_link(Board::Pi3bPlus);
}

#[test]
fn a_3b_survives_a_device_that_vanishes() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, RELEASE));
    survives_a_device_that_vanishes(Board::Pi3b);
}

#[test]
fn a_3b_plus_survives_a_device_that_vanishes() {
    require!(tiny_payload());
    require!(machine(Board::Pi3bPlus, RELEASE));
    survives_a_device_that_vanishes(Board::Pi3bPlus);
}

#[test]
fn a_4b_boots_behind_a_spanning_tree() {
    require!(tiny_site());
    require!(machine(Board::Pi4b, RELEASE));
    boots_behind_a_spanning_tree(Board::Pi4b);
}

#[test]
fn a_3b_boots_behind_a_spanning_tree() {
    require!(tiny_site());
    require!(machine(Board::Pi3b, RELEASE));
    boots_behind_a_spanning_tree(Board::Pi3b);
}

#[test]
fn a_3b_plus_boots_behind_a_spanning_tree() {
    require!(tiny_site());
    require!(machine(Board::Pi3bPlus, RELEASE));
    boots_behind_a_spanning_tree(Board::Pi3bPlus);
}
