//! The bounds of a menu: sizes, counts and depths.

/// Menus that lead to each other in one attempt.
pub(crate) const MAX_MENUS: usize = 32;
/// Bytes of a text file that is shown.
pub(crate) const MAX_TEXT_FILE: usize = 16 * 1024;
/// Bytes of heap that the model of a menu takes at most while it is read, which the next three bounds see to.
pub(crate) const MODEL: usize = 1792 << 10;
/// Bytes of a menu, all its INCLUDEs together.
pub(crate) const MAX_TEXT: usize = 256 * 1024;
/// Bytes of a line.
pub(crate) const MAX_LINE: usize = 16 * 1024;
/// Entries of a menu.
pub(crate) const MAX_ENTRIES: usize = 1024;
/// INCLUDE inside INCLUDE, as in Syslinux and U-Boot.
pub(crate) const MAX_DEPTH: usize = 16;
/// INCLUDEs, and DISPLAYs, that were there. The largest public tree has some 220, more than half of them absent (D-101).
pub(crate) const MAX_INCLUDES: usize = 512;
/// The most INCLUDEs with absent files counted, too: each costs a request (D-101).
pub(crate) const MAX_REQUESTS: usize = 2048;
/// The most initial ramdisks, or device tree overlays, that one entry may name.
pub(crate) const MAX_FILES: usize = 32;
