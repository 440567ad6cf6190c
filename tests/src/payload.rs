//! Payloads: a kernel Image that would be valid to U-Boot, gzip of it, a device tree like the Pi firmware's.

use std::ops::Range;

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

/// U-Boot's legacy wrapper around `bytes` for arm64 Linux, of a kind as `mkimage` counts them: 2 a kernel, 3 a ramdisk.
pub fn uimage(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0; 64];
    header[0..4].copy_from_slice(&0x2705_1956_u32.to_be_bytes());
    header[12..16].copy_from_slice(&(bytes.len() as u32).to_be_bytes());
    header[24..28].copy_from_slice(&crc32fast::hash(bytes).to_be_bytes());
    header[28..32].copy_from_slice(&[5, 22, kind, 0]);
    let sum = crc32fast::hash(&header);
    header[4..8].copy_from_slice(&sum.to_be_bytes());
    [&header, bytes].concat()
}

/// A FIT image of images (name, type, data), each with its CRC-32, and configurations (name, kernel, device trees,
/// ramdisk), the first of which is the default.
pub fn fit(images: &[(&str, &str, &[u8])], configurations: &[(&str, &str, &[&str], &str)]) -> Vec<u8> {
    fit_with(images, configurations, "crc32", |data| {
        crc32fast::hash(data).to_be_bytes().to_vec()
    })
}

/// The same with another hash: U-Boot's name for it, and what makes it.
pub fn fit_with(
    images: &[(&str, &str, &[u8])],
    configurations: &[(&str, &str, &[&str], &str)],
    algorithm: &str,
    digest: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let mut tree = DeviceTree::new();
    property(&mut tree.root, "description", "made by a test");
    let mut all = node("images");
    for (name, kind, data) in images {
        let mut image = node(name);
        for (name, value) in [
            ("type", *kind),
            ("arch", "arm64"),
            ("os", "linux"),
            ("compression", "none"),
        ] {
            property(&mut image, name, value);
        }
        property(&mut image, "data", *data);
        let mut hash = node("hash-1");
        property(&mut hash, "algo", algorithm);
        property(&mut hash, "value", digest(data).as_slice());
        image.add_child(hash);
        all.add_child(image);
    }
    tree.root.add_child(all);
    let mut all = node("configurations");
    if let Some((first, ..)) = configurations.first() {
        property(&mut all, "default", *first);
    }
    for (name, kernel, trees, ramdisk) in configurations {
        let mut configuration = node(name);
        property(&mut configuration, "kernel", *kernel);
        if !trees.is_empty() {
            property(&mut configuration, "fdt", *trees);
        }
        if !ramdisk.is_empty() {
            property(&mut configuration, "ramdisk", *ramdisk);
        }
        all.add_child(configuration);
    }
    tree.root.add_child(all);
    tree.to_dtb()
}

/// An overlay that gives the device tree's `/soc/ethernet@1`, by its label, and `/chosen`, by its path, a property
/// `overlaid` of this value.
pub fn overlay(value: &str) -> Vec<u8> {
    let mut tree = DeviceTree::new();
    for index in 0..2 {
        let mut fragment = node(&format!("fragment@{index}"));
        if index == 0 {
            property(&mut fragment, "target", u32::MAX);
        } else {
            property(&mut fragment, "target-path", "/chosen");
        }
        let mut addition = node("__overlay__");
        property(&mut addition, "overlaid", value);
        fragment.add_child(addition);
        tree.root.add_child(fragment);
    }
    let mut fixups = node("__fixups__");
    property(&mut fixups, "ethernet", "/fragment@0:target:0");
    tree.root.add_child(fixups);
    tree.to_dtb()
}

/// An overlay that gives the node at a path a property, and needs no labels.
pub fn path_overlay(path: &str, name: &str, value: &str) -> Vec<u8> {
    let mut tree = DeviceTree::new();
    let mut fragment = node("fragment@0");
    property(&mut fragment, "target-path", path);
    let mut addition = node("__overlay__");
    property(&mut addition, name, value);
    fragment.add_child(addition);
    tree.root.add_child(fragment);
    tree.to_dtb()
}

/// A small flattened device tree with what Bramble must keep: identity, memory, aliases, a reservation of page 0,
/// and the firmware's own bootargs.
pub fn device_tree() -> Vec<u8> {
    device_tree_that_reserves(&[])
}

/// The same with more memory reserved, by addresses.
pub fn device_tree_that_reserves(ranges: &[Range<u64>]) -> Vec<u8> {
    let mut tree = DeviceTree::new();
    tree.memory_reservations.push(MemoryReservation::new(0, 0x1000));
    for range in ranges {
        let reservation = MemoryReservation::new(range.start, range.end - range.start);
        tree.memory_reservations.push(reservation);
    }
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
    property(&mut ethernet, "phandle", 1_u32);
    property(&mut ethernet, "local-mac-address", MAC.0);
    soc.add_child(ethernet);
    tree.root.add_child(soc);
    let mut symbols = node("__symbols__");
    property(&mut symbols, "ethernet", "/soc/ethernet@1");
    tree.root.add_child(symbols);
    tree.to_dtb()
}

/// A node of a device tree.
pub fn node(name: &str) -> DeviceTreeNode {
    DeviceTreeNode::new(name).expect("a legal node name")
}

/// Gives it a property.
pub fn property(node: &mut DeviceTreeNode, name: &str, value: impl dtoolkit::ToPropertyValue) {
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
