//! Where a text is found: `places` says where it can be, `search` asks for it there, `boot_file` knows what boot files are called.

mod boot_file;
mod handed_over;
mod places;
mod search;

pub(crate) use boot_file::{class_wanted, is_for_us};
pub use handed_over::handed_over;
use places::{is_named, of_handed_over, places};
pub(crate) use search::Found;
use search::first;

use crate::fetch::{self, Response};
use crate::hal::HandedOver;
use crate::lease::Lease;
use crate::menu::{self, Error};
use crate::node::Node;

/// Finds, fetches and parses the menu, or a script in its place. `scratch` holds the text while it is parsed.
pub(crate) fn find(node: &mut Node<'_>, lease: &Lease, scratch: &mut [u8]) -> Result<Found, Error> {
    let since = node.net.now();
    if let Some(handed_over) = node.board.handed_over.filter(|_| node.settings.now.url.is_none()) {
        let HandedOver { name, text } = handed_over.map_err(Error::HandedOver)?;
        let place = of_handed_over(name, lease);
        // What it includes comes from servers.
        let mut first_one = true;
        return first(&[place], true, scratch, &mut |url, into| {
            if !core::mem::take(&mut first_one) {
                return menu::in_time(node, url, into, since);
            }
            let space = into.len();
            let room = into.get_mut(..text.len()).ok_or_else(|| fetch::Error {
                method: fetch::Method::Get,
                url: url.clone(),
                reason: fetch::Reason::TooLarge {
                    len: Some(text.len() as u64),
                    space,
                },
            })?;
            room.copy_from_slice(text);
            Ok(Response {
                url: url.clone(),
                len: text.len(),
            })
        });
    }
    let places = places(&node.settings.now, lease, node.board);
    let named = is_named(&node.settings.now, lease);
    first(&places, named, scratch, &mut |url, into| {
        menu::in_time(node, url, into, since)
    })
}
