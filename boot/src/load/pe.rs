//! EFI programs (Microsoft PE/COFF specification): how long one must be, and what one is that is served as a kernel.
//!
//! Only headers, the table of sections and the first bytes of a few sections are read (D-31).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt;

use super::formats::{bytes_at, format_of, is_image};
use super::{gzip, zboot};
use crate::text::ascii;

const ARM64: u16 = 0xaa64;
static MACHINES: &[(u16, &str)] = &[
    (0x014c, "32-bit x86"),
    (0x01c0, "32-bit ARM"),
    (0x01c2, "32-bit ARM"),
    (0x01c4, "32-bit ARM"),
    (0x0200, "Itanium"),
    (0x0ebc, "EFI byte code"),
    (0x5032, "32-bit RISC-V"),
    (0x5064, "RISC-V"),
    (0x6232, "32-bit LoongArch"),
    (0x6264, "LoongArch"),
    (0x8664, "x86-64"),
    (ARM64, "arm64"),
];
/// Sections of a program; EFI loads none with more.
const MAX_SECTIONS: usize = 96;
/// The bytes of a section that are read for a program's name, and the longest name.
const PROBE: usize = 512;
const SHOWN: usize = 40;

/// An EFI program that is no kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    machine: u16,
    /// The program's name; empty when it has none.
    name: String,
    unified: Option<Unified>,
}

/// The contents of a unified kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unified {
    /// The kind of the kernel in `.linux`.
    kernel: String,
    /// Whether that kernel would boot here as a file of its own.
    boots: bool,
    /// The other sections that a boot needs.
    others: String,
    is_stubble: bool,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = MACHINES.iter().find(|(number, _)| *number == self.machine);
        let machine = machine.map_or("an unknown machine", |(_, name)| *name);
        let Some(unified) = &self.unified else {
            write!(f, "is an EFI program for {machine}")?;
            if !self.name.is_empty() {
                write!(f, " ({})", self.name)?;
            }
            return f.write_str(", not an arm64 Image: name the kernel itself");
        };
        f.write_str("is a unified kernel image")?;
        if self.machine != ARM64 {
            return write!(f, " for {machine}, not for arm64");
        }
        if unified.is_stubble {
            f.write_str(" (Ubuntu's stubble)")?;
        }
        let Unified { kernel, others, .. } = unified;
        write!(f, ", {kernel} in .linux{others}: ")?;
        f.write_str("take it apart on the server (objcopy -O binary --only-section=.linux)")?;
        f.write_str(if unified.boots {
            ""
        } else {
            ", and unpack the kernel"
        })
    }
}

/// Describes an EFI program; `None` when the file is none.
pub(super) fn program(file: &[u8]) -> Option<Box<Program>> {
    let headers = Headers::read(file)?;
    let unified = headers.section(".linux").map(|kernel| {
        let (what, boots) = kernel_in(kernel);
        let has = |name| headers.section(name).is_some();
        let others = [".initrd", ".cmdline", ".dtb"]
            .into_iter()
            .filter(|name| has(name));
        Unified {
            kernel: what,
            boots,
            others: others.map(|name| format!(", {name}")).collect(),
            is_stubble: (has(".hwids") || has(".dtbauto")) && !has(".osrel") && !has(".initrd"),
        }
    });
    Some(Box::new(Program {
        machine: headers.machine,
        name: headers.name(),
        unified,
    }))
}

/// Whether a file is an EFI program that runs on arm64.
pub fn is_for_arm64(file: &[u8]) -> bool {
    Headers::read(file).is_some_and(|headers| headers.machine == ARM64)
}

/// The kind of the file in a section that should hold a kernel, and whether that file would boot.
fn kernel_in(section: &[u8]) -> (String, bool) {
    if zboot::is_zboot(section) {
        return match zboot::contents(section) {
            Ok(_) => ("an EFI zboot kernel".into(), true),
            Err(zboot::Error::Compression(name)) => {
                (format!("an EFI zboot kernel packed with {name}"), false)
            }
            Err(_) => ("a truncated EFI zboot kernel".into(), false),
        };
    }
    if gzip::is_gzip(section) || is_image(section) {
        return ("a kernel".into(), true);
    }
    let name = format_of(section).map_or("something unknown".into(), |format| format.to_string());
    (name, false)
}

/// The headers of an EFI program, as far as they are there.
struct Headers<'a> {
    file: &'a [u8],
    machine: u16,
    optional: &'a [u8],
    sections: &'a [[u8; 40]],
}

impl<'a> Headers<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        let pe = usize::try_from(u32_at(file, 60).filter(|_| file.starts_with(b"MZ"))?).ok()?;
        let coff = file.get(pe..)?.first_chunk::<24>()?;
        if !coff.starts_with(b"PE\0\0") {
            return None;
        }
        let start = pe.checked_add(24)?;
        let table = start.checked_add(usize::from(u16_at(coff, 20)?))?;
        let sections = file.get(table..).unwrap_or_default().as_chunks::<40>().0;
        let count = usize::from(u16_at(coff, 6)?).min(MAX_SECTIONS);
        Some(Self {
            file,
            machine: u16_at(coff, 4)?,
            optional: file.get(start..table).unwrap_or_default(),
            sections: sections.get(..count).unwrap_or(sections),
        })
    }

    /// The bytes of a section in the file, as many as there are.
    fn section(&self, name: &str) -> Option<&'a [u8]> {
        let is_it = |section: &&[u8; 40]| {
            let (found, _) = section.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
            let mut padded = found.iter().copied();
            name.bytes().all(|byte| padded.next() == Some(byte)) && padded.all(|byte| byte == 0)
        };
        let section = self.sections.iter().find(is_it)?;
        let [used, len, at] = [8, 16, 20].map(|at| u32_at(section, at).unwrap_or_default() as usize);
        // Bytes of the file behind the used ones are padding.
        let len = if used == 0 { len } else { len.min(used) };
        let rest = self.file.get(at..).unwrap_or_default();
        Some(rest.get(..len).unwrap_or(rest))
    }

    /// The program's name: from its line in `.sbat` (a generation, a name, its vendor, a package, a version), from systemd's
    /// `.sdmagic`, from a section that only one loader has, or the name under which it was linked.
    fn name(&self) -> String {
        let text = |name| {
            let section = self.section(name).unwrap_or_default();
            let probe = section.get(..PROBE).unwrap_or(section);
            String::from_utf8_lossy(probe).into_owned()
        };
        let info = text(".sdmagic");
        let info = info
            .split_once("LoaderInfo: ")
            .map(|(_, rest)| rest.trim_end_matches(['#', '\0', ' ']));
        let sbat = text(".sbat");
        let own = sbat
            .lines()
            .find(|line| !line.starts_with("sbat,"))
            .unwrap_or_default();
        let mut fields = own.split(',');
        let (component, version) = (
            fields.next().unwrap_or_default(),
            fields.nth(3).unwrap_or_default(),
        );
        let own = match component {
            "ipxe" => "iPXE",
            "grub" => "GRUB",
            other => other,
        };
        let own = format!("{own} {version}");
        let linked = self.linked_as().unwrap_or_default();
        let name = match info {
            Some(info) if !info.is_empty() => info,
            _ if !component.trim_matches('\0').is_empty() => own.trim(),
            _ if self.section("mods").is_some() => "GRUB",
            _ => linked,
        };
        ascii(&name.chars().take(SHOWN).collect::<String>())
    }

    /// The file's name when it was linked, which is beside its debugging information.
    fn linked_as(&self) -> Option<&'a str> {
        const CODE_VIEW: u32 = 2;
        let address = self.directory(6)?.0;
        // The directory is a list of 28 bytes each, at an address in memory.
        let entry = self.at(address)?.first_chunk::<28>()?;
        let data = self.file.get(u32_at(entry, 24)? as usize..)?;
        let skip = match data.first_chunk::<4>()? {
            _ if u32_at(entry, 12)? != CODE_VIEW => return None,
            b"NB10" => 16,
            b"RSDS" => 24,
            _ => return None,
        };
        let name = data.get(skip..)?;
        let name = name
            .get(..PROBE)
            .unwrap_or(name)
            .split(|byte| *byte == 0)
            .next()?;
        core::str::from_utf8(name).ok()?.rsplit(['/', '\\']).next()
    }

    /// The place and the length in a data directory's entry.
    fn directory(&self, number: usize) -> Option<(u32, u32)> {
        // PE32+ has its directories at byte 112 of the optional header, PE32 at 96; their number is before them.
        let start: usize = match u16_at(self.optional, 0)? {
            0x20b => 112,
            0x10b => 96,
            _ => return None,
        };
        let count = u32_at(self.optional, start.checked_sub(4)?)? as usize;
        let at = start.checked_add(number.checked_mul(8)?)?;
        let directory = (
            u32_at(self.optional, at)?,
            u32_at(self.optional, at.checked_add(4)?)?,
        );
        Some(directory).filter(|_| number < count)
    }

    /// The file's bytes from an address in memory on.
    fn at(&self, address: u32) -> Option<&'a [u8]> {
        self.sections.iter().find_map(|section| {
            let [start, len, at] = [12, 16, 20].map(|at| u32_at(section, at).unwrap_or_default());
            let offset = address.checked_sub(start).filter(|offset| *offset < len)?;
            self.file.get(at.checked_add(offset)? as usize..)
        })
    }
}

/// The least length of a kernel's file with an EFI stub: the end of its last section's data or of its signature.
/// `None` when it is no PE file.
pub(super) fn file_len(file: &[u8]) -> Option<u64> {
    if !file.starts_with(b"MZ") {
        return None;
    }
    let pe = usize::try_from(u32_at(file, 60)?).ok()?;
    let coff_end = pe.checked_add(24)?;
    let Some(coff) = file.get(pe..coff_end) else {
        return Some(coff_end as u64);
    };
    if !coff.starts_with(b"PE\0\0") {
        return None;
    }
    let sections = usize::from(u16_at(coff, 6)?);
    let optional_len = usize::from(u16_at(coff, 20)?);
    let table = coff_end.checked_add(optional_len)?;
    let headers_end = table.checked_add(sections.checked_mul(40)?)?;
    let mut end = headers_end as u64;
    // PE32+ has its data directories at byte 112 of the optional header; the fifth is the certificate table, the
    // only one whose address is a file offset.
    let optional = file.get(coff_end..table).unwrap_or_default();
    if u16_at(optional, 0) == Some(0x20b) && u32_at(optional, 108).is_some_and(|count| count > 4) {
        let certificates = optional.get(112 + 4 * 8..).unwrap_or_default();
        if let (Some(at), Some(len)) = (u32_at(certificates, 0), u32_at(certificates, 4)) {
            end = end.max(u64::from(at).saturating_add(u64::from(len)));
        }
    }
    for section in file
        .get(table..headers_end)
        .unwrap_or_default()
        .as_chunks::<40>()
        .0
    {
        // A section without data (.bss) may carry any offset.
        let (len, at) = (u32_at(section, 16)?, u32_at(section, 20)?);
        if len != 0 {
            end = end.max(u64::from(at).saturating_add(u64::from(len)));
        }
    }
    Some(end)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// An EFI program for a machine with these sections.
    pub(crate) fn program_of(machine: u16, sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut file = vec![0; (0x188 + sections.len() * 40).next_multiple_of(512).max(0x400)];
        let put =
            |file: &mut Vec<u8>, at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(&mut file, 0, b"MZ");
        put(&mut file, 60, &[0x80]);
        put(&mut file, 0x80, b"PE\0\0");
        put(&mut file, 0x84, &machine.to_le_bytes());
        put(&mut file, 0x86, &[sections.len() as u8, 0]);
        put(&mut file, 0x94, &[0xf0, 0]);
        put(&mut file, 0x98, &[0x0b, 0x02]);
        put(&mut file, 0x98 + 108, &[16]);
        for (n, (name, data)) in sections.iter().enumerate() {
            let (header, at) = (0x188 + n * 40, file.len());
            let [len, start] = [data.len() as u32, at as u32].map(u32::to_le_bytes);
            put(&mut file, header, name.as_bytes());
            for (field, value) in [(8, len), (12, start), (16, len), (20, start)] {
                put(&mut file, header + field, &value);
            }
            file.extend(*data);
            file.resize(file.len().next_multiple_of(512), 0);
        }
        file
    }

    fn line(machine: u16, sections: &[(&str, &[u8])]) -> String {
        program(&program_of(machine, sections)).unwrap().to_string()
    }

    #[test]
    fn ninety_six_sections_are_looked_at() {
        let named = |at: usize| {
            let mut sections: Vec<(&str, &[u8])> = vec![(".text", b""); 120];
            sections[at] = ("mods", b"x");
            line(ARM64, &sections)
        };
        assert!(named(MAX_SECTIONS - 1).contains("arm64 (GRUB)"));
        assert!(!named(MAX_SECTIONS).contains("GRUB"));
    }

    #[test]
    fn programs_are_called_by_the_machine_that_runs_them_and_by_their_names() {
        let sbat =
            |line: &str| format!("sbat,1,SBAT Version,sbat,1,https://example.org\n{line}\n").into_bytes();
        for (machine, sections, expected) in [
            (0x8664, (".text", b"code".to_vec()), "x86-64"),
            (0x014c, (".sbat", b"\0\0\0\0".to_vec()), "32-bit x86"),
            (0x1234, (".text", b"code".to_vec()), "an unknown machine"),
            (ARM64, ("mods", vec![1]), "arm64 (GRUB)"),
            (
                ARM64,
                (".sbat", sbat("grub,5,Nobody,grub2,2.12,https://g")),
                "arm64 (GRUB 2.12)",
            ),
            (
                0x8664,
                (".sbat", sbat("ipxe,1,iPXE,ipxe.efi,1.21.1+,https://i")),
                "x86-64 (iPXE 1.21.1+)",
            ),
            (
                ARM64,
                (".sbat", sbat("shim,4,UEFI shim,shim,15.8")),
                "arm64 (shim 15.8)",
            ),
            (ARM64, (".sbat", sbat("\x1b[31m,1")), "arm64 (?[31m)"),
            (
                ARM64,
                (".sdmagic", b"#### LoaderInfo: systemd-boot 255 ####\0\0".to_vec()),
                "arm64 (systemd-boot 255)",
            ),
        ] {
            let (name, data) = sections;
            let expected =
                format!("is an EFI program for {expected}, not an arm64 Image: name the kernel itself");
            assert_eq!(line(machine, &[(name, &data)]), expected);
        }
        assert_eq!(program(b"MZ a program for DOS"), None);
    }

    #[test]
    fn a_program_without_a_name_has_the_one_under_which_it_was_linked() {
        let mut entry = vec![0; 28];
        entry[12] = 2;
        entry[24..28].copy_from_slice(&0x600_u32.to_le_bytes());
        let named = [
            b"NB10\0\0\0\0\0\0\0\0\0\0\0\0bin-arm64\\snp.efi\0".as_slice(),
            &[9; 600],
        ]
        .concat();
        let mut file = program_of(ARM64, &[(".debug", &entry), (".data", &named)]);
        file[0x98 + 112 + 6 * 8..][..8].copy_from_slice(&[0, 4, 0, 0, 28, 0, 0, 0]);
        let said = program(&file).unwrap().to_string();
        assert_eq!(
            said,
            "is an EFI program for arm64 (snp.efi), not an arm64 Image: name the kernel itself"
        );
    }

    #[test]
    fn a_unified_kernel_image_says_what_is_in_it() {
        let kernel = super::super::image::tests::golden(0, 0x20_0000);
        let zboot = |how| zboot::tests::wrapped(b"packed", how);
        let apart = "take it apart on the server (objcopy -O binary --only-section=.linux)";
        assert_eq!(
            line(
                ARM64,
                &[
                    (".osrel", b"ID=x"),
                    (".cmdline", b"quiet"),
                    (".linux", &kernel),
                    (".initrd", &[1])
                ]
            ),
            format!("is a unified kernel image, a kernel in .linux, .initrd, .cmdline: {apart}")
        );
        assert_eq!(
            line(
                ARM64,
                &[(".hwids", &[1]), (".dtbauto", &[1]), (".linux", &zboot("zstd22"))]
            ),
            format!(
                "is a unified kernel image (Ubuntu's stubble), an EFI zboot kernel packed with zstd22 in .linux: {apart}, \
                 and unpack the kernel"
            )
        );
        for (held, said, more) in [
            (zboot("gzip"), "an EFI zboot kernel", ""),
            (
                zboot("gzip")[..80].to_vec(),
                "a truncated EFI zboot kernel",
                ", and unpack the kernel",
            ),
            (
                b"\x28\xb5\x2f\xfd".to_vec(),
                "a zstd file",
                ", and unpack the kernel",
            ),
            (vec![1], "something unknown", ", and unpack the kernel"),
        ] {
            let expected = format!("is a unified kernel image, {said} in .linux: {apart}{more}");
            assert_eq!(line(ARM64, &[(".linux", &held)]), expected);
        }
        assert_eq!(
            line(0x8664, &[(".linux", &kernel)]),
            "is a unified kernel image for x86-64, not for arm64"
        );
    }

    #[test]
    fn every_changed_byte_and_every_truncation_has_a_line() {
        let sections: &[(&str, &[u8])] = &[(".sbat", b"sbat,1\nx,1,2,3,4\n"), (".linux", b"MZ\0\0zimg")];
        for golden in [
            program_of(ARM64, sections),
            program_of(ARM64, &[(".debug", &[2; 60])]),
        ] {
            let mut changed = golden.clone();
            let (mut told, mut others) = (0, 0);
            let mut tell = |file: &[u8]| match program(file) {
                Some(program) => {
                    assert!(program.to_string().starts_with("is "), "{program}");
                    told += 1;
                }
                None => others += 1,
            };
            let mut lens = BTreeSet::new();
            for at in 0..golden.len() {
                tell(&golden[..at]);
                for flip in [1, 0x80, 0xff] {
                    changed[at] ^= flip;
                    tell(&changed);
                    lens.insert(file_len(&changed));
                    changed[at] = golden[at];
                }
            }
            assert!(told > 1 && others > 1, "{told} told, {others} others");
            assert!(lens.len() > 1 && lens.contains(&file_len(&golden)));
        }
    }
}
