//! The network interface that this board turned out to have. The boot sees smoltcp's `phy::Device` and no more.

use core::fmt;

use boot::Board;
use boot::board::Ethernet;
use boot::load::device_tree::Tree;
use smoltcp::phy::{self, DeviceCapabilities};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use crate::ether::{self, RxToken};
use crate::genet::{self, Genet};
use crate::hardware::Hardware;
use crate::usb::{Dwc2, Host};
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
    /// Brings up the interface on `port`, and settles the MAC address of a `board` that has none: the interface's own, else
    /// one that the serial number makes. `has` tells whether a device is at an address.
    ///
    /// # Safety
    ///
    /// The hardware's SoC has such a port, its peripherals are mapped, and this is the only `Nic`.
    pub unsafe fn bring_up(
        hardware: &mut Hardware,
        port: Ethernet,
        board: &mut Board<'_>,
        tree: Option<&Tree<'_>>,
        has: impl Fn(usize) -> bool,
    ) -> Result<Self, Error> {
        let none = board.mac == EthernetAddress([0; 6]);
        if none {
            // Locally administered, and the serial number tells the nodes apart.
            let [a, b, c, d, e, ..] = board.serial.to_le_bytes();
            board.mac = EthernetAddress([2, e, d, c, b, a]);
        }
        let mac = board.mac.0;
        let Hardware {
            soc,
            mailbox,
            arena,
            clock,
            ..
        } = hardware;
        let nic = match port {
            Ethernet::Genet if !has(genet::ADDRESS) => return Err(Error::NotEmulated),
            Ethernet::Genet => {
                // SAFETY: the caller's word, and it is there.
                let genet = unsafe { Genet::new(arena, *clock, mac, tree.and_then(Tree::phy)) };
                Self::Genet(genet.map_err(Error::Genet)?)
            }
            Ethernet::Usb => {
                mailbox.power_usb().ok_or(Error::NoPower)?;
                // SAFETY: powered above; the caller's word.
                let usb = unsafe { Dwc2::new(*soc, arena, *clock) };
                let usb = usb.map_err(|error| Error::Usb(error.into()))?;
                Self::Usb(UsbNic::start(Host::new(usb), arena, mac).map_err(Error::Usb)?)
            }
        };
        if let (true, Some(own)) = (none, nic.own_mac()) {
            board.mac = EthernetAddress(own);
        }
        Ok(nic)
    }

    /// The MAC address that the interface says it has, for boards that have none of their own.
    fn own_mac(&self) -> Option<[u8; 6]> {
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

/// Why there is no network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// This emulator has no GENET.
    NotEmulated,
    /// GENET did not start.
    Genet(genet::Error),
    /// The firmware does not power the USB controller.
    NoPower,
    /// There is none on the bus, or it did not start.
    Usb(usbnet::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEmulated => f.write_str(
                "this emulator lacks the board's GENET; `cargo xtask qemu` builds one that has it",
            ),
            Self::Genet(error) => write!(f, "GENET: {error}"),
            Self::NoPower => f.write_str(
                "the firmware does not power the USB controller: put its current files on the card",
            ),
            Self::Usb(error) => error.fmt(f),
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
