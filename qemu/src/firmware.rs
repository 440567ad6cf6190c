//! The Raspberry Pi firmware's part: the device tree as it hands it over, and the stub that starts the cores
//! (rpi-docs "Device tree configuration"; facts of raspberrypi/tools `armstubs/armstub8.S`).

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
}

impl Default for Firmware {
    fn default() -> Self {
        Self {
            serial: 0x1000_0000_b4a3_b1e5,
            mac: [0xb8, 0x27, 0xeb, 0xa3, 0xb1, 0xe5],
            cmdline: String::new(),
            uart: Uart::Pl011,
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

/// Bytes of the stub, which holds its last word just below 0x100.
const STUB_SIZE: usize = 0x100;

/// The stub for address 0: all cores enter it at EL3; core 0 leaves for `kernel` at EL2 with x0 = `device_tree`, the
/// others wait at the release addresses 0xd8 to 0xf0, or rest until an interrupt, which nothing sends them. GPIO 14 and 15
/// get the function that the firmware gives them.
pub(crate) fn stub(
    board: Board,
    uart: Uart,
    kernel: u64,
    device_tree: u64,
    others_rest: bool,
) -> Result<Vec<u8>> {
    let gpfsel1 = board.peripherals() + 0x20_0004;
    // Three bits a pin, pin 14 at bit 12: 4 is ALT0 (PL011), 2 is ALT5 (mini-UART).
    let function: u32 = match uart {
        Uart::Pl011 => 0o44 << 12,
        Uart::Mini => 0o22 << 12,
    };
    let mut words = CODE.to_vec();
    if others_rest && let Some(wait) = words.iter_mut().find(|word| **word == WFE) {
        *wait = WFI;
    }
    words.push(u32::try_from(gpfsel1).context("firmware: GPIO")?);
    words.push(function);
    words.resize(STUB_SIZE / 4 - 2, 0);
    words.push(u32::try_from(device_tree).context("firmware: a device tree above 4 GiB")?);
    words.push(u32::try_from(kernel).context("firmware: a kernel above 4 GiB")?);
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}

const WFE: u32 = 0xd503_205f;
const WFI: u32 = 0xd503_207f;

/// The stub's instructions, ahead of the words that `stub` adds.
const CODE: [u32; 32] = [
    0xd538_00a6, // 00        mrs   x6, mpidr_el1
    0x9240_04c6, // 04        and   x6, x6, #3
    0xd51c_e07f, // 08        msr   cntvoff_el2, xzr
    0xd51e_115f, // 0c        msr   cptr_el3, xzr
    0xd280_b620, // 10        mov   x0, #0x5b1          // RW, HCE, SMD, RES1, NS
    0xd51e_1100, // 14        msr   scr_el3, x0
    0xd280_0e60, // 18        mov   x0, #0x73
    0xd51e_1020, // 1c        msr   actlr_el3, x0
    0x1800_02e0, // 20        ldr   w0, sctlr
    0xd51c_1000, // 24        msr   sctlr_el2, x0
    0xd280_7920, // 28        mov   x0, #0x3c9          // EL2h, DAIF masked
    0xd51e_4000, // 2c        msr   spsr_el3, x0
    0x1000_0060, // 30        adr   x0, el2
    0xd51e_4020, // 34        msr   elr_el3, x0
    0xd69f_03e0, // 38        eret
    0xb500_00e6, // 3c  el2:  cbnz  x6, park
    0x1800_0201, // 40        ldr   w1, gpfsel1
    0x1800_0202, // 44        ldr   w2, function
    0xb900_0022, // 48        str   w2, [x1]
    0x1800_0560, // 4c        ldr   w0, 0xf8            // device tree
    0x1800_0564, // 50        ldr   w4, 0xfc            // kernel
    0x1400_0006, // 54        b     go
    0x1000_0405, // 58  park: adr   x5, 0xd8
    WFE,         // 5c  wait: wfe
    0xf866_78a4, // 60        ldr   x4, [x5, x6, lsl #3]
    0xb4ff_ffc4, // 64        cbz   x4, wait
    0xd280_0000, // 68        mov   x0, #0
    0xd280_0001, // 6c  go:   mov   x1, #0
    0xd280_0002, // 70        mov   x2, #0
    0xd280_0003, // 74        mov   x3, #0
    0xd61f_0080, // 78        br    x4
    0x30c5_0830, // 7c  sctlr: RES1 bits, all else off; then gpfsel1 and function
];

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

    #[test]
    fn the_stub_leaves_the_release_addresses_clear_and_ends_with_its_arguments() {
        let of =
            |others_rest| stub(Board::UsbNet3b, Uart::Pl011, 0x20_0000, 0x2eff_2c00, others_rest).unwrap();
        let stub = of(false);
        assert_eq!(stub.len(), 0x100);
        assert!(stub[0xd8..0xf8].iter().all(|&byte| byte == 0));
        assert_eq!(stub[0xf8..0xfc], 0x2eff_2c00_u32.to_le_bytes());
        assert_eq!(stub[0xfc..], 0x20_0000_u32.to_le_bytes());
        assert_eq!(stub[0x80..0x84], 0x3f20_0004_u32.to_le_bytes());
        assert_eq!(stub[0x5c..0x60], WFE.to_le_bytes());
        assert_eq!(of(true)[0x5c..0x60], WFI.to_le_bytes());
    }
}
