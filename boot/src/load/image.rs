//! The arm64 `Image` header (Linux `Documentation/arch/arm64/booting.rst`) (D-31).

use core::fmt;

use super::foreign::{self, Foreign};
use super::formats::{bytes_at, is_image};
use super::pe;

/// The header's facts of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Bytes from a 2 MiB boundary to the first byte of the image; it is entered there.
    pub text_offset: u64,
    /// Bytes that it occupies once it runs, its file included.
    pub size: u64,
}

/// Why a file is not a kernel that a Pi 3 or 4 can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The file is shorter than its own headers say.
    Truncated {
        /// Bytes that arrived.
        len: u64,
        /// Bytes that there must be.
        expected: u64,
    },
    /// Another format, which has a name.
    Foreign(Foreign),
    /// No format that is known here.
    Unknown,
    /// Built for 16 KiB pages, as kernels for the Pi 5 are; Cortex-A53 and A72 have 4 and 64 KiB.
    Pages16K,
    /// A text offset that is no multiple of 4 KiB.
    TextOffset(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len, expected } => {
                write!(f, "truncated kernel: {len} of at least {expected} bytes")
            }
            Self::Foreign(what) => what.fmt(f),
            Self::Unknown => f.write_str("is not an arm64 Image nor gzip of one"),
            Self::Pages16K => {
                f.write_str("is a kernel for 16 KiB pages, which the CPUs of Pi 3 and Pi 4 do not have")
            }
            Self::TextOffset(offset) => write!(f, "has an Image header with text_offset {offset:#x}"),
        }
    }
}

/// Before Linux 3.17 the header did not tell the size, and the text offset was this.
const OLD_TEXT_OFFSET: u64 = 0x8_0000;
/// Room behind the file for the BSS of such a kernel, which was about 1 MiB.
const OLD_BSS: u64 = 16 << 20;

/// Reads the header of a kernel's whole, uncompressed file.
pub fn parse(file: &[u8]) -> Result<Image, Error> {
    let len = file.len() as u64;
    let header = match file.first_chunk::<64>() {
        Some(header) if is_image(file) => header,
        Some(_) => return Err(foreign::named(file).map_or(Error::Unknown, Error::Foreign)),
        // Too short to know; what there is may still name another format.
        None => {
            let truncated = Error::Truncated { len, expected: 64 };
            return Err(foreign::named(file).map_or(truncated, Error::Foreign));
        }
    };
    let [text_offset, image_size, flags] = [8, 16, 24].map(|at| u64_at(header, at).unwrap_or_default());
    // Bits 2:1 of the flags: 0 unspecified, 1 4 KiB, 2 16 KiB, 3 64 KiB. Bit 0, big endian, needs nothing of us: the
    // kernel's first instructions set the CPU's endianness. Bit 3 clear asks for a place near the start of RAM, which
    // is where kernels go in any case.
    if flags & 0b110 == 0b100 {
        return Err(Error::Pages16K);
    }
    if let Some(expected) = pe::file_len(file)
        && len < expected
    {
        return Err(Error::Truncated { len, expected });
    }
    let (text_offset, size) = if image_size == 0 {
        (OLD_TEXT_OFFSET, len.saturating_add(OLD_BSS))
    } else {
        (text_offset, image_size.max(len))
    };
    if text_offset % 4096 != 0 {
        return Err(Error::TextOffset(text_offset));
    }
    Ok(Image { text_offset, size })
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const GOLDEN_LEN: usize = 0x1800;

    /// A kernel shaped like Debian's: an Image header that is also an EFI program with two sections.
    pub(crate) fn golden(text_offset: u64, image_size: u64) -> Vec<u8> {
        let mut file: Vec<u8> = (0..GOLDEN_LEN).map(|i| (i * 7 / 4) as u8).collect();
        file[..0x200].fill(0);
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ\x40\xfa");
        put(8, &text_offset.to_le_bytes());
        put(16, &image_size.to_le_bytes());
        put(24, &0b1010_u64.to_le_bytes());
        put(56, b"ARMd\x40\0\0\0");
        put(0x40, b"PE\0\0\x64\xaa\x02\0");
        put(0x40 + 20, &[0xa0, 0]);
        put(0x58, &[0x0b, 0x02]);
        put(0x58 + 108, &[6, 0, 0, 0]);
        put(0xf8, b".text\0\0\0");
        put(0xf8 + 16, &[0x00, 0x08, 0, 0, 0x00, 0x02, 0, 0]);
        put(0x120, b".data\0\0\0");
        put(0x120 + 16, &[0x00, 0x0e, 0, 0, 0x00, 0x0a, 0, 0]);
        file
    }

    #[test]
    fn the_header_of_a_modern_kernel() {
        assert_eq!(
            parse(&golden(0, 0x20_0000)),
            Ok(Image {
                text_offset: 0,
                size: 0x20_0000
            })
        );
    }

    #[test]
    fn an_old_kernel_has_its_text_offset_and_room_for_its_bss() {
        let image = parse(&golden(0x1234, 0)).unwrap();
        assert_eq!(image.text_offset, 0x8_0000);
        assert_eq!(image.size, GOLDEN_LEN as u64 + (16 << 20));
    }

    #[test]
    fn a_file_longer_than_image_size_keeps_its_end() {
        assert_eq!(parse(&golden(0, 64)).unwrap().size, GOLDEN_LEN as u64);
    }

    #[test]
    fn every_truncation_is_told_by_the_headers() {
        let file = golden(0, 0x20_0000);
        for len in 1..file.len() {
            assert!(
                matches!(
                    parse(&file[..len]),
                    Err(Error::Truncated { .. } | Error::Foreign(_))
                ),
                "{len}"
            );
        }
        assert_eq!(
            parse(&file[..0x1000]).unwrap_err().to_string(),
            "truncated kernel: 4096 of at least 6144 bytes"
        );
    }

    #[test]
    fn a_signature_counts_as_part_of_the_file() {
        let mut file = golden(0, 0x20_0000);
        file[0x58 + 144..0x58 + 152].copy_from_slice(&[0, 0x18, 0, 0, 8, 0, 0, 0]);
        assert_eq!(
            parse(&file),
            Err(Error::Truncated {
                len: 0x1800,
                expected: 0x1808
            })
        );
        file.extend([0; 8]);
        assert!(parse(&file).is_ok());
    }

    #[test]
    fn every_changed_byte_is_an_error_or_a_consistent_image() {
        let file = golden(0, 0x20_0000);
        let mut changed = file.clone();
        let (mut accepted, mut refused) = (0, 0);
        for at in 0..0x148 {
            for value in 0..=255 {
                changed[at] = value;
                match parse(&changed) {
                    Ok(image) => {
                        assert!(image.size >= file.len() as u64 && image.text_offset % 4096 == 0);
                        accepted += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
            changed[at] = file[at];
        }
        assert!(
            accepted > 1 && refused > 1,
            "{accepted} accepted, {refused} refused"
        );
    }

    #[test]
    fn kernels_for_other_page_sizes_are_told_apart() {
        let with = |pages: u8| {
            let mut file = golden(0, 0x20_0000);
            file[24] = pages << 1;
            parse(&file)
        };
        assert!(with(0).is_ok() && with(1).is_ok() && with(3).is_ok());
        assert_eq!(with(2), Err(Error::Pages16K));
    }

    #[test]
    fn an_entry_that_no_kernel_has_is_refused() {
        assert_eq!(parse(&golden(4, 0x20_0000)), Err(Error::TextOffset(4)));
    }

    #[test]
    fn other_files_are_called_by_their_name_or_not_at_all() {
        let line = |file: &[u8]| parse(file).unwrap_err().to_string();
        assert!(line(b"\xfd7zXZ\0").starts_with("is an xz file, not an arm64 Image"));
        assert_eq!(line(&[0; 0x9000]), "is not an arm64 Image nor gzip of one");
        assert_eq!(line(&[0; 10]), "truncated kernel: 10 of at least 64 bytes");
    }

    #[test]
    fn a_header_with_up_to_a_dozen_random_bytes_is_an_error_or_a_consistent_image() {
        let (mut state, mut accepted, mut refused) = (3_u64, 0, 0);
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            usize::try_from(state >> 40).unwrap()
        };
        let golden = golden(0, 0x20_0000);
        for _ in 0..20_000 {
            let mut file = golden.clone();
            for _ in 0..=random() % 12 {
                file[random() % 0x148] = random() as u8;
            }
            match parse(&file) {
                Ok(image) => {
                    assert!(image.size >= file.len() as u64 && image.text_offset % 4096 == 0);
                    accepted += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
        assert!(
            accepted > 1000 && refused > 1000,
            "{accepted} accepted, {refused} refused"
        );
    }
}
