//! The firmware's device tree, copied out of the way of payloads (devicetree specification: the header).

use alloc::vec::Vec;
use core::slice;

use boot::load::device_tree::Tree;

/// The largest one that is believed.
const LARGEST: usize = 2 << 20;

/// The tree at `address`. None when no tree begins there, or when it goes on behind `bank_end`.
///
/// # Safety
///
/// Memory from 0 to `bank_end` is mapped readable and nothing writes to it.
pub(crate) unsafe fn copy(address: usize, bank_end: usize) -> Option<Vec<u8>> {
    if address == 0 || !address.is_multiple_of(8) || address.checked_add(8)? > bank_end {
        return None;
    }
    // SAFETY: eight bytes inside the bank, by the caller's word.
    let head = unsafe { slice::from_raw_parts(address as *const u8, 8) };
    let (magic, size) = head.split_at(4);
    let size = u32::from_be_bytes(size.try_into().ok()?) as usize;
    if magic != [0xd0, 0x0d, 0xfe, 0xed] || size > LARGEST || address.checked_add(size)? > bank_end {
        return None;
    }
    // SAFETY: `size` bytes inside the bank, by the caller's word.
    Some(unsafe { slice::from_raw_parts(address as *const u8, size) }.to_vec())
}

/// The tree in `bytes`, checked. One that cannot be read is not there; `load` says why when it is needed.
pub(crate) fn read(bytes: &[u8]) -> Option<Tree<'_>> {
    Tree::check(bytes).ok()
}
