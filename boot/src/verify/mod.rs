//! Is this download what it must be? The only way from fetched bytes to bytes that may be used.
//!
//! Signatures belong into [`verify`]: it sees the bytes exactly as they arrived, compressed ones before they are unpacked, and nothing
//! downstream accepts anything but a [`Verified`]. A digest it holds against what the plan says; until keys exist it refuses besides
//! what can be told without them: nothing at all, and a web server's page in place of the file.

mod content;
mod text;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::ops::Range;

pub use self::content::{Content, content};
pub(crate) use self::text::without_bom;
pub use self::text::{Language, Shown, Text, Unreadable, included, is_script, shown, text};
use crate::url::Url;

/// What a download is fetched to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// A kernel, compressed or not.
    Kernel,
    /// An initial ramdisk in any format.
    Initrd,
    /// A flattened device tree.
    DeviceTree,
    /// A file of any kind that an archive around it puts into the initial ramdisk.
    File,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "a kernel",
            Self::Initrd => "an initrd",
            Self::DeviceTree => "a device tree",
            Self::File => "a file",
        })
    }
}

/// What a file must prove before it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: it is believed as far as it looks like what it is expected to be.
    Nothing,
    /// That this is the SHA-256 of its bytes as they arrived.
    Sha256([u8; 32]),
}

/// A file in payload memory that nobody has looked at.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Where it came from, after redirects.
    pub url: Url,
    /// Where it lies: offsets of its bytes in payload memory.
    pub at: Range<usize>,
    /// The SHA-256 that was made of its bytes while they arrived, for who asked for it (D-157).
    pub digest: Option<[u8; 32]>,
}

/// A file that may be used. Only [`verify`] makes one (D-29).
#[derive(Debug, Clone)]
pub struct Verified {
    url: Url,
    at: Range<usize>,
}

impl Verified {
    /// Where it came from, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where it lies: offsets of its bytes in payload memory.
    pub fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// Notes where its bytes were moved, or that fewer of them are left.
    pub(crate) fn moved(&mut self, at: Range<usize>) {
        self.at = at;
    }
}

/// Why a download is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No byte arrived.
    Empty {
        /// Where nothing came from.
        url: Url,
        /// What should have come.
        expected: Expected,
    },
    /// A web page, most likely a server's "not found" with a status of 200.
    Html {
        /// Where it came from.
        url: Url,
        /// What should have come.
        expected: Expected,
    },
    /// A script for iPXE.
    Script {
        /// Where it came from.
        url: Url,
        /// What should have come.
        expected: Expected,
    },
    /// Plain text.
    Text {
        /// Where it came from.
        url: Url,
        /// What should have come.
        expected: Expected,
        /// How it begins.
        excerpt: String,
    },
    /// Other bytes than its plan demands.
    Digest {
        /// Where it came from.
        url: Url,
        /// Their SHA-256, none when nobody made it; and the one demanded.
        digests: Box<(Option<[u8; 32]>, [u8; 32])>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty { url, expected } => write!(f, "verify: {url} is empty, not {expected}"),
            Self::Html { url, expected } => write!(f, "verify: {url} is an HTML page, not {expected}"),
            Self::Script { url, expected } => write!(f, "verify: {url} is an iPXE script, not {expected}"),
            Self::Text {
                url,
                expected,
                excerpt,
            } => write!(f, "verify: {url} is text, not {expected}: \"{excerpt}\""),
            Self::Digest { url, digests } => {
                let (is, needed) = &**digests;
                let is = is.as_ref().map_or_else(|| "unknown".into(), hex);
                write!(f, "verify: {url}: its SHA-256 is {is}, not {}", hex(needed))
            }
        }
    }
}

impl core::error::Error for Error {}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lets a file in `memory` through when it proves what it `needs` to, and can be what it is `expected` to be. No byte is summed up
/// here: the digest came with the download (D-179).
pub fn verify(fetched: Fetched, memory: &[u8], expected: Expected, needs: &Needs) -> Result<Verified, Error> {
    let Fetched { url, at, digest } = fetched;
    match needs {
        Needs::Sha256(needed) if digest != Some(*needed) => {
            let digests = Box::new((digest, *needed));
            return Err(Error::Digest { url, digests });
        }
        Needs::Sha256(_) | Needs::Nothing => {}
    }
    let bytes = memory.get(at.clone()).unwrap_or_default();
    let url = || url.clone();
    match content(bytes) {
        _ if expected == Expected::File => {}
        Content::Binary => {}
        Content::Nothing => return Err(Error::Empty { url: url(), expected }),
        Content::Html => return Err(Error::Html { url: url(), expected }),
        Content::Script => return Err(Error::Script { url: url(), expected }),
        Content::Text(excerpt) => {
            return Err(Error::Text {
                url: url(),
                expected,
                excerpt,
            });
        }
    }
    Ok(Verified { url: url(), at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Expected) -> Result<usize, String> {
        let fetched = Fetched {
            url: Url::parse("http://boot/f").unwrap(),
            at: 3..3 + bytes.len(),
            digest: None,
        };
        let memory = [b"\0\0\0", bytes, &[0; 16]].concat();
        verify(fetched, &memory, expected, &Needs::Nothing)
            .map(|verified| verified.at().len())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn pages_and_nothing_are_refused_by_name() {
        assert_eq!(
            check(
                b" \r\n<!DOCTYPE HTML PUBLIC>\n<title>404</title>",
                Expected::Kernel
            ),
            Err("verify: http://boot/f is an HTML page, not a kernel".into())
        );
        assert_eq!(
            check(b"\xef\xbb\xbf<HTML>", Expected::Initrd),
            Err("verify: http://boot/f is an HTML page, not an initrd".into())
        );
        assert_eq!(
            check("File not found.\nSorry \u{e9}".as_bytes(), Expected::DeviceTree),
            Err("verify: http://boot/f is text, not a device tree: \"File not found.\"".into())
        );
        for script in [&b"#!ipxe\necho"[..], b"\xef\xbb\xbf#!ipxe\necho"] {
            assert_eq!(
                check(script, Expected::Kernel),
                Err("verify: http://boot/f is an iPXE script, not a kernel".into())
            );
        }
        assert_eq!(
            check(b"", Expected::Initrd),
            Err("verify: http://boot/f is empty, not an initrd".into())
        );
    }

    #[test]
    fn the_formats_of_a_boot_pass() {
        for bytes in [
            &b"\x1f\x8b\x08\x00"[..],
            b"MZ@\xfa\x56\xa3",
            b"\xd0\x0d\xfe\xed",
            b"070701000002D1000041ED",
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
            b"ext2 begins with zeros: \0\0",
        ] {
            assert_eq!(check(bytes, Expected::Initrd), Ok(bytes.len()));
        }
    }

    #[test]
    fn what_lies_outside_of_memory_is_nothing() {
        let fetched = Fetched {
            url: Url::parse("http://boot/f").unwrap(),
            at: 0..5,
            digest: None,
        };
        let error = verify(fetched, &[0x7f; 4], Expected::Kernel, &Needs::Nothing).unwrap_err();
        assert!(matches!(error, Error::Empty { .. }));
    }

    #[test]
    fn the_digest_that_came_with_the_file_decides_before_what_it_looks_like() {
        let of = |digest, needs: &Needs| {
            let url = Url::parse("http://boot/f").unwrap();
            let fetched = Fetched {
                url,
                at: 0..4,
                digest,
            };
            let file = verify(fetched, b"text", Expected::File, needs);
            file.map(|file| file.at()).map_err(|error| error.to_string())
        };
        let demanded = Needs::Sha256([0xab; 32]);
        // Whatever lies there: nobody reads it again.
        assert_eq!(of(Some([0xab; 32]), &demanded), Ok(0..4));
        assert_eq!(of(None, &Needs::Nothing), Ok(0..4));
        assert_eq!(of(Some([1; 32]), &Needs::Nothing), Ok(0..4));
        let line = |is: &str| {
            let line = format!(
                "verify: http://boot/f: its SHA-256 is {is}, not {}",
                "ab".repeat(32)
            );
            Err(line)
        };
        assert_eq!(of(Some([1; 32]), &demanded), line(&"01".repeat(32)));
        assert_eq!(of(None, &demanded), line("unknown"));
        let url = Url::parse("http://boot/f").unwrap();
        let (at, digest) = (0..6, Some([1; 32]));
        let page = verify(
            Fetched { url, at, digest },
            b"<html>",
            Expected::Kernel,
            &demanded,
        );
        assert!(matches!(page, Err(Error::Digest { .. })));
    }
}
