//! Files that people serve as a kernel by mistake, or that another loader would unpack: their names, and what to do about them.

use alloc::boxed::Box;
use core::fmt;

use super::pe::{self, Program};

/// A file that is no kernel, and has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// A format that is told by its first bytes.
    Format(&'static Format),
    /// An ELF file for this machine.
    Elf(u16),
    /// An EFI program.
    Efi(Box<Program>),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => {
                write!(f, "is {format}, not an arm64 Image")?;
                match format.advice {
                    "" => Ok(()),
                    advice => write!(f, ": {advice}"),
                }
            }
            Self::Elf(machine) => {
                f.write_str("is an ELF file")?;
                if let Some((_, name)) = MACHINES.iter().find(|(number, _)| number == machine) {
                    write!(f, " for {name}")?;
                }
                f.write_str(", not an arm64 Image: ")?;
                f.write_str(match *machine {
                    VIDEO_CORE => "name the kernel itself",
                    _ => "of a kernel's build serve arch/arm64/boot/Image, not vmlinux",
                })
            }
            Self::Efi(program) => program.fmt(f),
        }
    }
}

const VIDEO_CORE: u16 = 137;
/// Machines in an ELF file's header.
static MACHINES: &[(u16, &str)] = &[
    (3, "32-bit x86"),
    (40, "32-bit ARM"),
    (62, "x86-64"),
    (VIDEO_CORE, "the Pi's VideoCore, its own firmware"),
    (183, "arm64"),
    (243, "RISC-V"),
];

/// A format, where its magic is, its name, and what to do when it is served as a kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct Format {
    at: usize,
    magic: &'static [u8],
    name: &'static str,
    advice: &'static str,
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
static FORMATS: &[Format] = &[
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
static BOOT_SECTOR: Format = format(
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

/// The kind of a file; `None` when it is unknown.
pub(super) fn named(file: &[u8]) -> Option<Foreign> {
    if file.starts_with(b"\x7fELF") {
        return Some(Foreign::Elf(bytes_at(file, 18).map_or(0, u16::from_le_bytes)));
    }
    if let Some(format) = format_of(file) {
        return Some(Foreign::Format(format));
    }
    pe::program(file).map(Foreign::Efi).or_else(|| {
        let is_it = matches_at(file, &BOOT_SECTOR);
        is_it.then_some(Foreign::Format(&BOOT_SECTOR))
    })
}

/// The format that a file's magic says.
pub(super) fn format_of(file: &[u8]) -> Option<&'static Format> {
    FORMATS.iter().find(|format| matches_at(file, format))
}

fn matches_at(file: &[u8], format: &Format) -> bool {
    let rest = file.get(format.at..);
    rest.is_some_and(|rest| rest.starts_with(format.magic))
}

/// Some bytes of a file.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_is_called_by_its_name_with_what_to_do() {
        for format in FORMATS.iter().chain([&BOOT_SECTOR]) {
            let mut file = vec![0; 0x9000];
            file[format.at..format.at + format.magic.len()].copy_from_slice(format.magic);
            assert_eq!(named(&file), Some(Foreign::Format(format)), "{}", format.name);
        }
        let line = |file: &[u8]| named(file).unwrap().to_string();
        assert_eq!(
            line(b"\x28\xb5\x2f\xfd\0"),
            "is a zstd file, not an arm64 Image: unpack it on the server, or pack it with gzip"
        );
        assert_eq!(line(b"\x1f\x8b\x05"), "is a gzip file, not an arm64 Image");
        assert_eq!(named(&[0; 0x9000]), None);
        assert_eq!(named(b""), None);
    }

    #[test]
    fn an_elf_file_says_for_which_machine_it_is() {
        let line = |machine: u8| {
            let mut file = b"\x7fELF\x02\x01\x01".to_vec();
            file.resize(18, 0);
            file.extend([machine, 0]);
            named(&file).unwrap().to_string()
        };
        assert_eq!(
            line(183),
            "is an ELF file for arm64, not an arm64 Image: of a kernel's build serve arch/arm64/boot/Image, not vmlinux"
        );
        assert_eq!(
            line(137),
            "is an ELF file for the Pi's VideoCore, its own firmware, not an arm64 Image: name the kernel itself"
        );
        assert!(line(9).starts_with("is an ELF file, not an arm64 Image: "));
        assert!(named(b"\x7fELF").is_some());
    }
}
