//! Random numbers: those that tell nodes apart on the network, and those that Linux starts with.

use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use crate::hal::Entropy;

/// Numbers that nodes do not share: ports, sequence numbers, jitter. Not for secrets. SplitMix64 (Steele et al. 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// From true randomness, mixed with what tells nodes and boots apart when the generator failed.
    pub(crate) fn seeded(entropy: &mut dyn Entropy, mac: EthernetAddress, now: Instant) -> Self {
        let mut seed = [0; 8];
        if !entropy.fill(&mut seed) {
            warn!("net: no entropy; ports and jitter follow from the MAC address and the time");
        }
        let [a, b, c, d, e, f] = mac.0;
        let node = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
        Self(u64::from_le_bytes(seed) ^ node ^ now.total_micros().cast_unsigned().rotate_left(32))
    }

    /// A generator of its own.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// A known one.
    #[cfg(test)]
    pub(crate) fn fixed(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        // The high half is the better one.
        (self.next_u64() >> 32) as u32
    }

    /// A number below `bound`; 0 when that is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
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
}
