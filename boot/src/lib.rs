//! entry → cpu → board → nic ║ lease → find → plan → fetch → verify → load → handoff ║ jump
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

// The ground, and what every step needs.
pub mod board;
mod bootargs;
mod hal;
pub mod heap;
mod memory;
pub mod patience;
mod random;
mod settings;
mod terminal;
mod text;
pub mod url;
pub mod work;

// The network.
mod dns;
mod mdns;
pub mod net;
pub mod ntp;
pub mod ping;
pub mod resolve;
mod udp;
pub mod vlan;

// The line, in its order: find reads menus and scripts; a menu's plan is gathered, a script gathers by itself, and from load on there is
// one road.
pub mod lease;

mod find;

pub mod menu;

pub mod script;

pub mod plan;

pub mod fetch;

pub mod verify;

pub mod load;

mod handoff;

// A plan's way along it.
mod gather;

// What goes through it.
mod backoff;
mod ending;
mod error;
mod machine;
mod node;
pub mod observe;
mod policy;
mod session;

#[doc(hidden)]
#[cfg(not(feature = "defmt"))]
pub use ::log as log_text;
pub use ending::{Cause, Ending};
pub use error::Error;
pub use find::handed_over;
pub use hal::{Board, Clock, Console, Entropy, HandedOver, HandoverError, Mac, Platform, Uart};
pub use handoff::Handoff;
pub use machine::Machine;
pub use memory::{Address, Region};
pub use policy::{WatchdogFound, WatchdogLeft, at_the_jump};
pub use random::Seeds;
pub use session::run;
pub use settings::{Local, Settings, Watchdog};
#[doc(hidden)]
pub use text::{Clean, masked};

#[doc(hidden)]
#[cfg(fuzzing)]
pub use {bootargs::merged as merge, terminal::keys::pressed as keys};
