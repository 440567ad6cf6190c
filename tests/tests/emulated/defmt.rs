//! The `defmt` build's UART, decoded by the command that the guide names.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use qemu::Board;

use crate::{HELLO, PATIENCE, boot_file, ends, machine, tiny_site};

/// `defmt-print`, from the PATH or where `cargo xtask setup` installs it.
fn defmt_print() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([qemu::payload::cache()?.join("bin")])
        .map(|directory| directory.join("defmt-print"))
        .find(|program| program.is_file())
        .context("no defmt-print (cargo xtask setup installs it)")
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
    let file = std::env::temp_dir().join(format!("bramble-{}-uart.bin", std::process::id()));
    fs::write(&file, &sent).unwrap();
    // defmt-print -e target/kernel8-defmt.elf < uart.bin
    let output = Command::new(program)
        .arg("-e")
        .arg(elf)
        .stdin(File::open(&file).unwrap())
        .output();
    fs::remove_file(&file).unwrap();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
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
