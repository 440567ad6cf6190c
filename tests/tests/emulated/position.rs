//! The image runs wherever a loader puts it, wherever the device tree is, at EL2 and at EL1.

use std::fs;
use std::time::{Duration, Instant};

use qemu::{Board, Entry, Firmware, Machine, Register};
use regex::Regex;

use crate::{DEBUG, HELLO, PATIENCE, RELEASE, Scratch, boot_file, ends, machine, symbol, tiny_site};

const BOARD: Board = Board::UsbNet3b;

/// Home's 16 MiB at the top of a Pi 3B's ARM memory.
const HOME: u64 = 0x3b00_0000;

/// Boots the built-in payload and gives what the console said.
fn boots(machine: Machine) -> String {
    let server = tiny_site().unwrap();
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    let console = qemu.console();
    console.expect("^payload: cmdline one two$", PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    let text = qemu.console().text();
    assert_handed_over(&text);
    text
}

/// The arm64 boot protocol's demands on whoever jumps to a kernel, as the payload found them.
fn assert_handed_over(text: &str) {
    for register in ["x1", "x2", "x3"] {
        assert!(
            text.contains(&format!("payload: {register} 0x0000000000000000\n")),
            "{text}"
        );
    }
    let sctlr = Regex::new("(?m)^payload: sctlr 0x([0-9a-f]{16})$").unwrap();
    let sctlr = u64::from_str_radix(&sctlr.captures(text).unwrap()[1], 16).unwrap();
    // MMU, data cache, instruction cache: bits 0, 2, 12.
    assert_eq!(sctlr & 0b1_0000_0000_0101, 0, "SCTLR {sctlr:#x}");
    let tree =
        Regex::new("(?m)^payload: device tree [0-9]+ bytes, [0-9]+ nodes, depth [0-9]+, whole$").unwrap();
    assert!(tree.is_match(text), "{text}");
    // From the SoC's random number generator; the tree had none.
    let seeds = "payload: kaslr-seed 8 bytes, rng-seed 64 bytes\n";
    assert!(text.contains(seeds), "{text}");
}

/// The console's lines without what differs from run to run: time, port, and where the image came from.
fn comparable(text: &str) -> String {
    let text = Regex::new("[0-9]+ ms").unwrap().replace_all(text, "_ ms");
    let text = Regex::new("loaded at 0x[0-9a-f]+")
        .unwrap()
        .replace_all(&text, "loaded at _");
    let text = Regex::new("counter [0-9]+")
        .unwrap()
        .replace_all(&text, "counter _");
    let text = Regex::new("10\\.0\\.2\\.2:[0-9]+")
        .unwrap()
        .replace_all(&text, "10.0.2.2:_");
    let text = Regex::new("(heap|stack) peak [0-9]+")
        .unwrap()
        .replace_all(&text, "$1 peak _");
    // A busy host may keep the emulated bus from moving a frame in time; the boot goes on and so does the test.
    let late = Regex::new("(?m)^nic: .*; restarting.*\n|^lease: no DHCP server answers.*\n").unwrap();
    late.replace_all(&text, "").trim_end().to_owned()
}

#[test]
fn every_load_address_gives_the_same_boot() {
    let release = require!(machine(BOARD, RELEASE));
    require!(tiny_site());
    let mut first = None;
    for address in [
        0x8_0000,  // the firmware's for kernels without a valid header, and of old
        0x20_0000, // the firmware's
        HOME - 0x100_0000,
        HOME,             // where it moves to anyway
        HOME + 0x20_0000, // inside of that
    ] {
        let text = boots(release.clone().entry(Entry::At(address)));
        let said = format!("loaded at {address:#x}, running at {HOME:#x}, EL2");
        assert!(text.contains(&said), "{said} in {text}");
        let text = comparable(&text);
        assert_eq!(
            *first.get_or_insert_with(|| text.clone()),
            text,
            "from {address:#x}"
        );
    }
}

#[test]
fn qemu_kernel_option_boots_the_release_image() {
    let release = require!(machine(BOARD, RELEASE));
    require!(tiny_site());
    let text = boots(release);
    assert!(text.contains(", running at 0x3b000000, EL2"), "{text}");
}

#[test]
fn the_debug_image_boots_the_same_ways() {
    let debug = require!(machine(BOARD, DEBUG));
    require!(tiny_site());
    boots(debug.clone());
    boots(debug.clone().entry(Entry::At(0x8_0000)));
    boots(debug.entry(Entry::At(HOME + 0x20_0000)));
}

#[test]
fn home_makes_room_for_a_device_tree_at_the_top_of_memory() {
    let release = require!(machine(BOARD, RELEASE));
    require!(tiny_site());
    let tree = Firmware::default().minimal(BOARD).unwrap();
    // The firmware adds to it what the reset was.
    let top = (BOARD.memory_end() - tree.len() as u64 - 0x100) & !7;
    for (image, tree, home) in [
        (0x8_0000, top, 0x3ae0_0000),
        (0x20_0000, HOME + 0x1008, 0x3a00_0000),
        (HOME, top, 0x3ae0_0000), // the image where home would be, the tree behind it
    ] {
        let text = boots(release.clone().entry(Entry::At(image)).device_tree_at(tree));
        let said = format!("loaded at {image:#x}, running at {home:#x}, EL2");
        assert!(text.contains(&said), "{said} in {text}");
        // The tree was read before anything landed on it.
        assert!(
            text.contains("payload: serial-number 10000000b4a3b1e5\n"),
            "{text}"
        );
    }
}

/// Enters the image 0x180000 behind itself at EL1h, as a hypervisor or an EL1 boot loader would.
const TO_EL1: [u32; 15] = [
    0xd2b0_0009, // movz x9, #0x8000, lsl #16
    0xd51c_1109, // msr  hcr_el2, x9          // RW: EL1 is AArch64
    0xd280_0069, // mov  x9, #3
    0xd51c_e109, // msr  cnthctl_el2, x9      // EL1 may read the counter
    0xd286_7fe9, // mov  x9, #0x33ff
    0xd51c_1149, // msr  cptr_el2, x9         // EL1 may use FP and SIMD
    0xd281_0009, // mov  x9, #0x0800
    0xf2a6_1a09, // movk x9, #0x30d0, lsl #16
    0xd518_1009, // msr  sctlr_el1, x9        // RES1 bits, all else off
    0xd280_78a9, // mov  x9, #0x3c5
    0xd51c_4009, // msr  spsr_el2, x9         // EL1h, DAIF masked
    0x10ff_fea9, // adr  x9, .-44             // the first of these instructions
    0x9146_0129, // add  x9, x9, #0x180, lsl #12
    0xd51c_4029, // msr  elr_el2, x9
    0xd69f_03e0, // eret
];

#[test]
fn el1_is_enough() {
    require!(machine(BOARD, RELEASE));
    require!(tiny_site());
    let mut file: Vec<u8> = TO_EL1.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.resize(0x18_0000, 0);
    file.extend(fs::read(qemu::image(RELEASE).unwrap()).unwrap());
    let image = Scratch::file("el1.img", &file);
    let text = boots(Machine::new(BOARD, &image.0).entry(Entry::At(0x8_0000)));
    assert!(
        text.contains("loaded at 0x200000, running at 0x3b000000, EL1"),
        "{text}"
    );
    assert!(text.contains(" in EL1\n"), "the payload stays there: {text}");
}

/// With little memory for the VideoCore, the firmware of a Pi 3 gives the ARM all up to the peripherals; should one ever
/// say more, that is not memory.
#[test]
fn memory_ends_at_the_peripherals_whatever_the_firmware_says() {
    let machine = require!(machine(BOARD, RELEASE)).entry(Entry::At(0x20_0000));
    require!(tiny_site());
    for megabytes in [4, 16] {
        let text = boots(
            machine
                .clone()
                .argument("-global")
                .argument(format!("bcm2835-fb.vcram-size={}", megabytes << 20)),
        );
        assert!(text.contains("running at 0x3e000000, EL2"), "{megabytes}: {text}");
    }
}

/// A Pi 5 loads kernel8.img where it has no other, and has memory where a Pi 3 has its peripherals.
#[test]
fn a_core_of_no_pi_that_we_know_parks_and_says_nothing() {
    let machine = require!(machine(BOARD, RELEASE));
    let park = require!(symbol("kernel8.elf", "park"));
    let loaded = 0x20_0000;
    let mut qemu = machine
        .entry(Entry::At(loaded))
        .other_cores_rest()
        .debugger()
        .argument("-global")
        .argument("cortex-a53-arm-cpu.midr=0x414fd0b1")
        .start()
        .unwrap();
    let parked = loaded + park..loaded + park + 8;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut debugger = qemu.debugger().unwrap();
        let at = debugger.read(Register::Pc).unwrap();
        // It stands still until it is let go.
        debugger.detach().unwrap();
        if parked.contains(&at) {
            break;
        }
        assert!(Instant::now() < deadline, "at {at:#x}, not {parked:x?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(qemu.console().text(), "");
}
