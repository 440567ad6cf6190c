//! Time since reset from the architectural timer (Arm ARM, Generic Timer), and short delays for drivers (embedded-hal).

use boot::Clock as _;
use embedded_hal::delay::DelayNs;
use smoltcp::time::{Duration, Instant};

use crate::cpu;

/// The only source of time. Copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: u64,
    frequency: u64,
}

impl Clock {
    /// Starts at zero now.
    pub fn start() -> Self {
        Self {
            start: cpu::counter(),
            frequency: cpu::counter_frequency(),
        }
    }

    /// Polls `ready` until it has a value or `limit` has passed, and once after that: an emulator may stand still for
    /// longer between two instructions.
    pub(crate) fn poll<T>(&self, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = self.now() + limit;
        loop {
            if let Some(value) = ready() {
                return Some(value);
            }
            if self.now() > deadline {
                return ready();
            }
        }
    }
}

impl boot::Clock for Clock {
    fn now(&self) -> Instant {
        let ticks = cpu::counter().wrapping_sub(self.start);
        // In two parts, so that no product of the counter overflows in centuries.
        let (seconds, rest) = (ticks / self.frequency, ticks % self.frequency);
        Instant::from_micros((seconds * 1_000_000 + rest * 1_000_000 / self.frequency) as i64)
    }

    fn idle_until(&self, deadline: Instant) {
        // The event stream ends each rest after a fraction of a millisecond, so a frame never waits longer.
        if self.now() < deadline {
            cpu::wait_for_event();
        }
    }
}

impl DelayNs for Clock {
    fn delay_ns(&mut self, ns: u32) {
        let deadline = self.now() + Duration::from_micros(u64::from(ns.div_ceil(1000)));
        while self.now() < deadline {}
    }
}
