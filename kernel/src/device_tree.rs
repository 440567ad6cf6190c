//! The firmware's device tree, copied out of the way of payloads (devicetree specification: the header).

use alloc::vec::Vec;
use core::slice;

use boot::HandoverError;
use boot::load::device_tree::Tree;

use crate::entry::Home;

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

/// The initramfs that the firmware has put into memory, if any; an error where it is not whole below `bank_end`, above page 0 and beside
/// `home`, where Bramble has moved to.
///
/// # Safety
///
/// Memory from 0 to `bank_end` is mapped readable, and nothing writes to it beside `home` while the result is used.
pub(crate) unsafe fn initramfs<'m>(
    tree: Option<&Tree<'_>>,
    bank_end: usize,
    home: Home,
) -> Option<Result<&'m [u8], HandoverError>> {
    let range = tree?.initramfs()?;
    let home = home.range();
    let beside = range.end <= home.start as u64 || range.start >= home.end as u64;
    if range.start < 0x1000 || range.end > bank_end as u64 || !beside {
        return Some(Err(HandoverError::Place));
    }
    let (start, len) = (range.start as usize, (range.end - range.start) as usize);
    // SAFETY: `len` bytes inside the bank, outside of home, by the caller's word.
    Some(Ok(unsafe { slice::from_raw_parts(start as *const u8, len) }))
}

/// The tree in `bytes`, checked. One that cannot be read is not there; `load` says why when it is needed.
pub(crate) fn read(bytes: &[u8]) -> Option<Tree<'_>> {
    Tree::check(bytes).ok()
}
