//! Menus: the model that every menu language produces, and how one entry is chosen.
//!
//! `pxelinux`, `keywords` and `assemble` make a [`Menu`] of a text, `clock` decides what boots of it without anybody, `show`,
//! `screen` and `draw` bring it before whoever holds the serial terminal, and `payload` makes a [`Plan`](crate::plan::Plan) of
//! the entry picked.

mod assemble;
mod bounds;
mod clock;
mod draw;
mod error;
mod initrds;
mod keywords;
mod model;
mod names;
mod password;
mod payload;
mod pxelinux;
mod screen;
mod show;
mod trees;
mod uboot;

pub(crate) use bounds::{MAX_FILES, MAX_MENUS, MAX_TEXT, MODEL};
pub use error::{Bound, Error, Fault, Unsupported};
pub use model::{
    Action, Behaviour, Boot, Chosen, Display, Editing, Entry, Key, Load, Menu, Page, Pick, Texts, Timeouts,
};
pub use password::Password;
pub use payload::Next;
pub(crate) use pxelinux::parse;
pub(crate) use show::{ask, choose, in_time, load};

/// The menu in the text that `response` left in `scratch`: the PXELINUX parser, for the fuzz targets.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn read(
    response: &crate::fetch::Response,
    scratch: &mut [u8],
    get: &mut crate::fetch::Get<'_>,
) -> Result<Menu, Fault> {
    let text = crate::verify::text(response, scratch);
    let text = text.map_err(|why| Fault::Unreadable(response.url.clone(), why))?;
    pxelinux::parse(&text, None, scratch, get)
}
