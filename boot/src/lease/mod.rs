//! DHCP: who we are on this network, and what the server wants us to boot (RFC 2131, 2132, PXE 2.1).

mod client;
mod frame;
mod grant;
mod identity;
mod model;
mod offers;
mod packet;
mod search;
mod silence;

pub(crate) use client::Client;
pub(crate) use frame::{arp, ethernet};
pub(crate) use identity::hardware_address;
pub use identity::{Identity, Uuid};
pub use model::{Fixed, Lease, Options, Route};
pub(crate) use search::{domains, is_list};

/// Reads an answer to whatever question it names: the DHCP parser, for the fuzz targets.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn parse(bytes: &[u8]) -> Option<Options> {
    let xid = u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
    let mac = smoltcp::wire::EthernetAddress(*bytes.get(28..)?.first_chunk()?);
    let reply = packet::Reply::parse(bytes, xid, mac).ok()?;
    reply.first_boot_item();
    search::domains(reply.option(packet::tag::DOMAIN_SEARCH), None);
    Some(reply.everything())
}

#[cfg(test)]
pub(crate) mod tests {
    use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

    use super::Lease;
    pub(crate) use super::client::tests::server;

    /// An address, a server and a router.
    pub(crate) fn lease() -> Lease {
        Lease {
            address: Ipv4Cidr::new(Ipv4Address::new(192, 0, 2, 91), 24),
            server: Ipv4Address::new(192, 0, 2, 1),
            router: Some(Ipv4Address::new(192, 0, 2, 254)),
            ..Lease::default()
        }
    }
}
