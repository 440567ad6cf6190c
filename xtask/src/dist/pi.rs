//! What comes from the Pi's own firmware, which is not ours to ship: which of its files, from where, and what is missing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Files by their paths.
pub(super) type Files = Vec<(String, Vec<u8>)>;

/// Where Debian's package raspi-firmware has the programs; it has no device trees and no overlays.
const DEBIAN: &str = "/usr/lib/raspi-firmware";

/// What a board needs, and what comes of it when it is missing.
const NEEDED: [(&str, &str); 9] = [
    ("start4.elf", "no Pi 4 starts"),
    ("fixup4.dat", "a Pi 4 has 128 MiB of memory"),
    ("bcm2711-rpi-4-b.dtb", "a Pi 4B has no device tree"),
    ("bootcode.bin", "no Pi 3 starts"),
    ("start.elf", "no Pi 3 starts"),
    ("fixup.dat", "a Pi 3 has 128 MiB of memory"),
    ("bcm2710-rpi-3-b.dtb", "a Pi 3B has no device tree"),
    ("bcm2710-rpi-3-b-plus.dtb", "a Pi 3B+ has no device tree"),
    ("overlays/disable-bt.dtbo", "the console is the mini-UART"),
];

/// The files that were found.
pub(super) struct Pi {
    pub(super) files: Files,
    /// Where they were.
    pub(super) place: Option<PathBuf>,
}

/// The files in `given`, else in Debian's package, else none.
pub(super) fn find(given: Option<&Path>) -> Result<Pi> {
    let debian = Path::new(DEBIAN);
    let place = given.or(Some(debian).filter(|place| place.is_dir()));
    let files = place.map_or(Ok(vec![]), read)?;
    if let Some(given) = given {
        let programs = |(name, _): &(String, Vec<u8>)| matches!(&**name, "start4.elf" | "start.elf");
        ensure!(
            files.iter().any(programs),
            "dist: {}: neither start4.elf nor start.elf is there",
            given.display()
        );
    }
    Ok(Pi {
        files,
        place: place.map(Path::to_owned),
    })
}

impl Pi {
    /// Files that a board needs, and what comes of it.
    pub(super) fn missing(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        NEEDED
            .into_iter()
            .filter(|(needed, _)| !self.files.iter().any(|(name, _)| name == needed))
    }
}

fn read(place: &Path) -> Result<Files> {
    let mut files = vec![];
    for folder in ["", "overlays/"] {
        let directory = place.join(folder);
        if !folder.is_empty() && !directory.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&directory).with_context(|| format!("dist: {}", directory.display()))? {
            let path = entry
                .with_context(|| format!("dist: {}", directory.display()))?
                .path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{folder}{name}");
            // A link's target is copied: a TFTP server may not follow it, a card has none.
            if path.is_file() && is_taken(&name) {
                let bytes = fs::read(&path).with_context(|| format!("dist: {}", path.display()))?;
                files.push((name, bytes));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file of the firmware's directory is copied: what a Pi 3 or 4 may ask for, and the licence. A boot partition has
/// others, of who uses it.
fn is_taken(name: &str) -> bool {
    let is = |start: &str, end: &str| name.starts_with(start) && name.ends_with(end);
    matches!(name, "bootcode.bin" | "LICENCE.broadcom")
        || is("start", ".elf")
        || is("fixup", ".dat")
        || is("bcm2710-", ".dtb")
        || is("bcm2711-", ".dtb")
        || is("overlays/", ".dtbo")
        || is("overlays/", ".dtb")
}

/// Those that a Pi 4 reads with our config.txt. A boot.img is loaded as a whole, and no other EEPROM fetches it.
pub(super) fn of_a_pi_4(files: &Files) -> Files {
    let is_read = |name: &str| match name {
        "start4.elf" | "fixup4.dat" => true,
        "bootcode.bin" => false,
        _ => !["start", "fixup", "bcm2710-"]
            .iter()
            .any(|start| name.starts_with(start)),
    };
    files.iter().filter(|(name, _)| is_read(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_a_board_may_ask_for_is_taken_and_no_more() {
        let place = std::env::temp_dir().join(format!("bramble-dist-{}-pi", std::process::id()));
        let place = Scratch::new(&place).unwrap();
        let path = Some(&*place.0);
        let refused = |error: Result<Pi>| error.err().unwrap().to_string();
        assert!(refused(find(path)).ends_with("neither start4.elf nor start.elf is there"));
        assert!(find(Some(Path::new("/nowhere"))).is_err());
        fs::create_dir(place.0.join("overlays")).unwrap();
        let not_taken = [
            "config.txt",
            "kernel8.img",
            "bcm2712-rpi-5-b.dtb",
            "bcm2708-rpi-b.dtb",
            "overlays/README",
        ];
        let variants = [
            "start_cd.elf",
            "fixup4cd.dat",
            "LICENCE.broadcom",
            "overlays/overlay_map.dtb",
        ];
        let needed: Vec<&str> = NEEDED.iter().map(|(name, _)| *name).collect();
        for name in not_taken.iter().chain(&variants).chain(&needed) {
            fs::write(place.0.join(name), name).unwrap();
        }
        let pi = find(path).unwrap();
        let names: Vec<&str> = pi.files.iter().map(|(name, _)| name.as_str()).collect();
        let mut wanted = [&variants[..], &needed].concat();
        wanted.sort();
        assert_eq!(names, wanted);
        assert_eq!(pi.missing().count(), 0);
        let of_a_pi_4: Vec<String> = of_a_pi_4(&pi.files).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            of_a_pi_4,
            [
                "LICENCE.broadcom",
                "bcm2711-rpi-4-b.dtb",
                "fixup4.dat",
                "overlays/disable-bt.dtbo",
                "overlays/overlay_map.dtb",
                "start4.elf"
            ]
        );
        for name in ["bcm2711-rpi-4-b.dtb", "start.elf"] {
            fs::remove_file(place.0.join(name)).unwrap();
        }
        let missing: Vec<&str> = find(path).unwrap().missing().map(|(name, _)| name).collect();
        assert_eq!(missing, ["bcm2711-rpi-4-b.dtb", "start.elf"]);
    }
}
