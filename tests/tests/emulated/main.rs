//! The real image on emulated boards: Debian, a real LAN, every place in memory, failures, a person's keys, faults.
//!
//! What a boot says is read from its console, as a person would. A test whose machine, image or program is missing is
//! skipped with the reason.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use object::{Object, ObjectSymbol};
use qemu::http::{Answer, Server};
use qemu::{Board, Machine, Net, Payload, Qemu};
use sha2::{Digest, Sha256};

/// Gives what a test needs, or says why the test is skipped and returns from it.
macro_rules! require {
    ($needs:expr) => {
        match $needs {
            Ok(found) => found,
            Err(reason) => {
                let here = || ();
                let name = std::any::type_name_of_val(&here).trim_end_matches("::{{closure}}");
                qemu::skip(name, format!("{reason:#}"));
                return;
            }
        }
    };
}

mod assembly;
mod cache;
mod conditions;
mod debian;
mod defmt;
mod differential;
mod dist;
mod dwc2;
mod failures;
mod faults;
mod feeds;
mod first_stage;
mod formats;
mod frames;
mod genet_model;
mod giants;
mod heap;
mod lan;
mod links;
mod linux_drivers;
mod mailbox_model;
mod migration;
mod model_faults;
mod no_network;
mod ports;
mod position;
mod randomness;
mod recipes;
mod recovery;
mod script;
mod servers;
mod soak;
mod syslinux;
mod terminal;
mod uboot;
mod watchdog;

/// For each line that is waited for, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

/// The last line of the built-in payload.
const HELLO: &str = "^hello: built-in payload$";

/// What the built-in payload says of the initrd that it got: its length and CRC-32, in hexadecimal.
const INITRD: &str = "^payload: initrd ([0-9]+) bytes at 0x[0-9a-f]{16}, CRC-32 0x0{8}([0-9a-f]{8})$";

/// The place of a Pi 4's random number generator in QEMU's tree of objects.
const RNG200: &str = "/machine/soc/peripherals/rng200";

/// The release image.
const RELEASE: &str = "kernel8.img";

/// The image with assertions.
const DEBUG: &str = "kernel8-debug.img";

/// A board and an image of ours to try on it.
fn machine(board: Board, image: &str) -> Result<Machine> {
    on(board, qemu::image(image)?)
}

/// A board and any image.
fn on(board: Board, image: impl Into<PathBuf>) -> Result<Machine> {
    if let Some(reason) = board.unavailable() {
        anyhow::bail!("{}: {reason}", board.name());
    }
    Ok(Machine::new(board, image))
}

/// The built-in payload, which says hello within a second.
fn tiny_payload() -> Result<PathBuf> {
    qemu::image("payload.img")
}

/// The address of a symbol of the image, from its base, for tests that look behind the console.
fn symbol(elf: &str, name: &str) -> Result<u64> {
    let bytes = fs::read(qemu::image(elf)?)?;
    let file = object::File::parse(&*bytes)?;
    let symbol = file
        .symbol_by_name(name)
        .with_context(|| format!("{elf}: no {name}"))?;
    Ok(symbol.address())
}

/// A web server whose `/menu` boots the built-in payload.
fn tiny_site() -> Result<Server> {
    let server = Server::start()?;
    server.put(
        "/menu",
        Answer::ok("DEFAULT tiny\nLABEL tiny\n  LINUX payload.img\n  APPEND one two\n"),
    );
    server.put("/payload.img", Answer::file(tiny_payload()?));
    Ok(server)
}

/// QEMU's user network with `path` on `server` as DHCP's boot file.
fn boot_file(server: &Server, path: &str) -> Net {
    Net::user().boot_file(server.url(path))
}

/// Debian's kernel and initrd.
fn debian() -> Result<Payload> {
    Payload::find().context("Debian")
}

/// The SHA-256 of `bytes`, in the form of sha256sum.
fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file or directory that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    /// A name that no other test takes, in this process or another.
    fn path(name: &str) -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("bramble-{}-{number}-{name}", std::process::id()))
    }

    /// A file with this content.
    fn file(name: &str, content: &[u8]) -> Self {
        let path = Self::path(name);
        fs::write(&path, content).unwrap();
        Self(path)
    }

    /// An empty directory.
    fn directory(name: &str) -> Self {
        let path = Self::path(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's directory for temporary files.
        let _ = fs::remove_file(&self.0).or_else(|_| fs::remove_dir_all(&self.0));
    }
}

/// What the models have to say about a driver: `machine` writes it into `log`.
fn logging(machine: Machine, log: &Scratch) -> Machine {
    let words = ["-d", "guest_errors", "-D"];
    words
        .into_iter()
        .fold(machine, Machine::argument)
        .argument(&log.0)
}

/// What stands in such a log: what a driver should not have done.
fn guest_errors(log: &Scratch) -> Vec<String> {
    // A UART that the firmware left switched off says so when it is written to (`CR` is 0x300 then).
    const MODELS: [&str; 10] = [
        "PL011",
        "bcm2711-genet",
        "bcm54213pe",
        "usb-lan",
        "lan9514",
        "lan7800",
        "usb-hub-",
        "iproc-rng200",
        "brcm-l2-intc",
        "dwc2_",
    ];
    let text = fs::read_to_string(&log.0).unwrap();
    text.lines()
        .filter(|line| MODELS.iter().any(|model| line.starts_with(model)))
        .map(str::to_owned)
        .collect()
}

/// The guest powers off or resets, and QEMU has nothing to complain about.
fn ends(qemu: &mut Qemu) {
    let status = qemu.wait(PATIENCE).unwrap();
    assert!(status.success(), "{status}: {}", qemu.complaints());
}
