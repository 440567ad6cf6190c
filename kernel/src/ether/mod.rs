//! Ethernet, whoever carries it: what GENET and the interfaces on USB have in common, below both.

use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::time::Duration;

pub(crate) mod checksum;
pub(crate) mod mii;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use mii::follow;

/// Longest frame with its header, without a VLAN tag or frame check sequence.
pub(crate) const FRAME: usize = 1514;
/// How long the last frames may take to leave before a NIC is stopped: GENET's full ring takes 31 ms at 10 Mb/s.
pub(crate) const DRAIN_PATIENCE: Duration = Duration::from_millis(50);

/// What smoltcp may expect of every NIC here: the checksum of a received TCP segment has been verified.
pub(crate) fn capabilities() -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ethernet;
    capabilities.max_transmission_unit = FRAME;
    capabilities.checksum.tcp = Checksum::Tx;
    capabilities
}

/// A received frame where it landed: in a USB transfer, or in GENET's ring.
pub struct RxToken<'a>(pub(crate) &'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}
