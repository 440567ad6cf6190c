//! U-Boot's legacy images (`uImage`, `uInitrd`): a header of 64 bytes before a file, as `mkimage` of u-boot-tools writes it.

use core::fmt;
use core::ops::Range;

use super::gzip;
use crate::work::{Tick, shift};

/// Bytes of a header.
const HEADER: usize = 64;
const MAGIC: [u8; 4] = [0x27, 0x05, 0x19, 0x56];

const LINUX: u8 = 5;
const ARM64: u8 = 22;
const KERNEL: u8 = 2;
const RAMDISK: u8 = 3;
const KERNEL_NOLOAD: u8 = 14;
const UNCOMPRESSED: u8 = 0;
const GZIP: u8 = 1;

/// The kind of image that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageType {
    /// A kernel.
    Kernel,
    /// An initial ramdisk.
    Ramdisk,
}

impl ImageType {
    fn is(self, kind: u8) -> bool {
        match self {
            Self::Kernel => kind == KERNEL || kind == KERNEL_NOLOAD,
            Self::Ramdisk => kind == RAMDISK,
        }
    }
}

impl fmt::Display for ImageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Ramdisk => "initrd",
        })
    }
}

/// Why an image cannot be unwrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The file is shorter than a header, or than the header says.
    Truncated {
        /// Bytes that arrived.
        len: usize,
        /// Bytes that there must be.
        expected: usize,
    },
    /// The header has another CRC-32 than it says.
    Header,
    /// The file behind the header has another CRC-32 than that says.
    Data,
    /// The image is of another kind than is wanted; the header's number of it.
    Kind(u8, ImageType),
    /// For another architecture; the header's number of it.
    Architecture(u8),
    /// For another operating system; the header's number of it.
    System(u8),
    /// A kernel packed in a way that is not known here; the header's number of it.
    Compression(u8),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len, expected } => write!(f, "truncated uImage: {len} of {expected} bytes"),
            Self::Header => f.write_str("uImage is corrupt: the CRC-32 of its header differs"),
            Self::Data => f.write_str("uImage is corrupt: the CRC-32 of its data differs"),
            Self::Kind(kind, wanted) => {
                f.write_str("is a uImage with ")?;
                named(f, *kind, KINDS, "contents of type")?;
                f.write_str(match wanted {
                    ImageType::Kernel => ", not with a kernel",
                    ImageType::Ramdisk => ", not with an initrd",
                })
            }
            Self::Architecture(number) => {
                f.write_str("is a uImage for ")?;
                named(f, *number, ARCHITECTURES, "architecture")?;
                f.write_str(", not arm64")
            }
            Self::System(number) => {
                f.write_str("is a uImage for ")?;
                named(f, *number, SYSTEMS, "operating system")?;
                f.write_str(", not Linux")
            }
            Self::Compression(number) => {
                f.write_str("is a uImage packed with ")?;
                named(f, *number, COMPRESSIONS, "method")?;
                f.write_str("; gzip alone is supported")
            }
        }
    }
}

type Names = &'static [(u8, &'static str)];

static KINDS: Names = &[
    (1, "a standalone program"),
    (2, "a kernel"),
    (3, "an initrd"),
    (4, "several files (type multi), which are not supported"),
    (5, "firmware"),
    (6, "a script, which is not supported"),
    (7, "a file system"),
    (8, "a device tree"),
    (14, "a kernel"),
];
static ARCHITECTURES: Names = &[(2, "32-bit ARM"), (3, "x86"), (24, "x86-64"), (26, "RISC-V")];
static SYSTEMS: Names = &[(2, "NetBSD"), (14, "VxWorks"), (17, "U-Boot")];
static COMPRESSIONS: Names = &[(2, "bzip2"), (3, "lzma"), (4, "lzo"), (5, "lz4"), (6, "zstd")];

/// The name of a header's number, or what it counts and the number.
fn named(f: &mut fmt::Formatter<'_>, number: u8, names: Names, what: &str) -> fmt::Result {
    match names.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => f.write_str(name),
        None => write!(f, "{what} {number}"),
    }
}

/// Whether a file claims to be one.
pub fn is_uimage(file: &[u8]) -> bool {
    file.starts_with(&MAGIC)
}

/// The range of the wrapped file. Bytes behind it are padding. The packing of an initial ramdisk does not matter: Linux knows it,
/// and U-Boot does not look at it either.
pub fn contents(file: &[u8], wanted: ImageType, tick: &mut Tick<'_>) -> Result<Range<usize>, Error> {
    let truncated = |expected| Error::Truncated {
        len: file.len(),
        expected,
    };
    let header = file.first_chunk::<HEADER>().ok_or(truncated(HEADER))?;
    let word = |at: usize| {
        let bytes = header.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    // Its own checksum counts as zeros in it.
    let mut zeroed = *header;
    if let Some(checksum) = zeroed.get_mut(4..8) {
        checksum.fill(0);
    }
    if gzip::crc32(&zeroed, tick) != word(4) {
        return Err(Error::Header);
    }
    let end = HEADER.saturating_add(word(12) as usize);
    let data = file.get(HEADER..end).ok_or(truncated(end))?;
    if gzip::crc32(data, tick) != word(24) {
        return Err(Error::Data);
    }
    let [system, architecture, kind, compression] = word(28).to_be_bytes();
    if !wanted.is(kind) {
        Err(Error::Kind(kind, wanted))
    } else if architecture != ARM64 {
        Err(Error::Architecture(architecture))
    } else if system != LINUX {
        Err(Error::System(system))
    } else if wanted == ImageType::Kernel && compression != UNCOMPRESSED && compression != GZIP {
        Err(Error::Compression(compression))
    } else {
        Ok(HEADER..end)
    }
}

/// Moves what the image in the first `len` bytes of `room` holds to the start of `room`, and returns its length. A file
/// that is no such image stays as it is.
pub fn unwrap(room: &mut [u8], len: usize, wanted: ImageType, tick: &mut Tick<'_>) -> Result<usize, Error> {
    let file = room.get(..len).unwrap_or_default();
    if !is_uimage(file) {
        return Ok(len);
    }
    let contents = contents(file, wanted, tick)?;
    let len = contents.len();
    shift(room, contents, 0, tick);
    Ok(len)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn unwrap(room: &mut [u8], len: usize, wanted: ImageType) -> Result<usize, Error> {
        super::unwrap(room, len, wanted, &mut |_| {})
    }

    fn contents(file: &[u8], wanted: ImageType) -> Result<Range<usize>, Error> {
        super::contents(file, wanted, &mut |_| {})
    }

    /// An image for arm64 Linux around `data`.
    pub(crate) fn wrapped(kind: ImageType, compression: u8, data: &[u8]) -> Vec<u8> {
        let kind = if kind == ImageType::Kernel {
            KERNEL
        } else {
            RAMDISK
        };
        with(data, [LINUX, ARM64, kind, compression])
    }

    fn with(data: &[u8], facts: [u8; 4]) -> Vec<u8> {
        let mut header = [0; HEADER];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(8, &1_700_000_000_u32.to_be_bytes());
        put(12, &(data.len() as u32).to_be_bytes());
        put(16, &[0, 8, 0, 0, 0, 8, 0, 0]);
        put(24, &gzip::crc32(data, &mut |_| {}).to_be_bytes());
        put(28, &facts);
        put(32, b"made by a test");
        let sum = gzip::crc32(&header, &mut |_| {});
        header[4..8].copy_from_slice(&sum.to_be_bytes());
        [&header, data].concat()
    }

    #[test]
    fn the_contents_move_to_the_start() {
        let file = wrapped(ImageType::Ramdisk, 6, b"whatever Linux unpacks");
        let mut room = [file.as_slice(), b"padding"].concat();
        let len = unwrap(&mut room, file.len() + 7, ImageType::Ramdisk).unwrap();
        assert_eq!(room[..len], *b"whatever Linux unpacks");
        let mut plain = *b"no image";
        assert_eq!(unwrap(&mut plain, 8, ImageType::Kernel), Ok(8));
        assert_eq!(plain, *b"no image");
    }

    #[test]
    fn each_refusal_is_called_by_its_name() {
        let line = |facts, wanted| contents(&with(b"data", facts), wanted).unwrap_err().to_string();
        assert_eq!(
            line([LINUX, ARM64, 6, 0], ImageType::Kernel),
            "is a uImage with a script, which is not supported, not with a kernel"
        );
        assert_eq!(
            line([LINUX, ARM64, 4, 0], ImageType::Ramdisk),
            "is a uImage with several files (type multi), which are not supported, not with an initrd"
        );
        assert_eq!(
            line([LINUX, 2, KERNEL, 0], ImageType::Kernel),
            "is a uImage for 32-bit ARM, not arm64"
        );
        assert_eq!(
            line([LINUX, 99, RAMDISK, 0], ImageType::Ramdisk),
            "is a uImage for architecture 99, not arm64"
        );
        assert_eq!(
            line([14, ARM64, KERNEL, 0], ImageType::Kernel),
            "is a uImage for VxWorks, not Linux"
        );
        assert_eq!(
            line([LINUX, ARM64, KERNEL, 3], ImageType::Kernel),
            "is a uImage packed with lzma; gzip alone is supported"
        );
        for facts in [[LINUX, ARM64, KERNEL, GZIP], [LINUX, ARM64, KERNEL_NOLOAD, 0]] {
            assert_eq!(contents(&with(b"data", facts), ImageType::Kernel), Ok(64..68));
        }
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_an_error_or_nothing_that_counts() {
        let file = wrapped(ImageType::Kernel, 0, b"a kernel's bytes");
        for len in 0..file.len() {
            assert!(
                matches!(
                    contents(&file[..len], ImageType::Kernel),
                    Err(Error::Truncated { .. })
                ),
                "{len}"
            );
        }
        let mut changed = file.clone();
        // The magic is what got it here.
        for at in 4..file.len() {
            for value in 0..=255 {
                changed[at] = value;
                assert_eq!(
                    contents(&changed, ImageType::Kernel).is_ok(),
                    value == file[at],
                    "{at}"
                );
            }
            changed[at] = file[at];
        }
    }
}
