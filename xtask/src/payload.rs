//! Gets the demo payload: Debian's arm64 kernel, its modules and device trees, a static busybox, and U-Boot.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use qemu::payload::{DEVICE_TREES, NIC_MODULES, POWER_MODULES, Payload, RANDOM_MODULES, load_order};

use crate::apt::{self, Apt, KEYRING};
use crate::program::{on_path, output};
use crate::step::{Outcome, made_whole};

/// The release that the payload comes from, whatever the system's: one kernel for everybody's tests.
const RELEASE: &str = "bookworm";

/// Makes sure that [`Payload::find`] finds it.
pub(crate) fn ensure() -> Result<Outcome> {
    let directory = Payload::directory()?;
    if Payload::find().is_ok() {
        let version = fs::read_to_string(directory.join("version")).unwrap_or_default();
        return Ok(Outcome::Present(format!(
            "{} in {}",
            version.trim(),
            directory.display()
        )));
    }
    if !on_path("apt-get") || !on_path("dpkg-deb") {
        bail!("no apt to take Debian's kernel from; the built-in payload stands in");
    }
    made_whole(&directory, make, || Payload::find().is_ok())
}

/// Fills `directory`; gives the kernel's version.
fn make(directory: &Path) -> Result<String> {
    let work = directory.join("work");
    let apt = Apt::new(&work.join("apt"), "arm64", RELEASE, KEYRING)?;
    apt.update()?;
    let newest = apt.download("linux-image-arm64")?;
    let name = apt::depends(&newest)?
        .into_iter()
        .next()
        .context("linux-image-arm64 depends on no kernel")?;
    let kernel = apt.download(&name)?;
    let busybox = apt.download("busybox-static")?;
    let u_boot = apt.download("u-boot-rpi")?;
    let unpacked = work.join("unpacked");
    for package in [&kernel, &busybox, &u_boot] {
        apt::unpack(package, &unpacked)?;
    }
    let files = walk(&unpacked)?;
    let find = |wanted: &str| {
        let found = files.iter().find(|file| file.ends_with(wanted));
        found.with_context(|| format!("{name}: no {wanted}"))
    };
    let image = files
        .iter()
        .find(|file| file.to_string_lossy().contains("/boot/vmlinuz-"));
    copy(
        image.with_context(|| format!("{name}: no kernel"))?,
        &directory.join("vmlinuz"),
    )?;
    copy(find("bin/busybox")?, &directory.join("busybox"))?;
    // Its one image for all 64-bit boards; the package has others for one board each.
    copy(find("rpi_arm64/u-boot.bin")?, &directory.join("u-boot.bin"))?;
    for tree in DEVICE_TREES {
        copy(find(&format!("broadcom/{tree}"))?, &directory.join(tree))?;
    }
    let modules = modules(&files);
    fs::create_dir_all(directory.join("modules"))?;
    let nics = NIC_MODULES.iter().map(|(_, modules)| *modules);
    for wanted in nics.chain([&POWER_MODULES[..], &RANDOM_MODULES[..]]) {
        let read = |name: &str| {
            let file = modules
                .get(&spelling(name))
                .with_context(|| format!("no module {name}"))?;
            fs::read(file).with_context(|| file.display().to_string())
        };
        for module in load_order(wanted, &read)? {
            fs::write(directory.join(format!("modules/{module}.ko")), read(&module)?)?;
        }
    }
    let version = output(Command::new("dpkg-deb").arg("-f").arg(&kernel).arg("Version"))?;
    let version = format!("{name} {}", version.trim());
    fs::write(directory.join("version"), &version)?;
    fs::remove_dir_all(&work)?;
    Ok(version)
}

/// Every regular file below `directory`.
pub(crate) fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                left.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Kernel modules by name.
fn modules(files: &[PathBuf]) -> HashMap<String, &Path> {
    let modules = files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "ko"));
    modules
        .filter_map(|file| Some((spelling(&file.file_stem()?.to_string_lossy()), file.as_path())))
        .collect()
}

/// A module's name and its file's name may differ in `-` and `_`.
fn spelling(name: &str) -> String {
    name.replace('-', "_")
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}
