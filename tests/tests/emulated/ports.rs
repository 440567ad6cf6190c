//! The main job on every board's own network port: Debian through a menu over HTTP, and Linux's own driver takes the NIC
//! over.

use qemu::http::{Answer, Server};
use qemu::{Board, Entry, Firmware, Machine, capture};
use tests::payload::body;

use crate::debian::{Expected, reaches_user_space};
use crate::{
    HELLO, PATIENCE, RELEASE, Scratch, boot_file, debian, digest, ends, guest_errors, logging, machine,
    tiny_site,
};

/// The port of DHCP servers.
const DHCP_SERVER: u16 = 67;

/// The client's hardware address in a DHCP message.
const CHADDR: std::ops::Range<usize> = 28..34;

/// What Linux downloads from user space where USB or GENET is fast.
const BYTES: usize = 8 << 20;

/// As the Pi firmware starts it: the stub's spin table releases the cores, cmdline.txt describes an SD card. From user space
/// Linux then asks for a lease and downloads so many bytes itself, unless there are to be none.
fn main_job(machine: Machine, board: Board, bytes: usize) {
    let payload = debian().unwrap();
    let server = Server::start().unwrap();
    let initrd = payload.initrd(board).unwrap();
    let blob = body(bytes, 4);
    let (get, asked) = if bytes > 0 {
        (
            format!(" bramble.get={}", server.url("/blob")),
            vec![
                "carrier 1".to_owned(),
                "lease 10.0.2.15".to_owned(),
                format!("get {bytes} bytes sha256 {}", digest(&blob)),
            ],
        )
    } else {
        (String::new(), vec![])
    };
    // A discovery and a request of Bramble's, and as many of Linux's.
    let packets = if bytes > 0 { 4 } else { 2 };
    server.put(
        "/boot/pxelinux.cfg/default",
        Answer::ok(format!(
            "DEFAULT menu.c32\nPROMPT 0\nTIMEOUT 10\nONTIMEOUT debian\nMENU TITLE Nodes\n\
             LABEL local\n  MENU LABEL Local disk\n  LOCALBOOT 0\n\
             LABEL debian\n  MENU LABEL ^Debian\n  KERNEL debian/vmlinuz\n  \
             APPEND initrd=/initrd console=ttyAMA0,115200 quiet  retain_initrd \"note=two  blanks\"{get}\n"
        )),
    );
    server.put("/boot/debian/vmlinuz", Answer::file(payload.kernel()));
    server.put("/initrd", Answer::ok(&initrd));
    server.put("/blob", Answer::ok(&blob));
    let firmware = Firmware {
        cmdline: "coherent_pool=1M 8250.nr_uarts=1 console=tty1 root=/dev/mmcblk0p2 init=/bin/false"
            .to_owned(),
        ..Firmware::default()
    };
    let pcap = Scratch::file("pcap", b"");
    let log = Scratch::file("log", b"");
    let machine = logging(machine, &log)
        .entry(Entry::At(0x8_0000))
        .device_tree(payload.device_tree(board).unwrap())
        .firmware(firmware.clone())
        .net(boot_file(&server, "/boot/pxelinux.cfg/default"))
        .capture(&pcap.0);
    let mac = firmware.mac;
    reaches_user_space(
        machine,
        &Expected {
            firmware,
            // As the menu has it, then what only the firmware can know of the board.
            cmdline: format!(
                "initrd=/initrd console=ttyAMA0,115200 quiet  retain_initrd \"note=two  blanks\"{get} \
                 coherent_pool=1M 8250.nr_uarts=1"
            ),
            initrd,
            ethernet: true,
            asked,
        },
    );
    // Neither by Bramble nor by Linux.
    assert_eq!(guest_errors(&log), [""; 0]);
    let frames = capture::frames(&pcap.0).unwrap();
    let clients: Vec<&[u8]> = frames
        .iter()
        .filter_map(|frame| frame.udp_to(DHCP_SERVER)?.get(CHADDR))
        .collect();
    assert!(clients.len() >= packets, "{clients:02x?}");
    assert!(
        clients.iter().all(|client| *client == mac),
        "{mac:02x?} in {clients:02x?}"
    );
}

/// GENET as the firmware's own netboot leaves it.
#[test]
fn of_a_4b() {
    require!(debian());
    let board = Board::Pi4b;
    let machine = require!(machine(board, RELEASE));
    main_job(machine.nic_option("start", "start4"), board, BYTES);
}

#[test]
fn of_a_3b() {
    require!(debian());
    let board = Board::Pi3b;
    let machine = require!(machine(board, RELEASE));
    main_job(machine, board, BYTES);
}

#[test]
fn of_a_3b_plus() {
    require!(debian());
    let board = Board::Pi3bPlus;
    let machine = require!(machine(board, RELEASE));
    main_job(machine, board, BYTES);
}

#[test]
fn of_a_3b_with_usb_net() {
    require!(debian());
    let board = Board::UsbNet3b;
    let machine = require!(machine(board, RELEASE));
    main_job(machine, board, 0);
}

/// What a person types to try an image on our emulator: no more than `-nic user` plugs into GENET.
#[test]
fn of_a_4b_with_a_plain_user_network() {
    let site = require!(tiny_site());
    let machine = require!(machine(Board::Pi4b, RELEASE));
    let nic = format!("user,bootfile={}", site.url("/menu"));
    let mut qemu = machine.no_nic().argument("-nic").argument(nic).start().unwrap();
    let console = qemu.console();
    console.expect("^nic: GENET v5, ", PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
}

/// A QEMU release forgets that a device is connected when the port is reset, and does not detect it anew when the core is, so
/// Linux finds nothing there after anybody else; ours does as the chip. In 64-byte packets, Linux needs seconds for a megabyte.
#[test]
fn of_a_3b_with_usb_net_and_linux_on_it_afterwards() {
    require!(debian());
    // Any board of our emulator tells whether that is there.
    require!(machine(Board::Pi3b, RELEASE));
    let board = Board::UsbNet3b;
    let machine = require!(machine(board, RELEASE));
    main_job(machine.with_models(), board, 300_001);
}
