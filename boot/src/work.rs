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
    fn what_does_not_fit_stays() {
        for (part, target) in [(0..10, 1), (5..11, 0), (0..1, usize::MAX)] {
            let mut bytes = *b"0123456789";
            assert_eq!(told(|tick| shift(&mut bytes, part, target, tick)), 0);
            assert_eq!(&bytes, b"0123456789");
        }
    }
}
