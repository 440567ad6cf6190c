//! Where a download goes: a place in memory, filled in order, each byte once.

/// What takes a download in. Its memory is the bound of what may come.
#[derive(Debug)]
pub struct Sink<'m> {
    place: &'m mut [u8],
    /// How many bytes of the place are filled.
    filled: usize,
}

impl<'m> Sink<'m> {
    /// Fills `place` from its start.
    pub fn new(place: &'m mut [u8]) -> Self {
        Self { place, filled: 0 }
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
    pub(super) fn free(&mut self) -> &mut [u8] {
        self.place.get_mut(self.filled..).unwrap_or_default()
    }

    /// The first `count` bytes of [`free`](Self::free) have come.
    pub(super) fn fill(&mut self, count: usize) {
        self.filled = self.filled.saturating_add(count).min(self.place.len());
    }

    /// The file begins again: what came before counts no more.
    pub(super) fn restart(&mut self) {
        self.filled = 0;
    }

    /// Nobody wants the rest of a file of `len` bytes: whatever lies there counts as its bytes.
    pub(super) fn leave_out_rest(&mut self, len: u64) {
        self.filled = usize::try_from(len).map_or(self.place.len(), |len| len.min(self.place.len()));
    }
}
