//! What a server does wrong is one line on the console (step, URL, reason), and the next attempt boots what is mended.

use std::fs;

use qemu::Board;
use qemu::http::{Answer, Server};
use tests::payload::{body, gzip};

use crate::{HELLO, PATIENCE, RELEASE, boot_file, ends, machine, tiny_payload};

/// A path, what is wrong with it, and how its line on the console begins and ends.
type Failure = (&'static str, Answer, &'static str, &'static str);

/// Boots through every failure in turn, on one run of the machine, and then what is right.
fn survives(failures: Vec<Failure>) {
    let machine = machine(Board::UsbNet3b, RELEASE).unwrap();
    let server = Server::start().unwrap();
    let mend = || {
        server.put(
            "/menu",
            Answer::ok("LABEL tiny\n  LINUX kernel\n  INITRD initrd\n  APPEND mended\n"),
        );
        server.put("/kernel", Answer::file(tiny_payload().unwrap()));
        server.put("/initrd", Answer::ok(body(9, 2)));
    };
    let mut qemu = None;
    for (number, (path, answer, begin, end)) in failures.into_iter().enumerate() {
        // The node is in its pause, or not even started.
        mend();
        server.put(path, answer);
        let qemu =
            qemu.get_or_insert_with(|| machine.clone().net(boot_file(&server, "/menu")).start().unwrap());
        let url = regex::escape(&server.url(path));
        let next = number + 2;
        let lines = format!("^{begin}{url}{end}\nretry: attempt {next} in [0-9]+ ms$");
        qemu.console().expect(&lines, PATIENCE).unwrap();
    }
    mend();
    let mut qemu = qemu.unwrap();
    let console = qemu.console();
    console.expect("^payload: cmdline mended$", PATIENCE).unwrap();
    console.expect("^payload: initrd 9 bytes at", PATIENCE).unwrap();
    console.expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
}

/// The firmware halts after a reset that asks for partition 63; the emulator ends instead.
#[test]
fn a_script_pings_takes_an_address_of_its_own_and_switches_the_board_off() {
    let machine = require!(machine(Board::UsbNet3b, RELEASE));
    let server = Server::start().unwrap();
    server.put(
        "/menu",
        Answer::ok(
            "#!ipxe\nping --count 1 10.0.2.2 || exit 1\nset net0/ip 10.0.2.77\nset net0/netmask 255.255.255.0\n\
             set net0/gateway 10.0.2.2\nifopen net0\nifstat\nchain night\n",
        ),
    );
    server.put("/night", Answer::ok("#!ipxe\necho good night\npoweroff\n"));
    let firmware = qemu::Firmware {
        cmdline: "bramble.poweroff=1".to_owned(),
        ..qemu::Firmware::default()
    };
    let machine = machine.firmware(firmware).net(boot_file(&server, "/menu"));
    let mut qemu = machine.start().unwrap();
    let console = qemu.console();
    console
        .expect("^64 bytes from 10.0.2.2: seq=1$", PATIENCE)
        .unwrap();
    console
        .expect(r"^net0: [0-9a-f:]+ \(open, 10\.0\.2\.77/24\)$", PATIENCE)
        .unwrap();
    console.expect("^good night$", PATIENCE).unwrap();
    console
        .expect("^boot: a script asks for the board to be switched off$", PATIENCE)
        .unwrap();
    ends(&mut qemu);
}

/// A kernel whose PE header, which Linux's has, says that 64 KiB of it are code.
fn linux_like() -> Vec<u8> {
    let mut kernel = tests::payload::image(0x1_1000);
    // Data directories are none; one section, whose bytes are 0x1000 to 0x11000.
    kernel[..2].copy_from_slice(b"MZ");
    kernel[60..64].copy_from_slice(&64_u32.to_le_bytes());
    kernel[64..64 + 24 + 40].fill(0);
    kernel[64..68].copy_from_slice(b"PE\0\0");
    kernel[70] = 1;
    kernel[64 + 24 + 16..][..4].copy_from_slice(&0x1_0000_u32.to_le_bytes());
    kernel[64 + 24 + 20..][..4].copy_from_slice(&0x1000_u32.to_le_bytes());
    kernel
}

#[test]
fn kernels_that_are_none() {
    require!(machine(Board::UsbNet3b, RELEASE));
    require!(tiny_payload());
    let html = "<!DOCTYPE html><html><body>404 but not in the status</body></html>";
    survives(vec![
        (
            "/kernel",
            Answer::status(404, html),
            "fetch: GET ",
            ": 404 Not Found",
        ),
        (
            "/kernel",
            Answer::ok(html),
            "verify: ",
            " is an HTML page, not a kernel",
        ),
        (
            "/kernel",
            Answer::ok(&linux_like()[..30_000]),
            "load: kernel ",
            ": truncated kernel: 30000 of at least 69632 bytes",
        ),
        (
            "/kernel",
            Answer::ok(body(300_000, 1)).truncate(200_000),
            "fetch: GET ",
            ": truncated after 200000 of 300000 bytes",
        ),
    ]);
}

#[test]
fn what_is_corrupt_or_too_large() {
    require!(machine(Board::UsbNet3b, RELEASE));
    let payload = fs::read(require!(tiny_payload())).unwrap();
    let packed = gzip(&payload);
    let trailer = packed.len() as u64 - 8;
    survives(vec![
        (
            "/kernel",
            Answer::ok(&packed).corrupt(trailer),
            "load: kernel ",
            ": gzip file is corrupt: the CRC-32 differs",
        ),
        (
            "/initrd",
            Answer::zeros(2 << 30),
            // Known before the first byte of anything is fetched.
            "fetch: HEAD ",
            ": 2147483648 bytes do not fit into the [0-9]+ bytes free for it",
        ),
        (
            "/menu",
            Answer::ok("# a menu of comments\n".repeat(50_000)),
            "menu: fetch: GET ",
            ": 1050000 bytes do not fit into the 1048576 bytes free for it; nothing else is booted in its stead",
        ),
    ]);
}
