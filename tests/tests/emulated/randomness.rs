//! A random number generator that fails its self-tests: started again while it lives, and said when it does not.

use qemu::{Board, Entry};

use crate::{DEBUG, HELLO, PATIENCE, RNG200, boot_file, machine, tiny_payload, tiny_site};

/// Boots the payload with a failure at so many of a million words; what the console said, and how many failures there were.
fn boot(per_million: u32) -> (String, u64) {
    let site = tiny_site().unwrap();
    let mut qemu = machine(Board::Pi4b, DEBUG)
        .unwrap()
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .net(boot_file(&site, "/menu"))
        .argument("-global")
        .argument(format!("iproc-rng200.faults={per_million}"))
        // The model is asked after the payload has switched off.
        .argument("-no-shutdown")
        .start()
        .unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    let mut monitor = qemu.monitor().unwrap();
    let failures = monitor.number(RNG200, "faults-injected").unwrap();
    monitor.quit().unwrap();
    (qemu.console().text(), failures)
}

#[test]
fn a_generator_that_fails_at_times_is_started_again() {
    require!(tiny_payload());
    require!(machine(Board::Pi4b, DEBUG));
    let (text, failures) = boot(200_000);
    // Twenty words and more were drawn.
    assert!(failures >= 3, "{failures}");
    assert!(!text.contains("no entropy"), "{text}");
    assert!(
        text.contains("payload: kaslr-seed 8 bytes, rng-seed 64 bytes\n"),
        "{text}"
    );
}

#[test]
fn one_that_always_fails_is_said_and_linux_gets_no_seeds_from_it() {
    require!(tiny_payload());
    require!(machine(Board::Pi4b, DEBUG));
    let (text, failures) = boot(1_000_000);
    assert!(failures >= 5, "{failures}");
    assert!(text.contains("net: no entropy; "), "{text}");
    assert!(
        text.contains("payload: kaslr-seed 0 bytes, rng-seed 0 bytes\n"),
        "{text}"
    );
}

/// Linux finds it off on boards whose firmware has not started it; it makes nothing for 0.3 s then.
#[test]
fn one_that_the_firmware_left_off_is_waited_for() {
    let site = require!(tiny_site());
    let machine = require!(machine(Board::Pi4b, DEBUG));
    let mut qemu = machine
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .net(boot_file(&site, "/menu"))
        .argument("-global")
        .argument("iproc-rng200.running=off")
        .start()
        .unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    let text = qemu.console().text();
    assert!(!text.contains("no entropy"), "{text}");
    assert!(
        text.contains("payload: kaslr-seed 8 bytes, rng-seed 64 bytes\n"),
        "{text}"
    );
}
