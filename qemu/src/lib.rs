//! The emulated machines: starts QEMU on an image, feeds it a network, reads its console.
//!
#![doc = include_str!("../README.md")]

mod board;
mod bus;
pub mod capture;
mod coherence;
pub mod console;
pub mod cpio;
mod debugger;
pub mod emulator;
pub mod firmware;
pub mod http;
pub mod ipxe;
mod machine;
mod monitor;
pub mod payload;
pub mod profile;
pub mod recipe;
pub mod segment;
mod stub;
pub mod syslinux;
mod u_boot;

pub use board::Board;
pub use bus::Bus;
pub use coherence::{Coherence, Finding};
pub use console::Console;
pub use debugger::{Debugger, Register};
pub use firmware::{Cable, Card, Firmware, Left, Stage, Uart};
pub use machine::{Entry, Machine, Net, Qemu};
pub use monitor::Monitor;
pub use payload::Payload;
pub use u_boot::UBoot;

/// The firmware image of this file name that `cargo xtask image` or `cargo xtask test` left: `kernel8.img` (release),
/// `kernel8-debug.img`, `kernel8-defmt.img`; with `.elf` the ELF file that it came from.
///
/// # Errors
///
/// When there is none; the message says what to do, and serves as a reason to skip.
pub fn image(name: &str) -> anyhow::Result<std::path::PathBuf> {
    use anyhow::Context;
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = package.with_file_name("target").join(name);
    std::fs::metadata(&path).with_context(|| format!("{} (cargo xtask image builds it)", path.display()))?;
    Ok(path)
}

/// Says on standard output that the test `name` did not run, and why. `cargo xtask test` collects these lines and
/// counts the test as skipped, not as passed; the test then returns.
pub fn skip(name: &str, reason: impl std::fmt::Display) {
    println!("skipped: {name}: {reason}");
}
