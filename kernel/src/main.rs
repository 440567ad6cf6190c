//! entry → cpu → board → nic ║ lease → menu → fetch → verify → load → handoff ║ jump
//!
//! kernel8.img: the two ends of that line, where addresses are. `entry` moves the image to the top of memory and
//! turns the MMU on; `board` learns where it is; `nic` brings up a network interface; `boot` does the middle;
//! `handoff` jumps. On a workstation this is a program that only says so, and a place to test the drivers.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(
    not(target_os = "none"),
    allow(dead_code, reason = "on a workstation only the tests use the drivers")
)]

extern crate alloc;

#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod exceptions;
#[cfg(target_os = "none")]
mod handoff;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod start;

mod board;
mod clock;
mod console;
mod cpu;
mod dma;
mod genet;
mod log;
mod mailbox;
mod nic;
mod pm;
mod rng;
mod soc;
mod uart;
mod usb;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "Bramble runs on a Raspberry Pi: build it with `cargo xtask image`, try it with `cargo xtask boot`."
    );
    std::process::exit(2);
}
