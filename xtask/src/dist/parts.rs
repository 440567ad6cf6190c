//! The parts, and everything that is written, which is made of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use qemu::firmware::card::{self, Layout};
use sha2::{Digest, Sha256};

use super::pi::{self, Files};
use super::{bill, tree};
use crate::image::{self, Profile};
use crate::program::output;
use crate::rust_target::TARGET;

/// What is written, for a person.
pub(super) const TOLD: &str =
    "kernel8.img, boot/, tftp/, sd.img, boot.img, bramble.cdx.json, build-info.txt, SHA256SUMS, README.txt";

/// What all the rest follows from.
pub(super) struct Parts {
    kernel: Vec<u8>,
    /// Of the Pi's own firmware.
    pi: Files,
    bill: String,
    build: String,
}

impl Parts {
    /// Builds the kernel of a checkout, where the set-up is done.
    pub(super) fn of(checkout: &Path, commit: String, pi: Files) -> Result<Self> {
        let image = image::compile_in(checkout, Profile::Release)?;
        image.within_budget()?;
        let kernel = fs::read(&image.file).context("dist: the image")?;
        let rustc = output(Command::new("rustc").arg("--version").current_dir(checkout))?;
        let rustc = rustc.trim();
        let version = env!("CARGO_PKG_VERSION");
        Ok(Self {
            bill: bill::of_kernel(checkout, &hex(&kernel), rustc)?,
            build: format!("version: {version}\ncommit: {commit}\nrustc: {rustc}\ntarget: {TARGET}\n"),
            kernel,
            pi,
        })
    }

    /// Everything, which follows from the parts alone.
    // D-211
    pub(super) fn files(&self) -> Result<Files> {
        let tree = tree::of(&self.kernel, &self.pi)?;
        let below = |folder: &str| -> Files {
            let named = |(path, bytes): &(String, Vec<u8>)| (format!("{folder}/{path}"), bytes.clone());
            tree.iter().map(named).collect()
        };
        let mut files = vec![
            ("README.txt".to_owned(), tree::README.into()),
            (
                "boot.img".to_owned(),
                card::image(Layout::BootImage, &pi::of_a_pi_4(&tree))?,
            ),
            ("bramble.cdx.json".to_owned(), self.bill.clone().into()),
            ("build-info.txt".to_owned(), self.build.clone().into()),
            ("kernel8.img".to_owned(), self.kernel.clone()),
            ("sd.img".to_owned(), card::image(Layout::Card, &tree)?),
        ];
        files.extend(below("boot"));
        files.extend(below("tftp"));
        files.sort();
        // As `sha256sum --check` reads it.
        let sums: String = files
            .iter()
            .map(|(path, bytes)| format!("{}  {path}\n", hex(bytes)))
            .collect();
        files.push(("SHA256SUMS".to_owned(), sums.into()));
        Ok(files)
    }
}

/// The SHA-256 digest of `bytes`, in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use qemu::firmware;

    use super::*;
    use crate::scratch::Scratch;

    fn parts() -> Parts {
        let pi = [
            "bcm2711-rpi-4-b.dtb",
            "overlays/disable-bt.dtbo",
            "start.elf",
            "start4.elf",
        ];
        Parts {
            kernel: vec![8; 5000],
            pi: pi.map(|name| (name.to_owned(), name.into())).to_vec(),
            bill: "{}\n".to_owned(),
            build: "version: 1\n".to_owned(),
        }
    }

    #[test]
    fn what_is_written_twice_is_the_same() {
        let mut written = vec![];
        for name in ["one", "another-place"] {
            let place = std::env::temp_dir().join(format!("bramble-dist-{}-{name}", std::process::id()));
            let place = Scratch::new(&place).unwrap();
            firmware::write(&place.0, &parts().files().unwrap()).unwrap();
            let files = crate::payload::walk(&place.0).unwrap();
            let read = |file: &PathBuf| {
                let name = file.strip_prefix(&place.0).unwrap().to_owned();
                (name, fs::read(file).unwrap())
            };
            written.push(files.iter().map(read).collect::<Vec<_>>());
        }
        assert!(written[0] == written[1]);
        let names: Vec<_> = written[0]
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert!(
            TOLD.split(", ")
                .all(|told| names.iter().any(|name| name.starts_with(told)))
        );
        // Every file but the sums is in the sums.
        let sums = &written[0]
            .iter()
            .find(|(name, _)| name.ends_with("SHA256SUMS"))
            .unwrap()
            .1;
        let sums = String::from_utf8(sums.clone()).unwrap();
        for (name, bytes) in &written[0] {
            let line = format!("{}  {}\n", hex(bytes), name.display());
            assert_eq!(
                sums.contains(&line),
                !name.ends_with("SHA256SUMS"),
                "{}",
                name.display()
            );
        }
        assert_eq!(sums.lines().count(), names.len() - 1);
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(b"abc"), abc);
    }
}
