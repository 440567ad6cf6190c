//! Where a board's device tree may lie below FDTDIR, in the layouts of kernels' build systems.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::board;

/// Where the tree for a board may be below a directory, most likely first: in the vendor's directory, as Linux installs
/// arm64 trees, or beside it.
pub(super) fn candidates(revision: u32) -> Vec<String> {
    let names = board::of(revision).map_or(&[][..], |row| row.trees);
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
