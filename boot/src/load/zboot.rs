//! EFI zboot kernels (`vmlinuz.efi`): an EFI program around a packed arm64 `Image` (Linux `drivers/firmware/efi/libstub`).
//!
//! gzip is unpacked. zstd, which distributions have begun to use, is not: a decoder of a stream keeps a window of up to
//! 128 MiB, and the heap has 8.

use alloc::string::String;
use core::fmt;
use core::ops::Range;

use super::device_tree::text;
use crate::text::ascii;
use crate::work::{Tick, shift};

/// `zimg` at byte 4 of an EFI program.
const MAGIC: &[u8] = b"zimg";
const HEADER: usize = 64;

/// Why the kernel inside cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The file ends before its header, or where its header says.
    Truncated {
        /// Bytes that arrived.
        len: usize,
        /// Bytes that there must be.
        expected: usize,
    },
    /// Packed in a way that is not known here; its name.
    Compression(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len, expected } => {
                write!(f, "truncated EFI zboot kernel: {len} of {expected} bytes")
            }
            Self::Compression(name) => write!(
                f,
                "is an EFI zboot kernel packed with {name}, which is not supported: unpack it on the server, or pack it \
                 with gzip"
            ),
        }
    }
}

/// Whether a file claims to be one.
pub fn is_zboot(file: &[u8]) -> bool {
    file.starts_with(b"MZ") && file.get(4..).is_some_and(|rest| rest.starts_with(MAGIC))
}

/// The range of the gzip file inside, which the kernel would unpack itself under EFI (D-71).
pub fn contents(file: &[u8]) -> Result<Range<usize>, Error> {
    let truncated = |expected| Error::Truncated {
        len: file.len(),
        expected,
    };
    let header = file.first_chunk::<HEADER>().ok_or(truncated(HEADER))?;
    let word = |at: usize| {
        let bytes = header.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
    };
    let name = header.get(24..56).and_then(text).unwrap_or_default();
    if name != "gzip" {
        return Err(Error::Compression(ascii(name)));
    }
    let end = word(8).saturating_add(word(12));
    if end > file.len() {
        return Err(truncated(end));
    }
    Ok(word(8)..end)
}

/// Moves the gzip file inside the first `len` bytes of `room` to the start of `room`, and returns its length. A file that
/// is no such kernel stays as it is.
pub(super) fn unwrap(room: &mut [u8], len: usize, tick: &mut Tick<'_>) -> Result<usize, Error> {
    let file = room.get(..len).unwrap_or_default();
    if !is_zboot(file) {
        return Ok(len);
    }
    let contents = contents(file)?;
    let len = contents.len();
    shift(room, contents, 0, tick);
    Ok(len)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A kernel of this kind around `packed`.
    pub(crate) fn wrapped(packed: &[u8], name: &str) -> Vec<u8> {
        let mut file = vec![0; 0x1000];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ\0\0zimg");
        put(8, &0x1000_u32.to_le_bytes());
        put(12, &(packed.len() as u32).to_le_bytes());
        put(24, name.as_bytes());
        put(56, b"\xcd\x23\x82\x81");
        file.extend(packed);
        // The rest belongs to the EFI program.
        file.extend([0xee; 512]);
        file
    }

    #[test]
    fn gzip_is_found_and_everything_else_named() {
        let mut room = wrapped(b"packed", "gzip");
        let len = room.len();
        assert_eq!(contents(&room), Ok(0x1000..0x1006));
        assert_eq!(unwrap(&mut room, len, &mut |_| {}), Ok(6));
        assert_eq!(room[..6], *b"packed");
        assert_eq!(
            contents(&wrapped(b"x", "zstd22")).unwrap_err().to_string(),
            "is an EFI zboot kernel packed with zstd22, which is not supported: unpack it on the server, or pack it \
             with gzip"
        );
        assert_eq!(unwrap(&mut [1; 100], 100, &mut |_| {}), Ok(100));
    }

    #[test]
    fn every_changed_byte_of_the_header_and_every_truncation_stays_inside_the_file() {
        let golden = wrapped(b"packed", "gzip");
        let mut changed = golden.clone();
        let (mut accepted, mut refused) = (0, 0);
        for at in 0..HEADER {
            for value in 0..=255 {
                changed[at] = value;
                match contents(&changed) {
                    Ok(range) => {
                        assert!(range.start <= range.end && changed.get(range).is_some());
                        accepted += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            changed[at] = golden[at];
        }
        assert!(
            accepted > 1 && refused > 1,
            "{accepted} accepted, {refused} refused"
        );
        for len in 0..0x1006 {
            assert!(
                matches!(contents(&golden[..len]), Err(Error::Truncated { .. })),
                "{len}"
            );
        }
    }
}
