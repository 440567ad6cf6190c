//! Builds kernel8.img: the `kernel` package's ELF file, flattened, with a table of where its bytes went.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::elf::{Elf, Section};
use crate::erratum;
use crate::program::{cargo, execute};
use crate::rust_target::TARGET;
use crate::setup;

/// Bytes that the release image may have.
// D-209
const BUDGET: usize = 800 * 1024;

/// Which build of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// What goes onto an SD card.
    Release,
    /// With assertions and less optimisation.
    Debug,
    /// The release build with defmt frames on the UART.
    Defmt,
}

/// A built image.
#[derive(Debug)]
pub(crate) struct Image {
    /// The file for the SD card.
    pub(crate) file: PathBuf,
    profile: Profile,
    size: usize,
    sections: Vec<Section>,
}

impl Profile {
    pub(crate) fn parse(arguments: &mut lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let mut profile = Self::Release;
        while let Some(argument) = arguments.next()? {
            profile = match argument {
                Long("debug") => Self::Debug,
                Long("defmt") => Self::Defmt,
                other => return Err(other.unexpected().into()),
            };
        }
        Ok(profile)
    }

    /// The file's name, without an extension.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "kernel8",
            Self::Debug => "kernel8-debug",
            Self::Defmt => "kernel8-defmt",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Release => &["--release"],
            Self::Debug => &["--profile", "image-debug"],
            Self::Defmt => &["--release", "--features", "defmt"],
        }
    }
}

/// Does the set-up, builds, and leaves `target/<name>.img` and `.elf`.
pub(crate) fn build(profile: Profile) -> Result<Image> {
    let missing = setup::run(setup::Goal::Image).missing;
    ensure!(missing.is_empty(), "image: {}", missing.join("; "));
    compile(profile)
}

/// Builds, where the set-up is done.
pub(crate) fn compile(profile: Profile) -> Result<Image> {
    compile_in(Path::new("."), profile)
}

/// Builds the image of a checkout below that.
pub(crate) fn compile_in(checkout: &Path, profile: Profile) -> Result<Image> {
    let mut command = cargo();
    command.current_dir(checkout).args([
        "build",
        "--package",
        "kernel",
        "--bin",
        "kernel8",
        "--target",
        TARGET,
        "--target-dir",
        "target",
    ]);
    command.args(["--config", &short_paths(checkout)?]);
    execute(command.args(profile.arguments())).context("image")?;
    let directory = match profile {
        Profile::Release | Profile::Defmt => "release",
        Profile::Debug => "image-debug",
    };
    let target = checkout.join("target");
    let built = target.join(format!("{TARGET}/{directory}/kernel8"));
    let bytes = fs::read(&built).with_context(|| format!("image: {}", built.display()))?;
    let elf = Elf::new(&bytes).with_context(|| format!("image: {}", built.display()))?;
    let flat = elf.flat()?;
    sound_on_a53(&elf)?;
    let file = target.join(format!("{}.img", profile.name()));
    put(&file.with_extension("elf"), &bytes)?;
    put(&file, &flat)?;
    Ok(Image {
        file,
        profile,
        size: flat.len(),
        sections: elf.sections()?,
    })
}

/// Writes a file that others may be reading: they have the old one or the new.
fn put(file: &Path, bytes: &[u8]) -> Result<()> {
    let new = file.with_added_extension("new");
    let put = fs::write(&new, bytes).and_then(|()| fs::rename(&new, file));
    put.with_context(|| format!("image: {}", file.display()))
}

/// An error when a Cortex-A53 may compute something in the image wrongly (D-181).
fn sound_on_a53(elf: &Elf<'_>) -> Result<()> {
    let text = ".text";
    let sites = erratum::sites(elf.content(text)?);
    let Some(&first) = sites.first() else {
        return Ok(());
    };
    let base = elf.sections()?.into_iter().find(|section| section.name == text);
    let address = base.map_or(0, |section| section.address) + first as u64;
    let functions = elf.functions()?;
    let within = functions.iter().find(|function| function.holds(address));
    let name = within.map_or("no function", |function| function.name.as_str());
    bail!(
        "image: {} sums that a Cortex-A53 may get wrong (erratum 835769), the first at {address:#x}, in {name}",
        sites.len()
    )
}

/// Cargo configuration that leaves this machine's directories out of the panic messages: they cost 2 KB, and the same
/// source should make the same image everywhere. Those of a `core` that set-up built from rust-src stay.
fn short_paths(checkout: &Path) -> Result<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.map(|home| home.join("registry/src")).unwrap_or_default();
    let registries = fs::read_dir(sources)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let flags: Vec<String> = registries
        .chain([fs::canonicalize(checkout).context("image")?])
        .map(|directory| format!("{:?}", format!("--remap-path-prefix={}/=", directory.display())))
        .collect();
    Ok(format!("target.{TARGET}.rustflags=[{}]", flags.join(",")))
}

impl Image {
    /// The size table.
    pub(crate) fn print(&self) {
        println!("{:<16} {:>10} {:>9}", "section", "address", "bytes");
        for section in &self.sections {
            let note = if section.stored { "" } else { "  memory only" };
            println!(
                "{:<16} {:>#10x} {:>9}{note}",
                section.name, section.address, section.size
            );
        }
        let budget = match self.profile {
            Profile::Release => format!("  of a budget of {BUDGET}"),
            Profile::Debug | Profile::Defmt => String::new(),
        };
        let file = self.file.strip_prefix(".").unwrap_or(&self.file);
        println!("{:<27} {:>9}{budget}", file.display(), self.size);
    }

    /// An error when the release image is larger than it may be.
    pub(crate) fn within_budget(&self) -> Result<()> {
        let (size, profile) = (self.size, self.profile);
        ensure!(
            profile != Profile::Release || size <= BUDGET,
            "image: {size} bytes, over the budget of {BUDGET}"
        );
        Ok(())
    }
}
