//! The `defmt` build's UART, decoded by the command that the guide names.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use qemu::Board;
use qemu::http::{Answer, Server};

use crate::{HELLO, PATIENCE, boot_file, ends, machine, tiny_payload, tiny_site};

/// `defmt-print`, from the PATH or where `cargo xtask setup` installs it.
fn defmt_print() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([qemu::payload::cache()?.join("bin")])
        .map(|directory| directory.join("defmt-print"))
        .find(|program| program.is_file())
        .context("no defmt-print (cargo xtask setup installs it)")
}

/// What the command makes of what the UART sent.
fn decoded(program: &Path, elf: &Path, sent: &[u8]) -> String {
    let file = std::env::temp_dir().join(format!("bramble-{}-uart-{}.bin", std::process::id(), sent.len()));
    fs::write(&file, sent).unwrap();
    // defmt-print -e target/kernel8-defmt.elf < uart.bin
    let output = Command::new(program)
        .arg("-e")
        .arg(elf)
        .stdin(File::open(&file).unwrap())
        .output();
    fs::remove_file(&file).unwrap();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

#[test]
fn the_documented_command_decodes_the_same_lines() {
    let machine = require!(machine(Board::UsbNet3b, "kernel8-defmt.img"));
    let elf = require!(qemu::image("kernel8-defmt.elf"));
    let server = require!(tiny_site());
    let program = require!(defmt_print());
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    let sent = qemu.console().bytes();
    let raw = String::from_utf8_lossy(&sent).into_owned();
    assert!(
        !raw.contains("lease: "),
        "fixed texts stay in the ELF file: {raw}"
    );
    let text = decoded(&program, &elf, &sent);
    let mut rest = &*text;
    for line in [
        "bramble: 0.1.0 loaded at 0x",
        "lease: 10.0.2.2 offers 10.0.2.15",
        "lease: 10.0.2.15/24 from 10.0.2.2",
        &format!("menu: 1 entries from {}", server.url("/menu")),
        &format!("menu: booting {} one two", server.url("/payload.img")),
        "handoff: heap peak ",
        "handoff: kernel at 0x",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("no {line:?} in {text}"));
        rest = &rest[at..];
    }
}

#[test]
fn what_strangers_write_gives_no_orders_and_tells_no_secrets_in_frames() {
    let machine = require!(machine(Board::UsbNet3b, "kernel8-defmt.img"));
    let elf = require!(qemu::image("kernel8-defmt.elf"));
    let program = require!(defmt_print());
    let server = Server::start().unwrap();
    server.put("/payload.img", Answer::file(require!(tiny_payload())));
    let script = "#!ipxe\nset my-token S3CRET\n\
        foo \x1b[2J \u{9b}31m ${my-token} http:/u:S3CRET@h/ ||\n\
        chain http://u:S3CRET@bad_host!/\x1b]52;c;x\x07 ||\n\
        kernel payload.img token=S3CRET \x1b[2J\nboot\n";
    server.put("/menu", Answer::ok(script));
    let mut qemu = machine.net(boot_file(&server, "/menu")).start().unwrap();
    qemu.console().expect(HELLO, PATIENCE).unwrap();
    ends(&mut qemu);
    let sent = qemu.console().bytes();
    let text = decoded(&program, &elf, &sent);
    for line in [
        "line 3: foo ?[2J ?31m *** http:/***@h/: command not found",
        "line 4: chain http://***@bad_host!/?]52;c;x?",
        "script: booting ",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert!(!text.contains("S3CRET"), "{text}");
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(control), "{text:?}");
}
