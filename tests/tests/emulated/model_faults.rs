//! Device models that inject faults at random: frames spoilt, transfers stalled, registers that do not answer. The boot ends
//! with the right bytes all the same.

use qemu::http::{Answer, Server};
use qemu::{Board, Entry};
use tests::payload::body;

use crate::{DEBUG, HELLO, INITRD, PATIENCE, boot_file, machine, tiny_payload};

/// What is downloaded meanwhile.
const BYTES: usize = 8 << 20;

/// The image with assertions boots with the initrd as served, with a fault at so many of a million opportunities, of which a
/// frame meets several; the model has then injected at least so many.
fn boots_through_faults(board: Board, per_million: u32, at_least: u64) {
    let blob = body(BYTES, 6);
    let server = Server::start().unwrap();
    server.put(
        "/menu",
        Answer::ok("LABEL tiny\n  LINUX payload.img\n  INITRD blob\n"),
    );
    server.put("/payload.img", Answer::file(tiny_payload().unwrap()));
    server.put("/blob", Answer::ok(&blob));
    let mut qemu = machine(board, DEBUG)
        .unwrap()
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .net(boot_file(&server, "/menu"))
        .nic_option("faults", per_million)
        .nic_option("fault-seed", 3)
        // The model is asked after the payload has switched off.
        .argument("-no-shutdown")
        .start()
        .unwrap();
    let console = qemu.console();
    // A board that gives up is stopped here by its reset, and would say nothing more.
    let sum = console
        .expect(&format!("{INITRD}|resetting in"), 4 * PATIENCE)
        .unwrap();
    assert!(!sum.text.starts_with("resetting"), "{}", console.text());
    assert_eq!(
        sum.groups,
        [blob.len().to_string(), format!("{:08x}", crc32fast::hash(&blob))]
    );
    console.expect(HELLO, PATIENCE).unwrap();
    let text = console.text();
    assert!(!text.contains("fault: "), "{text}");
    let injected = qemu.nic_number("faults-injected").unwrap();
    assert!(injected >= at_least, "{injected} faults");
    qemu.monitor().unwrap().quit().unwrap();
}

#[test]
fn of_genet() {
    require!(tiny_payload());
    require!(machine(Board::Pi4b, DEBUG));
    boots_through_faults(Board::Pi4b, 2000, 20);
}

#[test]
fn of_a_lan9514() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, DEBUG));
    boots_through_faults(Board::Pi3b, 1000, 5);
}

#[test]
fn of_a_lan7515() {
    require!(tiny_payload());
    require!(machine(Board::Pi3bPlus, DEBUG));
    boots_through_faults(Board::Pi3bPlus, 500, 3);
}
