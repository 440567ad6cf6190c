//! A kernel ready to run (arm64 boot protocol): a value that `kernel` consumes, because its jump does not return.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// Where to jump, and what must reach memory first (Linux `Documentation/arch/arm64/booting.rst`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handoff {
    /// Physical address of the kernel's first instruction.
    pub entry: u64,
    /// Physical address of the device tree, for x0; a multiple of 8.
    pub device_tree: u64,
    /// Physical ranges that the payload reads and that must be clean to the point of coherency: the kernel with its
    /// BSS, the device tree, the initrd. Ordered, disjoint, inside the memory that `load` was given. Any other
    /// line of that memory may be dirty with scratch data (a failed attempt, compressed bytes): it must not be
    /// written back after the jump either, so the caches are to be emptied as a whole before they are turned off.
    pub written: Vec<Range<u64>>,
    /// The command line in that device tree.
    pub command_line: String,
}
