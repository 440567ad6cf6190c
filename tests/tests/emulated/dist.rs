//! What `cargo xtask dist` writes, through the Pi's firmware as the harness plays it, to Debian's user space.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use qemu::{Board, Firmware, Left, Stage, firmware};

use crate::first_stage::{boots, boots_over_http, furnish, lan_for, of_the_pi, recipe};
use crate::lan::{Lan, TAP};
use crate::{RELEASE, debian, machine};

/// Everything, written once for all of these tests, with what the harness has of the Pi's own firmware.
static DIST: LazyLock<Result<PathBuf>> = LazyLock::new(|| {
    Lan::needs("dtc")?;
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dist");
    if scratch.exists() {
        fs::remove_dir_all(&scratch)?;
    }
    let (pi, written) = (scratch.join("pi"), scratch.join("written"));
    for board in [Board::Pi3b, Board::Pi3bPlus, Board::Pi4b] {
        qemu::payload::labelled_tree(board)?;
        firmware::write(&pi, &of_the_pi(board))?;
    }
    // What a boot partition has of others, and is not ours to copy.
    fs::write(pi.join("config.txt"), "kernel=theirs.img\n")?;
    let mut xtask = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Those of this package would confuse the one that cargo builds.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            xtask.env_remove(&*name);
        }
    }
    xtask.args(["run", "--quiet", "--package", "xtask", "--", "dist", "--firmware"]);
    let output = xtask
        .arg(&pi)
        .arg("--to")
        .arg(&written)
        .output()
        .context("cargo")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(!said.contains("missing"), "{said}");
    Ok(written)
});

/// Where everything is; skipped without what the boards need.
fn dist(boards: &[Board]) -> Result<&'static Path> {
    for board in boards {
        machine(*board, RELEASE)?;
        qemu::payload::labelled_tree(*board)?;
    }
    debian()?;
    Lan::needs("dtc")?;
    // Not a reason to skip.
    Ok(DIST.as_deref().unwrap_or_else(|error| panic!("{error:#}")))
}

fn starts_from_card(board: Board, image: &Path) -> Left {
    let left = Stage::new(board, Firmware::default()).from_card(image).unwrap();
    assert_eq!(left.said, [""; 0]);
    left
}

#[test]
fn a_pi_4_boots_from_the_card_of_dist() {
    let dist = require!(dist(&[Board::Pi4b]));
    let left = starts_from_card(Board::Pi4b, &dist.join("sd.img"));
    // The other generation finds its files on the same card.
    let other = starts_from_card(Board::Pi3b, &dist.join("sd.img"));
    assert!(left.kernel() == other.kernel());
    assert!(left.kernel() == fs::read(dist.join("kernel8.img")).unwrap());
    boots_over_http(&left, Board::Pi4b);
}

#[test]
fn a_pi_3_boots_from_the_tftp_root_of_dist() {
    let board = Board::Pi3b;
    let dist = require!(dist(&[board]));
    let mut lan = require!(lan_for(&[board], &[]));
    let root = lan.directory.join("tftp");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(dist.join("tftp"))
        .arg(&root)
        .status();
    assert!(copied.unwrap().success());
    furnish(&root, board, &Firmware::default());
    lan.dnsmasq_with(&recipe("No card: one dnsmasq for both stages", 0, &root));
    boots(&lan, TAP, board, Firmware::default());
}

#[test]
fn a_pi_4_boots_from_the_boot_img_of_dist() {
    let dist = require!(dist(&[Board::Pi4b]));
    let left = starts_from_card(Board::Pi4b, &dist.join("boot.img"));
    boots_over_http(&left, Board::Pi4b);
}

/// What others say of the artefacts: sha256sum, and fsck.fat, which finds nothing to repair.
#[test]
fn others_find_each_artefact_whole() {
    let dist = require!(dist(&[]));
    require!(Lan::needs("fsck.fat"));
    let mut sums = Command::new("sha256sum");
    sums.args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(dist);
    assert!(sums.status().unwrap().success());
    let partition = fs::read(dist.join("sd.img")).unwrap().split_off(1 << 20);
    let card = dist.with_file_name("partition");
    fs::write(&card, partition).unwrap();
    for volume in [&card, &dist.join("boot.img")] {
        let output = Command::new("fsck.fat").arg("-n").arg(volume).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        // The program's name and a line of counts.
        assert!(output.status.success() && said.lines().count() == 2, "{said}");
    }
}
