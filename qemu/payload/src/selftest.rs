//! With `selftest` on the command line: the firmware's own `memcpy` and TCP checksum, against a byte at a time.
//!
//! Both are assembly that host tests leave out. Their memory is made what it is in the firmware: normal, by the MMU.

use core::ops::RangeInclusive;

use crate::print::Uart;

#[path = "../../../kernel/src/ether/checksum.rs"]
mod checksum;

// Rust's own copies become calls of this `memcpy` too, and it needs the MMU: what runs without copies nothing large.
core::arch::global_asm!(
    include_str!("../../../kernel/src/copy.S"),
    include_str!("memory.S")
);

// SAFETY: as copy.S and memory.S define them; `memcpy` is C's.
unsafe extern "C" {
    fn memcpy(target: *mut u8, source: *const u8, len: usize) -> *mut u8;
    fn normal_memory(table: *const Table, on: bool);
}

const LENGTHS: RangeInclusive<usize> = 0..=600;
/// A segment, a frame, a page, and a byte less or more.
const LARGE: [usize; 6] = [1459, 1460, 1514, 4095, 4096, 4097];
const ALIGNMENTS: usize = 16;
/// What must stay as it is before and behind a copy: more than is moved at a time.
const GUARD: usize = 80;
/// No byte that is copied.
const UNTOUCHED: u8 = 0xff;
const ROOM: usize = 4097 + ALIGNMENTS + 2 * GUARD;
/// Ethernet's and IPv4's headers, which end with the addresses.
const HEADERS: usize = 14 + 20;
const ADDRESSES: usize = HEADERS - 8;

/// Bytes whose alignments are those of their indices.
#[repr(align(16))]
struct Aligned([u8; ROOM]);

/// A translation table of level 2: 2 MiB an entry.
#[repr(C, align(4096))]
struct Table([u64; 512]);

/// The first case that went wrong.
struct Wrong {
    len: usize,
    from: usize,
    to: usize,
}

/// Tries every length at every alignment. `start` is the image's address, `el` the exception level.
pub(crate) fn report(uart: Uart, start: u64, el: u64) {
    let mut table = Table([0; 512]);
    let block = start & !0x1f_ffff;
    let Some(entry) = table.0.get_mut((block >> 21) as usize) else {
        uart.text("payload: copies not tried beyond 1 GiB\n");
        return;
    };
    // A block that was accessed; EL2's RES1 would give EL0 this memory in EL1's.
    *entry = block | 1 << 10 | if el == 2 { 1 << 6 } else { 0 } | 0b01;
    // SAFETY: image and stack lie within 2 MiB from `start`, a multiple of that, and are where they were; the table
    // outlives its use. Devices are not touched in between.
    let (copies, sums) = unsafe {
        normal_memory(&raw const table, true);
        let tried = (copies(), sums());
        normal_memory(&raw const table, false);
        tried
    };
    for (what, tried) in [("payload: copies ", copies), (", sums ", sums)] {
        uart.text(what);
        match tried {
            Ok(cases) => uart.number(cases).text(" right"),
            Err(Wrong { len, from, to }) => uart
                .text("WRONG for ")
                .number(len as u64)
                .text(" bytes from alignment ")
                .number(from as u64)
                .text(" to ")
                .number(to as u64),
        };
    }
    uart.text("\n");
}

/// Bytes that differ from their neighbours and from `UNTOUCHED`.
fn pattern(at: usize) -> u8 {
    ((at as u32).wrapping_mul(0x9e37_79b1) >> 25) as u8
}

/// Copies, and looks at every byte of the target and its guards.
fn copies() -> Result<u64, Wrong> {
    let mut source = Aligned([0; ROOM]);
    let mut target = Aligned([0; ROOM]);
    for (at, byte) in source.0.iter_mut().enumerate() {
        *byte = pattern(at);
    }
    let mut cases = 0;
    for len in LENGTHS.chain(LARGE) {
        for from in 0..ALIGNMENTS {
            for to in 0..ALIGNMENTS {
                let start = GUARD + to;
                for byte in target.0.iter_mut().take(start + len + GUARD) {
                    *byte = UNTOUCHED;
                }
                let place = target.0.as_mut_ptr().wrapping_add(start);
                // SAFETY: `from + len` and `start + len` are within both arrays, which are two.
                let given = unsafe { memcpy(place, source.0.as_ptr().wrapping_add(from), len) };
                let as_expected = |(at, &byte): (usize, &u8)| {
                    byte == match at.checked_sub(start) {
                        Some(at) if at < len => pattern(from + at),
                        _ => UNTOUCHED,
                    }
                };
                let mut seen = target.0.iter().take(start + len + GUARD).enumerate();
                if given != place || !seen.all(as_expected) {
                    return Err(Wrong { len, from, to });
                }
                cases += 1;
            }
        }
    }
    Ok(cases)
}

/// Sums segments that are right, and again with one bit wrong.
fn sums() -> Result<u64, Wrong> {
    let mut memory = Aligned([0; ROOM]);
    let mut cases = 0;
    for len in LENGTHS.chain(LARGE) {
        for from in 0..ALIGNMENTS {
            let wrong = Wrong { len, from, to: from };
            let Some(frame) = memory.0.get_mut(from..from + HEADERS + len) else {
                return Err(wrong);
            };
            for (at, byte) in frame.iter_mut().enumerate() {
                *byte = pattern(at + len) << 1 | 1;
            }
            let Some(headers) = frame.first_chunk_mut::<HEADERS>() else {
                return Err(wrong);
            };
            let [total, total_low] = (20 + len as u16).to_be_bytes();
            (headers[12], headers[13], headers[14], headers[23]) = (0x08, 0x00, 0x45, 6);
            (headers[16], headers[17]) = (total, total_low);
            // The addresses are summed too, and are there when the segment is empty: the sum is made right in the last.
            (headers[32], headers[33]) = (0, 0);
            let sum = 6 + len as u32 + frame.iter().skip(ADDRESSES).enumerate().fold(0, weigh);
            let sum = (sum & 0xffff) + (sum >> 16);
            let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
            for (byte, value) in frame.iter_mut().skip(32).zip(sum.to_be_bytes()) {
                *byte = value;
            }
            let right = checksum::right(frame);
            let flipped = ADDRESSES + (len * 31 + from) % (8 + len);
            if let Some(byte) = frame.get_mut(flipped) {
                *byte ^= 1 << (len % 8);
            }
            if !right || checksum::right(frame) {
                return Err(wrong);
            }
            cases += 1;
        }
    }
    Ok(cases)
}

/// Adds a byte as the high or low half of its pair.
fn weigh(sum: u32, (at, &byte): (usize, &u8)) -> u32 {
    sum + (u32::from(byte) << if at % 2 == 0 { 8 } else { 0 })
}
