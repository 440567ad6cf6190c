//! Whole boots where caches do the worst they may: our emulator's model of them finds nothing (D-202).

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use object::{Object, ObjectSymbol};
use qemu::http::{Answer, Server};
use qemu::{Board, Coherence, Entry, Machine, Net, Qemu, UBoot};
use tests::payload::body;

use crate::{HELLO, PATIENCE, RELEASE, Scratch, boot_file, debian, ends, machine, on, tiny_site};

/// Bytes of the initrd, which the payload reads to the end: many rounds of each ring.
const INITRD: usize = 3 << 20;

/// Where the image runs on these boards.
const HOME: u64 = 0x3b00_0000;

/// The findings, each with the function it is in.
fn told(coherence: &Coherence) -> Result<Vec<String>> {
    let bytes = fs::read(qemu::image("kernel8.elf")?)?;
    let file = object::File::parse(&*bytes)?;
    let function = |address: u64| {
        let offset = address % (2 << 20);
        file.symbols()
            .find(|symbol| (symbol.address()..symbol.address() + symbol.size()).contains(&offset))
            .and_then(|symbol| symbol.name().ok())
            .map_or_else(|| "no function".to_owned(), str::to_owned)
    };
    let findings = coherence.findings.iter();
    Ok(findings
        .map(|finding| format!("{finding}, {}", function(finding.instruction)))
        .collect())
}

/// As the firmware starts it, to the payload's end: the payload runs without caches, and reads all that it got. What
/// the model has to say, with the maintenance at an address left out.
fn boots(machine: Machine, without: Option<u64>) -> Qemu {
    let server = tiny_site().unwrap();
    server.put(
        "/menu",
        Answer::ok("LABEL tiny\n  LINUX payload.img\n  INITRD blob\n  APPEND one two\n"),
    );
    server.put("/blob", Answer::ok(body(INITRD, 5)));
    let machine = machine.entry(Entry::At(0x8_0000)).watch_caches();
    let machine = without.into_iter().fold(machine, Machine::without_maintenance);
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console().expect(crate::INITRD, PATIENCE).unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    qemu
}

fn boots_without_a_finding(board: Board) {
    let machine = require!(machine(board, RELEASE));
    require!(tiny_site());
    require!(qemu::emulator::installed());
    nothing_found(&boots(machine, None));
}

/// The image's last `dc civac`, of up to four lines and of what four at once leave, is left out: these devices meet what it would have
/// cleaned, and the core what they wrote.
fn misses_its_maintenance(board: Board, devices: &[&str]) {
    let machine = require!(machine(board, RELEASE));
    require!(tiny_site());
    require!(qemu::emulator::installed());
    let image = fs::read(qemu::image(RELEASE).unwrap()).unwrap();
    let words = image.as_chunks::<4>().0.iter();
    let civac = words
        .map(|word| u32::from_le_bytes(*word) & !0x1f)
        .rposition(|word| word == 0xd50b_7e20);
    let coherence = boots(machine, Some(HOME + 4 * civac.unwrap() as u64))
        .coherence()
        .unwrap();
    assert!(coherence.left_out > 0);
    for device in devices {
        for what in ["reads what is not clean", "reads what may be stale"] {
            let mut findings = coherence.findings.iter();
            assert!(
                findings.any(|finding| finding.device == *device && finding.what == what),
                "{device}: {what}: {:#?}",
                told(&coherence).unwrap()
            );
        }
    }
}

#[test]
fn what_is_left_out_is_missed_by_the_mailbox_and_genet() {
    misses_its_maintenance(Board::Pi4b, &["bcm2835-property-memory", "bcm2711-genet"]);
}

#[test]
fn what_is_left_out_is_missed_by_the_usb_controller() {
    misses_its_maintenance(Board::Pi3b, &["dwc2"]);
}

/// What was found until the next program was on its own.
fn watched_to_the_end(qemu: &Qemu) -> Coherence {
    let coherence = qemu.coherence().unwrap();
    assert!(
        coherence.ended && coherence.handed_over.is_some(),
        "{coherence:?}"
    );
    coherence
}

/// Neither until the jump nor until the next program is on its own.
fn nothing_found(qemu: &Qemu) {
    assert_eq!(told(&watched_to_the_end(qemu)).unwrap(), [""; 0]);
}

#[test]
fn over_genet_on_a_4b() {
    boots_without_a_finding(Board::Pi4b);
}

#[test]
fn over_a_lan9514_on_a_3b() {
    boots_without_a_finding(Board::Pi3b);
}

#[test]
fn over_a_lan7515_on_a_3b_plus() {
    boots_without_a_finding(Board::Pi3bPlus);
}

#[test]
fn over_usb_net_on_a_3b() {
    boots_without_a_finding(Board::UsbNet3b);
}

/// Debian's kernel, until it turns on its own MMU.
#[test]
fn to_the_first_steps_of_linux_on_a_4b() {
    let payload = require!(debian());
    let board = Board::Pi4b;
    let machine = require!(machine(board, RELEASE));
    require!(qemu::emulator::installed());
    let server = Server::start().unwrap();
    server.put("/menu", Answer::ok("LABEL debian\n  LINUX vmlinuz\n"));
    server.put("/vmlinuz", Answer::file(payload.kernel()));
    let machine = machine
        .entry(Entry::At(0x8_0000))
        .device_tree(payload.device_tree(board).unwrap())
        .watch_caches();
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console().expect("^handoff: kernel at 0x", PATIENCE).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !qemu.coherence().unwrap().ended && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    nothing_found(&qemu);
}

/// A control: U-Boot's drivers, from a lease to a file and Bramble. They are sound, too. What the model has to say of the rest of U-Boot is
/// true of it: it cleans a message for the VideoCore before it has invalidated the caches, moves itself with the
/// instruction cache on, and leaves the image that it boots to set and way.
fn u_boots_drivers_are_sound(board: Board) {
    const SAID: [&str; 4] = [
        "cleans what was there at reset",
        "executes what the instruction cache may have older",
        "executes what only set and way cleaned",
        "reads what only set and way cleaned",
    ];
    let payload = require!(debian());
    require!(machine(board, RELEASE));
    require!(qemu::emulator::installed());
    let files = Scratch::directory("tftp");
    fs::write(files.0.join("blob"), body(1 << 18, 3)).unwrap();
    fs::copy(qemu::image(RELEASE).unwrap(), files.0.join("kernel8.img")).unwrap();
    let machine = on(board, payload.u_boot())
        .unwrap()
        .device_tree(payload.device_tree(board).unwrap())
        .net(Net::user().option("tftp", files.0.to_str().unwrap()))
        .watch_caches();
    let mut prompt = UBoot::start(machine, PATIENCE).unwrap();
    prompt.lease().unwrap();
    for file in [
        "${ramdisk_addr_r} 10.0.2.2:blob",
        "${kernel_addr_r} 10.0.2.2:kernel8.img",
    ] {
        prompt
            .ask(&format!("tftpboot {file}"), "^Bytes transferred = [1-9]")
            .unwrap();
    }
    prompt
        .ask("booti ${kernel_addr_r} - ${fdt_addr}", "^bramble: .* EL2")
        .unwrap();
    let coherence = watched_to_the_end(&prompt.qemu);
    for what in SAID {
        assert!(
            coherence.findings.iter().any(|finding| finding.what == what),
            "{what}"
        );
    }
    let mut findings = coherence.findings.iter();
    let other = findings.find(|finding| !SAID.contains(&finding.what.as_str()));
    assert_eq!(other, None);
}

#[test]
fn u_boots_genet_is_sound() {
    u_boots_drivers_are_sound(Board::Pi4b);
}

#[test]
fn u_boots_lan9514_is_sound() {
    u_boots_drivers_are_sound(Board::Pi3b);
}

#[test]
fn u_boots_lan7515_is_sound() {
    u_boots_drivers_are_sound(Board::Pi3bPlus);
}
