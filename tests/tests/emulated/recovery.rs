//! A node that comes back, through the Pi's firmware: from a server's "not you" to the disk, and from there to Bramble again. What the guide
//! says of cards is what these have.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use qemu::cpio::Archive;
use qemu::firmware::card;
use qemu::http::{Answer, Server};
use qemu::payload::labelled_tree;
use qemu::{Board, Firmware, Left, Qemu, Stage};

use crate::first_stage::copied;
use crate::{HELLO, PATIENCE, RELEASE, Scratch, boot_file, debian, machine, tiny_payload};

const PAGE: &str = include_str!("../../../docs/src/recovery.md");

/// RSTS, from the peripherals' first address; the bits of a tryboot and of a partition.
const RSTS: u64 = 0x10_0020;
const TRYBOOT: u32 = 2;
const PARTITION: u32 = 0x555;

fn recipe(n: usize) -> Vec<u8> {
    qemu::recipe::recipe(PAGE, "Two partitions", n)
        .unwrap()
        .into_bytes()
}

/// The files with these in place of others of their names.
fn with(mut files: Vec<(String, Vec<u8>)>, others: Vec<(&str, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    files.retain(|(name, _)| others.iter().all(|(other, _)| other != name));
    files.extend(others.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)));
    files
}

/// Debian's boot partition: its kernel, and the demo's initrd, by the firmware's own way.
fn system(board: Board) -> Vec<(String, Vec<u8>)> {
    let payload = debian().unwrap();
    let config = "arm_64bit=1\nenable_uart=1\ndtoverlay=disable-bt\ninitramfs initrd followkernel\n";
    with(
        copied(board),
        vec![
            ("config.txt", config.into()),
            ("cmdline.txt", b"console=ttyAMA0,115200 quiet the-disk".to_vec()),
            ("kernel8.img", fs::read(payload.kernel()).unwrap()),
            ("initrd", payload.initrd(board).unwrap()),
        ],
    )
}

fn needs(board: Board) -> Result<()> {
    machine(board, RELEASE)?;
    labelled_tree(board)?;
    debian()?;
    Ok(())
}

/// Runs what the firmware has left until the machine ends: RSTS as the next firmware finds it.
fn until_the_end(qemu: &mut Qemu, board: Board, patience: Duration) -> u32 {
    let deadline = Instant::now() + patience;
    while !qemu.monitor().unwrap().has_ended().unwrap() {
        assert!(Instant::now() < deadline, "it goes on");
        thread::sleep(Duration::from_millis(100));
    }
    qemu.monitor().unwrap().word(board.peripherals() + RSTS).unwrap()
}

/// A node with this card, after a reset that left this in RSTS.
fn firmware(board: Board, image: &Path, rsts: u32) -> Left {
    let left = Stage::new(board, Firmware::default())
        .after(rsts)
        .from_card(image)
        .unwrap();
    assert_eq!(left.said, [""; 0]);
    left
}

/// Two partitions, as the guide has them: "not you" leads to the system on the second, whose end leads back.
fn not_you_leads_to_the_disk_and_back(board: Board, script: &str) {
    let scratch = Scratch::directory(&format!("recovery-{}", board.name()));
    let image = scratch.0.join("card.img");
    let bramble = with(
        copied(board),
        vec![("autoboot.txt", recipe(0)), ("cmdline.txt", recipe(1))],
    );
    card::make_two(&image, [&bramble, &system(board)]).unwrap();
    let server = Server::start().unwrap();
    server.put("/menu", Answer::ok(script));

    let machine = firmware(board, &image, 0x1000).machine(&scratch.0).unwrap();
    let machine = machine.held_at_its_end().net(boot_file(&server, "/menu"));
    let mut qemu = machine.start().unwrap();
    qemu.console()
        .expect(
            r"^local: .*; booting the board's own disk \(tryboot\) in 60 s",
            PATIENCE,
        )
        .unwrap();
    let rsts = until_the_end(&mut qemu, board, Duration::from_secs(120));
    assert_eq!(rsts & (TRYBOOT | PARTITION), TRYBOOT, "{rsts:#x}");
    drop(qemu);

    let left = firmware(board, &image, rsts);
    let machine = left.machine(&scratch.0).unwrap().held_at_its_end();
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console().expect("^hello: user space", PATIENCE).unwrap();
    let rsts = until_the_end(&mut qemu, board, Duration::from_secs(60));
    drop(qemu);

    // Power, a reboot and a watchdog's bite alike: nobody asked for a tryboot again.
    for rsts in [0x1000, 0x20, rsts & !PARTITION & !TRYBOOT] {
        let left = firmware(board, &image, rsts);
        let machine = left.machine(&scratch.0).unwrap();
        let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
        qemu.console()
            .expect("^bramble: .* loaded at ", PATIENCE)
            .unwrap();
    }
}

#[test]
fn not_you_leads_a_pi_4_to_its_disk_and_back() {
    require!(needs(Board::Pi4b));
    not_you_leads_to_the_disk_and_back(Board::Pi4b, "#!ipxe\nexit 1\n");
}

#[test]
fn not_you_leads_a_pi_3_to_its_disk_and_back() {
    require!(needs(Board::Pi3b));
    not_you_leads_to_the_disk_and_back(Board::Pi3b, "DEFAULT local\nLABEL local\nLOCALBOOT 0\n");
}

/// One that came over the network would come so again: it says so at once, and stays.
#[test]
fn a_board_that_came_over_the_network_is_not_sent_to_a_disk() {
    let board = Board::Pi4b;
    require!(needs(board));
    let scratch = Scratch::directory("recovery-network");
    let image = scratch.0.join("card.img");
    let files = with(copied(board), vec![("cmdline.txt", recipe(1))]);
    card::make_two(&image, [&files, &files]).unwrap();
    let mut left = firmware(board, &image, 0);
    left.firmware.boot_mode = 2;
    let server = Server::start().unwrap();
    server.put("/menu", Answer::ok("#!ipxe\nexit\n"));
    let machine = left.machine(&scratch.0).unwrap().net(boot_file(&server, "/menu"));
    let mut qemu = machine.start().unwrap();
    let console = qemu.console();
    console
        .expect(
            "^settings: bramble.local does not work for a board that came over the network",
            PATIENCE,
        )
        .unwrap();
    console
        .expect(
            "^script: .* ended without booting anything, and bramble.local does not say",
            PATIENCE,
        )
        .unwrap();
    console.expect("^retry: attempt 2 in ", PATIENCE).unwrap();
}

/// A newer Bramble as the kernel of an entry: it finds its way from its command line, or from an archive that is its initrd.
fn chains(board: Board, way: &str) {
    let machine = require!(machine(board, RELEASE));
    let payload = require!(tiny_payload());
    let server = Server::start().unwrap();
    let way = way.replace("URL", &server.url(""));
    let first = format!("LABEL bramble\n  LINUX kernel8.img\n  {way}\n");
    server.put("/menu", Answer::ok(first));
    server.put("/kernel8.img", Answer::file(qemu::image(RELEASE).unwrap()));
    let script = format!(
        "#!ipxe\nkernel {} from the second\nboot\n",
        server.url("/payload")
    );
    let mut archive = Archive::new();
    archive.file("autoexec.ipxe", 0o644, script.as_bytes());
    server.put("/archive", Answer::ok(archive.finish()));
    server.put("/second", Answer::ok(script));
    server.put("/payload", Answer::file(payload));
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    let console = qemu.console();
    for line in [
        "^bramble: .* loaded at ",
        "^handoff: kernel at 0x",
        "^bramble: .* loaded at ",
        "^menu: a script from ",
        "^handoff: kernel at 0x",
        HELLO,
    ] {
        console.expect(line, PATIENCE).unwrap();
    }
    let menus = server
        .requests()
        .iter()
        .filter(|request| request.target == "/menu")
        .count();
    assert_eq!(menus, 1);
}

#[test]
fn bramble_chains_into_bramble_over_each_port() {
    for board in [Board::Pi4b, Board::Pi3b, Board::Pi3bPlus, Board::UsbNet3b] {
        chains(board, "APPEND bramble.url=URL/second");
    }
}

#[test]
fn bramble_hands_bramble_a_menu_as_its_initrd() {
    chains(Board::Pi4b, "INITRD URL/archive");
}
