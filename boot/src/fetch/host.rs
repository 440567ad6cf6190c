//! The host that was last asked, and its address, which is asked for once as long as it proves right.

use alloc::string::String;

use smoltcp::wire::Ipv4Address;

use super::error::Reason;
use crate::net::Net;
use crate::resolve::resolve;

/// The host last reached, and its address.
#[derive(Debug, Default)]
pub(super) struct LastHost(Option<(String, Ipv4Address)>);

impl LastHost {
    /// The address of `host`. What was known is forgotten, until the address has [proved](Self::proved) right.
    pub(super) fn address(&mut self, net: &mut Net<'_>, host: &str) -> Result<Ipv4Address, Reason> {
        match self.0.take() {
            Some((known, address)) if host == known => Ok(address),
            _ => resolve(net, host).map_err(Reason::Resolve),
        }
    }

    /// `host` answers at `address`.
    pub(super) fn proved(&mut self, host: &str, address: Ipv4Address) {
        self.0 = Some((host.into(), address));
    }

    /// Forgets it.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}
