//! What the fuzz targets share: a heap that knows its peak, input in pieces, and PXELINUX text out of a menu.
//!
#![doc = include_str!("../README.md")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub mod print;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's heap, counted.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

fn took(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    PEAK.fetch_max(live, Relaxed);
}

// SAFETY: every call goes to `System` as it came; counting touches no memory of the caller's.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Does `work`, which may have at most `limit` bytes of heap more than there were before, its result included.
pub fn within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    let peak = PEAK.load(Relaxed).saturating_sub(before);
    assert!(peak <= limit, "{peak} bytes of heap where {limit} are enough");
    result
}

/// The input as datagrams or answers: each piece after a byte with its length, two bytes where the first is 0xff.
pub fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = match *data {
            [0xff, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
            [len, ref rest @ ..] => (usize::from(len), rest),
            [] => return None,
        };
        let (piece, rest) = rest.split_at(len.min(rest.len()));
        data = rest;
        Some(piece)
    })
}
