//! Work on many bytes outside of the poll loop: in pieces, after each of which somebody may look after the watchdog (D-169).

use alloc::vec::Vec;
use core::ops::Range;

use sha2::Digest;

/// The most bytes that are worked on at once. SHA-256 takes an A53 some 60 ms for them.
pub const PIECE: usize = 1 << 20;

/// Hears how many bytes were worked on since it heard last: [`PIECE`] at most.
pub type Tick<'t> = dyn FnMut(usize) + 't;

/// The digest of `bytes`.
pub fn digest<D: Digest>(bytes: &[u8], tick: &mut Tick<'_>) -> Vec<u8> {
    let mut hash = D::new();
    for piece in bytes.chunks(PIECE) {
        hash.update(piece);
        tick(piece.len());
    }
    hash.finalize().to_vec()
}

/// Moves a part of `bytes` to `target`, wherever both lie; nothing when either is not inside.
pub(crate) fn shift(bytes: &mut [u8], part: Range<usize>, target: usize, tick: &mut Tick<'_>) {
    let (start, len) = (part.start, part.len());
    let fits = target.checked_add(len).is_some_and(|end| end <= bytes.len());
    if !fits || part.end > bytes.len() {
        return;
    }
    let mut done: usize = 0;
    while done < len {
        let piece = PIECE.min(len.saturating_sub(done));
        // From the side towards which it goes, so that nothing is written over before it has moved.
        let at = if target <= start {
            done
        } else {
            len.saturating_sub(done).saturating_sub(piece)
        };
        let from = start.saturating_add(at);
        bytes.copy_within(from..from.saturating_add(piece), target.saturating_add(at));
        done = done.saturating_add(piece);
        tick(piece);
    }
}

/// Copies all of `from` to the start of `to`; nothing when it does not fit.
#[must_use]
pub(crate) fn copy(from: &[u8], to: &mut [u8], tick: &mut Tick<'_>) -> Option<()> {
    let to = to.get_mut(..from.len())?;
    for (from, to) in from.chunks(PIECE).zip(to.chunks_mut(PIECE)) {
        to.copy_from_slice(from);
        tick(from.len());
    }
    Some(())
}

/// Moves the last `by` bytes in front of the others, which takes each byte two moves. Nothing when there are fewer.
pub(crate) fn rotate_right(bytes: &mut [u8], by: usize, tick: &mut Tick<'_>) {
    if by > bytes.len() {
        return;
    }
    reverse(bytes, tick);
    let (first, others) = bytes.split_at_mut_checked(by).unwrap_or_default();
    reverse(first, tick);
    reverse(others, tick);
}

/// The last byte first.
fn reverse(bytes: &mut [u8], tick: &mut Tick<'_>) {
    let middle = bytes.len() / 2;
    let (low, high) = bytes.split_at_mut_checked(middle).unwrap_or_default();
    // An odd byte in the middle is the first of `high`, which nothing is paired with.
    for (low, high) in low.chunks_mut(PIECE / 2).zip(high.rchunks_mut(PIECE / 2)) {
        for (low, high) in low.iter_mut().zip(high.iter_mut().rev()) {
            core::mem::swap(low, high);
        }
        tick(low.len().saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `work` does, and how much it tells of.
    fn told(work: impl FnOnce(&mut Tick<'_>)) -> usize {
        let mut all = 0;
        work(&mut |piece| {
            assert!(piece <= PIECE);
            all += piece;
        });
        all
    }

    #[test]
    fn a_digest_is_the_same_in_pieces() {
        for len in [0, 1, PIECE - 1, PIECE, 2 * PIECE + 5] {
            let bytes: Vec<u8> = (0..len).map(|byte| (byte % 251) as u8).collect();
            let all = told(|tick| {
                assert_eq!(
                    digest::<sha2::Sha256>(&bytes, tick),
                    sha2::Sha256::digest(&bytes).to_vec()
                );
            });
            assert_eq!(all, len);
        }
    }

    #[test]
    fn what_moves_over_itself_arrives_whole() {
        let len = 2 * PIECE + 100;
        let original: Vec<u8> = (0..len).map(|byte| (byte % 253) as u8).collect();
        for (part, target) in [
            (0..len - 7, 7),
            (7..len, 0),
            (50..PIECE + 90, PIECE),
            (PIECE..2 * PIECE + 60, 3),
            (5..5, 90),
            (0..len, 0),
        ] {
            let mut bytes = original.clone();
            let all = told(|tick| shift(&mut bytes, part.clone(), target, tick));
            assert_eq!(all, part.len());
            let mut expected = original.clone();
            expected.copy_within(part.clone(), target);
            assert!(bytes == expected, "{part:?} to {target}");
        }
    }

    #[test]
    fn what_is_rotated_and_copied_arrives_whole() {
        for len in [0, 1, 2, 7, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 100] {
            let original: Vec<u8> = (0..len).map(|byte| (byte % 253) as u8).collect();
            for by in [0, 1, len / 3, len / 2, len.saturating_sub(1), len].map(|by| by.min(len)) {
                let (mut bytes, mut expected) = (original.clone(), original.clone());
                let all = told(|tick| rotate_right(&mut bytes, by, tick));
                expected.rotate_right(by);
                assert!(bytes == expected, "{len} by {by}");
                assert!(all <= 2 * len && all + 3 >= 2 * len, "{len} by {by}: {all}");
            }
            let mut bytes = vec![0; len + 1];
            assert_eq!(told(|tick| copy(&original, &mut bytes, tick).unwrap()), len);
            assert!(bytes[..len] == original);
            rotate_right(&mut bytes, len + 2, &mut |_| panic!("there are fewer"));
        }
        assert_eq!(copy(&[1, 2], &mut [0], &mut |_| panic!("no room")), None);
    }

    #[test]
    fn what_does_not_fit_stays() {
        for (part, target) in [(0..10, 1), (5..11, 0), (0..1, usize::MAX)] {
            let mut bytes = *b"0123456789";
            assert_eq!(told(|tick| shift(&mut bytes, part, target, tick)), 0);
            assert_eq!(&bytes, b"0123456789");
        }
    }
}
