//! A kernel ready to run: a value that `kernel` consumes, because its jump does not return.

use alloc::vec::Vec;
use core::ops::Range;

/// Where to jump, and what must reach memory first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handoff {
    /// Physical address of the kernel's first instruction.
    pub entry: u64,
    /// Physical address of the device tree, for x0.
    pub device_tree: u64,
    /// Physical ranges that were written and must be cleaned from the data cache.
    pub written: Vec<Range<u64>>,
}
