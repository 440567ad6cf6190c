//! The network interface that this board turned out to have. The boot sees smoltcp's `phy::Device` and no more.

use smoltcp::phy::{self, DeviceCapabilities};
use smoltcp::time::Instant;

mod burst;
mod cdc_ecm;
#[cfg(test)]
mod fake;
mod lan78xx;
mod lan9514;
#[allow(dead_code, reason = "GENET will use what the USB chips do not")]
pub(crate) mod mii;
mod registers;
pub(crate) mod usb;

use usb::UsbNic;

#[cfg(target_os = "none")]
pub(crate) use registers::Error as UsbError;

/// A network interface, chosen at run time.
pub(crate) enum Nic {
    /// On USB: the own port of the Pi 3 boards, QEMU's usb-net, many dongles.
    Usb(UsbNic),
}

impl Nic {
    /// The MAC address that the interface says it has, for boards that have none of their own.
    pub(crate) fn own_mac(&self) -> Option<[u8; 6]> {
        match self {
            Self::Usb(nic) => nic.own_mac(),
        }
    }

    /// Ends all traffic: no write to memory happens after this.
    pub(crate) fn quiesce(&mut self) {
        match self {
            Self::Usb(nic) => nic.quiesce(),
        }
    }
}

impl phy::Device for Nic {
    type RxToken<'a> = burst::RxToken<'a>;
    type TxToken<'a> = burst::TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        match self {
            Self::Usb(nic) => nic.receive(now),
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        match self {
            Self::Usb(nic) => nic.transmit(now),
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        match self {
            Self::Usb(nic) => nic.capabilities(),
        }
    }
}
