//! What scripts may keep on the heap: one number of bytes for all of it, asked before anything is copied (D-191).

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use super::errno::{Errno, Failure};

/// Bytes of heap for all that scripts keep: themselves with their labels, settings, images' names and arguments, menus, forms
/// and parameters, lines that wait for the script that they started.
pub const MAX_KEPT: usize = 3 << 20;
/// Bytes of one text that is kept: a setting's value, a title, an item, a parameter, an image's arguments.
pub const MAX_TEXT: usize = 64 * 1024;

/// What the allocator takes for a block beside its bytes.
pub(super) const BLOCK: usize = 16;
/// How much more than its length a list may have grown to, while it moves to a larger place: the old one, and twice that.
const GROWTH: usize = 3;

/// What one holder keeps of the budget that it shares with others. It gives that back when it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct Share {
    left: Rc<Cell<usize>>,
    taken: usize,
}

impl Share {
    /// A budget of its own.
    pub fn all() -> Self {
        Self {
            left: Rc::new(Cell::new(MAX_KEPT)),
            taken: 0,
        }
    }

    /// Another holder's part of the same budget: nothing yet.
    pub fn other(&self) -> Self {
        Self {
            left: self.left.clone(),
            taken: 0,
        }
    }

    /// Takes this many bytes more.
    pub fn take(&mut self, bytes: usize) -> Result<(), Failure> {
        self.resize(self.taken.saturating_add(bytes))
    }

    /// Gives back so many.
    pub fn give(&mut self, bytes: usize) {
        let less = bytes.min(self.taken);
        self.taken = self.taken.saturating_sub(less);
        self.left.set(self.left.get().saturating_add(less));
    }

    /// Takes `new` bytes in place of `old` ones.
    pub fn replace(&mut self, old: usize, new: usize) -> Result<(), Failure> {
        self.resize(self.taken.saturating_sub(old).saturating_add(new))
    }

    /// Keeps this many bytes in place of all that it kept.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Failure> {
        let all = self.left.get().saturating_add(self.taken);
        let left = all.checked_sub(bytes).ok_or_else(full)?;
        self.left.set(left);
        self.taken = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give(self.taken);
    }
}

/// What texts of these lengths take: none of them too long to be kept.
pub fn texts(lengths: &[usize]) -> Result<usize, Failure> {
    if let Some(len) = lengths.iter().find(|len| **len > MAX_TEXT) {
        let reason = format!("a text of {len} bytes is longer than the {MAX_TEXT} that are kept");
        return Err(Failure::new(Errno::NO_MEMORY, reason));
    }
    let blocks = lengths.iter().map(|len| len.saturating_add(BLOCK));
    Ok(blocks.fold(0, usize::saturating_add))
}

/// What a `T` takes in a list that grows with it.
pub const fn element<T>() -> usize {
    size_of::<T>().saturating_mul(GROWTH)
}

/// A copy of `bytes`, whose length comes from the network: an error where the heap has no room.
pub fn copied(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| full())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// The length of these words with a blank between two.
pub fn joined(words: &[String]) -> usize {
    let all = words.iter().map(|word| word.len().saturating_add(1));
    all.fold(0, usize::saturating_add).saturating_sub(1)
}

fn full() -> Failure {
    let reason = format!("scripts keep more than {MAX_KEPT} bytes");
    Failure::new(Errno::NO_MEMORY, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let mut one = Share::all();
        let mut other = one.other();
        one.take(MAX_KEPT - 10).unwrap();
        other.take(10).unwrap();
        assert_eq!(other.take(1).unwrap_err().errno, Errno::NO_MEMORY);
        other.give(4);
        one.take(4).unwrap();
        assert!(one.take(1).is_err());
        // More is not given back than was taken.
        other.give(1000);
        assert!(one.take(7).is_err());
        one.take(6).unwrap();
        drop(one);
        other.resize(MAX_KEPT).unwrap();
        assert!(other.other().take(1).is_err());
        assert!(other.resize(MAX_KEPT + 1).is_err(), "and keeps what it has");
        assert!(other.other().take(1).is_err());
        other.resize(5).unwrap();
        other.other().take(MAX_KEPT - 5).unwrap();
        assert!(other.take(usize::MAX).is_err());
    }

    #[test]
    fn a_text_has_a_bound_of_its_own() {
        assert_eq!(texts(&[MAX_TEXT, 0]).unwrap(), MAX_TEXT + 2 * BLOCK);
        assert_eq!(texts(&[1, MAX_TEXT + 1]).unwrap_err().errno, Errno::NO_MEMORY);
        assert_eq!(joined(&["ab".into(), "c".into()]), 4);
        assert_eq!(joined(&[]), 0);
    }
}
