//! A USB host controller in the moods that its databook allows: modes and buses that are late, and channels that halt without saying why.

use anyhow::Result;
use qemu::{Board, Machine};

use crate::{DEBUG, HELLO, PATIENCE, Scratch, boot_file, ends, guest_errors, logging, machine, tiny_site};

/// The controller of a 3B.
const DWC2: &str = "/machine/soc/peripherals/dwc2";

/// A 3B whose controller has these properties.
fn with(properties: &[&str]) -> Result<Machine> {
    let machine = machine(Board::Pi3b, DEBUG)?;
    Ok(properties.iter().fold(machine, |machine, property| {
        machine
            .argument("-global")
            .argument(format!("dwc2-usb.{property}"))
    }))
}

/// By its ID pin it is no host, as a 3A+'s may not be; once it is told to be one it takes twice the databook's 25 ms, and whatever it begins
/// keeps its bus busy for 20 ms.
#[test]
fn a_core_that_takes_its_time_to_be_a_host() {
    let site = require!(tiny_site());
    let log = Scratch::file("log", b"");
    let machine = require!(with(&["peripheral-id=on", "mode-ms=50", "idle-us=20000"]));
    let machine = logging(machine, &log).net(boot_file(&site, "/menu"));
    let mut qemu = machine.start().unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    assert_eq!(guest_errors(&log), [""; 0]);
}

/// Of a thousand transfers two do not take place.
#[test]
fn channels_that_halt_without_a_reason() {
    let site = require!(tiny_site());
    let machine = require!(with(&["bare-halts=2000", "fault-seed=1"]));
    // The model is asked after the payload has switched off.
    let machine = machine.net(boot_file(&site, "/menu")).argument("-no-shutdown");
    let mut qemu = machine.start().unwrap();
    let console = qemu.console();
    console.expect(HELLO, PATIENCE).unwrap();
    let mut monitor = qemu.monitor().unwrap();
    let injected = monitor.number(DWC2, "bare-halts-injected").unwrap();
    assert!(injected >= 3, "{injected}");
    monitor.quit().unwrap();
}
