//! The demo's files from Debian: its arm64 kernel as it is, an initrd with busybox and an init that reports, and U-Boot.
//!
//! `cargo xtask setup` fills a directory outside the checkout with what comes from Debian; this module knows that
//! directory's layout and writes the initrd from it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::Board;
use crate::cpio::Archive;

/// Changes with what `setup` puts into the directory, so that an old cache is not taken for a new one.
const LAYOUT: &str = "debian-bookworm-arm64-4";

/// The kernel modules for each NIC, by the name of QEMU's model of it. A PHY's driver comes before its MAC's, which
/// otherwise takes the generic one; USB NICs need the host controller and its PHY.
pub const NIC_MODULES: [(&str, &[&str]); 4] = [
    ("bcm2711-genet", &["broadcom", "genet"]),
    ("usb-lan9514", &["phy-generic", "dwc2", "smsc", "smsc95xx"]),
    ("usb-lan7800", &["phy-generic", "dwc2", "microchip", "lan78xx"]),
    ("usb-net", &["phy-generic", "dwc2", "cdc_ether"]),
];

/// The kernel module that can power off, which ends QEMU.
pub const POWER_MODULES: [&str; 1] = ["bcm2835_wdt"];

/// The kernel module for the Pi 4's random number generator.
pub const RANDOM_MODULES: [&str; 1] = ["iproc-rng200"];

/// The stock device trees, by their file names under `broadcom/`.
pub const DEVICE_TREES: [&str; 4] = [
    "bcm2711-rpi-4-b.dtb",
    "bcm2837-rpi-3-a-plus.dtb",
    "bcm2837-rpi-3-b-plus.dtb",
    "bcm2837-rpi-3-b.dtb",
];

/// The line that Linux's init prints when all went well, and the built-in payload's last line.
pub const HELLO: &str = "^hello: (user space|built-in payload)$";

/// The unpacked parts of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    directory: PathBuf,
}

impl Payload {
    /// Where the parts are or will be: below `BRAMBLE_CACHE`, else `bramble` in the user's cache directory.
    pub fn directory() -> Result<PathBuf> {
        Ok(cache()?.join(LAYOUT))
    }

    /// The payload that `cargo xtask setup` left.
    ///
    /// # Errors
    ///
    /// When there is none; the message says what to do, and serves as a reason to skip.
    pub fn find() -> Result<Self> {
        let payload = Self {
            directory: Self::directory()?,
        };
        fs::metadata(payload.kernel()).with_context(|| {
            format!(
                "demo payload: {} (cargo xtask setup gets it)",
                payload.kernel().display()
            )
        })?;
        Ok(payload)
    }

    /// The parts in `directory`, which `setup` is filling.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Debian's kernel, byte for byte: a raw arm64 Image of about 33 MB.
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// Debian's device tree for `board`.
    pub fn device_tree(&self, board: Board) -> Result<Vec<u8>> {
        read(&self.directory.join(board.device_tree()))
    }

    /// Debian's U-Boot for every 64-bit Pi: the raw image that the Pi's firmware starts at 0x80000.
    pub fn u_boot(&self) -> PathBuf {
        self.directory.join("u-boot.bin")
    }

    /// The initrd with the driver of `board`'s NIC, 3 to 4 MB: the same parts give the same bytes.
    pub fn initrd(&self, board: Board) -> Result<Vec<u8>> {
        let modules = self.directory.join("modules");
        let mut archive = Archive::new();
        for directory in ["bin", "dev", "modules"] {
            archive.directory(directory);
        }
        archive
            .character_device("dev/console", (5, 1))
            .file("init", 0o755, include_bytes!("init.sh"))
            .file("bin/busybox", 0o755, &read(&self.directory.join("busybox"))?);
        let (_, nic) = NIC_MODULES
            .into_iter()
            .find(|(model, _)| *model == board.nic_driver())
            .with_context(|| format!("demo payload: no modules for {}", board.nic_driver()))?;
        let mut added = Vec::new();
        let mut lists = vec![("nic", nic), ("power", &POWER_MODULES[..])];
        if board == Board::Pi4b {
            lists.push(("random", &RANDOM_MODULES[..]));
        }
        for (list, wanted) in lists {
            let order = load_order(wanted, &|name| read_module(&modules, name))?;
            for name in &order {
                if !added.contains(name) {
                    archive.file(
                        &format!("modules/{name}.ko"),
                        0o644,
                        &read_module(&modules, name)?,
                    );
                    added.push(name.clone());
                }
            }
            let lines: String = order.iter().map(|name| format!("{name}.ko\n")).collect();
            archive.file(&format!("modules/{list}"), 0o644, lines.as_bytes());
        }
        Ok(archive.finish())
    }
}

/// Where `cargo xtask setup` puts Debian's device tree overlays, and trees with labels for them.
pub fn overlays() -> Result<PathBuf> {
    Ok(cache()?.join("debian-overlays-1"))
}

/// Debian's tree for `board` with the labels that overlays need.
///
/// # Errors
///
/// When `cargo xtask setup` has not got it.
pub fn labelled_tree(board: Board) -> Result<Vec<u8>> {
    read(&overlays()?.join(board.device_tree()))
}

/// The trees there, of Debian's kernel, by their file names.
pub const LABELLED_TREES: [&str; 4] = [
    "bcm2837-rpi-3-b.dtb",
    "bcm2837-rpi-3-b-plus.dtb",
    "bcm2711-rpi-4-b.dtb",
    "bcm2711-rpi-cm4-io.dtb",
];

/// The directory for everything that is expensive to get and does not belong into a checkout.
pub fn cache() -> Result<PathBuf> {
    let from = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    from("BRAMBLE_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|cache| cache.join("bramble")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/bramble")))
        .context("cache: none of BRAMBLE_CACHE, XDG_CACHE_HOME and HOME is set")
}

/// `wanted` and every module they need, each after those it needs, as the modules themselves say; `read` gives a
/// module's file by its name.
pub fn load_order(wanted: &[&str], read: &dyn Fn(&str) -> Result<Vec<u8>>) -> Result<Vec<String>> {
    let mut order = Vec::new();
    for name in wanted {
        visit(name, 0, read, &mut order)?;
    }
    Ok(order)
}

fn visit(
    name: &str,
    depth: usize,
    read: &dyn Fn(&str) -> Result<Vec<u8>>,
    order: &mut Vec<String>,
) -> Result<()> {
    anyhow::ensure!(depth < 32, "modules: {name} needs itself");
    if order.iter().any(|known| known == name) {
        return Ok(());
    }
    for needed in dependencies(&read(name)?) {
        visit(&needed, depth + 1, read, order)?;
    }
    order.push(name.to_owned());
    Ok(())
}

/// What a module's `.modinfo` section names as needed (`depends=a,b`) or wanted before it (`softdep=pre: a b`).
fn dependencies(module: &[u8]) -> Vec<String> {
    let softdep = entry(module, "softdep=").unwrap_or_default();
    let before = softdep
        .split_whitespace()
        .skip_while(|&word| word != "pre:")
        .skip(1)
        .take_while(|word| !word.ends_with(':'));
    let depends = entry(module, "depends=").unwrap_or_default();
    depends
        .split(',')
        .filter(|name| !name.is_empty())
        .chain(before)
        .map(str::to_owned)
        .collect()
}

/// The first value of a key in a `.modinfo` section: NUL-separated `key=value` strings.
fn entry(module: &[u8], key: &str) -> Option<String> {
    let key = format!("\0{key}");
    let at = module
        .windows(key.len())
        .position(|window| window == key.as_bytes())?;
    let value = module.get(at + key.len()..)?.split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(value).into_owned())
}

fn read_module(modules: &Path, name: &str) -> Result<Vec<u8>> {
    read(&modules.join(format!("{name}.ko")))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("demo payload: {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_load_after_what_they_need_once() {
        let read = |name: &str| -> Result<Vec<u8>> {
            Ok(match name {
                "cdc_ether" => b"\x7fELF\0license=GPL\0depends=usbnet,usbcore\0name=cdc_ether\0".to_vec(),
                "usbnet" => b"x\0depends=mii,usbcore\0".to_vec(),
                "usbcore" => b"x\0depends=\0".to_vec(),
                _ => b"no such entry".to_vec(),
            })
        };
        let order = load_order(&["cdc_ether", "mii"], &read).unwrap();
        assert_eq!(order, ["mii", "usbcore", "usbnet", "cdc_ether"]);
    }

    #[test]
    fn a_soft_dependency_comes_before_not_behind() {
        let genet = b"x\0depends=libphy\0softdep=pre: mdio-bcm-unimac post: other\0name=genet\0";
        assert_eq!(dependencies(genet), ["libphy", "mdio-bcm-unimac"]);
        assert_eq!(dependencies(b"x\0softdep=post: other\0"), [""; 0]);
    }

    #[test]
    fn every_board_has_its_driver_and_tree() {
        for board in Board::ALL {
            assert!(DEVICE_TREES.contains(&board.device_tree()), "{}", board.name());
            let nic = board.nic_driver();
            assert!(NIC_MODULES.iter().any(|(model, _)| *model == nic), "{nic}");
        }
    }

    #[test]
    fn a_circle_of_modules_is_an_error() {
        let read = |name: &str| -> Result<Vec<u8>> { Ok(format!("\0depends={name}\0").into_bytes()) };
        assert!(load_order(&["a"], &read).is_err());
    }
}
