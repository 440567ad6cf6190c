//! Log lines of the session on this thread, stamped with virtual time.

use std::cell::{Cell, RefCell};
use std::sync::Once;

use smoltcp::time::Instant;

use crate::account::as_rig;

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was logged, in virtual time.
    pub at: Instant,
    /// The level.
    pub level: log::Level,
    /// `step: fact`.
    pub text: String,
}

thread_local! {
    static NOW: Cell<Instant> = const { Cell::new(Instant::ZERO) };
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

struct Collector;

impl log::Log for Collector {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("boot")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        as_rig(|| {
            let line = Line {
                at: NOW.get(),
                level: record.level(),
                text: record.args().to_string(),
            };
            LINES.with_borrow_mut(|lines| lines.push(line));
        });
    }

    fn flush(&self) {}
}

/// Starts a new session's log on this thread.
pub(crate) fn begin() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        log::set_logger(&Collector).expect("no other logger in the tests");
        log::set_max_level(log::LevelFilter::Info);
    });
    NOW.set(Instant::ZERO);
    LINES.with_borrow_mut(Vec::clear);
}

pub(crate) fn set_now(now: Instant) {
    NOW.set(now);
}

/// The log of the session on this thread so far.
pub fn lines() -> Vec<Line> {
    LINES.with_borrow(Clone::clone)
}
