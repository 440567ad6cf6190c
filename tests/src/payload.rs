//! Payloads: a kernel Image that would be valid to U-Boot, gzip of it, a device tree like the Pi firmware's.

use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

use crate::node::{MAC, SERIAL};
use crate::random::Random;

/// An arm64 Image (Linux, Documentation/arch/arm64/booting.rst) of `len` bytes, header included, which asks for
/// 4096 bytes more as its bss.
pub fn image(len: usize) -> Vec<u8> {
    let mut bytes = body(len.max(64), 0x1a6e);
    let mut header = [0; 64];
    // b +64; then data.
    header[0..4].copy_from_slice(&0x1400_0010_u32.to_le_bytes());
    header[16..24].copy_from_slice(&(bytes.len() as u64 + 4096).to_le_bytes());
    // Little-endian, 4 KiB pages, anywhere in memory.
    header[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
    header[56..60].copy_from_slice(b"ARM\x64");
    bytes[..64].copy_from_slice(&header);
    bytes
}

/// `len` bytes that do not compress, named by `seed`.
pub fn body(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random::new(seed).fill(&mut bytes);
    bytes
}

/// A gzip member (RFC 1952) around `bytes`.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    member.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    member.extend(crc32fast::hash(bytes).to_le_bytes());
    member.extend((bytes.len() as u32).to_le_bytes());
    member
}

/// A small flattened device tree with what Bramble must keep: identity, memory, aliases, a reservation of page 0,
/// and the firmware's own bootargs.
pub fn device_tree() -> Vec<u8> {
    let mut tree = DeviceTree::new();
    tree.memory_reservations.push(MemoryReservation::new(0, 0x1000));
    property(&mut tree.root, "#address-cells", 1_u32);
    property(&mut tree.root, "#size-cells", 1_u32);
    property(&mut tree.root, "model", "Raspberry Pi 3 Model B Rev 1.2");
    property(&mut tree.root, "serial-number", format!("{SERIAL:016x}").as_str());
    let mut chosen = node("chosen");
    property(&mut chosen, "bootargs", "coherent_pool=1M firmware=1");
    property(&mut chosen, "stdout-path", "serial1:115200n8");
    tree.root.add_child(chosen);
    let mut aliases = node("aliases");
    property(&mut aliases, "ethernet0", "/soc/ethernet@1");
    tree.root.add_child(aliases);
    let mut memory = node("memory@0");
    property(&mut memory, "device_type", "memory");
    property(&mut memory, "reg", [0_u32, 0x3b40_0000]);
    tree.root.add_child(memory);
    let mut soc = node("soc");
    property(&mut soc, "#address-cells", 1_u32);
    property(&mut soc, "#size-cells", 0_u32);
    let mut ethernet = node("ethernet@1");
    property(&mut ethernet, "compatible", "usb424,ec00");
    property(&mut ethernet, "reg", 1_u32);
    property(&mut ethernet, "local-mac-address", MAC.0);
    soc.add_child(ethernet);
    tree.root.add_child(soc);
    tree.to_dtb()
}

fn node(name: &str) -> DeviceTreeNode {
    DeviceTreeNode::new(name).expect("a legal node name")
}

fn property(node: &mut DeviceTreeNode, name: &str, value: impl dtoolkit::ToPropertyValue) {
    node.add_property(DeviceTreeProperty::new(name, value).expect("a legal property name"));
}

/// A device tree whose nodes lie `depth` deep in each other: legal to the letter, absurd in fact.
pub fn nested_device_tree(depth: usize) -> Vec<u8> {
    let mut structure = Vec::new();
    let mut word = |value: u32| structure.extend(value.to_be_bytes());
    for level in 0..depth {
        // FDT_BEGIN_NODE, and a name padded to four bytes; the root's is empty.
        word(1);
        word(if level == 0 { 0 } else { 0x6100_0000 });
    }
    // FDT_END_NODE for each, FDT_END.
    (0..depth).for_each(|_| word(2));
    word(9);
    let (head, reservations) = (40, 16);
    let strings = head + reservations + structure.len();
    let header = [
        0xd00d_feed,
        strings as u32,
        (head + reservations) as u32,
        strings as u32,
        head as u32,
        17,
        16,
        0,
        0,
        structure.len() as u32,
    ];
    let mut bytes: Vec<u8> = header.into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.resize(head + reservations, 0);
    bytes.extend(structure);
    bytes
}
