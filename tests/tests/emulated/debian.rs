//! Debian's own kernel and a busybox initrd, fetched through a PXELINUX menu over HTTP, reach user space: what can differ
//! between boots. The main job itself is in `ports.rs`.

use qemu::http::{Answer, Server};
use qemu::{Board, Firmware, Machine, Qemu, Uart};
use tests::payload::gzip;

use crate::{DEBUG, PATIENCE, RELEASE, boot_file, debian, digest, ends, machine};

/// The facts that the initrd's `init` must find.
pub(crate) struct Expected {
    pub(crate) firmware: Firmware,
    pub(crate) cmdline: String,
    pub(crate) initrd: Vec<u8>,
    /// Whether the board has an Ethernet port for its device tree to name.
    pub(crate) ethernet: bool,
    /// What init has to say of what the command line asked of it.
    pub(crate) asked: Vec<String>,
}

/// Starts the machine, waits for user space and compares what it sees with what was served.
pub(crate) fn reaches_user_space(machine: Machine, expected: &Expected) {
    sees_what_was_served(&mut machine.start().unwrap(), expected);
}

/// The same on a machine that has been started.
pub(crate) fn sees_what_was_served(qemu: &mut Qemu, expected: &Expected) {
    let Expected {
        firmware,
        cmdline,
        initrd,
        ethernet,
        asked,
    } = expected;
    let console = qemu.console();
    let mut facts = vec![
        "cpus 4 online 0-3".to_owned(),
        format!("cmdline {}", regex::escape(cmdline)),
        format!("initrd {} bytes sha256 {}", initrd.len(), digest(initrd)),
        format!("serial-number {}", firmware.serial_text()),
    ];
    if *ethernet {
        facts.push(format!("local-mac-address {}", firmware.mac_text()));
    }
    let last = "user space".to_owned();
    for fact in facts.iter().chain(asked).chain([&last]) {
        console.expect(&format!("^hello: {fact}$"), PATIENCE).unwrap();
    }
    // Linux powers off through the watchdog block that we left alone.
    ends(qemu);
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
            asked: vec![],
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
            asked: vec![],
        },
    );
}
