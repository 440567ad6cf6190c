//! The drivers, and what else of kernel8.img a workstation can run: no address of the image's own, no entry, no jump.
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

mod bits;
pub mod board;
#[cfg(test)]
mod cache;
pub mod clock;
pub mod console;
pub mod cpu;
pub mod dma;
pub mod ether;
pub mod genet;
pub mod hardware;
pub mod log;
pub mod mailbox;
pub mod nic;
pub mod pm;
pub mod rng;
pub mod soc;
pub mod uart;
pub mod usb;
pub mod usbnet;
