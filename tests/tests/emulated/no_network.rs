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
