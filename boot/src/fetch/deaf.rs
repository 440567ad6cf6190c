//! Servers whose answers to HEAD tell nothing, or not the truth.

use alloc::vec::Vec;

use crate::url::Url;

/// So many are remembered. With more of them nobody is asked.
const MOST: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Deaf(Vec<Url>);

impl Deaf {
    /// Whether the server of `url` is not to be asked.
    pub(super) fn has(&self, url: &Url) -> bool {
        self.0.len() >= MOST || self.0.iter().any(|deaf| deaf.same_origin(url))
    }

    pub(super) fn add(&mut self, url: &Url) {
        if !self.has(url) {
            self.0.push(url.clone());
        }
    }
}
