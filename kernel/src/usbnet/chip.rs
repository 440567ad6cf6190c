//! The chips that Bramble drives, each behind the same calls: which one a device is, and who does what is asked of it.

use smoltcp::time::Instant;

use super::burst::Framing;
use super::cdc_ecm::{self, CdcEcm};
use super::lan78xx::{self, Lan78xx};
use super::lan9514::{self, Lan9514};
use super::registers::Error;
use crate::usb::descriptor::{self, DeviceDescriptor, Ecm, Vendor};
use crate::usb::dwc2::Dwc2;
use crate::usb::transfer::Device;

/// A device that Bramble drives, by its descriptors.
pub(super) enum Known {
    CdcEcm(Ecm),
    Lan9514(Vendor),
    Lan78xx(Vendor),
}

impl Known {
    pub(super) fn of(about: &DeviceDescriptor, configuration: &[u8]) -> Option<Self> {
        match (about.vendor, about.product) {
            (0x0424, 0xec00) => descriptor::vendor(configuration).map(Self::Lan9514),
            (0x0424, 0x7800) => descriptor::vendor(configuration).map(Self::Lan78xx),
            _ => descriptor::ecm(configuration).map(Self::CdcEcm),
        }
    }

    /// Bulk IN and bulk OUT: address, largest packet.
    pub(super) fn endpoints(&self) -> [(u8, u16); 2] {
        match self {
            Self::CdcEcm(function) => [function.bulk_in, function.bulk_out],
            Self::Lan9514(function) | Self::Lan78xx(function) => [function.bulk_in, function.bulk_out],
        }
    }
}

/// The chip behind the endpoints.
pub(super) enum Chip {
    CdcEcm(CdcEcm),
    Lan9514(Lan9514),
    Lan78xx(Lan78xx),
}

impl Chip {
    pub(super) fn start(usb: &mut Dwc2, device: Device, known: &Known, mac: [u8; 6]) -> Result<Self, Error> {
        Ok(match known {
            Known::CdcEcm(function) => Self::CdcEcm(CdcEcm::start(
                usb,
                device,
                function.control_interface,
                function.data_interface,
            )?),
            Known::Lan9514(function) => Self::Lan9514(Lan9514::start(usb, device, function.bulk_in.1, mac)?),
            Known::Lan78xx(function) => Self::Lan78xx(Lan78xx::start(usb, device, function.bulk_in.1, mac)?),
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::CdcEcm(_) => "CDC Ethernet",
            Self::Lan9514(_) => "LAN9514",
            Self::Lan78xx(_) => "LAN78xx",
        }
    }

    pub(super) fn framing(&self) -> &'static Framing {
        match self {
            Self::CdcEcm(_) => &cdc_ecm::FRAMING,
            Self::Lan9514(_) => &lan9514::FRAMING,
            Self::Lan78xx(_) => &lan78xx::FRAMING,
        }
    }

    /// Whether frames can leave.
    pub(super) fn link(&self) -> bool {
        match self {
            Self::CdcEcm(_) => true,
            Self::Lan9514(nic) => nic.link().is_some(),
            Self::Lan78xx(nic) => nic.link().is_some(),
        }
    }

    pub(super) fn look(&mut self, usb: &mut Dwc2, now: Instant) -> Result<(), Error> {
        match self {
            Self::CdcEcm(nic) => nic.look(usb),
            Self::Lan9514(nic) => nic.look(usb, now),
            Self::Lan78xx(nic) => nic.look(usb, now),
        }
    }

    /// The MAC anew, with all its registers.
    pub(super) fn restart(&mut self, usb: &mut Dwc2) -> Result<(), Error> {
        match self {
            Self::CdcEcm(nic) => nic.restart(usb),
            Self::Lan9514(nic) => nic.restart(usb),
            Self::Lan78xx(nic) => nic.restart(usb),
        }
    }

    /// Whether frames wait in the chip, as far as it tells.
    pub(super) fn holds_frames(&self, usb: &mut Dwc2) -> Result<bool, Error> {
        match self {
            Self::CdcEcm(_) => Ok(false),
            Self::Lan9514(nic) => nic.holds_frames(usb),
            Self::Lan78xx(nic) => nic.holds_frames(usb),
        }
    }

    /// Whether the chip has dropped frames for want of room, as far as it tells.
    pub(super) fn overflowed(&self, usb: &mut Dwc2) -> Result<bool, Error> {
        match self {
            Self::CdcEcm(_) => Ok(false),
            Self::Lan9514(nic) => nic.overflowed(usb),
            Self::Lan78xx(nic) => nic.overflowed(usb),
        }
    }

    pub(super) fn stop(&self, usb: &mut Dwc2) -> Result<(), Error> {
        match self {
            Self::CdcEcm(_) => Ok(()),
            Self::Lan9514(nic) => nic.stop(usb),
            Self::Lan78xx(nic) => nic.stop(usb),
        }
    }
}
