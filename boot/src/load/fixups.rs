//! The device tree as Linux gets it: the base with what this boot and board add (Devicetree `/chosen`; U-Boot's list) (D-116).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree, DeviceTreeNode};
use dtoolkit::{Node, Property};

use super::device_tree::{Cells, ETHERNET, Error, Tree, is_memory};
use super::edit::{alias, child, find, set};
use super::overlay::{self, Overlay};
use crate::hal::Board;
use crate::random::Seeds;

/// The facts of this boot that go into the tree.
pub(super) struct ChosenNode<'a> {
    /// The merged command line.
    pub(super) command_line: &'a str,
    /// Physical addresses of the initrds, end exclusive.
    pub(super) initrd: Option<Range<u64>>,
    pub(super) seeds: &'a Seeds,
}

/// The page in which the other CPUs wait, with the addresses that release them.
const SPIN_TABLE: Range<u64> = 0..0x1000;

/// When a value of the firmware's may replace the server's.
enum When {
    /// Wherever the server's tree has the node.
    Node,
    /// As `Node`, and a value that is there has the same length: cells may mean something else in another tree.
    SameLength,
    /// Always; the node is made when it is missing.
    Always,
}

/// The firmware's facts that win over what a served tree says: which node, which properties (none means all), when. They are
/// what a file cannot know of this very board. A node is named by its path, or by an alias and the path below it; unit
/// addresses may be left out. The list is U-Boot's for the Pi and what the firmware's documentation says it writes besides,
/// but for one thing: how much memory is kept for cameras and displays (`linux,cma`) is no fact of the board, and the served
/// tree keeps its own. Nothing in it wins over an overlay, whose author wanted the change. docs/src/payload.md has the list.
const FROM_FIRMWARE: &[(&str, &[&str], When)] = &[
    // Which board this is, and what the firmware has kept for itself.
    ("/", &["model", "serial-number", "memreserve"], When::Always),
    ("/system", &[], When::Always),
    // What this start was: seeds, the directory, the EEPROM's version.
    (
        "/chosen",
        &[
            "kaslr-seed",
            "rng-seed",
            "log",
            "os_prefix",
            "overlay_prefix",
            "rpi-boardrev-ext",
            "user-warnings",
        ],
        When::Always,
    ),
    ("/chosen/bootloader", &[], When::Always),
    // Each board's own addresses.
    ("ethernet0", &["local-mac-address"], When::Node),
    ("bluetooth", &["local-bd-address"], When::Node),
    // The PHY's differs between the revisions of a board.
    ("ethernet0/mdio/ethernet-phy", &["reg"], When::SameLength),
    // The windows that bus masters have into RAM differ between steppings of the BCM2711: wrong ones corrupt it.
    ("emmc2bus", &["dma-ranges"], When::SameLength),
    ("pcie0", &["dma-ranges"], When::SameLength),
    // The place of the boot loader's settings and key in memory.
    ("blconfig", &["reg"], When::SameLength),
    ("blconfig", &["status"], When::Node),
    ("blpubkey", &["reg"], When::SameLength),
    ("blpubkey", &["status"], When::Node),
    // The PL011's clock, which config.txt sets.
    ("/clocks/clk-uart", &["clock-frequency"], When::SameLength),
];

/// The tree for Linux but for what only this boot can say: `base`, then the firmware's facts when `base` is another tree than
/// the `firmware`'s, then the `overlays`.
pub(super) fn prepared(
    base: &Tree<'_>,
    overlays: &[Overlay<'_>],
    firmware: Option<&Tree<'_>>,
    board: &Board<'_>,
) -> Result<Vec<u8>, Error> {
    let mut tree = overlay::merged_with(base, overlays, &|root| {
        if let Some(firmware) = firmware {
            for (node, properties, when) in FROM_FIRMWARE {
                copy(root, firmware, node, properties, when);
            }
            copy_memory(root, firmware);
        }
    });
    identify(&mut tree.root, board);
    // Linux reads the entries up to the first empty one.
    tree.memory_reservations.retain(|entry| entry.size() != 0);
    let kept = firmware.into_iter().flat_map(Tree::reservations);
    reserve(&mut tree, kept.chain([SPIN_TABLE]))?;
    let dtb = tree.to_dtb();
    if Tree::check(&dtb)?.memory().next().is_none() {
        return Err(Error::NoMemory);
    }
    Ok(dtb)
}

/// The prepared tree with what this boot says, whatever anybody else wrote there.
pub(super) fn finished(prepared: Vec<u8>, boot: &ChosenNode<'_>) -> Result<Vec<u8>, Error> {
    let (mut tree, _) = Tree::check(&prepared)?.unpacked();
    drop(prepared);
    choose(child(&mut tree.root, "chosen"), boot);
    let dtb = tree.to_dtb();
    Tree::check(&dtb)?;
    Ok(dtb)
}

/// Serial number and MAC address, where no firmware wrote them.
fn identify(root: &mut DeviceTreeNode, board: &Board<'_>) {
    if root.property("serial-number").is_none() {
        set(root, "serial-number", format!("{:016x}", board.serial));
    }
    match ETHERNET.iter().find_map(|name| alias(root, name)) {
        Some(path) => {
            if let Some(ethernet) = find(root, &path)
                && ethernet
                    .property("local-mac-address")
                    .is_none_or(|mac| mac.value() == [0; 6])
            {
                set(ethernet, "local-mac-address", board.mac.0);
            }
        }
        None => warn!("load: the device tree has no alias ethernet0, so Linux is told no MAC address"),
    }
}

fn choose(chosen: &mut DeviceTreeNode, boot: &ChosenNode<'_>) {
    set(chosen, "bootargs", boot.command_line);
    match &boot.initrd {
        Some(initrd) => {
            set(chosen, "linux,initrd-start", initrd.start);
            set(chosen, "linux,initrd-end", initrd.end);
        }
        // The firmware's initramfs is not the payload's.
        None => {
            chosen.remove_property("linux,initrd-start");
            chosen.remove_property("linux,initrd-end");
        }
    }
    if boot.seeds.kaslr != 0 {
        set(chosen, "kaslr-seed", boot.seeds.kaslr);
    }
    if let Some(seed) = boot.seeds.rng {
        set(chosen, "rng-seed", seed);
    }
}

/// Adds to the reservation block what neither it nor `/reserved-memory` covers: Linux refuses to reserve twice what
/// must stay unmapped.
fn reserve(tree: &mut DeviceTree, ranges: impl Iterator<Item = Range<u64>>) -> Result<(), Error> {
    let dtb = tree.to_dtb();
    let mut reserved: Vec<Range<u64>> = Tree::check(&dtb)?.reservations().collect();
    for range in ranges {
        let is_reserved = reserved
            .iter()
            .any(|r| r.start <= range.start && range.end <= r.end);
        if !is_reserved {
            let len = range.end.saturating_sub(range.start);
            tree.memory_reservations
                .push(MemoryReservation::new(range.start, len));
            reserved.push(range);
        }
    }
    Ok(())
}

/// One line of the table above.
fn copy(root: &mut DeviceTreeNode, firmware: &Tree<'_>, node: &str, properties: &[&str], when: &When) {
    let from = match node.split_once('/') {
        Some(("", _)) => firmware.fdt().find_node(node),
        Some((name, below)) => firmware
            .alias(name)
            .and_then(|path| firmware.fdt().find_node(&format!("{path}/{below}"))),
        None => firmware
            .alias(node)
            .and_then(|path| firmware.fdt().find_node(path)),
    };
    let Some(from) = from else { return };
    let to = match (node.split_once('/'), when) {
        (_, When::Always) => Some(node.split('/').filter(|n| !n.is_empty()).fold(root, child)),
        (Some(("", _)), _) => find(root, node),
        (Some((name, below)), _) => alias(root, name).and_then(|path| find(root, &format!("{path}/{below}"))),
        (None, _) => alias(root, node).and_then(|path| find(root, &path)),
    };
    let Some(to) = to else { return };
    for property in from.properties() {
        let name = property.name();
        if !properties.is_empty() && !properties.contains(&name) {
            continue;
        }
        let value = property.value();
        let differs = to
            .property(name)
            .is_some_and(|own| own.value().len() != value.len());
        if matches!(when, When::SameLength) && differs {
            warn!(
                "load: {} of {} differs in length from the firmware's; left alone",
                name, node
            );
        } else {
            set(to, name, value);
        }
    }
}

/// The firmware's banks of RAM in place of the server's.
fn copy_memory(root: &mut DeviceTreeNode, firmware: &Tree<'_>) {
    let Some(first) = firmware.memory().next() else {
        return;
    };
    let reg = Cells::of(root).reg(firmware.memory());
    let others: Vec<String> = root
        .children()
        .filter(is_memory)
        .map(|node| node.name().to_owned())
        .collect();
    for name in others {
        root.remove_child(&name);
    }
    let memory = child(root, &format!("memory@{:x}", first.start));
    set(memory, "device_type", "memory");
    set(memory, "reg", reg);
}

#[cfg(test)]
mod tests {
    use smoltcp::wire::EthernetAddress;

    use super::super::device_tree::HEAP_LIMIT;
    use super::super::device_tree::tests::{MAC, firmware, node};
    use super::*;

    /// Shaped like the tree that Debian ships for a Pi 4, made smaller: knows the board only by its type.
    fn served() -> DeviceTree {
        let mut tree = DeviceTree::new();
        tree.root = node(
            "",
            &[
                ("model", &"Raspberry Pi 4 Model B"),
                ("#address-cells", &2_u32),
                ("#size-cells", &1_u32),
            ],
            vec![
                node(
                    "aliases",
                    &[
                        ("ethernet0", &"/scb/ethernet@7d580000"),
                        ("emmc2bus", &"/emmc2bus"),
                        ("blconfig", &"/reserved-memory/nvram@0"),
                    ],
                    vec![],
                ),
                node("chosen", &[("stdout-path", &"serial1:115200n8")], vec![]),
                node(
                    "reserved-memory",
                    &[("#address-cells", &2_u32), ("#size-cells", &1_u32)],
                    vec![
                        node("linux,cma", &[("size", &0x200_0000_u32)], vec![]),
                        node(
                            "nvram@0",
                            &[("reg", &[0_u32, 0, 0]), ("status", &"disabled")],
                            vec![],
                        ),
                    ],
                ),
                node(
                    "emmc2bus",
                    &[("dma-ranges", &[0_u32, 0xc000_0000, 0, 0, 0x4000_0000])],
                    vec![],
                ),
                node(
                    "scb",
                    &[],
                    vec![node(
                        "ethernet@7d580000",
                        &[("local-mac-address", &[0_u8; 6])],
                        vec![node(
                            "mdio@e14",
                            &[],
                            vec![node("ethernet-phy@0", &[("reg", &0_u32)], vec![])],
                        )],
                    )],
                ),
                node(
                    "memory@0",
                    &[("device_type", &"memory"), ("reg", &[0_u32, 0, 0])],
                    vec![],
                ),
            ],
        );
        tree
    }

    const BOARD: Board<'static> = Board {
        model: "test",
        revision: 0x00d0_3114,
        serial: 0x1000_0000_1234_5678,
        mac: EthernetAddress([2, 0, 0, 0, 0, 9]),
        uart: None,
        device_tree: None,
        handed_over: None,
    };

    fn fixed(base: &DeviceTree, firmware: Option<&DeviceTree>, seeds: &Seeds) -> Result<DeviceTree, Error> {
        overlaid(base, firmware, seeds, &[])
    }

    fn overlaid(
        base: &DeviceTree,
        firmware: Option<&DeviceTree>,
        seeds: &Seeds,
        overlays: &[Overlay<'_>],
    ) -> Result<DeviceTree, Error> {
        let base = base.to_dtb();
        let firmware = firmware.map(DeviceTree::to_dtb);
        let firmware = firmware.as_ref().map(|dtb| Tree::check(dtb).unwrap());
        let boot = ChosenNode {
            command_line: "console=ttyS1 quiet",
            initrd: Some(0x80_0000..0x80_1234),
            seeds,
        };
        let prepared = prepared(&Tree::check(&base).unwrap(), overlays, firmware.as_ref(), &BOARD)?;
        let dtb = finished(prepared, &boot)?;
        Ok(DeviceTree::from_fdt(&Tree::check(&dtb).unwrap().fdt()))
    }

    fn value(tree: &DeviceTree, path: &str, name: &str) -> Option<Vec<u8>> {
        Some(tree.find_node(path)?.property(name)?.value().to_vec())
    }

    fn string(tree: &DeviceTree, path: &str, name: &str) -> String {
        String::from_utf8(value(tree, path, name).unwrap()).unwrap()
    }

    #[test]
    fn the_firmware_tree_gets_what_this_boot_adds_and_loses_nothing() {
        let seeds = Seeds {
            kaslr: 0x0102_0304_0506_0708,
            rng: Some([9; 64]),
        };
        let tree = fixed(&firmware(), None, &seeds).unwrap();
        assert_eq!(string(&tree, "/chosen", "bootargs"), "console=ttyS1 quiet\0");
        assert_eq!(
            value(&tree, "/chosen", "linux,initrd-start").unwrap(),
            0x80_0000_u64.to_be_bytes()
        );
        assert_eq!(
            value(&tree, "/chosen", "linux,initrd-end").unwrap(),
            0x80_1234_u64.to_be_bytes()
        );
        assert_eq!(
            value(&tree, "/chosen", "kaslr-seed").unwrap(),
            [1, 2, 3, 4, 5, 6, 7, 8]
        );
        assert_eq!(value(&tree, "/chosen", "rng-seed").unwrap(), [9; 64]);
        // All else is as it was.
        let mut expected = firmware();
        let mut got = tree;
        assert_eq!(got.memory_reservations, expected.memory_reservations);
        for tree in [&mut expected, &mut got] {
            let chosen = tree.find_node_mut("/chosen").unwrap();
            for name in [
                "bootargs",
                "linux,initrd-start",
                "linux,initrd-end",
                "kaslr-seed",
                "rng-seed",
            ] {
                chosen.remove_property(name);
            }
        }
        assert_eq!(got, expected);
    }

    #[test]
    fn without_entropy_the_seeds_of_the_firmware_stay() {
        let tree = fixed(&firmware(), None, &Seeds::default()).unwrap();
        assert_eq!(value(&tree, "/chosen", "kaslr-seed").unwrap(), [7; 8]);
        assert_eq!(value(&tree, "/chosen", "rng-seed"), None);
    }

    #[test]
    fn without_an_initrd_none_is_named() {
        let base = firmware().to_dtb();
        let boot = ChosenNode {
            command_line: "",
            initrd: None,
            seeds: &Seeds::default(),
        };
        let prepared = prepared(&Tree::check(&base).unwrap(), &[], None, &BOARD).unwrap();
        let dtb = finished(prepared, &boot).unwrap();
        let tree = DeviceTree::from_fdt(&Tree::check(&dtb).unwrap().fdt());
        assert_eq!(value(&tree, "/chosen", "linux,initrd-start"), None);
        assert_eq!(value(&tree, "/chosen", "linux,initrd-end"), None);
    }

    #[test]
    fn a_served_tree_learns_from_the_firmware_what_board_this_is() {
        let tree = fixed(&served(), Some(&firmware()), &Seeds::default()).unwrap();
        assert_eq!(string(&tree, "/", "model"), "Raspberry Pi 4 Model B Rev 1.4\0");
        assert_eq!(string(&tree, "/", "serial-number"), "10000000deadbeef\0");
        assert_eq!(value(&tree, "/", "memreserve").unwrap().len(), 8);
        assert_eq!(
            value(&tree, "/system", "linux,revision").unwrap(),
            0x00d0_3114_u32.to_be_bytes()
        );
        assert_eq!(
            value(&tree, "/chosen/bootloader", "boot-mode").unwrap(),
            [0, 0, 0, 2]
        );
        assert_eq!(string(&tree, "/chosen", "os_prefix"), "net/\0");
        assert_eq!(string(&tree, "/chosen", "stdout-path"), "serial1:115200n8\0");
        assert_eq!(value(&tree, "/scb/ethernet", "local-mac-address").unwrap(), MAC);
        assert_eq!(
            value(&tree, "/scb/ethernet/mdio/ethernet-phy", "reg").unwrap(),
            [0, 0, 0, 1]
        );
        assert_eq!(
            value(&tree, "/emmc2bus", "dma-ranges"),
            value(&firmware(), "/emmc2bus", "dma-ranges")
        );
        assert_eq!(
            value(&tree, "/reserved-memory/linux,cma", "size").unwrap(),
            0x200_0000_u32.to_be_bytes(),
            "no fact of the board"
        );
        assert_eq!(string(&tree, "/reserved-memory/nvram", "status"), "okay\0");
        let dtb = tree.to_dtb();
        let (tree, own) = (Tree::check(&dtb).unwrap(), firmware().to_dtb());
        assert!(tree.memory().eq(Tree::check(&own).unwrap().memory()));
        // nvram@0 is reserved by its node, not twice.
        assert_eq!(
            tree.reservations().collect::<Vec<_>>(),
            [0..0x1000, 0x3ef6_5ea4..0x3ef6_5f74]
        );
    }

    /// An overlay that sets these values, each a number, in nodes of the root's.
    fn setting(values: &[(&str, &str, &[u32])]) -> Vec<u8> {
        let fragments = values.iter().enumerate().map(|(index, (path, name, value))| {
            let addition = node("__overlay__", &[(name, value)], vec![]);
            node(
                &format!("fragment@{index}"),
                &[("target-path", path)],
                vec![addition],
            )
        });
        let mut tree = DeviceTree::new();
        tree.root = node("", &[], fragments.collect());
        tree.to_dtb()
    }

    #[test]
    fn an_overlay_wins_over_the_firmware_and_the_firmwares_facts_over_the_served_tree() {
        let cma = ("/reserved-memory/linux,cma", "size");
        let size = |overlay: &[u8]| {
            let overlay = Overlay {
                name: "o",
                bytes: overlay,
            };
            let tree = overlaid(&served(), Some(&firmware()), &Seeds::default(), &[overlay]).unwrap();
            (value(&tree, cma.0, cma.1).unwrap(), tree)
        };
        // The served tree says 32 MiB, the firmware 320, the overlay 508.
        let wanted = 508_u32 << 20;
        assert_eq!(
            size(&setting(&[(cma.0, cma.1, &[wanted])])).0,
            wanted.to_be_bytes()
        );
        // What is no setting of the board is as the overlay has it, too; the rest stays the firmware's.
        let windows = [0_u32, 0, 0, 0, 0x1000];
        let (_, tree) = size(&setting(&[
            ("/emmc2bus", "dma-ranges", &windows),
            ("/", "memreserve", &[0, 0]),
        ]));
        let bytes: Vec<u8> = windows.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(value(&tree, "/emmc2bus", "dma-ranges").unwrap(), bytes);
        assert_eq!(value(&tree, "/", "memreserve").unwrap(), [0; 8]);
        assert_eq!(string(&tree, "/", "model"), "Raspberry Pi 4 Model B Rev 1.4\0");
        // What this boot says wins over all.
        let (_, tree) = size(&setting(&[("/chosen", "bootargs", &[0x6100_0000])]));
        assert_eq!(string(&tree, "/chosen", "bootargs"), "console=ttyS1 quiet\0");
    }

    #[test]
    fn the_list_of_facts_is_in_the_documentation() {
        let page = include_str!("../../../docs/src/payload.md");
        for (name, properties, _) in FROM_FIRMWARE {
            let properties = properties.iter().map(|property| format!("`{property}`"));
            let line = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{name}`")))
                .unwrap_or_else(|| panic!("no line for {name}"));
            properties.for_each(|property| assert!(line.contains(&property), "{property}: {line}"));
        }
    }

    #[test]
    fn what_means_something_else_in_the_served_tree_is_left_alone() {
        let mut base = served();
        let bus = base.find_node_mut("/emmc2bus").unwrap();
        set(bus, "dma-ranges", [1_u32, 2, 3]);
        base.root.remove_child("reserved-memory");
        let tree = fixed(&base, Some(&firmware()), &Seeds::default()).unwrap();
        assert_eq!(value(&tree, "/emmc2bus", "dma-ranges").unwrap().len(), 12);
        // What the firmware's nodes reserved is reserved by entries where the served tree lacks the nodes.
        assert!(tree.find_node("/reserved-memory").is_none());
        let reserved: Vec<_> = tree
            .memory_reservations
            .iter()
            .map(|entry| (entry.address(), entry.size()))
            .collect();
        assert_eq!(reserved, [(0, 0x1000), (0x3ef6_5ea4, 0xd0)]);
    }

    #[test]
    fn a_tree_with_other_cells_gets_the_same_memory() {
        let mut base = served();
        set(&mut base.root, "#address-cells", 1_u32);
        let dtb = fixed(&base, Some(&firmware()), &Seeds::default())
            .unwrap()
            .to_dtb();
        let memory: Vec<_> = Tree::check(&dtb).unwrap().memory().collect();
        assert_eq!(memory, [0..0x3b40_0000, 0x4000_0000..0xfc00_0000]);
    }

    #[test]
    fn serial_and_mac_come_from_the_board_when_no_firmware_wrote_them() {
        let mut base = served();
        set(
            base.find_node_mut("/memory@0").unwrap(),
            "reg",
            [0_u32, 0, 0x3b40_0000],
        );
        let tree = fixed(&base, None, &Seeds::default()).unwrap();
        assert_eq!(string(&tree, "/", "serial-number"), "1000000012345678\0");
        assert_eq!(
            value(&tree, "/scb/ethernet", "local-mac-address").unwrap(),
            BOARD.mac.0
        );
        base.root.remove_child("aliases");
        let tree = fixed(&base, None, &Seeds::default()).unwrap();
        assert_eq!(
            value(&tree, "/scb/ethernet", "local-mac-address").unwrap(),
            [0; 6]
        );
    }

    #[test]
    fn a_tree_without_memory_is_refused() {
        assert_eq!(fixed(&served(), None, &Seeds::default()), Err(Error::NoMemory));
    }

    #[test]
    fn the_spin_table_is_reserved_once() {
        let mut base = firmware();
        base.memory_reservations = vec![
            MemoryReservation::new(0x500_0000, 0),
            MemoryReservation::new(0, 0x2000),
        ];
        let tree = fixed(&base, None, &Seeds::default()).unwrap();
        assert_eq!(
            tree.memory_reservations,
            [MemoryReservation::new(0, 0x2000)],
            "an empty entry would hide the next one from Linux"
        );
        base.memory_reservations.clear();
        let tree = fixed(&base, None, &Seeds::default()).unwrap();
        assert_eq!(tree.memory_reservations, [MemoryReservation::new(0, 0x1000)]);
    }

    #[test]
    fn a_tree_that_grows_past_what_it_may_take_is_refused() {
        let mut base = firmware();
        // The value counts twice.
        set(&mut base.root, "big", Vec::<u8>::new());
        let left = HEAP_LIMIT - Tree::check(&base.to_dtb()).unwrap().heap();
        set(&mut base.root, "big", vec![0_u8; left / 2 - 32]);
        assert!(Tree::check(&base.to_dtb()).is_ok());
        assert!(matches!(
            fixed(
                &base,
                None,
                &Seeds {
                    kaslr: 1,
                    rng: Some([0; 64])
                }
            ),
            Err(Error::TooComplex { .. })
        ));
    }

    #[test]
    fn every_changed_byte_of_either_tree_is_an_error_or_a_tree() {
        let (base, own) = (served().to_dtb(), firmware().to_dtb());
        let boot = ChosenNode {
            command_line: "quiet",
            initrd: None,
            seeds: &Seeds::default(),
        };
        let run = |base: &[u8], own: &[u8]| {
            if let (Ok(base), Ok(own)) = (Tree::check(base), Tree::check(own))
                && let Ok(dtb) = prepared(&base, &[], Some(&own), &BOARD).and_then(|dtb| finished(dtb, &boot))
            {
                let tree = Tree::check(&dtb).unwrap();
                assert_eq!(tree.bootargs(), Some("quiet"));
                assert!(tree.reservations().any(|r| r.start == 0 && r.end >= 0x1000));
                return true;
            }
            false
        };
        assert!(run(&base, &own));
        for is_base in [true, false] {
            let golden = if is_base { &base } else { &own };
            let (mut changed, mut trees) = (golden.clone(), 0);
            for at in 0..golden.len() {
                for flip in [0x01, 0x40, 0xff] {
                    changed[at] ^= flip;
                    let is_tree = if is_base {
                        run(&changed, &own)
                    } else {
                        run(&base, &changed)
                    };
                    trees += usize::from(is_tree);
                    changed[at] = golden[at];
                }
            }
            let all = 3 * golden.len();
            assert!(trees > 1 && trees < all, "{trees} of {all}");
        }
    }
}
