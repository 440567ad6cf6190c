//! A person's keys, a noisy line, and nobody at all.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;

use qemu::http::{Answer, Server};
use qemu::{Board, Firmware, Uart};
use tests::payload::body;

use crate::{HELLO, PATIENCE, RELEASE, boot_file, ends, machine, tiny_payload, tiny_site};

const BOARD: Board = Board::UsbNet3b;

/// A server whose menu has three entries, told apart by their command line, the second one the default.
fn three_entries(head: &str) -> Server {
    let server = Server::start().unwrap();
    let entries: String = ["first", "second", "third"]
        .map(|name| format!("LABEL {name}\n  LINUX payload.img\n  APPEND the {name}\n"))
        .concat();
    server.put("/menu", Answer::ok(format!("DEFAULT second\n{head}\n{entries}")));
    server.put("/payload.img", Answer::file(tiny_payload().unwrap()));
    server
}

/// How many times 4096 bytes a socket holds that nobody reads.
fn capacity() -> usize {
    let (mut near, _far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    (0..).map_while(|_| near.write_all(&[0; 4096]).ok()).count()
}

#[test]
fn noise_neither_stops_nor_changes_an_unattended_boot() {
    let machine = require!(machine(BOARD, RELEASE));
    require!(tiny_payload());
    let server = three_entries("UI menu.c32\nTIMEOUT 30");
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    let mut line = qemu.console().try_clone().unwrap();
    // A full buffer waits for the machine to read; the machine's end ends this.
    let noise = thread::spawn(move || (0..).map_while(|seed| line.send(&body(4096, seed)).ok()).count());
    let console = qemu.console();
    console.expect("^payload: cmdline the second$", PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    // Some of it was read while the menu was up, and that one booted by its countdown.
    assert!(noise.join().unwrap() > capacity());
}

#[test]
fn arrows_and_enter_choose_from_a_menu() {
    let machine = require!(machine(BOARD, RELEASE));
    require!(tiny_payload());
    let server = three_entries("UI menu.c32\nTIMEOUT 6000\nMENU TITLE Three");
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    let console = qemu.console();
    console
        .expect("Arrows and hot keys select, Enter boots", PATIENCE)
        .unwrap();
    console.send(b"\x1b[B").unwrap();
    console.expect("third", PATIENCE).unwrap();
    console.send(b"\r").unwrap();
    console.expect("^payload: cmdline the third$", PATIENCE).unwrap();
    ends(&mut qemu);
}

#[test]
fn a_documented_key_opens_a_hidden_menu_on_the_mini_uart() {
    let machine = require!(machine(BOARD, RELEASE));
    require!(tiny_payload());
    let server = three_entries("UI menu.c32\nMENU HIDDEN\nTIMEOUT 600\nSAY Press m for a menu");
    let firmware = Firmware {
        uart: Uart::Mini,
        ..Firmware::default()
    };
    let mut qemu = machine
        .firmware(firmware)
        .net(boot_file(&server, "/menu"))
        .start()
        .unwrap();
    let console = qemu.console();
    console.expect("Press m for a menu", PATIENCE).unwrap();
    assert!(!console.text().contains("Arrows"), "hidden");
    console.send(b"m").unwrap();
    console
        .expect("Arrows and hot keys select, Enter boots", PATIENCE)
        .unwrap();
    console.send(b"\x1b[A").unwrap();
    console.expect("first", PATIENCE).unwrap();
    console.send(b"\r").unwrap();
    console.expect("^payload: cmdline the first$", PATIENCE).unwrap();
    ends(&mut qemu);
    assert_eq!(
        qemu.uart(Uart::Pl011).text(),
        "",
        "nothing goes to the other UART"
    );
}

#[test]
fn a_board_without_a_serial_line_boots() {
    let machine = require!(machine(BOARD, RELEASE));
    let server = require!(tiny_site());
    let mut qemu = machine
        .no_serial()
        .net(boot_file(&server, "/menu"))
        .start()
        .unwrap();
    // The payload powers off; Bramble would ask again.
    ends(&mut qemu);
    let asked: Vec<String> = server
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert_eq!(asked, ["/menu", "/payload.img"]);
}
