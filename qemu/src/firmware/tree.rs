//! The Raspberry Pi firmware's part: the device tree as it hands it over (rpi-docs "Device tree configuration").

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use dtoolkit::{Node, Property};

use crate::Board;

/// Which UART the firmware routed to GPIO 14 and 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uart {
    /// The PL011, `serial0` in the device tree, which on a Pi with `dtoverlay=disable-bt` is free of Bluetooth. QEMU's
    /// first serial line.
    Pl011,
    /// The mini-UART, `serial1`: a Pi with `enable_uart=1` and Bluetooth. QEMU's second serial line.
    Mini,
}

impl Uart {
    /// The alias by which `stdout-path` names it.
    pub fn alias(self) -> &'static str {
        match self {
            Self::Pl011 => "serial0",
            Self::Mini => "serial1",
        }
    }

    /// Linux's name of it, for `console=`.
    pub fn linux_name(self) -> &'static str {
        match self {
            Self::Pl011 => "ttyAMA0",
            Self::Mini => "ttyS1",
        }
    }
}

/// The facts of one board that the firmware writes into the device tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The SoC's serial number.
    pub serial: u64,
    /// The address of the Ethernet port, where the board has one.
    pub mac: [u8; 6],
    /// `/chosen/bootargs`, which is cmdline.txt on a real board.
    pub cmdline: String,
    /// The console.
    pub uart: Uart,
    /// What the firmware came over: `/chosen/bootloader/boot-mode`, a number of BOOT_ORDER.
    pub boot_mode: u32,
}

/// A card, and a TFTP server, in BOOT_ORDER (DOC).
pub(super) const SD: u32 = 1;
pub(super) const NETWORK: u32 = 2;

/// What `/chosen/bootloader` says of the reset: RSTS as it was, whether a tryboot was asked for, and the partition.
const BOOTLOADER: [&str; 3] = ["rsts", "tryboot", "partition"];

impl Default for Firmware {
    fn default() -> Self {
        Self {
            serial: 0x1000_0000_b4a3_b1e5,
            mac: [0xb8, 0x27, 0xeb, 0xa3, 0xb1, 0xe5],
            cmdline: String::new(),
            uart: Uart::Pl011,
            boot_mode: SD,
        }
    }
}

impl Firmware {
    /// The serial number as the root node's `serial-number` spells it.
    pub fn serial_text(&self) -> String {
        format!("{:016x}", self.serial)
    }

    /// The MAC address, `b8:27:eb:…`.
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }

    /// Writes into the stock device tree `blob` what the Pi's firmware writes: serial number, MAC address, command
    /// line, console and the memory that the VideoCore leaves to the ARM.
    pub fn patch(&self, blob: &[u8], board: Board) -> Result<Vec<u8>> {
        let fdt = Fdt::new(blob)
            .map_err(anyhow::Error::msg)
            .context("firmware: the stock device tree")?;
        let mut tree = DeviceTree::from_fdt(&fdt);
        self.write(&mut tree, board)?;
        Ok(tree.to_dtb())
    }

    /// A minimal device tree, used without a stock one: enough for a boot loader and for the built-in payload.
    pub fn minimal(&self, board: Board) -> Result<Vec<u8>> {
        let mut tree = DeviceTree::new();
        let root = &mut tree.root;
        set(root, "#address-cells", 1_u32);
        set(root, "#size-cells", 1_u32);
        set(root, "model", board.model());
        set(
            root,
            "compatible",
            vec![board.compatible(), board.soc_compatible()],
        );
        let peripherals = u32::try_from(board.peripherals()).context("firmware: peripherals")?;
        let mut soc = DeviceTreeNode::new_unchecked("soc");
        set(&mut soc, "compatible", "simple-bus");
        set(&mut soc, "#address-cells", 1_u32);
        set(&mut soc, "#size-cells", 1_u32);
        set(&mut soc, "ranges", vec![0x7e00_0000, peripherals, 0x0100_0000]);
        for (name, compatible, reg) in [
            ("serial@7e201000", "arm,pl011", [0x7e20_1000_u32, 0x200]),
            ("serial@7e215040", "brcm,bcm2835-aux-uart", [0x7e21_5040, 0x40]),
        ] {
            let mut serial = DeviceTreeNode::new_unchecked(name);
            set(&mut serial, "compatible", compatible);
            set(&mut serial, "reg", reg.to_vec());
            soc.add_child(serial);
        }
        let mut ethernet = DeviceTreeNode::new_unchecked("ethernet@1");
        set(&mut ethernet, "reg", 1_u32);
        soc.add_child(ethernet);
        root.add_child(soc);
        let mut memory = DeviceTreeNode::new_unchecked("memory@0");
        set(&mut memory, "device_type", "memory");
        root.add_child(memory);
        let mut aliases = DeviceTreeNode::new_unchecked("aliases");
        set(&mut aliases, "serial0", "/soc/serial@7e201000");
        set(&mut aliases, "serial1", "/soc/serial@7e215040");
        set(&mut aliases, "ethernet0", "/soc/ethernet@1");
        root.add_child(aliases);
        root.add_child(DeviceTreeNode::new_unchecked("chosen"));
        self.write(&mut tree, board)?;
        Ok(tree.to_dtb())
    }

    /// Adds what a loader says of the reset, `/chosen/bootloader`, to a tree that was patched; [`crate::stub`] writes the
    /// values there at each reset. The place of an initramfs is `/chosen`'s, too.
    pub(crate) fn with_bootloader(&self, blob: &[u8], initramfs: Option<Range<u64>>) -> Result<Vec<u8>> {
        let fdt = Fdt::new(blob)
            .map_err(anyhow::Error::msg)
            .context("firmware: the device tree")?;
        let mut tree = DeviceTree::from_fdt(&fdt);
        let chosen = tree
            .find_node_mut("/chosen")
            .context("firmware: no chosen node")?;
        let mut bootloader = DeviceTreeNode::new_unchecked("bootloader");
        for name in BOOTLOADER {
            set(&mut bootloader, name, 0_u32);
        }
        set(&mut bootloader, "boot-mode", self.boot_mode);
        chosen.add_child(bootloader);
        if let Some(place) = initramfs {
            for (name, value) in [
                ("linux,initrd-start", place.start),
                ("linux,initrd-end", place.end),
            ] {
                let value = u32::try_from(value).context("firmware: an initramfs above 4 GiB")?;
                set(chosen, name, value);
            }
        }
        Ok(tree.to_dtb())
    }

    /// Where in such a tree the values of [`BOOTLOADER`] stand, from its first byte.
    pub(crate) fn bootloader_values(blob: &[u8]) -> Result<[usize; 3]> {
        let fdt = Fdt::new(blob)
            .map_err(anyhow::Error::msg)
            .context("firmware: the device tree")?;
        let node = fdt
            .find_node("/chosen/bootloader")
            .context("firmware: no bootloader node")?;
        let mut places = [0; 3];
        for (place, name) in places.iter_mut().zip(BOOTLOADER) {
            let value = node
                .property(name)
                .context("firmware: bootloader")?
                .value()
                .as_ptr();
            *place = value.addr() - blob.as_ptr().addr();
        }
        Ok(places)
    }

    fn write(&self, tree: &mut DeviceTree, board: Board) -> Result<()> {
        if let Some(ethernet) = aliased(tree, "ethernet0") {
            set(ethernet, "local-mac-address", self.mac);
        }
        if self.uart == Uart::Pl011
            && let Some(serial) = aliased(tree, Uart::Pl011.alias())
        {
            // Linux gives a UART with a Bluetooth chip behind it to that chip's driver, and no input to the console.
            serial.remove_child("bluetooth");
        }
        if board == Board::UsbNet3aPlus
            && let Some(power) = tree.find_node_mut("/soc/watchdog@7e100000")
        {
            // QEMU has nothing at the second range, ASB. On a 1 GiB board that hole reads as memory; here the access
            // aborts and Linux's driver panics. Without the range Linux leaves the power domains alone.
            let reg = power
                .property("reg")
                .map(|reg| reg.value().iter().take(8).copied().collect());
            set(power, "reg", reg.unwrap_or_else(Vec::<u8>::new));
            set(power, "reg-names", "pm");
        }
        let root = &mut tree.root;
        set(root, "serial-number", self.serial_text());
        let cells = root
            .property("#address-cells")
            .and_then(|cells| cells.value_as::<u32>().ok())
            .unwrap_or(2);
        let size_cells = root
            .property("#size-cells")
            .and_then(|cells| cells.value_as::<u32>().ok())
            .unwrap_or(1);
        ensure!(
            (1..=2).contains(&cells) && (1..=2).contains(&size_cells),
            "firmware: a root with {cells} address and {size_cells} size cells"
        );
        let end = u32::try_from(board.memory_end()).context("firmware: memory")?;
        let mut reg = vec![0; (cells + size_cells) as usize];
        if let Some(size) = reg.last_mut() {
            *size = end;
        }
        let memory = root
            .children_mut()
            .find(|node| node.name().split('@').next() == Some("memory"))
            .context("firmware: no memory node in the device tree")?;
        set(memory, "reg", reg);
        let chosen = root
            .child_mut("chosen")
            .context("firmware: no chosen node in the device tree")?;
        set(chosen, "bootargs", self.cmdline.as_str());
        set(chosen, "stdout-path", format!("{}:115200n8", self.uart.alias()));
        let mut system = DeviceTreeNode::new_unchecked("system");
        set(&mut system, "linux,serial", self.serial);
        set(&mut system, "linux,revision", board.revision());
        root.add_child(system);
        Ok(())
    }
}

/// The node that an alias names.
fn aliased<'a>(tree: &'a mut DeviceTree, alias: &str) -> Option<&'a mut DeviceTreeNode> {
    let path = tree
        .find_node("/aliases")?
        .property(alias)?
        .value_as::<&str>()
        .ok()?
        .to_owned();
    tree.find_node_mut(&path)
}

fn set<T: dtoolkit::ToPropertyValue>(node: &mut DeviceTreeNode, name: &str, value: T) {
    node.add_property(DeviceTreeProperty::new_unchecked(name, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_says_what_the_firmware_says() {
        let firmware = Firmware {
            cmdline: "bramble.url=http://10.0.2.2/menu".to_owned(),
            uart: Uart::Mini,
            ..Firmware::default()
        };
        let blob = firmware.minimal(Board::UsbNet3b).unwrap();
        // A patched tree can be patched again.
        let blob = firmware.patch(&blob, Board::UsbNet3b).unwrap();
        let tree = Fdt::new(&blob).unwrap();
        let text = |node: &str, name: &str| {
            let node = tree.find_node(node).unwrap();
            node.property(name)
                .unwrap()
                .value_as::<&str>()
                .unwrap()
                .to_owned()
        };
        assert_eq!(text("/", "serial-number"), "10000000b4a3b1e5");
        assert_eq!(text("/chosen", "bootargs"), "bramble.url=http://10.0.2.2/menu");
        assert_eq!(text("/chosen", "stdout-path"), "serial1:115200n8");
        let mac = tree.find_node("/soc/ethernet@1").unwrap();
        assert_eq!(mac.property("local-mac-address").unwrap().value(), firmware.mac);
        let memory = tree.find_node("/memory@0").unwrap();
        assert_eq!(
            memory.property("reg").unwrap().value(),
            [0, 0, 0, 0, 0x3c, 0, 0, 0]
        );
    }

    #[test]
    fn rubbish_is_no_device_tree() {
        assert!(Firmware::default().patch(b"rubbish", Board::UsbNet3b).is_err());
    }
}
