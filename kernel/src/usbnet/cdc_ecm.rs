//! CDC Ethernet (USB CDC ECM 1.2): one frame a transfer, without a header, ended by a short or empty packet.

use crate::usb;
use crate::usb::descriptor;
use crate::usb::dwc2::Dwc2;
use crate::usb::pipe::Setup;
use crate::usb::transfer::Device;
use crate::usbnet::burst::{Framing, Piece};
use crate::usbnet::registers::Error;

/// Room for one frame in whole packets of either speed. Above 1536 bytes QEMU hands a frame over in one piece.
const TRANSFER: usize = 2048;

/// Bare frames.
pub(super) const FRAMING: Framing = Framing {
    burst: TRANSFER,
    next,
    header: None,
    together: false,
};

fn next(transfer: &[u8]) -> Piece {
    Piece::Frame {
        start: 0,
        len: transfer.len(),
        next: transfer.len(),
    }
}

/// The MAC address that a device has in one of its strings.
pub(super) fn mac(usb: &mut Dwc2, device: Device, string: u8) -> Option<[u8; 6]> {
    const ENGLISH: u16 = 0x0409;
    let setup = Setup {
        request_type: 0x80,
        request: 6,
        value: 3 << 8 | u16::from(string),
        index: ENGLISH,
    };
    descriptor::mac(usb.control_in(device, setup, 26).ok()?)
}

/// A CDC Ethernet device. Its link is taken for up: what it says of it on its interrupt endpoint is not read.
pub(super) struct CdcEcm {
    device: Device,
    control_interface: u8,
    data_interface: (u8, u8),
}

impl CdcEcm {
    /// Resets the device's network side and opens its filter.
    pub(super) fn start(
        usb: &mut Dwc2,
        device: Device,
        control_interface: u8,
        data_interface: (u8, u8),
    ) -> Result<Self, Error> {
        let nic = Self {
            device,
            control_interface,
            data_interface,
        };
        nic.restart(usb)?;
        Ok(nic)
    }

    /// From any state: without its endpoints a data interface forgets what it was at (ECM 1.2 §3.3), half a frame perhaps.
    pub(super) fn restart(&self, usb: &mut Dwc2) -> Result<(), Error> {
        const SET_INTERFACE: u8 = 11;
        let (interface, alternate) = self.data_interface;
        for value in [0, alternate] {
            let setup = Setup {
                request_type: 0x01,
                request: SET_INTERFACE,
                value: u16::from(value),
                index: u16::from(interface),
            };
            match usb.control_out(self.device, setup, &[]) {
                // An interface with one setting need not know the request (USB 2.0 §9.4.10).
                Err(usb::Error::Stall) if alternate == 0 => {}
                other => other?,
            }
        }
        self.open_filter(usb)
    }

    /// SET_ETHERNET_PACKET_FILTER. The node's MAC address is the board's, seldom the device's own, so the device
    /// must pass frames for others: promiscuous, directed, broadcast (D-12).
    fn open_filter(&self, usb: &mut Dwc2) -> Result<(), Error> {
        let setup = Setup {
            request_type: 0x21,
            request: 0x43,
            value: 1 << 0 | 1 << 2 | 1 << 3,
            index: u16::from(self.control_interface),
        };
        match usb.control_out(self.device, setup, &[]) {
            // Optional for devices (ECM 1.2 §6.2): one that refuses passes everything.
            Ok(()) | Err(usb::Error::Stall) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the device still answers: GET_STATUS, which every device knows.
    pub(super) fn look(&self, usb: &mut Dwc2) -> Result<(), Error> {
        let setup = Setup {
            request_type: 0x80,
            request: 0,
            value: 0,
            index: 0,
        };
        match usb.control_in(self.device, setup, 2) {
            Ok(_) | Err(usb::Error::Stall) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
