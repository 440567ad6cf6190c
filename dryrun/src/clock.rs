//! Time as the node has it: real while somebody outside may answer, and otherwise straight to the next deadline.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time;

use smoltcp::time::{Duration, Instant};

use crate::gateway::Gateway;
use crate::outside::Bell;
use crate::shared::Shared;
use crate::trace::{Decision, Told};

/// The longest rest in real time between two looks.
const REST: Duration = Duration::from_millis(200);

/// The node's clock.
pub(crate) struct Clock {
    start: time::Instant,
    /// The time that was skipped, in microseconds.
    skipped: Cell<i64>,
    gateway: Rc<RefCell<Gateway>>,
    bell: Bell,
    shared: Rc<Shared>,
    /// The boot counts as stuck from this time on.
    limit: Instant,
    told: Sender<Told>,
}

impl Clock {
    /// Begins at zero; a boot that still waits at `limit` is over.
    pub(crate) fn new(
        gateway: Rc<RefCell<Gateway>>,
        shared: Rc<Shared>,
        limit: Duration,
        told: Sender<Told>,
    ) -> Self {
        let bell = gateway.borrow().bell();
        Self {
            start: time::Instant::now(),
            skipped: Cell::new(0),
            gateway,
            bell,
            shared,
            limit: Instant::ZERO + limit,
            told,
        }
    }

    /// Whether somebody outside can still send what the node waits for.
    fn is_real(&self, gateway: &Gateway) -> bool {
        gateway.is_asking() || (self.shared.asking.get() && gateway.is_connected())
    }

    /// Holds the node for ever. The boot cannot be told to stop, and the process is about to end (D-81).
    fn stop(&self) -> ! {
        let _ = self.told.send(Told::End(Decision::Fail {
            step: "time",
            reason: format!(
                "nothing was decided in {} s of the node's time: a menu waits for a person, or a script for something to change (--patience)",
                (self.limit - Instant::ZERO).secs()
            ),
        }));
        loop {
            thread::park();
        }
    }
}

impl boot::Clock for Clock {
    fn now(&self) -> Instant {
        let real = i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX);
        Instant::from_micros(real.saturating_add(self.skipped.get()))
    }

    fn idle_until(&self, deadline: Instant) {
        let now = boot::Clock::now(self);
        if now >= self.limit {
            self.stop();
        }
        let mut gateway = self.gateway.borrow_mut();
        gateway.pump(now);
        if gateway.has_frames() || deadline <= now {
            return;
        }
        let next = gateway.next(now).map_or(deadline, |next| next.min(deadline));
        let wait = if next > now {
            next - now
        } else {
            Duration::from_millis(1)
        };
        if self.is_real(&gateway) {
            drop(gateway);
            self.bell.wait(wait.min(REST).into());
            return;
        }
        let micros = i64::try_from(wait.total_micros()).unwrap_or(i64::MAX);
        self.skipped.set(self.skipped.get().saturating_add(micros));
    }
}
