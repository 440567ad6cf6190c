//! Debian's own drivers on the models of the boards' NICs, without Bramble: what they accept is what the chips do.

use qemu::http::{Answer, Server};
use qemu::{Board, Firmware, Machine, Payload};
use tests::payload::body;

use crate::{PATIENCE, RNG200, Scratch, debian, digest, ends, guest_errors, logging, on};

/// What Linux downloads and sends back.
const BYTES: usize = 32 << 20;

/// What it downloads when the link is back.
const AGAIN: usize = 1 << 20;

/// Linux started by QEMU itself, with what its init is to do.
fn linux(board: Board, payload: &Payload, initrd: &Scratch, words: &str) -> Machine {
    let firmware = Firmware {
        cmdline: format!("console=ttyAMA0,115200 quiet {words}"),
        ..Firmware::default()
    };
    Machine::new(board, payload.kernel())
        .device_tree(payload.device_tree(board).unwrap())
        .firmware(firmware)
        .initrd(&initrd.0)
}

/// DHCP, a download, an upload, the cable out and in again, another download; `link` is what the driver says of itself
/// and of its PHY.
fn drives_its_nic(board: Board, payload: &Payload, link: &str) {
    let initrd = Scratch::file("initrd", &payload.initrd(board).unwrap());
    let server = Server::start().unwrap();
    let blob = body(BYTES, 1);
    let again = body(AGAIN, 2);
    server.put("/blob", Answer::ok(&blob));
    server.put("/again", Answer::ok(&again));
    server.put("/up", Answer::ok("thanks"));
    let words = format!(
        "bramble.get={} bramble.put={} bramble.carrier=0 bramble.carrier=1 bramble.get={}",
        server.url("/blob"),
        server.url("/up"),
        server.url("/again"),
    );
    let log = Scratch::file("log", b"");
    let machine = logging(linux(board, payload, &initrd, &words), &log);
    let mut qemu = machine.start().unwrap();
    let mut cable = qemu.monitor().unwrap();
    let console = qemu.console();
    for fact in [
        "carrier 1".to_owned(),
        link.replace("MAC", &Firmware::default().mac_text()),
        "lease 10.0.2.15".to_owned(),
        format!("get {BYTES} bytes sha256 {}", digest(&blob)),
        format!("put {BYTES} bytes: HTTP/1.1 200 OK"),
    ] {
        console.expect(&format!("^hello: {fact}$"), PATIENCE).unwrap();
    }
    let requests = server.requests();
    let uploaded = requests.iter().find(|request| request.target == "/up").unwrap();
    // As a digest: a failure need not print 32 MiB.
    assert_eq!(digest(&uploaded.body), digest(&blob));
    cable.set_link(false).unwrap();
    console.expect("^hello: carrier 0$", PATIENCE).unwrap();
    cable.set_link(true).unwrap();
    console.expect("^hello: carrier 1$", PATIENCE).unwrap();
    let fact = format!("get {AGAIN} bytes sha256 {}", digest(&again));
    console.expect(&format!("^hello: {fact}$"), PATIENCE).unwrap();
    console.expect("^hello: user space$", PATIENCE).unwrap();
    ends(&mut qemu);
    assert_eq!(guest_errors(&log), [""; 0]);
}

#[test]
fn bcmgenet_drives_the_4b() {
    let payload = require!(debian());
    require!(on(Board::Pi4b, payload.kernel()));
    drives_its_nic(
        Board::Pi4b,
        &payload,
        "nic bcmgenet MAC phy Broadcom BCM54210E at 1000 full",
    );
}

/// Registers as start4.elf leaves them, rings that a boot loader left running, and neither known to anybody: who finds a state hopeless on
/// the model would find it so on the chip, where this driver works.
#[test]
fn bcmgenet_starts_from_whatever_it_finds() {
    let payload = require!(debian());
    let board = Board::Pi4b;
    require!(on(board, payload.kernel()));
    let initrd = Scratch::file("initrd", &payload.initrd(board).unwrap());
    let server = Server::start().unwrap();
    let blob = body(AGAIN, 2);
    server.put("/blob", Answer::ok(&blob));
    let words = format!("bramble.get={}", server.url("/blob"));
    std::thread::scope(|scope| {
        for state in ["start4", "bootloader", "dirty"] {
            let machine = linux(board, &payload, &initrd, &words).nic_option("start", state);
            let blob = &blob;
            scope.spawn(move || {
                let mut qemu = machine.start().unwrap();
                let console = qemu.console();
                let got = format!("^hello: get {AGAIN} bytes sha256 {}$", digest(blob));
                let seen = console.expect(&got, 2 * PATIENCE);
                assert!(seen.is_ok(), "from {state}: {}", console.text());
                ends(&mut qemu);
            });
        }
    });
}

#[test]
fn smsc95xx_drives_the_3b() {
    let payload = require!(debian());
    require!(on(Board::Pi3b, payload.kernel()));
    drives_its_nic(
        Board::Pi3b,
        &payload,
        "nic smsc95xx MAC phy SMSC LAN8700 at 100 full",
    );
}

#[test]
fn lan78xx_drives_the_3b_plus() {
    let payload = require!(debian());
    require!(on(Board::Pi3bPlus, payload.kernel()));
    drives_its_nic(
        Board::Pi3bPlus,
        &payload,
        "nic lan78xx MAC phy Microchip LAN88xx at 1000 full",
    );
}

/// Of the RNG200's words one of a hundred fails its self-test, after which the driver has to start it again.
#[test]
fn iproc_rng200_draws_from_the_4b_s_generator() {
    let payload = require!(debian());
    let board = Board::Pi4b;
    require!(on(board, payload.kernel()));
    let initrd = Scratch::file("initrd", &payload.initrd(board).unwrap());
    let mut qemu = linux(board, &payload, &initrd, "bramble.random=4096")
        .argument("-global")
        .argument("iproc-rng200.faults=10000")
        // The model is asked after Linux has switched off.
        .argument("-no-shutdown")
        .start()
        .unwrap();
    let console = qemu.console();
    let drawn = console
        .expect(
            "^hello: random (.*) bytes from (.*) have ([0-9]+) values$",
            PATIENCE,
        )
        .unwrap();
    assert_eq!(drawn.groups, ["4096", "iproc-rng200", "256"]);
    console.expect("^hello: user space$", PATIENCE).unwrap();
    let mut monitor = qemu.monitor().unwrap();
    assert!(monitor.number(RNG200, "faults-injected").unwrap() > 0);
    monitor.quit().unwrap();
}
