//! The watchdog of our emulator, which counts as a board's does: it resets whatever hangs, and the next boot says so.
//!
//! What hangs is the release image, made to by a debugger. Guest time is the instructions', so that a slow host does not
//! bite.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use object::{Object, ObjectSymbol};
use qemu::http::{Answer, Server};
use qemu::{Board, Debugger, Entry, Machine, Net, Qemu, Register};

use crate::{PATIENCE, RELEASE, boot_file, machine, symbol};

const ELF: &str = "kernel8.elf";

/// Where the image runs on these boards.
const HOME: u64 = 0x3b00_0000;

/// Who starts over says by whom.
const AGAIN: &str = r"^board: reset by the watchdog, or a reboot \(RSTS 0x20\)$";

/// A board as the firmware starts it, without a network, with a debugger.
fn board(board: Board) -> Result<Machine> {
    symbol(ELF, "park")?;
    Ok(machine(board, RELEASE)?
        .entry(Entry::At(0x20_0000))
        .other_cores_rest()
        .instruction_clock()
        .starts_over()
        .debugger()
        .net(Net::none()))
}

/// The address at home of the function whose mangled name has all `parts`.
fn function(parts: &[&str]) -> Result<u64> {
    let bytes = fs::read(qemu::image(ELF)?)?;
    let file = object::File::parse(&*bytes)?;
    let found = file
        .symbols()
        .find(|symbol| {
            symbol
                .name()
                .is_ok_and(|name| parts.iter().all(|part| name.contains(part)))
        })
        .with_context(|| format!("{ELF}: no function {parts:?}"))?;
    Ok(HOME + found.address())
}

/// Has the core stay where it can do nothing.
fn wedge(debugger: &mut Debugger) {
    let park = HOME + symbol(ELF, "park").unwrap();
    debugger.write(Register::Pc, park).unwrap();
}

/// Lets the machine go on; how much guest time it takes until the next boot says why it is one.
fn until_the_next_boot(qemu: &mut Qemu, board: Board, debugger: Debugger) -> Duration {
    // The monitor answers while the debugger holds the machine.
    let from = qemu.monitor().unwrap().guest_time(board).unwrap();
    debugger.detach().unwrap();
    qemu.console().expect(AGAIN, PATIENCE).unwrap();
    qemu.monitor().unwrap().guest_time(board).unwrap() - from
}

/// The watchdog's count, less what had passed since it was fed, and what a second boot needs to speak.
fn assert_bitten(took: Duration) {
    let allowed = Duration::from_secs(15)..Duration::from_secs(17);
    assert!(allowed.contains(&took), "{took:?}");
}

#[test]
fn a_wedged_poll_loop_is_reset() {
    let machine = require!(board(Board::Pi4b));
    let mut qemu = machine.start().unwrap();
    qemu.console()
        .expect(r"^board: reset by power \(RSTS 0x1000\)$", PATIENCE)
        .unwrap();
    qemu.console().expect("^lease: asking as ", PATIENCE).unwrap();
    let mut debugger = qemu.debugger().unwrap();
    wedge(&mut debugger);
    let took = until_the_next_boot(&mut qemu, Board::Pi4b, debugger);
    assert_bitten(took);
}

#[test]
fn a_wedged_search_of_the_usb_bus_is_reset() {
    let machine = require!(board(Board::Pi3b));
    let visit = require!(function(&["kernel3usb3bus", "Search", "visit"]));
    let mut qemu = machine.argument("-S").start().unwrap();
    let mut debugger = qemu.debugger().unwrap();
    debugger.run_to(visit).unwrap();
    wedge(&mut debugger);
    let took = until_the_next_boot(&mut qemu, Board::Pi3b, debugger);
    assert_bitten(took);
}

#[test]
fn a_panic_is_said_and_reset_at_once() {
    let machine = require!(board(Board::Pi4b));
    let out_of_memory = require!(function(&["alloc", "handle_alloc_error"]));
    let mut qemu = machine.start().unwrap();
    qemu.console().expect("^lease: asking as ", PATIENCE).unwrap();
    let mut debugger = qemu.debugger().unwrap();
    debugger.write(Register::X(0), 12_345).unwrap();
    debugger.write(Register::X(1), 8).unwrap();
    debugger.write(Register::Pc, out_of_memory).unwrap();
    let took = until_the_next_boot(&mut qemu, Board::Pi4b, debugger);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let text = qemu.console().text();
    assert!(
        text.contains("memory allocation of 12345 bytes failed: resetting"),
        "{text}"
    );
}

/// A machine whose menu boots a kernel that never does anything.
fn hanging_kernel() -> Result<(Server, Machine)> {
    let mut kernel = tests::payload::image(4096);
    kernel[..4].copy_from_slice(&0x1400_0000_u32.to_le_bytes()); // b .
    let server = Server::start()?;
    server.put("/menu", Answer::ok("LABEL hangs\n  LINUX kernel\n"));
    server.put("/kernel", Answer::ok(kernel));
    let machine = machine(Board::Pi4b, RELEASE)?
        .entry(Entry::At(0x20_0000))
        .other_cores_rest()
        .starts_over()
        .net(boot_file(&server, "/menu"));
    Ok((server, machine))
}

#[test]
fn a_watchdog_that_the_firmware_started_watches_the_kernel() {
    let (_server, machine) = require!(hanging_kernel());
    let machine = machine
        .argument("-global")
        .argument("bcm2835-powermgt.handed-over=on");
    let mut qemu = machine.start().unwrap();
    qemu.console()
        .expect("^handoff: the firmware's watchdog goes on: 16 s$", PATIENCE)
        .unwrap();
    let from = qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap();
    qemu.console().expect(AGAIN, PATIENCE).unwrap();
    let took = qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap() - from;
    assert!(took > Duration::from_millis(15_500), "{took:?}");
}

#[test]
fn a_watchdog_that_nobody_started_leaves_the_kernel_alone() {
    let (_server, machine) = require!(hanging_kernel());
    let mut qemu = machine.start().unwrap();
    qemu.console().expect("^handoff: kernel at 0x", PATIENCE).unwrap();
    let from = qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap();
    let waited = || qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap() - from;
    while waited() < Duration::from_secs(18) {
        std::thread::sleep(Duration::from_millis(200));
    }
    let text = qemu.console().text();
    assert_eq!(text.matches("bramble: ").count(), 1, "{text}");
    assert!(!text.contains("watchdog goes on"), "{text}");
}
