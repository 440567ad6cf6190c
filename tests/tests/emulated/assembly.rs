//! The firmware's `memcpy` and TCP checksum on the processor that they are written for.

use qemu::Board;
use qemu::http::Answer;

use crate::{HELLO, PATIENCE, RELEASE, boot_file, ends, machine, tiny_site};

#[test]
fn every_length_is_copied_and_summed_at_every_alignment() {
    let machine = require!(machine(Board::UsbNet3b, RELEASE));
    let server = require!(tiny_site());
    let menu = "LABEL tiny\n  LINUX payload.img\n  APPEND selftest\n";
    server.put("/menu", Answer::ok(menu));
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    let text = qemu.console().text();
    // 0 to 600 bytes and six larger sizes, from 16 alignments, and copies to 16.
    let right = format!(
        "payload: copies {} right, sums {} right\n",
        607 * 16 * 16,
        607 * 16
    );
    assert!(text.contains(&right), "{text}");
}
