//! The emulated machines: starts QEMU on an image, feeds it a network, reads its console.
//!
//! A test or a command builds a [`Machine`], starts it, and talks to the [`Qemu`] that it gets:
//!
//! ```no_run
//! use std::time::Duration;
//! use qemu::{Board, Machine, Net, http::{Answer, Server}};
//!
//! # fn main() -> anyhow::Result<()> {
//! let server = Server::start()?;
//! server.put("/menu", Answer::ok("DEFAULT linux\nLABEL linux\n  KERNEL /linux\n"));
//! let mut machine = Machine::new(Board::UsbNet3b, "target/kernel8.img")
//!     .net(Net::user().boot_file(server.url("/menu")))
//!     .start()?;
//! machine.console().expect("^fetch: .*/linux", Duration::from_secs(60))?;
//! assert_eq!(server.requests()[0].target, "/menu");
//! # Ok(())
//! # }
//! ```
//!
//! Dropping a [`Qemu`] ends the emulator and removes its files. Nothing here needs root, except a tap device or a
//! network namespace that the caller made.

mod board;
mod bus;
pub mod capture;
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
pub mod syslinux;
mod u_boot;

pub use board::Board;
pub use bus::Bus;
pub use console::Console;
pub use debugger::{Debugger, Register};
pub use firmware::{Firmware, Uart};
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
