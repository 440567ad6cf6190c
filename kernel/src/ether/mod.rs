//! Ethernet, whoever carries it: what GENET and the interfaces on USB have in common, below both.

use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::time::Duration;

pub(crate) mod checksum;
pub(crate) mod mdio;
pub(crate) mod mii;
pub(crate) mod silence;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_stack_may_expect_of_a_nic() {
        let capabilities = capabilities();
        assert_eq!(capabilities.medium, Medium::Ethernet);
        // 1500 bytes behind a header of 14: Ethernet's.
        assert_eq!(capabilities.max_transmission_unit, 1514);
        // A segment that came was summed up; one that goes is not yet, and nothing else is either way.
        assert!(capabilities.checksum.tcp.tx() && !capabilities.checksum.tcp.rx());
        for both in [
            &capabilities.checksum.ipv4,
            &capabilities.checksum.udp,
            &capabilities.checksum.icmpv4,
        ] {
            assert!(both.tx() && both.rx());
        }
    }
}
