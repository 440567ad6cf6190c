//! Sessions in virtual time: a simulated LAN, its servers, and a machine on it; the same servers on a wire to QEMU.
//!
#![doc = include_str!("../README.md")]

mod account;
pub mod cases;
pub mod checkout;
mod dhcp;
mod dns;
pub mod heap;
mod http;
mod lan;
mod mdns;
pub mod menus;
mod mutation;
mod node;
mod ntp;
pub mod payload;
mod random;
pub mod seeds;
pub mod site;
mod station;
pub mod stranger;
pub mod syslinux;
mod tftp;
mod trace;
mod wire;

pub use account::{as_boot, in_boot};
pub use dhcp::{Dhcp, Message, Overload, Proxy};
pub use dns::{Answer, Dns};
pub use http::{Http, Reply, Request};
pub use lan::{Between, Frame, GivenUp, Host, Lan, Link, Nic};
pub use mdns::{Mdns, Spoil};
pub use mutation::Mutation;
pub use node::{MAC, Node, SERIAL, leased};
pub use ntp::Ntp;
pub use random::Random;
pub use site::Site;
pub use station::{Datagram, Service, Station};
pub use stranger::Stranger;
pub use tftp::Tftp;
pub use trace::{Line, lines};
pub use wire::Wire;
