//! The network interface that this board turned out to have. The boot sees smoltcp's `phy::Device` and no more.

use smoltcp::phy::{self, DeviceCapabilities};
use smoltcp::time::Instant;

use crate::ether::{self, RxToken};
use crate::genet::{self, Genet};
use crate::usbnet::{self, UsbNic};

/// A network interface, chosen at run time.
#[allow(clippy::large_enum_variant, reason = "there is one in a boot")]
pub enum Nic {
    /// On USB: the own port of the Pi 3 boards, QEMU's usb-net, many dongles.
    Usb(UsbNic),
    /// The BCM2711's own.
    Genet(Genet),
}

impl Nic {
    /// The MAC address that the interface says it has, for boards that have none of their own.
    pub fn own_mac(&self) -> Option<[u8; 6]> {
        match self {
            Self::Usb(nic) => nic.own_mac(),
            // It has the one that it is given.
            Self::Genet(_) => None,
        }
    }

    /// Ends all traffic: no write to memory happens after this.
    pub fn quiesce(&mut self) {
        match self {
            Self::Usb(nic) => nic.quiesce(),
            Self::Genet(nic) => nic.quiesce(),
        }
    }
}

impl phy::Device for Nic {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        match self {
            Self::Usb(nic) => {
                let (frame, answer) = nic.receive(now)?;
                Some((frame, TxToken::Usb(answer)))
            }
            Self::Genet(nic) => {
                let (frame, answer) = nic.receive(now)?;
                Some((frame, TxToken::Genet(answer)))
            }
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<TxToken<'_>> {
        match self {
            Self::Usb(nic) => nic.transmit(now).map(TxToken::Usb),
            Self::Genet(nic) => nic.transmit(now).map(TxToken::Genet),
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        ether::capabilities()
    }
}

/// A place for one frame.
pub enum TxToken<'a> {
    /// In a USB transfer.
    Usb(usbnet::TxToken<'a>),
    /// In GENET's ring.
    Genet(genet::TxToken<'a>),
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        match self {
            Self::Usb(place) => place.consume(len, f),
            Self::Genet(place) => place.consume(len, f),
        }
    }
}
