//! What DHCP grants: an address, and what the server wants the node to boot.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

use crate::url;

/// A route of option 121.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub destination: Ipv4Cidr,
    /// The router; 0.0.0.0 means that the destination is on this link.
    pub router: Ipv4Address,
}

/// What the servers granted. All text is printable ASCII without blanks at its ends, at most 1,024 bytes, never empty.
///
/// In tests: `Lease { boot_file: Some("x".into()), ..Lease::default() }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Our address and the subnet's prefix length.
    pub address: Ipv4Cidr,
    /// The default router: of option 121 when that is present (RFC 3442), else the first of option 3.
    pub router: Option<Ipv4Address>,
    /// The other routes of option 121, at most 15.
    pub routes: Vec<Route>,
    /// Name servers in order of preference, at most four (option 6).
    pub dns: Vec<Ipv4Address>,
    /// Time servers, at most four (option 42).
    pub ntp: Vec<Ipv4Address>,
    /// The server that granted the address (option 54).
    pub server: Ipv4Address,
    /// Where TFTP files come from: `siaddr`, else a literal address in option 66 or the `sname` field, else option 150,
    /// else the proxy that named the boot file.
    pub next_server: Option<Ipv4Address>,
    /// Option 66, else the `sname` field: a host name or an address.
    pub tftp_server_name: Option<String>,
    /// Option 67, else the `file` field, of the server or the proxy: a path or a URL, possibly with `${…}` inside.
    pub boot_file: Option<String>,
    /// PXELINUX's configuration file (option 209).
    pub config_file: Option<String>,
    /// PXELINUX's path prefix (option 210).
    pub path_prefix: Option<String>,
    /// Our host name (option 12).
    pub hostname: Option<String>,
    /// Our domain (option 15).
    pub domain: Option<String>,
    /// Where names without a dot are looked up, in order, at most seven (option 119, then 15).
    pub search: Vec<String>,
    /// The root file system (option 17).
    pub root_path: Option<String>,
    /// The link's MTU, 576 to 9000 (option 26).
    pub mtu: Option<u16>,
    /// Vendor-specific information, raw (option 43), of whoever named the boot file.
    pub vendor_specific: Vec<u8>,
    /// iPXE's encapsulated options, raw (option 175): tag, length, value; find one with [`Lease::ipxe_option`].
    pub ipxe_encapsulated: Vec<u8>,
    /// Everything that the DHCP server sent, for scripts that ask by number.
    pub dhcp: Options,
    /// Everything that the proxy or the boot service sent, when there is one.
    pub proxy: Option<Options>,
}

/// A server's message as scripts may look into it: unchecked values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Our address; 0.0.0.0 from a proxy.
    pub yiaddr: Ipv4Address,
    /// Where TFTP files come from; 0.0.0.0 when not told.
    pub siaddr: Ipv4Address,
    /// Options by number. The `sname` and `file` fields, when they hold names, count as options 66 and 67.
    pub list: Vec<(u8, Vec<u8>)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            yiaddr: Ipv4Address::UNSPECIFIED,
            siaddr: Ipv4Address::UNSPECIFIED,
            list: Vec::new(),
        }
    }
}

impl Options {
    /// The value of option `tag`.
    pub fn get(&self, tag: u8) -> Option<&[u8]> {
        let mut options = self.list.iter();
        options
            .find(|(t, _)| *t == tag)
            .map(|(_, value)| value.as_slice())
    }

    /// The value of sub-option `inner` of option `outer`.
    pub fn sub(&self, outer: u8, inner: u8) -> Option<&[u8]> {
        sub_option(self.get(outer)?, inner)
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self {
            address: Ipv4Cidr::new(Ipv4Address::UNSPECIFIED, 0),
            router: None,
            routes: Vec::new(),
            dns: Vec::new(),
            ntp: Vec::new(),
            server: Ipv4Address::UNSPECIFIED,
            next_server: None,
            tftp_server_name: None,
            boot_file: None,
            config_file: None,
            path_prefix: None,
            hostname: None,
            domain: None,
            search: Vec::new(),
            root_path: None,
            mtu: None,
            vendor_specific: Vec::new(),
            ipxe_encapsulated: Vec::new(),
            dhcp: Options::default(),
            proxy: None,
        }
    }
}

/// The interface's configuration as scripts set it; each value hides DHCP's (D-74).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Our address and the subnet's prefix length. While it is set, the DHCP client neither sends nor listens.
    pub address: Option<Ipv4Cidr>,
    /// The default router.
    pub router: Option<Ipv4Address>,
    /// Name servers, at most four.
    pub dns: Option<Vec<Ipv4Address>>,
    /// Where names without a dot are looked up.
    pub search: Option<Vec<String>>,
}

impl Fixed {
    /// The configuration that is in force with DHCP's `lease` below it; `None` when neither has an address.
    pub fn over(&self, lease: Option<&Lease>) -> Option<Lease> {
        let mut lease = match self.address {
            // DHCP's routes may belong to another subnet.
            Some(address) => Lease {
                address,
                router: None,
                routes: Vec::new(),
                ..lease.cloned().unwrap_or_default()
            },
            None => lease?.clone(),
        };
        lease.router = self.router.or(lease.router);
        if let Some(dns) = &self.dns {
            lease.dns.clone_from(dns);
        }
        if let Some(search) = &self.search {
            lease.search.clone_from(search);
        }
        Some(lease)
    }
}

impl Lease {
    /// The interface's routes through routers. Routes to neighbours off the subnet (router 0.0.0.0) are left out: they
    /// exist for hosts that must reach a router outside of their subnet, which the stack asks for by ARP anyway.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = smoltcp::iface::Route> {
        let default = self.router.map(smoltcp::iface::Route::new_ipv4_gateway);
        let others = self.routes.iter().filter(|route| !route.router.is_unspecified());
        default
            .into_iter()
            .chain(others.map(|route| smoltcp::iface::Route {
                cidr: route.destination.into(),
                via_router: route.router.into(),
                preferred_until: None,
                expires_at: None,
            }))
    }

    /// The value of sub-option `tag` of option 175.
    pub fn ipxe_option(&self, tag: u8) -> Option<&[u8]> {
        sub_option(&self.ipxe_encapsulated, tag)
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.address, self.server)?;
        if let Some(router) = self.router {
            write!(f, ", router {router}")?;
        }
        if let Some(server) = self.next_server {
            write!(f, ", next server {server}")?;
        }
        for (name, value) in [
            ("path prefix", &self.path_prefix),
            ("configuration", &self.config_file),
            ("boot file", &self.boot_file),
        ] {
            if let Some(value) = value {
                write!(f, ", {name} {}", url::without_userinfo(value))?;
            }
        }
        Ok(())
    }
}

/// The value of sub-option `tag` in an encapsulation: tag, length, value, ended by 255; 0 is padding.
pub(super) fn sub_option(mut bytes: &[u8], tag: u8) -> Option<&[u8]> {
    loop {
        bytes = match *bytes {
            [0, ref after @ ..] => after,
            [255, ..] | [] | [_] => return None,
            [found, len, ref after @ ..] => {
                let (value, after) = after.split_at_checked(usize::from(len))?;
                if found == tag {
                    return Some(value);
                }
                after
            }
        };
    }
}
