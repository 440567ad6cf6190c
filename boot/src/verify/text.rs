//! Is this text one that may be read, and in which language? Every text goes through here: menus, what they include, scripts, and what
//! people are only shown.
//!
//! Signatures of texts belong into [`text`], as those of files belong into [`verify`](super::verify()). Until keys exist it refuses what is no text in
//! either language whatever follows.

use core::fmt;

use super::content::{Content, content};
use crate::fetch::Response;
use crate::load::gzip::is_gzip;
use crate::url::Url;

/// What a text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// iPXE's.
    Script,
    /// PXELINUX's; its reader knows whether it makes sense.
    Menu,
}

/// A text that may be read, at the start of the memory that it was fetched to. Only [`text`] and [`included`] make one (D-29).
#[derive(Debug, Clone)]
pub struct Text {
    url: Url,
    len: usize,
    language: Language,
}

impl Text {
    /// Where it came from, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it says nothing at all, as only what is included may.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it is written in.
    pub fn language(&self) -> Language {
        self.language
    }
}

/// A text for people, of which nothing decides what boots. Only [`shown`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'t>(&'t [u8]);

impl<'t> Shown<'t> {
    /// All of it.
    pub fn bytes(self) -> &'t [u8] {
        self.0
    }
}

/// What a server sent instead of a text that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Almost a script for iPXE: blanks or a byte order mark before the magic, or nothing behind it.
    IpxeScript,
    /// Text in UTF-16.
    Utf16,
    /// Text in which only carriage returns end lines.
    Returns,
    /// A web page.
    Html,
    /// Not text.
    Binary,
    /// Compressed, by the server or as a file.
    Gzip,
    /// Nothing.
    Empty,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IpxeScript => {
                "what resembles an iPXE script, but its first line is not #!ipxe (a byte order mark or blanks before it?)"
            }
            Self::Utf16 => "text in UTF-16: save it as UTF-8",
            Self::Returns => "text without line feeds: save it with LF or CR LF at the end of each line",
            Self::Html => "an HTML page",
            Self::Binary => "binary data",
            Self::Gzip => "gzip-compressed data: serve it unpacked, and without Content-Encoding",
            Self::Empty => "an empty file",
        })
    }
}

/// Lets a text at the start of `memory` through when it can be a script or a menu.
pub fn text(response: &Response, memory: &[u8]) -> Result<Text, Unreadable> {
    let bytes = memory.get(..response.len).unwrap_or_default();
    let language = if is_script(bytes) {
        Language::Script
    } else {
        unreadable(bytes).map_or(Ok(Language::Menu), Err)?
    };
    Ok(Text {
        url: response.url.clone(),
        len: response.len,
        language,
    })
}

/// The same for what another text includes: it may be empty, and is in the language of the other.
pub fn included(response: &Response, memory: &[u8]) -> Result<Text, Unreadable> {
    let bytes = memory.get(..response.len).unwrap_or_default();
    match unreadable(bytes) {
        Some(why) if why != Unreadable::Empty => Err(why),
        _ => Ok(Text {
            url: response.url.clone(),
            len: response.len,
            language: Language::Menu,
        }),
    }
}

/// Ends a text on DOS.
const SUB: u8 = 0x1a;

/// Lets a text for people through, at the start of `memory`: all before SUB. It may be empty, and in any language; a page, and what
/// is no text, is refused (D-180).
pub fn shown<'t>(response: &Response, memory: &'t [u8]) -> Result<Shown<'t>, Unreadable> {
    let bytes = memory.get(..response.len).unwrap_or_default();
    let text = bytes.split(|&byte| byte == SUB).next().unwrap_or_default();
    match unreadable(text) {
        // Help begins with `<F1>`.
        Some(Unreadable::Html) if content(text) != Content::Html => Ok(Shown(text)),
        Some(why @ (Unreadable::Html | Unreadable::Gzip | Unreadable::Utf16 | Unreadable::Binary)) => {
            Err(why)
        }
        Some(Unreadable::Empty | Unreadable::IpxeScript | Unreadable::Returns) | None => Ok(Shown(text)),
    }
}

/// Whether `text` is a script: the magic, and white space behind it.
pub fn is_script(text: &[u8]) -> bool {
    text.strip_prefix(b"#!ipxe")
        .or_else(|| text.strip_prefix(b"#!gpxe"))
        .and_then(<[u8]>::first)
        .is_some_and(|&byte| is_space(byte))
}

/// C's `isspace`, as iPXE has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Without a byte order mark.
pub(crate) fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// What it is, when it is no menu whatever follows.
fn unreadable(text: &[u8]) -> Option<Unreadable> {
    let start = without_bom(text).trim_ascii_start();
    let is_utf16 = text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff");
    if start.is_empty() {
        Some(Unreadable::Empty)
    } else if start.starts_with(b"#!ipxe") || start.starts_with(b"#!gpxe") {
        Some(Unreadable::IpxeScript)
    } else if is_gzip(text) {
        Some(Unreadable::Gzip)
    } else if is_utf16 {
        Some(Unreadable::Utf16)
    } else if text.contains(&0) {
        Some(Unreadable::Binary)
    } else if start.starts_with(b"<") {
        Some(Unreadable::Html)
    } else if start.trim_ascii_end().contains(&b'\r') && !text.contains(&b'\n') {
        Some(Unreadable::Returns)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> [Result<Language, Unreadable>; 2] {
        let response = Response {
            url: Url::parse("http://boot/f").unwrap(),
            len: bytes.len(),
        };
        [text(&response, bytes), included(&response, bytes)].map(|text| text.map(|text| text.language()))
    }

    #[test]
    fn the_magic_is_followed_by_white_space() {
        for script in ["#!ipxe\n", "#!gpxe \n", "#!ipxe\r\necho", "#!ipxe\t"] {
            assert_eq!(
                read(script.as_bytes()),
                [Ok(Language::Script), Err(Unreadable::IpxeScript)],
                "{script:?}"
            );
        }
        for other in ["#!ipxes\n", "#!/bin/sh\n", "#!IPXE\n"] {
            assert!(!is_script(other.as_bytes()), "{other:?}");
        }
        for almost in ["#!ipxe", " #!ipxe\n", "\u{feff}#!ipxe\n"] {
            assert_eq!(
                read(almost.as_bytes()),
                [Err(Unreadable::IpxeScript); 2],
                "{almost:?}"
            );
        }
    }

    #[test]
    fn only_what_is_included_may_say_nothing() {
        for empty in ["", " \r\n\t", "\u{feff}\n"] {
            assert_eq!(
                read(empty.as_bytes()),
                [Err(Unreadable::Empty), Ok(Language::Menu)],
                "{empty:?}"
            );
        }
    }

    #[test]
    fn what_is_only_shown_may_say_anything_but_must_be_a_text() {
        let shown = |bytes: &[u8]| {
            let response = Response {
                url: Url::parse("http://boot/f").unwrap(),
                len: bytes.len(),
            };
            let memory = [bytes, b"behind"].concat();
            shown(&response, &memory).map(|text| String::from_utf8(text.bytes().to_vec()).unwrap())
        };
        for text in [
            "",
            "<F1> helps",
            "#!ipxe as an example",
            "a\rb",
            "\u{f}07Hello\u{18}a.lss\n",
        ] {
            assert_eq!(shown(text.as_bytes()), Ok(text.to_owned()), "{text:?}");
        }
        assert_eq!(shown(b"all\x1a\0\0"), Ok("all".into()));
        for (bytes, why) in [
            (&b" <!DOCTYPE html>\n404"[..], Unreadable::Html),
            (b"\x1f\x8b\x08\0", Unreadable::Gzip),
            (b"\xff\xfeL\0A\0", Unreadable::Utf16),
            (b"text \0", Unreadable::Binary),
        ] {
            assert_eq!(shown(bytes), Err(why));
        }
    }

    #[test]
    fn what_no_reader_reads_is_named() {
        for (bytes, why) in [
            (&b"\x1f\x8b\x08\0"[..], Unreadable::Gzip),
            (b"\xff\xfeL\0A\0", Unreadable::Utf16),
            (b"LABEL \0", Unreadable::Binary),
            (b"\n<!DOCTYPE html>", Unreadable::Html),
            (b"LABEL a\rLINUX b\r", Unreadable::Returns),
        ] {
            assert_eq!(read(bytes), [Err(why); 2], "{why:?}");
        }
        assert_eq!(read(b"LABEL a\r\n"), [Ok(Language::Menu); 2]);
    }
}
