//! Looks for what a Cortex-A53 may compute wrongly: Arm erratum 835769 (Arm's notice to software developers ARM-EPM-048406).
//!
//! A 64-bit multiply-accumulate directly behind a load or a store may add to the wrong number. It does not when it needs
//! what the load brings, because it waits then. The compiler puts an instruction between the two where it is told to, in
//! what it compiles; this says whether all of the image was.

/// Offsets in `code` of the multiply-accumulates that may go wrong. `code` is little-endian instructions from an aligned
/// address on.
pub(crate) fn sites(code: &[u8]) -> Vec<usize> {
    let words: Vec<u32> = code
        .as_chunks::<4>()
        .0
        .iter()
        .map(|word| u32::from_le_bytes(*word))
        .collect();
    words
        .windows(2)
        .enumerate()
        .filter_map(|(index, pair)| match *pair {
            [before, then] if may_go_wrong(before, then) => Some((index + 1) * 4),
            _ => None,
        })
        .collect()
}

fn may_go_wrong(before: u32, then: u32) -> bool {
    let Some([left, right, sum]) = accumulated(then) else {
        return false;
    };
    let waits = |loaded: u32| [left, right, sum].contains(&loaded);
    accesses_memory(before) && !loaded(before).into_iter().flatten().any(waits)
}

/// Five bits of an instruction that name a register.
fn register(word: u32, shift: u32) -> u32 {
    word >> shift & 0x1f
}

/// The three registers that a 64-bit multiply-accumulate reads: MADD, MSUB, and the four from 32 to 64 bits.
fn accumulated(word: u32) -> Option<[u32; 3]> {
    let sum = register(word, 10);
    // SMULH and UMULH add nothing, and neither does anything that adds register 31, which is zero.
    let adds = word >> 24 == 0x9b && matches!(word >> 21 & 7, 0 | 1 | 5) && sum != 31;
    adds.then(|| [register(word, 5), register(word, 16), sum])
}

/// Bits 28:25 of every load and store, prefetches included, are x1x0 (Arm ARM C4.1).
fn accesses_memory(word: u32) -> bool {
    word >> 27 & 1 == 1 && word >> 25 & 1 == 0
}

/// The general registers that a load writes, where that is certain; none of a store, and none of those of SIMD.
fn loaded(word: u32) -> [Option<u32>; 2] {
    let is_simd = word >> 26 & 1 == 1;
    let loads = word >> 22 & 1 == 1;
    let first = Some(register(word, 0));
    match word >> 27 & 7 {
        _ if is_simd => [None, None],
        // Pairs.
        0b101 if loads => [first, Some(register(word, 10))],
        // From beside the program counter.
        0b011 => [first, None],
        // One register; 00 in bits 23:22 is a store, 11 of 64 bits a prefetch, which brings nothing.
        0b111 if word >> 22 & 3 != 0 && word >> 22 != 0x3e6 => [first, None],
        // Exclusives, and with acquire.
        0b001 if loads => [first, None],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LDR_X1: u32 = 0xf940_0001; // ldr x1, [x0]
    const STRH_W1: u32 = 0x7900_0001; // strh w1, [x0]
    const LDP_X1_X2: u32 = 0xa940_0801; // ldp x1, x2, [x0]
    const LDR_D1: u32 = 0xfd40_0001; // ldr d1, [x0]
    const PRFM: u32 = 0xf980_0001; // prfm pldl1strm, [x0]
    const NOP: u32 = 0xd503_201f;
    const MADD: u32 = 0x9b05_1883; // madd x3, x4, x5, x6
    const MADD_OF_X1: u32 = 0x9b01_1883; // madd x3, x4, x1, x6
    const MADD_OF_X2: u32 = 0x9b05_0883; // madd x3, x4, x5, x2
    const UMADDL: u32 = 0x9ba5_1883; // umaddl x3, w4, w5, x6
    const MUL: u32 = 0x9b05_7c83; // mul x3, x4, x5
    const UMULH: u32 = 0x9bc5_7c83; // umulh x3, x4, x5
    const MADD_W: u32 = 0x1b05_1883; // madd w3, w4, w5, w6

    fn found(words: &[u32]) -> Vec<usize> {
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        sites(&code)
    }

    #[test]
    fn a_sum_behind_any_access_may_go_wrong() {
        for before in [LDR_X1, STRH_W1, LDP_X1_X2, LDR_D1, PRFM] {
            assert_eq!(found(&[NOP, before, MADD]), [8], "{before:#x}");
            assert_eq!(found(&[before, UMADDL, NOP]), [4], "{before:#x}");
        }
        assert_eq!(found(&[STRH_W1, MADD_OF_X1]), [4], "a store brings nothing");
        assert_eq!(found(&[PRFM, MADD_OF_X1]), [4], "neither does a prefetch");
        assert_eq!(found(&[LDR_D1, MADD_OF_X1]), [4], "D1 is not X1");
    }

    #[test]
    fn one_that_waits_or_adds_nothing_or_comes_later_does_not() {
        assert!(found(&[LDR_X1, MADD_OF_X1]).is_empty());
        assert!(found(&[LDP_X1_X2, MADD_OF_X2]).is_empty());
        assert!(found(&[LDR_X1, NOP, MADD]).is_empty());
        assert!(found(&[MADD, LDR_X1]).is_empty());
        for then in [MUL, UMULH, MADD_W] {
            assert!(found(&[LDR_X1, then]).is_empty(), "{then:#x}");
        }
    }
}
