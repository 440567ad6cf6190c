//! Reset to Rust: the assembly, and where it put things (arm64 boot protocol; link.ld holds the layout).

use core::arch::global_asm;
use core::ops::Range;

global_asm!(
    include_str!("cache.S"),
    include_str!("entry.S"),
    include_str!("exceptions.S"),
    include_str!("jump.S"),
    include_str!("copy.S"),
);

// SAFETY: symbols of the linker script, of which only addresses are taken.
unsafe extern "C" {
    static __stack_bottom: u8;
    static __stack_top: u8;
    static WINDOW: u8;
    static HEAP_END: u8;
    static HOME_SIZE: u8;
}

/// What entry.S fills the stack with, 32 bits at a time.
const STACK_FILL: u32 = 0x5aa5_5aa5;

/// Our own memory at the top of the first ARM bank, as link.ld divides it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home {
    base: usize,
}

impl Home {
    /// # Safety
    ///
    /// `base` is the address that entry.S moved the image to.
    pub(crate) unsafe fn new(base: usize) -> Self {
        Self { base }
    }

    /// All of it.
    pub(crate) fn range(self) -> Range<usize> {
        self.base..self.base + (&raw const HOME_SIZE).addr()
    }

    /// Behind the window with image and stacks.
    pub(crate) fn heap(self) -> Range<usize> {
        self.base + (&raw const WINDOW).addr()..self.base + (&raw const HEAP_END).addr()
    }

    /// Behind the heap.
    pub(crate) fn dma(self) -> Range<usize> {
        self.base + (&raw const HEAP_END).addr()..self.range().end
    }
}

/// The most bytes of stack that have been in use since reset.
pub(crate) fn stack_peak() -> usize {
    let (bottom, top) = (
        (&raw const __stack_bottom).cast::<u32>(),
        (&raw const __stack_top).cast::<u32>(),
    );
    let mut word = bottom;
    // SAFETY: both symbols bound the mapped stack and `word` stays between them; volatile, because the compiler
    // does not know about this memory.
    while word < top && unsafe { word.read_volatile() } == STACK_FILL {
        word = word.wrapping_add(1);
    }
    top.addr() - word.addr()
}
