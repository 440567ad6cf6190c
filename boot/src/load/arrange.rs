//! Moves files in memory to the places that a boot needs: the kernel first, then the rest in order, without gaps.
//!
//! Downloads in the usual order of a script already lie so, and nothing moves. Otherwise three passes do it without a second
//! copy: move everything up to the end, rotate blocks into order, move the kernel down to the start. When the boot may use less
//! memory than the downloads did, everything first moves down below that limit (D-57).

use alloc::vec::Vec;
use core::ops::Range;

use super::place::{BLOCK, PAGE};
use crate::work::{Tick, rotate_right, shift};

/// A file in memory: offsets into the memory that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Piece {
    /// The offset of its first byte. The page boundary is `front` bytes before it.
    pub at: usize,
    /// Its bytes.
    pub len: usize,
    /// Bytes wanted in front of it, whole pages.
    pub front: usize,
}

impl Piece {
    /// The first byte behind it.
    pub fn end(&self) -> usize {
        self.at.saturating_add(self.len)
    }

    /// The whole pages that it takes, its front included.
    fn block(&self) -> usize {
        up(self.front.saturating_add(self.len), PAGE as usize)
    }
}

/// Memory in which files are moved about.
#[derive(Debug)]
pub struct Space<'b> {
    /// All of it.
    pub bytes: &'b mut [u8],
    /// The address of its first byte.
    pub base: u64,
    /// The part that a boot may use: offsets.
    pub window: Range<usize>,
}

/// The next multiple of `align`.
fn up(offset: usize, align: usize) -> usize {
    offset.checked_next_multiple_of(align).unwrap_or(usize::MAX)
}

/// The offset of the first multiple of `align` at or behind `offset`, in memory that begins at `base`.
pub fn aligned(base: u64, offset: usize, align: u64) -> usize {
    let address = base.saturating_add(offset as u64);
    let next = address.checked_next_multiple_of(align).unwrap_or(u64::MAX);
    usize::try_from(next.saturating_sub(base)).unwrap_or(usize::MAX)
}

/// Moves the kernel to a 2 MiB boundary in the window and the rest, each with its front, into one run of pages behind it, all
/// of them inside that part of memory. The padding of the rest is zero afterwards. `room` is what the kernel needs from its start, when that is known; else it gets all
/// there is. Returns false, with nothing in its place, when there is not enough memory (D-57).
#[must_use]
pub fn arrange(
    space: &mut Space<'_>,
    kernel: &mut Piece,
    rest: &mut [Piece],
    room: Option<usize>,
    tick: &mut Tick<'_>,
) -> bool {
    let done = lies_right(space, kernel, rest, room) || pack(space, kernel, rest, tick).is_some();
    for piece in rest.iter().filter(|_| done) {
        let start = piece.at.saturating_sub(piece.front);
        let end = start
            .saturating_add(piece.block())
            .min(space.window.end)
            .min(space.bytes.len());
        for padding in [start..piece.at, piece.end()..end] {
            if let Some(padding) = space.bytes.get_mut(padding) {
                padding.fill(0);
            }
        }
    }
    done
}

fn lies_right(space: &Space<'_>, kernel: &Piece, rest: &[Piece], room: Option<usize>) -> bool {
    let Space { base, window, .. } = space;
    let base = *base;
    let first = aligned(base, window.start, BLOCK);
    // Alone in the first place it has all there is.
    let alone = (rest.is_empty() && kernel.at == first).then_some(kernel.len);
    let Some(room) = room
        .or(alone)
        .filter(|_| aligned(base, kernel.at, BLOCK) == kernel.at)
    else {
        return false;
    };
    // Elsewhere there may be too little behind it, and what lies below is free.
    if rest.is_empty() && kernel.at != first && kernel.at.saturating_add(room) > window.end {
        return false;
    }
    let end = rest.last().map_or(kernel.end(), Piece::end);
    if kernel.at < window.start || end > window.end {
        return false;
    }
    let mut free = None;
    rest.iter().all(|piece| {
        let start = piece.at.checked_sub(piece.front);
        let fits = match (start, free) {
            (Some(start), None) => start >= kernel.at.saturating_add(room),
            (start, free) => start == free,
        };
        free = Some(aligned(base, piece.end(), PAGE));
        fits
    })
}

fn pack(space: &mut Space<'_>, kernel: &mut Piece, rest: &mut [Piece], tick: &mut Tick<'_>) -> Option<()> {
    let Space { bytes, base, window } = space;
    let base = *base;
    let mut pieces: Vec<&mut Piece> = core::iter::once(&mut *kernel).chain(rest.iter_mut()).collect();
    // Indices by address; an insertion sort, because there are few.
    let mut order: Vec<usize> = Vec::with_capacity(pieces.len());
    let at = |pieces: &[&mut Piece], index: usize| pieces.get(index).map_or(0, |piece| piece.at);
    for index in 0..pieces.len() {
        let key = at(&pieces, index);
        order.insert(order.partition_point(|other| at(&pieces, *other) <= key), index);
    }
    // The end of memory at a page boundary; the multiple at or behind the end may be behind it.
    let len = bytes.len();
    let last_page = |end: usize| match aligned(base, end, PAGE) {
        page if page == end => Some(end),
        page => page.checked_sub(PAGE as usize),
    };
    let mut top = last_page(len)?;
    let (packed_end, end) = (top, last_page(window.end.min(len))?);
    for (place, index) in order.iter().enumerate().rev() {
        let lower = place.checked_sub(1).and_then(|place| order.get(place));
        let floor = lower
            .and_then(|lower| pieces.get(*lower))
            .map_or(0, |lower| lower.end());
        let piece = pieces.get_mut(*index)?;
        top = top.checked_sub(piece.block())?;
        let target = top.checked_add(piece.front)?;
        if top < floor || target < piece.at {
            return None;
        }
        bytes.get(piece.at..piece.end())?;
        shift(bytes, piece.at..piece.end(), target, tick);
        piece.at = target;
    }
    // Each piece in turn to the front of those that follow.
    let mut start = top;
    for index in 0..pieces.len() {
        let place = order.iter().position(|other| *other == index)?;
        let before = order.get(..place)?.iter();
        let before: usize = before
            .filter_map(|other| pieces.get(*other))
            .map(|piece| piece.block())
            .fold(0, usize::saturating_add);
        let piece = pieces.get_mut(index)?;
        let end = start.checked_add(before)?.checked_add(piece.block())?;
        if before > 0 {
            rotate_right(bytes.get_mut(start..end)?, piece.block(), tick);
        }
        order.remove(place);
        piece.at = start.checked_add(piece.front)?;
        start = start.checked_add(piece.block())?;
    }
    // Down to the end of the window.
    let down = packed_end.checked_sub(end)?;
    if down > 0 {
        shift(bytes, top..packed_end, top.checked_sub(down)?, tick);
        for piece in core::iter::once(&mut *kernel).chain(rest.iter_mut()) {
            piece.at = piece.at.checked_sub(down)?;
        }
    }
    let first = aligned(base, window.start, BLOCK);
    if first > kernel.at {
        return None;
    }
    shift(bytes, kernel.at..kernel.end(), first, tick);
    kernel.at = first;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two pages before a 2 MiB boundary.
    const BASE: u64 = 0x1f_e000;
    const PAGES: usize = PAGE as usize;

    /// Memory with these pieces in it, each filled with its index.
    fn memory(len: usize, pieces: &[Piece]) -> Vec<u8> {
        let mut memory = vec![0xee; len];
        for (index, piece) in pieces.iter().enumerate() {
            memory[piece.at..piece.end()].fill(index as u8);
        }
        memory
    }

    fn piece(at: usize, len: usize) -> Piece {
        Piece { at, len, front: 0 }
    }

    /// Arranges and proves what must hold; returns whether anything moved.
    fn check(len: usize, kernel: Piece, rest: &[Piece], room: Option<usize>) -> bool {
        check_in(len, 0..len, kernel, rest, room)
    }

    fn check_in(
        len: usize,
        window: Range<usize>,
        kernel: Piece,
        rest: &[Piece],
        room: Option<usize>,
    ) -> bool {
        let before: Vec<Piece> = [&[kernel], rest].concat();
        let mut bytes = memory(len, &before);
        let (mut kernel, mut rest) = (kernel, rest.to_vec());
        let mut space = Space {
            bytes: &mut bytes,
            base: BASE,
            window: window.clone(),
        };
        assert!(arrange(&mut space, &mut kernel, &mut rest, room, &mut |_| {}));
        assert!(kernel.at >= window.start && kernel.end() <= window.end);
        assert!(rest.iter().all(|piece| piece.end() <= window.end));
        assert_eq!((BASE + kernel.at as u64) % BLOCK, 0);
        let mut free = None;
        for (index, piece) in [&[kernel], &*rest].concat().iter().enumerate() {
            let contents = &bytes[piece.at..piece.end()];
            assert!(contents.iter().all(|&byte| byte == index as u8), "{index}");
            let start = piece.at - piece.front;
            assert_eq!((BASE + start as u64) % PAGE, 0, "{index}");
            match free {
                _ if index == 0 => {}
                None => assert!(start >= kernel.end()),
                Some(free) => assert_eq!(start, free, "{index}"),
            }
            if index > 0 {
                let end = start + piece.block();
                let padding = bytes[start..piece.at].iter().chain(&bytes[piece.end()..end]);
                assert!(padding.clone().all(|&byte| byte == 0), "{index}");
                free = Some(end);
            }
        }
        before != [&[kernel], &*rest].concat()
    }

    #[test]
    fn what_lies_right_stays() {
        let first = aligned(BASE, 0, BLOCK);
        let block = BLOCK as usize;
        let kernel = piece(first, 5000);
        let rest = [
            piece(first + 2 * block, 5),
            Piece {
                at: first + 2 * block + 2 * PAGES,
                len: 5000,
                front: PAGES,
            },
            piece(first + 2 * block + 4 * PAGES, 1),
        ];
        assert!(!check(4 * block, kernel, &rest, Some(2 * block)));
        assert!(check(4 * block, kernel, &rest, Some(2 * block + 1)));
        assert!(
            check(4 * block, kernel, &rest, None),
            "a packed kernel needs all the room"
        );
        assert!(!check(2 * block, kernel, &[], Some(block)));
        // But not where something else must be.
        assert!(check_in(
            4 * block,
            first + 1..4 * block,
            kernel,
            &[],
            Some(block)
        ));
        assert!(check_in(
            6 * block,
            0..2 * block,
            kernel,
            &rest[..1],
            Some(2 * block)
        ));
    }

    #[test]
    fn a_kernel_alone_far_up_moves_down_when_it_needs_what_lies_below() {
        let big = 3 * (BLOCK as usize);
        for room in [None, Some(2 * (BLOCK as usize))] {
            let mut kernel = piece(big - (BASE as usize % BLOCK as usize), 4000);
            let mut bytes = memory(big + (BLOCK as usize), std::slice::from_ref(&kernel));
            let mut space = Space {
                window: 0..bytes.len(),
                bytes: &mut bytes,
                base: BASE,
            };
            assert!(arrange(&mut space, &mut kernel, &mut [], room, &mut |_| {}));
            assert_eq!(kernel.at, aligned(BASE, 0, BLOCK), "{room:?}");
        }
    }

    #[test]
    fn any_order_is_brought_into_order() {
        let mut state = 7_u64;
        let mut random = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % limit
        };
        for _ in 0..300 {
            let count = 1 + random(5);
            let (mut at, mut pieces) = (0, Vec::new());
            for _ in 0..count {
                let len = random(3 * PAGES);
                pieces.push(piece(at, len));
                at = up(at + len, PAGES) + random(3) * PAGES;
            }
            for i in 0..count {
                pieces.swap(i, random(count));
            }
            for piece in &mut pieces[1..] {
                piece.front = random(2) * PAGES;
            }
            let kernel = pieces.remove(0);
            check(40 * PAGES + random(PAGES), kernel, &pieces, None);
            // What is kept below and above is as far away as the files are long.
            let start = random(20 * PAGES);
            let end = start + 512 * PAGES + 30 * PAGES + random(PAGES);
            check_in(1200 * PAGES, start..end, kernel, &pieces, None);
        }
    }

    #[test]
    fn too_little_memory_is_no_arrangement() {
        let arranged = |base, mut kernel: Piece, rest: &mut [Piece]| {
            let mut space = Space {
                bytes: &mut [0; 4 * PAGES],
                base,
                window: 0..4 * PAGES,
            };
            arrange(&mut space, &mut kernel, rest, None, &mut |_| {})
        };
        let too_far = Piece {
            at: PAGES,
            len: 10,
            front: 3 * PAGES,
        };
        assert!(!arranged(0x20_0000, piece(0, 10), &mut [too_far]));
        assert!(!arranged(0x20_1000, piece(0, 10), &mut []), "no boundary");
        assert!(arranged(0x20_0000, piece(PAGES, 10), &mut [piece(0, 4096)]));
    }
}
