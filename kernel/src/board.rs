//! Which board this is: a row for each, found by its revision code (Raspberry Pi revision codes, new style), and what the
//! firmware says of this one.

use boot::load::device_tree::Tree;
use boot::{Address, Board, Mac, info, warn};
use smoltcp::wire::EthernetAddress;

use crate::hardware::Hardware;
use crate::mailbox::ClockId;
use crate::soc::Soc;

/// What differs from board to board.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Bits 11:4 of the revision code.
    kind: u32,
    /// Its SoC.
    pub soc: Soc,
    /// The name on the box.
    pub name: &'static str,
    /// Its own network port.
    pub ethernet: Ethernet,
}

/// Where a board's own network port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ethernet {
    /// On the USB bus, or none at all but a USB port to plug one in.
    Usb,
    /// GENET, inside the SoC.
    Genet,
}

/// The boards; the first row of each SoC is its default.
static BOARDS: [Row; 9] = [
    Row {
        kind: 0x08,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi 3 Model B",
        ethernet: Ethernet::Usb,
    },
    Row {
        kind: 0x0d,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi 3 Model B+",
        ethernet: Ethernet::Usb,
    },
    Row {
        kind: 0x0e,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi 3 Model A+",
        ethernet: Ethernet::Usb,
    },
    Row {
        kind: 0x0a,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi Compute Module 3",
        ethernet: Ethernet::Usb,
    },
    Row {
        kind: 0x10,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi Compute Module 3+",
        ethernet: Ethernet::Usb,
    },
    Row {
        kind: 0x12,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi Zero 2 W",
        ethernet: Ethernet::Usb,
    },
    Row {
        kind: 0x11,
        soc: Soc::Bcm2711,
        name: "Raspberry Pi 4 Model B",
        ethernet: Ethernet::Genet,
    },
    Row {
        kind: 0x13,
        soc: Soc::Bcm2711,
        name: "Raspberry Pi 400",
        ethernet: Ethernet::Genet,
    },
    Row {
        kind: 0x14,
        soc: Soc::Bcm2711,
        name: "Raspberry Pi Compute Module 4",
        ethernet: Ethernet::Genet,
    },
];

/// The row of `revision` on `soc`, and whether the revision was known; else the default row of the SoC. The core
/// decides: a revision code that names the other SoC is not believed.
pub fn row(soc: Soc, revision: u32) -> (&'static Row, bool) {
    const NEW_STYLE: u32 = 1 << 23;
    let kind = (revision & NEW_STYLE != 0).then_some(revision >> 4 & 0xff);
    let of_soc = || BOARDS.iter().filter(|row| row.soc == soc);
    match of_soc().find(|row| Some(row.kind) == kind) {
        Some(row) => (row, true),
        None => (of_soc().next().unwrap_or(&BOARDS[0]), false),
    }
}

/// Says what the board is, and gathers where its network port is and what the boot wants to know; which UART is on the
/// header only the console learns. A MAC address of zeros says that the board has none.
pub fn describe<'m>(
    hardware: &mut Hardware,
    device_tree: Option<&'m [u8]>,
    tree: Option<&Tree<'_>>,
) -> (Ethernet, Board<'m>) {
    let Hardware { soc, mailbox, .. } = hardware;
    let soc = *soc;
    let revision = mailbox.board_revision().unwrap_or_default();
    // QEMU's mailbox knows none; the device tree may have what a firmware wrote there.
    let written = || u64::from_str_radix(tree?.serial_number()?, 16).ok();
    let serial = mailbox.serial().filter(|serial| *serial != 0);
    let serial = serial.or_else(written).unwrap_or_default();
    let (row, known) = row(soc, revision);
    if !known {
        warn!(
            "board: revision {} is not known on {}: taken for a {}",
            Address(revision.into()),
            soc.name(),
            row.name
        );
    }
    let one_nodes = |mac: &[u8; 6]| EthernetAddress(*mac).is_unicast() && *mac != [0; 6];
    let mac = tree.and_then(Tree::mac).filter(one_nodes);
    let mac = mac.or_else(|| mailbox.mac_address().filter(one_nodes));
    let mac = EthernetAddress(mac.unwrap_or_default());
    let revision_text = Address(revision.into());
    info!(
        "board: {} ({}), revision {}, serial {}, MAC {}",
        row.name,
        soc.name(),
        revision_text,
        Address(serial),
        Mac(mac)
    );
    if let Some((base, size)) = mailbox.arm_memory() {
        info!(
            "board: {} MiB for the ARM at {}",
            size >> 20,
            Address(base.into())
        );
    }
    // Hashing and unpacking want the full speed; the firmware keeps watch over heat and power.
    let arm = mailbox
        .max_clock_rate(ClockId::Arm)
        .and_then(|hz| mailbox.set_clock_rate(ClockId::Arm, hz));
    let (mega, core) = (1_000_000, mailbox.clock_rate(ClockId::Core).unwrap_or_default());
    info!(
        "board: ARM at {} MHz, core at {} MHz",
        arm.unwrap_or_default() / mega,
        core / mega
    );
    if let Some(temperature) = mailbox.temperature() {
        info!(
            "board: {} °C, throttled {}",
            temperature / 1000,
            Address(mailbox.throttled().unwrap_or_default().into())
        );
    }
    (
        row.ethernet,
        Board {
            model: row.name,
            revision,
            serial,
            mac,
            uart: None,
            device_tree,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_is_found_by_a_real_revision_code() {
        for (code, soc, name) in [
            (0x00a0_2082, Soc::Bcm2837, "Raspberry Pi 3 Model B"),
            (0x00a0_20d3, Soc::Bcm2837, "Raspberry Pi 3 Model B+"),
            (0x0090_20e0, Soc::Bcm2837, "Raspberry Pi 3 Model A+"),
            (0x00a0_20a0, Soc::Bcm2837, "Raspberry Pi Compute Module 3"),
            (0x00a0_2100, Soc::Bcm2837, "Raspberry Pi Compute Module 3+"),
            (0x0090_2120, Soc::Bcm2837, "Raspberry Pi Zero 2 W"),
            (0x00b0_3115, Soc::Bcm2711, "Raspberry Pi 4 Model B"),
            (0x00c0_3130, Soc::Bcm2711, "Raspberry Pi 400"),
            (0x00b0_3140, Soc::Bcm2711, "Raspberry Pi Compute Module 4"),
        ] {
            let (row, known) = row(soc, code);
            assert_eq!((row.name, known), (name, true), "{code:x}");
        }
    }

    #[test]
    fn flags_above_the_code_do_not_matter() {
        assert_eq!(row(Soc::Bcm2837, 0xa2a0_2082).0.name, "Raspberry Pi 3 Model B");
    }

    #[test]
    fn an_unknown_revision_falls_back_to_the_default_of_its_soc() {
        assert_eq!(row(Soc::Bcm2711, 0x00b0_3ff0), (&BOARDS[6], false));
        assert_eq!(row(Soc::Bcm2837, 0), (&BOARDS[0], false));
        // A Pi 4 code on a Cortex-A53 is a lie.
        assert_eq!(row(Soc::Bcm2837, 0x00b0_3115), (&BOARDS[0], false));
    }
}
