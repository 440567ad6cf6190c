//! The same source in another place is the same artefacts: everything is built in a copy of the checkout as well, and compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::parts::Parts;
use crate::program::output;

/// Builds everything here and in a copy of this checkout; an error when a byte differs.
pub(crate) fn same_elsewhere() -> Result<()> {
    let copy = place()?;
    follow(&copy)?;
    let build = |checkout: &Path| Parts::of(checkout, "the same".to_owned(), vec![])?.files();
    let (here, there) = (build(Path::new("."))?, build(&copy)?);
    let differ: Vec<&str> = here
        .iter()
        .zip(&there)
        .filter(|(here, there)| here != there)
        .map(|((name, _), _)| name.as_str())
        .collect();
    ensure!(
        here.len() == there.len() && differ.is_empty(),
        "dist: not the same in {}: {}",
        copy.display(),
        differ.join(", ")
    );
    println!(
        "{} files of dist are the same, built here and in {}",
        here.len(),
        copy.display()
    );
    Ok(())
}

/// A directory for the copy, which is kept: what has not changed is not built again. It is outside of the checkout, whose
/// `.cargo/config.toml` cargo would read for the copy, too; another checkout has another.
fn place() -> Result<PathBuf> {
    let here = std::env::current_dir().context("dist: the checkout")?;
    let name = here.display().to_string().replace('/', "-");
    Ok(qemu::payload::cache()?
        .join("elsewhere")
        .join(name.trim_start_matches('-')))
}

/// Makes `copy` have what the checkout has.
fn follow(copy: &Path) -> Result<()> {
    let listed =
        output(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    for file in listed.lines().filter(|file| Path::new(file).is_file()) {
        let (bytes, to) = (fs::read(file).with_context(|| file.to_owned())?, copy.join(file));
        // What is the same stays as old as it is, for cargo's sake.
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file without a directory")?)?;
        fs::write(&to, bytes).with_context(|| to.display().to_string())?;
    }
    Ok(())
}
