//! When a download that broke off is taken up again: what counts is that it gets on, not how often it breaks (D-106).

use smoltcp::time::{Duration, Instant};

use super::bounds::BODY_PACE;
use crate::backoff::backoff;

/// How often in a row it is tried without getting on: 1, 2, 4 … 60 s, three minutes in all, and never less than half of that.
/// A server that is started again is back by then, and so is a switch.
pub(super) const MAX_VAIN: u32 = 8;

/// What is known of one download's interruptions.
pub(super) struct Resumes {
    /// Tries since it last got on.
    vain: u32,
    /// How far it ever was, in bytes; since when it is no further.
    furthest: usize,
    since: Instant,
    /// How long nothing may come, when somebody said so.
    patience: Option<Duration>,
    /// When it is enough, however it gets on.
    end: Instant,
}

impl Resumes {
    pub(super) fn new(start: Instant, end: Instant, patience: Option<Duration>) -> Self {
        Self {
            vain: 0,
            furthest: 0,
            since: start,
            patience,
            end,
        }
    }

    /// The pause before the next try of a download that broke off after `done` bytes; none when it is given up.
    pub(super) fn next(&mut self, now: Instant, done: usize, random: u32) -> Option<Duration> {
        // One that begins again from the start, each time, gets nowhere.
        if done >= self.furthest.saturating_add(BODY_PACE.bytes) {
            (self.vain, self.furthest, self.since) = (0, done, now);
        }
        self.vain = self.vain.saturating_add(1);
        let pause = backoff(self.vain, random);
        let patient = self
            .patience
            .is_none_or(|patience| now + pause < self.since + patience);
        (self.vain <= MAX_VAIN && patient && now + pause < self.end).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOURS: Instant = Instant::from_millis_const(7_200_000);

    fn resumes(patience: Option<Duration>) -> Resumes {
        Resumes::new(Instant::ZERO, HOURS, patience)
    }

    /// How often in a row it is tried without anything coming, and how long that takes.
    fn patience(mut resumes: Resumes, random: u32) -> (u32, Duration) {
        let (mut tries, mut now) = (0, Instant::from_secs(1));
        while let Some(pause) = resumes.next(now, 5000, random) {
            (tries, now) = (tries + 1, now + pause);
        }
        (tries, now - Instant::from_secs(1))
    }

    #[test]
    fn a_minute_and_a_half_at_least_and_three_at_most() {
        assert_eq!(
            patience(resumes(None), 0),
            (MAX_VAIN, Duration::from_millis(91_500))
        );
        for random in [1, 500, 30_000, u32::MAX] {
            let (tries, took) = patience(resumes(None), random);
            assert_eq!(tries, MAX_VAIN);
            assert!((91..=183).contains(&took.secs()), "{took}");
        }
        // Who asked for less patience does not wait for longer than that.
        let (tries, took) = patience(resumes(Some(Duration::from_secs(10))), 0);
        assert!(tries > 0 && took < Duration::from_secs(10), "{tries} {took}");
    }

    #[test]
    fn only_bytes_that_never_came_before_count() {
        let mut ever = resumes(None);
        for i in 1..1000 {
            let pause = ever.next(Instant::from_secs(i), i as usize * 100_000, 0);
            assert_eq!(pause, Some(Duration::from_millis(500)), "{i}");
        }
        let mut again = resumes(None);
        let tries = (1..1000).take_while(|i| again.next(Instant::from_secs(*i), 100_000, 0).is_some());
        assert_eq!(tries.count(), MAX_VAIN as usize);
        let mut trickle = resumes(None);
        let tries = (1..1000).take_while(|i| trickle.next(Instant::from_secs(*i), *i as usize, 0).is_some());
        assert_eq!(tries.count(), MAX_VAIN as usize);
    }

    #[test]
    fn a_download_ends_some_time() {
        let mut late = resumes(None);
        let last = HOURS - Duration::from_millis(501);
        assert!(late.next(last, 100_000, 0).is_some());
        assert!(late.next(last + Duration::from_millis(1), 200_000, 0).is_none());
    }
}
