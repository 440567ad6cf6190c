//! Where Bramble's instructions went: executions that an emulator counted, by the functions of the image's ELF file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use qemu::profile::Instruction;

use crate::elf::{Elf, Function, plain};

/// `wfe`, in which the image rests.
const WFE: u32 = 0xd503_205f;

/// The image's functions, as it is linked.
pub(super) struct Functions {
    /// By address, which is from the image's start.
    by_address: Vec<Function>,
    /// Where it rests.
    rests: Vec<u64>,
    /// How long the image is.
    length: u64,
}

/// Instructions of one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Profile {
    /// How often the image rested.
    pub(super) rests: u64,
    /// Outside the image: by the stub before it, and by the payload behind it, which reads all of its initrd.
    pub(super) elsewhere: u64,
    /// In `memcpy` and `memmove`.
    pub(super) copies: u64,
    /// In the sums over packets.
    pub(super) checksums: u64,
    /// By the functions' names.
    pub(super) by_function: BTreeMap<String, u64>,
}

impl Profile {
    /// All that was executed.
    pub(super) fn total(&self) -> u64 {
        self.elsewhere + self.by_function.values().sum::<u64>()
    }
}

impl Functions {
    /// Those of the ELF file beside the image.
    pub(super) fn read(elf: &Path) -> Result<Self> {
        let bytes = fs::read(elf).with_context(|| format!("bench: {}", elf.display()))?;
        let elf = Elf::new(&bytes)?;
        let mut by_address = elf.functions()?;
        by_address.sort_by_key(|function| function.address);
        let flat = elf.flat()?;
        let rests: Vec<u64> = by_address
            .iter()
            .flat_map(|function| rests(&flat, function))
            .collect();
        let length = flat.len() as u64;
        let functions = Self {
            by_address,
            rests,
            length,
        };
        ensure!(!functions.rests.is_empty(), "bench: the image never rests");
        for known in [is_copy, is_checksum] {
            let found = functions.by_address.iter().any(|function| known(&function.name));
            ensure!(
                found,
                "bench: the image's copies or checksums are no functions of their own"
            );
        }
        Ok(functions)
    }

    /// Attributes what was `executed` to the functions of an image that runs at `base`.
    pub(super) fn profile(&self, base: u64, executed: &[Instruction]) -> Profile {
        let mut profile = Profile::default();
        for instruction in executed {
            let Some(address) = self.within(base, instruction) else {
                profile.elsewhere += instruction.executions;
                continue;
            };
            if self.rests.contains(&address) {
                profile.rests += instruction.executions;
            }
            let name = self.name(address);
            if is_copy(name) {
                profile.copies += instruction.executions;
            } else if is_checksum(name) {
                profile.checksums += instruction.executions;
            }
            *profile.by_function.entry(plain(name)).or_default() += instruction.executions;
        }
        profile
    }

    /// Where in an image that runs at `base` an instruction is, if it is one of its own.
    pub(super) fn within(&self, base: u64, instruction: &Instruction) -> Option<u64> {
        let address = instruction.address.wrapping_sub(base);
        (address < self.length).then_some(address)
    }

    /// The function at this address.
    fn name(&self, address: u64) -> &str {
        let behind = self
            .by_address
            .partition_point(|function| function.address <= address);
        behind
            .checked_sub(1)
            .and_then(|index| self.by_address.get(index))
            .filter(|function| address - function.address < function.size)
            .map_or("(no function)", |function| &function.name)
    }
}

/// What each function executed more in the second of two runs, the most first.
pub(super) fn differences<'f>(
    before: &BTreeMap<String, u64>,
    after: &'f BTreeMap<String, u64>,
) -> Vec<(f64, &'f str)> {
    let mut rows: Vec<(f64, &str)> = after
        .iter()
        .map(|(name, &executed)| {
            let before = before.get(name).copied().unwrap_or_default();
            (executed as f64 - before as f64, name.as_str())
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    rows
}

/// The addresses at which `function` rests.
fn rests(flat: &[u8], function: &Function) -> Vec<u64> {
    let offsets = (0..function.size)
        .step_by(4)
        .map(|offset| function.address + offset);
    let word = |address: &u64| {
        let at = usize::try_from(*address).ok()?;
        Some(u32::from_le_bytes(
            flat.get(at..at.checked_add(4)?)?.try_into().ok()?,
        ))
    };
    offsets.filter(|address| word(address) == Some(WFE)).collect()
}

fn is_copy(name: &str) -> bool {
    name == "memcpy" || name == "memmove" || name.contains("7memmove")
}

fn is_checksum(name: &str) -> bool {
    // smoltcp::wire::ip::checksum::data and kernel::ether::checksum, in either of Rust's manglings.
    name.contains("8checksum4data") || name.contains("5ether8checksum")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions() -> Functions {
        let function = |name: &str, address, size| Function {
            name: name.to_owned(),
            address,
            size,
        };
        Functions {
            by_address: vec![
                function("_ZN4boot3net4wait17h0123456789abcdefE", 0x100, 0x40),
                function("memcpy", 0x140, 0x20),
                function(
                    "_ZN7smoltcp4wire2ip8checksum4data17h0123456789abcdefE",
                    0x160,
                    0x20,
                ),
            ],
            rests: vec![0x108],
            length: 0x200,
        }
    }

    #[test]
    fn instructions_go_to_their_functions() {
        let executed = [
            (0x1100, 10),
            // The rest.
            (0x1108, 5),
            (0x113c, 100),
            (0x1144, 7),
            (0x1160, 9),
            (0x1190, 1),
            (0x1200, 3),
            (0xfff, 1),
        ]
        .map(|(address, executions)| Instruction { address, executions });
        let profile = functions().profile(0x1000, &executed);
        assert_eq!(profile.rests, 5);
        assert_eq!(profile.copies, 7);
        assert_eq!(profile.checksums, 9);
        assert_eq!(profile.by_function["boot::net::wait"], 10 + 5 + 100);
        assert_eq!(profile.by_function["(no function)"], 1);
        assert_eq!(profile.elsewhere, 4);
        assert_eq!(profile.total(), 136);
    }

    #[test]
    fn rests_are_found_in_the_image() {
        let mut flat = vec![0; 12];
        flat[8..].copy_from_slice(&WFE.to_le_bytes());
        let function = |address, size| Function {
            name: String::new(),
            address,
            size,
        };
        assert_eq!(rests(&flat, &function(4, 8)), [8]);
        // Behind the image's end there is nothing.
        assert!(rests(&flat, &function(12, 8)).is_empty());
    }
}
