//! The state that the clock, the terminal and the person at the desk share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use smoltcp::time::Instant;

/// The state that several parts of the machine use.
#[derive(Default)]
pub(crate) struct Shared {
    /// Whether a request is unanswered.
    pub(crate) asking: Cell<bool>,
    /// The keys that are typed, and when.
    pub(crate) keys: RefCell<VecDeque<(Instant, u8)>>,
    /// The choices that are still to be made, by name or label.
    pub(crate) choices: RefCell<Vec<String>>,
    /// The items of every menu so far.
    pub(crate) offered: RefCell<Vec<String>>,
}

impl Shared {
    /// A person who will make these choices.
    pub(crate) fn new(choices: Vec<String>) -> Self {
        Self {
            choices: RefCell::new(choices),
            ..Self::default()
        }
    }

    /// Why a choice was not made; `None` when all were.
    pub(crate) fn left_over(&self) -> Option<String> {
        let choices = self.choices.borrow();
        let first = choices.first()?;
        let offered = self.offered.borrow();
        Some(match offered.is_empty() {
            true => format!("no menu was shown that could have \"{first}\""),
            false => format!("no menu had \"{first}\"; there were {}", offered.join(", ")),
        })
    }
}
