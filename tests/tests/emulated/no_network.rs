//! A board without a network interface says why, leaves time to read it, and starts over.

use qemu::Board;

use crate::{PATIENCE, RELEASE, ends, machine};

#[test]
fn nothing_on_usb_is_said_and_resets() {
    let machine = require!(machine(Board::UsbNet3b, RELEASE));
    let mut qemu = machine.no_nic().start().unwrap();
    qemu.console()
        .expect(
            "^nic: USB: nothing is connected\nboot: resetting in 30 s$",
            PATIENCE,
        )
        .unwrap();
    ends(&mut qemu);
}

#[test]
fn a_pi_4_names_what_it_lacks() {
    let machine = require!(machine(Board::Pi4b, RELEASE));
    let mut qemu = machine.start().unwrap();
    let console = qemu.console();
    console.expect("^board: Raspberry Pi 4", PATIENCE).unwrap();
    console
        .expect("^nic: .*GENET.*\nboot: resetting in 30 s$", PATIENCE)
        .unwrap();
}
