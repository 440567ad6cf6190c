//! The models' state in a file and back: a machine that is stopped in mid-download goes on in another QEMU, and the servers
//! on the wire do not notice.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use qemu::{Board, Entry, Machine, Net, Qemu};
use tests::payload::body;
use tests::{Reply, Wire};

use crate::servers::serve;
use crate::{HELLO, INITRD, PATIENCE, RELEASE, Scratch, ends, machine, tiny_payload};

/// Many seconds of an emulator's download, so that three stops fall into it.
const BYTES: usize = 24 << 20;

/// How much has left the servers at each stop.
const STOPS: [usize; 3] = [2 << 20, 8 << 20, 16 << 20];

/// Runs `machine` until so many bytes have been sent, three times, and goes on in another QEMU with what is in the file;
/// the one that says how long the initrd was and its CRC-32, and what the ones before it said.
fn moved(machine: &Machine, sent: &AtomicUsize) -> Result<(Qemu, Vec<String>, String)> {
    let mut qemu = machine.clone().start()?;
    let mut said = String::new();
    for stop in STOPS {
        let deadline = Instant::now() + PATIENCE;
        while sent.load(Ordering::Relaxed) < stop {
            ensure!(Instant::now() < deadline, "{}", qemu.console().text());
            thread::sleep(Duration::from_millis(2));
        }
        let state = Scratch::file("state", b"");
        let mut monitor = qemu.monitor()?;
        monitor.stop()?;
        monitor.save(&state.0, PATIENCE)?;
        monitor.quit()?;
        qemu.wait(PATIENCE)?;
        said += &qemu.console().text();
        let next = machine.clone().argument("-incoming");
        qemu = next.argument(format!("file:{}", state.0.display())).start()?;
        let mut monitor = qemu.monitor()?;
        monitor.moved(PATIENCE)?;
        monitor.go_on()?;
    }
    let sum = qemu.console().expect(INITRD, PATIENCE)?;
    Ok((qemu, sum.groups, said))
}

fn goes_on_in_another_qemu(board: Board) {
    let payload = fs::read(tiny_payload().unwrap()).unwrap();
    let blob = body(BYTES, 8);
    let wire = Wire::new().unwrap();
    let (here, qemus) = wire.ends().unwrap();
    let machine = machine(board, RELEASE)
        .unwrap()
        .entry(Entry::At(0x8_0000))
        .other_cores_rest()
        .net(Net::udp(qemus, here));
    let (sent, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let count = |frame: Vec<u8>, put: &mut dyn FnMut(&[u8])| {
        sent.fetch_add(frame.len(), Ordering::Relaxed);
        put(&frame);
    };
    let (mut qemu, sum, said) = thread::scope(|scope| {
        scope.spawn(|| serve(&wire, &payload, Reply::ok(&*blob), count, &stop));
        let moved = moved(&machine, &sent);
        stop.store(true, Ordering::Relaxed);
        moved.unwrap()
    });
    assert_eq!(
        sum,
        [BYTES.to_string(), format!("{:08x}", crc32fast::hash(&blob))]
    );
    let console = qemu.console();
    console.expect(HELLO, PATIENCE).unwrap();
    // None has told of trouble: no restart of a chip, no second request.
    let text = said + &console.text();
    let trouble = [
        "restarting",
        "starting the MAC again",
        "the device is gone",
        "trying again",
    ];
    assert!(!trouble.iter().any(|word| text.contains(word)), "{text}");
    ends(&mut qemu);
}

#[test]
fn of_a_4b() {
    require!(tiny_payload());
    require!(machine(Board::Pi4b, RELEASE));
    goes_on_in_another_qemu(Board::Pi4b);
}

#[test]
fn of_a_3b() {
    require!(tiny_payload());
    require!(machine(Board::Pi3b, RELEASE));
    goes_on_in_another_qemu(Board::Pi3b);
}

#[test]
fn of_a_3b_plus() {
    require!(tiny_payload());
    require!(machine(Board::Pi3bPlus, RELEASE));
    goes_on_in_another_qemu(Board::Pi3bPlus);
}
