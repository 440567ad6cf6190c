//! Where a text is found: `places` says where it can be, `search` asks for it there, `boot_file` knows what boot files are called.

mod boot_file;
mod places;
mod search;

pub(crate) use boot_file::{class_wanted, is_for_us};
use places::{is_named, places};
pub(crate) use search::Found;
use search::first;

use crate::lease::Lease;
use crate::menu::{self, Error};
use crate::node::Node;

/// Finds, fetches and parses the menu, or a script in its place. `scratch` holds the text while it is parsed.
pub(crate) fn find(node: &mut Node<'_>, lease: &Lease, scratch: &mut [u8]) -> Result<Found, Error> {
    let places = places(&node.settings.now, lease, node.board);
    let named = is_named(&node.settings.now, lease);
    let since = node.net.now();
    first(&places, named, scratch, &mut |url, into| {
        menu::in_time(node, url, into, since)
    })
}
