//! What kind of thing is a file? As far as its first bytes tell of any.

use alloc::string::String;
use core::fmt;

/// What kind of thing a file is, as far as that can be told of any.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// Not a byte.
    Nothing,
    /// Not text.
    Binary,
    /// A web page.
    Html,
    /// Almost a script for iPXE, which would run if it began with its first line.
    Script,
    /// Plain text that begins like this.
    Text(String),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("empty"),
            Self::Binary => f.write_str("binary data"),
            Self::Html => f.write_str("an HTML page"),
            Self::Script => f.write_str("almost a script, but its first line is not #!ipxe"),
            Self::Text(excerpt) => write!(f, "text (\"{excerpt}\")"),
        }
    }
}

/// How much of a file decides whether it is text: every binary format that is expected here has a control byte
/// sooner, and a cpio archive is told by its magic.
const PROBE: usize = 512;
/// What pages begin with.
const TAGS: [&str; 6] = ["<!doctype html", "<html", "<head", "<body", "<title", "<!--"];

/// What `bytes` are.
pub fn content(bytes: &[u8]) -> Content {
    let probe = bytes.get(..PROBE).unwrap_or(bytes);
    if probe.is_empty() {
        return Content::Nothing;
    }
    // Pages in older encodings are pages, too. Bytes that are no UTF-8 are else nobody's text, unless the probe cut them.
    let text = String::from_utf8_lossy(probe);
    let is_utf8 = core::str::from_utf8(probe).map_or_else(|why| why.error_len().is_none(), |_| true);
    let start = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    let is_html = TAGS.iter().any(|tag| {
        let (first, _) = start.as_bytes().split_at_checked(tag.len()).unwrap_or_default();
        first.eq_ignore_ascii_case(tag.as_bytes())
    });
    if is_html {
        return Content::Html;
    }
    let is_cpio = text.starts_with("0707");
    if is_cpio || !is_utf8 || text.contains(|c: char| c.is_control() && !"\t\r\n\u{c}".contains(c)) {
        return Content::Binary;
    }
    if ["#!ipxe", "#!gpxe"].iter().any(|magic| start.starts_with(magic)) {
        return Content::Script;
    }
    let first_line = start.lines().next().unwrap_or_default();
    Content::Text(first_line.chars().filter(|c| !c.is_control()).take(60).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_by_the_probe_is_still_text() {
        let mut page = vec![b'a'; PROBE - 1];
        page.extend("\u{e9}".as_bytes());
        assert!(matches!(content(&page), Content::Text(excerpt) if excerpt.len() == 60));
    }

    #[test]
    fn pages_in_older_encodings_are_told() {
        let page = [
            b"<html><body>Nicht gefunden: ung\xfcltig ",
            [b'x'; PROBE].as_slice(),
        ]
        .concat();
        assert_eq!(content(&page), Content::Html);
        assert_eq!(content(b"\x89PNG\r\n\x1a\n"), Content::Binary);
    }
}
