//! Formats that are told by their first bytes: what people serve as a kernel, and the kernel itself.

use core::fmt;

/// A format, where its magic is, its name, and what to do when it is served as a kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Format {
    pub(super) at: usize,
    pub(super) magic: &'static [u8],
    pub(super) name: &'static str,
    pub(super) advice: &'static str,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const PACKED: &str = "unpack it on the server, or pack it with gzip";

const OTHER_CPU: &str = "serve an arm64 kernel";

const HOLDS: &str = "take the kernel out of it";

const NAME_KERNEL: &str = "name the kernel itself";

/// The more specific first: several kinds of kernel are also EFI programs, and disk images begin with a boot sector.
pub(super) static FORMATS: &[Format] = &[
    format(4, b"zimg", "an EFI zboot kernel (vmlinuz.efi)", PACKED),
    format(
        0x202,
        b"HdrS",
        "an x86 boot file (bzImage: a kernel, Memtest86+)",
        OTHER_CPU,
    ),
    format(0x24, b"\x18\x28\x6f\x01", "a 32-bit ARM zImage", OTHER_CPU),
    format(0x38, b"RSC\x05", "a RISC-V Image", OTHER_CPU),
    format(0, b"\x27\x05\x19\x56", "a U-Boot uImage", ""),
    format(0, b"\xd0\x0d\xfe\xed", "a device tree or FIT image", NAME_KERNEL),
    format(0, b"\xfd7zXZ\0", "an xz file", PACKED),
    format(0, b"\x28\xb5\x2f\xfd", "a zstd file", PACKED),
    format(0, b"\x50\x2a\x4d\x18", "a zstd file (of pzstd)", PACKED),
    format(0, b"\x04\x22\x4d\x18", "an lz4 file", PACKED),
    format(0, b"\x02\x21\x4c\x18", "a legacy lz4 file", PACKED),
    format(0, b"BZh", "a bzip2 file", PACKED),
    format(0, b"\x5d\0\0", "an lzma file", PACKED),
    format(0, b"LZIP", "an lzip file", PACKED),
    format(0, b"\x89LZO", "an lzop file", PACKED),
    format(0, b"\x1f\x9d", "a file of compress", PACKED),
    format(0, b"\x1f\x8b", "a gzip file", ""),
    format(0, b"0707", "a cpio archive (an initrd?)", NAME_KERNEL),
    format(0, b"\xc7\x71", "a cpio archive (an initrd?)", NAME_KERNEL),
    format(0, b"!<arch>\ndebian", "a Debian package", HOLDS),
    format(0, b"!<arch>\n", "an ar archive", HOLDS),
    format(0, b"\xed\xab\xee\xdb", "an RPM package", HOLDS),
    format(0x101, b"ustar", "a tar archive", HOLDS),
    format(0, b"PK\x03\x04", "a zip file", HOLDS),
    format(0, b"7z\xbc\xaf", "a 7z archive", HOLDS),
    format(0, b"hsqs", "a squashfs image", HOLDS),
    format(0x400, b"\xe2\xe1\xf5\xe0", "an erofs image", HOLDS),
    format(0x8001, b"CD001", "an ISO image", HOLDS),
    format(0x438, b"\x53\xef", "an ext2, ext3 or ext4 file system", HOLDS),
    format(0, b"QFI\xfb", "a qcow2 disk image", HOLDS),
    format(0x200, b"EFI PART", "a disk image", HOLDS),
];

/// This format is tried last, because its magic is so short.
pub(super) static BOOT_SECTOR: Format = format(
    0x1fe,
    b"\x55\xaa",
    "a disk image, or a program for a PC's BIOS",
    HOLDS,
);

const fn format(at: usize, magic: &'static [u8], name: &'static str, advice: &'static str) -> Format {
    Format {
        at,
        magic,
        name,
        advice,
    }
}

/// The format that a file's magic says.
pub(super) fn format_of(file: &[u8]) -> Option<&'static Format> {
    FORMATS.iter().find(|format| matches_at(file, format))
}

pub(super) fn matches_at(file: &[u8], format: &Format) -> bool {
    let rest = file.get(format.at..);
    rest.is_some_and(|rest| rest.starts_with(format.magic))
}

/// Some bytes of a file.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// `ARM\x64` at byte 56.
const MAGIC: &[u8] = b"ARM\x64";

const MAGIC_AT: usize = 56;

/// Whether a file claims to be one.
pub(super) fn is_image(file: &[u8]) -> bool {
    file.get(MAGIC_AT..).is_some_and(|rest| rest.starts_with(MAGIC))
}
