//! The stage itself: asks for what the order says, and leaves what the board then has in memory.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::autoboot::Autoboot;
use super::config::{Circumstances, Config};
use super::dhcp;
use super::files::Files;
use super::host::Host;
use super::order::{How, PI3, PI4, Program, What};
use super::tree::{NETWORK, SD};
use super::{Cable, Firmware, Uart, overlay, tftp};
use crate::machine::{Directory, Entry, Machine};
use crate::{Board, Card};

/// A board that is switched on.
#[derive(Debug, Clone)]
pub struct Stage {
    board: Board,
    firmware: Firmware,
    tryboot: bool,
    partition: u8,
    /// A tryboot reads config.txt, since autoboot.txt says so.
    a_b: bool,
}

/// What the stage leaves.
#[derive(Debug, Clone)]
pub struct Left {
    board: Board,
    kernel: Vec<u8>,
    address: u64,
    initramfs: Option<(Vec<u8>, Option<u64>)>,
    tree: Vec<u8>,
    tree_address: Option<u64>,
    /// Serial number, MAC address, command line and console.
    pub firmware: Firmware,
    /// What it asked for, in its order.
    pub asked: Vec<String>,
    /// What it did nothing about, and where a real board would have gone another way.
    pub said: Vec<String>,
}

/// Where a 64-bit kernel goes that does not say otherwise (DOC, E); the text offset of its header is added.
const KERNEL: u64 = 0x20_0000;

impl Stage {
    /// `board` with the serial number and the MAC address of `firmware`; command line and console come from the files.
    pub fn new(board: Board, firmware: Firmware) -> Self {
        Self {
            board,
            firmware,
            tryboot: false,
            partition: 0,
            a_b: false,
        }
    }

    /// After a reset that left this in RSTS: bit 1 asks for a tryboot (E), which reads tryboot.txt in place of config.txt
    /// (DOC); bits 0, 2, 4, 6, 8 and 10 are the partition.
    pub fn after(mut self, rsts: u32) -> Self {
        self.tryboot = rsts & 2 != 0;
        self.partition = (0..6).map(|bit| ((rsts >> (2 * bit) & 1) as u8) << bit).sum();
        self
    }

    /// Boots from a card's image, or from a boot.img.
    ///
    /// # Errors
    ///
    /// When a real board would not get as far as starting a 64-bit kernel.
    pub fn from_card(&self, image: &Path) -> Result<Left> {
        let mut stage = self.clone();
        let mut card = Card::open(image, self.partition)?;
        // A reset that asks for a partition goes there (DOC).
        if self.partition == 0
            && let Some(text) = card.get("autoboot.txt", false)?
        {
            let said = Autoboot::read(&text, self.tryboot);
            stage.a_b = said.a_b;
            if let Some(partition) = said.partition {
                stage.partition = partition;
                card = Card::open(image, partition)?;
            }
        }
        let mut left = stage.from(&mut card)?;
        left.firmware.boot_mode = SD;
        Ok(left)
    }

    /// Boots from the network: DHCP, then TFTP.
    ///
    /// # Errors
    ///
    /// Likewise, and when the servers do not answer as the firmware needs it.
    pub fn from_network(&self, cable: Cable) -> Result<Left> {
        let mac = self.firmware.mac;
        let mut host = Host::new(cable, mac);
        let (client, manner) = match self.board {
            Board::Pi4b => (
                dhcp::Client::pi4(mac, self.board.revision(), self.firmware.serial),
                dhcp::Manner::EEPROM,
            ),
            Board::Pi3bPlus => (dhcp::Client::pi3(mac), dhcp::Manner::ROM_3B_PLUS),
            _ => (dhcp::Client::pi3(mac), dhcp::Manner::ROM_3B),
        };
        // That later programs keep what the first was given, and do not ask DHCP again, is U.
        let server = dhcp::ask(&mut host, &client, manner)?;
        let mut left = self.from(&mut tftp::Client {
            host,
            server,
            block_size: None,
            rolls_over: self.board == Board::Pi4b,
            port: 49152,
        })?;
        left.firmware.boot_mode = NETWORK;
        Ok(left)
    }

    fn from(&self, files: &mut dyn Files) -> Result<Left> {
        let programs: &[Program] = if self.board == Board::Pi4b { &PI4 } else { &PI3 };
        let mut run = Run {
            stage: self,
            files,
            prefix: Prefix::Unknown,
            config: Config::default(),
            tree: None,
            overlays: vec![],
            initramfs: None,
            cmdline: None,
            kernel: None,
            asked: vec![],
            said: vec![],
        };
        for program in programs {
            run.files.program(program);
            for step in program.steps {
                run.step(step.what, step.how)
                    .with_context(|| format!("first stage: {}", program.name))?;
            }
        }
        run.finish().context("first stage")
    }
}

enum Prefix {
    Unknown,
    Own(String),
}

struct Run<'a> {
    stage: &'a Stage,
    files: &'a mut dyn Files,
    prefix: Prefix,
    config: Config,
    tree: Option<Vec<u8>>,
    /// By the place of the overlay in config.txt.
    overlays: Vec<Option<Vec<u8>>>,
    initramfs: Option<Vec<u8>>,
    cmdline: Option<String>,
    kernel: Option<Vec<u8>>,
    asked: Vec<String>,
    said: Vec<String>,
}

impl Run<'_> {
    fn step(&mut self, what: What, how: How) -> Result<()> {
        match what {
            What::Root(name) => {
                if self.ask(name, how)?.is_none() && name == "bootcode.bin" {
                    self.say(format!("{name} is not there: a real board stops here"));
                }
            }
            What::Prefix(name) => {
                if self.files.on_a_network() && matches!(self.prefix, Prefix::Unknown) {
                    let directory = format!("{:08x}/", self.stage.firmware.serial & 0xffff_ffff);
                    if self.ask(&format!("{directory}{name}"), how)?.is_some() {
                        self.prefix = Prefix::Own(directory);
                    }
                }
            }
            What::File(name) => {
                let found = self.own(name, how)?.is_some();
                match (name, found) {
                    ("start4.elf" | "start.elf", false) => {
                        self.say(format!("{name} is not there: a real board stops here"));
                    }
                    ("fixup4.dat" | "fixup.dat", false) => {
                        self.say(format!("{name} is not there: a real board has 128 MiB (M)"));
                    }
                    // A card's has been obeyed.
                    ("autoboot.txt", true) if !self.files.on_a_network() => {}
                    (
                        "recovery.elf" | "recover4.elf" | "recovery8.img" | "armstub8.bin" | "autoboot.txt",
                        true,
                    ) => {
                        self.say(format!("{name} is there: a real board starts or obeys it"));
                    }
                    _ => {}
                }
            }
            What::Config => self.read_config(how)?,
            What::Initramfs => {
                let Some(names) = self.initramfs_names() else {
                    return Ok(());
                };
                let mut archive = vec![];
                for name in names {
                    let path = self.config.prefixed(&name);
                    let part = self.own(&path, how)?;
                    archive.extend(part.with_context(|| format!("no initramfs {path}"))?);
                }
                self.initramfs = Some(archive);
            }
            What::Tree => {
                let name = self
                    .config
                    .text("device_tree")
                    .unwrap_or(self.stage.board.firmware_tree());
                let path = self.config.prefixed(name);
                self.tree = self.own(&path, how)?;
            }
            What::OverlayMap => {
                let path = self.config.overlay_path("overlay_map.dtb");
                self.own(&path, how)?;
            }
            What::Overlays => {
                self.overlays.clear();
                for wanted in self.config.overlays.clone() {
                    let mut found = None;
                    if !wanted.name.is_empty() {
                        let path = self.config.overlay_path(&format!("{}.dtbo", wanted.name));
                        found = self.own(&path, how)?;
                    }
                    self.overlays.push(found);
                }
            }
            What::CommandLine => {
                let path = self
                    .config
                    .prefixed(self.config.text("cmdline").unwrap_or("cmdline.txt"));
                let text = self.own(&path, how)?;
                self.cmdline = text.map(|text| {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    text.lines().next().unwrap_or_default().trim().to_owned()
                });
            }
            What::Kernel => {
                let path = self
                    .config
                    .prefixed(self.config.text("kernel").unwrap_or("kernel8.img"));
                self.kernel = self.own(&path, how)?;
            }
        }
        Ok(())
    }

    fn initramfs_names(&self) -> Option<Vec<String>> {
        match &self.config.initramfs {
            Some(initramfs) => Some(initramfs.files.clone()),
            // The kernel's name with `initramfs` in place of `kernel`, without its end (DOC).
            None if self.config.number("auto_initramfs") == Some(1) => {
                let kernel = self.config.text("kernel").unwrap_or("kernel8.img");
                let name = kernel.trim_end_matches(".img").replace("kernel", "initramfs");
                Some(vec![name])
            }
            None => None,
        }
    }

    fn read_config(&mut self, how: How) -> Result<()> {
        let name = if self.stage.tryboot && !self.stage.a_b {
            "tryboot.txt"
        } else {
            "config.txt"
        };
        let text = self.own(name, how)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let stage = self.stage;
        let mut failed = None;
        let config = Config::parse(
            &text,
            &Circumstances {
                models: stage.board.filters(),
                revision: stage.board.revision(),
                serial: stage.firmware.serial,
                tryboot: stage.tryboot,
                partition: stage.partition,
            },
            &mut |file| match self.own(file, how) {
                Ok(text) => Some(String::from_utf8_lossy(&text?).into_owned()),
                Err(error) => {
                    failed = Some(error);
                    None
                }
            },
        );
        self.config = config;
        failed.map_or(Ok(()), Err)
    }

    /// A file behind the prefix.
    fn own(&mut self, path: &str, how: How) -> Result<Option<Vec<u8>>> {
        match &self.prefix {
            Prefix::Unknown => self.ask(path, how),
            Prefix::Own(directory) => self.ask(&format!("{directory}{path}"), how),
        }
    }

    fn ask(&mut self, path: &str, how: How) -> Result<Option<Vec<u8>>> {
        self.asked.push(path.to_owned());
        let found = self.files.get(path, how != How::Read)?;
        if how == How::LookAndRead && found.is_some() {
            self.asked.push(path.to_owned());
            return self.files.get(path, false);
        }
        Ok(found)
    }

    fn say(&mut self, line: String) {
        if !self.said.contains(&line) {
            self.said.push(line);
        }
    }

    /// What the last program does with what it has read.
    fn finish(mut self) -> Result<Left> {
        let kernel = self.kernel.take().context("no kernel: a real board stops here")?;
        ensure!(
            self.config.arm_64bit() != Some(false),
            "arm_64bit=0: 32-bit kernels are not emulated"
        );
        ensure!(
            !kernel.starts_with(&[0x1f, 0x8b]),
            "a gzip kernel, which the firmware unpacks: not emulated"
        );
        for line in self.config.ignored.clone() {
            self.say(format!("config.txt: {line}"));
        }
        let address = match self.config.number("kernel_address") {
            Some(address) => address,
            None => KERNEL + text_offset(&kernel).unwrap_or_default(),
        };
        let tree = self
            .tree
            .take()
            .context("no device tree: what a real board then starts with is U")?;
        let (tree, merged) = self.with_overlays(tree)?;
        let mut firmware = self.stage.firmware.clone();
        firmware.cmdline = self.cmdline.take().unwrap_or_default();
        // Bluetooth has the PL011 unless an overlay takes it away (DOC).
        firmware.uart = if merged
            .iter()
            .any(|name| matches!(&**name, "disable-bt" | "miniuart-bt"))
        {
            Uart::Pl011
        } else {
            if self.config.number("enable_uart") != Some(1) {
                self.say("no enable_uart=1: a real board's serial line is silent".to_owned());
            }
            Uart::Mini
        };
        let place = self
            .config
            .initramfs
            .as_ref()
            .and_then(|initramfs| initramfs.address);
        Ok(Left {
            board: self.stage.board,
            kernel,
            address,
            initramfs: self.initramfs.take().map(|bytes| (bytes, place)),
            tree,
            tree_address: self.config.number("device_tree_address"),
            firmware,
            asked: self.asked,
            said: self.said,
        })
    }

    /// The tree with its overlays, and the names of those that fitted.
    fn with_overlays(&mut self, mut tree: Vec<u8>) -> Result<(Vec<u8>, Vec<String>)> {
        let mut fitted = vec![];
        let directory = Directory::new()?;
        let wanted = self.config.overlays.clone();
        for (wanted, found) in wanted.iter().zip(std::mem::take(&mut self.overlays)) {
            let mut said = vec![];
            let mut say = |line| said.push(line);
            if wanted.name.is_empty() {
                tree = overlay::with_parameters(&tree, &wanted.parameters, &mut say)
                    .context("the board's tree")?;
            } else if let Some(found) = found {
                // An overlay that does not fit is left out, and the board boots (DOC).
                let merged = overlay::with_parameters(&found, &wanted.parameters, &mut say)
                    .and_then(|overlay| overlay::merged(&tree, &overlay, directory.path()));
                match merged {
                    Ok(merged) => {
                        tree = merged;
                        fitted.push(wanted.name.clone());
                    }
                    Err(error) => said.push(format!("dtoverlay={} ({error:#})", wanted.name)),
                }
            } else {
                said.push(format!("dtoverlay={} (no such overlay)", wanted.name));
            }
            said.into_iter().for_each(|line| self.say(line));
        }
        Ok((tree, fitted))
    }
}

/// Where an arm64 Image wants to be, from a multiple of 2 MiB (M, F#1415); nothing when it is none.
fn text_offset(kernel: &[u8]) -> Option<u64> {
    (kernel.get(56..60)? == b"ARM\x64").then_some(())?;
    Some(u64::from_le_bytes(kernel.get(8..16)?.try_into().ok()?))
}

impl Left {
    /// The machine that goes on from here; its files are in `directory`, which has to stay until it has started.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    pub fn machine(&self, directory: &Path) -> Result<Machine> {
        fs::create_dir_all(directory).context("first stage: its files")?;
        let file = |name: &str, bytes: &[u8]| -> Result<_> {
            let path = directory.join(name);
            fs::write(&path, bytes).with_context(|| path.display().to_string())?;
            Ok(path)
        };
        let mut machine = Machine::new(self.board, file("kernel", &self.kernel)?)
            .entry(Entry::At(self.address))
            .device_tree(self.tree.clone())
            .firmware(self.firmware.clone());
        if let Some(address) = self.tree_address {
            machine = machine.device_tree_at(address);
        }
        if let Some((bytes, place)) = &self.initramfs {
            machine = machine.initrd(file("initramfs", bytes)?);
            if let Some(place) = place {
                machine = machine.initrd_at(*place);
            }
        }
        Ok(machine)
    }

    /// The device tree as the files and their overlays make it, before the firmware writes its own facts into it.
    pub fn tree(&self) -> &[u8] {
        &self.tree
    }

    /// The kernel.
    pub fn kernel(&self) -> &[u8] {
        &self.kernel
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::order::{PI3_TRACE_ROOT, PI4_TRACE, PI4_TRACE_ROOT};
    use super::*;

    /// Files in memory.
    struct Tree(HashMap<String, Vec<u8>>);

    impl Files for Tree {
        fn on_a_network(&self) -> bool {
            true
        }

        fn get(&mut self, path: &str, look: bool) -> Result<Option<Vec<u8>>> {
            let found = self.0.get(path).cloned();
            Ok(found.map(|bytes| if look { vec![] } else { bytes }))
        }
    }

    const SERIAL: &str = "b4a3b1e5";

    /// A board's usual files in a directory.
    fn tree(board: Board, directory: &str, config: &str) -> Tree {
        let mut kernel = vec![0; 64];
        kernel[8..16].copy_from_slice(&0x8_0000_u64.to_le_bytes());
        kernel[56..60].copy_from_slice(b"ARM\x64");
        let dtb = Firmware::default().minimal(board).unwrap();
        let files = [
            ("config.txt", config.as_bytes()),
            ("start4.elf", b"4"),
            ("start.elf", b"3"),
            ("fixup4.dat", b"4"),
            ("fixup.dat", b"3"),
            ("cmdline.txt", b" bramble.url=http://a/b \nmore\n"),
            ("kernel8.img", &kernel),
            ("initramfs8", b"archive"),
            (board.firmware_tree(), &dtb),
            ("overlays/overlay_map.dtb", b"map"),
            ("overlays/odd.dtbo", b"no overlay"),
        ];
        let mut all: HashMap<String, Vec<u8>> = files
            .into_iter()
            .map(|(name, bytes)| (format!("{directory}{name}"), bytes.to_vec()))
            .collect();
        all.insert("bootcode.bin".to_owned(), b"3".to_vec());
        Tree(all)
    }

    fn left(board: Board, mut files: Tree) -> Result<Left> {
        Stage::new(board, Firmware::default()).from(&mut files)
    }

    const CONFIG: &str = "arm_64bit=1\nenable_uart=1\ndtoverlay=odd\n";

    #[test]
    fn each_board_asks_for_what_the_recorded_one_did() {
        let words = |trace: &str| -> Vec<String> {
            let trace = trace.replace("SERIAL", SERIAL).replace("OVERLAY", "odd");
            trace.split_whitespace().map(str::to_owned).collect()
        };
        let with = format!("{CONFIG}auto_initramfs=1\n");
        let own = format!("{SERIAL}/");
        for (board, directory, config, trace) in [
            (Board::Pi4b, &*own, &*with, PI4_TRACE),
            (Board::Pi4b, "", &with, PI4_TRACE_ROOT),
        ] {
            let left = left(board, tree(board, directory, config)).unwrap();
            assert_eq!(left.asked, words(trace), "{}", board.name());
        }
        // The recorded 3B+ was asked for a 3B's tree here; what has no look in the trace has a read of its own.
        let left = left(Board::Pi3b, tree(Board::Pi3b, "", CONFIG)).unwrap();
        assert_eq!(left.asked, words(PI3_TRACE_ROOT));
    }

    #[test]
    fn what_a_real_board_would_not_boot_from_is_said_or_refused() {
        let board = Board::Pi4b;
        let refusal = |change: &dyn Fn(&mut Tree)| {
            let mut files = tree(board, "", CONFIG);
            change(&mut files);
            format!("{:#}", left(board, files).unwrap_err())
        };
        for (file, bytes, reason) in [
            ("kernel8.img", None, "no kernel"),
            ("kernel8.img", Some(&b"\x1f\x8b"[..]), "a gzip kernel"),
            ("config.txt", Some(b"arm_64bit=0"), "arm_64bit=0"),
            ("config.txt", Some(b"initramfs none"), "no initramfs none"),
            (board.firmware_tree(), None, "no device tree"),
        ] {
            let refused = refusal(&|files| {
                match bytes {
                    Some(bytes) => files.0.insert(file.to_owned(), bytes.to_vec()),
                    None => files.0.remove(file),
                };
            });
            assert!(refused.contains(reason), "{refused}");
        }
        let mut files = tree(board, "", "gpu_mem=16\ndtparam=audio=on\ndtoverlay=none,a=b\n");
        for gone in ["start4.elf", "fixup4.dat"] {
            files.0.remove(gone);
        }
        assert_eq!(
            left(board, files).unwrap().said,
            [
                "start4.elf is not there: a real board stops here",
                "fixup4.dat is not there: a real board has 128 MiB (M)",
                "config.txt: gpu_mem=16",
                "dtparam=audio=on (no such parameter)",
                "dtoverlay=none (no such overlay)",
                "no enable_uart=1: a real board's serial line is silent",
            ]
        );
    }

    #[test]
    fn what_is_left_is_what_the_files_say() {
        let board = Board::Pi4b;
        let files = tree(
            board,
            "",
            "enable_uart=1\ninitramfs initramfs8,initramfs8 followkernel\n",
        );
        let left = left(board, files).unwrap();
        assert_eq!(left.address, 0x28_0000);
        assert_eq!(left.initramfs, Some((b"archivearchive".to_vec(), None)));
        assert_eq!(left.firmware.cmdline, "bramble.url=http://a/b");
        assert_eq!(left.firmware.uart, Uart::Mini);
        assert_eq!(left.said, [""; 0]);
        // An overlay that is not there takes the PL011 from nobody.
        let files = tree(board, "", "kernel_address=0x80000\ndtoverlay=disable-bt\n");
        let left = self::left(board, files).unwrap();
        assert_eq!((left.address, left.firmware.uart), (0x8_0000, Uart::Mini));
        assert_eq!(left.initramfs, None);
    }

    #[test]
    fn a_tryboot_reads_its_own_file() {
        let board = Board::Pi4b;
        let mut files = tree(board, "", "kernel=none\n");
        files.0.insert(
            "tryboot.txt".to_owned(),
            b"[tryboot]\ncmdline=config.txt\n".to_vec(),
        );
        files.0.insert(
            "config.txt".to_owned(),
            b"kernel=none\n[partition=35]\nkernel=kernel8.img\n".to_vec(),
        );
        let mut left = |rsts| {
            let stage = Stage::new(board, Firmware::default()).after(rsts);
            stage.from(&mut files).map(|left| left.firmware.cmdline)
        };
        // The causes of a reset are other bits; 0x405 is partition 35.
        assert!(left(0x1020).is_err());
        assert_eq!(left(0x1425).unwrap(), "bramble.url=http://a/b");
        assert_eq!(left(0x1022).unwrap(), "kernel=none");
    }
}
