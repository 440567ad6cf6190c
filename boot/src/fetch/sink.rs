//! Where a download goes: a place in memory, filled in order, each byte once; and a digest beside it for whoever asks for one.
//! D-157.

use sha2::{Digest as _, Sha256};

/// What takes a download in. Its memory is the bound of what may come.
#[derive(Debug)]
pub struct Sink<'m> {
    place: &'m mut [u8],
    /// How many bytes of the place are filled.
    filled: usize,
    /// SHA-256 of those bytes so far.
    digest: Option<Sha256>,
}

impl<'m> Sink<'m> {
    /// Fills `place` from its start.
    pub fn new(place: &'m mut [u8]) -> Self {
        Self {
            place,
            filled: 0,
            digest: None,
        }
    }

    /// The same, with SHA-256 of the bytes as they arrive, while they are in the cache: nobody need read them again for it.
    pub fn with_digest(place: &'m mut [u8]) -> Self {
        Self {
            digest: Some(Sha256::new()),
            ..Self::new(place)
        }
    }

    /// SHA-256 of the bytes that have come; none when it was not asked for, or when a part was left out.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.digest.clone().map(|digest| digest.finalize().into())
    }

    /// Whether somebody wants the digest, and so each byte.
    pub(super) fn has_digest(&self) -> bool {
        self.digest.is_some()
    }

    /// How many bytes fit, filled ones included.
    pub(super) fn space(&self) -> usize {
        self.place.len()
    }

    /// How many bytes have come.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// The bytes that have come.
    pub(super) fn bytes(&self) -> &[u8] {
        self.place.get(..self.filled).unwrap_or_default()
    }

    /// The memory for the next bytes.
    pub(crate) fn free(&mut self) -> &mut [u8] {
        self.place.get_mut(self.filled..).unwrap_or_default()
    }

    /// The first `count` bytes of [`free`](Self::free) have come.
    pub(crate) fn fill(&mut self, count: usize) {
        let end = self.filled.saturating_add(count).min(self.place.len());
        if let Some(digest) = &mut self.digest {
            digest.update(self.place.get(self.filled..end).unwrap_or_default());
        }
        self.filled = end;
    }

    /// The file begins again: what came before counts no more.
    pub(super) fn restart(&mut self) {
        self.filled = 0;
        if let Some(digest) = &mut self.digest {
            digest.reset();
        }
    }

    /// Nobody wants the rest of a file of `len` bytes: whatever lies there counts as its bytes. They have no digest.
    pub(super) fn leave_out_rest(&mut self, len: u64) {
        self.digest = None;
        self.filled = usize::try_from(len).map_or(self.place.len(), |len| len.min(self.place.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example of two blocks.
    const TEXT: &[u8] = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    const DIGEST: &str = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";

    fn pour(sink: &mut Sink<'_>, bytes: &[u8], piece: usize) {
        for part in bytes.chunks(piece) {
            sink.free()[..part.len()].copy_from_slice(part);
            sink.fill(part.len());
        }
    }

    fn hex(sink: &Sink<'_>) -> Option<String> {
        let digest = sink.digest()?;
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    #[test]
    fn the_digest_is_of_the_bytes_however_they_come() {
        for piece in [1, 3, 8, 55, 56, 57] {
            let mut place = [0xa5; 64];
            let mut sink = Sink::with_digest(&mut place);
            pour(&mut sink, TEXT, piece);
            assert_eq!((sink.bytes(), sink.filled(), sink.space()), (TEXT, 56, 64));
            assert_eq!(hex(&sink).as_deref(), Some(DIGEST), "in pieces of {piece}");
        }
    }

    #[test]
    fn what_begins_again_is_digested_anew() {
        let mut place = [0; 64];
        let mut sink = Sink::with_digest(&mut place);
        pour(&mut sink, &[7; 60], 9);
        sink.restart();
        assert_eq!((sink.filled(), sink.free().len()), (0, 64));
        pour(&mut sink, TEXT, 9);
        assert_eq!(hex(&sink).as_deref(), Some(DIGEST));
    }

    #[test]
    fn who_does_not_ask_gets_none_and_nor_does_who_leaves_bytes_out() {
        let mut place = [0; 64];
        let mut plain = Sink::new(&mut place);
        pour(&mut plain, TEXT, 9);
        assert_eq!((plain.bytes(), plain.digest()), (TEXT, None));
        let mut place = [0; 64];
        let mut part = Sink::with_digest(&mut place);
        pour(&mut part, TEXT, 9);
        part.leave_out_rest(60);
        assert_eq!((part.filled(), part.digest()), (60, None));
        part.leave_out_rest(u64::MAX);
        assert_eq!(part.filled(), 64, "no further than the place");
    }
}
