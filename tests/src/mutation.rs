//! Changes to golden bytes: every truncation, every single-byte change, and seeded random ones.

use crate::random::Random;

/// One change, applicable to any bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Cut to this length.
    Cut(usize),
    /// The bits to flip (never 0) in the byte at a position.
    Flip(usize, u8),
    /// By the seed: up to eight bytes changed, or a span repeated or removed.
    Scramble(u64),
    /// Random bytes instead, up to twice as long as the golden ones.
    Replace(u64),
}

impl Mutation {
    /// Every truncation of `len` bytes.
    pub fn cuts(len: usize) -> impl Iterator<Item = Self> {
        (0..len).map(Self::Cut)
    }

    /// Every other value of every byte.
    pub fn changes(len: usize) -> impl Iterator<Item = Self> {
        (0..len).flat_map(|at| (1..=255).map(move |bits| Self::Flip(at, bits)))
    }

    /// Every bit of every byte, and all bits at once: for whole sessions, which cost more than a call.
    pub fn flips(len: usize) -> impl Iterator<Item = Self> {
        (0..len).flat_map(|at| [1, 2, 4, 8, 16, 32, 64, 128, 255].map(move |bits| Self::Flip(at, bits)))
    }

    /// This many random changes.
    pub fn random(count: u64) -> impl Iterator<Item = Self> {
        (0..count).flat_map(|seed| [Self::Scramble(seed), Self::Replace(seed)])
    }

    /// The changed bytes.
    pub fn apply(self, golden: &[u8]) -> Vec<u8> {
        let mut bytes = golden.to_vec();
        match self {
            Self::Cut(len) => bytes.truncate(len),
            Self::Flip(at, bits) => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Self::Scramble(seed) => {
                let mut random = Random::new(seed);
                for _ in 0..=random.below(8) {
                    if bytes.is_empty() {
                        break;
                    }
                    let at = random.below(bytes.len());
                    let end = (at + random.below(64)).min(bytes.len());
                    match random.below(4) {
                        0 => bytes.drain(at..end).for_each(drop),
                        1 => bytes.extend_from_within(at..end),
                        2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                        _ => bytes[at] = random.draw() as u8,
                    }
                }
            }
            Self::Replace(seed) => {
                let mut random = Random::new(seed);
                let len = random.below(2 * golden.len() + 1);
                bytes.resize(len, 0);
                random.fill(&mut bytes);
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_changes_and_every_one_is_there() {
        let golden = [7; 5];
        let mut all: Vec<_> = Mutation::changes(5).map(|m| m.apply(&golden)).collect();
        all.extend(Mutation::cuts(5).map(|m| m.apply(&golden)));
        assert!(all.iter().all(|bytes| *bytes != golden));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5 * 255 + 5);
        assert_eq!(
            Mutation::Scramble(9).apply(&golden),
            Mutation::Scramble(9).apply(&golden)
        );
    }
}
