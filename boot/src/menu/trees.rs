//! Device trees by board, for FDTDIR: the file names that kernels' build systems use.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A board, as bits 11:4 of its revision code, with its trees: the one that U-Boot asks for, then Linux's own and those of
/// the Raspberry Pi's kernel where these are called otherwise. For a compute module U-Boot's name is the module's; Linux
/// has a tree for each carrier, and the Raspberry Pi's kernel both for the CM4, of which only the module's has the labels
/// that overlays want. That kernel has no tree for the 3A+; the 3B+'s is what its firmware takes.
const TREES: [(u32, &[&str]); 9] = [
    (0x08, &["bcm2837-rpi-3-b", "bcm2710-rpi-3-b"]),
    (0x0a, &CM3),
    (0x0d, &["bcm2837-rpi-3-b-plus", "bcm2710-rpi-3-b-plus"]),
    (0x0e, &["bcm2837-rpi-3-a-plus", "bcm2710-rpi-3-b-plus"]),
    (0x10, &CM3),
    (0x11, &["bcm2711-rpi-4-b"]),
    (0x12, &["bcm2837-rpi-zero-2-w", "bcm2710-rpi-zero-2-w"]),
    (0x13, &["bcm2711-rpi-400"]),
    (0x14, &["bcm2711-rpi-cm4", "bcm2711-rpi-cm4-io"]),
];
const CM3: [&str; 3] = ["bcm2837-rpi-cm3", "bcm2837-rpi-cm3-io3", "bcm2710-rpi-cm3"];

/// Where the tree for a board may be below a directory, most likely first: in the vendor's directory, as Linux installs
/// arm64 trees, or beside it.
pub(super) fn candidates(revision: u32) -> Vec<String> {
    const NEW_STYLE: u32 = 1 << 23;
    let kind = (revision & NEW_STYLE != 0).then_some(revision >> 4 & 0xff);
    let names = TREES.iter().find(|(known, _)| Some(*known) == kind);
    let names = names.map_or(&[][..], |(_, names)| names);
    names
        .iter()
        .flat_map(|name| [format!("broadcom/{name}.dtb"), format!("{name}.dtb")])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_board_has_a_tree_in_both_layouts_uboots_first_and_an_old_or_unknown_one_none() {
        for (revision, first, count) in [
            (0x00a0_2082, "broadcom/bcm2837-rpi-3-b.dtb", 4),
            (0x00a0_20d3, "broadcom/bcm2837-rpi-3-b-plus.dtb", 4),
            (0x0090_20e0, "broadcom/bcm2837-rpi-3-a-plus.dtb", 4),
            (0x00a0_20a0, "broadcom/bcm2837-rpi-cm3.dtb", 6),
            (0x00a0_2100, "broadcom/bcm2837-rpi-cm3.dtb", 6),
            (0x0090_2120, "broadcom/bcm2837-rpi-zero-2-w.dtb", 4),
            (0x02b0_3115, "broadcom/bcm2711-rpi-4-b.dtb", 2),
            (0x00c0_3130, "broadcom/bcm2711-rpi-400.dtb", 2),
            (0x00b0_3140, "broadcom/bcm2711-rpi-cm4.dtb", 4),
        ] {
            let found = candidates(revision);
            assert_eq!((found.first().map(|s| &**s), found.len()), (Some(first), count));
        }
        assert_eq!(candidates(0x00a0_2082)[3], "bcm2710-rpi-3-b.dtb");
        assert_eq!(candidates(0x00b0_3140)[2], "broadcom/bcm2711-rpi-cm4-io.dtb");
        assert_eq!(candidates(0x00a0_20a0)[2], "broadcom/bcm2837-rpi-cm3-io3.dtb");
        assert!(candidates(0x0010).is_empty() && candidates(0x00c0_4170).is_empty());
    }
}
