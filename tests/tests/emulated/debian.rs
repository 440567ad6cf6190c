//! Debian's own kernel and a busybox initrd, fetched through a PXELINUX menu over HTTP, reach user space.

use qemu::http::{Answer, Server};
use qemu::{Board, Entry, Firmware, Machine, Uart};
use sha2::{Digest, Sha256};
use tests::payload::gzip;

use crate::{DEBUG, PATIENCE, RELEASE, boot_file, debian, ends, machine};

/// The facts that the initrd's `init` must find.
pub(crate) struct Expected {
    pub(crate) firmware: Firmware,
    pub(crate) cmdline: String,
    pub(crate) initrd: Vec<u8>,
    /// Whether the board has an Ethernet port for its device tree to name.
    pub(crate) ethernet: bool,
}

/// Waits for user space and compares what it sees with what was served.
pub(crate) fn reaches_user_space(machine: Machine, expected: &Expected) {
    let Expected {
        firmware,
        cmdline,
        initrd,
        ethernet,
    } = expected;
    let digest: String = Sha256::digest(initrd)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut qemu = machine.start().unwrap();
    let console = qemu.console();
    let mut facts = vec![
        "cpus 4 online 0-3".to_owned(),
        format!("cmdline {}", regex::escape(cmdline)),
        format!("initrd {} bytes sha256 {digest}", initrd.len()),
        format!("serial-number {}", firmware.serial_text()),
    ];
    if *ethernet {
        facts.push(format!("local-mac-address {}", firmware.mac_text()));
    }
    facts.push("user space".to_owned());
    for fact in facts {
        console.expect(&format!("^hello: {fact}$"), PATIENCE).unwrap();
    }
    // Linux powers off through the watchdog block that we left alone.
    ends(&mut qemu);
}

/// As the Pi firmware starts it: the stub's spin table releases the cores, cmdline.txt describes an SD card.
#[test]
fn through_a_menu_on_a_3b() {
    let payload = require!(debian());
    let machine = require!(machine(Board::UsbNet3b, RELEASE));
    let server = Server::start().unwrap();
    let initrd = payload.initrd(Board::UsbNet3b).unwrap();
    server.put(
        "/boot/pxelinux.cfg/default",
        Answer::ok(
            "DEFAULT menu.c32\nPROMPT 0\nTIMEOUT 10\nONTIMEOUT debian\nMENU TITLE Nodes\n\
             LABEL local\n  MENU LABEL Local disk\n  LOCALBOOT 0\n\
             LABEL debian\n  MENU LABEL ^Debian\n  KERNEL debian/vmlinuz\n  \
             APPEND initrd=/initrd console=ttyAMA0,115200 quiet  retain_initrd \"note=two  blanks\"\n",
        ),
    );
    server.put("/boot/debian/vmlinuz", Answer::file(payload.kernel()));
    server.put("/initrd", Answer::ok(&initrd));
    let firmware = Firmware {
        cmdline: "coherent_pool=1M 8250.nr_uarts=1 console=tty1 root=/dev/mmcblk0p2 init=/bin/false"
            .to_owned(),
        ..Firmware::default()
    };
    let machine = machine
        .entry(Entry::At(0x8_0000))
        .device_tree(payload.device_tree(Board::UsbNet3b).unwrap())
        .firmware(firmware.clone())
        .net(boot_file(&server, "/boot/pxelinux.cfg/default"));
    reaches_user_space(
        machine,
        &Expected {
            firmware,
            // As the menu has it, then what only the firmware can know of the board.
            cmdline: "initrd=/initrd console=ttyAMA0,115200 quiet  retain_initrd \"note=two  blanks\" \
                      coherent_pool=1M 8250.nr_uarts=1"
                .to_owned(),
            initrd,
            ethernet: true,
        },
    );
}

/// The other console, the other profile, the NIC behind a hub, a compressed kernel, two initrds, PXELINUX's variables.
#[test]
fn behind_a_hub_with_a_gzipped_kernel_and_two_initrds() {
    let board = Board::UsbNetHub3b;
    let payload = require!(debian());
    let machine = require!(machine(board, DEBUG));
    let server = Server::start().unwrap();
    let initrd = payload.initrd(board).unwrap();
    // Linux unpacks archives one behind the other, from where the first ends.
    let mut second = qemu::cpio::Archive::new();
    second.file("second", 0o644, b"of two\n");
    let second = second.finish();
    server.put(
        "/menu",
        Answer::ok(
            "LABEL debian\n  LINUX vmlinuz.gz\n  INITRD initrd,second\n  SYSAPPEND 3\n  \
             APPEND console=ttyS1,115200 quiet retain_initrd\n",
        ),
    );
    server.put(
        "/vmlinuz.gz",
        Answer::ok(gzip(&std::fs::read(payload.kernel()).unwrap())).chunked(100_000),
    );
    server.put("/initrd", Answer::redirect(302, "/moved/initrd"));
    server.put("/moved/initrd", Answer::ok(&initrd).until_close());
    server.put("/second", Answer::ok(&second));
    // Each lands on a page of its own; Linux skips the zeros between archives.
    let padding = initrd.len().next_multiple_of(4096) - initrd.len();
    let firmware = Firmware {
        uart: Uart::Mini,
        ..Firmware::default()
    };
    let machine = machine
        .device_tree(payload.device_tree(board).unwrap())
        .firmware(firmware.clone())
        .net(boot_file(&server, "/menu"));
    reaches_user_space(
        machine,
        &Expected {
            cmdline: format!(
                "console=ttyS1,115200 quiet retain_initrd ip=10.0.2.15:10.0.2.2:10.0.2.2:255.255.255.0 BOOTIF=01-{}",
                firmware.mac_text().replace(':', "-")
            ),
            firmware,
            initrd: [initrd, vec![0; padding], second].concat(),
            ethernet: true,
        },
    );
}

#[test]
fn on_a_3a_plus_with_half_the_memory() {
    let board = Board::UsbNet3aPlus;
    let payload = require!(debian());
    let machine = require!(machine(board, RELEASE));
    let server = Server::start().unwrap();
    let initrd = payload.initrd(board).unwrap();
    let cmdline = "console=ttyAMA0,115200 quiet retain_initrd";
    server.put(
        "/menu",
        Answer::ok(format!(
            "LABEL debian\n  LINUX vmlinuz\n  INITRD initrd\n  APPEND {cmdline}\n"
        )),
    );
    server.put(
        "/vmlinuz",
        Answer::ok(gzip(&std::fs::read(payload.kernel()).unwrap())),
    );
    server.put("/initrd", Answer::ok(&initrd));
    let firmware = Firmware::default();
    let machine = machine
        .device_tree(payload.device_tree(board).unwrap())
        .firmware(firmware.clone())
        .net(boot_file(&server, "/menu"));
    reaches_user_space(
        machine,
        &Expected {
            firmware,
            cmdline: cmdline.to_owned(),
            initrd,
            ethernet: false,
        },
    );
}
