//! Nothing ends in a silent halt: faults say where and why and reset, a payload that comes back resets.

use std::fs;

use qemu::http::{Answer, Server};
use qemu::{Board, Debugger, Qemu, Register};

use crate::{PATIENCE, RELEASE, boot_file, ends, machine, symbol};

const BOARD: Board = Board::UsbNet3b;
const ELF: &str = "kernel8.elf";

/// Where the image runs on this board.
const HOME: u64 = 0x3b00_0000;

/// Bramble in a menu that waits for ten minutes.
fn waiting() -> (Server, Qemu) {
    let server = Server::start().unwrap();
    server.put(
        "/menu",
        Answer::ok("UI menu.c32\nTIMEOUT 6000\nLABEL tiny\n  LINUX payload.img\n"),
    );
    let machine = machine(BOARD, RELEASE).unwrap().debugger();
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console().expect("Enter boots", PATIENCE).unwrap();
    (server, qemu)
}

/// Changes registers of the waiting machine; the report of the fault that follows, and that a reset follows it.
fn fault(break_it: impl FnOnce(&mut Debugger)) -> Vec<String> {
    let (_server, mut qemu) = waiting();
    let mut debugger = qemu.debugger().unwrap();
    break_it(&mut debugger);
    debugger.detach().unwrap();
    let report = qemu
        .console()
        .expect(
            // Behind the menu's control sequences.
            r"fault: synchronous exception \(([a-z ]+)\) at 0x([0-9a-f]+), address 0x([0-9a-f]+), ESR 0x[0-9a-f]{8}, LR 0x[0-9a-f]+, SP 0x([0-9a-f]+): resetting$",
            PATIENCE,
        )
        .unwrap();
    // A reset ends QEMU.
    ends(&mut qemu);
    report.groups
}

#[test]
fn a_jump_into_nowhere_is_reported_and_resets() {
    require!(machine(BOARD, RELEASE));
    let report = fault(|debugger| debugger.write(Register::Pc, 0x8000_0000).unwrap());
    assert_eq!(report[..3], ["instruction abort", "80000000", "80000000"]);
}

/// The address at home of the first instruction of the image that is `wanted`.
fn address_of(wanted: impl Fn(u32) -> bool) -> u64 {
    let flat = fs::read(qemu::image(RELEASE).unwrap()).unwrap();
    let mut words = flat
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    HOME + 4 * words.position(wanted).unwrap() as u64
}

#[test]
fn page_0_and_the_image_cannot_be_written() {
    require!(machine(BOARD, RELEASE));
    // str x0, [x24]: entry.S's first store into a page table.
    let store = address_of(|instruction| instruction == 0xf900_0300);
    for target in [0xd8, HOME] {
        let report = fault(|debugger| {
            debugger.write(Register::X(24), target).unwrap();
            debugger.write(Register::Pc, store).unwrap();
        });
        assert_eq!(
            report[..3],
            [
                "data abort".to_owned(),
                format!("{store:x}"),
                format!("{target:x}")
            ]
        );
    }
}

#[test]
fn data_cannot_be_run() {
    require!(machine(BOARD, RELEASE));
    let stack = HOME + require!(symbol(ELF, "__stack_bottom"));
    let report = fault(|debugger| debugger.write(Register::Pc, stack).unwrap());
    assert_eq!(
        report[..3],
        [
            "instruction abort".to_owned(),
            format!("{stack:x}"),
            format!("{stack:x}")
        ]
    );
}

#[test]
fn a_stack_overflow_hits_the_guard_page_and_is_reported() {
    require!(machine(BOARD, RELEASE));
    let guard = HOME + require!(symbol(ELF, "__guard"));
    let bottom = guard + 0x1000;
    // stp x29, x30, [sp, #-n]!: how a function begins.
    let push = address_of(|instruction| instruction & 0xffe0_7fff == 0xa9a0_7bfd);
    let report = fault(|debugger| {
        debugger.write(Register::Sp, bottom).unwrap();
        debugger.write(Register::Pc, push).unwrap();
    });
    assert_eq!(report[..2], ["data abort".to_owned(), format!("{push:x}")]);
    let address = u64::from_str_radix(&report[2], 16).unwrap();
    assert!(
        (guard..bottom).contains(&address),
        "{address:#x}, guard {guard:#x}"
    );
    assert_eq!(report[3], format!("{bottom:x}"));
}

#[test]
fn a_fault_while_one_is_reported_resets_without_a_word() {
    require!(machine(BOARD, RELEASE));
    let (_server, mut qemu) = waiting();
    let mut debugger = qemu.debugger().unwrap();
    // Bit 0, SPSel: the exceptions' own stack, which nothing but the report of a fault runs on.
    let state = debugger.read(Register::Cpsr).unwrap();
    assert_eq!(state & 0b1101, 0b1000, "EL2 on SP_EL0: {state:#x}");
    debugger.write(Register::Cpsr, state | 1).unwrap();
    debugger.write(Register::Pc, 0x8000_0000).unwrap();
    debugger.detach().unwrap();
    ends(&mut qemu);
    let text = qemu.console().text();
    assert!(!text.contains("fault:"), "{text}");
}

#[test]
fn a_payload_that_returns_resets() {
    let machine = require!(machine(BOARD, RELEASE));
    let mut kernel = tests::payload::image(4096);
    kernel[..4].copy_from_slice(&0xd65f_03c0_u32.to_le_bytes()); // ret
    let server = Server::start().unwrap();
    server.put("/menu", Answer::ok("LABEL returns\n  LINUX kernel\n"));
    server.put("/kernel", Answer::ok(kernel));
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console().expect("^handoff: kernel at 0x", PATIENCE).unwrap();
    ends(&mut qemu);
}
