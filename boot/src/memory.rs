//! Physical memory that can only be divided, never shared: two payloads cannot overlap.

use core::fmt;
use core::ops::Range;

/// A piece of RAM that knows its physical address.
#[derive(Debug)]
pub struct Region<'m> {
    base: u64,
    bytes: &'m mut [u8],
}

impl<'m> Region<'m> {
    /// `bytes` as they lie at physical address `base`. `None` when the end would pass 2^64.
    pub fn new(base: u64, bytes: &'m mut [u8]) -> Option<Self> {
        base.checked_add(u64::try_from(bytes.len()).ok()?)?;
        Some(Self { base, bytes })
    }

    /// Its physical addresses.
    pub fn range(&self) -> Range<u64> {
        // `new` proved that the sum fits; saturation only satisfies the lint.
        self.base..self.base.saturating_add(self.bytes.len() as u64)
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether its size is 0.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its contents.
    pub fn bytes(&self) -> &[u8] {
        self.bytes
    }

    /// Its contents, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// The same memory, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> Region<'_> {
        Region {
            base: self.base,
            bytes: self.bytes,
        }
    }

    /// The first `at` bytes and the rest; `None` when it is shorter than that (D-29).
    pub fn split_at(self, at: usize) -> Option<(Region<'m>, Region<'m>)> {
        let middle = self.base.checked_add(u64::try_from(at).ok()?)?;
        let (head, tail) = self.bytes.split_at_mut_checked(at)?;
        Some((
            Region {
                base: self.base,
                bytes: head,
            },
            Region {
                base: middle,
                bytes: tail,
            },
        ))
    }

    /// The part from the first multiple of `align` (a power of two) on; `None` when nothing is left.
    pub fn align_to(self, align: u64) -> Option<Region<'m>> {
        let start = self.base.checked_next_multiple_of(align)?;
        let skip = usize::try_from(start.checked_sub(self.base)?).ok()?;
        self.split_at(skip).map(|(_, rest)| rest)
    }
}

/// An address as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_parts_are_disjoint_and_cover_all() {
        let mut bytes = [0; 100];
        let (a, b) = Region::new(0x1000, &mut bytes).unwrap().split_at(40).unwrap();
        assert_eq!((a.range(), b.range()), (0x1000..0x1028, 0x1028..0x1064));
    }

    #[test]
    fn splitting_past_the_end_is_refused() {
        assert!(Region::new(0, &mut [0; 4]).unwrap().split_at(5).is_none());
    }

    #[test]
    fn aligning_skips_to_the_next_multiple_or_finds_nothing() {
        let mut bytes = [0; 100];
        let region = Region::new(0xff0, &mut bytes).unwrap();
        assert_eq!(region.align_to(0x1000).unwrap().range(), 0x1000..0xff0 + 100);
        assert!(
            Region::new(0x1001, &mut bytes)
                .unwrap()
                .align_to(0x1000)
                .is_none()
        );
    }

    #[test]
    fn a_region_never_wraps() {
        assert!(Region::new(u64::MAX - 2, &mut [0; 4]).is_none());
    }
}
