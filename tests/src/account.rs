//! Tells a counting allocator whether this thread runs `boot`'s code or the rig's.

use std::cell::Cell;

thread_local! {
    static IN_BOOT: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread runs `boot`'s own code now.
pub fn in_boot() -> bool {
    IN_BOOT.try_with(Cell::get).unwrap_or(false)
}

/// Runs `work` as `boot`'s.
pub fn as_boot<T>(work: impl FnOnce() -> T) -> T {
    switch(true, work)
}

/// Runs `work` as the rig's, called from `boot`.
pub(crate) fn as_rig<T>(work: impl FnOnce() -> T) -> T {
    switch(false, work)
}

fn switch<T>(to: bool, work: impl FnOnce() -> T) -> T {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            IN_BOOT.set(self.0);
        }
    }
    let _back = Back(IN_BOOT.replace(to));
    work()
}
