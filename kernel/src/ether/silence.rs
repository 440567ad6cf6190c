//! When a network interface is silent for too long: frames leave, as far as it says, and nobody answers.
//!
//! A register may have been written wrong, or the frames do not reach the wire, so the interface is restarted; or the network has nobody who
//! answers, so that is not done often. What frames count as an answer, and what is restarted, is the driver's to know. A ring that
//! stands still is another thing (`genet/standstill.rs`).

use boot::patience::{LAST_ANSWER, NOBODY_ANSWERS, OTHER_QUESTIONS};
use smoltcp::time::{Duration, Instant};

/// Transmissions that nobody answers before that.
const UNANSWERED: u32 = 3;

/// What was sent since a frame came, or since a restart stood in for one.
pub(crate) struct Silence {
    /// When the first of it was sent.
    asked: Instant,
    unanswered: u32,
    /// When the last was sent, and when enough had been.
    last: Instant,
    enough: Instant,
    /// Whether anybody has ever answered.
    heard: bool,
    patience: Duration,
    /// How often it has been too long, in a row.
    times: u32,
}

impl Silence {
    /// Nothing was sent yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            asked: now,
            unanswered: 0,
            last: now,
            enough: now,
            heard: false,
            patience: NOBODY_ANSWERS.0,
            times: 0,
        }
    }

    /// Something was sent.
    pub(crate) fn sent(&mut self, now: Instant) {
        if self.unanswered == 0 || now > self.last + OTHER_QUESTIONS {
            (self.asked, self.unanswered) = (now, 0);
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.last = now;
        if self.unanswered == UNANSWERED {
            self.enough = now;
        }
    }

    /// Something came.
    pub(crate) fn ends(&mut self) {
        (self.unanswered, self.patience, self.times) = (0, NOBODY_ANSWERS.0, 0);
        self.heard = true;
    }

    /// Whether anybody has ever answered: then the way to the wire was right once.
    pub(crate) fn has_ended(&self) -> bool {
        self.heard
    }

    /// For how long nobody has answered, when that is too long, and how often that has been so since somebody did, from 1. It is not said again
    /// soon.
    pub(crate) fn too_long(&mut self, now: Instant) -> Option<(Duration, u32)> {
        let due = (self.asked + self.patience).max(self.enough + LAST_ANSWER);
        if self.unanswered < UNANSWERED || now < due {
            return None;
        }
        self.unanswered = 0;
        self.patience = (self.patience * 2).min(NOBODY_ANSWERS.1);
        self.times = self.times.saturating_add(1);
        Some((now - self.asked, self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_question_has_time_for_its_answer() {
        let at = Instant::from_secs;
        let mut silence = Silence::new(at(0));
        // As a DHCP client asks.
        for (sent, early, late) in [([0, 1, 20], 22, 23), ([31, 63, 95], 97, 98)] {
            sent.into_iter().for_each(|second| silence.sent(at(second)));
            assert_eq!(silence.too_long(at(early)), None);
            assert!(silence.too_long(at(late)).is_some());
        }
    }

    #[test]
    fn what_is_sent_once_a_minute_waits_for_no_answer() {
        let at = Instant::from_secs;
        let mut silence = Silence::new(at(0));
        for minute in 0..100 {
            silence.sent(at(minute * 60));
            assert_eq!(silence.too_long(at(minute * 60 + 59)), None, "{minute}");
        }
    }

    #[test]
    fn silence_is_too_long_after_three_frames_and_ever_later() {
        let at = Instant::from_secs;
        let mut silence = Silence::new(at(0));
        let mut now: u32 = 100;
        for (patience, nth) in [8, 16, 32, 64, 64].into_iter().zip(1..) {
            let start = now;
            for _ in 0..UNANSWERED {
                assert_eq!(silence.too_long(at(now + 1000)), None, "too few were sent");
                silence.sent(at(now));
                now += 1;
            }
            assert_eq!(silence.too_long(at(start + patience - 1)), None);
            now = start + patience;
            let secs = Duration::from_secs(patience.into());
            assert_eq!(silence.too_long(at(now)), Some((secs, nth)));
            assert_eq!(
                silence.too_long(at(now)),
                None,
                "a restart stands in for an answer"
            );
        }
        assert!(!silence.has_ended());
        (0..UNANSWERED).for_each(|_| silence.sent(at(now)));
        silence.ends();
        assert!(silence.has_ended());
        assert_eq!(silence.too_long(at(now + 1000)), None);
        (0..UNANSWERED).for_each(|_| silence.sent(at(now)));
        assert_eq!(silence.too_long(at(now + 8)), Some((Duration::from_secs(8), 1)));
    }
}
