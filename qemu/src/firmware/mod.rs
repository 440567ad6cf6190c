//! The Raspberry Pi's own firmware, the stage before us: what it reads and from where, and how it leaves memory.
//!
//! Each fact carries its mark: M measured on a board, E traced in real binaries under an emulator of them, DOC the vendor's
//! documentation, D drivers that run on boards, U that nothing shows it.

mod autoboot;
mod cable;
pub mod card;
pub mod config;
mod dhcp;
mod files;
mod host;
pub mod order;
mod overlay;
mod stage;
mod tftp;
mod tree;
mod volume;

pub use cable::Cable;
pub use card::Card;
pub use files::write;
pub use overlay::disable_bt;
pub use stage::{Left, Stage};
pub use tree::{Firmware, Uart};
