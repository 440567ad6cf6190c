//! What the Pi's firmware asks for, and in which order: data, with the mark of each step (pi-facts.md 1e names the traces).

// D-206

/// How well a fact is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Seen on a board.
    Measured,
    /// Seen in a trace of the real binaries in an emulator of the board.
    Emulated,
    /// No trace shows it: it stands where we guess.
    Unshown,
}

/// What one step asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A file in the root, without the prefix.
    Root(&'static str),
    /// A file in the node's directory; when it is not there, and none of those before was, the prefix is dropped.
    Prefix(&'static str),
    /// A file behind the prefix.
    File(&'static str),
    /// config.txt, or tryboot.txt.
    Config,
    /// The initramfs, when config.txt asks for one.
    Initramfs,
    /// The board's tree.
    Tree,
    /// `overlays/overlay_map.dtb`.
    OverlayMap,
    /// Each overlay.
    Overlays,
    /// cmdline.txt.
    CommandLine,
    /// The kernel.
    Kernel,
}

/// How it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Whether it is there: the transfer is broken off when the server has agreed to it.
    Look,
    /// The file.
    Read,
    /// A look, and when it is there the file.
    LookAndRead,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What it asks for.
    pub what: What,
    /// How.
    pub how: How,
    /// How well that is known.
    pub mark: Mark,
}

/// One program of the stage, with its TFTP dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The block size that it asks for, and `tsize`; without it, no options at all.
    pub block_size: Option<u16>,
    /// Its steps.
    pub steps: &'static [Step],
}

const fn step(what: What, how: How, mark: Mark) -> Step {
    Step { what, how, mark }
}

use How::{Look, LookAndRead, Read};
use Mark::{Emulated as E, Measured as M, Unshown as U};
use What::{CommandLine, Config, File, Initramfs, Kernel, OverlayMap, Overlays, Prefix, Root, Tree};

/// Pi 4: the EEPROM's bootloader and start4.elf, 2026 (E: the golden trace of the emulator pimu). That the second prefix is
/// not asked for when the first is there, and how a step ends that only looks, is U.
pub const PI4: [Program; 2] = [
    Program {
        name: "EEPROM",
        block_size: Some(1468),
        steps: &[
            step(Prefix("start4.elf"), Look, E),
            step(Prefix("start.elf"), Look, E),
            step(Config, Read, E),
            step(File("pieeprom.sig"), Read, E),
            step(File("recover4.elf"), Read, E),
            step(File("recovery.elf"), Read, E),
            step(File("start4.elf"), Read, E),
            step(File("fixup4.dat"), Read, E),
        ],
    },
    Program {
        name: "start4.elf",
        block_size: Some(1468),
        steps: &[
            step(Config, Read, E),
            step(File("dt-blob.bin"), Read, E),
            step(Config, Read, E),
            step(Initramfs, Read, E),
            step(Tree, Read, E),
            step(Config, Read, E),
            step(OverlayMap, Read, E),
            step(Overlays, Read, E),
            step(CommandLine, Read, E),
            step(Kernel, Read, E),
        ],
    },
];

/// Pi 3: the ROM, bootcode.bin and start.elf (M on a 3B+: PexMor/raspi-netboot). Where the initramfs stands is U.
pub const PI3: [Program; 3] = [
    Program {
        name: "ROM",
        block_size: None,
        steps: &[
            step(Root("bootcode.bin"), Read, M),
            step(Root("bootsig.bin"), Read, M),
        ],
    },
    Program {
        name: "bootcode.bin",
        block_size: Some(1468),
        steps: &[
            step(Prefix("start.elf"), Look, M),
            step(File("autoboot.txt"), Read, M),
            step(Config, Read, M),
            step(File("recovery.elf"), Read, M),
            step(File("start.elf"), Read, M),
            step(File("fixup.dat"), Read, M),
        ],
    },
    Program {
        name: "start.elf",
        block_size: Some(1468),
        steps: &[
            step(File("recovery.elf"), Read, M),
            step(Config, LookAndRead, M),
            step(File("dt-blob.bin"), Read, M),
            step(File("recovery.elf"), Read, M),
            step(Config, LookAndRead, M),
            step(File("bootcfg.txt"), Read, M),
            step(Initramfs, LookAndRead, U),
            step(Tree, LookAndRead, M),
            step(OverlayMap, LookAndRead, M),
            step(Config, LookAndRead, M),
            step(Overlays, LookAndRead, M),
            step(CommandLine, LookAndRead, M),
            step(File("recovery8.img"), Read, M),
            step(Kernel, LookAndRead, M),
            step(File("armstub8.bin"), Read, M),
            step(Kernel, LookAndRead, M),
        ],
    },
];

/// The names that a 2026 Pi 4 was recorded asking a server for: one with a directory for its serial number, an initramfs
/// and one overlay (E).
pub const PI4_TRACE: &str = "SERIAL/start4.elf SERIAL/config.txt SERIAL/pieeprom.sig SERIAL/recover4.elf SERIAL/recovery.elf \
    SERIAL/start4.elf SERIAL/fixup4.dat SERIAL/config.txt SERIAL/dt-blob.bin SERIAL/config.txt SERIAL/initramfs8 \
    SERIAL/bcm2711-rpi-4-b.dtb SERIAL/config.txt SERIAL/overlays/overlay_map.dtb SERIAL/overlays/OVERLAY.dtbo \
    SERIAL/cmdline.txt SERIAL/kernel8.img";

/// The same where there is no directory: the prefix is dropped after the second look (E).
pub const PI4_TRACE_ROOT: &str = "SERIAL/start4.elf SERIAL/start.elf config.txt pieeprom.sig recover4.elf recovery.elf \
    start4.elf fixup4.dat config.txt dt-blob.bin config.txt initramfs8 bcm2711-rpi-4-b.dtb config.txt \
    overlays/overlay_map.dtb overlays/OVERLAY.dtbo cmdline.txt kernel8.img";

/// A Pi 3's, without a directory of its own; `×2` is a size probe and a read (M).
pub const PI3_TRACE_ROOT: &str = "bootcode.bin bootsig.bin SERIAL/start.elf autoboot.txt config.txt recovery.elf start.elf \
    fixup.dat recovery.elf config.txt config.txt dt-blob.bin recovery.elf config.txt config.txt bootcfg.txt \
    bcm2710-rpi-3-b.dtb bcm2710-rpi-3-b.dtb overlays/overlay_map.dtb overlays/overlay_map.dtb config.txt config.txt \
    overlays/OVERLAY.dtbo overlays/OVERLAY.dtbo cmdline.txt cmdline.txt recovery8.img kernel8.img kernel8.img armstub8.bin \
    kernel8.img kernel8.img";
