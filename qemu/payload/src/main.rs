//! A tiny arm64 Image that says what a boot loader gave it (Linux `Documentation/arch/arm64/booting.rst`).
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod print;
#[cfg(target_os = "none")]
mod report;
#[cfg(target_os = "none")]
mod selftest;
#[cfg(target_os = "none")]
mod tree;

/// The host builds every package; this one only runs on a board.
#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
core::arch::global_asm!(include_str!("entry.S"));

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
