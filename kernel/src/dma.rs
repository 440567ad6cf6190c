//! Memory that devices read and write: cache-line aligned buffers, and their cache maintenance (Arm ARM).

use core::ops::Range;
use core::ptr::{self, NonNull};
use core::slice;

use crate::cpu;

/// Cache lines are 64 bytes on both cores; a buffer never shares one.
const LINE: usize = 64;

/// Where buffers come from. They are never given back: drivers are brought up once.
#[derive(Debug)]
pub struct Arena {
    free: Range<usize>,
}

impl Arena {
    /// # Safety
    ///
    /// `memory` is mapped RAM in the first GiB that nothing else uses, for as long as the program runs.
    pub unsafe fn new(memory: Range<usize>) -> Self {
        Self {
            free: memory.start.next_multiple_of(LINE)..memory.end,
        }
    }

    /// A zeroed buffer of `len` bytes, rounded up to whole lines. `None` when the arena is used up.
    pub(crate) fn buffer(&mut self, len: usize) -> Option<Buffer> {
        let len = len.checked_next_multiple_of(LINE)?;
        let start = self.free.start;
        let end = start.checked_add(len).filter(|end| *end <= self.free.end)?;
        self.free.start = end;
        let start = NonNull::new(ptr::with_exposed_provenance_mut(start))?;
        let mut buffer = Buffer {
            start,
            len,
            written: false,
        };
        buffer.bytes_mut().fill(0);
        Some(buffer)
    }
}

/// A buffer shared with a device. The caller decides whose turn it is by `give` and `take`; a pointer, because while
/// the device writes no reference may promise that nobody does (D-10). Why no type says whose turn it is: D-203.
#[derive(Debug)]
pub(crate) struct Buffer {
    start: NonNull<u8>,
    len: usize,
    /// Lines of ours may be dirty.
    written: bool,
}

impl Buffer {
    /// Its size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where legacy bus masters see it: the VideoCore's uncached alias of the first GiB.
    pub(crate) fn bus_address(&self) -> u32 {
        // The arena lies below 1 GiB, so the address fits.
        self.start.addr().get() as u32 | 0xc000_0000
    }

    /// Where bus masters with whole addresses see it.
    pub(crate) fn physical_address(&self) -> u64 {
        // RAM is mapped one to one.
        self.start.addr().get() as u64
    }

    /// Its contents, to write before `give`.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.written = true;
        // SAFETY: the bytes were cut off the arena for this buffer alone and stay for ever; `&mut self` makes this the
        // only reference; the driver has not given the buffer away, or is done with what the device leaves in it.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The device's turn on the first `len` bytes: what was written reaches memory, and no line of ours can land on what
    /// it writes. A buffer that only devices write has no dirty line after its first whole `give`.
    #[cfg_attr(not(target_os = "none"), track_caller)]
    pub(crate) fn give(&mut self, len: usize) {
        if cpu::left_out() {
            return;
        }
        if !self.written {
            return cpu::barrier();
        }
        let len = len.min(self.len);
        cpu::clean_and_invalidate(self.start.expose_provenance().get(), len);
        self.written = len < self.len;
    }

    /// The first `len` bytes, which `take` has made ours before.
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        // SAFETY: as in `bytes_mut`; the caller has taken these bytes and not given them away since.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), len.min(self.len)) }
    }

    /// Our turn: the first `len` bytes as the device left them. Lines fetched ahead meanwhile are dropped.
    #[cfg_attr(not(target_os = "none"), track_caller)]
    pub(crate) fn take(&self, len: usize) -> &[u8] {
        if cpu::left_out() {
            return self.bytes(len);
        }
        let len = len.min(self.len);
        // By the architecture the first line could go before the register was read that said the device is done: only a line's own
        // accesses are in order with its maintenance, and a branch orders stores.
        cpu::barrier();
        cpu::clean_and_invalidate(self.start.expose_provenance().get(), len);
        // SAFETY: as in `bytes_mut`; the device's writes lie before the barrier above, which the compiler takes for one
        // that may change memory, and `give` cannot begin the next turn while the result is borrowed.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), len) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cache::{self, Memory};

    /// An arena of `len` bytes for driver tests, and what devices see of it.
    pub(crate) fn arena(len: usize) -> (Arena, Memory) {
        let memory = Memory::install(len);
        let Range { start, end } = memory.range();
        // SAFETY: leaked for this arena alone, which need not begin with a line; only the cache moves bytes there, at `give`,
        // at `take` and when a device comes by.
        let arena = unsafe { Arena::new(start + 8..end) };
        (arena, memory)
    }

    #[test]
    fn buffers_are_whole_lines_zeroed_and_apart() {
        let (mut arena, _) = arena(1024);
        let (a, b) = (arena.buffer(1).unwrap(), arena.buffer(65).unwrap());
        assert_eq!((a.len(), b.len()), (64, 128));
        assert_eq!(a.take(64), [0; 64]);
        let (a, b) = (a.start.addr().get(), b.start.addr().get());
        assert_eq!((a % 64, b % 64), (0, 0));
        assert!(b >= a + 64);
    }

    #[test]
    fn what_the_core_has_written_is_cleaned_once() {
        let mut buffer = arena(1024).0.buffer(256).unwrap();
        let mut cleaned = |act: &dyn Fn(&mut Buffer)| {
            let before = cache::cleaned();
            act(&mut buffer);
            cache::cleaned() - before
        };
        assert_eq!(cleaned(&|buffer| buffer.give(256)), 256, "a new one was zeroed");
        assert_eq!(cleaned(&|buffer| buffer.give(256)), 0);
        assert_eq!(
            cleaned(&|buffer| _ = buffer.take(100)),
            100,
            "the device has written"
        );
        assert_eq!(cleaned(&|buffer| buffer.give(256)), 0);
        assert_eq!(cleaned(&|buffer| buffer.bytes_mut()[200] = 1), 0);
        assert_eq!(cleaned(&|buffer| buffer.give(64)), 64);
        assert_eq!(cleaned(&|buffer| buffer.give(256)), 256, "a part leaves the rest");
        assert_eq!(cleaned(&|buffer| buffer.give(1000)), 0);
    }

    #[test]
    fn a_used_up_arena_says_so() {
        let (mut arena, _) = arena(256);
        assert!(arena.buffer(4096).is_none());
        assert!(arena.buffer(usize::MAX).is_none());
        assert!(arena.buffer(64).is_some());
    }
}
