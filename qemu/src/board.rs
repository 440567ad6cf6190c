//! The emulated boards: each one's QEMU machine, device tree, addresses and NIC.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::emulator;

/// An emulated board and the NIC that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Board {
    /// Pi 3B, QEMU's `usb-net` on the root port.
    #[default]
    UsbNet3b,
    /// Pi 3B, `usb-net` behind QEMU's full-speed hub.
    UsbNetHub3b,
    /// Pi 3A+ (512 MiB), `usb-net` on the root port.
    UsbNet3aPlus,
    /// Pi 3B as it is: LAN9514, a hub on the root port and its Ethernet function behind it.
    Pi3b,
    /// Pi 3B+ as it is: LAN7515, two hubs and its Ethernet function behind them.
    Pi3bPlus,
    /// Pi 4B as it is: GENET.
    Pi4b,
}

impl Board {
    /// Every board.
    pub const ALL: [Self; 6] = [
        Self::UsbNet3b,
        Self::UsbNetHub3b,
        Self::UsbNet3aPlus,
        Self::Pi3b,
        Self::Pi3bPlus,
        Self::Pi4b,
    ];

    /// The name for `--board`.
    pub fn name(self) -> &'static str {
        match self {
            Self::UsbNet3b => "3b-usbnet",
            Self::UsbNetHub3b => "3b-usbnet-hub",
            Self::UsbNet3aPlus => "3a+-usbnet",
            Self::Pi3b => "3b",
            Self::Pi3bPlus => "3b+",
            Self::Pi4b => "4b",
        }
    }

    /// The board of this name.
    pub fn from_name(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|board| board.name() == name)
            .with_context(|| {
                format!(
                    "board {name}: not one of {}",
                    Self::ALL.map(Self::name).join(", ")
                )
            })
    }

    /// Whether it has device models that no QEMU release has: it runs on the emulator of `cargo xtask qemu`.
    pub fn needs_models(self) -> bool {
        !self.models().is_empty()
    }

    /// The program that runs it: `BRAMBLE_QEMU`, else our own emulator for a board that needs its models, else the
    /// PATH's `qemu-system-aarch64`.
    ///
    /// # Errors
    ///
    /// When it takes our own emulator, and that has not been built.
    pub fn program(self) -> Result<PathBuf> {
        if self.needs_models() {
            emulator::with_models()
        } else {
            Ok(emulator::stock())
        }
    }

    /// Why this machine cannot run it: QEMU is missing, or lacks the board or one of its devices.
    pub fn unavailable(self) -> Option<String> {
        let lacks = || -> Result<Option<String>> {
            let program = self.program()?;
            let machine = self.qemu_machine();
            if !emulator::has_machine(&program, machine)? {
                return Ok(Some(format!("{} has no machine {machine}", program.display())));
            }
            for model in self.models() {
                if !emulator::has_device(&program, model)? {
                    return Ok(Some(format!("{} has no device {model}", program.display())));
                }
            }
            Ok(None)
        };
        lacks().unwrap_or_else(|reason| Some(format!("{reason:#}")))
    }

    /// The stock device tree's file name under `broadcom/`.
    pub fn device_tree(self) -> &'static str {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::Pi3b => "bcm2837-rpi-3-b.dtb",
            Self::UsbNet3aPlus => "bcm2837-rpi-3-a-plus.dtb",
            Self::Pi3bPlus => "bcm2837-rpi-3-b-plus.dtb",
            Self::Pi4b => "bcm2711-rpi-4-b.dtb",
        }
    }

    /// The same tree's name with the Pi's firmware, which calls the chip of a Pi 3 BCM2710.
    pub fn firmware_tree(self) -> &'static str {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::Pi3b => "bcm2710-rpi-3-b.dtb",
            Self::Pi3bPlus | Self::UsbNet3aPlus => "bcm2710-rpi-3-b-plus.dtb",
            Self::Pi4b => "bcm2711-rpi-4-b.dtb",
        }
    }

    /// config.txt's filters that it passes.
    pub(crate) fn filters(self) -> &'static [&'static str] {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::Pi3b => &["pi3"],
            Self::UsbNet3aPlus | Self::Pi3bPlus => &["pi3", "pi3+"],
            Self::Pi4b => &["pi4"],
        }
    }

    /// One past the ARM's memory in the first bank: QEMU's VideoCore keeps 64 MiB.
    pub fn memory_end(self) -> u64 {
        match self {
            Self::UsbNet3aPlus => 0x1c00_0000,
            Self::UsbNet3b | Self::UsbNetHub3b | Self::Pi3b | Self::Pi3bPlus | Self::Pi4b => 0x3c00_0000,
        }
    }

    /// Physical address of the peripherals that buses know as 0x7e000000.
    pub fn peripherals(self) -> u64 {
        if self.is_pi4() { 0xfe00_0000 } else { 0x3f00_0000 }
    }

    /// The revision code that QEMU's mailbox answers.
    pub fn revision(self) -> u32 {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::Pi3b => 0x00a0_2082,
            Self::UsbNet3aPlus => 0x0090_20e0,
            Self::Pi3bPlus => 0x00a0_20d3,
            Self::Pi4b => 0x00b0_3115,
        }
    }

    pub(crate) fn model(self) -> &'static str {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::Pi3b => "Raspberry Pi 3 Model B",
            Self::UsbNet3aPlus => "Raspberry Pi 3 Model A+",
            Self::Pi3bPlus => "Raspberry Pi 3 Model B+",
            Self::Pi4b => "Raspberry Pi 4 Model B",
        }
    }

    pub(crate) fn compatible(self) -> &'static str {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::Pi3b => "raspberrypi,3-model-b",
            Self::UsbNet3aPlus => "raspberrypi,3-model-a-plus",
            Self::Pi3bPlus => "raspberrypi,3-model-b-plus",
            Self::Pi4b => "raspberrypi,4-model-b",
        }
    }

    pub(crate) fn soc_compatible(self) -> &'static str {
        if self.is_pi4() {
            "brcm,bcm2711"
        } else {
            "brcm,bcm2837"
        }
    }

    fn is_pi4(self) -> bool {
        self == Self::Pi4b
    }

    pub(crate) fn qemu_machine(self) -> &'static str {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::Pi3b => "raspi3b",
            Self::UsbNet3aPlus => "raspi3ap",
            Self::Pi3bPlus => "raspi3bplus",
            Self::Pi4b => "raspi4b",
        }
    }

    /// The models of ours that it is made of.
    fn models(self) -> &'static [&'static str] {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::UsbNet3aPlus => &[],
            Self::Pi3b => &["usb-hub-9514", "usb-lan9514"],
            Self::Pi3bPlus => &["usb-hub-2514", "usb-lan7800"],
            Self::Pi4b => &["bcm2711-genet", "iproc-rng200"],
        }
    }

    /// QEMU's name for the type of its NIC.
    pub(crate) fn nic_driver(self) -> &'static str {
        match self {
            Self::UsbNet3b | Self::UsbNetHub3b | Self::UsbNet3aPlus => "usb-net",
            Self::Pi3b => "usb-lan9514",
            Self::Pi3bPlus => "usb-lan7800",
            Self::Pi4b => "bcm2711-genet",
        }
    }

    /// The NIC's place in QEMU's tree of objects.
    pub(crate) fn nic_path(self) -> &'static str {
        match self {
            Self::Pi4b => "/machine/soc/peripherals/genet",
            _ => "/machine/peripheral/nic",
        }
    }

    /// Arguments for the NIC on netdev `net0`. Without `port=`, QEMU would add a hub of its own.
    pub(crate) fn nic(self, mac: &str) -> Vec<String> {
        let on_usb = |hubs: &[&str], port: &str| {
            let mut devices = Vec::new();
            for (index, hub) in hubs.iter().enumerate() {
                // The first is on the root port, each other on the first port of the one before.
                devices.push(format!("{hub},port=1{}", ".1".repeat(index)));
            }
            let driver = self.nic_driver();
            devices.push(format!("{driver},id=nic,netdev=net0,mac={mac},port={port}"));
            devices
                .into_iter()
                .flat_map(|device| ["-device".to_owned(), device])
                .collect()
        };
        match self {
            Self::UsbNet3b | Self::UsbNet3aPlus => on_usb(&[], "1"),
            Self::UsbNetHub3b => on_usb(&["usb-hub"], "1.1"),
            Self::Pi3b => on_usb(&["usb-hub-9514"], "1.1"),
            Self::Pi3bPlus => on_usb(&["usb-hub-2514", "usb-hub-2514"], "1.1.1"),
            // On the SoC, so it is there already; this only says what is plugged into it.
            Self::Pi4b => vec!["-net".to_owned(), format!("nic,netdev=net0,macaddr={mac}")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for board in Board::ALL {
            assert_eq!(Board::from_name(board.name()).unwrap(), board);
        }
        let error = Board::from_name("5b").unwrap_err().to_string();
        assert!(error.contains("3b-usbnet-hub"), "{error}");
    }

    #[test]
    fn each_nic_hangs_where_the_boards_does() {
        let line = |board: Board| board.nic("MAC").join(" ");
        assert_eq!(
            line(Board::UsbNetHub3b),
            "-device usb-hub,port=1 -device usb-net,id=nic,netdev=net0,mac=MAC,port=1.1"
        );
        assert_eq!(
            line(Board::Pi3b),
            "-device usb-hub-9514,port=1 -device usb-lan9514,id=nic,netdev=net0,mac=MAC,port=1.1"
        );
        assert_eq!(
            line(Board::Pi3bPlus),
            "-device usb-hub-2514,port=1 -device usb-hub-2514,port=1.1 \
             -device usb-lan7800,id=nic,netdev=net0,mac=MAC,port=1.1.1"
        );
        assert_eq!(line(Board::Pi4b), "-net nic,netdev=net0,macaddr=MAC");
    }
}
