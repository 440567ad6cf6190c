//! Archive headers in front of a file, so that Linux finds it in its initial ramdisk (`newc`, Linux `buffer-format.rst`).
//!
//! `initrd http://h/x etc/y mode=0755 mkdir=1` becomes the file `etc/y`, and the directory `etc` before it; a leading slash
//! changes nothing. Linux passes over what it cannot make a file of without a word, so here that is an error.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::value::{is_space, number};

/// Linux's PATH_MAX, which counts the NUL behind a name.
const MAX_NAME: usize = 4095;
/// Linux's NAME_MAX.
const MAX_PART: usize = 255;
/// Bytes of the headers of one file, those of its directories included.
const MAX_HEADERS: usize = 64 * 1024;
/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// Why a name is none that Linux would make a file of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Error {
    /// Longer than a path can be, or with a part longer than a name in a directory.
    Long,
    /// A control character.
    Control,
    /// `.`, `..`, or the name that ends an archive.
    Reserved,
    /// A directory's, for a file that has bytes.
    Directory,
    /// In more directories than anybody has.
    Deep,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long => write!(
                f,
                "it has more than {MAX_NAME} bytes, or {MAX_PART} between two slashes"
            ),
            Self::Control => f.write_str("it has a control character in it"),
            Self::Reserved => f.write_str("it cannot be a file's"),
            Self::Directory => f.write_str("it is a directory's, and the file is not empty"),
            Self::Deep => f.write_str("it is in too many directories"),
        }
    }
}

/// The name of the file that an image with this command line is: its first word, unless that is nothing but slashes.
pub(super) fn name(arguments: &str) -> Option<&str> {
    let name = arguments.split(' ').next().unwrap_or_default();
    name.contains(|c| c != '/').then_some(name)
}

/// The headers for a file of `len` bytes whose command line is `arguments`; empty when that has no name. They are a
/// multiple of four bytes long, and the file follows.
pub(super) fn headers(arguments: &str, len: usize) -> Result<Vec<u8>, Error> {
    let Some(name) = name(arguments) else {
        return Ok(Vec::new());
    };
    check(name)?;
    let path = name.trim_end_matches('/');
    let is_directory = path.len() < name.len();
    if is_directory && len > 0 {
        return Err(Error::Directory);
    }
    let argument = |key: &str, base| Some(number(value(arguments, key)?, base).0 as u32);
    let mode = argument("mode=", 8).unwrap_or(0o644) & 0o7777;
    let directories = argument("mkdir=", 10).unwrap_or(0);
    let parents: Vec<&str> = path
        .match_indices('/')
        .filter_map(|(at, _)| path.get(..at))
        .filter(|parent| !parent.is_empty() && !parent.ends_with('/'))
        .collect();
    let wanted = usize::try_from(directories)
        .unwrap_or(usize::MAX)
        .min(parents.len());
    let mut bytes = Vec::new();
    for parent in parents
        .get(parents.len().saturating_sub(wanted)..)
        .unwrap_or_default()
    {
        header(&mut bytes, parent, 0o040_755, 0);
        if bytes.len() > MAX_HEADERS {
            return Err(Error::Deep);
        }
    }
    let mode = if is_directory { 0o040_755 } else { 0o100_000 | mode };
    header(&mut bytes, path, mode, len);
    Ok(bytes)
}

/// Whether Linux can make a file of that name (D-98).
fn check(name: &str) -> Result<(), Error> {
    if name.len() > MAX_NAME || name.split('/').any(|part| part.len() > MAX_PART) {
        return Err(Error::Long);
    }
    if name.contains(char::is_control) {
        return Err(Error::Control);
    }
    let last = name.trim_end_matches('/').rsplit('/').next();
    if name == TRAILER || matches!(last, Some("." | "..")) {
        return Err(Error::Reserved);
    }
    Ok(())
}

/// What follows `key` where it begins a word.
fn value<'a>(arguments: &'a str, key: &str) -> Option<&'a str> {
    let begins = |at: usize| {
        arguments
            .get(..at)
            .is_some_and(|before| before.is_empty() || before.ends_with(is_space))
    };
    let (at, _) = arguments.match_indices(key).find(|(at, _)| begins(*at))?;
    arguments.get(at..)?.strip_prefix(key)
}

fn header(bytes: &mut Vec<u8>, name: &str, mode: u32, len: usize) {
    let mut text = String::from("070701");
    // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
    let fields = [
        0,
        mode,
        0,
        0,
        1,
        0,
        len as u32,
        0,
        0,
        0,
        0,
        name.len().saturating_add(1) as u32,
        0,
    ];
    for field in fields {
        text.push_str(&format!("{field:08x}"));
    }
    text.push_str(name);
    text.push('\0');
    bytes.extend(text.into_bytes());
    // Name and file begin at multiples of four, and the first header at one.
    while !bytes.len().is_multiple_of(4) {
        bytes.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mode, size and name of each header.
    fn names(arguments: &str, len: usize) -> Vec<String> {
        let bytes = headers(arguments, len).unwrap();
        assert!(bytes.len().is_multiple_of(4), "{arguments}");
        let text = String::from_utf8(bytes).unwrap();
        text.split("070701")
            .skip(1)
            .map(|header| {
                let field = |at| u32::from_str_radix(header.get(at..at + 8).unwrap(), 16).unwrap();
                let name = header.get(104..).unwrap().trim_end_matches('\0');
                assert_eq!(field(88), name.len() as u32 + 1, "the NUL counts");
                assert_eq!((field(32), field(40)), (1, 0), "one link, no time");
                format!("{:o} {} {name}", field(8), field(48))
            })
            .collect()
    }

    #[test]
    fn a_name_becomes_headers_with_as_many_directories_as_asked_for() {
        for (arguments, expected) in [
            ("x", "100644 10 x"),
            ("/x", "100644 10 /x"),
            ("preseed.cfg quiet", "100644 10 preseed.cfg"),
            ("a/b/c mode=700", "100700 10 a/b/c"),
            ("a/b/c mkdir=1", "40755 0 a/b, 100644 10 a/b/c"),
            (
                "/a/b/c mkdir=-1 mode=4755",
                "40755 0 /a, 40755 0 /a/b, 104755 10 /a/b/c",
            ),
            ("//a//b mkdir=9", "40755 0 //a, 100644 10 //a//b"),
            ("a/b xmkdir=1", "100644 10 a/b"),
            ("a mode=777777755", "107755 10 a"),
            ("mode=600", "100600 10 mode=600"),
            ("caf\u{e9}", "100644 10 caf\u{e9}"),
            ("../a", "100644 10 ../a"),
        ] {
            assert_eq!(names(arguments, 10).join(", "), expected, "{arguments}");
        }
        assert_eq!(names("a/b/ mkdir=1", 0), ["40755 0 a", "40755 0 a/b"]);
        for nothing in ["", " x", "/", "///", "// mkdir=1"] {
            assert_eq!(headers(nothing, 1), Ok(Vec::new()), "{nothing:?}");
        }
    }

    /// As `cpio -H newc` writes it: everything but mode, links, size and the name's length is zero.
    #[test]
    fn a_header_is_that_of_a_file_without_an_owner_a_time_or_a_device() {
        let expected = "070701\
            00000000 000081a4 00000000 00000000 00000001 00000000 0000000a \
            00000000 00000000 00000000 00000000 00000004 00000000";
        let expected = expected.replace(' ', "") + "a/b\0";
        assert_eq!(
            String::from_utf8(headers("a/b", 10).unwrap()).unwrap(),
            format!("{expected}\0\0")
        );
    }

    #[test]
    fn a_name_that_linux_would_pass_over_is_an_error() {
        let long = |parts: usize, len| alloc::vec!["x".repeat(len); parts].join("/");
        for (name, error) in [
            (&*long(1, 256), Error::Long),
            (&long(17, 255), Error::Long),
            (".", Error::Reserved),
            ("a/..", Error::Reserved),
            ("/./", Error::Reserved),
            ("TRAILER!!!", Error::Reserved),
            ("a\nb", Error::Control),
            ("a\0b", Error::Control),
            ("a\tb", Error::Control),
            ("a/", Error::Directory),
            (&format!("{} mkdir=-1", long(1000, 1)), Error::Deep),
        ] {
            assert_eq!(headers(name, 1), Err(error), "{name:.40}");
        }
        for name in [&*long(1, 255), &long(15, 255), "a/.../b", "/TRAILER!!!"] {
            assert!(headers(name, 1).is_ok(), "{name:.40}");
        }
    }
}
