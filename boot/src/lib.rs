//! entry → cpu → board → nic ║ lease → menu → fetch → verify → load → handoff ║ jump
//!
#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
// Everything here reads bytes off the wire: no input may end in a panic, and a panic on a node is a reset.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]
// Tests may: clippy.toml cannot say so for this lint as it does for the others.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

extern crate alloc;

#[macro_use]
mod log;

mod backoff;
mod error;
mod event;
mod machine;
mod mdns;
mod memory;
mod settings;
mod terminal;
mod udp;

pub mod fetch;
pub mod lease;
pub mod load;
pub mod menu;
pub mod net;
pub mod ntp;
pub mod ping;
pub mod resolve;
pub mod script;
pub mod url;
pub mod verify;
pub mod vlan;

mod handoff;
mod session;

#[doc(hidden)]
#[cfg(not(feature = "defmt"))]
pub use ::log as log_text;
pub use error::Error;
pub use event::{Boot, Event, Exchange};
pub use handoff::Handoff;
pub use machine::{Board, Clock, Console, Entropy, Mac, Machine, Platform, Uart};
pub use memory::Region;
pub use session::run;
pub use settings::Settings;
