//! Syslinux itself, to compare with: Debian's PXELINUX and its menu modules, on a PC that QEMU emulates.
//!
//! QEMU's user network gives it its address and serves a directory by TFTP; what it asks for is read from the captured
//! frames. The guest's clock counts instructions and jumps over what it idles away, so that a menu's seconds pass in
//! milliseconds, and an answer does not depend on how busy the host is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::capture;
use crate::machine::{Directory, MONITOR};
use crate::monitor::Monitor;

/// The emulator.
const PROGRAM: &str = "qemu-system-i386";

/// The files of Debian's packages `pxelinux` and `syslinux-common` that a node fetches.
const PXELINUX: &str = "/usr/lib/PXELINUX/pxelinux.0";
const MODULES: &str = "/usr/lib/syslinux/modules/bios";

/// The files that are served. Any other file is absent, so a request for it shows what the menu chose.
const SERVED: [&str; 5] = [
    "ldlinux.c32",
    "libcom32.c32",
    "libutil.c32",
    "menu.c32",
    "vesamenu.c32",
];

/// The boot file, and the directory of the search for a menu.
const BOOT_FILE: &str = "pxelinux.0";
const SEARCHED: &str = "pxelinux.cfg/";
/// The last place of that search, where the menu is.
pub const MENU: &str = "pxelinux.cfg/default";

/// Endings of files that are part of a menu: a request for an absent one is no choice.
const MENUS: &str = ".cfg";

/// SeaBIOS's line when PXELINUX has left and the machine boots from its disks, of which there are none.
const NO_DISK: &str = "No bootable device";

/// A request within this time after a failed one is its consequence (ONERROR); every menu's clock must be longer.
const AT_ONCE: Duration = Duration::from_millis(1900);

/// The pause between two looks at QEMU.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The time limit for one menu, on a busy host.
const PATIENCE: Duration = Duration::from_secs(120);

/// Debian's Syslinux, and a PC for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslinux(());

/// The outcome of a menu.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The absent files that it asked for, as it named them: the first, and what followed at once.
    pub files: Vec<String>,
    /// Whether the machine booted from its disk.
    pub local: bool,
}

impl Syslinux {
    /// Syslinux as `cargo xtask setup` installed it.
    ///
    /// # Errors
    ///
    /// When something is missing; the message serves as a reason to skip.
    pub fn find() -> Result<Self> {
        let modules = SERVED.iter().map(|name| Path::new(MODULES).join(name));
        for file in modules.chain([PathBuf::from(PXELINUX)]) {
            fs::metadata(&file).with_context(|| {
                format!("Syslinux: {} (Debian: pxelinux, syslinux-common)", file.display())
            })?;
        }
        let version = Command::new(PROGRAM).arg("--version").output();
        version.with_context(|| format!("Syslinux: {PROGRAM} (Debian: qemu-system-x86)"))?;
        Ok(Self(()))
    }

    /// The version that its boot loader calls itself.
    pub fn version(&self) -> Result<String> {
        let bytes = fs::read(PXELINUX).context(PXELINUX)?;
        let text = String::from_utf8_lossy(&bytes);
        let (_, rest) = text.split_once("PXELINUX ").context("Syslinux: a version")?;
        Ok(rest
            .split([' ', '\0', '\r'])
            .next()
            .unwrap_or_default()
            .to_owned())
    }

    /// Boots a PC for which `files` are served, [`MENU`] among them, and waits until a file is asked for that is not
    /// there, until the machine is left to the disk, or until that has not happened `patience` (guest time) after the
    /// menu was asked for.
    ///
    /// # Errors
    ///
    /// When QEMU cannot be started, or never comes to the menu.
    pub fn boot(&self, files: &BTreeMap<String, Vec<u8>>, patience: Duration) -> Result<Outcome> {
        let directory = Directory::new()?;
        let root = directory.path().join("tftp");
        fs::create_dir_all(root.join(SEARCHED))?;
        let place = |name: &str| root.join(name);
        fs::copy(PXELINUX, place(BOOT_FILE)).context(PXELINUX)?;
        for name in SERVED {
            fs::copy(Path::new(MODULES).join(name), place(name)).context(name)?;
        }
        for (name, bytes) in files {
            fs::write(place(name), bytes).with_context(|| name.clone())?;
        }
        let mut running = Running::start(directory, &root)?;
        running.outcome(|name| place(name.trim_start_matches('/')).is_file(), patience)
    }
}

/// A PC that runs. Dropping it ends the emulator.
struct Running {
    child: Child,
    directory: Directory,
    monitor: Option<Monitor>,
}

impl Running {
    fn start(directory: Directory, root: &Path) -> Result<Self> {
        let path = |name: &str| directory.path().join(name).display().to_string();
        let mut command = Command::new(PROGRAM);
        command.args(["-machine", "pc", "-m", "64", "-accel", "tcg", "-display", "none"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-vga", "std"]);
        command.args(["-icount", "shift=6,sleep=off"]);
        command.args(["-rtc", &format!("clock=vm,base={}", capture::EPOCH)]);
        command.args([
            "-netdev",
            &format!("user,id=net0,tftp={},bootfile={BOOT_FILE}", root.display()),
        ]);
        command.args(["-device", "virtio-net-pci,netdev=net0,bootindex=0"]);
        command.args([
            "-object",
            &format!("filter-dump,id=dump,netdev=net0,file={}", path("pcap")),
        ]);
        // SeaBIOS's log.
        command.args(["-debugcon", &format!("file:{}", path("bios"))]);
        command.args(["-global", "isa-debugcon.iobase=0x402"]);
        command.args(["-qmp", &format!("unix:{},server,nowait", path(MONITOR))]);
        let errors = fs::File::create(path("stderr"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .context(PROGRAM)?;
        Ok(Self {
            child,
            directory,
            monitor: None,
        })
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(name)).unwrap_or_default()
    }

    fn outcome(&mut self, served: impl Fn(&str) -> bool, patience: Duration) -> Result<Outcome> {
        let deadline = Instant::now() + PATIENCE;
        let is_menu = |name: &str| name.starts_with(SEARCHED) || name.ends_with(MENUS);
        loop {
            thread::sleep(LOOK_EVERY);
            if let Some(status) = self.child.try_wait()? {
                let errors = self.read("stderr");
                bail!("{PROGRAM}: {status}: {}", String::from_utf8_lossy(&errors));
            }
            ensure!(Instant::now() < deadline, "Syslinux: no end after {PATIENCE:?}");
            let now = self.guest_time()?;
            let requests = self.requests()?;
            let Some((began, _)) = requests.iter().find(|(_, name)| name == MENU) else {
                continue;
            };
            let local = String::from_utf8_lossy(&self.read("bios")).contains(NO_DISK);
            let mut absent = requests
                .iter()
                .filter(|(_, name)| !is_menu(name) && !served(name));
            let first = absent.clone().next().map(|(time, _)| *time);
            let until = first.map_or(*began + patience, |first| first + AT_ONCE);
            if now < until && !local {
                continue;
            }
            let files = absent
                .by_ref()
                .take_while(|(time, _)| *time < until)
                .map(|(_, name)| name.clone())
                .collect();
            return Ok(Outcome { files, local });
        }
    }

    /// The files requested by TFTP so far, each with its time.
    fn requests(&self) -> Result<Vec<(Duration, String)>> {
        let pcap = self.directory.path().join("pcap");
        if fs::metadata(&pcap).map_or(0, |file| file.len()) == 0 {
            return Ok(vec![]);
        }
        let asked = |frame: &capture::Frame| {
            let name = frame.udp_to(69)?.strip_prefix(&[0, 1])?;
            let name = name.split(|byte| *byte == 0).next()?;
            Some((frame.time, String::from_utf8_lossy(name).into_owned()))
        };
        Ok(capture::frames(&pcap)?.iter().filter_map(asked).collect())
    }

    /// Guest time since reset, to the second.
    fn guest_time(&mut self) -> Result<Duration> {
        if self.monitor.is_none() {
            // QEMU creates its socket some time after its start.
            self.monitor = Monitor::connect(&self.directory.path().join(MONITOR)).ok();
        }
        self.monitor
            .as_mut()
            .map_or(Ok(Duration::ZERO), Monitor::time_of_day)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
