//! A Pi 3B whose receiver a frame of 4000 bytes wedges (raspberrypi/linux#2660): the driver notices, starts the chip again,
//! and the download goes on.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use qemu::{Board, Entry, Firmware, Net};
use tests::payload::body;
use tests::{Reply, Wire};

use crate::servers::serve;
use crate::{INITRD, PATIENCE, RELEASE, machine, tiny_payload};

/// 2200 full segments.
const BYTES: usize = 3_200_000;

/// The values of the model's `giants`: frames wait in the chip and do not come out; it hears nothing any more.
const STUCK: u32 = 1;
const DEAF: u32 = 2;

/// Boots with a giant behind the server's frames of these numbers; `line` is what the console says of each.
fn boots_in_spite_of(giants: &[usize], what_they_do: u32, line: [&str; 2], patience: Duration) {
    let payload = fs::read(tiny_payload().unwrap()).unwrap();
    let blob = body(BYTES, 9);
    let wire = Wire::new().unwrap();
    let (here, qemus) = wire.ends().unwrap();
    let mut giant = vec![0x55; 4014];
    giant[..6].copy_from_slice(&Firmware::default().mac);
    giant[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 9, 8, 0]);
    let mut sent = 0;
    let send = |frame: Vec<u8>, put: &mut dyn FnMut(&[u8])| {
        put(&frame);
        sent += 1;
        if giants.contains(&sent) {
            put(&giant);
        }
    };
    let mut qemu = machine(Board::Pi3b, RELEASE)
        .unwrap()
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .net(Net::udp(qemus, here))
        .nic_option("giants", what_they_do)
        // The model is asked after the payload has switched off.
        .argument("-no-shutdown")
        .start()
        .unwrap();
    let stop = AtomicBool::new(false);
    let sum = thread::scope(|scope| {
        scope.spawn(|| serve(&wire, &payload, Reply::ok(&*blob), send, &stop));
        let sum = qemu.console().expect(INITRD, patience);
        stop.store(true, Ordering::Relaxed);
        sum.unwrap()
    });
    let crc = format!("{:08x}", crc32fast::hash(&blob));
    assert_eq!(sum.groups, [blob.len().to_string(), crc]);
    let text = qemu.console().text();
    assert!(line.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(qemu.nic_number("wedges").unwrap(), giants.len() as u64, "{text}");
    qemu.monitor().unwrap().quit().unwrap();
}

#[test]
fn a_3b_whose_frames_wait_in_the_chip_goes_on() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, RELEASE));
    let line = [
        "nic: the chip is stuck: frames do not come; ",
        "restarting the interface (failure 1)",
    ];
    boots_in_spite_of(&[300, 900, 1500], STUCK, line, PATIENCE);
}

#[test]
fn a_3b_that_has_gone_deaf_goes_on() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, RELEASE));
    // Counted from the first frame that nobody answered: 8 s at least.
    let line = [
        "nic: nobody has answered for ",
        " s, or the chip is stuck; restarting the interface (failure 1)",
    ];
    boots_in_spite_of(&[300], DEAF, line, 2 * PATIENCE);
}
