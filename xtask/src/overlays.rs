//! Gets what overlays are tried on: Debian's own from `raspi-firmware`, and the trees of a kernel of its that have labels.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use qemu::payload::LABELLED_TREES;

use crate::apt::{self, Apt, KEYRING};
use crate::payload::{copy, walk};
use crate::program::on_path;
use crate::step::{Outcome, made_whole};

/// The first release whose trees have labels.
const KERNEL: &str = "trixie";
/// Older ones have no overlays, or two.
const FIRMWARE: &str = "sid";

/// Makes sure of them.
pub(crate) fn ensure() -> Result<Outcome> {
    let directory = qemu::payload::overlays()?;
    if directory.is_dir() {
        return Ok(Outcome::Present(directory.display().to_string()));
    }
    if !on_path("apt-get") || !on_path("dpkg-deb") {
        bail!("no apt to take Debian's overlays from; their test is skipped");
    }
    made_whole(&directory, make, || directory.is_dir())
}

/// Fills `directory`; says with how many.
fn make(directory: &Path) -> Result<String> {
    let work = directory.join("work");
    let unpacked = work.join("unpacked");
    let firmware = Apt::section(
        &work.join("firmware"),
        "arm64",
        FIRMWARE,
        "non-free-firmware",
        KEYRING,
    )?;
    firmware.update()?;
    apt::unpack(&firmware.download("raspi-firmware")?, &unpacked)?;
    let kernel = Apt::new(&work.join("kernel"), "arm64", KERNEL, KEYRING)?;
    kernel.update()?;
    let name = apt::depends(&kernel.download("linux-image-arm64")?)?
        .into_iter()
        .next()
        .context("linux-image-arm64 depends on no kernel")?;
    apt::unpack(&kernel.download(&name)?, &unpacked)?;
    let files = walk(&unpacked)?;
    for tree in LABELLED_TREES {
        let found = files
            .iter()
            .find(|file| file.ends_with(format!("broadcom/{tree}")));
        copy(
            found.with_context(|| format!("{name}: no {tree}"))?,
            &directory.join(tree),
        )?;
    }
    let mut count = 0;
    for overlay in &files {
        // The kernel has some for other boards.
        let is_firmwares = overlay
            .parent()
            .is_some_and(|parent| parent.ends_with("raspi-firmware/overlays"));
        if is_firmwares && overlay.extension().is_some_and(|extension| extension == "dtbo") {
            let file = overlay.file_name().context("an overlay without a name")?;
            copy(overlay, &directory.join(file))?;
            count += 1;
        }
    }
    fs::remove_dir_all(&work)?;
    Ok(format!("{count} overlays"))
}
