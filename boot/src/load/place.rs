//! Where things go: the places of kernel, device tree and initrd in what is free (Linux `booting.rst`).
//!
//! From low to high: the kernel at a 2 MiB boundary plus its text offset, the device tree in a 2 MiB slot of its own,
//! which Linux maps in one piece, and the initrds from a page boundary on. Each step hands on only the memory behind
//! what it placed, so no two of them can overlap.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::Region;

/// Kernels start at a multiple of this, and the device tree lies inside one such block.
pub const BLOCK: u64 = 2 << 20;
/// Initrds start at a multiple of this. Linux takes zeros between cpio archives.
pub const PAGE: u64 = 4096;

/// An address as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
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

/// The memory from the first place that a kernel may have.
pub fn kernel_room(free: Region<'_>) -> Option<Region<'_>> {
    free.align_to(BLOCK)
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
        let room = kernel_room(free).unwrap();
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
    fn too_little_memory_is_no_place() {
        let mut memory = vec![0; 4096];
        assert!(kernel_room(Region::new(0x1000, &mut memory).unwrap()).is_none());
        assert!(device_tree_slot(Region::new(0x20_0000, &mut memory).unwrap()).is_none());
        assert!(initrd_room(Region::new(0x1001, &mut memory[..100]).unwrap()).is_none());
    }
}
