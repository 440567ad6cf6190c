//! The heap (`linked_list_allocator`): small things only, menus and socket buffers; payloads never come from it (D-15).

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

use linked_list_allocator::LockedHeap;

struct Heap {
    inner: LockedHeap,
    used: AtomicUsize,
    peak: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap {
    inner: LockedHeap::empty(),
    used: AtomicUsize::new(0),
    peak: AtomicUsize::new(0),
};

// SAFETY: forwards to LockedHeap, which upholds the contract; the counters touch no memory of the heap.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the callee's.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            let used = self.used.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            self.peak.fetch_max(used, Ordering::Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.used.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract is the callee's.
        unsafe { self.inner.dealloc(block, layout) }
    }
}

/// Gives the heap its memory.
///
/// # Safety
///
/// Called once; `memory` is mapped RAM that nothing else uses.
pub(crate) unsafe fn start(memory: Range<usize>) {
    // SAFETY: the caller hands the range over.
    unsafe { HEAP.inner.lock().init(memory.start as *mut u8, memory.len()) }
}

/// The most bytes that were allocated at once.
pub(crate) fn peak() -> usize {
    HEAP.peak.load(Ordering::Relaxed)
}
