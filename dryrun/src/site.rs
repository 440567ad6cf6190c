//! A local directory as a boot server: its address, and what serves it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use smoltcp::wire::Ipv4Address;

use crate::{tftp, web};

/// The protocols that serve a directory, and their address. A connection to any other port there is refused.
pub(crate) struct Site {
    pub(crate) address: Ipv4Address,
    pub(crate) web: Option<SocketAddr>,
    pub(crate) tftp: Option<tftp::Server>,
}

impl Site {
    /// Serves `directory` at `address`.
    pub(crate) fn new(directory: &Path, address: Ipv4Address, web: bool, tftp: bool) -> io::Result<Self> {
        let root = directory.canonicalize()?;
        Ok(Self {
            address,
            web: web.then(|| web::serve(root.clone())).transpose()?,
            tftp: tftp.then(|| tftp::Server::new(root)),
        })
    }
}
