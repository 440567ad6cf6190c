//! Random numbers: those that tell nodes apart on the network, and those that Linux starts with.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use crate::hal::Entropy;

/// Numbers that strangers cannot guess: ports, transaction ids, sequence numbers, nonces, jitter. SHA-256 in counter mode: what is
/// seen of them tells nothing of the others, before or after, nor of a [fork's](Random::fork) (D-171).
#[derive(Debug)]
pub(crate) struct Random {
    key: [u8; 32],
    /// Blocks and forks so far.
    counter: u64,
    /// What is left of the last block.
    left: Vec<u8>,
    worth: Worth,
}

/// What numbers are worth against a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    /// They come of true randomness.
    Secret,
    /// They follow from what a stranger may know: the hardware's generator failed.
    Guessable,
}

/// What a hash of the key is for.
#[derive(Debug, Clone, Copy)]
enum Use {
    Numbers = 0,
    Fork = 1,
}

impl Random {
    /// From true randomness, mixed with what tells nodes and boots apart when the generator failed.
    pub(crate) fn seeded(entropy: &mut dyn Entropy, mac: EthernetAddress, now: Instant) -> Self {
        let of_the_node = Sha256::new()
            .chain_update(mac.0)
            .chain_update(now.total_micros().to_le_bytes());
        let mut random = Self::keyed(of_the_node.finalize().into(), Worth::Guessable);
        if !random.draw(entropy) {
            warn!(
                "net: no entropy; ports, transaction ids and sequence numbers follow from the MAC address and the time, and a stranger who \
                 knows these can guess them"
            );
        }
        random
    }

    /// Mixes true randomness into the key; `false` when the generator failed. What the key was still counts.
    pub(crate) fn draw(&mut self, entropy: &mut dyn Entropy) -> bool {
        let mut seed = [0; 32];
        if entropy.fill(&mut seed) {
            self.worth = Worth::Secret;
        }
        let mixed = Sha256::new().chain_update(self.key).chain_update(seed);
        *self = Self::keyed(mixed.finalize().into(), self.worth);
        self.worth == Worth::Secret
    }

    /// What its numbers are worth.
    pub(crate) fn worth(&self) -> Worth {
        self.worth
    }

    fn keyed(key: [u8; 32], worth: Worth) -> Self {
        Self {
            key,
            counter: 0,
            left: Vec::new(),
            worth,
        }
    }

    /// The next hash of the key.
    fn block(&mut self, purpose: Use) -> [u8; 32] {
        let hash = Sha256::new()
            .chain_update(self.key)
            .chain_update([purpose as u8])
            .chain_update(self.counter.to_le_bytes());
        self.counter = self.counter.wrapping_add(1);
        hash.finalize().into()
    }

    /// A generator of its own: its key is never a number that this one gives away.
    pub(crate) fn fork(&mut self) -> Self {
        Self::keyed(self.block(Use::Fork), self.worth)
    }

    /// A known one.
    #[cfg(test)]
    pub(crate) fn fixed(seed: u64) -> Self {
        Self::keyed(Sha256::digest(seed.to_le_bytes()).into(), Worth::Secret)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        let mut number = [0; 8];
        for byte in &mut number {
            if self.left.is_empty() {
                self.left = self.block(Use::Numbers).to_vec();
            }
            *byte = self.left.pop().unwrap_or_default();
        }
        u64::from_le_bytes(number)
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    /// A number below `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// A port to send from: any of the 64,512 that no well-known service has (RFC 6056 §3.2).
    pub(crate) fn port(&mut self) -> u16 {
        const FIRST: u16 = 1024;
        let offset = self.below(u64::from(u16::MAX.wrapping_sub(FIRST)).saturating_add(1));
        FIRST.saturating_add(offset as u16)
    }
}

/// Random bytes for Linux's `/chosen`.
#[derive(Debug, Clone, Default)]
pub struct Seeds {
    /// `kaslr-seed`; zero when there is no entropy.
    pub kaslr: u64,
    /// `rng-seed`; none when there is no entropy.
    pub rng: Option<[u8; 64]>,
}

impl Seeds {
    /// Draws both from the hardware generator, or leaves them out when it failed.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        let (mut kaslr, mut rng) = ([0; 8], [0; 64]);
        if entropy.fill(&mut kaslr) && entropy.fill(&mut rng) {
            Self {
                kaslr: u64::from_le_bytes(kaslr),
                rng: Some(rng),
            }
        } else {
            Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    /// A generator that has failed.
    struct Broken;

    impl Entropy for Broken {
        fn fill(&mut self, bytes: &mut [u8]) -> bool {
            bytes.fill(0x42);
            false
        }
    }

    #[test]
    fn random_numbers_differ_between_nodes_even_without_entropy() {
        let draw = |last| {
            let mac = EthernetAddress([0xb8, 0x27, 0xeb, 1, 2, last]);
            Random::seeded(&mut Broken, mac, Instant::ZERO).next_u64()
        };
        assert_ne!(draw(3), draw(2));
        let mut random = Random::fixed(1);
        assert!((0..1000).all(|_| random.below(10) < 10));
        assert_eq!(random.below(0), 0);
    }

    /// One that works.
    struct Working(u8);

    impl Entropy for Working {
        fn fill(&mut self, bytes: &mut [u8]) -> bool {
            bytes.fill(self.0);
            true
        }
    }

    #[test]
    fn a_generator_that_works_later_makes_numbers_secret_that_were_not() {
        let mac = EthernetAddress([0xb8, 0x27, 0xeb, 1, 2, 3]);
        let broken = || Random::seeded(&mut Broken, mac, Instant::ZERO);
        let mut random = broken();
        assert_eq!(random.worth(), Worth::Guessable);
        assert!(!random.draw(&mut Broken));
        assert_eq!(
            (random.worth(), random.fork().worth()),
            (Worth::Guessable, Worth::Guessable)
        );
        let drawn = |seed: u8| {
            let mut random = broken();
            assert!(random.draw(&mut Working(seed)));
            assert_eq!(
                (random.worth(), random.fork().worth()),
                (Worth::Secret, Worth::Secret)
            );
            random.next_u64()
        };
        assert_ne!(drawn(1), drawn(2));
        assert_ne!(drawn(1), broken().next_u64());
    }

    #[test]
    fn what_is_seen_of_one_generator_is_nothing_of_another() {
        // SplitMix64, which this was: a fork's key is an output, and each output undoes to the state behind it.
        let undone = |output: u64| {
            let unshift = |z: u64, by: u32| (0..64 / by).fold(z, |x, _| z ^ (x >> by));
            let z = unshift(output, 31).wrapping_mul(0x3196_42b2_d24d_8ec3);
            unshift(unshift(z, 27).wrapping_mul(0x96de_1b17_3f11_9089), 30)
        };
        let next = |state: u64| {
            let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31), state)
        };
        let (first, state) = next(7);
        assert_eq!(undone(first), state, "the attack works on what it was made for");
        for seed in 0..200 {
            let mut parent = Random::fixed(seed);
            let before: Vec<u64> = (0..8).map(|_| parent.next_u64()).collect();
            let mut child = parent.fork();
            let children: Vec<u64> = (0..8).map(|_| child.next_u64()).collect();
            let after: Vec<u64> = (0..8).map(|_| parent.next_u64()).collect();
            for pair in children.windows(2) {
                assert_ne!(next(undone(pair[0])).0, pair[1], "the next number from the last");
            }
            let all: BTreeSet<u64> = before.iter().chain(&children).chain(&after).copied().collect();
            assert_eq!(all.len(), 24, "none is another's");
            for number in before.iter().chain(&after) {
                let key =
                    Random::keyed(Sha256::digest(number.to_le_bytes()).into(), Worth::Secret).next_u64();
                assert_ne!(key, children[0], "no fork by output");
            }
        }
    }

    #[test]
    fn bits_are_even_and_do_not_depend_on_their_neighbours() {
        let mut random = Random::fixed(5);
        let numbers: Vec<u64> = (0..4096).map(|_| random.next_u64()).collect();
        for bit in 0..64 {
            let ones = numbers.iter().filter(|number| *number >> bit & 1 == 1).count();
            // Six standard deviations of 32.
            assert!((1856..=2240).contains(&ones), "bit {bit}: {ones}");
            let same = numbers
                .windows(2)
                .filter(|pair| (pair[0] ^ pair[1]) >> bit & 1 == 0)
                .count();
            assert!((1856..=2240).contains(&same), "bit {bit} repeats: {same}");
        }
    }

    #[test]
    fn ports_are_all_that_there_are() {
        let mut random = Random::fixed(3);
        let ports: Vec<u16> = (0..50_000).map(|_| random.port()).collect();
        assert!(ports.iter().all(|port| *port >= 1024));
        let (least, most) = (ports.iter().min().unwrap(), ports.iter().max().unwrap());
        assert!(*least < 1100 && *most > 65_450, "{least} to {most}");
        let low = ports.iter().filter(|port| **port < 0xc000).count();
        // Three in four were never used before.
        assert!((36_000..=39_000).contains(&low), "{low}");
    }
}
