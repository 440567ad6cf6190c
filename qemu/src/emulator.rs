//! The QEMU programs: the stock one from the PATH, and our own with the models of `qemu/models/`, which
//! `cargo xtask qemu` builds into the cache.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::payload::cache;

/// The releases of QEMU that the patch is for.
pub const SERIES: &str = "10.0";

/// Each file of a model or plugin, below `qemu/`, and its directory in QEMU's source.
pub const SOURCES: &[(&str, &str)] = &[
    ("models/bcm2711-genet/bcm2711_genet.c", "hw/net"),
    ("models/bcm2711-genet/bcm2711_genet.h", "include/hw/net"),
    ("models/bcm2711-genet/bcm54213pe.c", "hw/net"),
    ("models/bcm2711-genet/bcm54213pe.h", "include/hw/net"),
    ("models/brcm-l2-intc/brcm_l2_intc.c", "hw/intc"),
    ("models/brcm-l2-intc/brcm_l2_intc.h", "include/hw/intc"),
    ("models/iproc-rng200/iproc_rng200.c", "hw/misc"),
    ("models/iproc-rng200/iproc_rng200.h", "include/hw/misc"),
    ("models/usb-hub-hs/dev-hub-hs.c", "hw/usb"),
    ("models/usb-lan/dev-lan.c", "hw/usb"),
    ("models/usb-lan/dev-lan.h", "hw/usb"),
    ("models/usb-lan7800/dev-lan7800.c", "hw/usb"),
    ("models/usb-lan9514/dev-lan9514.c", "hw/usb"),
    ("plugins/coherence.c", "contrib/plugins"),
    ("plugins/executed.c", "contrib/plugins"),
];

/// The patch that adds them to QEMU's build, below `qemu/`.
pub const PATCH: &str = "models/qemu-10.0.patch";

/// The arguments of `configure`: only what a Pi has. `bramble` is the list of devices in the patch.
pub const CONFIGURE: [&str; 13] = [
    "--target-list=aarch64-softmmu",
    "--without-default-features",
    "--without-default-devices",
    "--with-devices-aarch64=bramble",
    "--enable-system",
    "--enable-tcg",
    "--enable-plugins",
    "--enable-slirp",
    "--enable-fdt=system",
    "--disable-docs",
    "--disable-debug-info",
    // PYTHON must bring its packages; nothing is downloaded for it either.
    "--disable-download",
    "--disable-install-blobs",
];

/// The Python packages that `configure` needs, in pip's syntax: exactly these.
pub const PYTHON: [&str; 2] = [
    "meson==1.5.2 --hash=sha256:77706e2368a00d789c097632ccf4fc39251fba56d03e1e1b262559a3c7a08f5b",
    "pycotap==1.3.1 --hash=sha256:1c3a25b3ff89e48f4e00f1f71dbbc1642b4f65c65d416524d07e73492fff25ea",
];

/// The programs that are built, below the build's directory; each is installed under its file name.
pub const BUILT: [&str; 4] = [
    PROGRAM,
    "tests/tcg/plugins/libinsn.so",
    "contrib/plugins/libcoherence.so",
    "contrib/plugins/libexecuted.so",
];

const PROGRAM: &str = "qemu-system-aarch64";

/// QEMU's own plugin that counts instructions.
const COUNTER: &str = "libinsn.so";

/// Our plugin that counts how often each of them is executed.
const PROFILER: &str = "libexecuted.so";

/// Our plugin that models what caches may do.
const CACHES: &str = "libcoherence.so";

/// The directory of the sources and the patch.
pub fn sources() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of the cache for our emulator; its name is a hash of everything the emulator is built from (D-53).
///
/// # Errors
///
/// When a source cannot be read, or there is no cache.
pub fn directory() -> Result<PathBuf> {
    let mut hash = Fnv::new();
    hash.add(SERIES.as_bytes());
    for option in CONFIGURE.iter().chain(&PYTHON).chain(&BUILT) {
        hash.add(option.as_bytes());
    }
    for &(file, place) in SOURCES {
        hash.add(place.as_bytes());
        hash.add_file(file)?;
    }
    hash.add_file(PATCH)?;
    Ok(cache()?.join(format!("qemu-{:016x}", hash.0)))
}

/// FNV-1a, 64 bits: it tells our own files apart, and no attacker is expected.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds the length too, so that no two lists of parts run together into the same bytes.
    fn add(&mut self, part: &[u8]) {
        let length = (part.len() as u64).to_le_bytes();
        for &byte in length.iter().chain(part) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn add_file(&mut self, name: &str) -> Result<()> {
        let file = sources().join(name);
        self.add(name.as_bytes());
        self.add(&fs::read(&file).with_context(|| format!("qemu: {}", file.display()))?);
        Ok(())
    }
}

/// The program that `BRAMBLE_QEMU` names.
fn chosen() -> Option<PathBuf> {
    std::env::var_os("BRAMBLE_QEMU").map(PathBuf::from)
}

/// `BRAMBLE_QEMU`, else the PATH's.
pub(crate) fn stock() -> PathBuf {
    chosen().unwrap_or_else(|| PathBuf::from(PROGRAM))
}

/// `BRAMBLE_QEMU`, else our own.
pub(crate) fn with_models() -> Result<PathBuf> {
    match chosen() {
        Some(program) => Ok(program),
        None => built(PROGRAM),
    }
}

/// The plugin that counts instructions, which only our own emulator is sure to load.
pub(crate) fn counter() -> Result<PathBuf> {
    built(COUNTER)
}

/// The plugin that counts how often each instruction was executed.
pub(crate) fn profiler() -> Result<PathBuf> {
    built(PROFILER)
}

/// The plugin that models what caches may do.
pub(crate) fn caches() -> Result<PathBuf> {
    built(CACHES)
}

/// Our own emulator's directory, when it has been built.
///
/// # Errors
///
/// When it has not; the message says what to do, and serves as a reason to skip.
pub fn installed() -> Result<PathBuf> {
    let directory = directory()?;
    ensure!(
        directory.is_dir(),
        "no emulator with our models (cargo xtask qemu builds it)"
    );
    Ok(directory)
}

fn built(name: &str) -> Result<PathBuf> {
    Ok(installed()?.join(name))
}

/// Whether `program` has this machine.
pub(crate) fn has_machine(program: &Path, machine: &str) -> Result<bool> {
    let listed = ask(program, "-machine", "help")?;
    Ok(listed
        .lines()
        .any(|line| line.split_whitespace().next() == Some(machine)))
}

/// Whether `program` has this device. QEMU's list leaves out devices that only a board can hold, so its help is asked for.
pub(crate) fn has_device(program: &Path, device: &str) -> Result<bool> {
    let options = ask(program, "-device", &format!("{device},help"))?;
    Ok(options.contains(device))
}

/// The help text of `program`. Only a text is cached, because set-up may install QEMU later.
fn ask(program: &Path, option: &str, value: &str) -> Result<String> {
    static ANSWERS: Mutex<Option<HashMap<[String; 3], String>>> = Mutex::new(None);
    let question = [program.display().to_string(), option.to_owned(), value.to_owned()];
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let answers = answers.get_or_insert_default();
    if let Some(known) = answers.get(&question) {
        return Ok(known.clone());
    }
    let output = Command::new(program)
        .args([option, value])
        .output()
        .with_context(|| program.display().to_string())?;
    ensure!(
        output.status.success(),
        "{} {option} {value}: {}",
        program.display(),
        output.status
    );
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    answers.insert(question, answer.clone());
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_source_has_its_place_in_qemu() {
        let mut found = BTreeSet::new();
        let mut search = |directory: &str| {
            for file in fs::read_dir(sources().join(directory)).unwrap() {
                let name = file.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".c") || name.ends_with(".h") {
                    found.insert(format!("{directory}/{name}"));
                }
            }
        };
        for model in fs::read_dir(sources().join("models")).unwrap() {
            let model = model.unwrap();
            if model.file_type().unwrap().is_dir() {
                search(&format!("models/{}", model.file_name().to_str().unwrap()));
            }
        }
        search("plugins");
        let placed = SOURCES.iter().map(|(file, _)| (*file).to_owned());
        assert_eq!(found, placed.collect());
    }

    #[test]
    fn the_hash_is_fnv_1a_of_lengths_and_parts() {
        let hash = |parts: &[&str]| {
            let mut hash = Fnv::new();
            parts.iter().for_each(|part| hash.add(part.as_bytes()));
            hash.0
        };
        assert_eq!(hash(&[]), 0xcbf2_9ce4_8422_2325);
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&["a"]), hash(&["a", ""]));
    }
}
