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

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        bytes: 1024,
        window: Duration::from_secs(15),
    };

    fn at(seconds: i64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn each_window_wants_as_many_bytes_again() {
        let mut due = Due::new(PACE, at(0), at(1000));
        assert_eq!(due.deadline, at(15));
        for (now, bytes, deadline) in [
            (5, 1023, 15),
            (6, 1024, 21),
            // What has come does not count twice.
            (7, 1025, 21),
            (20, 2047, 21),
            (20, 2048, 35),
            // More than was wanted is no credit.
            (30, 9000, 45),
            (40, 10_023, 45),
            (40, 10_024, 55),
        ] {
            due.arrived(at(now), bytes);
            assert_eq!(due.deadline, at(deadline), "{bytes} at {now}");
        }
    }

    #[test]
    fn no_pace_goes_beyond_the_end() {
        assert_eq!(Due::new(PACE, at(0), at(10)).deadline, at(10));
        let mut due = Due::new(PACE, at(0), at(20));
        due.arrived(at(10), 1024);
        assert_eq!(due.deadline, at(20));
    }

    #[test]
    fn less_patience_is_a_shorter_window_and_more_is_none() {
        for (patience, window) in [(None, 15), (Some(3), 3), (Some(60), 15)] {
            let within = PACE.within(patience.map(Duration::from_secs));
            assert_eq!((within.window, within.bytes), (Duration::from_secs(window), 1024));
        }
    }
}
