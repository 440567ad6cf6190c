//! How fast bytes must come, and whether they do.

use smoltcp::time::{Duration, Instant};

/// How fast a body must come: so many bytes in every window, or its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) bytes: usize,
    pub(super) window: Duration,
}

impl Pace {
    /// The same with shorter windows, when less patience is asked for.
    pub(super) fn within(self, patience: Option<Duration>) -> Self {
        Self {
            window: self.window.min(patience.unwrap_or(self.window)),
            ..self
        }
    }
}

/// A pace that is kept to: by how many bytes it is measured next, and until when they must have come.
pub(super) struct Due {
    pace: Pace,
    bytes: usize,
    end: Instant,
    pub(super) deadline: Instant,
}

impl Due {
    /// From `start`, and not beyond `end`.
    pub(super) fn new(pace: Pace, start: Instant, end: Instant) -> Self {
        Self {
            pace,
            bytes: pace.bytes,
            end,
            deadline: (start + pace.window).min(end),
        }
    }

    /// So many bytes have come in all.
    pub(super) fn arrived(&mut self, now: Instant, bytes: usize) {
        if bytes >= self.bytes {
            self.bytes = bytes.saturating_add(self.pace.bytes);
            self.deadline = (now + self.pace.window).min(self.end);
        }
    }
}
