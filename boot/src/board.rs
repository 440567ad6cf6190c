//! Which boards there are: a row for each, found by its revision code (Raspberry Pi revision codes, new style) (D-174).

/// A system on chip that Bramble runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soc {
    /// Pi 3 family and Zero 2 W: Cortex-A53.
    Bcm2837,
    /// Pi 4 family: Cortex-A72.
    Bcm2711,
}

impl Soc {
    /// By the part number of its cores, from MIDR_EL1.
    pub fn of(part_number: u64) -> Self {
        if part_number == 0xd08 {
            Self::Bcm2711
        } else {
            Self::Bcm2837
        }
    }

    /// The name people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bcm2837 => "BCM2837",
            Self::Bcm2711 => "BCM2711",
        }
    }
}

/// Where a board's own network port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ethernet {
    /// On the USB bus, or none at all but a USB port to plug one in.
    Usb,
    /// GENET, inside the SoC.
    Genet,
}

/// What differs from board to board.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its type in a revision code.
    kind: u32,
    /// Its SoC.
    pub soc: Soc,
    /// The name on the box, which is the firmware's too.
    pub name: &'static str,
    /// Its own network port.
    pub ethernet: Ethernet,
    /// Its device trees: the one that U-Boot asks for, then Linux's own and those of the Raspberry Pi's kernel where these are
    /// called otherwise. For a compute module U-Boot's name is the module's; Linux has a tree for each carrier, and the
    /// Raspberry Pi's kernel both for the CM4, of which only the module's has the labels that overlays want. That kernel has
    /// no tree for the 3A+; the 3B+'s is what its firmware takes.
    pub trees: &'static [&'static str],
}

/// The boards; the first row of each SoC is its default.
pub static BOARDS: [Row; 10] = [
    Row {
        kind: 0x08,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi 3 Model B",
        ethernet: Ethernet::Usb,
        trees: &["bcm2837-rpi-3-b", "bcm2710-rpi-3-b"],
    },
    Row {
        kind: 0x0d,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi 3 Model B+",
        ethernet: Ethernet::Usb,
        trees: &["bcm2837-rpi-3-b-plus", "bcm2710-rpi-3-b-plus"],
    },
    Row {
        kind: 0x0e,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi 3 Model A+",
        ethernet: Ethernet::Usb,
        trees: &["bcm2837-rpi-3-a-plus", "bcm2710-rpi-3-b-plus"],
    },
    Row {
        kind: 0x0a,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi Compute Module 3",
        ethernet: Ethernet::Usb,
        trees: &CM3_TREES,
    },
    Row {
        kind: 0x10,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi Compute Module 3+",
        ethernet: Ethernet::Usb,
        trees: &CM3_TREES,
    },
    Row {
        kind: 0x12,
        soc: Soc::Bcm2837,
        name: "Raspberry Pi Zero 2 W",
        ethernet: Ethernet::Usb,
        trees: &["bcm2837-rpi-zero-2-w", "bcm2710-rpi-zero-2-w"],
    },
    Row {
        kind: 0x11,
        soc: Soc::Bcm2711,
        name: "Raspberry Pi 4 Model B",
        ethernet: Ethernet::Genet,
        trees: &["bcm2711-rpi-4-b"],
    },
    Row {
        kind: 0x13,
        soc: Soc::Bcm2711,
        name: "Raspberry Pi 400",
        ethernet: Ethernet::Genet,
        trees: &["bcm2711-rpi-400"],
    },
    Row {
        kind: 0x14,
        soc: Soc::Bcm2711,
        name: "Raspberry Pi Compute Module 4",
        ethernet: Ethernet::Genet,
        trees: &["bcm2711-rpi-cm4", "bcm2711-rpi-cm4-io"],
    },
    // In a carrier of a CM3: no PHY, and a NIC on USB where the carrier has one.
    Row {
        kind: 0x15,
        soc: Soc::Bcm2711,
        name: "Raspberry Pi Compute Module 4S",
        ethernet: Ethernet::Usb,
        trees: &["bcm2711-rpi-cm4s"],
    },
];
const CM3_TREES: [&str; 3] = ["bcm2837-rpi-cm3", "bcm2837-rpi-cm3-io3", "bcm2710-rpi-cm3"];

/// The board's type in a revision code: bits 11:4.
pub(crate) fn kind(revision: u32) -> u32 {
    revision >> 4 & 0xff
}

/// The row of a board with this revision code. None when the board is not known; or when the code is of the old style, which
/// none of these boards has.
pub fn of(revision: u32) -> Option<&'static Row> {
    const NEW_STYLE: u32 = 1 << 23;
    let is_this = |row: &&Row| revision & NEW_STYLE != 0 && row.kind == kind(revision);
    BOARDS.iter().find(is_this)
}

/// The row of `revision` on `soc`, and whether the revision was known; else the default row of the SoC. The core
/// decides: a revision code that names the other SoC is not believed.
pub fn on(soc: Soc, revision: u32) -> (&'static Row, bool) {
    let [first, ..] = &BOARDS;
    match of(revision).filter(|row| row.soc == soc) {
        Some(row) => (row, true),
        None => (BOARDS.iter().find(|row| row.soc == soc).unwrap_or(first), false),
    }
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
            (0x00b0_3150, Soc::Bcm2711, "Raspberry Pi Compute Module 4S"),
        ] {
            let (row, known) = on(soc, code);
            assert_eq!((row.name, known), (name, true), "{code:x}");
        }
    }

    #[test]
    fn flags_above_the_code_do_not_matter() {
        assert_eq!(on(Soc::Bcm2837, 0xa2a0_2082).0.name, "Raspberry Pi 3 Model B");
    }

    #[test]
    fn an_unknown_revision_falls_back_to_the_default_of_its_soc() {
        assert_eq!(on(Soc::Bcm2711, 0x00b0_3ff0), (&BOARDS[6], false));
        assert_eq!(on(Soc::Bcm2837, 0), (&BOARDS[0], false));
        // A Pi 4 code on a Cortex-A53 is a lie.
        assert_eq!(on(Soc::Bcm2837, 0x00b0_3115), (&BOARDS[0], false));
    }
}
