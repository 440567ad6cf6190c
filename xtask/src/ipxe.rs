//! Gets iPXE for the comparison with it: Debian's build for arm64, and the UEFI firmware that starts it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use qemu::ipxe::Ipxe;

use crate::apt::{self, Apt, KEYRING};
use crate::program::{on_path, output};
use crate::step::{Outcome, made_whole};

/// The first release whose package has an iPXE for arm64.
const RELEASE: &str = "trixie";

/// Makes sure that [`Ipxe::find`] finds it.
pub(crate) fn ensure() -> Result<Outcome> {
    let directory = Ipxe::directory()?;
    let ipxe = Ipxe::in_directory(&directory);
    if ipxe.program().is_file() {
        let version = ipxe.version()?;
        return Ok(Outcome::Present(format!("{version} in {}", directory.display())));
    }
    if !on_path("apt-get") || !on_path("dpkg-deb") {
        bail!("no apt to take Debian's iPXE from");
    }
    made_whole(&directory, make, || ipxe.program().is_file())
}

/// Fills `directory`; gives iPXE's version.
fn make(directory: &Path) -> Result<String> {
    let work = directory.join("work");
    let apt = Apt::new(&work.join("apt"), "arm64", RELEASE, KEYRING)?;
    apt.update()?;
    let package = apt.download("ipxe")?;
    let firmware = apt.download("qemu-efi-aarch64")?;
    let unpacked = work.join("unpacked");
    for package in [&package, &firmware] {
        apt::unpack(package, &unpacked)?;
    }
    let ipxe = Ipxe::in_directory(directory);
    for (from, to) in [
        ("usr/lib/ipxe/ipxe-arm64.efi", ipxe.program()),
        ("usr/share/qemu-efi-aarch64/QEMU_EFI.fd", ipxe.firmware()),
    ] {
        let from = unpacked.join(from);
        fs::copy(&from, &to).with_context(|| from.display().to_string())?;
    }
    let version = output(Command::new("dpkg-deb").arg("-f").arg(&package).arg("Version"))?;
    let version = version.trim().to_owned();
    fs::write(directory.join("version"), &version)?;
    fs::remove_dir_all(&work)?;
    Ok(version)
}
