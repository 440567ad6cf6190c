//! The linked images as files: header, segments, relocations (arm64 boot protocol; ELF gABI). `cargo xtask test` builds
//! them and checks the release image's size.

use std::collections::BTreeSet;
use std::fs;

use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};

const LE: LittleEndian = LittleEndian;

/// Every build that `cargo xtask test` leaves.
const IMAGES: [&str; 3] = ["kernel8", "kernel8-debug", "kernel8-defmt"];

/// A flat image and the ELF file that it was made from.
struct Linked {
    name: &'static str,
    flat: Vec<u8>,
    elf: Vec<u8>,
}

impl Linked {
    fn header(&self) -> &FileHeader64<LittleEndian> {
        FileHeader64::parse(&*self.elf).unwrap()
    }

    /// The segments that are loaded, lowest first.
    fn loads(&self) -> Vec<&ProgramHeader64<LittleEndian>> {
        let all = self.header().program_headers(LE, &*self.elf).unwrap();
        all.iter()
            .filter(|segment| segment.p_type(LE) == elf::PT_LOAD)
            .collect()
    }

    fn word(&self, at: u64) -> u64 {
        let at = at as usize;
        u64::from_le_bytes(self.flat[at..at + 8].try_into().unwrap())
    }

    /// The value of one of link.ld's symbols.
    fn symbol(&self, name: &str) -> u64 {
        let sections = self.header().sections(LE, &*self.elf).unwrap();
        let table = sections.symbols(LE, &*self.elf, elf::SHT_SYMTAB).unwrap();
        let found = table
            .iter()
            .find(|symbol| symbol.name(LE, table.strings()) == Ok(name.as_bytes()));
        found.unwrap().st_value(LE)
    }
}

/// The images that are there; for the others `test` is skipped, once.
fn linked(test: &str) -> Vec<Linked> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in IMAGES {
        match (
            qemu::image(&format!("{name}.img")),
            qemu::image(&format!("{name}.elf")),
        ) {
            (Ok(flat), Ok(elf)) => found.push(Linked {
                name,
                flat: fs::read(flat).unwrap(),
                elf: fs::read(elf).unwrap(),
            }),
            (Err(reason), _) | (_, Err(reason)) => missing.push(format!("{reason:#}")),
        }
    }
    if !missing.is_empty() {
        qemu::skip(test, missing.join("; "));
    }
    found
}

#[test]
fn the_header_is_a_valid_arm64_image_header() {
    for image in linked("the_header_is_a_valid_arm64_image_header") {
        let Linked { name, flat, .. } = &image;
        assert_eq!(&flat[56..60], b"ARM\x64", "{name}: magic");
        assert_eq!(image.word(8), 0, "{name}: text_offset");
        // What U-Boot and Bramble keep free; behind it nothing is touched before the image has moved.
        assert_eq!(image.word(16), flat.len() as u64, "{name}: image_size");
        assert_eq!(
            image.word(24),
            0b1010,
            "{name}: little endian, 4 KiB pages, anywhere"
        );
        assert!(
            (32..56).step_by(8).all(|at| image.word(at) == 0),
            "{name}: reserved"
        );
        assert_eq!(image.word(56) >> 32, 0, "{name}: no PE header");
    }
}

#[test]
fn the_first_instruction_branches_over_the_header() {
    for image in linked("the_first_instruction_branches_over_the_header") {
        let code = image.word(0) as u32;
        // B: bits 31 to 26 are 000101, the rest is a signed count of instructions.
        assert_eq!(code >> 26, 0b000101, "{}: {code:#x}", image.name);
        let target = u64::from(code & 0x03ff_ffff) * 4;
        assert!(
            (64..image.flat.len() as u64).contains(&target),
            "{}: to {target:#x}",
            image.name
        );
        assert_eq!(image.header().e_entry.get(LE), 0, "{}: entry", image.name);
    }
}

#[test]
fn the_flat_file_is_what_the_elf_file_loads() {
    for image in linked("the_flat_file_is_what_the_elf_file_loads") {
        let mut expected = vec![0; image.flat.len()];
        let mut stored = 0;
        for segment in image.loads() {
            let (at, bytes) = (
                segment.p_vaddr(LE) as usize,
                segment.data(LE, &*image.elf).unwrap(),
            );
            assert_eq!(segment.p_paddr(LE), at as u64, "{}: one address", image.name);
            expected[at..at + bytes.len()].copy_from_slice(bytes);
            if !bytes.is_empty() {
                stored = stored.max(at + bytes.len());
            }
        }
        assert!(
            expected == image.flat,
            "{}: the bytes are the segments'",
            image.name
        );
        assert_eq!(stored, image.flat.len(), "{}: and no more", image.name);
    }
}

/// The addresses that a RELR section names (ELF gABI, SHT_RELR): an even entry is an address, an odd one a bitmap of
/// the 63 words behind the last.
fn relative_relocations(entries: &[u64]) -> Vec<u64> {
    let (mut places, mut next) = (Vec::new(), 0);
    for &entry in entries {
        if entry & 1 == 0 {
            places.push(entry);
            next = entry + 8;
        } else {
            places.extend(
                (1..64)
                    .filter(|bit| entry >> bit & 1 == 1)
                    .map(|bit| next + (bit - 1) * 8),
            );
            next += 63 * 8;
        }
    }
    places
}

#[test]
fn every_relocation_is_relative_and_inside() {
    for image in linked("every_relocation_is_relative_and_inside") {
        let (name, header) = (image.name, image.header());
        // As a static PIE: whatever holds an address has a dynamic relocation.
        assert_eq!(header.e_type.get(LE), elf::ET_DYN, "{name}");
        let (mut table, mut size) = (None, 0);
        for segment in header.program_headers(LE, &*image.elf).unwrap() {
            for entry in segment.dynamic(LE, &*image.elf).unwrap().unwrap_or_default() {
                let value = entry.d_val(LE);
                match entry.d_tag(LE) {
                    elf::DT_RELR => table = Some(value as usize),
                    elf::DT_RELRSZ => size = value as usize,
                    elf::DT_RELA | elf::DT_REL | elf::DT_JMPREL | elf::DT_NEEDED => {
                        panic!("{name}: dynamic entry {:?}", entry.d_tag(LE))
                    }
                    _ => {}
                }
            }
        }
        let sections = header.sections(LE, &*image.elf).unwrap();
        for section in sections.iter() {
            let applied = section.sh_flags(LE).0 & elf::SHF_ALLOC.0 != 0 && section.sh_size(LE) > 0;
            let kind = section.sh_type(LE);
            assert!(
                !(applied && [elf::SHT_RELA, elf::SHT_REL].contains(&kind)),
                "{name}: {kind:?}"
            );
        }
        let table = table.expect("a RELR table");
        let entries: Vec<u64> = (table..table + size)
            .step_by(8)
            .map(|at| image.word(at as u64))
            .collect();
        let places = relative_relocations(&entries);
        // Function tables and formatted text hold addresses; none at all would mean that they were lost.
        assert!(places.len() > 100, "{name}: {} relocations", places.len());
        assert_eq!(
            places.iter().collect::<BTreeSet<_>>().len(),
            places.len(),
            "{name}: each once"
        );
        // With its stacks, which are in no segment.
        let end = image.symbol("__end");
        for place in places {
            assert!(
                place % 8 == 0 && place + 8 <= image.flat.len() as u64,
                "{name}: at {place:#x}"
            );
            let target = image.word(place);
            assert!(
                target <= end,
                "{name}: {target:#x} at {place:#x} is not inside the image"
            );
        }
    }
}

#[test]
fn bitmaps_of_relocations_are_read_as_the_gabi_says() {
    assert_eq!(
        relative_relocations(&[0x1000, 0b1011, 1 << 63 | 1]),
        [0x1000, 0x1008, 0x1018, 0x1200 + 62 * 8]
    );
}
