//! Files that people serve as a kernel by mistake, or that another loader would unpack: their names, and what to do about them.
//! D-122.

use alloc::boxed::Box;
use core::fmt;

use super::formats::{BOOT_SECTOR, Format, bytes_at, format_of, matches_at};
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

#[cfg(test)]
mod tests {
    use super::super::formats::FORMATS;
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
