//! The little of ELF that an image needs: its sections, its functions, and its loaded bytes as one flat file (ELF-64,
//! gABI ch. 4, 5).

use anyhow::{Context, Result, bail, ensure};

/// A 64-bit little-endian ELF file.
pub(crate) struct Elf<'a> {
    bytes: &'a [u8],
}

/// A section that takes memory at run time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) size: u64,
    /// Whether it is in the file, or only zeroed memory.
    pub(crate) stored: bool,
}

/// A function by its symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    /// As the linker knows it.
    pub(crate) name: String,
    pub(crate) address: u64,
    pub(crate) size: u64,
}

const PT_LOAD: u32 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_NOBITS: u32 = 8;
const SHF_ALLOC: u64 = 2;
const STT_FUNC: u64 = 2;

/// No image of ours is larger; a wrong address would ask for gigabytes of padding.
const FLAT_LIMIT: u64 = 64 << 20;

impl<'a> Elf<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        ensure!(
            bytes.starts_with(b"\x7fELF\x02\x01"),
            "elf: not a 64-bit little-endian ELF file"
        );
        Ok(Self { bytes })
    }

    /// The loaded segments' bytes from the lowest physical address on, gaps zeroed: what `objcopy -O binary` writes.
    pub(crate) fn flat(&self) -> Result<Vec<u8>> {
        let headers = self.table(32, 54, 56)?;
        let mut loads = Vec::new();
        for header in headers {
            let segment = Self { bytes: header };
            let (stored, address) = (segment.u64(32)?, segment.u64(24)?);
            if segment.u32(0)? == PT_LOAD && stored > 0 {
                loads.push((address, self.slice(segment.u64(8)?, stored)?));
            }
        }
        let base = loads
            .iter()
            .map(|(address, _)| *address)
            .min()
            .context("elf: nothing to load")?;
        let mut flat = Vec::new();
        for (address, content) in loads {
            let start = address - base;
            ensure!(start < FLAT_LIMIT, "elf: a segment {start:#x} beyond the first");
            let start = usize::try_from(start)?;
            let end = start + content.len();
            if flat.len() < end {
                flat.resize(end, 0);
            }
            flat.get_mut(start..end)
                .context("elf: segment")?
                .copy_from_slice(content);
        }
        Ok(flat)
    }

    /// The sections that take memory, in the file's order.
    pub(crate) fn sections(&self) -> Result<Vec<Section>> {
        let headers = self.table(40, 58, 64)?;
        let names = self.section_names(&headers)?;
        let mut sections = Vec::new();
        for header in headers {
            let section = Self { bytes: header };
            if section.u64(8)? & SHF_ALLOC == 0 {
                continue;
            }
            sections.push(Section {
                name: text(names, section.u32(0)?)?,
                address: section.u64(16)?,
                size: section.u64(32)?,
                stored: section.u32(4)? != SHT_NOBITS,
            });
        }
        Ok(sections)
    }

    /// The bytes of the section called `name`.
    pub(crate) fn content(&self, name: &str) -> Result<&'a [u8]> {
        let headers = self.table(40, 58, 64)?;
        let names = self.section_names(&headers)?;
        for header in headers {
            let section = Self { bytes: header };
            if text(names, section.u32(0)?)? == name {
                return self.slice(section.u64(24)?, section.u64(32)?);
            }
        }
        bail!("elf: no section {name}")
    }

    /// Every function that has a size, in the file's order; none in a stripped file.
    pub(crate) fn functions(&self) -> Result<Vec<Function>> {
        let headers = self.table(40, 58, 64)?;
        let mut functions = Vec::new();
        for header in &headers {
            let section = Self { bytes: header };
            if section.u32(4)? != SHT_SYMTAB {
                continue;
            }
            let strings = headers
                .get(section.u32(40)? as usize)
                .context("elf: no symbol names")?;
            let strings = Self { bytes: strings };
            let names = self.slice(strings.u64(24)?, strings.u64(32)?)?;
            let symbols = self.slice(section.u64(24)?, section.u64(32)?)?;
            for symbol in symbols.chunks_exact(24) {
                let symbol = Self { bytes: symbol };
                let size = symbol.u64(16)?;
                // The type is the low half of st_info, the byte behind the four of st_name.
                if symbol.u64(0)? >> 32 & 0xf == STT_FUNC && size > 0 {
                    functions.push(Function {
                        name: text(names, symbol.u32(0)?)?,
                        address: symbol.u64(8)?,
                        size,
                    });
                }
            }
        }
        Ok(functions)
    }

    /// The string table of the sections' names.
    fn section_names(&self, headers: &[&'a [u8]]) -> Result<&'a [u8]> {
        let names = headers
            .get(usize::from(self.u16(62)?))
            .context("elf: no section names")?;
        let names = Self { bytes: names };
        self.slice(names.u64(24)?, names.u64(32)?)
    }

    /// A header table, from where the file header holds its offset, its entry size and count, and an entry's least size.
    fn table(&self, offset: u64, entry_size: u64, least: u64) -> Result<Vec<&'a [u8]>> {
        let start = self.u64(offset)?;
        let size = u64::from(self.u16(entry_size)?);
        ensure!(size >= least, "elf: table entries of {size} bytes");
        let count = u64::from(self.u16(entry_size + 2)?);
        (0..count)
            .map(|index| self.slice(start.checked_add(index * size).context("elf: table")?, size))
            .collect()
    }

    fn slice(&self, offset: u64, length: u64) -> Result<&'a [u8]> {
        let start = usize::try_from(offset)?;
        let end = start
            .checked_add(usize::try_from(length)?)
            .context("elf: offset")?;
        self.bytes
            .get(start..end)
            .with_context(|| format!("elf: truncated at {start:#x}"))
    }

    fn u16(&self, offset: u64) -> Result<u16> {
        Ok(u16::from_le_bytes(self.slice(offset, 2)?.try_into()?))
    }

    fn u32(&self, offset: u64) -> Result<u32> {
        Ok(u32::from_le_bytes(self.slice(offset, 4)?.try_into()?))
    }

    fn u64(&self, offset: u64) -> Result<u64> {
        Ok(u64::from_le_bytes(self.slice(offset, 8)?.try_into()?))
    }
}

impl Function {
    /// Its path, without the mangling.
    pub(crate) fn path(&self) -> String {
        plain(&self.name)
    }

    /// Whether the instruction at `address` is one of its.
    pub(crate) fn holds(&self, address: u64) -> bool {
        (self.address..self.address + self.size).contains(&address)
    }
}

/// The path in a mangled name (`_ZN`, a length and a part each, a hash last), or the name as it is.
pub(crate) fn plain(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("_ZN") else {
        return name.to_owned();
    };
    let mut parts = Vec::new();
    while let Some(digits) = rest
        .find(|byte: char| !byte.is_ascii_digit())
        .filter(|&end| end > 0)
    {
        let part = rest.get(..digits).and_then(|length| {
            let end = digits.checked_add(length.parse().ok()?)?;
            Some((rest.get(digits..end)?, rest.get(end..)?))
        });
        let Some((part, behind)) = part else {
            return name.to_owned();
        };
        parts.push(part);
        rest = behind;
    }
    if parts.len() > 1 {
        parts.pop();
    }
    parts.join("::")
}

/// The string at `offset` of a string table.
fn text(table: &[u8], offset: u32) -> Result<String> {
    let bytes = table.get(offset as usize..).context("elf: a name")?;
    let bytes: Vec<u8> = bytes.iter().copied().take_while(|&byte| byte != 0).collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, two segments at 0x1000 (`ab`, with bss) and 0x1004 (`c`), and no sections.
    fn sample() -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = 2;
        for (offset, address, size) in [(176_u64, 0x1000_u64, 2_u64), (178, 0x1004, 1)] {
            let mut header = [0; 56];
            header[0] = 1;
            header[8..16].copy_from_slice(&offset.to_le_bytes());
            header[24..32].copy_from_slice(&address.to_le_bytes());
            header[32..40].copy_from_slice(&size.to_le_bytes());
            file.extend_from_slice(&header);
        }
        file.extend_from_slice(b"abc");
        file
    }

    #[test]
    fn segments_flatten_with_their_gap() {
        assert_eq!(Elf::new(&sample()).unwrap().flat().unwrap(), b"ab\0\0c");
    }

    /// A header, a symbol table of a function and an object, and its names.
    fn with_symbols() -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[40] = 64;
        file[58] = 64;
        file[60] = 2;
        for (kind, link, offset, size) in [(SHT_SYMTAB, 1, 192_u64, 48_u64), (3, 0, 240, 8)] {
            let mut header = [0; 64];
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[24..32].copy_from_slice(&offset.to_le_bytes());
            header[32..40].copy_from_slice(&size.to_le_bytes());
            header[40] = link;
            file.extend_from_slice(&header);
        }
        for (name, kind, address) in [(1, 0x12, 0x80_u64), (5, 0x11, 0x100)] {
            let mut symbol = [0; 24];
            symbol[0] = name;
            symbol[4] = kind;
            symbol[8..16].copy_from_slice(&address.to_le_bytes());
            symbol[16] = 12;
            file.extend_from_slice(&symbol);
        }
        file.extend_from_slice(b"\0run\0it\0");
        file
    }

    #[test]
    fn functions_are_told_from_objects() {
        let file = with_symbols();
        let run = Function {
            name: "run".to_owned(),
            address: 0x80,
            size: 12,
        };
        assert_eq!(Elf::new(&file).unwrap().functions().unwrap(), [run]);
        for length in 0..file.len() - 3 {
            let cut = Elf::new(&file[..length]).and_then(|elf| elf.functions());
            assert!(cut.is_err(), "{length}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let file = sample();
        for length in 0..file.len() {
            assert!(
                Elf::new(&file[..length]).and_then(|elf| elf.flat()).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn an_absurd_address_is_an_error() {
        let mut file = sample();
        file[64 + 56 + 24 + 6] = 1;
        assert!(Elf::new(&file).unwrap().flat().is_err());
    }

    #[test]
    fn names_lose_their_mangling() {
        assert_eq!(plain("memcpy"), "memcpy");
        assert_eq!(plain("_ZN4boot3net4wait17h0123456789abcdefE"), "boot::net::wait");
        assert_eq!(plain("_ZN9999boot"), "_ZN9999boot");
    }
}
