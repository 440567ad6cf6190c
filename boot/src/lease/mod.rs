//! DHCP: who we are on this network, and what the server wants us to boot (RFC 2131, 2132, PXE 2.1).

/// What the client tells servers about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {}

/// What the servers granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {}

impl Identity {
    /// The identity of `board`.
    pub fn of(_board: &crate::Board<'_>) -> Self {
        Self {}
    }
}
