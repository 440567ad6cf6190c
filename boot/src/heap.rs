//! The board's heap, and what may lie on it at once: a table of bounds whose sum fits, or this does not compile (D-191).

use core::mem::size_of;

use crate::fetch::{BUFFERS, HEAD};
use crate::load::device_tree::HEAP_LIMIT;
use crate::menu::{MAX_FILES, MODEL};
use crate::script::MAX_DEPTH;
use crate::script::budget::MAX_KEPT;
use crate::script::line::{MAX_COMMAND, MAX_SCRIPT};
use crate::url::MAX_LEN as MAX_URL;

/// Bytes of the heap: `link.ld` gives it so many.
pub const SIZE: usize = 8 << 20;
/// What is left for an allocator that finds no piece long enough, and for what no server decides.
pub const SPARE: usize = 1 << 19;

/// What the network takes: the connection's or TFTP's buffers, a head, leases and questions.
pub const NETWORK: usize = BUFFERS + 8 * HEAD;
/// What a script takes beside the budget: of each that waits for another, two URLs and an error with its URL.
pub const WAITING: usize = MAX_DEPTH * 4 * MAX_URL;
/// What one command takes while it runs: its words, those joined, printed, cleaned and told of; or the first script, once more.
pub const COMMAND: usize = max(6 * MAX_COMMAND, MAX_SCRIPT);
/// What a menu takes; while one leads to another there are two.
pub const MENU: usize = MODEL;
/// What a plan takes: the URLs of its files, as the menu has them and as the server said.
pub const PLAN: usize = 2 * (2 * MAX_FILES + 2) * (MAX_URL + size_of::<crate::verify::Verified>());
/// What a device tree takes with its overlays, unpacked and written.
pub const TREE: usize = HEAP_LIMIT;

/// Each bound by its name in docs/src/limits.md.
pub const TABLE: [(&str, usize); 7] = [
    ("the network", NETWORK),
    ("scripts: all that they keep", MAX_KEPT),
    ("scripts that wait for others", WAITING),
    ("a command of a script", COMMAND),
    ("a menu", MENU),
    ("a plan", PLAN),
    ("a device tree with its overlays", TREE),
];

/// The most that is there at once: a script with a command of it, or with what boots; two menus, or one with what boots.
pub const MOST: usize = NETWORK
    + max(
        MAX_KEPT + WAITING + max(COMMAND, TREE),
        MENU + max(MENU, PLAN + TREE),
    );

const _: () = assert!(MOST + SPARE <= SIZE, "the bounds do not fit into the heap");

const fn max(one: usize, other: usize) -> usize {
    if one > other { one } else { other }
}
