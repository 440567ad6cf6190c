//! entry → cpu → board → nic ║ lease → find → plan → fetch → verify → load → handoff ║ jump
//!
//! kernel8.img: the two ends of that line, where addresses are. `entry` moves the image to the top of memory and
//! turns the MMU on; `board` learns where it is; `nic` brings up a network interface; `boot` does the middle;
//! `handoff` jumps. The drivers are the library beside it (`lib.rs`), which a workstation tests; there this is a program
//! that only says so.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod device_tree;
#[cfg(target_os = "none")]
mod entry;
#[cfg(target_os = "none")]
mod exceptions;
#[cfg(target_os = "none")]
mod handoff;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod start;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!(
        "Bramble runs on a Raspberry Pi: build it with `cargo xtask image`, try it with `cargo xtask boot`."
    );
    std::process::exit(2);
}
