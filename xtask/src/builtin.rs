//! Builds the built-in payload, which stands in for Linux.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::elf::Elf;
use crate::program::{cargo, execute};
use crate::rust_target::TARGET;

/// Leaves `target/payload.img` and gives its path.
pub(crate) fn build() -> Result<PathBuf> {
    let flags = [
        "-Crelocation-model=pie",
        "-Clink-arg=-pie",
        "-Clink-arg=--no-dynamic-linker",
        "-Clink-arg=-znotext",
        "-Clink-arg=-Tqemu/payload/link.ld",
    ];
    let mut command = cargo();
    command
        .args(["build", "--release", "--package", "payload", "--target", TARGET])
        // A directory of its own: other flags would have the firmware's libraries built again each time.
        .args(["--target-dir", "target/payload"])
        // In place of those for the firmware, whose link script has other ideas.
        .env("RUSTFLAGS", flags.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    execute(&mut command).context("payload")?;
    let built = fs::read(format!("target/payload/{TARGET}/release/payload")).context("payload")?;
    let file = PathBuf::from("target/payload.img");
    fs::write(&file, Elf::new(&built)?.flat()?).context("payload")?;
    Ok(file)
}
