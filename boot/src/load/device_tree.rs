//! Flattened device trees (Devicetree Specification v0.4, chapter 5): the check before anything reads one, and its facts.
//!
//! `dtoolkit` trusts what it is given and recurses with the tree's depth. So nothing gets to it but a [`Tree`], and
//! [`Tree::check`] proves in one pass, without recursion or heap, all that `dtoolkit` relies on. After that a walk
//! takes time in proportion to the tree's size (2 MiB) times its depth (32), and a copy on the heap is bounded.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::ops::Range;

use dtoolkit::fdt::{Fdt, FdtNode};
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

/// Linux maps this much for it.
pub const SIZE_LIMIT: usize = 2 << 20;
/// Levels of nodes, the root being the first. Real trees have 8.
pub const DEPTH_LIMIT: u32 = 32;
/// Bytes of heap that a tree may take while it is unpacked and written out again, which is ten times a usual tree's size:
/// Debian's of 15 KiB for a Pi 3 takes 110 KiB.
pub const HEAP_LIMIT: usize = 3 << 20;

/// Nodes and properties of a tree that is never unpacked. A FIT image of Linux for all of its arm64 boards has 18,000.
const ENTRY_LIMIT: usize = 1 << 17;

const NODE_NAME_LIMIT: usize = 255;
const PROPERTY_NAME_LIMIT: usize = 127;
const RESERVATION_LIMIT: usize = 256;
/// Ranges of memory, present and reserved; real trees have less than ten.
const RANGE_LIMIT: usize = 512;
/// What `dtoolkit`'s model takes for a node or property beside its name (twice) and its value, which is there once more when
/// the tree is written; measured with room.
const NODE_COST: usize = 640;
const PROPERTY_COST: usize = 320;

const MAGIC: u32 = 0xd00d_feed;
const HEADER_LEN: usize = 40;
const VERSION: u32 = 17;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// Why a device tree is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// It does not begin like one.
    Magic,
    /// It ends before its header says.
    Truncated {
        /// Bytes that there are.
        len: usize,
        /// Bytes that there must be.
        expected: usize,
    },
    /// Linux would not map all of it.
    TooBig {
        /// Its size in bytes.
        len: usize,
    },
    /// A version that cannot be read as version 17.
    Version(u32),
    /// The header names a block outside the tree, or an unaligned one.
    Header,
    /// The memory reservation block does not end, or has more than 256 entries.
    Reservations,
    /// The structure block makes no sense.
    Structure {
        /// The offset in the structure block.
        at: usize,
    },
    /// A name that is not terminated, not text, empty, or absurdly long.
    Name {
        /// The offset in the structure block.
        at: usize,
    },
    /// More than 32 levels of nodes.
    TooDeep,
    /// Too many nodes and properties.
    TooComplex {
        /// The bytes of heap that it may take.
        heap: usize,
    },
    /// More nodes and properties than anything that is only read has.
    TooManyEntries,
    /// More than 512 ranges of memory.
    Ranges,
    /// No node names any memory, so Linux would find none.
    NoMemory,
    /// It reserves so much that what boots finds no place.
    NoRoom {
        /// The largest piece that it leaves, in bytes.
        free: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("is not a device tree"),
            Self::Truncated { len, expected } => write!(f, "is truncated: {len} of {expected} bytes"),
            Self::TooBig { len } => write!(f, "has {len} bytes; Linux maps {SIZE_LIMIT}"),
            Self::Version(version) => write!(f, "has the unknown version {version}"),
            Self::Header => f.write_str("is corrupt: bad header"),
            Self::Reservations => f.write_str("is corrupt: bad memory reservation block"),
            Self::Structure { at } => write!(f, "is corrupt at offset {at} of its structure"),
            Self::Name { at } => write!(f, "is corrupt: bad name at offset {at} of its structure"),
            Self::TooDeep => write!(f, "is nested more than {DEPTH_LIMIT} levels deep"),
            Self::TooComplex { heap } => write!(f, "would take more than {heap} bytes unpacked"),
            Self::TooManyEntries => write!(f, "has more than {ENTRY_LIMIT} nodes and properties"),
            Self::Ranges => write!(f, "names more than {RANGE_LIMIT} ranges of memory"),
            Self::NoMemory => f.write_str("names no memory"),
            Self::NoRoom { free } => write!(
                f,
                "reserves memory, and leaves no more than {free} bytes in one piece"
            ),
        }
    }
}

/// What a tree may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Its size in bytes.
    size: usize,
    /// Bytes of heap, once it is unpacked; none when it never is.
    heap: Option<usize>,
}

/// A device tree that passed [`Tree::check`].
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    fdt: Fdt<'a>,
    heap: usize,
}

impl<'a> Tree<'a> {
    /// Proves that `bytes` begin with a well-formed tree. What follows it is ignored (D-33).
    pub fn check(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::check_within(bytes, HEAP_LIMIT)
    }

    /// The same for a tree that may take no more than `heap` bytes when unpacked.
    pub fn check_within(bytes: &'a [u8], heap: usize) -> Result<Self, Error> {
        let limits = Limits {
            size: SIZE_LIMIT,
            heap: Some(heap),
        };
        Self::prove(bytes, &limits)
    }

    /// The same for a tree of any size that carries whole files and is never unpacked.
    pub(super) fn check_container(bytes: &'a [u8]) -> Result<Self, Error> {
        let limits = Limits {
            size: usize::MAX,
            heap: None,
        };
        Self::prove(bytes, &limits)
    }

    fn prove(bytes: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        if u32_at(bytes, 0) != Some(MAGIC) {
            return Err(Error::Magic);
        }
        let truncated = |expected| Error::Truncated {
            len: bytes.len(),
            expected,
        };
        let word = |at| {
            u32_at(bytes, at)
                .map(|word| word as usize)
                .ok_or(truncated(HEADER_LEN))
        };
        let [size, structure_at, strings_at, reservations_at] = [word(4)?, word(8)?, word(12)?, word(16)?];
        let [version, compatible, strings_len, structure_len] = [word(20)?, word(24)?, word(32)?, word(36)?];
        if size > limits.size {
            return Err(Error::TooBig { len: size });
        }
        let bytes = bytes.get(..size).ok_or(truncated(size))?;
        if !(compatible..=version).contains(&(VERSION as usize)) {
            return Err(Error::Version(version as u32));
        }
        let block = |at: usize, len: usize, align: usize| {
            let is_aligned = at.checked_rem(align) == Some(0);
            bytes
                .get(at..at.checked_add(len)?)
                .filter(|_| at >= HEADER_LEN && is_aligned)
        };
        let structure = block(structure_at, structure_len, 4).ok_or(Error::Header)?;
        let strings = block(strings_at, strings_len, 1).ok_or(Error::Header)?;
        let reservations = block(reservations_at, 0, 8)
            .and_then(|_| bytes.get(reservations_at..))
            .ok_or(Error::Header)?;
        // An entry of zeros ends the list.
        reservations
            .as_chunks::<16>()
            .0
            .iter()
            .take(RESERVATION_LIMIT)
            .find(|entry| **entry == [0; 16])
            .ok_or(Error::Reservations)?;
        let heap = check_structure(structure, strings, limits)?;
        let tree = Self {
            fdt: Fdt::new_unchecked(bytes),
            heap,
        };
        // Nobody asks a container for them, and in a large one that is a walk of millions of instructions.
        let ranges = tree.memory().chain(tree.reservations());
        if limits.heap.is_some() && ranges.take(RANGE_LIMIT.saturating_add(1)).count() > RANGE_LIMIT {
            return Err(Error::Ranges);
        }
        Ok(tree)
    }

    /// The most bytes of heap that it takes once it is unpacked.
    pub(super) fn heap(&self) -> usize {
        self.heap
    }

    /// Its size in bytes, by its header.
    pub(super) fn size(&self) -> usize {
        self.fdt.data().len()
    }

    /// The tree for reading with `dtoolkit`.
    pub fn fdt(&self) -> Fdt<'a> {
        self.fdt
    }

    /// What the board is, the most specific name first: `/compatible`.
    pub fn compatible(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        strings(property(&self.fdt.root(), "compatible").unwrap_or_default())
    }

    /// The tree to change, and the name of a node that has a twin beside it.
    pub(super) fn unpacked(&self) -> (DeviceTree, Option<String>) {
        let mut tree = DeviceTree::new();
        tree.memory_reservations = self.fdt.memory_reservations().collect();
        let twin = unpack(&mut tree.root, &self.fdt.root());
        (tree, twin)
    }

    /// The board's name: `/model`.
    pub fn model(&self) -> Option<&'a str> {
        self.text("/", "model")
    }

    /// The board's serial number as the firmware wrote it: `/serial-number`.
    pub fn serial_number(&self) -> Option<&'a str> {
        self.text("/", "serial-number")
    }

    /// The board's revision code: `/system/linux,revision`.
    pub fn revision(&self) -> Option<u32> {
        let value = property(&self.fdt.find_node("/system")?, "linux,revision")?;
        Some(u32::from_be_bytes(value.try_into().ok()?))
    }

    /// Why the board was reset, as the power management block had it before the firmware wrote there: RSTS in
    /// `/chosen/bootloader/rsts`.
    pub fn reset_status(&self) -> Option<u32> {
        let value = property(&self.fdt.find_node("/chosen/bootloader")?, "rsts")?;
        Some(u32::from_be_bytes(value.try_into().ok()?))
    }

    /// What the firmware was loaded over, as a number of its BOOT_ORDER: `/chosen/bootloader/boot-mode`.
    pub fn boot_mode(&self) -> Option<u32> {
        let value = property(&self.fdt.find_node("/chosen/bootloader")?, "boot-mode")?;
        Some(u32::from_be_bytes(value.try_into().ok()?))
    }

    /// Where the firmware's initramfs is: `/chosen/linux,initrd-start` and `-end`, each of one cell or two. Unchecked.
    pub fn initramfs(&self) -> Option<Range<u64>> {
        let chosen = self.fdt.find_node("/chosen")?;
        let cells = |name| {
            let value = property(&chosen, name)?;
            let word = value.try_into().map(u32::from_be_bytes).map(u64::from);
            word.or_else(|_| value.try_into().map(u64::from_be_bytes)).ok()
        };
        let range = cells("linux,initrd-start")?..cells("linux,initrd-end")?;
        (!range.is_empty()).then_some(range)
    }

    /// The command line that the firmware composed of its own and of cmdline.txt: `/chosen/bootargs`.
    pub fn bootargs(&self) -> Option<&'a str> {
        self.text("/chosen", "bootargs")
    }

    /// The path of the console's UART: `/chosen/stdout-path` without its options, an alias resolved.
    pub fn stdout_path(&self) -> Option<&'a str> {
        let path = self.text("/chosen", "stdout-path")?;
        let path = path.split(':').next()?;
        if path.starts_with('/') {
            Some(path)
        } else {
            self.alias(path)
        }
    }

    /// The path that `/aliases` has for a name.
    pub fn alias(&self, name: &str) -> Option<&'a str> {
        self.text("/aliases", name)
    }

    /// The wired interface's MAC address; `None` when there is none or a placeholder of zeros.
    pub fn mac(&self) -> Option<[u8; 6]> {
        let path = ETHERNET.iter().find_map(|name| self.alias(name))?;
        let value = property(&self.fdt.find_node(path)?, "local-mac-address")?;
        value.try_into().ok().filter(|mac| *mac != [0; 6])
    }

    /// The address of the wired interface's PHY on its MDIO bus, which firmware writes for the board at hand.
    pub fn phy(&self) -> Option<u8> {
        let path = ETHERNET.iter().find_map(|name| self.alias(name))?;
        let child_of = |node: FdtNode<'a>, name: &str| {
            node.children().find(|child| child.name_without_address() == name)
        };
        let bus = child_of(self.fdt.find_node(path)?, "mdio")?;
        let value = property(&child_of(bus, "ethernet-phy")?, "reg")?;
        let address = u32::from_be_bytes(value.try_into().ok()?);
        u8::try_from(address).ok().filter(|address| *address < 32)
    }

    /// The banks of RAM in the order of the tree. A bank that would pass 2^64 ends there; empty ones are left out.
    pub fn memory(&self) -> impl Iterator<Item = Range<u64>> + use<'a> {
        let cells = Cells::of(&self.fdt.root());
        self.fdt
            .root()
            .children()
            .filter(is_memory)
            .flat_map(move |node| cells.ranges(property(&node, "reg").unwrap_or_default()))
    }

    /// What must not be written: the reservation block's entries, then the fixed ranges of `/reserved-memory`.
    pub fn reservations(&self) -> impl Iterator<Item = Range<u64>> + use<'a> {
        let block = self
            .fdt
            .memory_reservations()
            .map(|entry| range(entry.address(), entry.size()));
        block
            .filter(|range| !range.is_empty())
            .chain(self.reserved_memory())
    }

    /// The fixed ranges of `/reserved-memory`, without nodes that are disabled.
    pub fn reserved_memory(&self) -> impl Iterator<Item = Range<u64>> + use<'a> {
        self.reserved()
            .flat_map(|(cells, node)| cells.ranges(property(&node, "reg").unwrap_or_default()))
    }

    /// What `/reserved-memory` wants a place for that Linux is to find.
    pub fn wanted_memory(&self) -> impl Iterator<Item = Wanted<'a>> + use<'a> {
        self.reserved()
            .filter(|(_, node)| property(node, "reg").is_none())
            .filter_map(|(cells, node)| {
                let value = |name| property(&node, name).filter(|value| value.len() <= 8).map(number);
                Some(Wanted {
                    name: node.name(),
                    size: value("size").filter(|size| *size != 0)?,
                    align: value("alignment").unwrap_or_default(),
                    within: property(&node, "alloc-ranges").map(|ranges| cells.ranges(ranges).collect()),
                })
            })
    }

    /// The nodes of `/reserved-memory` that are not disabled, with what their cells mean.
    fn reserved(&self) -> impl Iterator<Item = (Cells, FdtNode<'a>)> + use<'a> {
        let parent = self.fdt.find_node("/reserved-memory");
        parent.into_iter().flat_map(|parent| {
            let cells = Cells::of(&parent);
            parent
                .children()
                .filter(|node| property(node, "status").is_none_or(|s| s == b"okay\0" || s == b"ok\0"))
                .map(move |node| (cells, node))
        })
    }

    fn text(&self, path: &str, name: &str) -> Option<&'a str> {
        text(property(&self.fdt.find_node(path)?, name)?)
    }
}

/// Memory that Linux is to find a place for: `size` and `alloc-ranges` of a node in `/reserved-memory`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The node's name.
    pub name: &'a str,
    /// Bytes.
    pub size: u64,
    /// What the place must be a multiple of; zero when it does not matter.
    pub align: u64,
    /// Where it may be; anywhere without.
    pub within: Option<alloc::vec::Vec<Range<u64>>>,
}

/// The aliases that name the wired interface, the present one first.
pub(super) const ETHERNET: [&str; 2] = ["ethernet0", "ethernet"];

/// Adds to a node what is in another. Twins become one node, the values of the second in it, as `dtc` has it when a node is
/// written twice. Returns the first one's name.
pub(super) fn unpack(to: &mut DeviceTreeNode, from: &FdtNode<'_>) -> Option<String> {
    for property in from.properties() {
        to.add_property(DeviceTreeProperty::new_unchecked(
            property.name(),
            property.value(),
        ));
    }
    let mut twin = None;
    for child in from.children() {
        let name = child.name();
        if to.child_mut(name).is_some() {
            twin = twin.or_else(|| Some(name.to_owned()));
        }
        let below = unpack(to.add_child_mut(DeviceTreeNode::new_unchecked(name)), &child);
        twin = twin.or(below);
    }
    twin
}

/// A property's value as the one string that it holds.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(value.get(..end)?).ok()
}

/// The strings of a property's value.
pub(super) fn strings(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split(|byte| *byte == 0)
        .filter_map(|text| core::str::from_utf8(text).ok())
        .filter(|text| !text.is_empty())
}

pub(super) fn is_memory<N: Node>(node: &N) -> bool {
    node.property("device_type")
        .is_some_and(|p| p.value() == b"memory\0")
}

pub(super) fn property<'a>(node: &FdtNode<'a>, name: &str) -> Option<&'a [u8]> {
    // `Property::value` would tie the bytes to the property instead of the tree.
    let bytes: Option<&'a [u8]> = node.properties().find(|p| p.name() == name)?.value_as().ok();
    bytes
}

/// How many 32-bit cells an address and a size take among a node's children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cells {
    pub(super) address: usize,
    pub(super) size: usize,
}

impl Cells {
    /// As the node says, else the specification's defaults.
    pub(super) fn of<N: Node>(node: &N) -> Self {
        let cells = |name, default| {
            node.property(name)
                .and_then(|p| u32_at(p.value(), 0))
                .map_or(default, |count| count as usize)
        };
        Self {
            address: cells("#address-cells", 2),
            size: cells("#size-cells", 1),
        }
    }

    /// The ranges of a `reg` value; none when the cells are not the one or two that memory has.
    pub(super) fn ranges<'v>(self, reg: &'v [u8]) -> impl Iterator<Item = Range<u64>> + use<'v> {
        let [address, size] = [self.address, self.size].map(|cells| cells.saturating_mul(4));
        let is_known = (1..=2).contains(&self.address) && (1..=2).contains(&self.size);
        let entry = if is_known {
            address.saturating_add(size)
        } else {
            usize::MAX
        };
        reg.chunks_exact(entry)
            .map(move |entry| {
                let (start, len) = entry.split_at_checked(address).unwrap_or_default();
                range(number(start), number(len))
            })
            .filter(|range| !range.is_empty())
    }

    /// The `reg` value for `ranges`, those too long for sizes of one cell in pieces. Ranges whose
    /// addresses do not fit are left out, with a line in the log.
    pub(super) fn reg(self, ranges: impl Iterator<Item = Range<u64>>) -> alloc::vec::Vec<u8> {
        let mut reg = alloc::vec::Vec::new();
        let piece = if self.size == 1 { 0xffe0_0000 } else { u64::MAX };
        for bank in ranges {
            if self.address == 1 && u32::try_from(bank.end.saturating_sub(1)).is_err() {
                warn!(
                    "load: the device tree has no room for the address of memory at {}",
                    crate::memory::Address(bank.start)
                );
                continue;
            }
            let mut start = bank.start;
            while start < bank.end {
                let len = bank.end.saturating_sub(start).min(piece);
                for (value, cells) in [(start, self.address), (len, self.size)] {
                    let bytes = value.to_be_bytes();
                    reg.extend_from_slice(if cells == 1 { &bytes[4..] } else { &bytes[..] });
                }
                start = start.saturating_add(len);
            }
        }
        reg
    }
}

fn number(cells: &[u8]) -> u64 {
    cells.iter().fold(0, |n, &byte| (n << 8) | u64::from(byte))
}

fn range(start: u64, len: u64) -> Range<u64> {
    start..start.saturating_add(len)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk::<4>()
        .map(|word| u32::from_be_bytes(*word))
}

/// Walks the structure block once: every token, name and value in bounds, properties before child nodes, one root,
/// nothing too deep or too much. Returns the bytes of heap that it takes.
fn check_structure(structure: &[u8], strings: &[u8], limits: &Limits) -> Result<usize, Error> {
    let mut at: usize = 0;
    let mut depth: u32 = 0;
    // Bit n: the open node at depth n has had a child, after which `dtoolkit` expects no property.
    let mut has_child: u64 = 0;
    let mut has_root = false;
    let (mut heap, mut entries): (usize, usize) = (0, 0);
    loop {
        let token_at = at;
        let wrong = Error::Structure { at: token_at };
        let bad_name = Error::Name { at: token_at };
        let token = u32_at(structure, at).ok_or(wrong.clone())?;
        at = at.saturating_add(4);
        let cost = match token {
            BEGIN_NODE => {
                let rest = structure.get(at..).unwrap_or_default();
                let name = name(rest, NODE_NAME_LIMIT).ok_or(bad_name.clone())?;
                if depth == 0 && has_root {
                    return Err(wrong);
                }
                // The root alone has no name; a name with a slash could not be found again.
                if name.is_empty() == has_root || name.contains('/') {
                    return Err(bad_name);
                }
                has_child |= 1_u64.checked_shl(depth).unwrap_or(0);
                depth = depth.saturating_add(1);
                if depth > DEPTH_LIMIT {
                    return Err(Error::TooDeep);
                }
                has_child &= !1_u64.checked_shl(depth).unwrap_or(0);
                has_root = true;
                at = aligned(at.saturating_add(name.len()).saturating_add(1));
                NODE_COST.saturating_add(name.len().saturating_mul(2))
            }
            END_NODE => {
                depth = depth.checked_sub(1).ok_or(wrong)?;
                0
            }
            PROPERTY => {
                let is_late = has_child & 1_u64.checked_shl(depth).unwrap_or(0) != 0;
                if depth == 0 || is_late {
                    return Err(wrong);
                }
                let (Some(len), Some(name_at)) =
                    (u32_at(structure, at), u32_at(structure, at.saturating_add(4)))
                else {
                    return Err(wrong);
                };
                let (len, name_at) = (len as usize, name_at as usize);
                let rest = strings.get(name_at..).unwrap_or_default();
                let name = name(rest, PROPERTY_NAME_LIMIT)
                    .filter(|name| !name.is_empty())
                    .ok_or(bad_name)?;
                let value_at = at.saturating_add(8);
                let end = value_at.saturating_add(len);
                structure.get(value_at..end).ok_or(wrong)?;
                at = aligned(end);
                PROPERTY_COST
                    .saturating_add(name.len().saturating_mul(2))
                    .saturating_add(len.saturating_mul(2))
            }
            NOP => 0,
            END if depth == 0 && has_root => return Ok(heap),
            _ => return Err(wrong),
        };
        heap = heap.saturating_add(cost);
        entries = entries.saturating_add(usize::from(cost > 0));
        match limits.heap {
            Some(limit) if heap > limit => return Err(Error::TooComplex { heap: limit }),
            None if entries > ENTRY_LIMIT => return Err(Error::TooManyEntries),
            _ => {}
        }
    }
}

/// The name at the start of `bytes`, when its NUL comes within `limit` bytes of text.
fn name(bytes: &[u8], limit: usize) -> Option<&str> {
    let probe = bytes.get(..=limit).unwrap_or(bytes);
    let end = probe.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(probe.get(..end)?).ok()
}

fn aligned(offset: usize) -> usize {
    offset.checked_next_multiple_of(4).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use dtoolkit::memreserve::MemoryReservation;
    use dtoolkit::{ToPropertyValue, fdt::Fdt};

    use super::*;

    /// A node with properties, in the order given.
    pub(crate) fn node(
        name: &str,
        properties: &[(&str, &dyn Value)],
        children: Vec<DeviceTreeNode>,
    ) -> DeviceTreeNode {
        let mut node = DeviceTreeNode::new_unchecked(name);
        for (name, value) in properties {
            node.add_property(DeviceTreeProperty::new_unchecked(*name, value.bytes()));
        }
        children.into_iter().for_each(|child| node.add_child(child));
        node
    }

    /// Any value that a property may have.
    pub(crate) trait Value {
        fn bytes(&self) -> Vec<u8>;
    }

    impl<T: ToPropertyValue> Value for T {
        fn bytes(&self) -> Vec<u8> {
            let mut bytes = vec![0; self.property_value_len()];
            self.write_property_value(&mut bytes);
            bytes
        }
    }

    pub(crate) const MAC: [u8; 6] = [0xb8, 0x27, 0xeb, 1, 2, 3];

    /// Shaped like the tree that the firmware of a Pi 4 passes, made smaller.
    pub(crate) fn firmware() -> DeviceTree {
        let mut tree = DeviceTree::new();
        tree.memory_reservations = vec![MemoryReservation::new(0, 0x1000)];
        tree.root = node(
            "",
            &[
                (
                    "compatible",
                    &["raspberrypi,4-model-b", "brcm,bcm2711"].as_slice(),
                ),
                ("model", &"Raspberry Pi 4 Model B Rev 1.4"),
                ("#address-cells", &2_u32),
                ("#size-cells", &1_u32),
                ("serial-number", &"10000000deadbeef"),
                ("memreserve", &[0x3b40_0000_u32, 0x04c0_0000]),
            ],
            vec![
                node(
                    "aliases",
                    &[
                        ("serial1", &"/soc/serial@7e215040"),
                        ("ethernet0", &"/scb/ethernet@7d580000"),
                        ("emmc2bus", &"/emmc2bus"),
                        ("blconfig", &"/reserved-memory/nvram@0"),
                    ],
                    vec![],
                ),
                node(
                    "chosen",
                    &[
                        (
                            "bootargs",
                            &"coherent_pool=1M vc_mem.mem_size=0x3f000000 root=/dev/mmcblk0p2",
                        ),
                        ("stdout-path", &"serial1:115200n8"),
                        ("kaslr-seed", &[7_u8; 8]),
                        ("linux,initrd-start", &0x100_0000_u32),
                        ("linux,initrd-end", &0x110_0000_u32),
                        ("os_prefix", &"net/"),
                    ],
                    vec![node("bootloader", &[("boot-mode", &2_u32)], vec![])],
                ),
                node(
                    "reserved-memory",
                    &[
                        ("#address-cells", &2_u32),
                        ("#size-cells", &1_u32),
                        ("ranges", &[0_u8; 0]),
                    ],
                    vec![
                        node("linux,cma", &[("size", &0x1400_0000_u32)], vec![]),
                        node(
                            "nvram@0",
                            &[("reg", &[0_u32, 0x3ef6_5ea4, 0xd0]), ("status", &"okay")],
                            vec![],
                        ),
                        node(
                            "off@1000000",
                            &[("reg", &[0_u32, 0x100_0000, 0x1000]), ("status", &"disabled")],
                            vec![],
                        ),
                    ],
                ),
                node(
                    "emmc2bus",
                    &[("dma-ranges", &[0_u32, 0, 0, 0, 0xfc00_0000])],
                    vec![],
                ),
                node("soc", &[], vec![node("serial@7e215040", &[], vec![])]),
                node(
                    "scb",
                    &[],
                    vec![node(
                        "ethernet@7d580000",
                        &[("local-mac-address", &MAC)],
                        vec![node(
                            "mdio@e14",
                            &[],
                            vec![node("ethernet-phy@1", &[("reg", &1_u32)], vec![])],
                        )],
                    )],
                ),
                node(
                    "memory@0",
                    &[
                        ("device_type", &"memory"),
                        (
                            "reg",
                            &[
                                0_u32,
                                0,
                                0x3b40_0000,
                                0,
                                0x4000_0000,
                                0xbc00_0000,
                                1,
                                0,
                                0x8000_0000,
                            ],
                        ),
                    ],
                    vec![],
                ),
                node(
                    "system",
                    &[
                        ("linux,revision", &0x00d0_3114_u32),
                        ("linux,serial", &0x1000_0000_dead_beef_u64),
                    ],
                    vec![],
                ),
            ],
        );
        tree
    }

    /// A tree by hand, from tokens that no writer would write.
    fn raw(tokens: &[u32], strings: &[u8]) -> Vec<u8> {
        let structure_at = 56;
        let strings_at = structure_at + 4 * tokens.len();
        let size = strings_at + strings.len();
        let mut dtb = Vec::new();
        for word in [
            MAGIC,
            size as u32,
            structure_at as u32,
            strings_at as u32,
            40,
            17,
            16,
            0,
        ] {
            dtb.extend(word.to_be_bytes());
        }
        dtb.extend((strings.len() as u32).to_be_bytes());
        dtb.extend((4 * tokens.len() as u32).to_be_bytes());
        dtb.extend([0; 16]);
        tokens.iter().for_each(|token| dtb.extend(token.to_be_bytes()));
        dtb.extend(strings);
        dtb
    }

    const A: u32 = 0x6100_0000;

    fn nested(depth: usize) -> Vec<u8> {
        let mut tokens = vec![BEGIN_NODE, 0];
        for _ in 1..depth {
            tokens.extend([BEGIN_NODE, A]);
        }
        tokens.extend(vec![END_NODE; depth]);
        tokens.push(END);
        raw(&tokens, b"")
    }

    /// Everything that anybody may ask of a checked tree, so that a hole in the check panics here.
    pub(crate) fn ask_all(tree: &Tree<'_>) {
        let banks: Vec<_> = tree.memory().chain(tree.reservations()).collect();
        assert!(banks.iter().all(|bank| bank.start < bank.end));
        let _ = (
            tree.model(),
            tree.serial_number(),
            tree.bootargs(),
            tree.stdout_path(),
            tree.mac(),
            tree.phy(),
        );
        let model = DeviceTree::from_fdt(&tree.fdt());
        let dtb = model.to_dtb();
        let again = Tree::check(&dtb).unwrap();
        assert_eq!(DeviceTree::from_fdt(&again.fdt()), model);
    }

    #[test]
    fn the_facts_of_a_pi() {
        let dtb = firmware().to_dtb();
        let tree = Tree::check(&dtb).unwrap();
        assert_eq!(tree.model(), Some("Raspberry Pi 4 Model B Rev 1.4"));
        assert_eq!(tree.serial_number(), Some("10000000deadbeef"));
        assert_eq!(tree.revision(), Some(0x00d0_3114));
        assert_eq!(tree.stdout_path(), Some("/soc/serial@7e215040"));
        assert_eq!((tree.mac(), tree.phy()), (Some(MAC), Some(1)));
        assert!(tree.bootargs().unwrap().starts_with("coherent_pool=1M "));
        assert_eq!(
            tree.memory().collect::<Vec<_>>(),
            [
                0..0x3b40_0000,
                0x4000_0000..0xfc00_0000,
                0x1_0000_0000..0x1_8000_0000
            ]
        );
        assert_eq!(
            tree.reservations().collect::<Vec<_>>(),
            [0..0x1000, 0x3ef6_5ea4..0x3ef6_5f74]
        );
        ask_all(&tree);
    }

    #[test]
    fn memory_is_reserved_unless_its_node_is_disabled() {
        let mut tree = firmware();
        let parent = tree.find_node_mut("/reserved-memory").unwrap();
        // As most of them are written: without a word of their status.
        parent.add_child(node(
            "atf@2000000",
            &[("reg", &[0_u32, 0x200_0000, 0x1000])],
            vec![],
        ));
        parent.add_child(node(
            "ok@3000000",
            &[("reg", &[0_u32, 0x300_0000, 0x1000]), ("status", &"ok")],
            vec![],
        ));
        let dtb = tree.to_dtb();
        let mut reserved: Vec<_> = Tree::check(&dtb).unwrap().reserved_memory().collect();
        reserved.sort_by_key(|range| range.start);
        assert_eq!(
            reserved,
            [
                0x200_0000..0x200_1000,
                0x300_0000..0x300_1000,
                0x3ef6_5ea4..0x3ef6_5f74
            ]
        );
    }

    #[test]
    fn a_name_counts_twice_for_the_heap() {
        let heap = |name: &str| {
            let mut tree = firmware();
            tree.root.add_child(node(name, &[(name, &1_u32)], vec![]));
            let dtb = tree.to_dtb();
            Tree::check(&dtb).unwrap().heap()
        };
        // A node's and a property's.
        assert_eq!(heap("a-name-of-twenty-two-b") - heap("a"), 2 * 2 * 21);
    }

    #[test]
    fn the_phy_is_where_the_firmware_says_and_nonsense_is_nowhere() {
        let phy = |reg: &dyn Value, name: &str| {
            let mut tree = firmware();
            let ethernet = tree.root.child_mut("scb").unwrap();
            let ethernet = ethernet.child_mut("ethernet@7d580000").unwrap();
            let bus = ethernet.child_mut("mdio@e14").unwrap();
            bus.remove_child("ethernet-phy@1");
            bus.add_child(node("spare", &[("reg", &7_u32)], vec![]));
            bus.add_child(node(name, &[("reg", reg)], vec![]));
            let dtb = tree.to_dtb();
            Tree::check(&dtb).unwrap().phy()
        };
        assert_eq!(phy(&1_u32, "ethernet-phy@1"), Some(1));
        assert_eq!(
            phy(&0_u32, "ethernet-phy@1"),
            Some(0),
            "the value counts, not the name"
        );
        assert_eq!(phy(&31_u32, "ethernet-phy"), Some(31));
        for nonsense in [&32_u32 as &dyn Value, &u32::MAX, &1_u64, &[0_u8; 0]] {
            assert_eq!(phy(nonsense, "ethernet-phy@1"), None);
        }
        assert_eq!(phy(&1_u32, "switch@1"), None);
    }

    #[test]
    fn the_check_accepts_what_dtoolkit_accepts_and_long_names_besides() {
        let dtb = firmware().to_dtb();
        assert!(Fdt::new(&dtb).is_ok());
        let mut tree = firmware();
        let name = "a-name-that-an-overlay-may-well-have-given@7e000000";
        tree.root
            .add_child(node(name, &[(&"p".repeat(100), &1_u32)], vec![]));
        let dtb = tree.to_dtb();
        assert!(Fdt::new(&dtb).is_err());
        ask_all(&Tree::check(&dtb).unwrap());
    }

    #[test]
    fn bytes_behind_the_tree_are_ignored() {
        let mut dtb = firmware().to_dtb();
        dtb.extend([0xff; 100]);
        assert_eq!(Tree::check(&dtb).unwrap().fdt().data().len(), dtb.len() - 100);
    }

    #[test]
    fn depth_is_bounded_before_anything_recurses() {
        ask_all(&Tree::check(&nested(32)).unwrap());
        assert_eq!(Tree::check(&nested(33)).unwrap_err(), Error::TooDeep);
        assert_eq!(Tree::check(&nested(2000)).unwrap_err(), Error::TooDeep);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let dtb = firmware().to_dtb();
        for len in 0..dtb.len() {
            let error = Tree::check(&dtb[..len]).unwrap_err();
            let is_told = len < 4 && error == Error::Magic || matches!(error, Error::Truncated { .. });
            assert!(is_told, "{len}: {error:?}");
        }
    }

    #[test]
    fn every_changed_byte_is_an_error_or_a_tree() {
        let dtb = firmware().to_dtb();
        let mut changed = dtb.clone();
        let mut refused = 0;
        for at in 0..dtb.len() {
            for flip in [0x01, 0x02, 0x04, 0x20, 0x80, 0xff, dtb[at]] {
                changed[at] = dtb[at] ^ flip;
                match Tree::check(&changed) {
                    Ok(tree) => ask_all(&tree),
                    Err(error) => {
                        refused += 1;
                        assert!(!error.to_string().is_empty());
                    }
                }
            }
            changed[at] = dtb[at];
        }
        assert!(refused > 1000, "{refused}");
    }

    #[test]
    fn random_tokens_are_an_error_or_a_tree() {
        let mut state = 5_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as usize
        };
        const WORDS: [u32; 10] = [
            BEGIN_NODE,
            END_NODE,
            PROPERTY,
            NOP,
            END,
            0,
            A,
            4,
            0xff00_0000,
            u32::MAX,
        ];
        let mut accepted = 0;
        for _ in 0..200_000 {
            let mut tokens = vec![BEGIN_NODE, 0];
            for _ in 0..random() % 12 {
                match random() % 4 {
                    0 => tokens.extend([PROPERTY, (random() % 6) as u32, (random() % 5) as u32, A]),
                    1 => tokens.extend([BEGIN_NODE, A + ((random() as u32 % 20) << 24)]),
                    2 => tokens.push(END_NODE),
                    _ => tokens.push(WORDS[random() % WORDS.len()]),
                }
            }
            tokens.extend([END_NODE, END]);
            let dtb = raw(&tokens, b"reg\0#address-cells\0no end");
            if let Ok(tree) = Tree::check(&dtb) {
                accepted += 1;
                ask_all(&tree);
            }
        }
        assert!(accepted > 1000, "{accepted}");
    }

    #[test]
    fn absurd_structures_are_refused_where_they_are() {
        let check = |tokens: &[u32]| Tree::check(&raw(tokens, b"p\0")).map(|_| ()).unwrap_err();
        let structure = |at| Error::Structure { at };
        assert_eq!(check(&[END]), structure(0));
        assert_eq!(check(&[BEGIN_NODE, 0, END]), structure(8));
        assert_eq!(check(&[BEGIN_NODE, 0, END_NODE, END_NODE]), structure(12));
        assert_eq!(
            check(&[BEGIN_NODE, 0, END_NODE, BEGIN_NODE, A, END_NODE, END]),
            structure(12)
        );
        assert_eq!(check(&[BEGIN_NODE, 0, END_NODE]), structure(12));
        assert_eq!(check(&[BEGIN_NODE, 0, 7]), structure(8));
        assert_eq!(check(&[BEGIN_NODE, A]), Error::Name { at: 0 });
        assert_eq!(check(&[BEGIN_NODE, 0, BEGIN_NODE, 0]), Error::Name { at: 8 });
        assert_eq!(
            check(&[BEGIN_NODE, 0, PROPERTY, u32::MAX, 0, END_NODE, END]),
            structure(8)
        );
        assert_eq!(
            check(&[BEGIN_NODE, 0, PROPERTY, 0, 2, END_NODE, END]),
            Error::Name { at: 8 }
        );
        assert_eq!(
            check(&[
                BEGIN_NODE, 0, BEGIN_NODE, A, END_NODE, PROPERTY, 0, 0, END_NODE, END
            ]),
            structure(20)
        );
        assert_eq!(
            check(&[PROPERTY, 0, 0, BEGIN_NODE, 0, END_NODE, END]),
            structure(0)
        );
    }

    #[test]
    fn size_version_and_reservations_are_bounded() {
        let with = |at: usize, word: u32| {
            let mut dtb = firmware().to_dtb();
            dtb[at..at + 4].copy_from_slice(&word.to_be_bytes());
            Tree::check(&dtb).map(|_| ()).unwrap_err()
        };
        assert_eq!(with(0, 0), Error::Magic);
        assert_eq!(with(4, 0x20_0001), Error::TooBig { len: 0x20_0001 });
        assert!(matches!(
            with(4, 0x20_0000),
            Error::Truncated {
                expected: 0x20_0000,
                ..
            }
        ));
        assert_eq!(with(4, 8), Error::Header);
        assert_eq!(with(8, 0), Error::Header);
        assert_eq!(with(12, u32::MAX), Error::Header);
        assert_eq!(with(16, 44), Error::Header);
        assert_eq!(with(20, 16), Error::Version(16));
        assert_eq!(with(24, 18), Error::Version(17));
        let mut many = firmware();
        many.memory_reservations = vec![MemoryReservation::new(1, 1); 300];
        assert_eq!(Tree::check(&many.to_dtb()).unwrap_err(), Error::Reservations);
    }

    #[test]
    fn ranges_of_memory_are_bounded() {
        let with = |banks: usize| {
            let mut tree = firmware();
            let memory = tree.find_node_mut("/memory@0").unwrap();
            let reg = vec![[0_u32, 0x1000, 0x1000]; banks].concat();
            memory.add_property(DeviceTreeProperty::new_unchecked("reg", reg));
            Tree::check(&tree.to_dtb()).map(|_| ())
        };
        assert_eq!(with(RANGE_LIMIT - 2), Ok(()));
        assert_eq!(with(RANGE_LIMIT - 1), Err(Error::Ranges));
    }

    #[test]
    fn a_tree_that_would_fill_the_heap_is_refused() {
        let mut tokens = vec![BEGIN_NODE, 0];
        for _ in 0..40_000 {
            tokens.extend([BEGIN_NODE, A, END_NODE]);
        }
        tokens.extend([END_NODE, END]);
        assert_eq!(
            Tree::check(&raw(&tokens, b"")).unwrap_err(),
            Error::TooComplex { heap: HEAP_LIMIT }
        );
        // Half a million properties that share one long name would be slow to read, not only big.
        let mut tokens = vec![BEGIN_NODE, 0];
        for _ in 0..150_000 {
            tokens.extend([PROPERTY, 0, 0]);
        }
        tokens.extend([END_NODE, END]);
        let mut name = vec![b'n'; 127];
        name.push(0);
        assert_eq!(
            Tree::check(&raw(&tokens, &name)).unwrap_err(),
            Error::TooComplex { heap: HEAP_LIMIT }
        );
        name.insert(0, b'n');
        assert_eq!(
            Tree::check(&raw(&tokens, &name)).unwrap_err(),
            Error::Name { at: 8 }
        );
    }

    #[test]
    fn ranges_survive_absurd_cells() {
        let cells = |address, size| Cells { address, size };
        let reg = [0xff; 40];
        assert_eq!(cells(0, 1).ranges(&reg).count(), 0);
        assert_eq!(cells(3, 2).ranges(&reg).count(), 0);
        assert_eq!(cells(usize::MAX, usize::MAX).ranges(&reg).count(), 0);
        assert_eq!(cells(1, 1).ranges(&reg).count(), 5);
        assert_eq!(
            cells(2, 2)
                .ranges(&[vec![0xff; 16], vec![0; 16]].concat())
                .count(),
            0,
            "a range that starts at the last byte has none left, and an empty one is none"
        );
        let top = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
        assert_eq!(
            cells(2, 2).ranges(&top).next(),
            Some(0xffff_ffff_0000_0000..u64::MAX)
        );
    }

    #[test]
    fn reg_values_fit_the_cells_of_their_tree() {
        let banks = [0..0x3b40_0000, 0x1_0000_0000..0x2_0000_0000];
        let back = |address, size| {
            let cells = Cells { address, size };
            let reg = cells.reg(banks.clone().into_iter());
            cells.ranges(&reg).collect::<Vec<_>>()
        };
        assert_eq!(back(2, 2), banks);
        assert_eq!(
            back(2, 1),
            [
                0..0x3b40_0000,
                0x1_0000_0000..0x1_ffe0_0000,
                0x1_ffe0_0000..0x2_0000_0000
            ]
        );
        assert_eq!(back(1, 1), &banks[..1]);
    }
}
