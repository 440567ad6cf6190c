//! Where things go: the places of kernel, device tree and initrd in what is free (Linux `booting.rst`).
//!
//! From low to high: the kernel at a 2 MiB boundary plus its text offset, the device tree in a 2 MiB slot of its own,
//! which Linux maps in one piece, and the initrds from a page boundary on. Each step hands on only the memory behind
//! what it placed, so no two of them can overlap (D-115).

use alloc::vec::Vec;
use core::ops::Range;

use super::device_tree::{Tree, Wanted};
use crate::memory::Region;

/// Kernels start at a multiple of this, and the device tree lies inside one such block.
pub const BLOCK: u64 = 2 << 20;
/// Initrds start at a multiple of this. Linux takes zeros between cpio archives.
pub const PAGE: u64 = 4096;

/// `len` in whole pages.
pub fn pages(len: usize) -> usize {
    len.checked_next_multiple_of(PAGE as usize).unwrap_or(len)
}

/// The largest part of `bank` that touches none of the `kept` ranges; the lowest of equals, empty when there is none.
pub fn payload_region(bank: Range<u64>, kept: &[Range<u64>]) -> Range<u64> {
    let mut ordered: Vec<&Range<u64>> = Vec::with_capacity(kept.len());
    for range in kept.iter().filter(|range| !range.is_empty()) {
        // An insertion sort: a device tree names 512 ranges at most, and core's own sort is 1.5 KB of image.
        ordered.insert(ordered.partition_point(|k| k.start <= range.start), range);
    }
    let len = |range: &Range<u64>| range.end.saturating_sub(range.start);
    let end = bank.end..bank.end;
    let mut best = bank.start..bank.start;
    let mut free = bank.start;
    for next in ordered.into_iter().chain([&end]) {
        let gap = free..next.start.min(bank.end);
        if len(&gap) > len(&best) {
            best = gap;
        }
        free = free.max(next.end);
    }
    best
}

/// Linux's own memory pools are multiples of this at least: a pageblock of 4 KiB pages.
const POOL: u64 = 4 << 20;

/// The names of what Linux is to find memory for that it would have found without what is `written`, and does not with it.
pub fn without_room<'a>(tree: &Tree<'a>, written: &[Range<u64>]) -> Vec<&'a str> {
    let banks: Vec<Range<u64>> = tree.memory().collect();
    let fixed: Vec<Range<u64>> = tree.reservations().collect();
    let mut free = fixed.clone();
    let mut taken = [fixed.as_slice(), written].concat();
    let mut names = Vec::new();
    for wanted in tree.wanted_memory() {
        let alone = find(&wanted, &banks, &free);
        match find(&wanted, &banks, &taken) {
            Some(place) => taken.push(place),
            None if alone.is_some() => names.push(wanted.name),
            None => {}
        }
        free.extend(alone);
    }
    names
}

/// The highest place for it that touches none of the `kept`, as Linux looks for one.
fn find(wanted: &Wanted<'_>, banks: &[Range<u64>], kept: &[Range<u64>]) -> Option<Range<u64>> {
    let everywhere = 0..u64::MAX;
    let everywhere = core::slice::from_ref(&everywhere);
    let within = wanted.within.as_deref().unwrap_or(everywhere);
    let align = wanted.align.max(POOL);
    let mut best: Option<Range<u64>> = None;
    for (bank, within) in banks
        .iter()
        .flat_map(|bank| within.iter().map(move |w| (bank, w)))
    {
        let lowest = bank.start.max(within.start);
        let mut end = bank.end.min(within.end);
        while let Some(start) = end.checked_sub(wanted.size) {
            let start = start.saturating_sub(start.checked_rem(align).unwrap_or(0));
            let place = start..start.saturating_add(wanted.size);
            if start < lowest {
                break;
            }
            let hit = kept.iter().filter(|k| k.start < place.end && place.start < k.end);
            match hit.map(|kept| kept.start).min() {
                Some(below) => end = below,
                None => {
                    best = best.filter(|best| best.start > start).or(Some(place));
                    break;
                }
            }
        }
    }
    best
}

/// The next block for the device tree, and the memory behind it.
pub fn device_tree_slot(free: Region<'_>) -> Option<(Region<'_>, Region<'_>)> {
    free.align_to(BLOCK)?.split_at(BLOCK as usize)
}

/// The memory from the next place that an initrd may have, with the bytes before it zeroed.
pub fn initrd_room(mut free: Region<'_>) -> Option<Region<'_>> {
    let start = free.range().start.checked_next_multiple_of(PAGE)?;
    let gap = usize::try_from(start.checked_sub(free.range().start)?).ok()?;
    free.bytes_mut().get_mut(..gap)?.fill(0);
    free.align_to(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_gap_of_the_bank_is_the_payload_region() {
        const BANK: Range<u64> = 0..0x3b40_0000;
        let bramble = 0x3b00_0000..0x3b40_0000;
        assert_eq!(
            payload_region(BANK, &[0..0x1000, bramble.clone()]),
            0x1000..0x3b00_0000
        );
        // A device tree in the middle splits what is free.
        let tree = 0x2eff_0000..0x2f00_0000;
        assert_eq!(
            payload_region(BANK, &[bramble, tree, 0..0x1000, 0x800..0x2000]),
            0x2000..0x2eff_0000
        );
        assert_eq!(payload_region(BANK, &[]), BANK);
        assert_eq!(payload_region(BANK, &[0..BANK.end, 0..u64::MAX]), 0..0);
        assert_eq!(payload_region(0x1000..0x1000, &[]), 0x1000..0x1000);
    }

    #[test]
    fn no_region_touches_what_is_kept() {
        let mut state = 1_u64;
        let mut random = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % limit
        };
        for _ in 0..5000 {
            let kept: Vec<_> = (0..random(6))
                .map(|_| {
                    let start = random(100);
                    start..start + random(20)
                })
                .collect();
            let bank = 10..90;
            let region = payload_region(bank.clone(), &kept);
            let is_free = |at: u64| bank.contains(&at) && !kept.iter().any(|k| k.contains(&at));
            assert!(region.clone().all(is_free), "{region:?} {kept:?}");
            let mut longest = 0;
            let mut run = 0;
            for at in bank.clone() {
                run = if is_free(at) { run + 1 } else { 0 };
                longest = longest.max(run);
            }
            assert_eq!(region.end - region.start, longest, "{kept:?}");
        }
    }

    #[test]
    fn places_are_aligned_and_padding_is_zero() {
        let mut memory = vec![0xff; 6 << 20];
        let free = Region::new(0x1f_f001, &mut memory).unwrap();
        let room = free.align_to(BLOCK).unwrap();
        assert_eq!(room.range(), 0x20_0000..0x1f_f001 + (6 << 20));
        let (_kernel, free) = room.split_at(0x1234).unwrap();
        let (slot, free) = device_tree_slot(free).unwrap();
        assert_eq!(slot.range(), 0x40_0000..0x60_0000);
        let (_initrd, free) = free.split_at(5).unwrap();
        let room = initrd_room(free).unwrap();
        assert_eq!(room.range().start, 0x60_1000);
        let at = |address: usize| address - 0x1f_f001;
        assert!(memory[at(0x60_0005)..at(0x60_1000)].iter().all(|&b| b == 0));
        assert!(memory[at(0x60_1000)..].iter().all(|&b| b == 0xff));
    }

    #[test]
    fn what_linux_is_to_find_memory_for_is_missed_when_what_boots_takes_its_place() {
        use super::super::device_tree::tests::node;
        const MIB: u64 = 1 << 20;
        let cells: [(&str, &dyn super::super::device_tree::tests::Value); 2] =
            [("#address-cells", &1_u32), ("#size-cells", &1_u32)];
        let mut tree = dtoolkit::model::DeviceTree::new();
        let pool = |name: &str, size: u32, status: &str| {
            node(
                name,
                &[
                    ("size", &(size << 20)),
                    ("alloc-ranges", &[0_u32, 768 << 20]),
                    ("status", &status),
                ],
                vec![],
            )
        };
        let crash_log = node(
            "ramoops@b000000",
            &[("reg", &[0x0b00_0000_u32, 0x1_0000])],
            vec![],
        );
        let reserved = vec![
            crash_log,
            pool("linux,cma", 508, "okay"),
            pool("never", 900, "okay"),
            pool("off", 700, "disabled"),
        ];
        tree.root = node(
            "",
            &cells,
            vec![
                node(
                    "memory@0",
                    &[("device_type", &"memory"), ("reg", &[0_u32, 944 << 20])],
                    vec![],
                ),
                node("reserved-memory", &cells, reserved),
            ],
        );
        let dtb = tree.to_dtb();
        let tree = Tree::check(&dtb).unwrap();
        let missed = |written: &[Range<u64>]| without_room(&tree, written);
        assert!(missed(&[]).is_empty());
        assert!(missed(&[2 * MIB..170 * MIB, 178 * MIB..260 * MIB, 800 * MIB..940 * MIB]).is_empty());
        assert_eq!(missed(&[178 * MIB..262 * MIB, 0..1]), ["linux,cma"]);
        assert_eq!(missed(&[500 * MIB..501 * MIB, 0..1]), ["linux,cma"]);
    }

    #[test]
    fn too_little_memory_is_no_place() {
        let mut memory = vec![0; 4096];
        assert!(
            Region::new(0x1000, &mut memory)
                .unwrap()
                .align_to(BLOCK)
                .is_none()
        );
        assert!(device_tree_slot(Region::new(0x20_0000, &mut memory).unwrap()).is_none());
        assert!(initrd_room(Region::new(0x1001, &mut memory[..100]).unwrap()).is_none());
    }
}
