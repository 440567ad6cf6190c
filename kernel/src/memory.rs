//! Whose the first ARM bank is: ours at its top, and the largest free piece of the rest for what boots.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::slice;

use boot::load::device_tree::Tree;
use boot::load::place;
use boot::{Address, Region, info};

use kernel::dma::Arena;

use crate::entry::Home;
use crate::heap;

/// Starts the heap and gives out what devices may write to, in what entry.S left of `home`.
///
/// # Safety
///
/// This runs once, after entry.S.
pub(crate) unsafe fn ours(home: Home) -> Arena {
    // SAFETY: entry.S maps this part of home and uses none of it; this runs once.
    unsafe { heap::start(home.heap()) };
    // SAFETY: as above; home is below 1 GiB.
    unsafe { Arena::new(home.dma()) }
}

/// The largest free piece of the bank, which ends at `bank_end`: neither page 0, nor ours, nor what the firmware reserves.
///
/// # Safety
///
/// entry.S maps the bank as RAM, and this runs once.
pub(crate) unsafe fn payloads(bank_end: usize, home: Home, tree: Option<&Tree<'_>>) -> Region<'static> {
    let mut kept: Vec<Range<u64>> = vec![0..0x1000, home.range().start as u64..home.range().end as u64];
    if let Some(tree) = tree {
        kept.extend(tree.reservations());
    }
    let free = place::payload_region(0..bank_end as u64, &kept);
    let (start, len) = (free.start as usize, (free.end - free.start) as usize);
    info!("memory: {} MiB free at {}", len >> 20, Address(free.start));
    // SAFETY: RAM by the caller's word, free by the arithmetic above, and taken once.
    let bytes = unsafe { slice::from_raw_parts_mut(start as *mut u8, len) };
    // A region below 1 GiB does not wrap.
    Region::new(free.start, bytes).expect("RAM lies below 1 GiB")
}
