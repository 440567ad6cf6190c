//! PXELINUX menus: bounded downloads and heap, and a menu that is printed and read again is the same.
#![no_main]

use boot::fetch::{Error, Method, Reason, Response};
use boot::menu::{self, Menu};
use boot::url::Url;
use fuzz::{print, within};
use libfuzzer_sys::fuzz_target;

/// Downloads that a menu may cause.
const MAX_INCLUDES: usize = 512;
/// Room for a menu and its includes, one behind the other.
const ROOM: usize = 8 * 1024;
/// Bytes of includes before the rest are empty: a million menus are to be tried, not a few long ones.
const MAX_INCLUDED: usize = 2048;

/// Parses the first file; each INCLUDE gets the next one, round and round.
fn parse(files: &[&[u8]]) -> Option<Menu> {
    let mut scratch = files.first()?.to_vec();
    let len = scratch.len();
    scratch.resize(len + ROOM, 0);
    let url = Url::parse("http://192.0.2.1/pi/pxelinux.cfg/default").ok()?;
    let patience = if len.is_multiple_of(512) { MAX_INCLUDES } else { 3 };
    let (mut fetched, mut left) = (0, MAX_INCLUDED);
    let menu = menu::read(&Response { url, len }, &mut scratch, &mut |url, room| {
        fetched += 1;
        // Most servers lose patience soon: each include costs the time of a whole menu.
        if fetched > patience {
            let (method, url, reason) = (Method::Get, url.clone(), Reason::NoLocation);
            return Err(Error { method, url, reason });
        }
        let file = files[fetched % files.len()];
        let len = file.len().min(room.len()).min(left);
        left -= len;
        room[..len].copy_from_slice(&file[..len]);
        let url = url.clone();
        Ok(Response { url, len })
    });
    assert!(fetched <= MAX_INCLUDES);
    menu.ok()
}

/// What a text says of a menu, but for what depends on how it is shown.
fn said(menu: &Menu) -> impl PartialEq + std::fmt::Debug + '_ {
    (
        (&menu.entries, menu.timeout, menu.total, &menu.messages),
        (&menu.texts, &menu.function_keys, menu.editing, menu.leaves),
        (menu.clears, &menu.master),
        menu.pages
            .iter()
            .map(|page| (&page.title, &page.lines, page.parent))
            .collect::<Vec<_>>(),
    )
}

fuzz_target!(|data: &[u8]| {
    // A file with a NUL is no text, so that files can be told apart by it.
    let files: Vec<&[u8]> = data.split(|&byte| byte == 0).collect();
    // Two bytes can be a label, which is an entry of some 400 bytes; 513 files may be read.
    let Some(menu) = within(256 * 1024 + 2048 * data.len(), || parse(&files)) else {
        return;
    };
    assert!(!menu.entries.is_empty() && !menu.pages.is_empty());
    let Some((text, [default, on_error])) = print::pxelinux(&menu).filter(|(text, _)| text.len() < ROOM)
    else {
        return;
    };
    let again = parse(&[text.as_bytes()]).unwrap_or_else(|| panic!("no menu in {text}"));
    assert_eq!(said(&menu), said(&again), "{text}");
    if default {
        assert_eq!(menu.default, again.default, "{text}");
    }
    if on_error {
        assert_eq!(menu.on_error, again.on_error, "{text}");
    }
});
