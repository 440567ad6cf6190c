//! The network interface that this board turned out to have. The boot sees smoltcp's `phy::Device` and no more.

use smoltcp::phy::{self, DeviceCapabilities};
use smoltcp::time::Instant;

pub(crate) mod cdc_ecm;
#[allow(dead_code, reason = "for the drivers of boards' own ports, which follow")]
pub(crate) mod mii;

use cdc_ecm::CdcEcm;

/// A network interface, chosen at run time.
pub(crate) enum Nic {
    /// USB CDC Ethernet: QEMU's usb-net, and many dongles.
    CdcEcm(CdcEcm),
}

impl Nic {
    /// The MAC address that the interface says it has, for boards that have none of their own.
    pub(crate) fn own_mac(&self) -> Option<[u8; 6]> {
        match self {
            Self::CdcEcm(nic) => nic.own_mac(),
        }
    }

    /// Ends all traffic: no write to memory happens after this.
    pub(crate) fn quiesce(&mut self) {
        match self {
            Self::CdcEcm(nic) => nic.quiesce(),
        }
    }
}

impl phy::Device for Nic {
    type RxToken<'a> = cdc_ecm::RxToken<'a>;
    type TxToken<'a> = cdc_ecm::TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        match self {
            // Nothing can be booted any more; a reset brings the bus up from the start.
            Self::CdcEcm(nic) if nic.gone() => panic!("nic: the USB device has stopped answering"),
            Self::CdcEcm(nic) => nic.receive(),
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        match self {
            Self::CdcEcm(nic) => nic.transmit(),
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        match self {
            Self::CdcEcm(nic) => nic.capabilities(),
        }
    }
}
