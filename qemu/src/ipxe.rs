//! iPXE itself, to compare with: Debian's build for arm64 under UEFI, on QEMU's `virt` board.
//!
//! On the same user network it finds the same DHCP server and the same web servers as a board of ours, and it calls
//! itself what Bramble calls itself: `${buildarch}` is `arm64`, `${platform}` is `efi`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::emulator;
use crate::firmware::Firmware;
use crate::machine::{Directory, Net};
use crate::payload::cache;

/// Changes with what `setup` puts into the directory, so that an old cache is not taken for a new one.
const LAYOUT: &str = "ipxe-trixie-arm64-1";

/// QEMU's board that UEFI firmware is made for.
const MACHINE: &str = "virt";

/// Where the console's output goes, in a run's directory.
const CONSOLE: &str = "console";

/// iPXE and the firmware that starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipxe {
    directory: PathBuf,
}

impl Ipxe {
    /// Where the parts are or will be: in the directory that `BRAMBLE_CACHE` names, else in the user's cache.
    pub fn directory() -> Result<PathBuf> {
        Ok(cache()?.join(LAYOUT))
    }

    /// iPXE as `cargo xtask setup` left it, if there is a QEMU to run it.
    ///
    /// # Errors
    ///
    /// When either is missing; the message says what to do, and serves as a reason to skip.
    pub fn find() -> Result<Self> {
        let found = Self::in_directory(Self::directory()?);
        fs::metadata(found.program())
            .with_context(|| format!("iPXE: {} (cargo xtask setup gets it)", found.program().display()))?;
        let emulator = emulator::stock();
        ensure!(
            emulator::has_machine(&emulator, MACHINE)?,
            "iPXE: {} has no machine {MACHINE}",
            emulator.display()
        );
        Ok(found)
    }

    /// The parts in `directory`, which `setup` is filling.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// iPXE, an EFI application.
    pub fn program(&self) -> PathBuf {
        self.directory.join("ipxe-arm64.efi")
    }

    /// EDK2, the UEFI firmware of the `virt` board.
    pub fn firmware(&self) -> PathBuf {
        self.directory.join("QEMU_EFI.fd")
    }

    /// The version of Debian's package.
    pub fn version(&self) -> Result<String> {
        let file = self.directory.join("version");
        let version = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(version.trim().to_owned())
    }

    /// Starts it on `net`, with the MAC address that our boards have. It boots what DHCP names.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started.
    pub fn start(&self, net: &Net) -> Result<Running> {
        let directory = Directory::new()?;
        let mut command = Command::new(emulator::stock());
        command.args(["-machine", MACHINE, "-cpu", "cortex-a57", "-m", "512"]);
        command.args([
            "-accel",
            "tcg",
            "-display",
            "none",
            "-monitor",
            "none",
            "-no-reboot",
        ]);
        command.arg("-bios").arg(self.firmware());
        command.arg("-kernel").arg(self.program());
        command.args(["-netdev", net.netdev()]);
        let mac = Firmware::default().mac_text();
        command.args([
            "-device",
            &format!("virtio-net-pci,netdev=net0,mac={mac},romfile="),
        ]);
        let console = directory.path().join(CONSOLE);
        let file = |path: &Path| fs::File::create(path).with_context(|| path.display().to_string());
        command.args(["-serial", "stdio"]);
        let child = command
            .stdin(Stdio::null())
            .stdout(file(&console)?)
            .stderr(file(&directory.path().join("stderr"))?)
            .spawn()
            .with_context(|| format!("iPXE: {}", command.get_program().display()))?;
        Ok(Running { child, directory })
    }
}

/// iPXE that runs. Dropping it ends the emulator.
#[derive(Debug)]
pub struct Running {
    child: Child,
    directory: Directory,
}

impl Running {
    /// The console so far, and QEMU's error output.
    pub fn text(&self) -> String {
        let read = |name| fs::read(self.directory.path().join(name)).unwrap_or_default();
        let (console, complaints) = (read(CONSOLE), read("stderr"));
        String::from_utf8_lossy(&[console, complaints].concat()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
