//! `cargo xtask dist`: what people copy, for a card, for a TFTP server and for HTTP, in one directory.

mod bill;
mod elsewhere;
mod parts;
mod pi;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use qemu::firmware;

use self::parts::{Parts, TOLD};
use crate::program::output;
use crate::setup::{self, Goal};

pub(crate) use elsewhere::same_elsewhere;

/// `cargo xtask dist`'s words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where the Pi's own firmware is.
    firmware: Option<PathBuf>,
    /// Where to write, a directory with nothing in it; `target/dist` is replaced.
    to: Option<PathBuf>,
}

impl Options {
    /// Paths are below `typed_in`, where a person typed them.
    pub(crate) fn parse(arguments: &mut lexopt::Parser, typed_in: &Path) -> Result<Self> {
        use lexopt::prelude::*;
        let mut options = Self::default();
        while let Some(argument) = arguments.next()? {
            let place = match argument {
                Long("firmware") => &mut options.firmware,
                Long("to") => &mut options.to,
                other => return Err(other.unexpected().into()),
            };
            *place = Some(typed_in.join(arguments.value()?));
        }
        Ok(options)
    }
}

/// Builds the release image, and writes everything.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let pi = pi::find(options.firmware.as_deref())?;
    let to = emptied(options.to.as_deref())?;
    let missing = setup::run(Goal::Image).missing;
    ensure!(missing.is_empty(), "dist: {}", missing.join("; "));
    let files = Parts::of(Path::new("."), commit(), pi.files.clone())?.files()?;
    firmware::write(&to, &files)?;
    println!("dist: {}: {}", to.display(), TOLD);
    match &pi.place {
        Some(place) => println!("dist: the Pi's own firmware: from {}", place.display()),
        None => println!(
            "dist: the Pi's own firmware: none; --firmware DIR takes it from `boot/` of raspberrypi/firmware"
        ),
    }
    for (file, without) in pi.missing() {
        println!("dist: missing: {file}: {without}");
    }
    Ok(ExitCode::SUCCESS)
}

/// An empty directory. Only what is ours to delete is deleted.
fn emptied(to: Option<&Path>) -> Result<PathBuf> {
    let directory = match to {
        Some(to) => {
            let empty = fs::read_dir(to).map_or(true, |mut entries| entries.next().is_none());
            ensure!(empty, "dist: {}: there is something in it", to.display());
            to.to_owned()
        }
        None => {
            let ours = PathBuf::from("target/dist");
            if ours.exists() {
                fs::remove_dir_all(&ours).context("dist: target/dist")?;
            }
            ours
        }
    };
    fs::create_dir_all(&directory).with_context(|| format!("dist: {}", directory.display()))?;
    Ok(directory)
}

/// The commit that this checkout is at, and whether it is that commit.
fn commit() -> String {
    let git = |words: &[&str]| output(Command::new("git").args(words));
    let (Ok(head), Ok(changes)) = (git(&["rev-parse", "HEAD"]), git(&["status", "--porcelain"])) else {
        return "unknown".to_owned();
    };
    let changed = if changes.is_empty() { "" } else { ", with changes" };
    format!("{}{changed}", head.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn what_a_person_has_is_not_deleted() {
        let place = std::env::temp_dir().join(format!("bramble-dist-{}-theirs", std::process::id()));
        let place = Scratch::new(&place).unwrap();
        emptied(Some(&place.0)).unwrap();
        emptied(Some(&place.0.join("new"))).unwrap();
        let error = emptied(Some(&place.0)).unwrap_err().to_string();
        assert!(error.ends_with("there is something in it"), "{error}");
        assert!(place.0.join("new").is_dir());
    }
}
