//! The watchdog of our emulator, which counts as a board's does: it resets whatever hangs, and the next boot says so.
//!
//! What hangs is the release image, made to by a debugger. Guest time is the instructions', so that a slow host does not
//! bite.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use object::{Object, ObjectSymbol};
use qemu::cpio::Archive;
use qemu::http::{Answer, Server};
use qemu::{Board, Debugger, Entry, Firmware, Machine, Net, Qemu, Register};

use crate::{HELLO, PATIENCE, RELEASE, boot_file, debian, machine, symbol, tiny_site};

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

/// A 4B with this menu.
fn boots(menu: &str) -> Result<(Server, Machine)> {
    let server = Server::start()?;
    server.put("/menu", Answer::ok(menu));
    let machine = machine(Board::Pi4b, RELEASE)?
        .entry(Entry::At(0x20_0000))
        .other_cores_rest()
        .starts_over()
        .net(boot_file(&server, "/menu"));
    Ok((server, machine))
}

/// A machine whose menu boots a kernel that never does anything, with this command line. Guest time is the host's: with that of the
/// instructions it would stand still, or leap.
fn hanging_kernel(words: &str) -> Result<(Server, Machine)> {
    let mut kernel = tests::payload::image(4096);
    kernel[..4].copy_from_slice(&0xd503_207f_u32.to_le_bytes()); // wfi
    kernel[4..8].copy_from_slice(&0x17ff_ffff_u32.to_le_bytes()); // b .-4
    let (server, machine) = boots(&format!("LABEL hangs\n  LINUX kernel\n  APPEND {words}\n"))?;
    server.put("/kernel", Answer::ok(kernel));
    Ok((server, machine))
}

/// As if the firmware had started the watchdog.
fn handed_over(machine: Machine) -> Machine {
    machine
        .argument("-global")
        .argument("bcm2835-powermgt.handed-over=on")
}

/// With this line on cmdline.txt.
fn cmdline(machine: Machine, line: &str) -> Machine {
    machine.firmware(Firmware {
        cmdline: line.into(),
        ..Firmware::default()
    })
}

/// What is said of the watchdog comes, and so does the next boot, which says who reset the board: how much guest time lies between.
fn bites(machine: Machine, said: &str) -> Duration {
    let mut qemu = machine.start().unwrap();
    qemu.console().expect(said, PATIENCE).unwrap();
    let from = qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap();
    qemu.console().expect(AGAIN, PATIENCE).unwrap();
    qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap() - from
}

/// What is said of the watchdog comes, and the board is left alone.
fn is_left_alone(machine: Machine, said: &str) {
    let mut qemu = machine.start().unwrap();
    qemu.console().expect(said, PATIENCE).unwrap();
    let from = qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap();
    let waited = |qemu: &Qemu| qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap() - from;
    while waited(&qemu) < Duration::from_secs(18) {
        std::thread::sleep(Duration::from_millis(200));
    }
    let text = qemu.console().text();
    assert_eq!(text.matches("bramble: ").count(), 1, "{text}");
}

const STOPPED: &str = "^handoff: the watchdog is stopped$";
const GOES_ON: &str = "^handoff: the firmware's watchdog goes on: 16 s$";
const STARTED: &str = "^handoff: the watchdog goes on: 16 s, as bramble.watchdog=handoff says$";

#[test]
fn a_watchdog_that_the_firmware_started_watches_the_kernel() {
    let (_server, machine) = require!(hanging_kernel("quiet"));
    assert_bitten(bites(handed_over(machine), GOES_ON));
}

#[test]
fn a_watchdog_that_the_operator_wants_watches_the_kernel() {
    let (_server, machine) = require!(hanging_kernel("bramble.watchdog=handoff"));
    assert_bitten(bites(machine, STARTED));
}

#[test]
fn a_watchdog_that_nobody_started_leaves_the_kernel_alone() {
    let (_server, machine) = require!(hanging_kernel("quiet"));
    is_left_alone(machine, STOPPED);
}

#[test]
fn a_watchdog_that_the_operator_does_not_want_leaves_the_kernel_alone() {
    let (_server, machine) = require!(hanging_kernel("quiet"));
    is_left_alone(cmdline(handed_over(machine), "bramble.watchdog=off"), STOPPED);
    // An entry's own word goes before that of the board.
    let (_server, machine) = require!(hanging_kernel("bramble.watchdog=found"));
    is_left_alone(cmdline(machine, "bramble.watchdog=handoff"), STOPPED);
}

/// A released QEMU would reset at once.
#[test]
fn a_watchdog_that_does_not_count_is_never_started() {
    let machine = require!(machine(Board::UsbNet3b, RELEASE));
    let site = require!(tiny_site());
    let machine = cmdline(machine.net(boot_file(&site, "/menu")), "bramble.watchdog=handoff");
    let mut qemu = machine.start().unwrap();
    let console = qemu.console();
    let said = "^handoff: the watchdog is stopped: this emulator's does not count$";
    console.expect(said, PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
}

/// What user space does about the watchdog, whose driver it loads.
const FEEDS: &[u8] = b"#!/bin/busybox sh
export PATH=/bin
/bin/busybox mkdir -p /proc /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
for word in $(cat /proc/cmdline); do
    case $word in panics) exit 1 ;; esac
done
while read -r module; do
    insmod /modules/$module
done < /modules/power
echo hello: loaded
sleep 20
echo hello: not opened
watchdog -F -t 5 /dev/watchdog &
sleep 20
echo hello: fed
kill -9 $!
sleep 1000
";

/// A machine that boots Debian with [`FEEDS`] and this command line.
fn debian_feeds(words: &str) -> Result<(Server, Machine)> {
    let payload = debian()?;
    let menu = format!(
        "LABEL debian\n  LINUX vmlinuz\n  INITRD initrd,init\n  \
         APPEND console=ttyAMA0,115200 quiet maxcpus=1 bramble.watchdog=handoff {words}\n"
    );
    let (server, machine) = boots(&menu)?;
    // Guest time is the instructions', and leaps where Linux rests.
    let machine = machine
        .instruction_clock()
        .argument("-icount")
        .argument("sleep=off");
    let mut init = Archive::new();
    init.file("init", 0o755, FEEDS);
    server.put("/vmlinuz", Answer::file(payload.kernel()));
    server.put("/initrd", Answer::ok(payload.initrd(Board::Pi4b)?));
    server.put("/init", Answer::ok(init.finish()));
    Ok((server, machine.device_tree(payload.device_tree(Board::Pi4b)?)))
}

/// Debian's driver takes over what it finds counting, feeds it, lets user space feed it, and the node that stops is reset.
#[test]
fn debian_takes_the_watchdog_over_and_is_reset_when_it_feeds_it_no_more() {
    let (_server, machine) = require!(debian_feeds(""));
    let mut qemu = machine.start().unwrap();
    qemu.console().expect(STARTED, PATIENCE).unwrap();
    for said in ["loaded", "not opened"] {
        let said = format!("^hello: {said}$");
        qemu.console().expect(&said, PATIENCE).unwrap();
    }
    qemu.console().expect("^hello: fed$", PATIENCE).unwrap();
    // How long it takes from the last feeding on is Linux's word, and time leaps here.
    qemu.console().expect(AGAIN, PATIENCE).unwrap();
}

/// With panic=0, which is the default, Linux stays where it is.
#[test]
fn a_panic_before_any_driver_is_reset() {
    let (_server, machine) = require!(debian_feeds("panic=0 panics"));
    let mut qemu = machine.start().unwrap();
    qemu.console().expect(STARTED, PATIENCE).unwrap();
    let from = qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap();
    qemu.console()
        .expect("Kernel panic - not syncing", PATIENCE)
        .unwrap();
    qemu.console().expect(AGAIN, PATIENCE).unwrap();
    let took = qemu.monitor().unwrap().guest_time(Board::Pi4b).unwrap() - from;
    assert_bitten(took);
}
